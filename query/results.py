"""Results: the rows of a query, written down once and read from any place on.

A select in the order of a key or an index can be read on from behind any key of its version. Joined rows, sorted rows, groups, and rows of
a transaction with uncommitted writes cannot: reading them page by page would run the query again for each page. They are written to a file
of their own as they come, without being parsed, and a page is then one seek. Nothing of it is in a database: a result takes no lock, makes
no version, and giving it back is removing a file.

    file     blocks, one behind the other
    block    length u64 | checksum u32 of what is behind it | first row u64 | rows u32 | JSON texts divided by `,\\n`
    place    where a block begins u64 | how many of its rows were read u32

The checksum is seeded with the block's place. A file is written as `<id>.partial`, made durable, and gets its name when it is whole. The id
is random: whoever was not given it does not find the rows.

Reading a result keeps it: it may go when nobody has read it for the time that old versions are kept (or sooner, the longest unread first,
where all results together take too much room), but never within GRACE seconds. One that has gone is an error, never fewer rows.
"""

import os
import re
import struct
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from secrets import token_hex
from typing import Any, BinaryIO, Final, NamedTuple

import msgspec

from btree import Corrupted
from query.errors import InvalidQuery, ResultNotFound
from query.files import make_durable, storage_errors
from query.stores.store import Record

BLOCK: Final = 64 * 1024
"""Bytes from which a block is written; one with a larger row is larger."""
GRACE: Final = 3600.0
"""Seconds for which a result stays after it was written or read, whatever the settings say."""
_HEAD: Final = struct.Struct(">QI")
_FIRST: Final = struct.Struct(">Q")
_PLACE: Final = struct.Struct(">QI")
_ID: Final = re.compile(r"[0-9a-f]{32}")
_LEAST: Final = len(b"{}")
"""Bytes of a row, at least."""
_DIVIDER: Final = b",\n"
_decode: Final = msgspec.json.Decoder(list[dict[str, Any]]).decode


class _Block(NamedTuple):
    first: int
    rows: list[Record]
    end: int


