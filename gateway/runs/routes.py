"""Runs: start, look, search, watch, cancel, pause, rerun.

    POST /v1/scripts/{name}/runs     202 and the run's address
    POST /v1/call/{name}             the same, and the answer is its result: the stream of its events, or a table (see `results`)
    GET  /v1/runs                    a page of runs
    GET  /v1/runs/{id}               how it stands; its output or error at the end
    GET  /v1/runs/{id}/events        its events: live, or replayed when it has ended
    POST /v1/runs/{id}/cancel
    POST /v1/runs/{id}:pause         begin nothing new
    POST /v1/runs/{id}:resume        go on
    POST /v1/runs/{id}:rerun         a new run, from the start or from a step

A run's id may hold `/` (a child run has its parent's id in front), so it is matched as a path. A client that goes away does
not stop its run.
"""

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Header, Query, Request, Response
from temporalio.client import WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from gateway.access import about, access_of, changes_nothing, credential_of
from gateway.problems import ApiError
from gateway.results.asking import MEDIA_TYPES, TABLES, LastEventId, Parameters, Prefer, read, wait_of
from gateway.results.waiting import address, called, started, tabulated
from gateway.runs.looking import describe_run, head, require_run, require_running
from gateway.runs.rerunning import RerunRequest, rerun_run
from gateway.runs.searching import Search, search
from gateway.runs.signals import closed, send
from gateway.runs.starting import RunRequest, Start, start_run
from gateway.runs.streams import run_events
from gateway.services import Here, Services
from script.wire import GO_ON_SIGNAL, PAUSE_SIGNAL

router = APIRouter(prefix="/v1", tags=["runs"])

