"""Batches of runs: how far they are, how they ended, and how many chunks run side by side.

    GET  /v1/runs/{id}/batches        all that have begun
    POST /v1/runs/{id}:concurrency    from now on

What a batch has gone through, its events tell, also when its run has ended; one that fails in its first chunk tells nothing of the kind.
One that runs again, by `retry` or after a conflict of the transaction around it, is told as it is then. Which batches a run is in the
middle of, the run itself tells as well. It hears the change of concurrency between chunks: more of them begin at once; one that is too
many goes on to its end, and the rest of its part is given back. The result of a batch is the same with any number.
"""

from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from gateway.problems import ApiError
from gateway.runs.approvals import path_of
from gateway.runs.looking import require_run, require_running, standing
from gateway.runs.signals import send
from gateway.runs.watch import watch_run
from gateway.services import Here
from script.machine.events import key_of
from script.machine.parts import MOST
from script.wire import CONCURRENCY_SIGNAL, Concurrency

router = APIRouter(prefix="/v1", tags=["runs"])


class ConcurrencyRequest(BaseModel):
    """How many chunks at once. `step` may be left out where only one batch runs."""

    model_config = ConfigDict(extra="forbid")

    concurrency: int = Field(strict=True, ge=1, le=MOST, description="chunks that may run side by side")
    step: str | None = Field(default=None, description="the path or key of the batch's loop")


@router.get("/runs/{run_id:path}/batches")
async def list_batches(
    here: Here, run_id: str, limit: Annotated[int, Query(ge=1, le=1000)] = 50, cursor: str | None = None
) -> dict[str, Any]:
    """The batches that have gone through a chunk, in the order in which their first ones ended."""
    about = f"batches/{run_id}"
    first: int = here.cursors.open(about, cursor) if cursor is not None else 0
    await require_run(here, run_id)
    found: dict[str, dict[str, Any]] = {}
    async with aclosing(watch_run(here.client, run_id, 0, wait=False)) as events:
        async for event in events:
            note(found, event)
    after = first + limit
    more = len(found) > after
    return {
        "data": list(found.values())[first:after],
        "has_more": more,
        "next_cursor": here.cursors.seal(about, after) if more else None,
    }


def note(found: dict[str, dict[str, Any]], event: dict[str, Any]) -> None:
    """Take in an event of a run: what `found` tells of its batches, by the key of their step."""
    if event["type"] == "run":
        if event["status"] != "started":  # it ended in the middle of them
            for batch in found.values():
                if batch["status"] == "running":
                    batch |= {"status": "canceled", "eta_seconds": None}
        return
    key = key_of(event) if "path" in event else ""
    if key in found and event["status"] == "retrying":
        found[key]["status"] = "running"
        found[key].pop("error", None)
    elif event["type"] == "progress":
        told = {name: event["result"][name] for name in ("processed", "failed", "total", "rate", "eta_seconds")}
        found[key] = {"step": key, "name": event["name"], "status": "running", **told, "at": event["started_at"]}
    elif event["type"] == "loop" and key in found and event["status"] not in ("started", "running", "retrying"):
        ended = {"status": event["status"], "eta_seconds": None, "at": _ended(event)}
        found[key] |= ended | ({"error": event["error"]} if "error" in event else {})


def _ended(event: dict[str, Any]) -> str:
    began = datetime.fromisoformat(event["started_at"])
    return (began + timedelta(milliseconds=event["duration_ms"])).isoformat(timespec="milliseconds")


@router.post("/runs/{run_id:path}:concurrency", status_code=202)
async def concurrency(here: Here, run_id: str, body: ConcurrencyRequest) -> dict[str, Any]:
    """Let a running batch run so many chunks side by side from now on."""
    await require_running(here, run_id)
    told = await standing(here, run_id)
    if told is None:
        raise ApiError(
            "run_silent", f"no worker answers for the run {run_id!r}", hint="is a worker running?", retryable=True
        )
    step = _chosen(run_id, [entry["step"] for entry in told["batches"]], body.step)
    await send(here, run_id, CONCURRENCY_SIGNAL, Concurrency(step, body.concurrency))
    return {"id": run_id, "step": step, "concurrency": body.concurrency}


def _chosen(run_id: str, running: list[str], step: str | None) -> str:
    """The batch that is meant. Raises ApiError."""
    fit = [key for key in running if step is None or step in (key, path_of(key))]
    if len(fit) == 1:
        return fit[0]
    if not running:
        raise ApiError(
            "no_batch",
            f"the run {run_id!r} is not in the middle of a batch",
            hint="GET /v1/runs/{run_id} tells the batches that run",
        )
    hint = f"its batches are {', '.join(running)}"
    if not fit:
        raise ApiError("no_batch", f"the run {run_id!r} has no batch {step!r}", pointer="/step", hint=hint)
    raise ApiError("ambiguous_step", "several batches run", pointer="/step", hint=hint)
