"""Schedules: Temporal's own, no table and no clock of ours.

A schedule starts runs of a script, whose ids are `schedule-<id>-<time>`. Without `version` each run takes the version that is
the latest when it fires. Defaults that are decisions: `overlap` skip (a run that is still going makes the next one be left
out), and a catch-up window (missed times are made up for after a pause of everything: a day for calendars and cron, ten
minutes for intervals), because Temporal's own default of a year would fire months of missed runs at once.

A change is one update of the whole schedule, its times and whether it is paused together: two calls would leave a moment in
which the new times fire although it should be paused.
"""

import hashlib
import re
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from temporalio.api.enums.v1 import ScheduleOverlapPolicy
from temporalio.api.schedule.v1 import BackfillRequest, SchedulePatch, TriggerImmediatelyRequest
from temporalio.api.workflowservice.v1 import PatchScheduleRequest
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleDescription,
    ScheduleHandle,
    ScheduleListDescription,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.common import SearchAttributeKey
from temporalio.service import RPCError, RPCStatusCode

from gateway.problems import ApiError
from gateway.runs.starting import attributes
from gateway.schedules.calendars import fire_time, fire_times
from gateway.schedules.clock_changes import clock_change_warnings
from gateway.schedules.requests import Backfill, ScheduleChange, ScheduleRequest, changed_schedule, new_schedule
from gateway.schedules.times import due_times, exclusive, match_runs, preview, runs_by_time
from query import Databases
from script.wire import NOTICES_MEMO, WORKFLOW_TYPE, RunInput
from toolbox import Registry, ScriptLibrary
from toolbox.notices import NoticeBook, Notify

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
SCRIPT: Final = SearchAttributeKey.for_keyword("SopScript")
MEMO: Final = "sop_task_queue"
KEY_MEMO: Final = "sop_idempotency_key"
MOST_BACKFILLED: Final = 1000
"""Temporal keeps at most so many runs waiting for a schedule, and drops the others."""
MISSED_LOOKED_AT: Final = 10_000
LAST_MISSED: Final = 10


