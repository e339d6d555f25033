"""Reading the rows of a plan, many at a time, whichever path leads to them.

A *slice* is a stretch of rows: the keys of the path (the primary key's, or the index's entries), the rows as JSON texts, and
the same texts as one run divided by `,\n`. By the primary key a slice is a stretch of a page and nothing is decoded;
by an index each entry leads to its row.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final, Protocol

from btree import ReadTree
from query.errors import QueryError
from query.selects.plan import Plan
from query.stores.indexes import Index, key_of
from query.stores.store import Store

_AT_ONCE: Final = (8, 64, 256)


class Slice(Protocol):
    """A stretch of rows, in the order of the path."""

    @property
    def count(self) -> int: ...

    @property
    def keys(self) -> Sequence[bytes]:
        """The keys of the path, by which reading can go on."""
        ...

    @property
    def values_json(self) -> bytes: ...

    def values(self) -> Sequence[bytes]: ...

    def value(self, index: int) -> bytes:
        """One value, without making the others."""
        ...


class Rows:
    """Rows that were gathered one by one."""

    __slots__ = ("_values", "count", "keys")

    def __init__(self, keys: Sequence[bytes], values: Sequence[bytes]) -> None:
        self.keys = keys
        self._values = values
        self.count = len(keys)

    @property
    def values_json(self) -> bytes:
        return b",\n".join(self._values)

    def values(self) -> Sequence[bytes]:
        return self._values

    def value(self, index: int) -> bytes:
        return self._values[index]


def slices(store: Store, plan: Plan, after: bytes | None = None, *, edit: bool = False) -> Iterator[Slice]:
    """The rows of a plan's stretches before the residual filter; from behind the key `after` of the path, if given.

    With `edit`, by the primary key and forwards, the slices are LeafEdits.
    """
    ranges = reversed(plan.ranges) if plan.reverse else plan.ranges
    for lower, upper in ranges:
        if after is not None:
            if plan.reverse:
                upper = after if upper is None else min(upper, after)
            else:
                lower = after + b"\x00" if lower is None else max(lower, after + b"\x00")
        if lower is not None and upper is not None and lower >= upper:
            continue
        if plan.index is not None:
            yield from _by_index(store, plan.index, lower, upper, plan)
        elif plan.reverse:
            yield from _backwards(store.tree, lower, upper, plan.wanted)
        else:
            yield from store.edits(lower, upper) if edit else store.tree.leaves(lower, upper)


def _backwards(tree: ReadTree, lower: bytes | None, upper: bytes | None, wanted: int | None) -> Iterator[Rows]:
    for pairs in _batches(tree.scan(lower, upper, reverse=True), wanted):
        yield Rows([key for key, _ in pairs], [value for _, value in pairs])


def _by_index(store: Store, index: Index, lower: bytes | None, upper: bytes | None, plan: Plan) -> Iterator[Rows]:
    get = store.tree.get
    for entries in _batches(index.tree.scan(lower, upper, reverse=plan.reverse), plan.wanted):
        values = [get(key_of(entry, value)) for entry, value in entries]
        if None in values:
            lost = entries[values.index(None)]
            raise BrokenIndex(
                f"the index {index.info.name} has an entry for a record that is not there",
                hint="check the database; drop the index and create it again",
                entry=lost[0].hex(),
            )
        yield Rows([entry for entry, _ in entries], values)  # type: ignore[arg-type]


def _batches(pairs: Iterator[tuple[bytes, bytes]], wanted: int | None) -> Iterator[list[tuple[bytes, bytes]]]:
    """A few at first, for whoever wants only the first rows."""
    read = 0
    while found := list(islice(pairs, min(_AT_ONCE[min(read, 2)], wanted or 256))):
        read += 1
        yield found


class BrokenIndex(QueryError):
    code = "broken_index"
