"""Planning a select: by which path to reach the rows, which stretches of it to read, and what is left to test for each row.

A *path* is an order in which rows can be read: the primary key, or an index. Equalities on its leading fields make a prefix (`$in`
makes several), a range on the next field bounds it further; such conditions are exact, since keys compare as filters do, and
are taken out of the filter. The rest is the *residual* filter. Reading begins at the lower bound and stops at the upper one.

Of the paths the cheapest is taken (see `weighing`). The plan is a function of the store and the query alone: on the same version it is
the same. For filters that only say which values some fields have, most of the work is done once (see `prepared`).
"""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, Final

from query.filters.conditions import POINTS, Conjunct, conjuncts, points, stretch, together
from query.filters.tree import parse_filter
from query.selects.prepared import prepare, prepared_for, shape_of
from query.selects.weighing import LOOKUP, SORT, Plan, Range, access_of, cost_of, direction, rows_of
from query.sorting.sorting import OrderItem, parse_order
from query.stores.indexes import Index
from query.stores.store import Store
from query.values.fields import check_field

__all__ = ["LOOKUP", "MANY", "SORT", "Plan", "Range", "plan_path", "plan_select"]

MANY: Final = 10_000
"""So many stretches are made of several `$in` at most; what would make more is tested for each row."""


def plan_select(
    store: Store,
    query_filter: Mapping[str, Any] | None,
    order_by: str | Sequence[str] | None,
    limit: int | None = None,
    *,
    indexes: bool = True,
) -> Plan:
    """Plan a select; `indexes=False` leaves them out. Raises QueryError for a filter or an order that is none."""
    shape = shape_of(query_filter, order_by)
    if shape is not None:
        prepared = prepared_for(store, shape)
        plan = prepared.plan(store, shape.values, limit, indexes=indexes) if prepared is not None else None
        if plan is not None:
            return plan
    if query_filter is not None and query_filter != {}:
        parse_filter(query_filter, "/filter", store.fields)
    order = parse_order(order_by)
    for item in order:
        check_field(item.name, store.fields, "/order_by")
    if shape is not None:
        prepare(store, shape, order)
    conditions = list(conjuncts(query_filter or {}))
    plan = plan_path(store, None, conditions, order, limit)
    if plan.access == "key" or not indexes:
        return plan
    for index in store.ready_indexes:
        other = plan_path(store, index, conditions, order, limit)
        if other.cost < plan.cost and (other.used or (order and not other.sort)):
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
    reverse, sort = direction(path, fixed, order, key)
    exact = {part.field for part in used if part.operator in POINTS} == set(fields)
    rows = rows_of(store, index, ranges, exact=exact)
    taken = set(map(id, used))  # true and 1 are equal to Python: which condition it is tells its identity
    rest = together([part for part in conditions if id(part) not in taken])
    cost = cost_of(index, rows, len(ranges), limit, sort=bool(sort), rest=bool(rest))
    access = access_of(index, exact=exact, used=bool(used))
    return Plan(index, tuple(ranges), tuple(used), rest, reverse, sort, access, rows, limit, cost)


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
