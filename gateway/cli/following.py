"""Watching a run from the command line: its events to the end, and an exit code that is the run's."""

from collections.abc import Callable, Iterator
from typing import Annotated, Any, Final

import typer

from gateway.cli.completion import run_ids
from gateway.cli.connection import Connection
from gateway.cli.failures import INTERRUPTED, RUN_FAILED, UNREACHABLE, CommandFailed, told
from gateway.cli.options import options
from gateway.cli.output import tell, write_csv, write_json, write_lines, write_object
from gateway.cli.trace import failure_text, line
from gateway.client.errors import CutShort
from gateway.client.following import address, unbroken

RunId = Annotated[str, typer.Argument(metavar="ID", help="the run's id", autocompletion=run_ids)]
COLUMNS: Final = ("seq", "type", "status", "path", "iteration", "duration_ms", "result", "rows", "error")


def follow(
    gateway: Connection, run_id: str, opened: Callable[[], Iterator[dict[str, Any]]], after: int, output: str
) -> None:
    """Show events to the run's end, and end as it did. `opened` asks for the stream."""
    kept: list[dict[str, Any]] = []
    last: dict[str, Any] | None = None
    try:
        for event in _unbroken(gateway, run_id, opened, after):
            last = event
            if output == "ndjson":
                write_lines([event])
            elif output == "csv":
                kept.append({name: event.get(name) for name in COLUMNS})
            elif output == "table":
                tell(line(event))
    except KeyboardInterrupt:
        raise CommandFailed(INTERRUPTED, f"the run goes on: sop run watch {run_id}, sop run cancel {run_id}") from None
    assert last is not None
    if output == "json":
        write_object(gateway.get(address(run_id)), output)
    elif output == "csv":
        write_csv(kept, COLUMNS)
    elif output == "table" and last["status"] == "completed":
        write_json(last["rows"] if "rows" in last else last.get("result"))
    if last["status"] != "completed":
        quiet = output == "table" and options().quiet
        shown = (
            [f"error: {failure_text(last['error'])}"]
            if (output in ("json", "csv") or quiet) and last.get("error")
            else []
        )
        raise CommandFailed(RUN_FAILED, *shown)


def _unbroken(
    gateway: Connection, run_id: str, opened: Callable[[], Iterator[dict[str, Any]]], after: int
) -> Iterator[dict[str, Any]]:
    """The events, whose errors end the command."""
    with told():
        try:
            yield from unbroken(gateway.gateway, run_id, opened, after)
        except CutShort:
            raise CommandFailed(UNREACHABLE, "error: the stream was cut", f"hint: sop run watch {run_id}") from None
