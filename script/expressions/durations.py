"""Durations: seconds as a number, "90s", "1h 30m", "2 days", or ISO 8601 ("PT15M", "P1DT12H"); and points in time."""

import re
from datetime import UTC, datetime
from typing import Any, Final

from script.errors import ScriptError

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_WORDS: Final = {
    **dict.fromkeys(("ms", "millisecond", "milliseconds"), "ms"),
    **dict.fromkeys(("s", "sec", "second", "seconds"), "s"),
    **dict.fromkeys(("m", "min", "minute", "minutes"), "m"),
    **dict.fromkeys(("h", "hour", "hours"), "h"),
    **dict.fromkeys(("d", "day", "days"), "d"),
    **dict.fromkeys(("w", "week", "weeks"), "w"),
}
_PART: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*,?")
_ISO: Final = re.compile(
    r"P(?:(\d+(?:\.\d+)?)W)?(?:(\d+(?:\.\d+)?)D)?(?:T(?:(\d+(?:\.\d+)?)H)?(?:(\d+(?:\.\d+)?)M)?(?:(\d+(?:\.\d+)?)S)?)?"
)
LONGEST: Final = 10 * 365 * 86_400.0
"""Seconds: a longer wait is taken for a mistake."""


class InvalidDuration(ScriptError):
    """Not a duration, or not a point in time."""

    code = "invalid_duration"


def parse_duration(value: Any) -> float:
    """Seconds, more than 0. Raises InvalidDuration."""
    seconds = _seconds(value)
    if seconds is None:
        hint = 'seconds as a number, or text such as "90s", "1h 30m", "2 days", "PT15M"'
        raise InvalidDuration(f"{value!r} is no duration", hint=hint)
    if not 0 < seconds <= LONGEST:
        raise InvalidDuration(f"a duration is more than 0 and at most ten years, not {seconds:g} s")
    return seconds


def _seconds(value: Any) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, str):
        return None
    text = value.strip()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    iso = _ISO.fullmatch(text.upper())
    if iso is not None and any(iso.groups()):
        return sum(float(part) * _UNITS[unit] for part, unit in zip(iso.groups(), "wdhms", strict=True) if part)
    total, at, lowered = 0.0, 0, text.lower()
    while at < len(lowered):
        part = _PART.match(lowered, at)
        unit = _WORDS.get(part.group(2)) if part else None
        if part is None or unit is None:
            return None
        total, at = total + float(part.group(1)) * _UNITS[unit], part.end()
    return total if text else None


def seconds_until(value: Any, now: datetime) -> float:
    """Seconds from `now` to a time (ISO 8601; without a zone it is UTC); 0 for one that is past. Raises InvalidDuration."""
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        hint = 'an ISO date or date-time, for example "2026-12-24T18:00:00+01:00"'
        raise InvalidDuration(f"{value!r} is no time", hint=hint) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    seconds = (moment - now).total_seconds()
    if seconds > LONGEST:
        raise InvalidDuration(f"{value!r} is more than ten years away")
    return max(0.0, seconds)
