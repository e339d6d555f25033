"""What is asked of a schedule: new ones, changes, fillings-in; and Temporal's form of it.

A schedule is Temporal's `Schedule`: the action starts ScriptWorkflow with a RunInput, and its memo carries the notices that are
wanted, so that every run brings with it what is to be told about its end.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from temporalio.client import (
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleState,
)

from gateway.problems import ApiError
from gateway.runs.starting import RunRequest, Scripts, attributes, check_request, resolve, summary
from gateway.schedules.calendars import WAYS, Calendar, When, check_zone, set_limits
from script.compiler.program import Program
from script.wire import NOTICES_MEMO, WORKFLOW_TYPE, RunInput
from toolbox.notices import Notify, check_notify

DAY, TEN_MINUTES = 86_400, 600
Overlap = Literal["skip", "buffer_one", "buffer_all", "cancel_other", "terminate_other", "allow_all"]
_RUNS: Final = frozenset({"script", "version", "arguments", "mocks", "notify", "overlap"})
"""The fields that what is started follows from."""


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")

    calendar: Calendar | None = None
    calendars: list[Calendar] | None = Field(None, min_length=1, max_length=100, description="several calendars")
    cron: str | None = Field(None, max_length=100)
    every: float | None = Field(None, ge=1, description="seconds")
    start_at: AwareDatetime | None = Field(None, description="not before")
    end_at: AwareDatetime | None = Field(None, description="not after")
    remaining_actions: int | None = Field(None, ge=0, description="so many runs, and no more")
    catchup_seconds: float | None = Field(None, ge=10, le=30 * DAY)
    notify: Notify | None = Field(None, description="who is told that runs fail, and that they succeed again")
    version: str | int | None = Field(None, description="default: the latest when it fires")
    dry_run: bool = Field(False, description="only tell what it would be")


class ScheduleRequest(_Body):
    """What to run, and when: one of calendar, calendars, cron and every."""

    id: str | None = Field(None, description="default: the script's name and four random digits")
    script: str
    arguments: dict[str, Any] = {}
    mocks: list[str] = []
    time_zone: str = "UTC"
    jitter_seconds: float = Field(0, ge=0, le=DAY, description="each time is put off at random by up to so much")
    overlap: Overlap = "skip"
    pause_on_failure: bool = False
    paused: bool = False
    note: str = Field("", max_length=200)


class ScheduleChange(_Body):
    """What is to be different: fields that are not there stay; null takes a limit, a version or the notices away."""

    script: str | None = None
    arguments: dict[str, Any] | None = None
    mocks: list[str] | None = None
    time_zone: str | None = None
    jitter_seconds: float | None = Field(None, ge=0, le=DAY)
    overlap: Overlap | None = None
    pause_on_failure: bool | None = None
    paused: bool | None = None
    note: str | None = Field(None, max_length=200)


class Backfill(BaseModel):
    """Run it for the due times from `from` to `to`, both included."""

    model_config = ConfigDict(extra="forbid")

    start: AwareDatetime = Field(alias="from")
    to: AwareDatetime
    overlap: Overlap = Field("buffer_all", description="default: one after the other, each of them")


def new_schedule(
    scripts: Scripts, task_queue: str, schedule_id: str, body: ScheduleRequest
) -> tuple[Program, Schedule]:
    """Temporal's form of a request, and the program that it runs. Raises ApiError, ToolError."""
    check_zone(body.time_zone)
    program, start = _start(scripts, body.model_dump(include=set(RunInput.__dataclass_fields__)))
    notify = check_notify(body.notify)
    schedule = Schedule(
        action=_action(schedule_id, task_queue, program, start, notify, body.overlap),
        spec=When(
            **{name: getattr(body, name) for name in (*WAYS, "time_zone", "jitter_seconds", "start_at", "end_at")}
        ).spec(),
        policy=SchedulePolicy(
            overlap=ScheduleOverlapPolicy[body.overlap.upper()],
            catchup_window=timedelta(seconds=body.catchup_seconds or (TEN_MINUTES if body.every is not None else DAY)),
            pause_on_failure=body.pause_on_failure,
        ),
        state=ScheduleState(note=body.note or None, paused=body.paused),
    )
    _limit(schedule.state, body.remaining_actions)
    return program, schedule


