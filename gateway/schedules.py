"""Schedules: Temporal's own, no table and no clock of ours.

A schedule starts runs of a script, whose ids are `schedule-<id>-<time>`. Without `version` each run takes the version that is
the latest when it fires. Defaults that are decisions: `overlap` skip (a run that is still going makes the next one be left
out), and a catch-up window (missed times are made up for after a pause of everything: a day for calendars and cron, ten
minutes for intervals), because Temporal's own default of a year would fire months of missed runs at once.
"""

import re
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field
from temporalio.client import (
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleDescription,
    ScheduleHandle,
    ScheduleListDescription,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleState,
)
from temporalio.common import SearchAttributeKey
from temporalio.service import RPCError, RPCStatusCode

from gateway.calendars import Calendar, check_zone, clock_change_warnings, fire_times, schedule_spec
from gateway.problems import ApiError
from gateway.services import Here, Services
from gateway.starting import attributes, check_request, resolve, summary
from script.program import Program
from script.wire import WORKFLOW_TYPE, RunInput

router = APIRouter(prefix="/v1/schedules", tags=["schedules"])

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_DAY, _TEN_MINUTES = 86_400, 600
SCRIPT: Final = SearchAttributeKey.for_keyword("SopScript")
MEMO: Final = "sop_task_queue"


class ScheduleRequest(BaseModel):
    """What to run, and when: one of calendar, cron and every."""

    model_config = ConfigDict(extra="forbid")

    id: str | None = Field(None, description="default: the script's name and four random digits")
    script: str
    version: str | int | None = Field(None, description="default: the latest when it fires")
    arguments: dict[str, Any] = {}
    mocks: list[str] = []
    calendar: Calendar | None = None
    cron: str | None = Field(None, max_length=100)
    every: float | None = Field(None, ge=1, description="seconds")
    time_zone: str = "UTC"
    overlap: Literal["skip", "buffer_one", "buffer_all", "cancel_other", "terminate_other", "allow_all"] = "skip"
    catchup_seconds: float | None = Field(None, ge=10, le=30 * _DAY)
    note: str = Field("", max_length=200)


class Note(BaseModel):
    """Why."""

    model_config = ConfigDict(extra="forbid")

    note: str = Field("", max_length=200)


@router.post("", status_code=201)
async def create(here: Here, body: ScheduleRequest, response: Response) -> dict[str, Any]:
    """Create a schedule; the answer has its next five times, in UTC and local."""
    check_zone(body.time_zone)
    schedule_id = body.id or f"{body.script}-{uuid.uuid4().hex[:4]}"
    if not _ID.fullmatch(schedule_id):
        raise ApiError(
            "invalid_name",
            f"{body.id!r} is no id for a schedule",
            pointer="/id",
            hint="letters, digits, . _ and -, at most 100",
        )
    program, schedule = _schedule(here, schedule_id, body)
    try:
        await here.client.create_schedule(
            schedule_id,
            schedule,
            memo={MEMO: here.task_queue},
            search_attributes=attributes(program, "schedule"),
        )
    except ScheduleAlreadyRunningError:
        raise ApiError(
            "schedule_exists", f"there is a schedule {schedule_id!r} already", pointer="/id", hint="delete it first"
        ) from None
    except RPCError as error:
        if error.status == RPCStatusCode.INVALID_ARGUMENT:
            raise ApiError("invalid_schedule", f"Temporal refuses it: {error.message}", pointer="/cron") from None
        raise
    response.headers["Location"] = f"/v1/schedules/{schedule_id}"
    return await show(here, schedule_id)


@router.get("")
async def list_(here: Here) -> dict[str, Any]:
    """All schedules of scripts. One that was just created may need a moment to appear."""
    found = [entry async for entry in await here.client.list_schedules()]
    return {"data": [_line(entry) for entry in found if (await entry.memo()).get(MEMO) == here.task_queue]}


@router.get("/{schedule_id}")
async def show(here: Here, schedule_id: str) -> dict[str, Any]:
    """A schedule: what it runs, when, its next five times and its last runs."""
    found, start = await _require(here, schedule_id)
    return _told(found, start)


@router.delete("/{schedule_id}", status_code=204)
async def delete(here: Here, schedule_id: str) -> None:
    """Remove a schedule; runs that it started go on."""
    await (await _handle(here, schedule_id)).delete()


@router.post("/{schedule_id}/pause")
async def pause(here: Here, schedule_id: str, body: Note | None = None) -> dict[str, Any]:
    """Start no more runs until it is unpaused."""
    await (await _handle(here, schedule_id)).pause(note=body.note if body and body.note else None)
    return await show(here, schedule_id)


@router.post("/{schedule_id}/unpause")
async def unpause(here: Here, schedule_id: str, body: Note | None = None) -> dict[str, Any]:
    """Go on."""
    await (await _handle(here, schedule_id)).unpause(note=body.note if body and body.note else None)
    return await show(here, schedule_id)


