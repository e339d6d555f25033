"""Pages: what a B+tree node looks like in memory and as bytes.

A page is immutable once it is written. On disk (all numbers little-endian):

    header   kind u8 (1 leaf, 2 branch) | format u8 | reserved u16 | crc32 u32 of everything behind the header
    leaf     count u32 | key lengths u16[count] | value ends u32[count] | keys | values as ONE run, divided by ",\\n"
    branch   count u32 | key lengths u16[count] | children u64[count + 1] | separators

The run of a leaf is why a scan is a copy: joined pages are a JSON array but for its brackets, and the lines of NDJSON but
for the commas. Values are JSON texts and have no raw line break, so a run splits into its values in one call.

The checksum of format 2 is seeded with the page's id, so that a page that turns up under another id is noticed too. Format 1
(without the seed) is still read.

A separator is the smallest key of the subtree to its right: child i holds the keys k with separator[i-1] <= k < separator[i].

Pages have no fixed size: a page is a row of a table. `TARGET` is where one is split (so chosen that a full page fits into one
page of SQLite), and a leaf with one large value is as large as that value, so there are no overflow pages of our own.

A stored leaf is decoded as late as possible: a scan needs its run and nothing else, a point read its keys and one value.
"""

import struct
from array import array
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Final
from zlib import crc32

from btree.errors import Corrupted

SQLITE_PAGE: Final = 8192
"""Bytes of a page of SQLite, in which ours are rows."""
TARGET: Final = SQLITE_PAGE - 64
"""Bytes of a page at which it is split."""
MINIMUM: Final = TARGET // 4
"""Bytes below which a page is merged with a neighbour, or filled up from it."""

SEPARATOR: Final = b",\n"
PAGE_FORMAT: Final = 2
_HEADER: Final = struct.Struct("<BBHI")
_COUNT: Final = struct.Struct("<I")
_ENDS: Final = struct.Struct("<II")
_LEAF: Final = 1
_BRANCH: Final = 2
_FIXED: Final = _HEADER.size + _COUNT.size
ENTRY: Final = 8
"""Bytes that a pair takes in a leaf beyond its key and value: two lengths and the divider."""


class Leaf:
    """A stored leaf: sorted keys and their values, decoded from `data` when they are asked for."""

    __slots__ = ("_data", "_keys", "_run", "_values", "count", "size")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)
        (self.count,) = _COUNT.unpack_from(data, _HEADER.size)
        self._keys: Sequence[bytes] | None = None
        self._values: list[bytes] | None = None
        last = _FIXED + 6 * self.count
        self._run = self.size - (int.from_bytes(data[last - 4 : last], "little") if self.count else 0)

    @property
    def keys(self) -> Sequence[bytes]:
        if self._keys is None:
            self._keys = _texts(self._data, _FIXED, self.count, _FIXED + 6 * self.count)
        return self._keys

    @property
    def values(self) -> list[bytes]:
        if self._values is None:
            self._values = self.run.split(SEPARATOR) if self.count else []
        return self._values

    @property
    def run(self) -> bytes:
        """The values as one run of JSON texts divided by `,\\n`."""
        return self._data[self._run :]

    def value(self, index: int) -> bytes:
        """One value, without making the others."""
        at = _FIXED + 2 * self.count + 4 * index
        if not index:
            return self._data[self._run : self._run + int.from_bytes(self._data[at : at + 4], "little")]
        before, end = _ENDS.unpack_from(self._data, at - 4)
        return self._data[self._run + before + 2 : self._run + end]

    def draft(self) -> "DirtyLeaf":
        """A private copy that may be changed."""
        return DirtyLeaf(list(self.keys), self.run.split(SEPARATOR) if self.count else [], self.size)


class DirtyLeaf:
    """A leaf that is not stored yet. `size` is its bytes on disk, within a few."""

    __slots__ = ("keys", "size", "values")

    def __init__(self, keys: list[bytes], values: list[bytes], size: int | None = None) -> None:
        self.keys = keys
        self.values = values
        self.size = _leaf_size(keys, values) if size is None else size

    @property
    def count(self) -> int:
        return len(self.keys)

    @property
    def run(self) -> bytes:
        return SEPARATOR.join(self.values)

    def value(self, index: int) -> bytes:
        return self.values[index]

    def draft(self) -> "DirtyLeaf":
        """A copy that may be changed."""
        return DirtyLeaf(self.keys.copy(), self.values.copy(), self.size)

    def encode(self, page: int) -> bytes:
        """The page's bytes, stored under the id `page`."""
        count = len(self.keys)
        steps = [len(value) + 2 for value in self.values]
        if steps:
            steps[0] -= 2
        ends = array("I", accumulate(steps))
        lengths = array("H", map(len, self.keys))
        body = b"".join((_COUNT.pack(count), lengths.tobytes(), ends.tobytes(), *self.keys, self.run))
        return _HEADER.pack(_LEAF, PAGE_FORMAT, 0, crc32(body, page & 0xFFFFFFFF)) + body


