"""Starting a run: everything that can be wrong is found before Temporal is asked.

    1. the script's version is resolved (name -> hash) with all that it calls
    2. whoever asks may do all that these programs do (`toolbox.access`)
    3. the arguments are checked against its parameters, mocks against the tools
    4. programs that are small enough travel with the run; others are loaded by their hash
    5. ScriptWorkflow is started; the Idempotency-Key is its workflow id

One key is one run, for as long as Temporal keeps it: Temporal refuses to start another one, whether it is running (FAIL) or has ended
(REJECT_DUPLICATE), and so tells whether a run is new; else the one that there is, is the answer. What was asked for is kept as a hash in
the run's memo, so the same key with another request is refused instead of being answered with somebody else's run.
"""

import hashlib
import re
import uuid
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, Protocol

import orjson
from pydantic import BaseModel, ConfigDict, Field
from temporalio.client import Client, WorkflowHandle
from temporalio.common import (
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import WorkflowAlreadyStartedError

from gateway.operations.metrics import Metrics
from gateway.problems import ApiError, translate
from script.compiler.program import Program
from script.errors import ScriptError
from script.expressions.functions import EvaluationContext
from script.machine.arguments import bind_arguments
from script.wire import ASK_ACTIVITY, MAX_WIRE_BYTES, SEARCH_ATTRIBUTES, WORKFLOW_TYPE, RunInput, wire_size
from toolbox import Registry, ScriptLibrary
from toolbox.access import Access, check_start
from toolbox.errors import ToolError
from workflows.details import plain

MAX_INLINE_PROGRAMS: Final = 32 * 1024
MEMO: Final = "sop_request"
_KEY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,254}")


class Scripts(Protocol):
    """Where scripts and tools are found."""

    @property
    def library(self) -> ScriptLibrary: ...

    @property
    def registry(self) -> Registry: ...


class Start(NamedTuple):
    """What a start came to: a new run, or the one that its key had started."""

    handle: WorkflowHandle[Any, Any]
    new: bool


class Here(Scripts, Protocol):
    """What runs are started with."""

    @property
    def client(self) -> Client: ...

    @property
    def task_queue(self) -> str: ...

    @property
    def metrics(self) -> Metrics: ...


class RunRequest(BaseModel):
    """What to run a script with."""

    model_config = ConfigDict(extra="forbid")

    arguments: dict[str, Any] = Field({}, description="a value for each parameter")
    version: str | int | None = Field(None, description="a number, a hash or the beginning of one; default the latest")
    dry_run: bool = Field(False, description="read for real, write nothing, call nothing outside")
    mocks: list[str] = Field([], description="tools that are written to the outbox instead of being called")


def resolve(here: Scripts, name: str, version: str | int | None) -> list[Program]:
    """The programs of a script and of all that it reaches, its own first. Raises ToolError (404)."""
    return here.library.closure(name, version)


def check_request(here: Scripts, program: Program, arguments: dict[str, Any], mocks: list[str]) -> None:
    """Raises ApiError for arguments that do not fit the parameters, or mocks that are no tools (nor the model: `ask_model`)."""
    try:
        size = wire_size(arguments)
    except TypeError:
        size = 0  # not JSON as it is kept here: bind_arguments says what is wrong
    if size > MAX_WIRE_BYTES:
        raise ApiError(
            "too_large",
            f"the arguments are {size} bytes of JSON, the limit is {MAX_WIRE_BYTES}",
            pointer="/arguments",
            hint="import the data into a store and pass its key",
        )
    try:
        bind_arguments(program, arguments, EvaluationContext(datetime.now(UTC), "check"))
    except ScriptError as error:
        raise translate(error, "/arguments") from None
    for position, tool in enumerate(mocks):
        if tool == ASK_ACTIVITY:
            continue
        try:
            here.registry.get(tool)
        except ToolError as error:
            pointer = f"/mocks/{position}"
            raise ApiError("unknown_tool", error.message, pointer=pointer, hint=error.hint, status=422) from None


