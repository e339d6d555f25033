"""sop run: `sop run NAME` runs a script; the other verbs look after runs (`handling.py` has those that change one).

The verbs are reserved words: a script of such a name is run with `sop run start NAME`.

A run is started with an idempotency key (a new one, if none is given), so a request that got lost can be sent again, and a
stream that was cut is taken up behind the last event seen. Ctrl-C leaves the run alone.
"""

import uuid
from typing import Annotated, Any, Final
from urllib.parse import quote

import typer
from typer.core import TyperGroup

from gateway.cli import handling
from gateway.cli.arguments import Arg, Args, Detach, IdempotencyKey, Mock, arguments_for
from gateway.cli.connection import Connection
from gateway.cli.following import RunId, address, follow
from gateway.cli.output import Format, write_object, write_rows

_START: Final = "start"


class RunGroup(TyperGroup):
    """`sop run NAME ...` means `sop run start NAME ...`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = [_START, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(cls=RunGroup, no_args_is_help=True, help="Run a script (sop run NAME), and look after runs.")


@app.command(_START)
def start(
    name: Annotated[str, typer.Argument(help="the script")],
    arg: Arg = None,
    args: Args = None,
    version: Annotated[str | None, typer.Option(help="a number, or a hash or its beginning")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="read for real, write nothing")] = False,
    mock: Mock = None,
    idempotency_key: IdempotencyKey = None,
    detach: Detach = False,
    output: Format = "table",
) -> None:
    """Run a script and watch it: the trace on stderr, its value on stdout."""
    key = idempotency_key or str(uuid.uuid4())
    with Connection() as gateway:
        arguments = arguments_for(gateway, name, version, arg, args)
        body = {"arguments": arguments, "version": version, "dry_run": dry_run, "mocks": mock or []}
        options = {"json": body, "headers": {"Idempotency-Key": key}}
        if detach:
            write_object(gateway.post(f"/v1/scripts/{quote(name, safe='')}/runs", **options), output)
            return
        events = gateway.stream("POST", f"/v1/call/{quote(name, safe='')}", **options)
        follow(gateway, key, events, 0, output)


@app.command()
def watch(
    run_id: RunId,
    after: Annotated[int, typer.Option(help="only events with a higher seq")] = 0,
    output: Format = "table",
) -> None:
    """Watch a run, or read again what a run has done; ends as `sop run NAME` does."""
    with Connection() as gateway:
        events = gateway.stream("GET", address(run_id, "/events"), params={"after": after})
        follow(gateway, run_id, events, after, output)


@app.command()
def show(run_id: RunId, output: Format = "table") -> None:
    """Show how a run stands."""
    with Connection() as gateway:
        write_object(gateway.get(address(run_id)), output)


@app.command()
def cancel(run_id: RunId, output: Format = "table") -> None:
    """Ask a run to end; it rolls its open transaction back first."""
    with Connection() as gateway:
        write_object(gateway.post(address(run_id, "/cancel")), output)


@app.command("list")
def list_(
    script: Annotated[str | None, typer.Option(help="only runs of this script")] = None,
    state: Annotated[str | None, typer.Option(help="running, completed, failed, canceled, ...")] = None,
    outcome: Annotated[str | None, typer.Option(help="completed, failed, canceled, compensated, ...")] = None,
    trigger: Annotated[str | None, typer.Option(help="api, schedule, parent or rerun")] = None,
    database: Annotated[str | None, typer.Option(help="only runs on this database")] = None,
    since: Annotated[str | None, typer.Option(help="begun at this time or later: 2026-11-21T08:30:00Z")] = None,
    until: Annotated[str | None, typer.Option(help="begun before this time")] = None,
    limit: Annotated[int, typer.Option(min=1, help="at most so many")] = 20,
    output: Format = "table",
) -> None:
    """List runs, newest first; those that all filters fit."""
    wanted = {"script": script, "state": state, "outcome": outcome, "trigger": trigger, "database": database}
    with Connection() as gateway:
        rows = gateway.pages("/v1/runs", limit, **wanted, since=since, until=until)
        columns = ("id", "state", "outcome", "script", "version", "trigger", "started_at", "ended_at")
        write_rows(rows, columns, output)


for handling_command in handling.COMMANDS:
    app.command()(handling_command)
