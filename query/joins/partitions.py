"""Rows on disk in partitions: all rows of one join key are in the same one.

What does not fit in memory is divided by its join keys into `FAN_OUT` partitions, which are stretches of one temporary
file (`query.sorting.blocks`). A partition that is still too large can be divided
again: each level looks at other bits of the join key's checksum, and at level `LEVELS` none are left.

    block    a MessagePack list of rows [join key, key, text]; where each begins, and its length, is in memory

Rows are collected in memory within the budget, and then written as one block of each partition.
"""

import sys
from collections.abc import Iterable, Iterator
from typing import Final
from zlib import crc32

import msgspec

from query.sorting.blocks import Blocks

Row = tuple[bytes, bytes, bytes]
"""Join key, key of the path, text."""

FAN_OUT: Final = 32
_BITS: Final = 5
LEVELS: Final = 32 // _BITS
ROW: Final = sys.getsizeof((b"", b"", b"")) + 3 * sys.getsizeof(b"")
"""Bytes that a row takes beyond those of its three parts."""
_BLOCK: Final = 1 << 18
"""Bytes of a block, on average, where the budget allows it."""
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(list[Row]).decode


class Partition:
    """The rows of some join keys: blocks in the file, and what is known of the rows in them."""

    def __init__(self) -> None:
        self.blocks: list[tuple[int, int]] = []
        self.size = 0
        """Bytes that all of its rows take in memory."""
        self._only: bytes | None = None
        self.single = True
        """Whether all rows have the same join key."""

    def note(self, rows: list[Row]) -> None:
        """Take note of rows that are written."""
        self.size += sum([len(join) + len(key) + len(text) for join, key, text in rows]) + ROW * len(rows)
        if self._only is None:
            self._only = rows[0][0]
        self.single = self.single and all(join == self._only for join, _, _ in rows)


class Partitions(Blocks):
    """Rows of one side, divided by their join keys on one level. Close it, or use it in `with`."""

    def __init__(self, budget_bytes: int, level: int) -> None:
        super().__init__()
        self._held = min(budget_bytes, FAN_OUT * _BLOCK)
        self._shift = _BITS * level
        self._size = 0
        self.parts = [Partition() for _ in range(FAN_OUT)]
        self._waiting: list[list[Row]] = [[] for _ in range(FAN_OUT)]

    def fill(self, rows: Iterable[Row]) -> None:
        """Take rows in; those of the last call wait in memory until `flush`. Raises OSError where the disk is full."""
        waiting, shift, mask = self._waiting, self._shift, FAN_OUT - 1
        for row in rows:
            join, key, text = row
            waiting[crc32(join) >> shift & mask].append(row)
            self._size += len(join) + len(key) + len(text) + ROW
            if self._size > self._held:
                self.flush()

    def flush(self) -> None:
        """Write what waits in memory."""
        self._size = 0
        for part, rows in zip(self.parts, self._waiting, strict=True):
            if rows:
                part.note(rows)
                self._write(part, rows)
                rows.clear()

    def rows(self, number: int) -> Iterator[list[Row]]:
        """The rows of a partition that were written, a block at a time."""
        part = self.parts[number]
        for at, length in part.blocks:
            yield _decode(self.read(at, length))

    def _write(self, part: Partition, rows: list[Row]) -> None:
        data = _encode(rows)
        part.blocks.append((self.append(data), len(data)))
