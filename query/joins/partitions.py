"""Rows on disk in partitions: all rows of one join key are in the same one.

What does not fit in memory is divided by its join keys into `FAN_OUT` partitions, which are stretches of one temporary
file without a name, so whatever ends the process ends the file too. A partition that is still too large can be divided
again: each level looks at other bits of the join key's checksum, and at level `LEVELS` none are left.

    block    a MessagePack list of rows [join key, key, text]; where each begins, and its length, is in memory

Rows are collected in memory within the budget, and then written as one block of each partition.
"""

import sys
import tempfile
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Final, Self
from zlib import crc32

import msgspec

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


class Partitions:
    """Rows of one side, divided by their join keys on one level. Close it, or use it in `with`."""

    def __init__(self, budget_bytes: int, level: int) -> None:
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed by close()
        self._held = min(budget_bytes, FAN_OUT * _BLOCK)
        self._shift = _BITS * level
        self._end = 0
        self._size = 0
        self.parts = [Partition() for _ in range(FAN_OUT)]
        self._waiting: list[list[Row]] = [[] for _ in range(FAN_OUT)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the file back."""
        self._file.close()

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
            yield _decode(self._read(at, length))

    def _write(self, part: Partition, rows: list[Row]) -> None:
        data = _encode(rows)
        part.blocks.append((self._end, len(data)))
        self._file.seek(self._end)
        rest = memoryview(data)
        self._end += len(rest)
        while rest:
            rest = rest[self._file.write(rest) :]

    def _read(self, at: int, length: int) -> bytes:
        self._file.seek(at)
        data = self._file.read(length)
        while len(data) < length:
            more = self._file.read(length - len(data))
            if not more:
                raise OSError("a temporary file is shorter than what was written to it")
            data += more
        return data
