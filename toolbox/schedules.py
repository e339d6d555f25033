"""Tools for schedules: scripts that schedule scripts.

Schedules are Temporal's, and the worker reaches them (`Services.schedules`, a `ScheduleDesk`): a tool asks, and waits for the answer.
They are outside of every transaction: a run that fails later leaves the schedule as it is. Asking twice for the same thing, as a step
that is tried again does, is one schedule, and one lot of runs: Temporal knows a repeated request by its id.
"""

from typing import Any, Final, Literal

from toolbox.context import ScheduleDesk, ToolContext
from toolbox.errors import ToolNotConfigured
from toolbox.tool import tool

Overlap = Literal["skip", "buffer_one", "buffer_all", "cancel_other", "terminate_other", "allow_all"]


@tool(effect="external", needs_approval=True)
def schedule_script(
    ctx: ToolContext,
    script: str,
    id: str | None = None,
    calendar: dict[str, Any] | None = None,
    calendars: list[dict[str, Any]] | None = None,
    cron: str | None = None,
    every: float | int | None = None,
    time_zone: str = "UTC",
    arguments: dict[str, Any] | None = None,
    mocks: list[str] | None = None,
    version: str | int | None = None,
    overlap: Overlap = "skip",
    catchup_seconds: float | int | None = None,
    jitter_seconds: float | int = 0,
    start_at: str | None = None,
    end_at: str | None = None,
    remaining_actions: int | None = None,
    pause_on_failure: bool = False,
    paused: bool = False,
    note: str = "",
    notify: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Run a script by the calendar: one of calendar, calendars, cron and every, as in POST /v1/schedules. Gives the schedule."""
    asked = {
        "script": script,
        "id": id,
        "calendar": calendar,
        "calendars": calendars,
        "cron": cron,
        "every": every,
        "time_zone": time_zone,
        "arguments": arguments or {},
        "mocks": mocks or [],
        "version": version,
        "overlap": overlap,
        "catchup_seconds": catchup_seconds,
        "jitter_seconds": jitter_seconds,
        "start_at": start_at,
        "end_at": end_at,
        "remaining_actions": remaining_actions,
        "pause_on_failure": pause_on_failure,
        "paused": paused,
        "note": note,
        "notify": notify,
    }
    return _desk(ctx).create(asked, ctx.idempotency_key)


@tool(effect="read")
def list_schedules(ctx: ToolContext) -> list[dict[str, Any]]:
    """All schedules of scripts, with their next times. One that was just created may need a moment to appear."""
    return _desk(ctx).list()


@tool(effect="external")
def pause_schedule(ctx: ToolContext, id: str, paused: bool = True, note: str = "") -> dict[str, Any]:
    """Start no more runs of a schedule, or go on (`paused` false). Gives the schedule."""
    return _desk(ctx).pause(id, note, paused)


@tool(effect="external")
def trigger_schedule(ctx: ToolContext, id: str) -> dict[str, Any]:
    """Run the script of a schedule now, once more."""
    return _desk(ctx).trigger(id, ctx.idempotency_key)


@tool(effect="external")
def backfill_schedule(
    ctx: ToolContext, id: str, start: str, end: str, overlap: Overlap = "buffer_all"
) -> dict[str, Any]:
    """Run the script of a schedule for its due times from `start` to `end` in the past, both included. Gives how many these are."""
    return _desk(ctx).backfill(id, {"from": start, "to": end, "overlap": overlap}, ctx.idempotency_key)


@tool(effect="external")
def delete_schedule(ctx: ToolContext, id: str) -> dict[str, Any]:
    """Remove a schedule; runs that it started go on. `deleted` is false where there was none."""
    return {"id": id, "deleted": _desk(ctx).delete(id)}


def _desk(ctx: ToolContext) -> ScheduleDesk:
    if ctx.services.schedules is None:
        raise ToolNotConfigured("schedules can only be reached from a worker", hint="start the script as a run")
    return ctx.services.schedules


TOOLS: Final = (
    schedule_script,
    list_schedules,
    pause_schedule,
    trigger_schedule,
    backfill_schedule,
    delete_schedule,
)
