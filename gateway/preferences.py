"""What a client prefers (`Prefer`, RFC 7240), each route as far as it knows the preference.

    wait=N, respond-async       how long to wait for a run (`results.asking`)
    max-affected=N              change no more rows than that: nothing is changed if there are more
    handling=strict             refuse what is not known here, instead of passing it over, which is what `lenient` means

A preference that could not be met is passed over, as the RFC wants it, and `Preference-Applied` says which ones were. A limit is not
taken so lightly: one that cannot be read is refused, whatever the handling.
"""

import re
from collections.abc import Collection
from typing import Annotated, Final

from fastapi import Header

from gateway.problems import ApiError

HANDLING: Final = "handling"
MAX_AFFECTED: Final = "max-affected"
_COUNT: Final = re.compile("[0-9]{1,15}")

Limits = Annotated[
    list[str] | None,
    Header(
        alias="Prefer",
        description="max-affected=N: change nothing if it were more rows; handling=strict: refuse others",
    ),
]


def preferences(prefer: list[str] | None, known: Collection[str]) -> dict[str, str]:
    """The preferences that are known here, the first of each name. Raises ApiError for others if the handling is to be strict."""
    found: dict[str, str] = {}
    for part in ",".join(prefer or ()).split(","):
        name, _, value = part.partition(";")[0].partition("=")
        if name.strip():
            found.setdefault(name.strip().lower(), value.strip().strip('"'))
    others = sorted(found.keys() - {*known, HANDLING})
    if others and found.get(HANDLING) == "strict":
        listed = ", ".join(sorted({*known, HANDLING}))
        raise unmet(
            f"there is no preference {others[0]!r} here", hint=f"there are {listed}; or leave out handling=strict"
        )
    return {name: value for name, value in found.items() if name not in others}


def max_affected(prefer: list[str] | None) -> tuple[int | None, dict[str, str]]:
    """The most rows that a change may be about, and the headers that say what was applied. Raises ApiError."""
    found = preferences(prefer, {MAX_AFFECTED})
    limit = found.get(MAX_AFFECTED)
    if limit is None:
        return None, {}
    if not _COUNT.fullmatch(limit):
        raise unmet(f"max-affected is a whole number, not {limit!r}")
    strict = ", handling=strict" if found.get(HANDLING) == "strict" else ""
    return int(limit), {"Preference-Applied": f"{MAX_AFFECTED}={int(limit)}{strict}"}


def unmet(message: str, hint: str | None = None) -> ApiError:
    """The refusal of a preference."""
    return ApiError("invalid_preference", message, pointer="Prefer", hint=hint)


def too_many(limit: int | None) -> ApiError:
    """The refusal of a change that is about more rows than the client wants."""
    message = f"more than {limit} rows would be affected, and nothing was changed"
    return ApiError(
        "too_many_rows", message, pointer="Prefer", hint="look at them with dry_run; then narrow the filter"
    )
