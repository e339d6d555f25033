"""Choosing how to join: by merging, by looking up, or by hashing.

    merge    both sides have a path in the order of the join keys, or the left one is a join whose rows come in that order:
             reading both, or less where one side can jump
    lookup   the right side has a path by the join fields: reading the left, and a descent for each row of it. inner, left, semi, anti
    hash     always: reading both, and the table

The cheapest is taken, by the planner's estimates (`plan`): costs are in rows read one after the other. An order that the rows do not
come in costs a sort.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from query.errors import InvalidQuery
from query.filters.conditions import Conjunct, together
from query.joins.paths import JoinPath, join_paths
from query.selects.plan import LOOKUP, SORT, Plan, plan_path, plan_select
from query.selects.weighing import follows_key
from query.sorting.sorting import OrderItem
from query.stores.store import Store

SCAN: Final = 0.1
"""What the next row of a page costs where nothing of it is decoded, where a lookup is `plan.LOOKUP` (measured: 0.1 to 17 us)."""
FILTERED: Final = 0.35
"""The same where a filter is tested."""
HASH: Final = 0.5
"""What it costs to put a row into the table, or to find it there (measured: 0.65 us)."""
JUMP: Final = 4 * LOOKUP
"""What it costs to open a side anew further on: a descent, and reading some pages to find that it is worth it."""
_ROW_BYTES: Final = 400
KEEPS_LEFT_ORDER: Final = frozenset({"inner", "left", "semi", "anti"})


@dataclass(frozen=True)
class StoreInput:
    """A side that is a store: what it has to satisfy, and the join fields."""

    store: Store
    conditions: tuple[Conjunct, ...]
    fields: tuple[str, ...]

    def best(self, order: Sequence[OrderItem] = (), *, indexes: bool, limit: int | None = None) -> Plan:
        """The cheapest way to read it."""
        names = [f"{item.name} desc" if item.descending else item.name for item in order]
        return plan_select(self.store, together(self.conditions), names or None, limit, indexes=indexes)

    def paths(self, *, indexes: bool) -> list[JoinPath]:
        """The paths by which its rows are found by their join keys."""
        return join_paths(self.store, self.conditions, self.fields, indexes=indexes)


@dataclass(frozen=True)
class JoinedInput:
    """A left side that is a join: its join fields, how many rows there may be, what they cost, and whether they come in an order."""

    fields: tuple[str, ...]
    rows: float
    cost: float
    in_order_of: Callable[[Sequence[str]], bool]


@dataclass(frozen=True)
class Choice:
    """How to join. `left` and `right` are plans by which the sides are read; `sorted` whether the rows come in the wanted order."""

    method: str
    cost: float
    rows: float
    left: Plan | None
    left_path: JoinPath | None
    right: Plan | None
    right_path: JoinPath | None
    ordered: bool
    left_rows: float


def choose(
    left: StoreInput | JoinedInput,
    right: StoreInput,
    kind: str,
    order: Sequence[OrderItem] | None,
    wanted: int | None,
    *,
    indexes: bool,
    method: str | None,
    budget_bytes: int,
) -> Choice:
    """The cheapest way to join, or the cheapest by `method`.

    `order` is the wanted order as one of the left side's fields, None where it is another; `wanted` how many rows are taken at most.
    Raises InvalidQuery where `method` cannot be.
    """
    if isinstance(left, JoinedInput):
        merges = _chained_merges(left, right, kind, order, indexes=indexes)
    else:
        merges = _merges(left, right, kind, order, indexes=indexes)
    choices = [
        *merges,
        *_lookups(left, right, kind, order, wanted, indexes=indexes),
        _hash(left, right, kind, order, indexes=indexes, budget_bytes=budget_bytes),
    ]
    if method is not None:
        choices = [choice for choice in choices if choice.method == method]
        if not choices:
            raise InvalidQuery(f"this join cannot be done by {method}", pointer="/method", hint=_WHY[method])
    return min(choices, key=lambda choice: _weighed(choice, wanted, unordered=order is None or bool(order)))


_WHY: Final = {
    "merge": "both sides need a key or an index that begins with the join fields, in the same order; a join on the left "
    "has to give its rows in that order",
    "lookup": "the right side needs a key or an index that begins with the join fields, and the type "
    "has to be inner, left, semi or anti",
}


def _weighed(choice: Choice, wanted: int | None, *, unordered: bool) -> float:
    """What it costs to the last row that is taken."""
    if unordered and not choice.ordered:
        return choice.cost + SORT * choice.rows
    if wanted is None or choice.method == "hash":
        return choice.cost
    return choice.cost * min(1.0, wanted / max(1.0, choice.left_rows))


def _merges(
    left: StoreInput,
    right: StoreInput,
    kind: str,
    order: Sequence[OrderItem] | None,
    *,
    indexes: bool,
) -> list[Choice]:
    found = []
    left_of = dict(zip(right.fields, left.fields, strict=True))
    lefts = left.paths(indexes=indexes)
    for path in right.paths(indexes=indexes):
        for other in lefts:
            if tuple(left_of[name] for name in path.fields) != other.fields:
                continue
            cost = _jumping(other.plan, path.plan, kind)
            found.append(
                Choice(
                    method="merge",
                    cost=cost,
                    rows=max(other.plan.rows, path.plan.rows),
                    left=other.plan,
                    left_path=other,
                    right=path.plan,
                    right_path=path,
                    ordered=kind in KEEPS_LEFT_ORDER and _in_order(other, order) and (not order or _by_key(path, kind)),
                    left_rows=other.plan.rows,
                )
            )
    return found


def _chained_merges(
    left: JoinedInput,
    right: StoreInput,
    kind: str,
    order: Sequence[OrderItem] | None,
    *,
    indexes: bool,
) -> list[Choice]:
    """Merging joined rows, where they come in the order of their join fields: they are decoded for these, and read to the end."""
    found = []
    left_of = dict(zip(right.fields, left.fields, strict=True))
    for path in right.paths(indexes=indexes):
        if left.in_order_of([left_of[name] for name in path.fields]):
            reading = _reading(path.plan)
            if kind in ("inner", "semi", "left", "anti"):
                reading = min(reading, JUMP * (1 + left.rows))
            found.append(
                Choice(
                    method="merge",
                    cost=left.cost + FILTERED * left.rows + reading,
                    rows=max(left.rows, path.plan.rows),
                    left=None,
                    left_path=None,
                    right=path.plan,
                    right_path=path,
                    ordered=order == (),
                    left_rows=left.rows,
                )
            )
    return found


def _reading(plan: Plan) -> float:
    """What reading by a plan costs here: its own cost is that of a select, whose rows go on to somebody."""
    if plan.index is not None:
        return plan.cost
    share = FILTERED if plan.residual else SCAN
    return max(plan.cost * share, plan.cost - plan.rows * (1 - share))


def _jumping(left: Plan, right: Plan, kind: str) -> float:
    """What reading both costs, where a side may jump to what the other has."""
    costs = [_reading(left), _reading(right)]
    if kind in ("inner", "semi", "right"):
        costs[0] = min(costs[0], JUMP * (1 + right.rows))
    if kind in ("inner", "semi", "left", "anti"):
        costs[1] = min(costs[1], JUMP * (1 + left.rows))
    return sum(costs)


def _in_order(path: JoinPath, order: Sequence[OrderItem] | None) -> bool:
    """Whether a path read forward has an order."""
    if order is None:
        return False
    plan = plan_path(path.store, path.index, list(path.conditions), tuple(order))
    return not plan.sort and not plan.reverse


def _by_key(path: JoinPath, kind: str) -> bool:
    """Whether the right rows that a left row is joined with come in the order of their primary key, which orders equal joined rows."""
    if kind in ("semi", "anti"):
        return True
    key = path.store.info.primary_key
    fields = key if path.index is None else [*path.index.info.fields, *key]
    behind = fields.index(path.fields[0]) + len(path.fields)
    return follows_key(fields, fields[:behind], key)


def _lookups(
    left: StoreInput | JoinedInput,
    right: StoreInput,
    kind: str,
    order: Sequence[OrderItem] | None,
    wanted: int | None,
    *,
    indexes: bool,
) -> list[Choice]:
    if kind not in KEEPS_LEFT_ORDER:
        return []
    plan, ordered, rows, cost = _left_plan(left, order, indexes=indexes, limit=wanted if kind == "left" else None)
    return [
        Choice(
            method="lookup",
            cost=cost + rows * LOOKUP * (1.0 if path.exact else 2.5),
            rows=rows,
            left=plan,
            left_path=None,
            right=None,
            right_path=path,
            ordered=ordered and (not order or _by_key(path, kind)),
            left_rows=rows,
        )
        for path in right.paths(indexes=indexes)
    ]


def _left_plan(
    left: StoreInput | JoinedInput, order: Sequence[OrderItem] | None, *, indexes: bool, limit: int | None = None
) -> tuple[Plan | None, bool, float, float]:
    """How to read the left side; whether it is in the wanted order then; rows and cost."""
    if isinstance(left, JoinedInput):
        return None, order == (), left.rows, left.cost
    if order is not None:
        plan = left.best(order, indexes=indexes, limit=limit)
        if not plan.sort:
            return plan, True, plan.rows, _reading(plan)
    plan = left.best(indexes=indexes)
    return plan, False, plan.rows, _reading(plan)


def _hash(
    left: StoreInput | JoinedInput,
    right: StoreInput,
    kind: str,
    order: Sequence[OrderItem] | None,
    *,
    indexes: bool,
    budget_bytes: int,
) -> Choice:
    plan, _, rows, cost = _left_plan(left, (), indexes=indexes)
    other = right.best(indexes=indexes)
    work = HASH * (rows + other.rows) * (1.0 if other.rows * _ROW_BYTES < budget_bytes else 3.0)
    return Choice(
        method="hash",
        cost=cost + _reading(other) + work,
        rows=max(rows, other.rows),
        left=plan,
        left_path=None,
        right=other,
        right_path=None,
        ordered=False,
        left_rows=rows,
    )