class Branch:
    """Separators and child page ids; one child more than separators. A stored one is never changed: `draft` copies it."""

    __slots__ = ("children", "keys", "size")

    def __init__(self, keys: list[bytes], children: list[int]) -> None:
        self.keys = keys
        self.children = children
        self.size = _branch_size(keys)

    def draft(self) -> "Branch":
        """A private copy that may be changed."""
        return Branch(self.keys.copy(), self.children.copy())

    def put(self, index: int, key: bytes, child: int) -> None:
        """A new child to the right of child `index`, with `key` between them."""
        self.keys.insert(index, key)
        self.children.insert(index + 1, child)
        self.size += len(key) + 10

    def remove(self, index: int) -> None:
        """Drop the child `index` with the separator to its left (to its right, for the first)."""
        at = max(index - 1, 0)
        self.size -= len(self.keys[at]) + 10
        del self.keys[at]
        del self.children[index]

    def rename(self, index: int, key: bytes) -> None:
        """Replace the separator `index`."""
        self.size += len(key) - len(self.keys[index])
        self.keys[index] = key

    def encode(self, page: int) -> bytes:
        """The page's bytes, stored under the id `page`."""
        lengths, children = array("H", map(len, self.keys)), array("Q", self.children)
        body = b"".join((_COUNT.pack(len(self.keys)), lengths.tobytes(), children.tobytes(), *self.keys))
        return _HEADER.pack(_BRANCH, PAGE_FORMAT, 0, crc32(body, page & 0xFFFFFFFF)) + body


Node = Leaf | DirtyLeaf | Branch


def decode(page: int, data: bytes) -> Leaf | Branch:
    """Read the page with the id `page`. Raises Corrupted where the bytes are not what was written."""
    if len(data) < _FIXED:
        raise _corrupted(page, f"has {len(data)} bytes: it is cut off")
    kind, version, reserved, checksum = _HEADER.unpack_from(data)
    seed = page & 0xFFFFFFFF if version == PAGE_FORMAT else 0
    if crc32(memoryview(data)[_HEADER.size :], seed) != checksum or reserved or version not in (1, PAGE_FORMAT):
        raise _corrupted(page, "does not have the checksum it was written with")
    if kind == _LEAF:
        return Leaf(data)
    if kind != _BRANCH:
        raise _corrupted(page, f"is of an unknown kind ({kind})")
    (count,) = _COUNT.unpack_from(data, _HEADER.size)
    start = _FIXED + 2 * count
    children = array("Q", data[start : start + 8 * (count + 1)])
    return Branch(list(_texts(data, _FIXED, count, start + 8 * (count + 1))), children.tolist())


def _corrupted(page: int, problem: str) -> Corrupted:
    return Corrupted(f"page {page} {problem}", hint="restore the database from a backup", page=page)


def _texts(data: bytes, lengths_at: int, count: int, start: int) -> Sequence[bytes]:
    """`count` byte strings that stand behind each other at `start`; keys of one length (the usual case) in one call."""
    raw = data[lengths_at : lengths_at + 2 * count]
    if count and raw == raw[:2] * count:
        found: tuple[bytes, ...] = _struct(int.from_bytes(raw[:2], "little"), count).unpack_from(data, start)
        return found
    ends = accumulate(array("H", raw), initial=start)
    return [data[begin:end] for begin, end in pairwise(ends)]


@lru_cache(maxsize=4096)
def _struct(length: int, count: int) -> struct.Struct:
    return struct.Struct(f"{length}s" * count)


def _leaf_size(keys: Sequence[bytes], values: Sequence[bytes]) -> int:
    return _FIXED + sum(map(len, keys)) + sum(map(len, values)) + ENTRY * len(keys)


def _branch_size(keys: Sequence[bytes]) -> int:
    return _FIXED + 8 + sum(map(len, keys)) + 10 * len(keys)
