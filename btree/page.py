"""Pages: what a B+tree node looks like in memory and as bytes.

A page is immutable once it is written. On disk (all numbers little-endian):

    header   kind u8 (1 leaf, 2 branch) | format u8 | reserved u16 | crc32 u32 of everything behind it | count u32
    leaf     run at u32 | key lengths u16[count] | value ends u32[count] | keys | values as ONE run, divided by ",\\n"
    branch   key lengths u16[count] | children u64[count + 1] | separators

The run of a leaf is why a scan is a copy: joined pages are a JSON array but for its brackets, and the lines of NDJSON but
for the commas. Values are JSON texts and have no raw line break, so a run splits into its values in one call.

The checksum is seeded with the page's id, so that a page that turns up under another id is noticed too. Format 1 had no seed, and
no `run at` (where the run begins, in bytes from the page's start); it is still read.

A separator is the smallest key of the subtree to its right: child i holds the keys k with separator[i-1] <= k < separator[i].

Pages have no fixed size: a page is a row of a table. `TARGET` is where one is split, and a leaf with one large value is as large as
that value, so there are no overflow pages of our own.

A leaf is decoded as late as possible: a scan needs its run and nothing else, a point read its keys and one value. And where values are
only replaced, the new page is made of stretches of the old one, without decoding it (`Leaf.patched`).
"""

import struct
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Final

from isal.isal_zlib import crc32

from btree.branch import BRANCH, BRANCH_HEAD, PAGE_FORMAT, Branch
from btree.errors import Corrupted
from btree.lengths import added, ends_of, texts_of, without
from btree.stretches import cut_out

SQLITE_PAGE: Final = 16_384
"""Bytes of a page of SQLite, in which ours are rows. Chosen by measurement, as the others: docs/decisions/0006."""
TARGET: Final = SQLITE_PAGE // 2 - 64
"""Bytes of a leaf at which it is split: two full ones fit into a page of SQLite."""
MINIMUM: Final = TARGET // 4
"""Bytes below which a leaf is merged with a neighbour, or filled up from it."""
BRANCH_TARGET: Final = SQLITE_PAGE // 4 - 64
"""The same for branches. They are smaller: every change of a record writes one of each level."""
BRANCH_MINIMUM: Final = BRANCH_TARGET // 4

SEPARATOR: Final = b",\n"
_HEADER: Final = struct.Struct("<BBHIII")
_SHORT_HEADER: Final = struct.Struct("<BBHII")
_CHECKED: Final = 8
"""What is behind this many bytes is in the checksum."""
_COUNT: Final = struct.Struct("<I")
_TWO: Final = struct.Struct("<II")
_LEAF: Final = 1
_HEAD: Final = 16
"""Bytes of a leaf before its key lengths."""
ENTRY: Final = 8
"""Bytes that a pair takes in a leaf beyond its key and value: two lengths and the divider."""
_ASKED: Final = 6
"""After so many places are asked for, keys are decoded."""
_FEW: Final = 8
"""Up to this part of a leaf, keys are made one by one."""


