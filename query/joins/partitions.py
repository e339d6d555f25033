"""Rows on disk in partitions: all rows of one join key are in the same one.

What does not fit in memory is divided by its join keys into `FAN_OUT` partitions, which are stretches of one temporary
file without a name, so whatever ends the process ends the file too. A partition that is still too large can be divided
again: each level looks at other bits of the join key's checksum, and at level `LEVELS` none are left.

    block    a MessagePack list of rows [join key, key, text]; where each begins, and its length, is in memory

Each partition collects one block in memory; what all of them hold is within the budget.
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
_MAX_BLOCK: Final = 1 << 18
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(list[Row]).decode


class Partition:
    """The rows of some join keys: blocks in the file, and rows that are not written yet."""

    def __init__(self) -> None:
        self.blocks: list[tuple[int, int]] = []
        self.waiting: list[Row] = []
        self.size = 0
        """Bytes that all of its rows take in memory."""
        self._unwritten = 0
        self._only: bytes | None = None
        self.single = True
        """Whether all rows have the same join key."""

    def add(self, row: Row) -> int:
        """Take a row in; gives the bytes that wait to be written."""
        size = len(row[0]) + len(row[1]) + len(row[2]) + ROW
        self.size += size
        self._unwritten += size
        self.waiting.append(row)
        if self._only is None:
            self._only = row[0]
        elif self.single and self._only != row[0]:
            self.single = False
        return self._unwritten

    def taken(self) -> list[Row]:
        """The rows that wait, which now do so no more."""
        rows, self.waiting, self._unwritten = self.waiting, [], 0
        return rows


class Partitions:
    """Rows of one side, divided by their join keys on one level. Close it, or use it in `with`."""

    def __init__(self, budget_bytes: int, level: int) -> None:
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed by close()
        self._block = min(budget_bytes // FAN_OUT, _MAX_BLOCK)
        self._shift = _BITS * level
        self._end = 0
        self.parts = [Partition() for _ in range(FAN_OUT)]

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
        """Take rows in. Raises OSError where the disk is full."""
        parts, shift, block = self.parts, self._shift, self._block
        for row in rows:
            part = parts[(crc32(row[0]) >> shift) & (FAN_OUT - 1)]
            if part.add(row) > block:
                self._write(part)

    def flush(self) -> None:
        """Write what waits in memory."""
        for part in self.parts:
            if part.waiting:
                self._write(part)

    def rows(self, number: int) -> Iterator[list[Row]]:
        """The rows of a partition that were written, a block at a time."""
        part = self.parts[number]
        for at, length in part.blocks:
            yield _decode(self._read(at, length))

    def _write(self, part: Partition) -> None:
        data = _encode(part.taken())
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
