"""Reductions: combining the results of a loop's iterations without keeping them.

`reduce {name: {op, value, where, limit}}` with op count, sum, min, max, avg or collect. A *partial* is JSON, belongs to one
chunk, and merges with the partial of the next: so a chunk's activity returns a few bytes whatever its size, and the
machine's state stays small.

    count    how many iterations (for which `where` holds)
    sum avg  of `value`; null values are left out, as SQL does
    min max  of `value`, null left out; null when there is none
    collect  the values in order, at most `limit` of them

Sums are exact until their end: a partial has the whole numbers in `value`, and the others in `floats`, numbers that add up to their sum
without any rounding. So a sum does not depend on the order in which chunks end, nor on how many there are.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

OPERATIONS: Final = ("count", "sum", "min", "max", "avg", "collect")

Partial = dict[str, Any]


def empty(table: Mapping[str, Any]) -> dict[str, Partial]:
    """The partials of no iterations at all."""
    return {name: {"count": 0, "value": [] if entry["op"] == "collect" else None} for name, entry in table.items()}


def add(
    partials: dict[str, Partial], table: Mapping[str, Any], where: Callable[[str], bool], value: Callable[[str], Any]
) -> None:
    """Count one iteration in. `where(name)` and `value(name)` evaluate the entry's expressions."""
    for name, entry in table.items():
        if not where(name):
            continue
        element = None if entry["op"] == "count" else value(name)
        more: Partial = {"count": 1, "value": [element] if entry["op"] == "collect" else element}
        if isinstance(element, float) and entry["op"] in ("sum", "avg"):
            more |= {"value": None, "floats": [element]}
        _combine(partials[name], entry, more)


def merge(partials: dict[str, Partial], table: Mapping[str, Any], more: Mapping[str, Partial]) -> None:
    """Merge the partials of a later chunk into `partials`."""
    for name, entry in table.items():
        _combine(partials[name], entry, more[name])


def final(partials: Mapping[str, Partial], table: Mapping[str, Any]) -> dict[str, Any]:
    """The results that the script sees."""
    return {name: _final(partials[name], entry["op"]) for name, entry in table.items()}


def _final(partial: Partial, op: str) -> Any:
    if op == "count":
        return partial["count"]
    if op in ("sum", "avg"):
        total: float = partial["value"] or 0
        if "floats" in partial:
            total = math.fsum([total, *partial["floats"]])
        if op == "sum":
            return total
        return total / partial["count"] if partial["count"] else None
    return partial["value"]


def _combine(partial: Partial, entry: Mapping[str, Any], more: Partial) -> None:
    op, value = entry["op"], more["value"]
    if op == "collect":
        limit = entry.get("limit")
        room = len(value) if limit is None else max(0, int(limit) - len(partial["value"]))
        partial["value"] = partial["value"] + value[:room]
        partial["count"] += more["count"]
    elif op == "count":
        partial["count"] += more["count"]
    elif op in ("sum", "avg"):
        if value is not None:
            partial["value"] = _bounded((partial["value"] or 0) + value)
        for number in more.get("floats", ()):
            partial["floats"] = _grown(partial.get("floats", []), number)
        if value is not None or "floats" in more:
            partial["count"] += more["count"]
    elif value is not None:
        partial["count"] += more["count"]
        old = partial["value"]
        if old is None:
            partial["value"] = value
        else:
            partial["value"] = min(old, value) if op == "min" else max(old, value)


def _bounded(number: int) -> int:
    """Raises OverflowError for a whole number of more than 64 bits, which JSON cannot hold here."""
    if not -(1 << 63) <= number < 1 << 63:
        raise OverflowError("the sum has more than 64 bits")
    return number


def _grown(floats: list[float], number: float) -> list[float]:
    """Numbers with the sum of `floats` and `number`, exactly: of each addition the rounded sum, and what was lost by rounding (Shewchuk).

    Raises OverflowError for an infinite sum.
    """
    made = []
    for other in floats:
        if abs(number) < abs(other):
            number, other = other, number
        high = number + other
        low = other - (high - number)
        if low:
            made.append(low)
        number = high
    if not math.isfinite(number):
        raise OverflowError("the sum is infinite")
    return [*made, number]
