"""A join as the left side of another one: its rows, and the order in which they come.

A merge and a lookup give rows in the order of their left path. Where that is the order of the next join's fields, the chain goes on by
merging, and nothing is kept but a part of each side. In the rows of an inner join the two values of a join field are equal, so that
the right one's order is the left one's.
"""

from collections.abc import Iterator, Sequence

from query.joins.planning import KEEPS_LEFT_ORDER, Choice, StoreInput
from query.joins.sides import Decoded, Part
from query.joins.spec import JoinSpec
from query.selects.access import Slice
from query.selects.rows import RowsQuery


class JoinedSide:
    """A left side that is a join: its texts are joined rows without their closing bracket."""

    def __init__(self, joined: RowsQuery, joins: Decoded) -> None:
        self._joined = joined
        self._joins = joins
        self.pages = 0
        self.rows = 0

    def parts(self, since: bytes | None = None, after: bytes | None = None) -> Iterator[Part]:
        """Its rows."""
        if since is not None or after is not None:
            raise ValueError("joined rows are read from their beginning")
        for part, _, chosen in self._joined._chosen(None):
            self.pages += 1
            self.rows += part.count if chosen is None else len(chosen)
            yield Part(_Open(part), chosen, self._joins)


class _Open:
    """A stretch of joined rows, whose single texts are left open for another member. Its run has them whole, to be decoded."""

    def __init__(self, part: Slice) -> None:
        self._part = part
        self.count = part.count

    @property
    def keys(self) -> Sequence[bytes]:
        return self._part.keys

    @property
    def values_json(self) -> bytes:
        return self._part.values_json

    def values(self) -> Sequence[bytes]:
        return [text[:-1] for text in self._part.values()]

    def value(self, index: int) -> bytes:
        return self._part.value(index)[:-1]


def names_on_the_left(names: Sequence[str], spec: JoinSpec, kind: str) -> list[str]:
    """Paths into the rows of a join, those of the right side replaced by the left ones that are equal to them."""
    if kind != "inner":
        return list(names)
    left_of = {f"{spec.right.name}.{right}": _in_row(left, spec) for left, right in spec.on}
    return [left_of.get(name, name) for name in names]


def in_order_of(names: Sequence[str], spec: JoinSpec, kind: str, choice: Choice, left: StoreInput) -> bool:
    """Whether the rows of a join of stores come in the order of some paths into them."""
    plan = choice.left
    if plan is None or not keeps_order(kind, choice) or plan.reverse or plan.sort:
        return False
    wanted = [name.partition(".") for name in names_on_the_left(names, spec, kind)]
    if any(side != spec.left_names[0] for side, _, _ in wanted):
        return False
    fields = tuple(field for _, _, field in wanted)
    paths = StoreInput(left.store, left.conditions, fields).paths(indexes=True)
    return any(path.index is plan.index and path.fields == fields and path.plan.ranges == plan.ranges for path in paths)


def keeps_order(kind: str, choice: Choice) -> bool:
    """Whether the rows come in the order of the left side."""
    return choice.method in ("merge", "lookup") and kind in KEEPS_LEFT_ORDER


def _in_row(name: str, spec: JoinSpec) -> str:
    return name if isinstance(spec.left, JoinSpec) else f"{spec.left.name}.{name}"
