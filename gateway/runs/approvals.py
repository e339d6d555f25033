"""Approvals: what waits for a person, and deciding it.

    GET  /v1/approvals               what waits, over all runs
    POST /v1/runs/{id}:decide        approve or reject

Runs that wait are found by their search attribute; what they ask, and whom, the runs themselves tell. Who decides is the name of the
request's API key, never something in the request. A run hears only whom it asks, and the first decision counts; what it was, by whom
and when, is the result of the step.
"""

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from temporalio.client import WorkflowExecution

from gateway.access import access_of
from gateway.problems import ApiError
from gateway.runs.looking import head, require_running, standing
from gateway.runs.searching import Search, search
from gateway.runs.signals import send
from gateway.services import Here
from script.wire import DECIDE_SIGNAL, Decision

router = APIRouter(prefix="/v1", tags=["approvals"])

_AT_ONCE: Final = 8
"""Runs that are asked at once. If as many do not answer, no more are asked: the same workers serve them all."""


class DecideRequest(BaseModel):
    """A decision. `step` may be left out where only one waits."""

    model_config = ConfigDict(extra="forbid")

    approved: bool = Field(strict=True)
    step: str | None = Field(default=None, description="an approval's id, or the path or key of its step")
    comment: str = Field(default="", max_length=4000)


@router.get("/approvals")
async def list_(
    here: Here,
    request: Request,
    mine: Annotated[bool, Query(description="only those that the key of the request is asked for")] = False,
    script: str | None = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="runs, each with all that it waits for")] = 50,
    cursor: str | None = None,
) -> dict[str, Any]:
    """What waits for a person: a page of runs, newest first. A run whose worker does not answer has `approvals` null."""
    me = decider(request)
    runs, pages = await search(here, Search(script=script, waiting=True), limit=limit, cursor=cursor)
    turns, silent = asyncio.Semaphore(_AT_ONCE), 0

    async def ask(run: WorkflowExecution) -> dict[str, Any]:
        nonlocal silent
        async with turns:
            told = await standing(here, run.id) if silent < _AT_ONCE else None
            silent += told is None
        found = head(run)
        kept = ("id", "script", "version", "trigger", "started_at")
        return {**{name: found[name] for name in kept}, "approvals": told["approvals"] if told is not None else None}

    asked = await asyncio.gather(*map(ask, runs))
    data = [run for run in asked if run["approvals"] is None or _left(run, me if mine else None)]
    return {"data": data, **pages}


def _left(run: dict[str, Any], me: str | None) -> bool:
    """Keep what waits for `me`; whether anything does. (A run may have got its answer a moment ago.)"""
    run["approvals"] = [entry for entry in run["approvals"] if me is None or me in entry["by"]]
    return bool(run["approvals"])


@router.post("/runs/{run_id:path}:decide", status_code=202)
async def decide(here: Here, request: Request, run_id: str, body: DecideRequest) -> dict[str, Any]:
    """Approve or reject what a run waits for. The first decision counts; the run's events tell which it was."""
    await require_running(here, run_id)
    told = await standing(here, run_id)
    if told is None:
        raise ApiError(
            "run_silent", f"no worker answers for the run {run_id!r}", hint="is a worker running?", retryable=True
        )
    approval = _chosen(run_id, told["approvals"], body.step)
    me = decider(request)
    if me not in approval["by"]:
        raise ApiError(
            "not_asked",
            f"{approval['step']} asks {_listed(approval['by'])}, and this key is that of {me!r}",
            hint="use the key of somebody who is asked",
        )
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    decision = Decision(approval["id"], body.approved, me, at, body.comment)
    await send(here, run_id, DECIDE_SIGNAL, decision)
    return {"id": run_id, "step": approval["step"], "approved": body.approved, "by": me, "at": at}


def decider(request: Request) -> str:
    """The name of the request's key."""
    return access_of(request).name


def _chosen(run_id: str, approvals: list[dict[str, Any]], step: str | None) -> dict[str, Any]:
    """The approval that is meant. Raises ApiError."""
    fit = [entry for entry in approvals if step is None or step in (entry["id"], entry["step"], path_of(entry["step"]))]
    if len(fit) == 1:
        return fit[0]
    if not approvals:
        raise ApiError(
            "not_waiting",
            f"the run {run_id!r} waits for nobody's decision",
            hint="it may have been decided already; GET /v1/approvals lists what waits",
        )
    waiting = f"it waits at {_listed([entry['id'] for entry in approvals])}"
    if not fit:
        raise ApiError("not_waiting", f"the run {run_id!r} does not wait at {step!r}", pointer="/step", hint=waiting)
    raise ApiError("ambiguous_step", "several steps wait for a decision", pointer="/step", hint=waiting)


def path_of(key: str) -> str:
    """The path of a step's key, without its iteration."""
    return key.partition("#")[0]


def _listed(names: list[Any]) -> str:
    return ", ".join(map(str, names))
