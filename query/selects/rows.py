"""Rows that are filtered, ordered, cut and projected: what selects and joins have in common.

A source gives *slices* (see `access`): keys, and rows as JSON texts. The filter works on a slice as a whole; rows are decoded only
where they are sorted or asked for as records, and as JSON they go from the page to the sink. Nothing is kept but for a sort, which spills
to disk. Rows that are equal in the order have one all the same, which no plan changes (`_ties`).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import islice
from typing import Any, Final

from btree import LeafSlice
from query.errors import InvalidQuery
from query.filters.pages import PageFilter, values_at
from query.selects.access import Slice
from query.sorting.sorting import OrderItem, SortKey, compile_sort_key, sorted_rows
from query.stores.store import Record, decode_record
from query.values.fields import Projection, partial_decoder

MANY: Final = 1 << 60
"""More rows than there can be: a larger limit or offset means the same."""
_CHUNK: Final = 256

Tie = Callable[[Record, bytes], bytes]


class RowsQuery(ABC):
    """The rows of a query: iterate them once, or take them as JSON chunks. Counts what it reads.

    `_filter` is what is left to test, `_sort` the order that the source does not have.
    """

    def __init__(
        self,
        rest: PageFilter | None,
        sort: tuple[OrderItem, ...],
        projection: Projection | None,
        limit: int | None,
        offset: int,
    ) -> None:
        self._filter = rest
        self._sort = sort
        self._projection = projection
        self._limit = limit
        self._offset = offset
        self.pages = 0
        self.examined = 0
        self.returned = 0

    @abstractmethod
    def slices(self, after: bytes | None = None) -> Iterator[Slice]:
        """The rows before the filter; from behind the key `after`, if given."""

    @abstractmethod
    def _ties(self, *, descending: bool) -> Tie | None:
        """What orders rows that are equal in `_sort`: a function of the record and the key; None where they are read in that order.

        It does not depend on the plan, so that a limit gives the same rows by each.
        """

    @property
    def progress(self) -> dict[str, int]:
        """What was read so far: `pages_read` are stretches of pages, or of gathered rows."""
        return {"pages_read": self.pages, "rows_examined": self.examined, "rows_returned": self.returned}

    @property
    def in_key_order(self) -> bool:
        """Whether the rows come in the order of their keys, and so can be taken page by page."""
        return not self._sort

    @property
    def columns(self) -> list[str] | None:
        """The names of the fields, where they are known before the rows."""
        return self._projection.columns if self._projection is not None else None

    def __iter__(self) -> Iterator[Record]:
        for _, record in self.pairs():
            yield record

    def pairs(self, after: bytes | None = None) -> Iterator[tuple[bytes, Record]]:
        """Keys and projected records; from behind the key `after`, if given (and then without offset)."""
        project = self._projection.record if self._projection is not None else None
        for key, value in self.encoded(after):
            record: Record = decode_record(value)
            self.returned += 1
            yield key, project(record) if project is not None else record

    def partial(self, fields: Collection[str]) -> Iterator[Record]:
        """The rows with some top-level fields only, and these as they are; projected rows are given whole."""
        if self._projection is not None:
            yield from self
            return
        decode = partial_decoder(fields)
        for run, count in self._runs():
            self.returned += count
            yield from decode(b"[%b]" % run)

    def encoded(self, after: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        """Keys, and whole rows as JSON texts. Sorted rows have no key by which one could go on: it is empty."""
        if self._sort:
            for value in self._sorted():
                yield b"", value
            return
        for part, _, chosen in self._chosen(after):
            keys, values = part.keys, part.values()
            if chosen is None:
                yield from zip(keys, values, strict=True)
            else:
                for index in chosen:
                    yield keys[index], values[index]

    def places(self, every: int, after: bytes | None = None) -> Iterator[bytes]:
        """The key of each `every`-th row, from behind the key `after`, if given; nothing is decoded."""
        due = every - 1
        for part, _, chosen in self._chosen(after):
            count = part.count if chosen is None else len(chosen)
            if due < count:
                keys = part.keys
                for index in range(due, count, every):
                    yield keys[index if chosen is None else chosen[index]]
                due += every * len(range(due, count, every))
            due -= count

    def json_chunks(self) -> Iterator[bytes]:
        """The rows as JSON texts divided by `,\\n`, many at a time. Between chunks the caller puts the divider."""
        project = self._projection.run if self._projection is not None else None
        for run, count in self._runs():
            self.returned += count
            yield project(run) if project is not None else run

    def _runs(self) -> Iterator[tuple[bytes, int]]:
        """Whole rows as runs, and how many are in each."""
        if self._sort:
            rows = self._sorted()
            while values := list(islice(rows, _CHUNK)):
                yield b",\n".join(values), len(values)
            return
        for part, run, chosen in self._chosen(None):
            if chosen is None:
                yield part.values_json if run is None else run, part.count
            elif isinstance(part, LeafSlice):
                yield part.picked(chosen), len(chosen)
            else:
                yield values_at(part.values_json if run is None else run, chosen), len(chosen)

    def count(self) -> int:
        """How many rows there are, within limit and offset."""
        return self._within(self._count_all())

    def _count_all(self) -> int:
        return sum(part.count if chosen is None else len(chosen) for part, _, chosen in self._matches(None))

    def _within(self, total: int) -> int:
        total = max(0, total - self._offset)
        return total if self._limit is None else min(total, self._limit)

    def _matches(self, after: bytes | None) -> Iterator[tuple[Slice, bytes | None, list[int] | None]]:
        """Slices with their run, where it was made, and the indexes of the rows that match; None for all of them."""
        matches = self._filter.matches if self._filter is not None else None
        for part in self.slices(after):
            self.pages += 1
            self.examined += part.count
            if matches is None:
                yield part, None, None
                continue
            run = part.values_json
            chosen = matches(run)
            if chosen:
                yield part, run, chosen if len(chosen) < part.count else None

    def _chosen(self, after: bytes | None) -> Iterator[tuple[Slice, bytes | None, list[int] | None]]:
        """The same within offset and limit."""
        skip = self._offset if after is None else 0
        left = self._limit
        if left == 0:
            return
        if not skip and left is None:
            yield from self._matches(after)
            return
        for part, run, chosen in self._matches(after):
            count = part.count if chosen is None else len(chosen)
            if not skip and (left is None or count < left):
                yield part, run, chosen
                left = None if left is None else left - count
                continue
            indexes: Sequence[int] = range(part.count) if chosen is None else chosen
            taken = list(indexes[skip : None if left is None else skip + left])
            skip = max(0, skip - count)
            if taken:
                yield part, run, taken
            if left is not None:
                left -= len(taken)
                if left == 0:
                    return

    def _sorted(self) -> Iterator[bytes]:
        wanted = None if self._limit is None else self._offset + self._limit
        ordered = sorted_rows(self._keyed(compile_sort_key(self._sort)), limit=wanted)
        try:
            for _, value in islice(ordered, self._offset, wanted):
                yield value
        finally:
            ordered.close()

    def _keyed(self, key_of: SortKey) -> Iterator[tuple[bytes, bytes]]:
        """The rows with their sort keys, to which what orders equal ones is appended."""
        tie_of = self._ties(descending=self._sort[-1].descending)
        for part, _, chosen in self._matches(None):
            values = part.values() if chosen is None else _picked(part.values(), chosen)
            if tie_of is None:
                for value in values:
                    yield key_of(decode_record(value)), value
                continue
            keys = part.keys if chosen is None else _picked(part.keys, chosen)
            for key, value in zip(keys, values, strict=True):
                record: Record = decode_record(value)
                yield key_of(record) + tie_of(record, key), value


def check_window(limit: Any, offset: Any) -> tuple[int | None, int]:
    """A limit and an offset, none larger than MANY. Raises InvalidQuery for what is none."""
    for name, number in (("limit", limit), ("offset", offset)):
        if number is None and name == "limit":
            continue
        if not isinstance(number, int) or isinstance(number, bool) or number < 0:
            raise InvalidQuery(f"{name} is a whole number from 0, not {number!r}", pointer=f"/{name}")
    return None if limit is None else min(limit, MANY), min(offset, MANY)


def _picked(values: Sequence[bytes], chosen: list[int]) -> list[bytes]:
    return [values[index] for index in chosen]
