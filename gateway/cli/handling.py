"""sop run approve, reject, pause, resume, concurrency and rerun, and sop approvals: runs as people handle them."""

import uuid
from collections.abc import Iterator
from functools import partial
from typing import Annotated, Any

import typer

from gateway.cli.arguments import Detach, IdempotencyKey, arguments_for
from gateway.cli.connection import Connection
from gateway.cli.following import Plain, RunId, follow
from gateway.cli.output import Format, write_object, write_rows
from gateway.client.following import address

Step = Annotated[
    str | None, typer.Argument(metavar="[STEP]", help="the approval's step, if the run waits for several decisions")
]
Comment = Annotated[str, typer.Option(help="why; it is kept with the decision")]


def approve(run_id: RunId, step: Step = None, comment: Comment = "", output: Format = "table") -> None:
    """Approve what a run waits for, in the name of the API key."""
    _decide(run_id, step, comment, output, approved=True)


def reject(run_id: RunId, step: Step = None, comment: Comment = "", output: Format = "table") -> None:
    """Reject what a run waits for: the step fails with `rejected`."""
    _decide(run_id, step, comment, output, approved=False)


def _decide(run_id: str, step: str | None, comment: str, output: str, *, approved: bool) -> None:
    with Connection() as gateway:
        body = {"approved": approved, "step": step, "comment": comment}
        write_object(gateway.post(address(run_id, ":decide"), json=body), output)


def pause(run_id: RunId, output: Format = "table") -> None:
    """Let a run begin nothing new; what is under way goes on to its end."""
    with Connection() as gateway:
        write_object(gateway.post(address(run_id, ":pause")), output)


def resume(run_id: RunId, output: Format = "table") -> None:
    """Let a paused run go on."""
    with Connection() as gateway:
        write_object(gateway.post(address(run_id, ":resume")), output)


def concurrency(
    run_id: RunId,
    chunks: Annotated[int, typer.Argument(metavar="N", help="chunks that may run side by side, 1 to 100")],
    step: Annotated[str | None, typer.Option(help="the batch's loop, if the run is in the middle of several")] = None,
    output: Format = "table",
) -> None:
    """Let a running batch run so many chunks side by side from now on."""
    with Connection() as gateway:
        body = {"concurrency": chunks, "step": step}
        write_object(gateway.post(address(run_id, ":concurrency"), json=body), output)


def rerun(
    run_id: RunId,
    from_step: Annotated[
        str | None, typer.Option("--from", help="start (the default), failed, or a step's path or key (path#iteration)")
    ] = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="only the elements that failed in its batches, nothing else of them")
    ] = False,
    arg: Annotated[list[str] | None, typer.Option(help="name=value: change this argument")] = None,
    args: Annotated[str | None, typer.Option(help="other arguments: a JSON object, @FILE, or - for stdin")] = None,
    version: Annotated[str | None, typer.Option(help="another version: latest, a number, or a hash")] = None,
    idempotency_key: IdempotencyKey = None,
    detach: Detach = False,
    plain: Plain = False,
    output: Format = "table",
) -> None:
    """Run a run again that has ended, as a new run, and watch it. What is before the step is not done again."""
    key = idempotency_key or str(uuid.uuid4())
    with Connection() as gateway:
        body: dict[str, Any] = {"elements": "failed"} if failed else {}
        body |= {name: value for name, value in (("from", from_step), ("version", version)) if value is not None}
        if arg or args is not None:
            body["arguments"] = _arguments(gateway, run_id, arg, args, version)
        told = gateway.post(address(run_id, ":rerun"), json=body, headers={"Idempotency-Key": key})
        if detach:
            write_object(told, output)
            return
        path = told["events"]
        opened = partial(gateway.gateway.stream, "GET", path, params={"after": 0})
        follow(gateway, told["id"], opened, 0, output, plain=plain)


def _arguments(
    gateway: Connection, run_id: str, given: list[str] | None, document: str | None, version: str | None
) -> dict[str, Any]:
    """The old run's arguments, with those of `--arg` over them; or those of `--args`."""
    old = gateway.get(address(run_id))
    wanted = None if version == "latest" else version or old["version"]
    changed = arguments_for(gateway, old["script"], wanted, given, document)
    return changed if document is not None else {**old["arguments"], **changed}


def approvals(
    mine: Annotated[bool, typer.Option("--mine", help="only those that this API key's name is asked for")] = False,
    script: Annotated[str | None, typer.Option(help="only runs of this script")] = None,
    limit: Annotated[int, typer.Option(min=1, help="at most so many runs")] = 50,
    output: Format = "table",
) -> None:
    """List what waits for a person, over all runs."""
    with Connection() as gateway:
        runs = gateway.pages("/v1/approvals", limit, mine=mine or None, script=script)
        write_rows(_flat(runs), ("run", "script", "step", "by", "prompt"), output)


def _flat(runs: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """A row for each approval; one without a step for a run whose worker does not answer."""
    for run in runs:
        for entry in run["approvals"] if run["approvals"] is not None else [{}]:
            by = ", ".join(map(str, entry.get("by", [])))
            yield {"run": run["id"], "script": run["script"], "started_at": run["started_at"], **entry, "by": by}


COMMANDS = (approve, reject, pause, resume, concurrency, rerun)
