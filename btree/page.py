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
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Final

from isal.isal_zlib import crc32

from btree.errors import Corrupted

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
PAGE_FORMAT: Final = 2
_HEADER: Final = struct.Struct("<BBHIII")
_SHORT_HEADER: Final = struct.Struct("<BBHII")
_CHECKED: Final = 8
"""What is behind this many bytes is in the checksum."""
_COUNT: Final = struct.Struct("<I")
_TWO: Final = struct.Struct("<II")
_FEW: Final = 16
_LEAF: Final = 1
_BRANCH: Final = 2
_HEAD: Final = 16
"""Bytes of a leaf before its key lengths."""
_BRANCH_HEAD: Final = 12
"""Bytes of a branch before its key lengths (and of a leaf in format 1)."""
ENTRY: Final = 8
"""Bytes that a pair takes in a leaf beyond its key and value: two lengths and the divider."""


class Leaf:
    """A leaf as bytes: sorted keys and their values, decoded from `data` when they are asked for. Never changed."""

    __slots__ = ("_data", "_keys", "_run", "_values", "count", "size")

    def __init__(self, data: bytes, count: int, run: int) -> None:
        self._data = data
        self.size = len(data)
        self.count = count
        self._run = run
        self._keys: Sequence[bytes] | None = None
        self._values: list[bytes] | None = None

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
            self._keys = _texts(self._data, _HEAD, self.count, _HEAD + 6 * self.count)
        return self._keys

    def packed_keys(self) -> tuple[int, bytes] | None:
        """The keys one behind the other, and how long each is; None where they differ in length."""
        raw, count = self._data[_HEAD : _HEAD + 2 * self.count], self.count
        if raw != raw[:2] * count:
            return None
        return int.from_bytes(raw[:2], "little"), self._data[_HEAD + 6 * count : self._run]

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
        keys, count = self._keys or self.keys, self.count
        index = bisect_left(keys, key)
        if index == count or keys[index] != key:
            return None
        if index:
            data, run = self._data, self._run
            before, end = _TWO.unpack_from(data, _HEAD - 4 + 2 * count + 4 * index)
            return data[run + before + 2 : run + end]
        return self.value(0)

    def value(self, index: int) -> bytes:
        """One value, without making the others."""
        start, end = self._span(index)
        return self._data[start:end]

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
            parts.append(_added(self._data[first + 4 * index : first + 4 * until], more))
        parts.append(self._data[first + 4 * self.count : self._run])
        return b"".join(parts)

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
        self.size = _leaf_size(keys, values) if size is None else size

    @property
    def count(self) -> int:
        return len(self.keys)

    def find(self, key: bytes) -> bytes | None:
        """The value of a key."""
        index = bisect_left(self.keys, key)
        return self.values[index] if index < len(self.keys) and self.keys[index] == key else None

    def packed_keys(self) -> tuple[int, bytes] | None:
        return None

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
        return self.built().encode(page)

    def built(self) -> Leaf:
        """The leaf as bytes."""
        steps = [len(value) + 2 for value in self.values]
        if steps:
            steps[0] -= 2
        return Leaf.build(self.keys, list(map(len, self.keys)), self.run, steps)


