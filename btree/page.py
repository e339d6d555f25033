"""Pages: what a B+tree node looks like in memory and as bytes.

A page is immutable once it is written. On disk (all numbers little-endian):

    header   kind u8 (1 leaf, 2 branch) | format u8 | reserved u16 | crc32 u32 of everything behind the header
    leaf     count u32 | key lengths u16[count] | value ends u32[count] | keys | values as ONE run, divided by ",\\n"
    branch   count u32 | key lengths u16[count] | children u64[count + 1] | separators

The run of a leaf is why a scan is a copy: joined pages are a JSON array but for its brackets, and the lines of NDJSON but
for the commas. Values are JSON texts and have no raw line break, so a run splits into its values in one call.

A separator is the smallest key of the subtree to its right: child i holds the keys k with separator[i-1] <= k < separator[i].

Pages have no fixed size: a page is a row of a table. `TARGET` is where one is split, and a leaf with one large value is as
large as that value, so there are no overflow pages.
"""

import struct
from array import array
from itertools import accumulate, pairwise
from typing import Final
from zlib import crc32

from btree.errors import Corrupted

TARGET: Final = 8192
"""Bytes of a page at which it is split."""
MINIMUM: Final = TARGET // 4
"""Bytes below which a page is merged with a neighbour, or filled up from it."""

SEPARATOR: Final = b",\n"
_HEADER: Final = struct.Struct("<BBHI")
_COUNT: Final = struct.Struct("<I")
_FORMAT: Final = 1
_LEAF: Final = 1
_BRANCH: Final = 2


class Leaf:
    """Sorted keys and their values. `size` is about its bytes on disk."""

    __slots__ = ("_run", "_values", "keys", "size")

    def __init__(self, keys: list[bytes], values: list[bytes] | None, run: bytes | None, size: int) -> None:
        self.keys = keys
        self.size = size
        self._values = values
        self._run = run

    @classmethod
    def of(cls, keys: list[bytes], values: list[bytes]) -> "Leaf":
        return cls(keys, values, None, leaf_size(keys, values))

    @property
    def values(self) -> list[bytes]:
        if self._values is None:
            assert self._run is not None
            self._values = self._run.split(SEPARATOR) if self.keys else []
        return self._values

    @property
    def run(self) -> bytes:
        """The values as one run of JSON texts divided by `,\\n`."""
        return self._run if self._run is not None else SEPARATOR.join(self.values)

    def copy(self) -> "Leaf":
        """A private copy that may be changed."""
        return Leaf(self.keys.copy(), self.values.copy(), None, self.size)

    def put(self, index: int, key: bytes, value: bytes) -> None:
        """Insert at `index`."""
        self.keys.insert(index, key)
        self.values.insert(index, value)
        self.size += len(key) + len(value) + 8

    def replace(self, index: int, value: bytes) -> None:
        self.size += len(value) - len(self.values[index])
        self.values[index] = value

    def remove(self, index: int) -> None:
        self.size -= len(self.keys[index]) + len(self.values[index]) + 8
        del self.keys[index]
        del self.values[index]

    def encode(self) -> bytes:
        run = self.run
        ends = array("I", [end + 2 * index for index, end in enumerate(accumulate(map(len, self.values)))])
        lengths = array("H", map(len, self.keys))
        body = b"".join((_COUNT.pack(len(self.keys)), lengths.tobytes(), ends.tobytes(), *self.keys, run))
        return _HEADER.pack(_LEAF, _FORMAT, 0, crc32(body)) + body


class Branch:
    """Separators and child page ids; one child more than separators."""

    __slots__ = ("children", "keys", "size")

    def __init__(self, keys: list[bytes], children: list[int]) -> None:
        self.keys = keys
        self.children = children
        self.size = branch_size(keys)

    def copy(self) -> "Branch":
        return Branch(self.keys.copy(), self.children.copy())

    def put(self, index: int, key: bytes, child: int) -> None:
        """A new child to the right of child `index`, with `key` between them."""
        self.keys.insert(index, key)
        self.children.insert(index + 1, child)
        self.size += len(key) + 10

    def remove(self, index: int) -> None:
        """Drop the separator `index` and the child to its right."""
        self.size -= len(self.keys[index]) + 10
        del self.keys[index]
        del self.children[index + 1]

    def rename(self, index: int, key: bytes) -> None:
        self.size += len(key) - len(self.keys[index])
        self.keys[index] = key

    def encode(self) -> bytes:
        lengths = array("H", map(len, self.keys))
        body = b"".join(
            (_COUNT.pack(len(self.keys)), lengths.tobytes(), array("Q", self.children).tobytes(), *self.keys)
        )
        return _HEADER.pack(_BRANCH, _FORMAT, 0, crc32(body)) + body


Node = Leaf | Branch


def leaf_size(keys: list[bytes], values: list[bytes]) -> int:
    return 12 + sum(map(len, keys)) + sum(map(len, values)) + 8 * len(keys)


def branch_size(keys: list[bytes]) -> int:
    return 20 + sum(map(len, keys)) + 10 * len(keys)


def decode(page: int, data: bytes) -> Node:
    """Read a page. Raises Corrupted where the bytes are not what was written."""
    if len(data) < _HEADER.size + _COUNT.size:
        raise Corrupted(
            f"page {page} has {len(data)} bytes: it is cut off", hint="restore the database from a backup", page=page
        )
    kind, version, reserved, checksum = _HEADER.unpack_from(data)
    body = memoryview(data)[_HEADER.size :]
    if crc32(body) != checksum or version != _FORMAT or reserved or kind not in (_LEAF, _BRANCH):
        raise Corrupted(
            f"page {page} does not have the checksum it was written with",
            hint="restore the database from a backup",
            page=page,
        )
    (count,) = _COUNT.unpack_from(body)
    at = _COUNT.size + 2 * count
    lengths = array("H", bytes(body[_COUNT.size : at]))
    if kind == _LEAF:
        start = at + 4 * count
        keys = _keys(body, start, lengths)
        end = start + sum(lengths)
        return Leaf(keys, None, bytes(body[end:]), len(data))
    start = at + 8 * (count + 1)
    children = array("Q", bytes(body[at:start]))
    return Branch(_keys(body, start, lengths), list(children))


def _keys(body: memoryview, start: int, lengths: "array[int]") -> list[bytes]:
    ends = list(accumulate(lengths, initial=start))
    return [bytes(body[begin:end]) for begin, end in pairwise(ends)]
