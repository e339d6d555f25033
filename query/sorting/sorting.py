"""Sorting rows in bounded memory.

A row is (sort key, payload). The sort key is bytes: the encodings of the ordered values (`values`), one behind the other, each with
every byte complemented where the order is descending. No encoding is the beginning of another, so comparing the bytes compares the
values one by one, and complementing reverses. A missing field is null, which comes first (last when descending).

`sorted_rows` collects rows until they fill the budget, then sorts them and writes them to disk as a run (`spill`); in the end all
runs are merged. With a limit, only the best `limit` rows are kept each time, and every row that is not before the worst
of them is passed over at once: a small limit never touches the disk. Rows with equal keys keep their order.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

from query.errors import InvalidQuery
from query.sorting.spill import Row, Spill, row_bytes
from query.values.boxes import COMPLEMENT, encode_value
from query.values.paths import compile_path, parse_path

BUDGET: Final = 64 << 20

SortKey = Callable[[Mapping[str, Any]], bytes]

_SLACK: Final = 256
_key: Final = itemgetter(0)


@dataclass(frozen=True)
class OrderItem:
    """One field of an order."""

    name: str
    descending: bool = False

    @property
    def path(self) -> tuple[str, ...]:
        """The names that the dotted name is made of."""
        return tuple(self.name.split("."))


Order = tuple[OrderItem, ...]


def parse_order(order_by: str | Sequence[str] | None, pointer: str = "/order_by") -> Order:
    """An order: `field`, `-field`, `field asc` or `field desc`, or a list of them; nothing for null or an empty list.

    Raises InvalidQuery, with the place.
    """
    if order_by is None or order_by == "" or order_by == []:
        return ()
    if isinstance(order_by, str):
        return (_parse_item(order_by, pointer),)
    if not isinstance(order_by, list | tuple):
        raise InvalidQuery(f"order_by takes field names, not {order_by!r}", pointer=pointer)
    order: list[OrderItem] = []
    for index, text in enumerate(order_by):
        item = _parse_item(text, f"{pointer}/{index}")
        if item.name in [earlier.name for earlier in order]:
            raise InvalidQuery(f"{item.name} stands twice in the order", pointer=f"{pointer}/{index}")
        order.append(item)
    return tuple(order)


def _parse_item(text: Any, pointer: str) -> OrderItem:
    if not isinstance(text, str) or not text.strip():
        raise InvalidQuery(f"order_by takes field names, not {text!r}", pointer=pointer)
    name, _, direction = text.strip().partition(" ")
    direction = direction.strip().lower()
    if direction not in ("", "asc", "desc"):
        hint = "write field, -field, field asc or field desc; several fields are a list"
        raise InvalidQuery(f"{text!r}: the direction is asc or desc", pointer=pointer, hint=hint)
    if name.startswith("-") and direction:
        hint = f"write {name} or {name[1:]} {direction}"
        raise InvalidQuery(f"{text!r} tells the direction twice", pointer=pointer, hint=hint)
    parse_path(name.removeprefix("-"), pointer)
    return OrderItem(name.removeprefix("-"), name.startswith("-") or direction == "desc")


def compile_sort_key(order: Order) -> SortKey:
    """A function from a record to its sort key. It raises InvalidKeyValue for what is no JSON value."""
    parts = [_compile_item(item) for item in order]
    if len(parts) == 1:
        return parts[0]
    return lambda record: b"".join([part(record) for part in parts])


def _compile_item(item: OrderItem) -> SortKey:
    read = compile_path(item.path)
    if item.descending:
        return lambda record: encode_value(read(record)).translate(COMPLEMENT)
    return lambda record: encode_value(read(record))


def sort_key(record: Mapping[str, Any], order: Order) -> bytes:
    """The sort key of one record; for many, compile it once. Raises InvalidKeyValue."""
    return compile_sort_key(order)(record)


def sorted_rows(
    rows: Iterable[Row], *, limit: int | None = None, budget_bytes: int = BUDGET, folder: Path | None = None
) -> Generator[Row]:
    """Rows (sort key, payload) in order of their keys, equal ones as they came; the first `limit` of them, if given.

    Takes about `budget_bytes` of memory, and the rest on disk in `folder`. Closing the iterator gives both back. What counts is
    the length of a payload: give slices of a page or msgspec's output; a result of `orjson.dumps` keeps its buffer of 4 KB.
    Raises OSError where the disk is full.
    """
    sorter = _Sorter(limit, budget_bytes, folder)
    try:
        sorter.fill(rows)
        yield from islice(sorter.drain(), limit)
    finally:
        sorter.close()


class _Sorter:
    """The rows so far: those in memory, runs on disk, and with a limit the `cutoff` that a row must be before."""

    def __init__(self, limit: int | None, budget: int, folder: Path | None) -> None:
        self._limit = limit
        self._budget = budget
        self._folder = folder
        self._rows: list[Row] = []
        self._cutoff: bytes | None = None
        self._spill: Spill | None = None

    def fill(self, rows: Iterable[Row]) -> None:
        if self._limit == 0:
            return
        enough = None if self._limit is None else self._limit + max(self._limit, _SLACK)
        used = 0
        for row in rows:
            if self._cutoff is not None and row[0] >= self._cutoff:
                continue
            self._rows.append(row)
            used += row_bytes(row)
            if used > self._budget or len(self._rows) == enough:
                used = self._reduce()

    def _reduce(self) -> int:
        """Keep the best, or write all to disk where they fill more than half of the budget. Gives the bytes still used."""
        self._sort()
        used = sum(map(row_bytes, self._rows))
        if used <= self._budget // 2:
            return used
        self._write()
        return 0

    def _sort(self) -> None:
        self._rows.sort(key=_key)
        if self._limit and len(self._rows) >= self._limit:
            del self._rows[self._limit :]
            self._cutoff = self._rows[-1][0]

    def _write(self) -> None:
        if self._spill is None:
            self._spill = Spill(self._budget, self._folder)
        self._spill.write(self._rows)
        self._rows = []

    def drain(self) -> Iterator[Row]:
        self._sort()
        if self._spill is None:
            return iter(self._rows)
        self._write()
        return self._spill.merged()

    def close(self) -> None:
        self._rows = []
        if self._spill is not None:
            self._spill.close()