class Branch:
    """Separators and child page ids; one child more than separators. A stored one is never changed: `draft` copies it."""

    __slots__ = ("_texts", "children", "fresh", "keys", "size")

    def __init__(self, keys: list[bytes], children: Iterable[int]) -> None:
        self.keys = keys
        self.children = array("q", children)
        self.fresh = {child: at for at, child in enumerate(self.children) if child < 0}
        """Children that are not stored, as they came, and where they stood then; some may have moved, or gone again."""
        self.size = _BRANCH_HEAD + 8 + sum(map(len, keys)) + 10 * len(keys)
        self._texts: tuple[bytes, bytes] | None = None

    @classmethod
    def read(cls, data: bytes, count: int) -> "Branch":
        """From the bytes of a page."""
        branch = cls.__new__(cls)
        texts = _BRANCH_HEAD + 2 * count
        behind = texts + 8 * (count + 1)
        branch.keys = list(_texts(data, _BRANCH_HEAD, count, behind))
        branch.children = array("q", data[texts:behind])
        branch.fresh = {}
        branch.size = len(data)
        branch._texts = data[_BRANCH_HEAD:texts], data[behind:]
        return branch

    def draft(self) -> "Branch":
        """A private copy that may be changed."""
        copy = Branch.__new__(Branch)
        copy.keys, copy.children, copy.fresh = self.keys.copy(), self.children[:], self.fresh.copy()
        copy.size, copy._texts = self.size, self._texts
        return copy

    def point(self, index: int, child: int) -> None:
        """Replace a child."""
        self.children[index] = child
        if child < 0:
            self.fresh[child] = index

    def resolved(self, ids: Callable[[int], int]) -> "Branch":
        """A copy in which children that are not stored yet have their final ids."""
        copy = Branch.__new__(Branch)
        copy.keys, copy.children, copy.fresh = self.keys, self.children[:], self.fresh
        copy.size, copy._texts = self.size, self._texts
        copy.settle(ids)
        return copy

    def settle(self, ids: Callable[[int], int]) -> None:
        """Put ids in the place of children that are not stored; `ids` may give a child back as it is.

        In the same array: a scan may be walking along it.
        """
        if len(self.fresh) > _FEW:
            self.children[:] = array("q", [ids(child) if child < 0 else child for child in self.children])
            self.fresh = {child: at for at, child in enumerate(self.children) if child < 0}
            return
        still = {}
        for child, at in self.fresh.items():
            if at >= len(self.children) or self.children[at] != child:
                if child not in self.children:
                    continue  # it has gone again
                at = self.children.index(child)
            settled = self.children[at] = ids(child)
            if settled < 0:
                still[child] = at
        self.fresh = still

    def put(self, index: int, key: bytes, child: int) -> None:
        """A new child to the right of child `index`, with `key` between them."""
        self.keys.insert(index, key)
        self.children.insert(index + 1, child)
        if child < 0:
            self.fresh[child] = index + 1
        self.size += len(key) + 10
        self._texts = None

    def remove(self, index: int) -> None:
        """Drop the child `index` with the separator to its left (to its right, for the first)."""
        at = max(index - 1, 0)
        self.size -= len(self.keys[at]) + 10
        del self.keys[at]
        del self.children[index]
        self._texts = None

    def append(self, key: bytes, right: "Branch") -> None:
        """Take in the neighbour to the right, with `key` between them."""
        self.keys += [key, *right.keys]
        self.children += right.children
        self.fresh |= right.fresh
        self.size += len(key) + 10 + right.size - _BRANCH_HEAD - 8
        self._texts = None

    def cut(self, at: int) -> tuple[bytes, "Branch"]:
        """Cut off what is behind the separator `at`; gives the separator and the part behind it."""
        separator = self.keys[at]
        right = Branch(self.keys[at + 1 :], self.children[at + 1 :])
        del self.keys[at:], self.children[at + 1 :]
        self.size -= right.size - _BRANCH_HEAD - 8 + len(separator) + 10
        self._texts = None
        return separator, right

    def encode(self, page: int) -> bytes:
        """The page's bytes, stored under the id `page`. All children have to be stored."""
        if self._texts is None:
            self._texts = array("H", map(len, self.keys)).tobytes(), b"".join(self.keys)
        body = b"".join((_COUNT.pack(len(self.keys)), self._texts[0], self.children.tobytes(), self._texts[1]))
        return _TWO.pack(_BRANCH | PAGE_FORMAT << 8, crc32(body, page & 0xFFFFFFFF)) + body


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
    if not isinstance(data, bytes) or len(data) < _BRANCH_HEAD:
        raise _corrupted(page, f"has {len(data)} bytes: it is cut off" if isinstance(data, bytes) else "has no bytes")
    kind, version, reserved, checksum, count = _SHORT_HEADER.unpack_from(data)
    seed = page & 0xFFFFFFFF if version == PAGE_FORMAT else 0
    if crc32(memoryview(data)[_CHECKED:], seed) != checksum or reserved or version not in (1, PAGE_FORMAT):
        raise _corrupted(page, "does not have the checksum it was written with")
    texts = _BRANCH_HEAD + 2 * count
    if kind == _BRANCH:
        return Branch.read(data, count)
    if kind != _LEAF:
        raise _corrupted(page, f"is of an unknown kind ({kind})")
    keys = _texts(data, _BRANCH_HEAD, count, texts + 4 * count)
    values = data[texts + 4 * count + sum(map(len, keys)) :].split(SEPARATOR) if count else []
    return DirtyLeaf(list(keys), values).built()


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


def _added(numbers: bytes, more: int) -> bytes:
    """u32 numbers, each with `more` added, as one addition: no sum leaves its 32 bits."""
    ones = int.from_bytes(b"\x01\x00\x00\x00" * (len(numbers) // 4), "little")
    return (int.from_bytes(numbers, "little") + more * ones).to_bytes(len(numbers), "little")


@lru_cache(maxsize=4096)
def _struct(length: int, count: int) -> struct.Struct:
    return struct.Struct(f"{length}s" * count)


def _leaf_size(keys: Sequence[bytes], values: Sequence[bytes]) -> int:
    return _HEAD + sum(map(len, keys)) + sum(map(len, values)) + ENTRY * len(keys)