Key = Annotated[str | None, Header(alias="Idempotency-Key", description="one key is one run")]
State = Literal["running", "completed", "failed", "canceled", "terminated", "timed_out"]
RunOutcome = Literal["completed", "failed", "canceled", "compensated", "compensation_failed"]
Moment = Annotated[str | None, Query(description="a time, as 2026-11-21T08:30:00Z")]
Responses = dict[int | str, dict[str, Any]]
_RESULT: Final[Responses] = {
    200: {
        "description": "the records, the last one is the run's end, or of type error; or rows",
        "content": {kind: {"schema": {}} for kind in MEDIA_TYPES.values()},
    },
}
_STARTED: Final[Responses] = {
    202: {
        "description": "the run goes on: {id, script, location, events}",
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
}
_ENDED: Final[Responses] = {
    200: {
        "description": "with `Prefer: wait`: the record of the run's end",
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
}
_NOTHING_MORE: Final[Responses] = {
    204: {"description": "sse: the run has ended, and there is nothing more to connect for"}
}


@router.post("/scripts/{name}/runs", status_code=202, responses=_STARTED | _ENDED, response_class=Response)
async def start(
    here: Here, name: str, body: RunRequest, request: Request, key: Key = None, prefer: Prefer = None
) -> Response:
    """Start a run of a script. With an Idempotency-Key, starting twice gives the same run."""
    handle = _noted(request, await start_run(here, name, body, key, access=access_of(request)))
    return await started(here, request, handle.id, name, wait_of(prefer))


@router.post("/call/{name}", responses=_RESULT | _STARTED, response_class=Response)
async def call(
    here: Here,
    name: str,
    body: RunRequest,
    request: Request,
    given: Parameters,
    key: Key = None,
    last_event_id: LastEventId = None,
    prefer: Prefer = None,
) -> Response:
    """Start a run and answer with its result: a stream that begins at once and ends with the run, or what `Prefer` asks for."""
    wait = wait_of(prefer)
    asked = read(request, given, last_event_id, waits=wait is not None)
    handle = _noted(request, await start_run(here, name, body, key, access=access_of(request)))
    if asked.form in TABLES:
        return await called(here, request, handle.id, name, asked, wait)
    if wait is not None and (asked.form == "json" or not wait.seconds):
        return await started(here, request, handle.id, name, wait)
    headers = {"Location": address(handle.id)}
    return run_events(
        here,
        handle.id,
        asked.after,
        request_id=request.state.request_id,
        form=asked.form,
        headers=headers,
        credential=credential_of(request),
    )


@router.get("/runs")
async def list_(
    here: Here,
    script: str | None = None,
    state: State | None = None,
    status: Annotated[State | None, Query(description="the same as state")] = None,
    outcome: RunOutcome | None = None,
    trigger: str | None = None,
    database: str | None = None,
    since: Moment = None,
    until: Moment = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    cursor: str | None = None,
) -> dict[str, Any]:
    """Runs, newest first: those that all filters fit. What has just started may need a moment to appear."""
    if state is not None and status not in (None, state):
        raise ApiError("invalid_field", "state and status say the same, and differ", pointer="?status")
    wanted = Search(script, state or status, outcome, trigger, database, since, until)
    runs, pages = await search(here, wanted, limit=limit, cursor=cursor)
    return {"data": list(map(head, runs)), **pages}


@router.get("/runs/{run_id:path}/events", responses=_RESULT | _NOTHING_MORE, response_class=Response)
async def events(
    here: Here, run_id: str, request: Request, given: Parameters, last_event_id: LastEventId = None
) -> Response:
    """A run's events: those of the past, then live until its end. Or, as CSV or Arrow, the rows of its result or of a step's."""
    asked = read(request, given, last_event_id)
    found = await require_run(here, run_id)
    if asked.form in TABLES:
        return await tabulated(here, request, run_id, asked)
    stream = run_events(
        here,
        run_id,
        asked.after,
        request_id=request.state.request_id,
        form=asked.form,
        credential=credential_of(request),
    )
    if asked.form == "sse" and asked.after and found.close_time is not None and not await stream.begins():
        return Response(status_code=204)  # a browser connects again and again until it is told this
    return stream


@router.post("/runs/{run_id:path}/cancel", status_code=202)
async def cancel(here: Here, run_id: str) -> dict[str, Any]:
    """Ask a run to end: it rolls its open transaction back first."""
    await require_running(here, run_id)
    try:
        await here.client.get_workflow_handle(run_id).cancel()
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            raise closed(run_id) from None
        raise
    return {"id": run_id, "state": "canceling"}


@router.post("/runs/{run_id:path}:pause", status_code=202)
async def pause(here: Here, run_id: str) -> dict[str, Any]:
    """Let a run begin nothing new. What is under way goes on to its end, and is heard; timers run."""
    return await _signal(here, run_id, PAUSE_SIGNAL, paused=True)


@router.post("/runs/{run_id:path}:resume", status_code=202)
async def resume(here: Here, run_id: str) -> dict[str, Any]:
    """Let a run go on that was paused."""
    return await _signal(here, run_id, GO_ON_SIGNAL, paused=False)


async def _signal(here: Services, run_id: str, signal: str, *, paused: bool) -> dict[str, Any]:
    await require_running(here, run_id)
    await send(here, run_id, signal)
    return {"id": run_id, "paused": paused}


@router.post("/runs/{run_id:path}:rerun", status_code=202)
async def rerun(
    here: Here, run_id: str, body: RerunRequest, request: Request, response: Response, key: Key = None
) -> dict[str, Any]:
    """Start a new run that repeats one that has ended: from its start, or from a step. What is before that step is not done again."""
    made, told = await rerun_run(here, run_id, body, key, access_of(request))
    handle = _noted(request, made, "new_run")
    about(request, script=told["script"])
    response.headers["Location"] = address(handle.id)
    return {"id": handle.id, **told, "location": address(handle.id), "events": f"{address(handle.id)}/events"}


def _noted(request: Request, made: Start, target: str = "run") -> WorkflowHandle[Any, Any]:
    """Tell the audit log which run was started; one that was there has only been found again."""
    about(request, **{target: made.handle.id})
    if not made.new:
        changes_nothing(request)
    return made.handle


@router.get("/runs/{run_id:path}")
async def show(here: Here, run_id: str) -> dict[str, Any]:
    """How a run stands; its output or its error when it has ended."""
    return await describe_run(here, run_id)
