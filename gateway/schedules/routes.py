"""The routes of schedules; what they do is in `scheduling`."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from gateway.access import about, access_of
from gateway.authoring.sessions import own
from gateway.runs.starting import resolve
from gateway.schedules.requests import Backfill, ScheduleChange, ScheduleRequest
from gateway.services import Here, Services
from script.compiler.secrets import NAMED
from toolbox.access import Scope, check_start

router = APIRouter(prefix="/v1/schedules", tags=["schedules"])

Limit = Annotated[int, Query(ge=1, le=1000)]


class Note(BaseModel):
    """Why."""

    model_config = ConfigDict(extra="forbid")

    note: str = Field("", max_length=200)


@router.post("", status_code=201)
async def create(here: Here, body: ScheduleRequest, request: Request, response: Response) -> dict[str, Any]:
    """Create a schedule; the answer has its next five times, in UTC and local. A dry run only tells them (200)."""
    _check_rights(here, request, body, (body.script, body.version, body.arguments))
    told = await here.schedules.create(body)
    if body.dry_run:
        response.status_code = 200
    else:
        response.headers["Location"] = f"/v1/schedules/{told['id']}"
    about(request, schedule=told["id"])
    return told


@router.get("")
async def list_(here: Here) -> dict[str, Any]:
    """All schedules of scripts. One that was just created may need a moment to appear."""
    return {"data": await here.schedules.list()}


@router.get("/{schedule_id}")
async def show(here: Here, schedule_id: str) -> dict[str, Any]:
    """A schedule: what it runs, when, its next five times, its last runs, and the times that had none."""
    return await here.schedules.show(schedule_id)


@router.patch("/{schedule_id}")
async def change(here: Here, schedule_id: str, body: ScheduleChange, request: Request) -> dict[str, Any]:
    """Change it in place, all fields of the body at once; the others stay."""
    if body.model_fields_set & _WHAT:
        _, start, _ = await here.schedules.require(schedule_id)
        pinned = start.version if body.script in (None, start.script) else None
        version = body.version if "version" in body.model_fields_set else pinned
        arguments = start.arguments if body.arguments is None else body.arguments
        _check_rights(here, request, body, (body.script or start.script, version, arguments))
    return await here.schedules.change(schedule_id, body)


@router.delete("/{schedule_id}", status_code=204)
async def delete(here: Here, schedule_id: str) -> None:
    """Remove a schedule; runs that it started go on."""
    await here.schedules.delete(schedule_id)


@router.post("/{schedule_id}/pause")
async def pause(here: Here, schedule_id: str, body: Note | None = None) -> dict[str, Any]:
    """Start no more runs until it is unpaused."""
    return await here.schedules.pause(schedule_id, body.note if body else "")


@router.post("/{schedule_id}/unpause")
async def unpause(here: Here, schedule_id: str, body: Note | None = None) -> dict[str, Any]:
    """Go on."""
    return await here.schedules.pause(schedule_id, body.note if body else "", paused=False)


@router.post("/{schedule_id}/trigger", status_code=202)
async def trigger(here: Here, schedule_id: str) -> dict[str, Any]:
    """Run it now, once more."""
    return await here.schedules.trigger(schedule_id)


@router.post("/{schedule_id}/backfill", status_code=202)
async def backfill(here: Here, schedule_id: str, body: Backfill) -> dict[str, Any]:
    """Run it for the due times of a stretch of the past, both ends included."""
    return await here.schedules.backfill(schedule_id, body)


@router.get("/{schedule_id}/times")
async def times(
    here: Here,
    schedule_id: str,
    start: Annotated[AwareDatetime | None, Query(alias="from", description="default: now")] = None,
    to: Annotated[AwareDatetime | None, Query(description="default: a year after `from`")] = None,
    limit: Limit = 50,
) -> dict[str, Any]:
    """Its due times, in UTC and local; those that are past with the run that was started for them, or null."""
    first = start or datetime.now(UTC)
    return await here.schedules.times(schedule_id, first, to or first + timedelta(days=366), limit)


_WHAT: Final = frozenset({"script", "version", "arguments", "mocks", "notify"})
"""Fields of a change that say what is done, and not only when."""


def _check_rights(
    here: Services,
    request: Request,
    body: ScheduleRequest | ScheduleChange,
    runs: tuple[str, str | int | None, dict[str, Any]],
) -> None:
    """Whether the key may start this script, and tell somebody. Raises ApiError, ToolError."""
    script, version, arguments = runs
    about(request, script=script)
    access = access_of(request)
    check_start(access, resolve(here, script, version), arguments)
    if body.notify is not None:
        if body.notify.session is not None:
            own(here, request, body.notify.session)
        if body.notify.receiver() is not None:
            secrets = (Scope("secrets", "use", name) for name in NAMED.findall(body.notify.secret))
            access.require(Scope("tools", names="notify"), *secrets)
