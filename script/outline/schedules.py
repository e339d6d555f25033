"""Calls of the tools for schedules in words: when what is run."""

from collections.abc import Mapping
from typing import Any, Final

from script.outline.words import listed, value

WHEN: Final = ("calendar", "calendars", "cron", "every")
"""The ways to say when; a phrase needs exactly one of them."""
_DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def schedule(args: Mapping[str, Any], database: str | None) -> str:
    """`Run weekly every Monday at 09:00 (the time of Europe/Madrid)`."""
    by_clock = args.get("every") is None or "time_zone" in args
    zone = f" (the time of {value(args.get('time_zone', 'UTC'))})" if by_clock else ""
    return f"Run {value(args['script'])} {_when(args)}{zone}"


def says_when(args: Mapping[str, Any]) -> bool:
    """Whether the arguments say when, in one way that there are words for."""
    given = [name for name in WHEN if args.get(name) is not None]
    if len(given) != 1:
        return False
    calendars = args["calendars"] if given == ["calendars"] else [args.get("calendar")] if given == ["calendar"] else []
    if not isinstance(calendars, list) or (given == ["calendars"] and not calendars):
        return False
    return all(_is_calendar(calendar) for calendar in calendars)


def _is_calendar(calendar: Any) -> bool:
    """Whether a calendar has a time, days that are known, and nothing else."""
    if not isinstance(calendar, Mapping) or "at" not in calendar or not calendar.keys() <= {"at", "days"}:
        return False
    days = calendar.get("days", list(_DAYS))
    return isinstance(days, list) and bool(days) and all(day in _DAYS for day in days)


def _when(args: Mapping[str, Any]) -> str:
    if args.get("cron") is not None:
        return f"by the cron line {value(args['cron'])}"
    if args.get("every") is not None:
        return f"every {value(args['every'])} seconds"
    calendars = args["calendars"] if args.get("calendars") is not None else [args["calendar"]]
    return listed(f"{_days(calendar)} at {value(calendar['at'])}" for calendar in calendars)


def _days(calendar: Mapping[str, Any]) -> str:
    days = [day for day in _DAYS if day in calendar.get("days", _DAYS)]
    if len(days) == len(_DAYS):
        return "every day"
    return f"every {listed(day.capitalize() for day in days)}"