@router.post("/{schedule_id}/trigger", status_code=202)
async def trigger(here: Here, schedule_id: str) -> dict[str, Any]:
    """Run it now, once more."""
    await (await _handle(here, schedule_id)).trigger()
    return {"id": schedule_id, "triggered": True}


async def _handle(here: Services, schedule_id: str) -> ScheduleHandle:
    """The handle of a schedule that is ours."""
    await _require(here, schedule_id)
    return here.client.get_schedule_handle(schedule_id)


async def _require(here: Services, schedule_id: str) -> tuple[ScheduleDescription, RunInput]:
    """The schedule and what it runs. Raises ApiError `schedule_not_found`, also for what is not of this installation."""
    try:
        found = await here.client.get_schedule_handle(schedule_id).describe()
    except RPCError as error:
        if error.status not in (RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT):
            raise
        raise ApiError("schedule_not_found", f"there is no schedule {schedule_id!r}") from None
    action = found.schedule.action
    ours = isinstance(action, ScheduleActionStartWorkflow) and (action.workflow, action.task_queue)
    if not isinstance(action, ScheduleActionStartWorkflow) or ours != (WORKFLOW_TYPE, here.task_queue):
        raise ApiError("schedule_not_found", f"there is no schedule {schedule_id!r}")
    start: RunInput = (await here.client.data_converter.decode(list(action.args), [RunInput]))[0]
    return found, start


def _schedule(here: Services, schedule_id: str, body: ScheduleRequest) -> tuple[Program, Schedule]:
    programs = resolve(here, body.script, body.version)
    check_request(here, programs[0], body.arguments, body.mocks)
    version = programs[0].hash if body.version is not None else None
    start = RunInput(
        script=body.script, version=version, arguments=body.arguments, trigger="schedule", mocks=body.mocks
    )
    default = _TEN_MINUTES if body.every is not None else _DAY
    schedule = Schedule(
        action=ScheduleActionStartWorkflow(
            WORKFLOW_TYPE,
            start,
            id=f"schedule-{schedule_id}",
            task_queue=here.task_queue,
            typed_search_attributes=attributes(programs[0], "schedule"),
            static_summary=summary(programs[0], dry_run=start.dry_run),
        ),
        spec=schedule_spec(body.calendar, body.cron, body.every, body.time_zone),
        policy=SchedulePolicy(
            overlap=ScheduleOverlapPolicy[body.overlap.upper()],
            catchup_window=timedelta(seconds=body.catchup_seconds or default),
        ),
        state=ScheduleState(note=body.note or None),
    )
    return programs[0], schedule


def _told(found: ScheduleDescription, start: RunInput) -> dict[str, Any]:
    spec, policy = found.schedule.spec, found.schedule.policy
    zone = ZoneInfo(spec.time_zone_name or "UTC")
    return {
        "id": found.id,
        "script": start.script,
        "version": start.version,
        "arguments": start.arguments,
        "mocks": start.mocks,
        "time_zone": zone.key,
        "when": [calendar.comment or _hours(calendar) for calendar in spec.calendars]
        + [f"every {interval.every.total_seconds():g} s" for interval in spec.intervals],
        "overlap": policy.overlap.name.lower(),
        "catchup_seconds": policy.catchup_window.total_seconds() if policy.catchup_window else None,
        "paused": found.schedule.state.paused,
        "note": found.schedule.state.note or "",
        "next_runs": fire_times(found.info.next_action_times, zone),
        "recent_runs": [
            {"run": result.action.workflow_id, "scheduled_at": result.scheduled_at.isoformat()}
            for result in found.info.recent_actions
            if hasattr(result.action, "workflow_id")
        ],
        "skipped": found.info.num_actions_skipped_overlap,
        "warnings": clock_change_warnings(spec, zone, datetime.now(UTC)),
    }


def _hours(calendar: Any) -> str:
    ranges = (calendar.minute, calendar.hour, calendar.day_of_month, calendar.month, calendar.day_of_week)
    return "cron " + " ".join(",".join(_range(part) for part in field) or "*" for field in ranges)


def _range(part: Any) -> str:
    text = str(part.start) if part.end <= part.start else f"{part.start}-{part.end}"
    return text if part.step <= 1 else f"{text}/{part.step}"


def _line(entry: ScheduleListDescription) -> dict[str, Any]:
    schedule, info = entry.schedule, entry.info
    zone = ZoneInfo((schedule.spec.time_zone_name if schedule else None) or "UTC")
    return {
        "id": entry.id,
        "script": entry.typed_search_attributes.get(SCRIPT),
        "time_zone": zone.key,
        "paused": schedule.state.paused if schedule else None,
        "next_runs": fire_times(info.next_action_times if info else [], zone),
    }
