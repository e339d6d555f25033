"""A filter taken apart: which conditions on one field can be turned into a stretch of a key or an index, and what stays.

A *conjunct* is one condition that has to hold: `{field: {operator: operand}}`, or anything else as it is. The filter is the
conjunction of all. What a planner does not use goes back together as the *residual* filter.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from query.errors import InvalidKeyValue
from query.filters.predicates import comparable, is_operators
from query.values import keycode

POINTS: Final = frozenset({"$eq", "$in"})
RANGES: Final = frozenset({"$gt", "$gte", "$lt", "$lte", "$between", "$starts_with"})
_TYPES: Final = {bool: (b"\x02", b"\x04"), int: (b"\x10", b"\x11"), float: (b"\x10", b"\x11"), str: (b"\x20", b"\x21")}
_TOGETHER: Final = frozenset({"$regex", "$options"})


@dataclass(frozen=True)
class Conjunct:
    """One condition: of a field by one operator, or (`field` None) any filter."""

    field: str | None
    operator: str
    operand: Any

    def as_filter(self) -> dict[str, Any]:
        """As a filter again."""
        if self.field is None:
            return {self.operator: self.operand}
        if self.operator == "":
            return {self.field: self.operand}
        return {self.field: {self.operator: self.operand}}


def conjuncts(query: Mapping[str, Any]) -> Iterator[Conjunct]:
    """The conditions that all have to hold, in the order written."""
    for name, value in query.items():
        if name == "$and":
            for part in value:
                yield from conjuncts(part)
        elif name.startswith("$"):
            yield Conjunct(None, name, value)
        elif not is_operators(value):
            yield Conjunct(name, "$eq", value)
        elif _TOGETHER & set(value):
            yield Conjunct(name, "", value)
        else:
            for operator, operand in value.items():
                yield Conjunct(name, operator, operand)


def together(parts: Iterable[Conjunct]) -> dict[str, Any]:
    """The filter that is the conjunction of some conditions, as flat as can be."""
    found: dict[str, Any] = {}
    more: list[dict[str, Any]] = []
    for part in parts:
        field = part.field
        if field is None and part.operator not in found:
            found[part.operator] = part.operand
        elif field is not None and field not in found:
            found |= part.as_filter()
        elif field is not None and part.operator and is_operators(found[field]) and part.operator not in found[field]:
            found[field] = {**found[field], part.operator: part.operand}
        else:
            more.append(part.as_filter())
    return {**found, "$and": more} if more else found


def points(part: Conjunct) -> list[bytes] | None:
    """The encoded values that a condition allows, in order; None if it is not made of such."""
    values = [part.operand] if part.operator == "$eq" else part.operand if part.operator == "$in" else None
    if values is None or any(isinstance(value, Mapping) for value in values):
        return None
    try:
        return sorted({keycode.encode([value]) for value in values})
    except InvalidKeyValue:  # an object inside of a list, or no 64-bit integer
        return None


def stretch(parts: list[Conjunct]) -> tuple[list[Conjunct], bytes, bytes] | None:
    """The range conditions of one field: those that are used, and the bounds lower <= value < upper; None if there are none."""
    used: list[Conjunct] = []
    lower, upper = b"", b"\xff"
    for part in parts:
        if part.operator not in RANGES:
            continue
        sample = part.operand[0] if part.operator == "$between" else part.operand
        kind = _TYPES.get(type(sample))
        if kind is None or not comparable(sample, sample):
            continue
        try:
            low, high = _bounds(part.operator, part.operand)
        except InvalidKeyValue:
            continue
        used.append(part)
        lower, upper = max(lower, kind[0], low), min(upper, kind[1], high)
    return (used, lower, max(lower, upper)) if used else None


def _bounds(operator: str, operand: Any) -> tuple[bytes, bytes]:
    """lower <= encoded value < upper."""
    if operator == "$starts_with":
        start = keycode.encode([operand])[:-2]
        return start, start + b"\xff"
    if operator == "$between":
        low, high = operand
        return keycode.encode([low]), keycode.encode([high]) + b"\xff"
    value = keycode.encode([operand])
    if operator in ("$gte", "$gt"):
        return (value, b"\xff") if operator == "$gte" else (value + b"\xff", b"\xff")
    return b"", value if operator == "$lt" else value + b"\xff"
