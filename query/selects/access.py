"""Reading the rows of a plan, many at a time, whichever path leads to them.

A *slice* is a stretch of rows: the keys of the path (the primary key's, or the index's entries), the rows as JSON texts, and
the same texts as one run divided by `,\n`. By the primary key a slice is a stretch of a page and nothing is decoded;
by an index each entry leads to its row.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final, Protocol, TypeVar

from btree import ReadTree, Tree
from query.errors import QueryError
from query.selects.plan import Plan, Range
from query.stores.indexes import Index, keys_of
from query.stores.store import Store

T = TypeVar("T")

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
    ranges = _behind(plan, after) if after is not None else plan.ranges
    if plan.reverse:
        ranges = ranges[::-1]
    if plan.access == "key" and not isinstance(store.tree, Tree):
        yield from _by_keys(store.tree, [lower for lower, _ in ranges if lower is not None], plan.wanted)
        return
    for lower, upper in ranges:
        if plan.index is not None:
            yield from _by_index(store, plan.index, lower, upper, plan)
        elif plan.reverse:
            yield from _backwards(store.tree, lower, upper, plan.wanted)
        else:
            yield from store.edits(lower, upper) if edit else store.tree.leaves(lower, upper)


def _behind(plan: Plan, after: bytes) -> Sequence[Range]:
    """What is left of a plan's stretches behind a key, in the direction of reading."""
    cut: list[Range]
    if plan.reverse:
        cut = [(lower, after if upper is None else min(upper, after)) for lower, upper in plan.ranges]
    else:
        start = after + b"\x00"
        cut = [(start if lower is None else max(lower, start), upper) for lower, upper in plan.ranges]
    return [(lower, upper) for lower, upper in cut if lower is None or upper is None or lower < upper]


def _by_keys(tree: ReadTree, keys: list[bytes], wanted: int | None) -> Iterator[Rows]:
    """The rows of whole primary keys. A transaction reads stretches instead, and notes those."""
    for some in _batches(iter(keys), wanted):
        values = tree.get_many(some)
        if None in values:
            some = [key for key, value in zip(some, values, strict=True) if value is not None]
        if some:
            yield Rows(some, [value for value in values if value is not None])


def _backwards(tree: ReadTree, lower: bytes | None, upper: bytes | None, wanted: int | None) -> Iterator[Rows]:
    for pairs in _batches(tree.scan(lower, upper, reverse=True), wanted):
        yield Rows([key for key, _ in pairs], [value for _, value in pairs])


def _by_index(store: Store, index: Index, lower: bytes | None, upper: bytes | None, plan: Plan) -> Iterator[Rows]:
    get_many = store.tree.get_many
    for entries, places in _entries(index.tree, lower, upper, plan):
        values = get_many(keys_of(entries, places))
        if None in values:
            raise BrokenIndex(
                f"the index {index.info.name} has an entry for a record that is not there",
                hint="check the database; drop the index and create it again",
                entry=entries[values.index(None)].hex(),
            )
        yield Rows(entries, values)  # type: ignore[arg-type]


def _entries(
    tree: ReadTree, lower: bytes | None, upper: bytes | None, plan: Plan
) -> Iterator[tuple[Sequence[bytes], Sequence[bytes]]]:
    """The keys and values of a stretch of an index, a few at first. A transaction notes no more as read than what was taken."""
    if plan.reverse or isinstance(tree, Tree):
        for pairs in _batches(tree.scan(lower, upper, reverse=plan.reverse), plan.wanted):
            yield [key for key, _ in pairs], [value for _, value in pairs]
        return
    read = 0
    for part in tree.leaves(lower, upper):
        keys, values, at = part.keys, part.values(), 0
        while at < part.count:
            some = min(_AT_ONCE[min(read, 2)], plan.wanted or 256)
            yield keys[at : at + some], values[at : at + some]
            read, at = read + 1, at + some


def _batches(items: Iterator[T], wanted: int | None) -> Iterator[list[T]]:
    """A few at first, for whoever wants only the first rows."""
    read = 0
    while found := list(islice(items, min(_AT_ONCE[min(read, 2)], wanted or 256))):
        read += 1
        yield found


class BrokenIndex(QueryError):
    code = "broken_index"
