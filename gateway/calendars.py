"""When a schedule fires: from what people say to Temporal's schedule spec, checked, with the traps pointed out.

    calendar {days: ["monday"], at: "09:00"}    on these days at this local time
    cron     "0 9 * * 1"                        five fields, in the time zone of the schedule
    every    900                                seconds, counted from the epoch: no time zone

Times of a calendar or a cron are local: 9 o'clock stays 9 o'clock when the clocks change. On the day they change, a local time
between 0 and 3 may not exist (the run is skipped) or exist twice (it runs twice), which is answered with a warning.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BaseModel, ConfigDict, Field
from temporalio.client import ScheduleCalendarSpec, ScheduleIntervalSpec, ScheduleRange, ScheduleSpec

from gateway.problems import ApiError

Day = Literal["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"]
DAYS: Final[tuple[Day, ...]] = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
FIRE_TIMES: Final = 5


class Calendar(BaseModel):
    """Days of the week and a local time."""

    model_config = ConfigDict(extra="forbid")

    days: list[Day] = Field(list(DAYS), min_length=1, description="default every day")
    at: str = Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d(:[0-5]\d)?$", description="HH:MM or HH:MM:SS, local time")


def check_zone(name: str) -> ZoneInfo:
    """The time zone of an IANA name. Raises ApiError with the nearest name."""
    known = available_timezones()
    if name in known:
        return ZoneInfo(name)
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else "an IANA name, such as Europe/Madrid or UTC"
    raise ApiError("unknown_time_zone", f"there is no time zone {name!r}", pointer="/time_zone", hint=hint)


def schedule_spec(calendar: Calendar | None, cron: str | None, every: float | None, zone: str) -> ScheduleSpec:
    """Temporal's spec. Raises ApiError unless exactly one of the three is given."""
    if sum(given is not None for given in (calendar, cron, every)) != 1:
        raise ApiError("invalid_schedule", "give exactly one of calendar, cron and every", pointer="")
    if every is not None:
        return ScheduleSpec(intervals=[ScheduleIntervalSpec(every=timedelta(seconds=every))], jitter=timedelta(0))
    if cron is not None:
        _check_cron(cron)
        return ScheduleSpec(cron_expressions=[cron], time_zone_name=zone, jitter=timedelta(0))
    assert calendar is not None
    hour, minute, second = (int(part) for part in f"{calendar.at}:00".split(":")[:3])
    days = sorted({DAYS.index(day) for day in calendar.days})
    spec = ScheduleCalendarSpec(
        second=[ScheduleRange(second)],
        minute=[ScheduleRange(minute)],
        hour=[ScheduleRange(hour)],
        day_of_week=[ScheduleRange(day) for day in days],
        comment=f"{', '.join(DAYS[day] for day in days)} at {calendar.at}",
    )
    return ScheduleSpec(calendars=[spec], time_zone_name=zone, jitter=timedelta(0))


def _check_cron(cron: str) -> None:
    """Only plain five-field expressions: a zone or a macro inside would be a second way to say the same thing."""
    if len(cron.split()) != 5 or "=" in cron or "@" in cron:
        raise ApiError(
            "invalid_schedule",
            f"{cron!r} is no cron expression of five fields",
            pointer="/cron",
            hint="minute hour day-of-month month day-of-week, such as 0 9 * * 1; the zone is time_zone",
        )


def fire_times(times: Sequence[datetime], zone: ZoneInfo) -> list[dict[str, str]]:
    """The next times, in UTC and as the clock on the wall shows them."""
    return [
        {
            "utc": moment.astimezone(UTC).isoformat(timespec="seconds"),
            "local": moment.astimezone(zone).isoformat(timespec="seconds"),
        }
        for moment in sorted(times)[:FIRE_TIMES]
    ]


def clock_change_warnings(spec: ScheduleSpec, zone: ZoneInfo, now: datetime) -> list[dict[str, Any]]:
    """A warning for local times that a clock change may skip or repeat. `spec` is as the server tells it: cron expressions
    have become calendars."""
    risky = any(_hits(hours, range(3)) for calendar in spec.calendars for hours in calendar.hour)
    if not risky or not _changes_clocks(zone, now):
        return []
    return [
        {
            "code": "clock_change",
            "message": f"in {zone.key} the clocks change at night: a time between 0 and 3 h is skipped on one day of the "
            "year, and may come twice on another",
            "hint": "choose a time after 03:00, or the time zone UTC",
        }
    ]


def _hits(hours: ScheduleRange, wanted: range) -> bool:
    last = max(hours.end, hours.start)
    return any(hour in wanted for hour in range(hours.start, last + 1, max(hours.step, 1)))


def _changes_clocks(zone: ZoneInfo, now: datetime) -> bool:
    days = (now + timedelta(days=day) for day in range(366))
    return len({day.astimezone(zone).utcoffset() for day in days}) > 1