class Leaf:
    """A leaf as bytes: sorted keys and their values, decoded from `data` when they are asked for. Never changed."""

    __slots__ = ("_asked", "_data", "_keys", "_run", "_values", "_width", "count", "size")

    def __init__(self, data: bytes, count: int, run: int) -> None:
        self._data = data
        self.size = len(data)
        self.count = count
        self._run = run
        self._width = -1  # the length of the keys if they have one length, 0 if not, -1 if it was not looked at
        self._keys: Sequence[bytes] | None = None
        self._values: list[bytes] | None = None
        self._asked = 0

    @classmethod
    def build(cls, keys: Sequence[bytes], key_lengths: Sequence[int], run: bytes, steps: list[int]) -> "Leaf":
        """From parts; `steps` are the lengths of the values and their dividers, but for the first value's, which has none before it."""
        count = len(keys)
        texts = b"".join(keys)
        at = _HEAD + 6 * count + len(texts)
        parts = (
            _HEADER.pack(_LEAF, PAGE_FORMAT, 0, 0, count, at),
            array("H", key_lengths).tobytes(),
            array("I", accumulate(steps)).tobytes(),
            texts,
            run,
        )
        return cls(b"".join(parts), count, at)

    @property
    def keys(self) -> Sequence[bytes]:
        if self._keys is None:
            self._keys = texts_of(self._data, _HEAD, self.count, _HEAD + 6 * self.count)
        return self._keys

    def packed_keys(self) -> tuple[int, bytes] | None:
        """The keys one behind the other, and how long each is; None where they differ in length."""
        width = self._one_length()
        return (width, self._data[_HEAD + 6 * self.count : self._run]) if width else None

    @property
    def values(self) -> list[bytes]:
        if self._values is None:
            self._values = self.run.rsplit(SEPARATOR) if self.count else []  # from behind: sooner done than split
        return self._values

    @property
    def run(self) -> bytes:
        """The values as one run of JSON texts divided by `,\\n`."""
        return self._data[self._run :]

    def find(self, key: bytes) -> bytes | None:
        """The value of a key."""
        data, width = self._data, self._width
        if width < 0:
            width = self._one_length()
        if len(key) == width and width:  # among keys of its own length it is seen at once, without decoding them
            count, run = self.count, self._run
            first = _HEAD + 6 * count
            at = data.find(key, first, run) - first
            if at >= 0 and not at % width:
                if not at:
                    return self.value(0)
                before, end = _TWO.unpack_from(data, _HEAD - 4 + 2 * count + at // width * 4)
                return data[run + before + 2 : run + end]
        keys = self._keys or self.keys
        index = bisect_left(keys, key)
        return self.value(index) if index < self.count and keys[index] == key else None

    def _one_length(self) -> int:
        """The length of the keys if they have one length; 0 if not."""
        if self._width < 0:
            raw = self._data[_HEAD : _HEAD + 2 * self.count]
            self._width = int.from_bytes(raw[:2], "little") if raw == raw[:2] * self.count else 0
        return self._width

    def place(self, key: bytes, start: int = 0) -> int:
        """How many keys are below a key, all before `start` among them. Where all keys have one length, nothing is decoded for the
        first few who ask: many leaves are asked once."""
        self._asked += 1
        if self._asked <= _ASKED and self._keys is None and (width := self._one_length()):
            data, first, stop = self._data, _HEAD + 6 * self.count, self.count
            while start < stop:
                middle = (start + stop) // 2
                at = first + middle * width
                if data[at : at + width] < key:
                    start = middle + 1
                else:
                    stop = middle
            return start
        return bisect_left(self.keys, key, start)

    def some_keys(self, start: int, stop: int) -> list[bytes]:
        """The keys from `start` to before `stop`. A few of them are had without making the others."""
        if self._keys is None and (stop - start) * _FEW <= self.count and (width := self._one_length()):
            first = _HEAD + 6 * self.count
            return [self._data[at : at + width] for at in range(first + start * width, first + stop * width, width)]
        return list(self.keys[start:stop])

    def key(self, index: int) -> bytes:
        """One key. The last one is had without making the others."""
        if index == self.count - 1 and self._keys is None:
            length = int.from_bytes(self._data[_HEAD + 2 * index : _HEAD + 2 * index + 2], "little")
            return self._data[self._run - length : self._run]
        return self.keys[index]

    def value(self, index: int) -> bytes:
        """One value, without making the others."""
        start, end = self._span(index)
        return self._data[start:end]

    def stretch(self, start: int, stop: int) -> bytes:
        """The run of the values from `start` to before `stop`, which is beyond `start`."""
        return self._data[self._span(start)[0] : self._span(stop - 1)[1]]

    def picked(self, indexes: Sequence[int]) -> bytes:
        """The run of the values at some places: at least one, in rising order."""
        return cut_out(self._data, _HEAD + 2 * self.count, self.count, self._run, indexes)

    def _span(self, index: int) -> tuple[int, int]:
        at = _HEAD + 2 * self.count + 4 * index
        if index:
            before, end = _TWO.unpack_from(self._data, at - 4)
            return self._run + before + 2, self._run + end
        return self._run, self._run + _COUNT.unpack_from(self._data, at)[0]

    def draft(self) -> "DirtyLeaf":
        """A private copy that may be changed."""
        return DirtyLeaf(list(self.keys), self.run.split(SEPARATOR) if self.count else [], self.size)

    def patched(self, indexes: Sequence[int], values: Sequence[bytes]) -> "Leaf":
        """The leaf with other values at some places (in order)."""
        data = memoryview(self._data)
        parts: list[bytes | memoryview] = [data[: self._run]]
        done, grown = self._run, []
        for index, value in zip(indexes, values, strict=True):
            start, end = self._span(index)
            parts += (data[done:start], value)
            done = end
            if len(value) != end - start:
                grown.append((index, len(value) - end + start))
        parts.append(data[done:])
        if grown:
            parts[0] = self._with_ends(grown)
        return Leaf(b"".join(parts), self.count, self._run)

    def _with_ends(self, grown: list[tuple[int, int]]) -> bytes:
        """The part before the run, where values at some places are longer by so many bytes."""
        first, more = _HEAD + 2 * self.count, 0
        parts = [self._data[: first + 4 * grown[0][0]]]
        for (index, by), (until, _) in pairwise([*grown, (self.count, 0)]):
            more += by
            parts.append(added(self._data[first + 4 * index : first + 4 * until], more))
        parts.append(self._data[first + 4 * self.count : self._run])
        return b"".join(parts)

    def lines(self) -> list[bytes]:
        """The values as they stand in the run: each but the last with the comma behind it."""
        return self.run.split(b"\n") if self.count else []  # sooner done than at the separator

    def rewritten(self, lines: Sequence[bytes], removed: Sequence[int] = ()) -> "Leaf":
        """The leaf without the keys at the places `removed` (in order), and with these lines for the values that stay, at least one."""
        count, keys = len(lines), 2 * self.count
        lengths, texts = self._data[_HEAD : _HEAD + keys], self._data[_HEAD + 3 * keys : self._run]
        if removed:
            lengths, texts = without(lengths, texts, removed)
        at = _HEAD + 6 * count + len(texts)
        head = _HEADER.pack(_LEAF, PAGE_FORMAT, 0, 0, count, at)
        ends = ends_of(lines)
        return Leaf(b"".join((head, lengths, ends, texts, b"\n".join(lines))), count, at)

    def encode(self, page: int) -> bytes:
        """The page's bytes, stored under the id `page`."""
        body = memoryview(self._data)[_CHECKED:]
        return b"".join((_TWO.pack(_LEAF | PAGE_FORMAT << 8, crc32(body, page & 0xFFFFFFFF)), body))


class DirtyLeaf:
    """A leaf that is not stored yet. `size` is its bytes on disk, within a few."""

    __slots__ = ("keys", "size", "values")

    def __init__(self, keys: list[bytes], values: list[bytes], size: int | None = None) -> None:
        self.keys = keys
        self.values = values
        self.size = size or _HEAD + sum(map(len, keys)) + sum(map(len, values)) + ENTRY * len(keys)

    @property
    def count(self) -> int:
        return len(self.keys)

    def find(self, key: bytes) -> bytes | None:
        """The value of a key."""
        index = bisect_left(self.keys, key)
        return self.values[index] if index < len(self.keys) and self.keys[index] == key else None

    def packed_keys(self) -> tuple[int, bytes] | None:
        return None

    def place(self, key: bytes, start: int = 0) -> int:
        """How many keys are below a key, all before `start` among them."""
        return bisect_left(self.keys, key, start)

    def some_keys(self, start: int, stop: int) -> list[bytes]:
        """The keys from `start` to before `stop`."""
        return self.keys[start:stop]

    @property
    def run(self) -> bytes:
        return SEPARATOR.join(self.values)

    def key(self, index: int) -> bytes:
        return self.keys[index]

    def value(self, index: int) -> bytes:
        return self.values[index]

    def stretch(self, start: int, stop: int) -> bytes:
        return SEPARATOR.join(self.values[start:stop])

    def picked(self, indexes: Sequence[int]) -> bytes:
        return SEPARATOR.join([self.values[index] for index in indexes])

    def draft(self) -> "DirtyLeaf":
        """A copy that may be changed."""
        return DirtyLeaf(self.keys.copy(), self.values.copy(), self.size)

    def encode(self, page: int) -> bytes:
        """The page's bytes, stored under the id `page`."""
        return self.built().encode(page)

    def built(self) -> Leaf:
        """The leaf as bytes."""
        steps = [len(value) + 2 for value in self.values]
        if steps:
            steps[0] -= 2
        return Leaf.build(self.keys, list(map(len, self.keys)), self.run, steps)


Node = Leaf | DirtyLeaf | Branch


def decode(page: int, data: bytes) -> Leaf | Branch:
    """Read the page with the id `page`. Raises Corrupted where the bytes are not what was written."""
    if isinstance(data, bytes) and len(data) >= _HEAD:
        kind, version, reserved, checksum, count, run = _HEADER.unpack_from(data)
        if kind == _LEAF and version == PAGE_FORMAT and not reserved:
            if crc32(memoryview(data)[_CHECKED:], page & 0xFFFFFFFF) == checksum:
                return Leaf(data, count, run)
            raise _corrupted(page, "does not have the checksum it was written with")
    return _decode_other(page, data)


def _decode_other(page: int, data: bytes) -> Leaf | Branch:
    """A branch, a leaf of format 1, or something that is no page."""
    if not isinstance(data, bytes) or len(data) < BRANCH_HEAD:
        raise _corrupted(page, f"has {len(data)} bytes: it is cut off" if isinstance(data, bytes) else "has no bytes")
    kind, version, reserved, checksum, count = _SHORT_HEADER.unpack_from(data)
    seed = page & 0xFFFFFFFF if version == PAGE_FORMAT else 0
    if crc32(memoryview(data)[_CHECKED:], seed) != checksum or reserved or version not in (1, PAGE_FORMAT):
        raise _corrupted(page, "does not have the checksum it was written with")
    texts = BRANCH_HEAD + 2 * count
    if kind == BRANCH:
        return Branch.read(data, count)
    if kind != _LEAF:
        raise _corrupted(page, f"is of an unknown kind ({kind})")
    keys = texts_of(data, BRANCH_HEAD, count, texts + 4 * count)
    values = data[texts + 4 * count + sum(map(len, keys)) :].split(SEPARATOR) if count else []
    return DirtyLeaf(list(keys), values).built()


def _corrupted(page: int, problem: str) -> Corrupted:
    return Corrupted(f"page {page} {problem}", hint="restore the database from a backup", page=page)


__all__ = [
    "BRANCH_MINIMUM",
    "BRANCH_TARGET",
    "ENTRY",
    "MINIMUM",
    "PAGE_FORMAT",
    "SEPARATOR",
    "SQLITE_PAGE",
    "TARGET",
    "Branch",
    "DirtyLeaf",
    "Leaf",
    "Node",
    "decode",
]
