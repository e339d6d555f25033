"""Watching a run from the command line: its events to the end, and an exit code that is the run's."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Annotated, Any, Final

import typer

from gateway.cli.completion import run_ids
from gateway.cli.connection import Connection
from gateway.cli.failures import INTERRUPTED, RUN_FAILED, UNREACHABLE, CommandFailed
from gateway.cli.failures import told as explained
from gateway.cli.options import options
from gateway.cli.output import tell, write_csv, write_json, write_lines, write_object
from gateway.cli.trace import failure_text, line
from gateway.client.errors import CutShort
from gateway.client.following import address, unbroken

RunId = Annotated[str, typer.Argument(metavar="ID", help="the run's id", autocompletion=run_ids)]
Plain = Annotated[bool, typer.Option("--plain", help="a line for each event, also on a terminal, and no tree")]
COLUMNS: Final = ("seq", "type", "status", "path", "iteration", "duration_ms", "result", "rows", "error")


def follow(
    gateway: Connection,
    run_id: str,
    opened: Callable[[], Iterator[dict[str, Any]]],
    after: int,
    output: str,
    *,
    plain: bool = False,
) -> None:
    """Show events to the run's end, and end as it did. `opened` asks for the stream."""
    kept: list[dict[str, Any]] = []
    last: dict[str, Any] | None = None

    def keep(event: dict[str, Any]) -> None:
        kept.append({name: event.get(name) for name in COLUMNS})

    ways: dict[str, Callable[[dict[str, Any]], None]] = {
        "ndjson": lambda event: write_lines([event]),
        "csv": keep,
        "json": lambda event: None,
    }
    shown: AbstractContextManager[Callable[[dict[str, Any]], None]]
    shown = nullcontext(ways[output]) if output in ways else trace(gateway, run_id, plain=plain)
    try:
        with shown as show:
            for event in _unbroken(gateway, run_id, opened, after):
                last = event
                show(event)
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
        told = (
            [f"error: {failure_text(last['error'])}"]
            if (output in ("json", "csv") or quiet) and last.get("error")
            else []
        )
        raise CommandFailed(RUN_FAILED, *told)


def trace(gateway: Connection, run_id: str, *, plain: bool) -> AbstractContextManager[Callable[[dict[str, Any]], None]]:
    """What shows the events to a person: a tree on a terminal, or a line each."""
    given = options()
    if not (plain or given.quiet or given.no_color or os.environ.get("NO_COLOR") or not sys.stderr.isatty()):
        from gateway.cli.live import Screen, suits

        if suits():
            return Screen(run_id, lambda wanted: gateway.gateway.get(address(wanted)).get("where"))
    return nullcontext(lambda event: tell(line(event)))


def _unbroken(
    gateway: Connection, run_id: str, opened: Callable[[], Iterator[dict[str, Any]]], after: int
) -> Iterator[dict[str, Any]]:
    """The events, whose errors end the command."""
    with explained():
        try:
            yield from unbroken(gateway.gateway, run_id, opened, after)
        except CutShort:
            raise CommandFailed(UNREACHABLE, "error: the stream was cut", f"hint: sop run watch {run_id}") from None
