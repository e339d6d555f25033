"""Planning a select: which stretch of the primary key to read, and what is left to test for each row.

Equalities on the leading key fields make a prefix; a range on the next one bounds it further. These conditions are exact (keys
compare as filters do), so they are taken out of the filter, and the rest is the *residual* filter. Reading starts at the lower
bound and stops at the upper one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from query import keycode
from query.errors import InvalidQuery
from query.filters import Predicate, compile_filter, is_operators

_RANGE: Final = frozenset({"$gt", "$gte", "$lt", "$lte", "$between", "$starts_with"})
_TYPES: Final = {bool: (b"\x02", b"\x04"), int: (b"\x10", b"\x11"), float: (b"\x10", b"\x11"), str: (b"\x20", b"\x21")}


@dataclass(frozen=True)
class Plan:
    """How a select reads: `lower` <= key < `upper`, backwards if `reverse`; `sort` where key order is not the wanted order."""

    access: str
    lower: bytes | None
    upper: bytes | None
    residual: Mapping[str, Any]
    predicate: Predicate | None
    reverse: bool
    sort: tuple[tuple[str, bool], ...]

    def to_dict(self) -> dict[str, Any]:
        """For `explain`: the access, the bounds as key values, what is tested for each row, and whether it is sorted."""
        return {
            "access": self.access,
            "prefix": self.access != "scan",
            "residual": dict(self.residual),
            "direction": "backward" if self.reverse else "forward",
            "sort": [f"{name} {'desc' if descending else 'asc'}" for name, descending in self.sort],
        }


def plan_select(
    primary_key: Sequence[str], query_filter: Mapping[str, Any] | None, order_by: str | Sequence[str] | None
) -> Plan:
    """Plan a select. Raises QueryError for a filter or an order that is none."""
    compile_filter(query_filter)
    rest = dict(query_filter or {})
    prefix: list[Any] = []
    for field in primary_key:
        if field not in rest or not _is_equality(rest[field]):
            break
        condition = rest.pop(field)
        prefix.append(condition["$eq"] if is_operators(condition) else condition)
    lower, upper = keycode.prefix_range(prefix) if prefix else (None, None)
    access = "key" if len(prefix) == len(primary_key) else "range" if prefix else "scan"
    if len(prefix) < len(primary_key):
        bounds = _take_range(rest, primary_key[len(prefix)], keycode.encode(prefix))
        if bounds is not None:
            access, (lower, upper) = "range", bounds
    reverse, sort = _order(primary_key, len(prefix), order_by)
    return Plan(access, lower, upper, rest, compile_filter(rest), reverse, sort)


def _is_equality(condition: Any) -> bool:
    if is_operators(condition):
        return set(condition) == {"$eq"} and not isinstance(condition["$eq"], Mapping)
    return not isinstance(condition, Mapping)


def _take_range(rest: dict[str, Any], field: str, base: bytes) -> tuple[bytes, bytes] | None:
    """The bounds of a field's range operators, which are taken out of `rest`."""
    condition = rest.get(field)
    if not is_operators(condition):
        return None
    assert isinstance(condition, Mapping)
    used = {name: operand for name, operand in condition.items() if name in _RANGE}
    kinds = {_TYPES[type(_sample(operand))] for operand in used.values() if type(_sample(operand)) in _TYPES}
    if len(kinds) != 1:
        return None
    (low, high), *_ = kinds
    lower, upper = base + low, base + high
    for name, operand in used.items():
        lower, upper = _narrow(name, operand, base, lower, upper)
    left = {name: operand for name, operand in condition.items() if name not in used}
    if left:
        rest[field] = left
    else:
        del rest[field]
    return lower, upper


def _sample(operand: Any) -> Any:
    return operand[0] if isinstance(operand, list) and operand else operand


def _narrow(name: str, operand: Any, base: bytes, lower: bytes, upper: bytes) -> tuple[bytes, bytes]:
    if name == "$starts_with":
        start = base + keycode.encode([operand])[:-2]
        return max(lower, start), min(upper, start + b"\xff")
    if name == "$between":
        low, high = operand
        return max(lower, base + keycode.encode([low])), min(upper, base + keycode.encode([high]) + b"\xff")
    key = base + keycode.encode([operand])
    if name == "$gte":
        return max(lower, key), upper
    if name == "$gt":
        return max(lower, key + b"\xff"), upper
    return lower, min(upper, key if name == "$lt" else key + b"\xff")


def _order(
    primary_key: Sequence[str], fixed: int, order_by: str | Sequence[str] | None
) -> tuple[bool, tuple[tuple[str, bool], ...]]:
    """Whether to read backwards, and what to sort by where that is not enough."""
    if not order_by:
        return False, ()
    wanted = [_order_item(item) for item in ([order_by] if isinstance(order_by, str) else order_by)]
    free = [item for item in wanted if item[0] not in primary_key[:fixed]]
    names = [name for name, _ in free]
    directions = {descending for _, descending in free}
    if names == list(primary_key[fixed : fixed + len(names)]) and len(directions) <= 1:
        return directions == {True}, ()
    return False, tuple(wanted)


def _order_item(item: Any) -> tuple[str, bool]:
    """`field`, `-field`, `field asc` or `field desc`."""
    if not isinstance(item, str) or not item.strip():
        raise InvalidQuery(f"order_by takes field names, not {item!r}", pointer="/order_by")
    name, _, direction = item.strip().partition(" ")
    if direction.strip().lower() not in ("", "asc", "desc"):
        raise InvalidQuery(f"{item!r}: the direction is asc or desc", pointer="/order_by")
    descending = direction.strip().lower() == "desc" or name.startswith("-")
    return name.removeprefix("-"), descending
