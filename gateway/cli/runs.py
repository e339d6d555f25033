"""sop run: `sop run NAME` runs a script; the other verbs look after runs (`handling.py` has those that change one).

The verbs are reserved words: a script of such a name is run with `sop run start NAME`.

A run is started with an idempotency key (a new one, if none is given), so a request that got lost can be sent again, and a
stream that was cut is taken up behind the last event seen. Ctrl-C leaves the run alone.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from functools import partial
from typing import Annotated, Any, Final
from urllib.parse import quote

import typer
from typer.core import CompletionItem, TyperGroup  # type: ignore[attr-defined]

from gateway.cli import handling
from gateway.cli.arguments import Arg, Args, Detach, IdempotencyKey, Mock, arguments_for
from gateway.cli.completion import script_names
from gateway.cli.connection import Connection
from gateway.cli.failures import NOT_FOUND, CommandFailed
from gateway.cli.following import Plain, RunId, follow
from gateway.cli.output import Format, write_object, write_rows
from gateway.client.following import address

_START: Final = "start"


class RunGroup(TyperGroup):
    """`sop run NAME ...` means `sop run start NAME ...`; but a script takes no second word, so that is a verb that was misspelt."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            near = get_close_matches(args[0], self.commands, n=1)
            if near and len(args) > 1 and not args[1].startswith("-"):
                ctx.fail(f"There is no verb {args[0]!r}, and a script takes no {args[1]!r}. Did you mean {near[0]!r}?")
            args = [_START, *args]
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: Any, incomplete: str) -> list[CompletionItem]:
        """The verbs, and the scripts."""
        return super().shell_complete(ctx, incomplete) + list(map(CompletionItem, script_names(ctx, incomplete)))


@contextmanager
def _or_a_verb(name: str) -> Iterator[None]:
    """A script that is not there may have been meant as a verb."""
    try:
        yield
    except CommandFailed as failed:
        near = get_close_matches(name, [command.__name__ for command in (watch, show, cancel, *handling.COMMANDS)], n=1)
        if failed.exit_code != NOT_FOUND or not near:
            raise
        hint = f"hint: or did you mean the verb? sop run {near[0]} ID"
        raise CommandFailed(failed.exit_code, *failed.lines, hint) from None


app = typer.Typer(cls=RunGroup, no_args_is_help=True, help="Run a script (sop run NAME), and look after runs.")


@app.command(_START)
def start(
    name: Annotated[str, typer.Argument(help="the script", autocompletion=script_names)],
    arg: Arg = None,
    args: Args = None,
    version: Annotated[str | None, typer.Option(help="a number, or a hash or its beginning")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="read for real, write nothing")] = False,
    mock: Mock = None,
    idempotency_key: IdempotencyKey = None,
    detach: Detach = False,
    plain: Plain = False,
    output: Format = "table",
) -> None:
    """Run a script and watch it: the trace on stderr, its value on stdout."""
    key = idempotency_key or str(uuid.uuid4())
    with Connection() as gateway:
        with _or_a_verb(name):
            arguments = arguments_for(gateway, name, version, arg, args)
        body = {"arguments": arguments, "version": version, "dry_run": dry_run, "mocks": mock or []}
        options = {"json": body, "headers": {"Idempotency-Key": key}}
        if detach:
            write_object(gateway.post(f"/v1/scripts/{quote(name, safe='')}/runs", **options), output)
            return
        path = f"/v1/call/{quote(name, safe='')}"
        follow(gateway, key, lambda: gateway.gateway.stream("POST", path, **options), 0, output, plain=plain)


@app.command()
def watch(
    run_id: RunId,
    after: Annotated[int, typer.Option(help="only events with a higher seq")] = 0,
    plain: Plain = False,
    output: Format = "table",
) -> None:
    """Watch a run, or read again what a run has done; ends as `sop run NAME` does."""
    with Connection() as gateway:
        path = address(run_id, "/events")
        opened = partial(gateway.gateway.stream, "GET", path, params={"after": after})
        follow(gateway, run_id, opened, after, output, plain=plain)


@app.command()
def show(run_id: RunId, output: Format = "table") -> None:
    """Show how a run stands."""
    with Connection() as gateway:
        write_object(gateway.get(address(run_id)), output)


@app.command()
def steps(
    run_id: RunId,
    step: Annotated[str | None, typer.Option(help="only those of this path: each/check")] = None,
    status: Annotated[str | None, typer.Option(help="completed, failed, skipped, canceled, ...")] = None,
    limit: Annotated[int, typer.Option(min=1, help="at most so many")] = 50,
    output: Format = "table",
) -> None:
    """List the steps of a run that have ended so far."""
    with Connection() as gateway:
        rows = gateway.pages(address(run_id, "/steps"), limit, step=step, status=status)
        write_rows(rows, ("path", "iteration", "type", "status", "started_at", "duration_ms"), output)


@app.command()
def batches(
    run_id: RunId,
    limit: Annotated[int, typer.Option(min=1, help="at most so many")] = 50,
    output: Format = "table",
) -> None:
    """List the batches of a run: how far they are, and how they ended."""
    with Connection() as gateway:
        columns = ("step", "status", "processed", "failed", "total", "rate", "eta_seconds", "at")
        write_rows(gateway.pages(address(run_id, "/batches"), limit), columns, output)


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
