"""Watching a run from the command line: its events to the end, and an exit code that is the run's."""

import time
from collections.abc import Iterator
from typing import Annotated, Any, Final
from urllib.parse import quote

import typer

from gateway.cli.connection import Connection
from gateway.cli.failures import INTERRUPTED, RUN_FAILED, UNREACHABLE, CommandFailed
from gateway.cli.output import tell, write_json, write_lines, write_object
from gateway.cli.trace import failure_text, line

RESUME_SECONDS: Final = 30.0
RunId = Annotated[str, typer.Argument(metavar="ID", help="the run's id")]


def follow(gateway: Connection, run_id: str, events: Iterator[dict[str, Any]], after: int, output: str) -> None:
    """Show events to the run's end, and end as it did."""
    try:
        last: dict[str, Any] | None = None
        for event in _unbroken(gateway, run_id, events, after):
            last = event
            if output == "ndjson":
                write_lines([event])
            elif output == "table":
                tell(line(event))
    except KeyboardInterrupt:
        raise CommandFailed(INTERRUPTED, f"the run goes on: sop run watch {run_id}, sop run cancel {run_id}") from None
    assert last is not None
    if output == "json":
        write_object(gateway.get(address(run_id)), output)
    elif output == "table" and last["status"] == "completed":
        write_json(last["rows"] if "rows" in last else last.get("result"))
    if last["status"] != "completed":
        told = [f"error: {failure_text(last['error'])}"] if output == "json" and last.get("error") else []
        raise CommandFailed(RUN_FAILED, *told)


def _unbroken(
    gateway: Connection, run_id: str, events: Iterator[dict[str, Any]], after: int
) -> Iterator[dict[str, Any]]:
    """Events to the last one; a stream that is cut, or ends with an error that may pass, is taken up again."""
    deadline = time.monotonic() + RESUME_SECONDS
    while True:
        try:
            for event in events:
                if event["type"] == "error":
                    if not event["error"]["retryable"]:
                        raise CommandFailed(UNREACHABLE, f"error: {failure_text(event['error'])}")
                    break
                after = event["seq"]
                deadline = time.monotonic() + RESUME_SECONDS
                yield event
                if event["type"] == "run" and event["status"] != "started":
                    return
        except CommandFailed as failed:
            if failed.exit_code != UNREACHABLE or time.monotonic() > deadline or after == 0:
                raise
        if time.monotonic() > deadline:
            raise CommandFailed(UNREACHABLE, "error: the stream was cut", f"hint: sop run watch {run_id}")
        time.sleep(0.5)
        events = gateway.stream("GET", address(run_id, "/events"), params={"after": after})


def address(run_id: str, more: str = "") -> str:
    return f"/v1/runs/{quote(run_id, safe='')}{more}"
