"""Planning a select: by which path to reach the rows, which stretches of it to read, and what is left to test for each row.

A *path* is an order in which rows can be read: the primary key, or an index. Equalities on its leading fields make a prefix (`$in`
makes several), a range on the next field bounds it further; such conditions are exact, since keys compare as filters do, and
are taken out of the filter. The rest is the *residual* filter. Reading begins at the lower bound and stops at the upper one.

Of the paths the cheapest is taken: the share of it that has to be read, which the tree tells roughly without reading leaves, times the
number of rows, times what one row costs there (an index leads to its row by another lookup), and a sort if the rows come in
another order than is wanted. The plan is a function of the store and the query alone: on the same version it is the same.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

from query.errors import QueryError
from query.filters.conditions import POINTS, Conjunct, conjuncts, points, stretch, together
from query.filters.predicates import compile_filter
from query.sorting.sorting import OrderItem, parse_order
from query.stores.indexes import Index
from query.stores.store import Store
from query.values import keycode
from query.values.fields import check_field

LOOKUP: Final = 12.0
"""What it costs to reach a row by an index, where reading the next row of a page costs 1 (measured: 15 us to 0.1-1.3 us)."""
SORT: Final = 3.0
MANY: Final = 10_000
"""So many stretches are made of several `$in` at most; what would make more is tested for each row."""

Range = tuple[bytes | None, bytes | None]


@dataclass(frozen=True)
class Plan:
    """How a select reads: at most `wanted` rows of the stretches `lower <= key < upper` of a path, in order, backwards if `reverse`;
    `sort` where that is not the wanted order."""

    index: Index | None
    ranges: tuple[Range, ...]
    used: tuple[Conjunct, ...]
    residual: dict[str, Any]
    reverse: bool
    sort: tuple[OrderItem, ...]
    access: str
    rows: float
    wanted: int | None = None
    cost: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """For `explain`: the path, its bounds as values, what is tested for each row, and whether it is sorted."""
        bounds = [[_shown(lower), _shown(upper)] for lower, upper in self.ranges[:100]]
        return {
            "access": self.access,
            "index": self.index.info.name if self.index is not None else None,
            "conditions": together(self.used),
            "stretches": len(self.ranges),
            "bounds": [] if self.access == "scan" else bounds,
            "residual": self.residual,
            "direction": "backward" if self.reverse else "forward",
            "sort": [f"{item.name} {'desc' if item.descending else 'asc'}" for item in self.sort],
            "estimated_rows": round(self.rows),
        }


def plan_select(
    store: Store,
    query_filter: Mapping[str, Any] | None,
    order_by: str | Sequence[str] | None,
    limit: int | None = None,
    *,
    indexes: bool = True,
) -> Plan:
    """Plan a select; `indexes=False` leaves them out. Raises QueryError for a filter or an order that is none."""
    compile_filter(query_filter, fields=store.fields)
    order = parse_order(order_by)
    for item in order:
        check_field(item.name, store.fields, "/order_by")
    conditions = list(conjuncts(query_filter or {}))
    plan = plan_path(store, None, conditions, order, limit)
    if plan.access == "key" or not indexes:
        return plan
    for index in store.ready_indexes:
        other = plan_path(store, index, conditions, order, limit)
        if other.cost < plan.cost and (other.used or not other.sort):
            plan = other
    return plan


def plan_path(
    store: Store,
    index: Index | None,
    conditions: list[Conjunct],
    order: tuple[OrderItem, ...] = (),
    limit: int | None = None,
) -> Plan:
    """The plan by one path: an index, or (None) the primary key."""
    key = store.info.primary_key
    fields = key if index is None else list(index.info.fields)
    ranges, used, fixed = _ranges(fields, conditions)
    path = fields if index is None else [*fields, *(name for name in key if name not in fields)]
    reverse, sort = _order(path, fixed, order)
    exact = {part.field for part in used if part.operator in POINTS} == set(fields)
    if exact and (index is None or index.info.unique):
        rows = float(len(ranges))
    else:
        tree = store.tree if index is None else index.tree
        rows = tree.length * min(1.0, sum(tree.share(lower, upper) for lower, upper in ranges))
    residual = [part for part in conditions if part not in used]
    wanted = rows if limit is None or sort or residual else min(rows, float(limit))
    cost = wanted * (LOOKUP if index is not None else 1.0) + (rows * SORT if sort else 0.0) + len(ranges) * LOOKUP
    access = "index" if index is not None else "key" if exact else "range" if used else "scan"
    return Plan(index, tuple(ranges), tuple(used), together(residual), reverse, sort, access, rows, limit, cost)


def _ranges(fields: Sequence[str], conditions: list[Conjunct]) -> tuple[list[Range], list[Conjunct], int]:
    """The stretches of a path with these fields, in order; the conditions that they are made of; how many fields have one value."""
    prefixes: list[list[bytes]] = []
    used: list[Conjunct] = []
    count = 1
    for field in fields:
        found = [
            (part, allowed) for part in conditions if part.field == field and (allowed := points(part)) is not None
        ]
        if not found:
            break
        part, values = min(found, key=lambda each: len(each[1]))
        if count * len(values) > MANY:
            break
        count *= len(values)
        prefixes.append(values)
        used.append(part)
    fixed = next((at for at, values in enumerate(prefixes) if len(values) != 1), len(prefixes))
    starts = [b"".join(parts) for parts in product(*prefixes)]
    if len(prefixes) < len(fields):
        bounded = stretch([part for part in conditions if part.field == fields[len(prefixes)]])
        if bounded is not None:
            more, lower, upper = bounded
            stretches: list[Range] = [(start + lower, start + upper) for start in starts if lower < upper]
            return stretches, used + more, fixed
    if not prefixes:
        return [(None, None)], used, fixed
    return [(start, start + b"\xff") for start in starts], used, fixed


def _order(fields: Sequence[str], fixed: int, order: tuple[OrderItem, ...]) -> tuple[bool, tuple[OrderItem, ...]]:
    """Whether to read backwards, and what to sort by where that is not enough."""
    free = [item for item in order if item.name not in fields[:fixed]]
    directions = {item.descending for item in free}
    if [item.name for item in free] == list(fields[fixed : fixed + len(free)]) and len(directions) <= 1:
        return directions == {True}, ()
    return False, order


def _shown(bound: bytes | None) -> Any:
    """A bound as values; as hexadecimal text where it lies between values."""
    if bound is None:
        return None
    try:
        return keycode.decode(bound.removesuffix(b"\xff"))
    except (QueryError, ValueError, IndexError, struct.error):
        return bound.hex()
