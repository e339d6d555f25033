"""The difference between two versions of a tree, by structure.

Both trees are walked level by level, and pages that are in both are left out: what is the same page has the same content, wherever it
hangs. So the work is in proportion to what was changed, not to the tree. Where the heights differ, the higher tree is
brought down first.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence

from btree.cache import Nodes
from btree.page import Branch

Difference = tuple[bytes, bytes | None, bytes | None]
"""A key, its value on the left and on the right; None where it is not."""


def changes(
    nodes: Nodes, left: int | None, right: int | None, lower: bytes | None = None, upper: bytes | None = None
) -> Iterator[Difference]:
    """The keys in [lower, upper) whose values differ between the trees with these roots (None: no tree), in order."""
    before, behind = _leaves(nodes, left, right, lower, upper)
    sides = _Side(nodes, before, lower, upper), _Side(nodes, behind, lower, upper)
    while sides[0].fill() and sides[1].fill():
        until = min(sides[0].keys[-1], sides[1].keys[-1])
        yield from _compared(*sides[0].take(until), *sides[1].take(until))
    while sides[0].fill():
        yield from ((key, value, None) for key, value in zip(*sides[0].take(sides[0].keys[-1]), strict=True))
    while sides[1].fill():
        yield from ((key, None, value) for key, value in zip(*sides[1].take(sides[1].keys[-1]), strict=True))


def changed(nodes: Nodes, left: int | None, right: int | None, lower: bytes | None, upper: bytes | None) -> bool:
    """Whether any key in [lower, upper) differs."""
    return next(changes(nodes, left, right, lower, upper), None) is not None


def page_changes(nodes: Nodes, left: int | None, right: int | None) -> "tuple[array[int], array[int]]":
    """The pages that only the left tree has, and those that only the right one has, of all levels."""
    lefts, rights = array("q"), array("q")
    for only_left, only_right in _levels(nodes, left, right, None, None):
        lefts.extend(only_left)
        rights.extend(only_right)
    return lefts, rights


def _compared(
    left_keys: Sequence[bytes], left_values: Sequence[bytes], right_keys: Sequence[bytes], right_values: Sequence[bytes]
) -> Iterator[Difference]:
    if left_keys == right_keys:
        for key, old, new in zip(left_keys, left_values, right_values, strict=True):
            if old != new:
                yield key, old, new
        return
    before = dict(zip(left_keys, left_values, strict=True))
    behind = dict(zip(right_keys, right_values, strict=True))
    for key in sorted(before.keys() | behind.keys()):
        old, new = before.get(key), behind.get(key)  # type: ignore[assignment]
        if old != new:
            yield key, old, new


class _Side:
    """The pairs of some leaves, in order."""

    def __init__(self, nodes: Nodes, pages: "array[int]", lower: bytes | None, upper: bytes | None) -> None:
        self._leaves = (
            node for start in range(0, len(pages), 64) for node in nodes.nodes(pages[start : start + 64], keep=False)
        )
        self._lower, self._upper = lower, upper
        self.keys: list[bytes] = []
        self.values: list[bytes] = []

    def fill(self) -> bool:
        """Have something to take; False at the end."""
        while not self.keys:
            leaf = next(self._leaves, None)
            if leaf is None:
                return False
            assert not isinstance(leaf, Branch)
            start = bisect_left(leaf.keys, self._lower) if self._lower is not None else 0
            stop = bisect_left(leaf.keys, self._upper) if self._upper is not None else leaf.count
            self.keys, self.values = list(leaf.keys[start:stop]), leaf.values[start:stop]
        return True

    def take(self, until: bytes) -> tuple[list[bytes], list[bytes]]:
        """The pairs up to and including a key."""
        at = bisect_right(self.keys, until)
        keys, values = self.keys[:at], self.values[:at]
        self.keys, self.values = self.keys[at:], self.values[at:]
        return keys, values


def _leaves(
    nodes: Nodes, left: int | None, right: int | None, lower: bytes | None, upper: bytes | None
) -> "tuple[array[int], array[int]]":
    last = array("q"), array("q")
    for level in _levels(nodes, left, right, lower, upper):
        last = level
    return last


def _levels(
    nodes: Nodes, left: int | None, right: int | None, lower: bytes | None, upper: bytes | None
) -> "Iterator[tuple[array[int], array[int]]]":
    """The pages of each level that are on one side only, from above; the last are the leaves."""
    if left == right:
        return
    lefts = array("q", [left] if left is not None else [])
    rights = array("q", [right] if right is not None else [])
    left_height, right_height = _height(nodes, left), _height(nodes, right)
    while True:
        if left_height == right_height:
            shared = set(lefts).intersection(rights)
            if shared:
                lefts = array("q", (page for page in lefts if page not in shared))
                rights = array("q", (page for page in rights if page not in shared))
            yield lefts, rights
            if not left_height:
                return
        elif left_height > right_height:
            yield lefts, array("q")
        else:
            yield array("q"), rights
        down_left, down_right = left_height >= right_height, right_height >= left_height
        if down_left:
            lefts, left_height = _below(nodes, lefts, lower, upper), left_height - 1
        if down_right:
            rights, right_height = _below(nodes, rights, lower, upper), right_height - 1


def _below(nodes: Nodes, pages: "array[int]", lower: bytes | None, upper: bytes | None) -> "array[int]":
    found = array("q")
    for start in range(0, len(pages), 64):
        for branch in nodes.nodes(pages[start : start + 64], keep=True):
            assert isinstance(branch, Branch)
            first = bisect_right(branch.keys, lower) if lower is not None else 0
            last = bisect_left(branch.keys, upper) if upper is not None else len(branch.keys)
            found.extend(branch.children[first : last + 1])
    return found


def _height(nodes: Nodes, root: int | None) -> int:
    height = 0
    node = nodes.node(root) if root is not None else None
    while isinstance(node, Branch):
        node, height = nodes.node(node.children[-1]), height + 1
    return height
