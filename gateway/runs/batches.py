"""Batches of running runs: how many chunks run side by side.

    POST /v1/runs/{id}:concurrency    from now on

Which batches a run is in the middle of, the run itself tells. It hears the change between chunks: more of them begin at once; one that is
too many goes on to its end, and the rest of its part is given back. The result of a batch is the same with any number.
"""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from gateway.problems import ApiError
from gateway.runs.approvals import path_of
from gateway.runs.looking import require_running, standing
from gateway.runs.signals import send
from gateway.services import Here
from script.machine.parts import MOST
from script.wire import CONCURRENCY_SIGNAL, Concurrency

router = APIRouter(prefix="/v1", tags=["runs"])


class ConcurrencyRequest(BaseModel):
    """How many chunks at once. `step` may be left out where only one batch runs."""

    model_config = ConfigDict(extra="forbid")

    concurrency: int = Field(strict=True, ge=1, le=MOST, description="chunks that may run side by side")
    step: str | None = Field(default=None, description="the path or key of the batch's loop")


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