class Results:
    """The results in a folder, which is made when there is the first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, chunks: Iterable[bytes]) -> tuple[str, int]:
        """Write rows down, which come as JSON texts divided by `,\\n`, many at a time; gives the result's id and how many they are.

        Raises DiskFull, StorageError.
        """
        rows = filter(None, chunks)
        first = next(rows, b"")  # what is wrong with the query, or takes long, comes before the file
        name = token_hex(16)
        partial = self._folder / f"{name}.partial"
        with storage_errors("the rows could not be written down"):
            self._folder.mkdir(exist_ok=True)
            try:
                with partial.open("xb") as file:
                    count = _write(file, chain([first], rows) if first else rows)
                    file.flush()
                    os.fsync(file.fileno())
                partial.rename(self._path(name))
                make_durable(self._folder)
            except BaseException:
                partial.unlink(missing_ok=True)
                raise
        return name, count

    def page(self, name: str, count: int, *, after: bytes | None, limit: int) -> tuple[list[Record], bytes | None]:
        """At most `limit` rows from a place on (None: the beginning), and the place behind them (None: there are no more).

        `count` is how many rows there are in all: what is read is held against it page by page, so that no page goes beyond it. Raises
        ResultNotFound, Corrupted, InvalidQuery, StorageError.
        """
        start, skip = _place(after)
        found: list[Record] = []
        seen = 0
        with storage_errors("the rows could not be read"), self._open(name) as file:
            os.utime(file.fileno())
            size = os.fstat(file.fileno()).st_size
            _check_room(count, size)
            while len(found) < limit and start < size:
                block = _read(file, start, size)
                taken = block.rows[skip : skip + limit - len(found)]
                found += taken
                skip, seen = skip + len(taken), block.first + len(block.rows)
                if skip >= len(block.rows):
                    start, skip = block.end, 0
        if start < size:
            if seen > count or (seen == count and not skip):
                raise _wrong(f"more than {count}", count)
            return found, _PLACE.pack(start, skip)
        if seen != count:
            raise _wrong(str(seen), count)
        return found, None

    def places(self, name: str, count: int, *, every: int, first: int = 0) -> Iterator[bytes]:
        """The places behind each `every` of the `count` rows, counted from the row `first` on; only the heads of blocks are read.

        Raises ResultNotFound, Corrupted, InvalidQuery, StorageError.
        """
        due, begin, start = first + every, 0, 0
        with storage_errors("the rows could not be read"), self._open(name) as file:
            size = os.fstat(file.fileno()).st_size
            _check_room(count, size)
            while start < size:
                file.seek(start)
                head = file.read(_HEAD.size)
                if len(head) < _HEAD.size:
                    raise Corrupted("a result is damaged", hint="run the query again")
                following = start + _HEAD.size + _HEAD.unpack(head)[0]
                file.seek(following + _HEAD.size)
                text = file.read(_FIRST.size)
                if following < size and len(text) < _FIRST.size:
                    raise Corrupted("a result is damaged", hint="run the query again")
                behind = _FIRST.unpack(text)[0] if following < size else count
                if behind <= begin or behind > count:
                    raise _wrong(f"more than {begin}", count)
                while due < behind:
                    yield _PLACE.pack(start, due - begin)
                    due += every
                start, begin = following, behind

    def remove(self, name: str) -> None:
        """Give a result back; it may be gone already. Raises StorageError."""
        with storage_errors("a result could not be removed"):
            self._path(name).unlink(missing_ok=True)

    def sweep(self, *, retention_seconds: float, most_bytes: int) -> int:
        """Remove what was not read for `retention_seconds`, then the longest unread while all take more than `most_bytes`; how many.

        Raises StorageError.
        """
        now, removed = time.time(), 0
        with storage_errors("results could not be removed"):
            files = sorted(self._files())
            room = sum(size for _, size, _ in files)
            for used, size, path in files:
                unread = now - used
                if unread > GRACE and (unread > retention_seconds or room > most_bytes):
                    path.unlink(missing_ok=True)
                    room -= size
                    removed += 1
        return removed

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        """When each file was used last, its size, and its path."""
        for path in self._folder.glob("*.*"):
            with suppress(FileNotFoundError):  # removed meanwhile
                told = path.stat()
                yield told.st_mtime, told.st_size, path

    def _open(self, name: str) -> BinaryIO:
        try:
            return self._path(name).open("rb")
        except FileNotFoundError:
            message = "the rows that a row reference stands for are not kept any more"
            raise ResultNotFound(message, hint="run the query again") from None

    def _path(self, name: str) -> Path:
        if not isinstance(name, str) or not _ID.fullmatch(name):
            raise InvalidQuery(f"{name!r} is no result")
        return self._folder / f"{name}.rows"


def _write(file: BinaryIO, chunks: Iterable[bytes]) -> int:
    """Write chunks as blocks; how many rows they are."""
    total, at = 0, 0
    for text in _gathered(chunks):
        body = _FIRST.pack(total) + text
        file.write(_HEAD.pack(len(body), zlib.crc32(body, at & 0xFFFFFFFF)))
        file.write(body)
        at += _HEAD.size + len(body)
        total += text.count(_DIVIDER) + 1  # no JSON text has a raw line break
    return total


def _gathered(chunks: Iterable[bytes]) -> Iterator[bytes]:
    held: list[bytes] = []
    size = 0
    for chunk in chunks:
        held.append(chunk)
        size += len(chunk)
        if size >= BLOCK:
            yield _DIVIDER.join(held)
            held, size = [], 0
    if held:
        yield _DIVIDER.join(held)


def _read(file: BinaryIO, start: int, size: int) -> _Block:
    """The block at a place. Raises Corrupted."""
    file.seek(start)
    head = file.read(_HEAD.size)
    length, checksum = _HEAD.unpack(head) if len(head) == _HEAD.size else (0, 0)
    end = start + _HEAD.size + length
    body = file.read(length) if _FIRST.size < length and end <= size else b""
    if not body or zlib.crc32(body, start & 0xFFFFFFFF) != checksum:
        raise Corrupted("a result is damaged", hint="run the query again")
    (first,) = _FIRST.unpack_from(body)
    return _Block(first, _decode(b"[%b]" % body[_FIRST.size :]), end)


def _check_room(count: int, size: int) -> None:
    """Raises Corrupted where a file is too small for so many rows."""
    if count * _LEAST > size:
        raise _wrong(f"less than {size}", count)


def _wrong(rows: str, count: int) -> Corrupted:
    return Corrupted(f"a result has {rows} rows, and should have {count}", hint="run the query again")


def _place(after: bytes | None) -> tuple[int, int]:
    if after is None:
        return 0, 0
    if len(after) != _PLACE.size:
        raise InvalidQuery("this is no place in a result")
    start, skip = _PLACE.unpack(after)
    return start, skip
