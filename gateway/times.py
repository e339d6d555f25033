"""Times of the engine (seconds since 1970) as ISO 8601 in UTC, and back.

A time is told in microseconds, rounded up: so the time that a version was committed at, given back, finds that version, and
not the one before it.
"""

import math
import re
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Final

from gateway.problems import ApiError

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LOST_PLUS: Final = re.compile(r"(T\S+) (\d\d:?\d\d)")


def iso(seconds: float) -> str:
    """A moment as text."""
    microseconds = math.ceil(Fraction(seconds) * 1_000_000)
    return (_EPOCH + timedelta(microseconds=microseconds)).isoformat(timespec="microseconds")


def seconds_of(text: str, pointer: str) -> float:
    """The moment that a text says. Raises ApiError: it has to be ISO 8601 with a time zone.

    A space before the offset is a plus that was not percent-encoded in an address.
    """
    try:
        moment = datetime.fromisoformat(_LOST_PLUS.sub(r"\1+\2", text))
    except ValueError:
        raise ApiError(
            "invalid_field", f"{text!r} is no time", pointer=pointer, hint="ISO 8601: 2026-11-21T08:30:00Z"
        ) from None
    if moment.tzinfo is None:
        raise ApiError(
            "invalid_field", f"{text!r} has no time zone", pointer=pointer, hint="Z behind it says that it is UTC"
        )
    return (moment - _EPOCH).total_seconds()
