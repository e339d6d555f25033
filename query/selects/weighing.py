"""Plans, and what it costs to read by one.

The cost of a path is the share of it that has to be read, which the tree tells roughly without reading leaves, times the
number of rows, times what one row costs there (an index leads to its row by another lookup), and a sort if the rows come in
another order than is wanted.
"""

import struct
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from query.errors import QueryError
from query.filters.conditions import Conjunct, together
from query.sorting.sorting import OrderItem
from query.stores.indexes import Index
from query.stores.store import Store
from query.values import keycode

LOOKUP: Final = 12.0
"""What it costs to reach a row by an index, where reading the next row of a page costs 1 (measured: 15 us to 0.1-1.3 us)."""
SORT: Final = 3.0

Range = tuple[bytes | None, bytes | None]


@dataclass(slots=True)
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


def rows_of(store: Store, index: Index | None, ranges: Sequence[Range], *, exact: bool) -> float:
    """About how many rows stretches of a path have; `exact` if each has values for all of its fields."""
    if exact and (index is None or index.info.unique):
        return float(len(ranges))
    tree = store.tree if index is None else index.tree
    return tree.length * min(1.0, sum([tree.share(lower, upper) for lower, upper in ranges]))


def cost_of(index: Index | None, rows: float, stretches: int, limit: int | None, *, sort: bool, rest: bool) -> float:
    """What it costs to read so many rows by a path, at most `limit` if they are neither sorted nor filtered (`rest`)."""
    wanted = rows if limit is None or sort or rest else min(rows, float(limit))
    return wanted * (LOOKUP if index is not None else 1.0) + (rows * SORT if sort else 0.0) + stretches * LOOKUP


def access_of(index: Index | None, *, exact: bool, used: bool) -> str:
    """The name of the way to read: `index`, or by the primary key `key`, `range`, `scan`."""
    return "index" if index is not None else "key" if exact else "range" if used else "scan"


def direction(
    fields: Sequence[str], fixed: int, order: tuple[OrderItem, ...], key: Sequence[str]
) -> tuple[bool, tuple[OrderItem, ...]]:
    """Whether to read a path backwards, and what to sort by where that is not enough.

    The path has the fields `fields`, the primary key's among them, of which the first `fixed` have one value. Rows that are equal in the
    order come in the order of the primary key `key`, in the direction of the order's last field.
    """
    if not order:
        return False, ()
    free = [item for item in order if item.name not in fields[:fixed]]
    directions = {item.descending for item in free}
    equal = {*fields[:fixed], *(item.name for item in order)}
    if not equal.issuperset(key):
        directions.add(order[-1].descending)
    in_order = [item.name for item in free] == list(fields[fixed : fixed + len(free)])
    if in_order and len(directions) <= 1 and follows_key(fields, equal, key):
        return directions == {True}, ()
    return False, order


def follows_key(fields: Sequence[str], equal: Collection[str], key: Sequence[str]) -> bool:
    """Whether the rows of a path that have the same values in the fields `equal` come in the order of the primary key."""
    wanted = [name for name in key if name not in equal]
    return [name for name in fields if name not in equal][: len(wanted)] == wanted


def _shown(bound: bytes | None) -> Any:
    """A bound as values; as hexadecimal text where it lies between values."""
    if bound is None:
        return None
    try:
        return keycode.decode(bound.removesuffix(b"\xff"))
    except (QueryError, ValueError, IndexError, struct.error):
        return bound.hex()
