"""Running a run again: from its start, or from a step.

From the start it is a new run with the same programs (or another version of the script) and the same arguments (or others). From a
step it is a new run that begins with the state which the old one had before the step's first execution: the old history is folded
through the machine once more (twice, to find the step that failed), and `script.machine.resuming` makes the state one of another run.

Only the failed elements: the same, from the first batch that has tolerated failures, and no batch of the new run goes through anything else
(`script/machine/again.py`).
"""

from collections.abc import AsyncIterator
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from temporalio.client import WorkflowExecution
from temporalio.service import RPCError, RPCStatusCode

from gateway.problems import ApiError
from gateway.runs.looking import RERUN_MEMO, require_run, start_input
from gateway.runs.starting import Start, check_key, check_request, launch, resolve
from gateway.runs.watch import Fold, fold_run
from gateway.services import Services
from script.compiler.program import Program
from script.machine.machine import MAX_MOVED_BYTES
from script.machine.resuming import CannotResume, Retracing, failed_step, resumed
from script.wire import RunInput, wire_size
from toolbox.access import Access, check_start

START: Final = "start"
FAILED: Final = "failed"
LATEST: Final = "latest"
MAX_INPUT_BYTES: Final = 1_900_000
"""Of a state with its programs: a payload is at most 2 MiB."""


class RerunRequest(BaseModel):
    """What to run again, and how."""

    model_config = ConfigDict(extra="forbid", populate_by_name=False)

    from_step: str = Field(START, alias="from", description="start, failed, or a step's path or key (path#iteration)")
    arguments: dict[str, Any] | None = Field(None, description="other arguments; from the start only")
    version: str | int | None = Field(None, description="another version, or latest; from the start only")
    elements: Literal["all", "failed"] = Field("all", description="failed: those that failed in batches, nothing else")


async def rerun_run(
    here: Services, run_id: str, request: RerunRequest, key: str | None, access: Access
) -> tuple[Start, dict[str, Any]]:
    """Start the new run, if `access` may start one; also gives {script, rerun_of, from}. Raises ApiError, ToolError, CannotResume."""
    check_key(key)
    found = await require_run(here, run_id)
    if found.close_time is None:
        raise ApiError(
            "run_open", f"the run {run_id!r} goes on", hint="wait for its end, or cancel it, and run it again then"
        )
    if request.elements == FAILED:
        start, programs = await _failed_elements(here, found, request)
    elif request.from_step == START:
        start, programs = await _from_start(here, found, request)
    else:
        start, programs = await _from_step(here, found, request)
    check_start(access, programs, start.arguments)
    assert start.rerun is not None
    asked = [here.task_queue, "rerun", run_id, request.model_dump()]
    made = await launch(here, start, programs[0], key, asked, {RERUN_MEMO: start.rerun})
    return made, {"script": start.script, "rerun_of": run_id, "from": start.rerun["from"]}


async def _failed_elements(
    here: Services, found: WorkflowExecution, request: RerunRequest
) -> tuple[RunInput, list[Program]]:
    for name, pointer in (("from_step", "/from"), ("arguments", "/arguments"), ("version", "/version")):
        if name in request.model_fields_set:
            raise ApiError(
                "invalid_field",
                f"{pointer[1:]} does not go with the failed elements: the run begins before the first batch that has some",
                pointer=pointer,
                hint="leave it out",
            )
    old = await start_input(here.client, found.id, found.run_id)
    first = await _retraced(here, found, None)
    if not first.failed or old.dry_run:
        message = f"no batch of the run {found.id!r} has a ledger of failed elements"
        hint = "a batch with tolerate_failures keeps one; a dry run, or a run called by this one, is another run"
        raise CannotResume("nothing_failed", message, hint=hint)
    retraced = await _retraced(here, found, None, ledgers=frozenset(first.failed))
    return _resumed(found, retraced, old, {"elements": FAILED})


async def _from_start(
    here: Services, found: WorkflowExecution, request: RerunRequest
) -> tuple[RunInput, list[Program]]:
    old = await start_input(here.client, found.id, found.run_id)
    if request.version is not None:
        programs = resolve(here, old.script, None if request.version == LATEST else request.version)
    else:
        programs = await _programs(here, found, old)
    arguments = old.arguments if request.arguments is None else request.arguments
    check_request(here, programs[0], arguments, old.mocks)
    return _input(old, programs, arguments, None, found.id, START), programs