@dataclass(frozen=True)
class Schedules:
    """The schedules of one installation: those whose runs go to its task queue."""

    client: Client
    registry: Registry
    library: ScriptLibrary
    databases: Databases
    task_queue: str

    async def create(self, body: ScheduleRequest, key: str | None = None) -> dict[str, Any]:
        """A new schedule, as `show` tells it; the one that is there if the same idempotency key made it. Raises ApiError, ToolError."""
        schedule_id = body.id or f"{body.script}-{uuid.uuid4().hex[:4]}"
        if not _ID.fullmatch(schedule_id):
            hint = "letters, digits, . _ and -, at most 100"
            raise ApiError("invalid_name", f"{body.id!r} is no id for a schedule", pointer="/id", hint=hint)
        program, schedule = new_schedule(self, self.task_queue, schedule_id, body)
        if body.dry_run:
            return _due(await self._previewed(schedule_id, schedule))
        memo = {MEMO: self.task_queue} | ({KEY_MEMO: key} if key is not None else {})
        found = attributes(program, "schedule")
        try:
            await self.client.create_schedule(schedule_id, schedule, memo=memo, search_attributes=found)
        except ScheduleAlreadyRunningError:
            if key is not None and await self._made_by(schedule_id) == key:
                return await self.show(schedule_id)
            message, hint = f"there is a schedule {schedule_id!r} already", "change it, or delete it first"
            raise ApiError("schedule_exists", message, pointer="/id", hint=hint) from None
        except RPCError as error:
            raise _refused(error) from None
        told = await self.show(schedule_id)
        try:
            return _due(told)
        except ApiError:
            await self.delete(schedule_id)
            raise

    async def change(self, schedule_id: str, body: ScheduleChange) -> dict[str, Any]:
        """Change a schedule in place, by one update; as `show` tells it. Raises ApiError, ToolError."""
        found, start, notify = await self.require(schedule_id)
        if body.dry_run:
            changed_schedule(self, self.task_queue, schedule_id, (found.schedule, start, notify), body)
            return await self._previewed(schedule_id, found.schedule)

        async def updated(now: ScheduleUpdateInput) -> ScheduleUpdate:
            schedule = now.description.schedule
            start, notify = await self._runs(schedule)
            program = changed_schedule(self, self.task_queue, schedule_id, (schedule, start, notify), body)
            return ScheduleUpdate(schedule, attributes(program, "schedule") if program is not None else None)

        try:
            await self.client.get_schedule_handle(schedule_id).update(updated)
        except RPCError as error:
            raise _refused(error) from None
        return await self.show(schedule_id)

    async def list(self) -> list[dict[str, Any]]:
        """All of them. One that was just created may need a moment to appear."""
        found = [entry async for entry in await self.client.list_schedules()]
        return [_line(entry) for entry in found if (await entry.memo()).get(MEMO) == self.task_queue]

    async def show(self, schedule_id: str) -> dict[str, Any]:
        """What it runs, when, its next five times, its last runs, what was missed. Raises ApiError."""
        found, start, notify = await self.require(schedule_id)
        told = _told(found, start, notify)
        told["missed"] = await self._missed(found)
        told["health"] = NoticeBook(self.databases).health(schedule_id)
        return told

    async def delete(self, schedule_id: str) -> None:
        """Remove it. Raises ApiError."""
        await (await self._handle(schedule_id)).delete()

    async def pause(self, schedule_id: str, note: str = "", *, paused: bool = True) -> dict[str, Any]:
        """Start no more runs, or go on. Raises ApiError."""
        handle = await self._handle(schedule_id)
        await (handle.pause if paused else handle.unpause)(note=note or None)
        return await self.show(schedule_id)

    async def trigger(self, schedule_id: str, key: str | None = None) -> dict[str, Any]:
        """Run it now, once more; the same idempotency key is one run. Raises ApiError."""
        await self.require(schedule_id)
        await self._patch(schedule_id, SchedulePatch(trigger_immediately=TriggerImmediatelyRequest()), key)
        return {"id": schedule_id, "triggered": True}

    async def backfill(self, schedule_id: str, body: Backfill, key: str | None = None) -> dict[str, Any]:
        """Run it for past due times, each of them once more; the same idempotency key does it once. Raises ApiError."""
        found, _, _ = await self.require(schedule_id)
        if body.to < body.start:
            raise ApiError("invalid_schedule", "to is before from", pointer="/to")
        if body.to > datetime.now(UTC):
            message = "to is in the future"
            raise ApiError("invalid_schedule", message, pointer="/to", hint="later times come by themselves")
        due: list[datetime] = []
        async for moment in due_times(self.client, schedule_id, body.start, body.to):
            due.append(moment)
            if len(due) > MOST_BACKFILLED:
                message = f"more than {MOST_BACKFILLED} times are due from {body.start} to {body.to}"
                raise ApiError("invalid_schedule", message, pointer="/to", hint="fill it in piece by piece")
        if due:
            stretch = BackfillRequest(
                overlap_policy=ScheduleOverlapPolicy.Value(f"SCHEDULE_OVERLAP_POLICY_{body.overlap.upper()}")
            )
            stretch.start_time.FromDatetime(exclusive(body.start).astimezone(UTC))
            stretch.end_time.FromDatetime(body.to.astimezone(UTC))
            await self._patch(schedule_id, SchedulePatch(backfill_request=[stretch]), key)
        zone = _zone(found.schedule)
        ends = {"first": fire_time(due[0], zone), "last": fire_time(due[-1], zone)} if due else {}
        return {"id": schedule_id, "times": len(due), "overlap": body.overlap, **ends}

    async def times(self, schedule_id: str, start: datetime, end: datetime, limit: int) -> dict[str, Any]:
        """The due times from `start` to `end`; those that are past with the run that was started, or null. Raises ApiError."""
        found, _, _ = await self.require(schedule_id)
        zone, jitter = _zone(found.schedule), found.schedule.spec.jitter or timedelta(0)
        due: list[datetime] = []
        async for moment in due_times(self.client, schedule_id, start, end):
            due.append(moment)
            if len(due) > limit:
                break
        page, now = due[:limit], datetime.now(UTC)
        runs: dict[datetime, str] = {}
        if page and page[0] <= now:
            named = await runs_by_time(self.client, schedule_id, page[0] - jitter, min(page[-1], now))
            recent = {run.scheduled_at: _workflow(run) for run in found.info.recent_actions}
            runs = match_runs(page, named, jitter) | {moment: recent[moment] for moment in page if moment in recent}
        data: list[dict[str, Any]] = []
        for moment in page:
            told: dict[str, Any] = dict(fire_time(moment, zone))
            data.append(told | {"run": runs.get(moment)} if moment <= now else told)
        return {"data": data, "time_zone": zone.key, "has_more": len(due) > limit}

    async def require(self, schedule_id: str) -> tuple[ScheduleDescription, RunInput, Notify | None]:
        """The schedule, what it runs and who is told. Raises ApiError `schedule_not_found`, also for what is not of this installation."""
        unknown = ApiError("schedule_not_found", f"there is no schedule {schedule_id!r}")
        if not _ID.fullmatch(schedule_id):
            raise unknown
        try:
            found = await self.client.get_schedule_handle(schedule_id).describe()
        except RPCError as error:
            if error.status not in (RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT):
                raise
            raise unknown from None
        action = found.schedule.action
        ours = isinstance(action, ScheduleActionStartWorkflow) and (action.workflow, action.task_queue)
        if ours != (WORKFLOW_TYPE, self.task_queue):
            raise unknown
        start, notify = await self._runs(found.schedule)
        return found, start, notify

    async def _runs(self, schedule: Schedule) -> tuple[RunInput, Notify | None]:
        action = schedule.action
        assert isinstance(action, ScheduleActionStartWorkflow)
        converter = self.client.data_converter
        start: RunInput = (await converter.decode(list(action.args), [RunInput]))[0]
        told = (action.memo or {}).get(NOTICES_MEMO)
        if told is None:
            return start, None
        fields = told if isinstance(told, dict) else (await converter.decode([told], [dict]))[0]
        return start, Notify.of_memo(fields)

    async def _patch(self, schedule_id: str, patch: SchedulePatch, key: str | None) -> None:
        """Ask the schedule for runs. The request is named after the key, so that the server knows a repeated one."""
        name = hashlib.sha256(key.encode()).hexdigest() if key is not None else str(uuid.uuid4())
        request = PatchScheduleRequest(
            namespace=self.client.namespace,
            schedule_id=schedule_id,
            patch=patch,
            identity=self.client.identity,
            request_id=name,
        )
        await self.client.workflow_service.patch_schedule(request, retry=True)

    async def _made_by(self, schedule_id: str) -> Any:
        found = await self.client.get_schedule_handle(schedule_id).describe()
        return (await found.memo()).get(KEY_MEMO)

    async def _handle(self, schedule_id: str) -> ScheduleHandle:
        await self.require(schedule_id)
        return self.client.get_schedule_handle(schedule_id)

    async def _previewed(self, schedule_id: str, schedule: Schedule) -> dict[str, Any]:
        """What a schedule would be."""
        try:
            found = await preview(self.client, f".preview-{uuid.uuid4().hex}", schedule)
        except RPCError as error:
            raise _refused(error) from None
        start, notify = await self._runs(found.schedule)
        told = _told(found, start, notify) | {"id": schedule_id, "dry_run": True}
        return {name: value for name, value in told.items() if name != "recent_runs"}

    async def _missed(self, found: ScheduleDescription) -> dict[str, Any]:
        """How many due times had no run and why, and the last of them since the oldest run that Temporal still lists."""
        info, raw = found.info, found.raw_description.info
        counts = {
            "overlap": info.num_actions_skipped_overlap,
            "catchup": info.num_actions_missed_catchup_window,
            "dropped": raw.buffer_dropped,
        }
        times: list[datetime] = []
        if any(counts.values()):
            ran = {run.scheduled_at for run in info.recent_actions}
            changed = info.last_updated_at or info.created_at
            since = max(min(ran, default=changed), changed)
            looked_at = 0
            async for moment in due_times(self.client, found.id, since, datetime.now(UTC)):
                looked_at += 1
                if moment not in ran:
                    times = [*times[-LAST_MISSED + 1 :], moment]
                if looked_at == MISSED_LOOKED_AT:
                    break
        return {**counts, "last": [fire_time(moment, _zone(found.schedule)) for moment in times]}


