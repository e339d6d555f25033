"""Bulk loading: a tree from pairs in ascending key order, built from below.

Pages are filled one after the other, and each level has one branch that is still open. Pairs are looked at a few hundred at a time,
so that checking and measuring them are calls into C.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, islice
from operator import add, lt
from typing import TYPE_CHECKING, Final

from btree.errors import InvalidKey, InvalidValue
from btree.limits import MAX_KEY, MAX_VALUE, bad_key, bad_value
from btree.page import BRANCH_TARGET, ENTRY, SEPARATOR, TARGET, Branch, Leaf

if TYPE_CHECKING:
    from btree.shape import PageTree
    from btree.workspace import Workspace

_CHUNK: Final = 512
_HEAD: Final = 16


class _Level:
    """The open branch of a level, and the closed one to its left."""

    def __init__(self, page: int, branch: Branch, first: bytes, left: "_Level | None") -> None:
        self.page, self.branch, self.first = page, branch, first
        self.left = left.branch if left is not None else None
        self.left_page = left.page if left is not None else 0


class Loader:
    """Builds one tree."""

    def __init__(self, workspace: "Workspace", tree: "PageTree") -> None:
        self._workspace = workspace
        self._tree = tree
        self._levels: list[_Level] = []

    def load(self, pairs: Iterable[tuple[bytes, bytes]]) -> int:
        """Fill the empty tree; gives the number of pairs. Raises InvalidKey, InvalidValue."""
        count = 0
        for first, leaf in _leaves(iter(pairs)):
            count += leaf.count
            self._attach(0, first, self._workspace.create(leaf))
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
        if branch.size + len(first) + 10 > BRANCH_TARGET and len(branch.children) > 1:
            self._attach(level + 1, opened.first, opened.page)
            if opened.left is not None:
                self._workspace.open.discard(opened.left_page)
            self._levels[level] = self._opened(first, child, opened)
        else:
            branch.put(len(branch.keys), first, child)

    def _opened(self, first: bytes, child: int, left: _Level | None) -> _Level:
        branch = Branch([], [child])
        page = self._workspace.create(branch)
        self._workspace.open.add(page)
        return _Level(page, branch, first, left)

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
        borrowed = Branch([], [child])
        borrowed.append(opened.first, opened.branch)
        opened.branch.keys, opened.branch.children, opened.branch.fresh = (
            borrowed.keys,
            borrowed.children,
            borrowed.fresh,
        )
        opened.branch.size, opened.first = borrowed.size, key


class _Pending:
    """Pairs that wait for their leaf, measured: lengths of keys, and of values with their dividers."""

    def __init__(self) -> None:
        self.keys: list[bytes] = []
        self.values: list[bytes] = []
        self.key_lengths: list[int] = []
        self.steps: list[int] = []

    def add(self, pairs: list[tuple[bytes, bytes]]) -> None:
        """Take in more pairs. Raises InvalidKey, InvalidValue."""
        keys, values = zip(*pairs, strict=True)
        if {*map(type, keys)} != {bytes} or {*map(type, values)} != {bytes}:
            raise _wrong(pairs)
        key_lengths, steps = list(map(len, keys)), list(map((2).__add__, map(len, values)))
        if max(key_lengths) > MAX_KEY or max(steps) > MAX_VALUE + 2:
            raise _wrong(pairs)
        _check_order(self.keys[-1:], keys)
        self.keys += keys
        self.values += values
        self.key_lengths += key_lengths
        self.steps += steps

    def full(self) -> Iterator[tuple[bytes, Leaf]]:
        """Leaves, with their first keys, from the front, while there is more than fits into one; the rest stays."""
        ends = list(accumulate(map((ENTRY - 2).__add__, map(add, self.key_lengths, self.steps))))
        start, before = 0, 0
        while ends and ends[-1] - before > TARGET - _HEAD:
            stop = max(bisect_right(ends, before + TARGET - _HEAD, start), start + 1)
            if stop == len(ends):
                break
            yield self._leaf(start, stop)
            start, before = stop, ends[stop - 1]
        for column in (self.keys, self.values, self.key_lengths, self.steps):
            del column[:start]

    def rest(self) -> Iterator[tuple[bytes, Leaf]]:
        """The last leaf."""
        if self.keys:
            yield self._leaf(0, len(self.keys))

    def _leaf(self, start: int, stop: int) -> tuple[bytes, Leaf]:
        steps = self.steps[start:stop]
        steps[0] -= 2
        run = SEPARATOR.join(self.values[start:stop])
        if run.count(b"\n") != stop - start - 1:
            raise next(bad_value(value) for value in self.values[start:stop] if b"\n" in value)
        return self.keys[start], Leaf.build(self.keys[start:stop], self.key_lengths[start:stop], run, steps)


def _leaves(pairs: Iterator[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, Leaf]]:
    """Full leaves, with their first keys."""
    pending = _Pending()
    while chunk := list(islice(pairs, _CHUNK)):
        pending.add(chunk)
        yield from pending.full()
    yield from pending.rest()


def _check_order(last: list[bytes], keys: Sequence[bytes]) -> None:
    ordered = [*last, *keys]
    if not all(map(lt, ordered, islice(ordered, 1, None))):
        wrong = next(at for at in range(1, len(ordered)) if ordered[at - 1] >= ordered[at])
        raise InvalidKey(
            f"a bulk load needs ascending keys: {ordered[wrong]!r} comes behind {ordered[wrong - 1]!r}",
            hint="sort the input, and leave out keys that come twice; or use put",
        )


def _wrong(pairs: list[tuple[bytes, bytes]]) -> InvalidKey | InvalidValue:
    """What is wrong with the first pair that cannot be loaded."""
    for key, value in pairs:
        if not isinstance(key, bytes) or len(key) > MAX_KEY:
            return bad_key(key)
        if not isinstance(value, bytes) or len(value) > MAX_VALUE:
            return bad_value(value)
    raise AssertionError("nothing is wrong")
