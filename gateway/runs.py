"""Runs: start, look, watch, cancel.

    POST /v1/scripts/{name}/runs     202 and the run's address
    POST /v1/call/{name}             the same, and the answer is the stream of its events
    GET  /v1/runs                    a page of runs
    GET  /v1/runs/{id}               how it stands; its output or error at the end
    GET  /v1/runs/{id}/events        its events: live, or replayed when it has ended
    POST /v1/runs/{id}/cancel

A run's id may hold `/` (a child run has its parent's id in front), so it is matched as a path. A client that goes away does
not stop its run.
"""

from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Header, Query, Request, Response
from temporalio.service import RPCError, RPCStatusCode

from gateway.looking import describe_run, list_runs, require_run
from gateway.problems import ApiError
from gateway.services import Here
from gateway.starting import RunRequest, start_run
from gateway.streams import MEDIA_TYPE, run_events

router = APIRouter(prefix="/v1", tags=["runs"])

Key = Annotated[str | None, Header(alias="Idempotency-Key", description="one key is one run")]
State = Literal["running", "completed", "failed", "canceled", "terminated", "timed_out"]
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "one event a line; the last one is the run's end, or of type error",
        "content": {MEDIA_TYPE: {"schema": {"type": "string"}}},
    }
}


@router.post("/scripts/{name}/runs", status_code=202)
async def start(here: Here, name: str, body: RunRequest, response: Response, key: Key = None) -> dict[str, Any]:
    """Start a run of a script. With an Idempotency-Key, starting twice gives the same run."""
    handle = await start_run(here, name, body, key)
    response.headers["Location"] = address(handle.id)
    return {"id": handle.id, "script": name, "location": address(handle.id), "events": f"{address(handle.id)}/events"}


@router.post("/call/{name}", responses=_STREAM, response_class=Response)
async def call(here: Here, name: str, body: RunRequest, request: Request, key: Key = None) -> Response:
    """Start a run and stream its events. The answer begins at once and ends with the run."""
    handle = await start_run(here, name, body, key)
    headers = {"Location": address(handle.id)}
    return run_events(here, handle.id, 0, request_id=request.state.request_id, headers=headers)


@router.get("/runs")
async def list_(
    here: Here,
    script: str | None = None,
    state: State | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    cursor: str | None = None,
) -> dict[str, Any]:
    """Runs, newest first; of a script, or in a state. What has just started may need a moment to appear."""
    return await list_runs(here, script=script, state=state, limit=limit, cursor=cursor)


@router.get("/runs/{run_id:path}/events", responses=_STREAM, response_class=Response)
async def events(
    here: Here,
    run_id: str,
    request: Request,
    after: Annotated[int, Query(ge=0, description="only events with a higher seq")] = 0,
) -> Response:
    """A run's events: those of the past, then live until its end."""
    await require_run(here, run_id)
    return run_events(here, run_id, after, request_id=request.state.request_id)


@router.post("/runs/{run_id:path}/cancel", status_code=202)
async def cancel(here: Here, run_id: str) -> dict[str, Any]:
    """Ask a run to end: it rolls its open transaction back first."""
    found = await require_run(here, run_id)
    if found.close_time is not None:
        raise ApiError("run_closed", f"the run {run_id!r} has ended already")
    try:
        await here.client.get_workflow_handle(run_id).cancel()
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            raise ApiError("run_closed", f"the run {run_id!r} has ended already") from None
        raise
    return {"id": run_id, "state": "canceling"}


@router.get("/runs/{run_id:path}")
async def show(here: Here, run_id: str) -> dict[str, Any]:
    """How a run stands; its output or its error when it has ended."""
    return await describe_run(here, run_id)


def address(run_id: str) -> str:
    """The path of a run."""
    return f"/v1/runs/{quote(run_id, safe='')}"
