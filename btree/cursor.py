"""A cursor: a place in a tree, as a stack of (branch, index of the child taken) and an index in a leaf.

Moves answer whether the cursor stands on a key now. A cursor that ran off an end stands nowhere; it can be placed anew.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable

from btree.page import Branch, Leaf, Node


class Cursor:
    """A place in one version of a tree."""

    def __init__(self, load: Callable[[int], Node], root: int) -> None:
        self._load = load
        self._root = root
        self._stack: list[tuple[Branch, int]] = []
        self._leaf: Leaf | None = None
        self._index = 0

    @property
    def valid(self) -> bool:
        """Whether it stands on a key."""
        return self._leaf is not None

    @property
    def key(self) -> bytes:
        """The key it stands on. Raises LookupError when it stands nowhere."""
        return self.leaf()[0].keys[self._index]

    @property
    def value(self) -> bytes:
        """The value it stands on. Raises LookupError when it stands nowhere."""
        return self.leaf()[0].values[self._index]

    def leaf(self) -> tuple[Leaf, int]:
        """The page it stands in and the index there."""
        if self._leaf is None:
            raise LookupError("the cursor stands nowhere: place it with first, last or seek")
        return self._leaf, self._index

    def first(self) -> bool:
        """Go to the first key."""
        return self._down(self._root, last=False, fresh=True)

    def last(self) -> bool:
        """Go to the last key."""
        return self._down(self._root, last=True, fresh=True)

    def seek(self, key: bytes) -> bool:
        """Go to the first key that is `key` or greater."""
        self._stack = []
        node = self._load(self._root)
        while isinstance(node, Branch):
            index = bisect_right(node.keys, key)
            self._stack.append((node, index))
            node = self._load(node.children[index])
        self._leaf, self._index = node, bisect_left(node.keys, key)
        return True if self._index < len(node.keys) else self.next_leaf()

    def find_one(self, key: bytes) -> bool:
        """Jump to exactly `key`; if it is not there, stand on the next greater one and answer False."""
        return self.seek(key) and self.key == key

    def next(self) -> bool:
        """Go to the next key."""
        leaf, index = self.leaf()
        if index + 1 < len(leaf.keys):
            self._index += 1
            return True
        return self.next_leaf()

    def previous(self) -> bool:
        """Go to the key before."""
        _, index = self.leaf()
        if index > 0:
            self._index -= 1
            return True
        while self._stack:
            branch, child = self._stack.pop()
            if child > 0:
                self._stack.append((branch, child - 1))
                return self._down(branch.children[child - 1], last=True)
        self._leaf = None
        return False

    def next_leaf(self) -> bool:
        """Go to the first key of the next page."""
        while self._stack:
            branch, child = self._stack.pop()
            if child + 1 < len(branch.children):
                self._stack.append((branch, child + 1))
                return self._down(branch.children[child + 1], last=False)
        self._leaf = None
        return False

    def _down(self, page: int, *, last: bool, fresh: bool = False) -> bool:
        if fresh:
            self._stack = []
        node = self._load(page)
        while isinstance(node, Branch):
            index = len(node.children) - 1 if last else 0
            self._stack.append((node, index))
            node = self._load(node.children[index])
        if not node.keys:
            self._leaf = None
            return False
        self._leaf, self._index = node, len(node.keys) - 1 if last else 0
        return True
