"""When a schedule fires, read from plain English: the arguments of `schedule_script`.

    every day at 9                        calendar   every weekday, at 9 AM and 17:30      calendars
    Mondays and Thursdays at noon         calendar   on the first of the month at 08:00    cron
    every 15 minutes                      every      every hour at :30                     cron

It reads what it knows whole, word for word, and refuses everything else with what is missing: the days, the time of day, or the time
zone (`in America/New_York`). A time zone that nobody named is never made up.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, NoReturn
from zoneinfo import available_timezones

from toolbox.authoring.commands.values import suggestion
from toolbox.errors import InvalidArguments

DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_GROUPS: Final = {
    "day": DAYS,
    "days": DAYS,
    "daily": DAYS,
    "weekday": DAYS[:5],
    "weekdays": DAYS[:5],
    "weekend": DAYS[5:],
    "weekends": DAYS[5:],
}
_ABBREVIATIONS: Final = {day[:3]: day for day in DAYS} | {"tues": "tuesday", "thur": "thursday", "thurs": "thursday"}
_UNITS: Final = {"second": 1, "minute": 60, "hour": 3600, "sec": 1, "min": 60, "hr": 3600}
_ORDINALS: Final = (
    "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh", "twelfth",
)  # fmt: skip
_COUNTED: Final = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NUMBERS: Final = {name: number for number, name in enumerate(_COUNTED, 1)}
_CLOCK: Final = re.compile(r"(\d{1,2})(?:[:.](\d\d))?(?::(\d\d))? ?([ap]\.?m\.?)?(?: ?o'?clock)?", re.IGNORECASE)
_NAMED_TIMES: Final = {"noon": "12:00", "midday": "12:00", "midnight": "00:00"}
_EXAMPLES: Final = (
    "such as: every Monday at 9 AM in America/New_York; every 15 minutes; on the first of the month at noon in UTC"
)


def read_calendar(text: str, time_zone: str | None = None) -> dict[str, Any]:
    """{calendar | calendars | cron | every, time_zone}. Raises InvalidArguments that says what is missing.

    `time_zone` is that of the installation, for texts that name none.
    """
    words, zone = _zone(" ".join(text.replace(",", " , ").split()))
    interval = _interval(words)
    if interval is not None:
        return {"every": interval}
    found = _hourly(words) or _local(words)
    zone = zone or time_zone
    if zone is None:
        raise InvalidArguments(
            "which time zone is it in?", pointer="/time_zone", hint="such as: in America/New_York, or: in UTC"
        )
    return {**found, "time_zone": zone}


def check_zone(name: str) -> str:
    """The IANA name of a time zone, also by its city (New York). Raises InvalidArguments."""
    wanted = "_".join(name.split()).lower()
    known = _zones()
    if wanted in known:
        return known[wanted]
    cities = sorted({zone for zone in known.values() if zone.lower().rpartition("/")[2] == wanted and "/" in zone})
    if len(cities) == 1:
        return cities[0]
    hint = f"it could be {', '.join(cities)}" if cities else None
    raise InvalidArguments(
        f"there is no time zone {name!r}",
        pointer="/time_zone",
        hint=hint or suggestion("_".join(name.split()), known.values(), "an IANA name, such as Europe/Madrid or UTC"),
    )


@lru_cache(maxsize=1)
def _zones() -> dict[str, str]:
    return {name.lower(): name for name in available_timezones()}


def _zone(text: str) -> tuple[str, str | None]:
    """The text without its time zone, in small letters, and the time zone."""
    named = re.search(
        r"\s(?:in|time zone)(?: the)?(?: time zone)? ([A-Za-z][\w/+ -]*?)(?: time(?: zone)?)?\.?$", text, re.IGNORECASE
    )
    if named is not None:
        return text[: named.start()].lower(), check_zone(named[1])
    last = text.rpartition(" ")[2].rstrip(".")
    if last.lower() in _zones() and ("/" in last or last in ("UTC", "GMT")):
        return text.rpartition(" ")[0].lower(), _zones()[last.lower()]
    return text.rstrip(".").lower(), None


def _interval(text: str) -> int | None:
    """Seconds, of "every 15 minutes"; None for anything else."""
    if text == "hourly":
        return 3600
    found = re.fullmatch(r"every (?:(\d{1,6}|[a-z]+) )?(second|minute|hour|sec|min|hr)s?", text)
    if found is None:
        return None
    many = found[1] or "1"
    number = int(many) if many.isdecimal() else _NUMBERS.get(many, 0)
    if number < 1:
        _refuse(f"{many!r} is no number of {found[2]}s")
    return number * _UNITS[found[2]]


def _hourly(text: str) -> dict[str, Any] | None:
    """ "every hour at :30", "hourly at half past" as cron."""
    found = re.fullmatch(
        r"(?:every hour|hourly) (?:at|on) (?::?(\d\d)|(\d{1,2}) (?:minutes )?past|(half past))(?: the hour)?", text
    )
    if found is None:
        return None
    minute = 30 if found[3] else int(found[1] or found[2])
    if minute > 59:
        _refuse(f"an hour has no minute {minute}")
    return {"cron": f"{minute} * * * *"}


def _local(text: str) -> dict[str, Any]:
    """A calendar, calendars, or the cron of a day of the month."""
    days_text, at, times_text = f" {text} ".partition(" at ")
    if not at:
        special = re.search(r" (noon|midday|midnight) $", f" {text} ")
        if special is None:
            _days(days_text.strip())  # what is wrong with the days is told first
            _refuse("at what time of the day?", hint="such as: at 9 AM, at 17:30, at noon")
        days_text, times_text = f" {text} "[: special.start()], special[1]
    elif days_text.strip() == "":  # "at 9 every day"
        times_text, days_text = _times_first(times_text.strip())
    times = [_time(part) for part in _parts(times_text)]
    days = _days(days_text.strip())
    if isinstance(days, int):
        if len(times) > 1:
            _refuse("a day of the month has one time here", hint="make a schedule for each time")
        hour, minute, second = (int(part) for part in f"{times[0]}:00".split(":")[:3])
        if second:
            _refuse("a day of the month has no seconds here")
        return {"cron": f"{minute} {hour} {days} * *"}
    calendars = [{**({} if len(days) == 7 else {"days": list(days)}), "at": at} for at in sorted(set(times))]
    return {"calendar": calendars[0]} if len(calendars) == 1 else {"calendars": calendars}


def _times_first(text: str) -> tuple[str, str]:
    """ "9 am every day" as times and days."""
    found = re.search(r" (every|each|on|daily)\b", text)
    if found is None:
        _refuse("on which days?", hint=_EXAMPLES)
    return text[: found.start()], text[found.start() :].strip()


def _time(text: str) -> str:
    """HH:MM or HH:MM:SS of a time of the day."""
    if text in _NAMED_TIMES:
        return _NAMED_TIMES[text]
    found = _CLOCK.fullmatch(text)
    if found is None:
        _refuse(f"{text!r} is no time of the day", hint="such as: 9 AM, 09:00, 17:30, noon, midnight")
    hour, minute, second = int(found[1]), int(found[2] or 0), int(found[3] or 0)
    half = (found[4] or "").replace(".", "").lower()
    if half:
        if not 1 <= hour <= 12:
            _refuse(f"{text!r} is no time of the day")
        hour = hour % 12 + (12 if half == "pm" else 0)
    if hour > 23 or minute > 59 or second > 59:
        _refuse(f"{text!r} is no time of the day")
    return f"{hour:02}:{minute:02}" + (f":{second:02}" if found[3] else "")


def _days(text: str) -> Sequence[str] | int:
    """Days of the week, or the number of a day of the month."""
    month = re.fullmatch(
        r"(?:monthly |every month |each month )?(?:on )?(?:every |each )?(?:the )?(\w+)(?: day)?(?: of)?(?: (?:the|every|each) month)?",
        text,
    )
    number = _day_of_month(month[1]) if month is not None and "month" in text else None
    if number is not None:
        return number
    words = re.sub(r"\b(every|each|on|weekly|and|the|,|&)(?=\s|$)|,", " ", text).split()
    if not words:
        _refuse("on which days?", hint=_EXAMPLES)
    if "month" in text or "monthly" in text:
        _refuse(
            f"{text!r} cannot be read", hint="a day of the month is one of 1 to 28, such as: on the first of the month"
        )
    found: list[str] = []
    for word in words:
        if word in _GROUPS:
            found += _GROUPS[word]
            continue
        day = (
            word
            if word in DAYS
            else word.removesuffix("s")
            if word.removesuffix("s") in DAYS
            else _ABBREVIATIONS.get(word)
        )
        if day is None:
            _refuse(f"{word!r} is no day", hint=suggestion(word, [*DAYS, *_GROUPS], _EXAMPLES))
        found.append(day)
    return [day for day in DAYS if day in found]


def _day_of_month(word: str) -> int | None:
    if word in _ORDINALS:
        return _ORDINALS.index(word) + 1
    found = re.fullmatch(r"(\d{1,2})(?:st|nd|rd|th)?", word)
    if found is None:
        return None
    number = int(found[1])
    if not 1 <= number <= 28:
        _refuse(f"not every month has a day {number}", hint='days 1 to 28 are in every month; or say it as cron="..."')
    return number


def _parts(text: str) -> list[str]:
    found = [part.strip() for part in re.split(r",| and |&", text) if part.strip()]
    if not found:
        _refuse("at what time of the day?", hint="such as: at 9 AM, at 17:30, at noon")
    return [part.removeprefix("at ").strip() for part in found]


def _refuse(message: str, hint: str | None = None) -> NoReturn:
    raise InvalidArguments(message, pointer="/calendar", hint=hint or _EXAMPLES)