def _due(told: dict[str, Any]) -> dict[str, Any]:
    """A new schedule, as it is told. Raises ApiError for one that no run would ever start from."""
    if told["next_runs"] or told["remaining_actions"] == 0:
        return told
    message = "it would never be due"
    raise ApiError("invalid_schedule", message, hint="a day that no month has, or an end_at that is past?", pointer="")


def _refused(error: RPCError) -> Exception:
    if error.status == RPCStatusCode.INVALID_ARGUMENT:
        return ApiError("invalid_schedule", f"Temporal refuses it: {error.message}", pointer="/cron")
    return error


def _zone(schedule: Schedule) -> ZoneInfo:
    return ZoneInfo(schedule.spec.time_zone_name or "UTC")


def _workflow(run: Any) -> str:
    return str(getattr(run.action, "workflow_id", ""))


def _told(found: ScheduleDescription, start: RunInput, notify: Notify | None) -> dict[str, Any]:
    spec, policy, state = found.schedule.spec, found.schedule.policy, found.schedule.state
    zone = _zone(found.schedule)
    return {
        "id": found.id,
        "script": start.script,
        "version": start.version,
        "arguments": start.arguments,
        "mocks": start.mocks,
        "time_zone": zone.key,
        "when": [calendar.comment or _hours(calendar) for calendar in spec.calendars]
        + [f"every {interval.every.total_seconds():g} s" for interval in spec.intervals],
        "jitter_seconds": (spec.jitter or timedelta(0)).total_seconds(),
        "start_at": spec.start_at.isoformat() if spec.start_at else None,
        "end_at": spec.end_at.isoformat() if spec.end_at else None,
        "remaining_actions": state.remaining_actions if state.limited_actions else None,
        "overlap": policy.overlap.name.lower(),
        "catchup_seconds": policy.catchup_window.total_seconds() if policy.catchup_window else None,
        "pause_on_failure": policy.pause_on_failure,
        "notify": notify.model_dump(mode="json", exclude_none=True) if notify is not None else None,
        "paused": state.paused,
        "note": state.note or "",
        "next_runs": fire_times(found.info.next_action_times, zone),
        "recent_runs": [
            {"run": _workflow(run), "scheduled_at": run.scheduled_at.isoformat()}
            for run in found.info.recent_actions
            if _workflow(run)
        ],
        "runs": found.info.num_actions,
        "warnings": [*_never(found), *clock_change_warnings(spec, zone, datetime.now(UTC))],
    }


def _never(found: ScheduleDescription) -> list[dict[str, Any]]:
    if found.info.next_action_times:
        return []
    hint = "change its times, or delete it"
    return [{"code": "never_due", "message": "it is not due at any time from now on", "hint": hint}]


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
