"""Reductions: combining the results of a loop's iterations without keeping them.

`reduce {name: {op, value, where, limit}}` with op count, sum, min, max, avg or collect. A *partial* is JSON, belongs to one
chunk, and merges with the partial of the next: so a chunk's activity returns a few bytes whatever its size, and the
machine's state stays small.

    count    how many iterations (for which `where` holds)
    sum avg  of `value`; null values are left out, as SQL does
    min max  of `value`, null left out; null when there is none
    collect  the values in order, at most `limit` of them
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
        _combine(partials[name], entry, {"count": 1, "value": [element] if entry["op"] == "collect" else element})


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
    if op == "sum":
        return partial["value"] if partial["value"] is not None else 0
    if op == "avg":
        return partial["value"] / partial["count"] if partial["count"] else None
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
    elif value is not None:
        partial["count"] += more["count"]
        old = partial["value"]
        if old is None:
            partial["value"] = value
        elif op in ("sum", "avg"):
            partial["value"] = _bounded(old + value)
        else:
            partial["value"] = min(old, value) if op == "min" else max(old, value)


def _bounded(number: float) -> float:
    """Raises OverflowError for what JSON numbers here cannot hold: whole numbers of more than 64 bits, infinity."""
    if isinstance(number, int) and not -(1 << 63) <= number < 1 << 63:
        raise OverflowError("the sum has more than 64 bits")
    if isinstance(number, float) and not math.isfinite(number):
        raise OverflowError("the sum is infinite")
    return number
