"""Bulk loading: a tree from pairs in ascending key order, built from below.

Pages are filled one after the other, and each level has one branch that is still open. Pairs are looked at a few hundred at a time,
so that checking and measuring them are calls into C.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import accumulate, islice
from operator import add, lt
from typing import TYPE_CHECKING, Final

from btree.errors import InvalidKey
from btree.limits import MAX_KEY, MAX_VALUE, bad_key, bad_value
from btree.page import ENTRY, TARGET, Branch, DirtyLeaf

if TYPE_CHECKING:
    from btree.shape import PageTree
    from btree.workspace import Workspace

_CHUNK: Final = 512
_HEAD: Final = 16


class _Level:
    """The open branch of a level, and the closed one to its left."""

    def __init__(self, page: int, branch: Branch, first: bytes, left: Branch | None) -> None:
        self.page, self.branch, self.first, self.left = page, branch, first, left


class Loader:
    """Builds one tree."""

    def __init__(self, workspace: "Workspace", tree: "PageTree") -> None:
        self._workspace = workspace
        self._tree = tree
        self._levels: list[_Level] = []

    def load(self, pairs: Iterable[tuple[bytes, bytes]]) -> int:
        """Fill the empty tree; gives the number of pairs. Raises InvalidKey, InvalidValue."""
        count = 0
        for leaf in _leaves(iter(pairs)):
            count += leaf.count
            self._attach(0, leaf.keys[0], self._workspace.create(leaf))
            self._workspace.relieve()
        if count:
            self._workspace.drop(self._tree.root)
            self._tree.root = self._finish()
        return count

    def _attach(self, level: int, first: bytes, child: int) -> None:
        """Put a child behind the last one of a level."""
        if level == len(self._levels):
            self._levels.append(self._opened(first, child, None))
            return
        opened = self._levels[level]
        branch = opened.branch
        if branch.size + len(first) + 10 > TARGET and len(branch.children) > 1:
            self._attach(level + 1, opened.first, opened.page)
            self._levels[level] = self._opened(first, child, branch)
        else:
            branch.put(len(branch.keys), first, child)

    def _opened(self, first: bytes, child: int, left: Branch | None) -> _Level:
        branch = Branch([], [child])
        return _Level(self._workspace.create(branch), branch, first, left)

    def _finish(self) -> int:
        """Close the levels; gives the root."""
        level = 0
        while True:
            opened = self._levels[level]
            top = level == len(self._levels) - 1
            if not opened.branch.keys:
                if top:
                    self._workspace.drop(opened.page)
                    return opened.branch.children[0]
                self._borrow(opened)
            if top:
                return opened.page
            self._attach(level + 1, opened.first, opened.page)
            level += 1

    def _borrow(self, opened: _Level) -> None:
        """A branch with a single child takes another from its left neighbour."""
        left = opened.left
        assert left is not None
        key, child = left.keys[-1], left.children[-1]
        left.remove(len(left.children) - 1)
        opened.branch.keys.insert(0, opened.first)
        opened.branch.children.insert(0, child)
        opened.branch.size += len(opened.first) + 10
        opened.first = key


def _leaves(pairs: Iterator[tuple[bytes, bytes]]) -> Iterator[DirtyLeaf]:
    """Full leaves."""
    keys: list[bytes] = []
    values: list[bytes] = []
    while chunk := list(islice(pairs, _CHUNK)):
        more_keys, more_values = map(list, zip(*chunk, strict=True))
        _check(more_keys, more_values, keys[-1] if keys else None)
        keys += more_keys
        values += more_values
        yield from _full(keys, values)
    if keys:
        yield DirtyLeaf(keys, values)


def _full(keys: list[bytes], values: list[bytes]) -> Iterator[DirtyLeaf]:
    """Leaves from the front of the lists while there is more than fits into one; the rest stays."""
    ends = list(accumulate(size + ENTRY for size in map(add, map(len, keys), map(len, values))))
    start, before = 0, 0
    while ends[-1] - before > TARGET - _HEAD:
        stop = max(bisect_right(ends, before + TARGET - _HEAD, start), start + 1)
        if stop == len(ends):
            break
        yield DirtyLeaf(keys[start:stop], values[start:stop], ends[stop - 1] - before + _HEAD)
        start, before = stop, ends[stop - 1]
    del keys[:start], values[:start]


def _check(keys: list[bytes], values: list[bytes], last: bytes | None) -> None:
    if {*map(type, keys)} != {bytes} or max(map(len, keys)) > MAX_KEY:
        raise next(bad_key(key) for key in keys if not isinstance(key, bytes) or len(key) > MAX_KEY)
    if {*map(type, values)} != {bytes} or max(map(len, values)) > MAX_VALUE or b"\n" in b"".join(values):
        raise next(
            bad_value(value)
            for value in values
            if not isinstance(value, bytes) or len(value) > MAX_VALUE or b"\n" in value
        )
    ordered = keys if last is None else [last, *keys]
    if not all(map(lt, ordered, islice(ordered, 1, None))):
        wrong = next(at for at in range(1, len(ordered)) if ordered[at - 1] >= ordered[at])
        raise InvalidKey(
            f"a bulk load needs ascending keys: {ordered[wrong]!r} comes behind {ordered[wrong - 1]!r}",
            hint="sort the input, and leave out keys that come twice; or use put",
        )
