"""When a schedule fires: from what people say to Temporal's schedule spec, checked, with the traps pointed out.

    calendar {days: ["monday"], at: "09:00"}    on these days at this local time; `calendars` for several of them
    cron     "0 9 * * 1"                        five fields, in the time zone of the schedule
    every    900                                seconds, counted from the epoch: no time zone

Times of a calendar or a cron are local: 9 o'clock stays 9 o'clock when the clocks change. On the day they change, a local time
may not exist (no run starts) or exist twice (two runs start): `clock_changes` says so before.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import Final, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BaseModel, ConfigDict, Field
from temporalio.client import ScheduleCalendarSpec, ScheduleIntervalSpec, ScheduleRange, ScheduleSpec

from gateway.problems import ApiError

Day = Literal["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"]
DAYS: Final[tuple[Day, ...]] = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
FIRE_TIMES: Final = 5
WAYS: Final = ("calendar", "calendars", "cron", "every")
"""The ways to say when: exactly one of them."""


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


@dataclass(frozen=True)
class When:
    """When to fire: exactly one of the first four, and the limits."""

    calendar: Calendar | None = None
    calendars: Sequence[Calendar] | None = None
    cron: str | None = None
    every: float | None = None
    time_zone: str = "UTC"
    jitter_seconds: float = 0
    start_at: datetime | None = None
    end_at: datetime | None = None

    def spec(self) -> ScheduleSpec:
        """Temporal's spec. Raises ApiError unless exactly one of the four is given."""
        given = [name for name in WAYS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ApiError("invalid_schedule", f"give exactly one of {', '.join(WAYS)}", pointer="")
        spec = ScheduleSpec(time_zone_name=self.time_zone, jitter=timedelta(seconds=self.jitter_seconds))
        if self.every is not None:
            spec.time_zone_name = None
            spec.intervals = [ScheduleIntervalSpec(every=timedelta(seconds=self.every))]
        elif self.cron is not None:
            _check_cron(self.cron)
            spec.cron_expressions = [self.cron]
        else:
            given_calendars = [*(self.calendars or []), *([self.calendar] if self.calendar is not None else [])]
            spec.calendars = [_calendar(found) for found in given_calendars]
        set_limits(spec, self.start_at, self.end_at)
        return spec


def set_limits(spec: ScheduleSpec, start_at: datetime | None, end_at: datetime | None) -> None:
    """From when until when it fires, both included. Raises ApiError where the end is not behind the start."""
    if start_at is not None and end_at is not None and end_at <= start_at:
        raise ApiError("invalid_schedule", "end_at has to be behind start_at", pointer="/end_at")
    spec.start_at, spec.end_at = start_at, end_at


def _calendar(calendar: Calendar) -> ScheduleCalendarSpec:
    hour, minute, second = (int(part) for part in f"{calendar.at}:00".split(":")[:3])
    days = sorted({DAYS.index(day) for day in calendar.days})
    return ScheduleCalendarSpec(
        second=[ScheduleRange(second)],
        minute=[ScheduleRange(minute)],
        hour=[ScheduleRange(hour)],
        day_of_week=[ScheduleRange(day) for day in days],
        comment=f"{', '.join(DAYS[day] for day in days)} at {calendar.at}",
    )


def _check_cron(cron: str) -> None:
    """Only plain five-field expressions: a zone or a macro inside would be a second way to say the same thing."""
    if len(cron.split()) != 5 or "=" in cron or "@" in cron:
        raise ApiError(
            "invalid_schedule",
            f"{cron!r} is no cron expression of five fields",
            pointer="/cron",
            hint="minute hour day-of-month month day-of-week, such as 0 9 * * 1; the zone is time_zone",
        )


def fire_time(moment: datetime, zone: ZoneInfo) -> dict[str, str]:
    """A time in UTC, and as the clock on the wall shows it."""
    return {
        "utc": moment.astimezone(UTC).isoformat(timespec="seconds"),
        "local": moment.astimezone(zone).isoformat(timespec="seconds"),
    }


def fire_times(times: Sequence[datetime], zone: ZoneInfo) -> list[dict[str, str]]:
    """The next times."""
    return [fire_time(moment, zone) for moment in sorted(times)[:FIRE_TIMES]]