async def start_run(
    here: Here, name: str, request: RunRequest, key: str | None, *, access: Access, trigger: str = "api"
) -> Start:
    """Start a run, or find the one that this key started, if `access` may. Raises ApiError, ToolError."""
    check_key(key)
    programs = resolve(here, name, request.version)
    check_start(access, programs, request.arguments)
    check_request(here, programs[0], request.arguments, request.mocks)
    asked = [here.task_queue, name, request.model_dump()]
    return await launch(here, run_input(programs, request, trigger), programs[0], key, asked)


def check_key(key: str | None) -> None:
    """Raises ApiError for an Idempotency-Key that cannot be a run's id."""
    if key is not None and not _KEY.fullmatch(key):
        raise ApiError(
            "invalid_idempotency_key",
            "an Idempotency-Key has 1 to 255 letters, digits, or . _ : @ - and begins with a letter or digit",
            pointer="Idempotency-Key",
        )


async def launch(
    here: Here,
    start: RunInput,
    program: Program,
    key: str | None,
    request: list[Any],
    memo: dict[str, Any] | None = None,
) -> Start:
    """Start the workflow of a run, or find the one that this key started with the same request. Raises ApiError."""
    asked = _fingerprint(request)
    run_id = key or str(uuid.uuid4())
    try:
        handle = await here.client.start_workflow(
            WORKFLOW_TYPE,
            start,
            id=run_id,
            task_queue=here.task_queue,
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            memo={MEMO: asked, **(memo or {})},
            search_attributes=attributes(program, start.trigger, start.database),
            static_summary=summary(program, dry_run=start.dry_run),
            static_details=details(program, start),
        )
    except WorkflowAlreadyStartedError:
        handle = here.client.get_workflow_handle(run_id)
        await _same_request(handle, asked)
        return Start(handle, new=False)
    here.metrics.runs.labels(start.trigger).inc()
    return Start(handle, new=True)


def _fingerprint(asked: list[Any]) -> str:
    return hashlib.sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).hexdigest()


async def _same_request(handle: WorkflowHandle[Any, Any], asked: str) -> None:
    memo = await (await handle.describe()).memo()
    if memo.get(MEMO) != asked:
        raise ApiError(
            "idempotency_mismatch",
            f"the key {handle.id!r} has started another run: script, arguments or options differ",
            pointer="Idempotency-Key",
            hint="use a new key for a new request",
        )


def run_input(programs: list[Program], request: RunRequest, trigger: str) -> RunInput:
    """What the workflow gets."""
    compiled = [program.to_json() for program in programs]
    return RunInput(
        script=programs[0].name,
        version=programs[0].hash,
        arguments=request.arguments,
        trigger=trigger,
        dry_run=request.dry_run,
        mocks=request.mocks,
        programs=compiled if wire_size(compiled) <= MAX_INLINE_PROGRAMS else None,
    )


def attributes(program: Program, trigger: str, database: str | None = None) -> TypedSearchAttributes:
    """The search attributes that a run has from its start."""
    values = (program.name, program.hash[:12], program.database or database, trigger)
    keys = (SearchAttributeKey.for_keyword(name) for name in SEARCH_ATTRIBUTES)
    return TypedSearchAttributes(
        [SearchAttributePair(key, value) for key, value in zip(keys, values, strict=False) if value]
    )


def summary(program: Program, *, dry_run: bool) -> str:
    """One line for the Temporal UI."""
    return f"{program.name} (dry run)" if dry_run else program.name


def details(program: Program, start: RunInput) -> str:
    """What the Temporal UI tells about a run from its start, in Markdown."""
    found = [f"version `{program.hash[:12]}`, database `{program.database or start.database or 'none'}`"]
    if start.rerun is not None:
        found.append(f"repeats {plain(start.rerun['of'])} from {plain(start.rerun['from'])}")
    if start.arguments:
        found.append("arguments: " + plain(orjson.dumps(start.arguments).decode()))
    return "\n\n".join(found)