async def _programs(here: Services, found: WorkflowExecution, old: RunInput) -> list[Program]:
    """The programs that a run ran: those of its beginning."""
    fold = Fold(here.client.data_converter, found.id)
    async for _ in fold_run(here.client, fold, found.id, found.run_id, wait=False):
        if fold.machine is not None and fold.machine.programs:
            return _ordered(fold.machine.programs, fold.machine.state["root"])
    return resolve(here, old.script, old.version)


async def _from_step(here: Services, found: WorkflowExecution, request: RerunRequest) -> tuple[RunInput, list[Program]]:
    for name in ("arguments", "version"):
        if getattr(request, name) is not None:
            raise ApiError(
                "invalid_field",
                f"{name} can be changed from the start only: what is done before the step depends on it",
                pointer=f"/{name}",
                hint='leave it out, or take "from": "start"',
            )
    wanted, failed = request.from_step, request.from_step == FAILED
    if failed:
        wanted = await _failed(here, found)
    retraced = await _retraced(here, found, wanted, batches=failed)
    old = await start_input(here.client, found.id, found.run_id)
    return _resumed(found, retraced, old, {})


def _resumed(
    found: WorkflowExecution, retraced: Retracing, old: RunInput, more: dict[str, str]
) -> tuple[RunInput, list[Program]]:
    state = resumed(retraced)
    programs = _ordered(retraced.programs, state["root"])
    start = _input(old, programs, old.arguments, state, found.id, retraced.key_found, more)
    if wire_size([state, start.programs]) > MAX_MOVED_BYTES:
        raise ApiError(
            "too_large",
            f"the state before {retraced.key_found!r} is too large to begin a run with",
            hint="run it again from the start",
        )
    return start, programs


async def _failed(here: Services, found: WorkflowExecution) -> str:
    """The key of the step that made the run fail. Raises CannotResume."""
    fold = Fold(here.client.data_converter, found.id)
    errors: list[dict[str, Any]] = []
    async for told in _whole(here, fold, found):
        errors += [event for event in told if "path" in event and "error" in event]
    done = fold.machine.state["done"] if fold.machine is not None else None
    step = failed_step(errors, done["error"] if done is not None else None)
    if step is None:
        message = f"no step made the run {found.id!r} fail"
        raise CannotResume("nothing_failed", message, hint="name a step, or take the start")
    return step


async def _retraced(
    here: Services,
    found: WorkflowExecution,
    wanted: str | None,
    *,
    batches: bool = False,
    ledgers: frozenset[str] = frozenset(),
) -> Retracing:
    fold = Fold(here.client.data_converter, found.id, Retracing)
    async for _ in _whole(here, fold, found):
        if isinstance(fold.machine, Retracing):
            fold.machine.wanted, fold.machine.batches, fold.machine.ledgers = wanted, batches, ledgers
    if not isinstance(fold.machine, Retracing):
        raise CannotResume("step_not_run", f"the run {found.id!r} never began", hint="run it again from the start")
    return fold.machine


async def _whole(here: Services, fold: Fold, found: WorkflowExecution) -> AsyncIterator[list[dict[str, Any]]]:
    """Fold all of a run. Raises CannotResume if its beginning is not kept any more."""
    try:
        async for told in fold_run(here.client, fold, found.id, _first(found), wait=False):
            yield told
    except RPCError as error:
        if error.status != RPCStatusCode.NOT_FOUND:
            raise
        message = f"the beginning of the run {found.id!r} is not kept any more"
        raise CannotResume("not_resumable", message, hint="run it again from the start") from None


def _first(found: WorkflowExecution) -> str:
    """The first execution of a run that has continued as new, or its only one."""
    described = getattr(found, "raw_description", None)
    first = described.workflow_execution_info.first_run_id if described is not None else ""
    return first or found.run_id


def _ordered(programs: Any, root: str) -> list[Program]:
    return [programs[root], *(program for number, program in programs.items() if number != root)]


def _input(
    old: RunInput,
    programs: list[Program],
    arguments: dict[str, Any],
    state: dict[str, Any] | None,
    run_id: str,
    step: str,
    more: dict[str, str] | None = None,
) -> RunInput:
    """What the new run gets. Its programs go along, since names of scripts may mean other versions by now."""
    compiled = [program.to_json() for program in programs]
    return RunInput(
        script=programs[0].name,
        version=programs[0].hash,
        arguments=arguments,
        trigger="rerun",
        dry_run=old.dry_run,
        mocks=old.mocks,
        programs=compiled if wire_size(compiled) <= MAX_INPUT_BYTES else None,
        database=old.database,
        state=state,
        rerun={"of": run_id, "from": step, **(more or {})},
    )