def changed_schedule(
    scripts: Scripts,
    task_queue: str,
    schedule_id: str,
    now: tuple[Schedule, RunInput, Notify | None],
    body: ScheduleChange,
) -> Program | None:
    """Change Temporal's form of a schedule; gives the program that it runs, if that was part of the change. Raises ApiError, ToolError."""
    schedule, start, notify = now
    asked = body.model_fields_set
    _refuse_null(body, asked)
    _change_when(schedule, body, asked)
    if body.overlap is not None:
        schedule.policy.overlap = ScheduleOverlapPolicy[body.overlap.upper()]
    if body.catchup_seconds is not None:
        schedule.policy.catchup_window = timedelta(seconds=body.catchup_seconds)
    if body.pause_on_failure is not None:
        schedule.policy.pause_on_failure = body.pause_on_failure
    if body.paused is not None:
        schedule.state.paused = body.paused
    if body.note is not None:
        schedule.state.note = body.note or None
    if "remaining_actions" in asked:
        _limit(schedule.state, body.remaining_actions)
    if not _RUNS & asked:
        return None
    fields: dict[str, Any] = {name: getattr(start, name) for name in ("script", "version", "arguments", "mocks")}
    if body.script is not None and body.script != start.script:
        fields["version"] = None
    program, start = _start(scripts, fields | {name: getattr(body, name) for name in fields if name in asked})
    if "notify" in asked:
        notify = check_notify(body.notify)
    overlap = schedule.policy.overlap.name.lower()
    schedule.action = _action(schedule_id, task_queue, program, start, notify, overlap)
    return program


_NULLABLE: Final = {"start_at", "end_at", "remaining_actions", "notify", "version"}


def _refuse_null(body: ScheduleChange, asked: set[str]) -> None:
    for name in asked - _NULLABLE:
        if getattr(body, name) is None:
            raise ApiError("invalid_schedule", f"{name} cannot be null", pointer=f"/{name}", hint="leave it out")


def _change_when(schedule: Schedule, body: ScheduleChange, asked: set[str]) -> None:
    spec = schedule.spec
    if body.time_zone is not None:
        check_zone(body.time_zone)
        if not spec.intervals or body.every is None:
            spec.time_zone_name = body.time_zone
    start_at = body.start_at if "start_at" in asked else spec.start_at
    end_at = body.end_at if "end_at" in asked else spec.end_at
    jitter = body.jitter_seconds if body.jitter_seconds is not None else (spec.jitter or timedelta(0)).total_seconds()
    if asked.intersection(WAYS):
        ways = {name: getattr(body, name) for name in WAYS}
        zone = body.time_zone or spec.time_zone_name or "UTC"
        schedule.spec = When(**ways, time_zone=zone, jitter_seconds=jitter, start_at=start_at, end_at=end_at).spec()
        return
    set_limits(spec, start_at, end_at)
    spec.jitter = timedelta(seconds=jitter)


def _limit(state: ScheduleState, remaining: int | None) -> None:
    state.limited_actions, state.remaining_actions = remaining is not None, remaining or 0


def _start(scripts: Scripts, fields: Mapping[str, Any]) -> tuple[Program, RunInput]:
    """The program, and what its runs get. Raises ApiError, ToolError."""
    script, version = fields["script"], fields["version"]
    arguments, mocks = fields["arguments"], fields["mocks"]
    program = resolve(scripts, script, version)[0]
    check_request(scripts, program, arguments, mocks)
    pinned = program.hash if version is not None else None
    return program, RunInput(script=script, version=pinned, arguments=arguments, trigger="schedule", mocks=mocks)


def _action(
    schedule_id: str, task_queue: str, program: Program, start: RunInput, notify: Notify | None, overlap: str
) -> ScheduleActionStartWorkflow:
    RunRequest(arguments=start.arguments, mocks=start.mocks, version=start.version)
    told = notify.model_dump(mode="json") | {"overlap": overlap} if notify is not None else None
    return ScheduleActionStartWorkflow(
        WORKFLOW_TYPE,
        start,
        id=f"schedule-{schedule_id}",
        task_queue=task_queue,
        typed_search_attributes=attributes(program, "schedule"),
        static_summary=summary(program, dry_run=False),
        memo={NOTICES_MEMO: told} if told is not None else None,
    )
