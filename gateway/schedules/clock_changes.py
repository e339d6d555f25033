"""What a change of the clocks does to a schedule, said before it happens.

Times of a calendar are local. When the clocks go forward, some local times do not exist on that day: no run starts for them. When
they go back, some exist twice: two runs start, an hour apart. That is Temporal's rule; it is not ours to change, but to be told:

    America/New_York, daily 02:30    2027-03-14  02:30 does not exist    no run on that day
                      daily 01:30    2027-11-07  01:30 comes twice       05:30 and 06:30 UTC
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from temporalio.client import ScheduleCalendarSpec, ScheduleRange, ScheduleSpec

LOOK_AHEAD: Final = timedelta(days=366)
_MINUTE: Final = timedelta(minutes=1)


@dataclass(frozen=True)
class ClockChange:
    """The first moment with the new offset, and by how much the clocks were moved: forward, or back (negative)."""

    at: datetime
    moved: timedelta

    def times(self, zone: ZoneInfo) -> Iterator[datetime]:
        """The local times, minute by minute, that do not exist or exist twice; naive."""
        after = self.at.astimezone(zone).replace(tzinfo=None)
        first = after - self.moved if self.moved > timedelta(0) else after
        for minute in range(abs(self.moved) // _MINUTE):
            yield first + minute * _MINUTE


def clock_changes(zone: ZoneInfo, now: datetime) -> list[ClockChange]:
    """The changes of the clocks in the year after `now`."""
    found, day = [], now.replace(second=0, microsecond=0)
    while day < now + LOOK_AHEAD:
        following = day + timedelta(days=1)
        before, after = _offset(zone, day), _offset(zone, following)
        if before != after:
            found.append(ClockChange(_first_with(zone, after, day, following), after - before))
        day = following
    return found


def clock_change_warnings(spec: ScheduleSpec, zone: ZoneInfo, now: datetime) -> list[dict[str, Any]]:
    """A warning for each change of the clocks in the coming year that skips or repeats times of the schedule.

    `spec` is as the server tells it: cron expressions have become calendars.
    """
    return [
        _warning(change, zone, times)
        for change in clock_changes(zone, now)
        if (times := [time for time in change.times(zone) if any(_matches(found, time) for found in spec.calendars)])
    ]


def _warning(change: ClockChange, zone: ZoneInfo, times: list[datetime]) -> dict[str, Any]:
    skipped = change.moved > timedelta(0)
    shown = [f"{time:%H:%M}" for time in times]
    some = shown[0] if len(shown) == 1 else f"{shown[0]} and {len(shown) - 1} more"
    day = times[0].date().isoformat()
    verb = ("does not exist" if len(shown) == 1 else "do not exist") if skipped else "comes twice"
    return {
        "code": "clock_change",
        "message": f"on {day} the clocks change in {zone.key}: {some} {verb}, so "
        + ("no run starts for it" if skipped else "two runs start for it"),
        "hint": "choose a time that is there once on every day, or the time zone UTC",
        "day": day,
        "effect": "skipped" if skipped else "twice",
        "times": shown,
    }


def _matches(calendar: ScheduleCalendarSpec, time: datetime) -> bool:
    """Whether a calendar fires within a local minute."""
    return (
        _among(calendar.minute, time.minute)
        and _among(calendar.hour, time.hour)
        and _among(calendar.day_of_month, time.day)
        and _among(calendar.month, time.month)
        and _among(calendar.day_of_week, time.isoweekday() % 7)
        and (not calendar.year or _among(calendar.year, time.year))
    )


def _among(ranges: Sequence[ScheduleRange], value: int) -> bool:
    return any(
        part.start <= value <= max(part.end, part.start) and (value - part.start) % max(part.step, 1) == 0
        for part in ranges
    )


def _offset(zone: ZoneInfo, moment: datetime) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta(0)


def _first_with(zone: ZoneInfo, offset: timedelta, before: datetime, after: datetime) -> datetime:
    """The first minute in (before, after] that has an offset."""
    low, high = 0, (after - before) // _MINUTE
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _offset(zone, before + middle * _MINUTE) == offset else (middle, high)
    return (before + high * _MINUTE).astimezone(UTC)
