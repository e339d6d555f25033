"""Branches: what leads to the leaves. Their bytes are described in `page`."""

import struct
from array import array
from collections.abc import Callable, Iterable
from typing import Final

from isal.isal_zlib import crc32

from btree.lengths import texts_of

PAGE_FORMAT: Final = 2
BRANCH: Final = 2
"""The kind of page that a branch is."""
BRANCH_HEAD: Final = 12
"""Bytes of a branch before its key lengths (and of a leaf in format 1)."""
_COUNT: Final = struct.Struct("<I")
_START: Final = struct.Struct("<II")
_FEW: Final = 16


class Branch:
    """Separators and child page ids; one child more than separators. A stored one is never changed: `draft` copies it."""

    __slots__ = ("_texts", "children", "fresh", "keys", "size")

    def __init__(self, keys: list[bytes], children: Iterable[int]) -> None:
        self.keys = keys
        self.children = array("q", children)
        self.fresh = {child: at for at, child in enumerate(self.children) if child < 0}
        """Children that are not stored, as they came, and where they stood then; some may have moved, or gone again."""
        self.size = BRANCH_HEAD + 8 + sum(map(len, keys)) + 10 * len(keys)
        self._texts: tuple[bytes, bytes] | None = None

    @classmethod
    def read(cls, data: bytes, count: int) -> "Branch":
        """From the bytes of a page."""
        branch = cls.__new__(cls)
        texts = BRANCH_HEAD + 2 * count
        behind = texts + 8 * (count + 1)
        branch.keys = list(texts_of(data, BRANCH_HEAD, count, behind))
        branch.children = array("q", data[texts:behind])
        branch.fresh = {}
        branch.size = len(data)
        branch._texts = data[BRANCH_HEAD:texts], data[behind:]
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
        self.size += len(key) + 10 + right.size - BRANCH_HEAD - 8
        self._texts = None

    def cut(self, at: int) -> tuple[bytes, "Branch"]:
        """Cut off what is behind the separator `at`; gives the separator and the part behind it."""
        separator = self.keys[at]
        right = Branch(self.keys[at + 1 :], self.children[at + 1 :])
        del self.keys[at:], self.children[at + 1 :]
        self.size -= right.size - BRANCH_HEAD - 8 + len(separator) + 10
        self._texts = None
        return separator, right

    def encode(self, page: int) -> bytes:
        """The page's bytes, stored under the id `page`. All children have to be stored."""
        if self._texts is None:
            self._texts = array("H", map(len, self.keys)).tobytes(), b"".join(self.keys)
        body = b"".join((_COUNT.pack(len(self.keys)), self._texts[0], self.children.tobytes(), self._texts[1]))
        return _START.pack(BRANCH | PAGE_FORMAT << 8, crc32(body, page & 0xFFFFFFFF)) + body
