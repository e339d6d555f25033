"""sop run: `sop run NAME` runs a script; show, list, watch and cancel look after runs.

The words start, show, list, watch and cancel are reserved: a script of such a name is run with `sop run start NAME`.

A run is started with an idempotency key (a new one, if none is given), so a request that got lost can be sent again, and a
stream that was cut is taken up behind the last event seen. Ctrl-C leaves the run alone.
"""

import time
import uuid
from collections.abc import Iterator
from typing import Annotated, Any, Final
from urllib.parse import quote

import typer
from typer.core import TyperGroup

from gateway.cli.arguments import read_arguments
from gateway.cli.connection import Connection
from gateway.cli.failures import INTERRUPTED, RUN_FAILED, UNREACHABLE, CommandFailed
from gateway.cli.output import Format, tell, write_json, write_lines, write_object, write_rows
from gateway.cli.trace import failure_text, line

RESUME_SECONDS: Final = 30.0
_START: Final = "start"


class RunGroup(TyperGroup):
    """`sop run NAME ...` means `sop run start NAME ...`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = [_START, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(cls=RunGroup, no_args_is_help=True, help="Run a script (sop run NAME), and look after runs.")
RunId = Annotated[str, typer.Argument(metavar="ID", help="the run's id")]


@app.command(_START)
def start(
    name: Annotated[str, typer.Argument(help="the script")],
    arg: Annotated[list[str] | None, typer.Option(help="name=value, typed by the script's parameters")] = None,
    args: Annotated[str | None, typer.Option(help="all arguments: a JSON object, @FILE, or - for stdin")] = None,
    version: Annotated[str | None, typer.Option(help="a number, or a hash or its beginning")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="read for real, write nothing")] = False,
    mock: Annotated[list[str] | None, typer.Option(help="a tool to write to the outbox instead of calling it")] = None,
    idempotency_key: Annotated[str | None, typer.Option(help="one key is one run")] = None,
    detach: Annotated[bool, typer.Option("--detach", help="start it, print its id, and go")] = False,
    output: Format = "table",
) -> None:
    """Run a script and watch it: the trace on stderr, its value on stdout."""
    key = idempotency_key or str(uuid.uuid4())
    with Connection() as gateway:
        script = gateway.get(f"/v1/scripts/{quote(name, safe='')}", params={"version": version} if version else None)
        arguments = read_arguments(arg or [], args, script["script"].get("parameters", []))
        body = {"arguments": arguments, "version": version, "dry_run": dry_run, "mocks": mock or []}
        options = {"json": body, "headers": {"Idempotency-Key": key}}
        if detach:
            write_object(gateway.post(f"/v1/scripts/{quote(name, safe='')}/runs", **options), output)
            return
        events = gateway.stream("POST", f"/v1/call/{quote(name, safe='')}", **options)
        _follow(gateway, key, events, 0, output)


@app.command()
def watch(
    run_id: RunId,
    after: Annotated[int, typer.Option(help="only events with a higher seq")] = 0,
    output: Format = "table",
) -> None:
    """Watch a run, or read again what a run has done; ends as `sop run NAME` does."""
    with Connection() as gateway:
        events = gateway.stream("GET", _address(run_id, "/events"), params={"after": after})
        _follow(gateway, run_id, events, after, output)


@app.command()
def show(run_id: RunId, output: Format = "table") -> None:
    """Show how a run stands."""
    with Connection() as gateway:
        write_object(gateway.get(_address(run_id)), output)


@app.command()
def cancel(run_id: RunId, output: Format = "table") -> None:
    """Ask a run to end; it rolls its open transaction back first."""
    with Connection() as gateway:
        write_object(gateway.post(_address(run_id, "/cancel")), output)


@app.command("list")
def list_(
    script: Annotated[str | None, typer.Option(help="only runs of this script")] = None,
    state: Annotated[str | None, typer.Option(help="running, completed, failed, canceled, ...")] = None,
    limit: Annotated[int, typer.Option(min=1, help="at most so many")] = 20,
    output: Format = "table",
) -> None:
    """List runs, newest first."""
    with Connection() as gateway:
        rows = gateway.pages("/v1/runs", limit, script=script, state=state)
        write_rows(rows, ("id", "state", "script", "version", "trigger", "started_at", "ended_at"), output)


def _follow(gateway: Connection, run_id: str, events: Iterator[dict[str, Any]], after: int, output: str) -> None:
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
        write_object(gateway.get(_address(run_id)), output)
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
        events = gateway.stream("GET", _address(run_id, "/events"), params={"after": after})


def _address(run_id: str, more: str = "") -> str:
    return f"/v1/runs/{quote(run_id, safe='')}{more}"
