"""Sorted runs on disk, and merging them.

What does not fit in memory is written as a *run*: rows (key, payload) in key order. All runs of a `Spill` are stretches of
one temporary file (`blocks`), so a Spill holds one open file however many runs it has. Iterators of `merged` end with an error when it
is closed.

    run     blocks, one behind the other
    block   length (eight bytes, big-endian), then a MessagePack list of [key, payload]

A block holds at most `block_bytes` of rows as they are counted in memory (`row_bytes`), or a single larger row. Merging holds one
block of each run. At most `FAN_IN` runs are merged at once: where there are more, just enough neighbouring ones are first
merged into longer runs, which are appended to the file.

The merge goes a block at a time. The run whose last loaded key is the least sets the bound: nothing still unread comes before it.
All loaded rows up to the bound are put together and sorted, which for sorted pieces is a merge in C.
Equal keys come in the order of their runs, then as they were written: merging is stable.
"""

import sys
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Final

import msgspec

from query.sorting.blocks import Blocks

Row = tuple[bytes, bytes]

FAN_IN: Final = 64
_MAX_BLOCK: Final = 1 << 20
_ROW: Final = sys.getsizeof((b"", b"")) + 2 * sys.getsizeof(b"") + 64
_LENGTH: Final = 8
_key: Final = itemgetter(0)
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(list[Row]).decode


def row_bytes(row: Row) -> int:
    """About how much memory a row takes while it is sorted."""
    return len(row[0]) + len(row[1]) + _ROW


class Spill(Blocks):
    """Sorted runs in a temporary file, in `folder` or the system's folder for such files. Close it, or use it in `with`."""

    def __init__(self, budget_bytes: int, folder: Path | None = None) -> None:
        super().__init__(folder)
        self._block_bytes = min(budget_bytes // (2 * FAN_IN), _MAX_BLOCK)
        self._runs: list[tuple[int, int]] = []

    @property
    def run_count(self) -> int:
        """How many runs there are."""
        return len(self._runs)

    def write(self, rows: Iterable[Row]) -> None:
        """Append a run; the rows are in key order. Raises OSError where the disk is full."""
        self._runs.append(self._write(rows))

    def merged(self) -> Iterator[Row]:
        """The rows of all runs in key order, equal keys in the order in which they were written."""
        at = 0
        while (surplus := len(self._runs) - FAN_IN) > 0:
            count = min(FAN_IN, surplus + 1)
            if at + count > len(self._runs):
                at = 0
            some = self._runs[at : at + count]
            self._runs[at : at + count] = [self._write(self._merge(some))]
            at += 1
        return self._merge(self._runs)

    def _merge(self, runs: Sequence[tuple[int, int]]) -> Iterator[Row]:
        return _merge([self._blocks(*run) for run in runs])

    def _write(self, rows: Iterable[Row]) -> tuple[int, int]:
        start = self.end
        block: list[Row] = []
        size = 0
        for row in rows:
            more = len(row[0]) + len(row[1]) + _ROW
            if block and size + more > self._block_bytes:
                self._append(block)
                block, size = [], 0
            block.append(row)
            size += more
        if block:
            self._append(block)
        return start, self.end

    def _append(self, block: list[Row]) -> None:
        data = _encode(block)
        self.append(len(data).to_bytes(_LENGTH, "big") + data)

    def _blocks(self, at: int, end: int) -> Iterator[list[Row]]:
        while at < end:
            length = int.from_bytes(self.read(at, _LENGTH), "big")
            yield _decode(self.read(at + _LENGTH, length))
            at += _LENGTH + length


class _Source:
    """A run while it is merged: one loaded block, and whether there is another."""

    def __init__(self, blocks: Iterator[list[Row]]) -> None:
        self._blocks = blocks
        self.rows: list[Row] = []
        self.ended = False

    def load(self) -> None:
        self.rows = next(self._blocks, [])
        self.ended = not self.rows

    def take(self, count: int) -> list[Row]:
        taken = self.rows[:count]
        del self.rows[:count]
        return taken


def _merge(runs: Sequence[Iterator[list[Row]]]) -> Iterator[Row]:
    sources = [_Source(blocks) for blocks in runs]
    while True:
        for source in sources:
            if not source.rows and not source.ended:
                source.load()
        sources = [source for source in sources if not source.ended]
        if not sources:
            return
        bound, index = min((source.rows[-1][0], index) for index, source in enumerate(sources))
        ready: list[Row] = []
        for place, source in enumerate(sources):
            # a later run waits with keys equal to the bound: the run that set it may have more of them
            cut = bisect_right if place <= index else bisect_left
            ready += source.take(cut(source.rows, bound, key=_key))
        ready.sort(key=_key)
        yield from ready
