"""A cursor: a place in a tree, as a stack of (branch, index of the child taken) and an index in a leaf.

Moves answer whether the cursor stands on a key now. A cursor that ran off an end stands nowhere; it can be placed anew.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from typing import TYPE_CHECKING

from btree.access import TreeAccess, after
from btree.page import Branch, DirtyLeaf, Leaf, Node

if TYPE_CHECKING:
    from btree.edit import Tree


class Cursor:
    """A place in one version of a tree."""

    def __init__(self, load: Callable[[int], Node], root: int) -> None:
        self._load = load
        self._root = root
        self._stack: list[tuple[Branch, int]] = []
        self._leaf: Leaf | DirtyLeaf | None = None
        self._index = 0

    @property
    def valid(self) -> bool:
        """Whether it stands on a key."""
        return self._leaf is not None

    @property
    def key(self) -> bytes:
        """The key it stands on. Raises LookupError when it stands nowhere."""
        return self._place().keys[self._index]

    @property
    def value(self) -> bytes:
        """The value it stands on. Raises LookupError when it stands nowhere."""
        return self._place().value(self._index)

    def _place(self) -> Leaf | DirtyLeaf:
        if self._leaf is None:
            raise LookupError("the cursor stands nowhere: place it with first, last or seek")
        return self._leaf

    def first(self) -> bool:
        """Go to the first key."""
        self._stack = []
        return self._down(self._root, last=False)

    def last(self) -> bool:
        """Go to the last key."""
        self._stack = []
        return self._down(self._root, last=True)

    def seek(self, key: bytes) -> bool:
        """Go to the first key that is `key` or greater."""
        self._stack = []
        node = self._load(self._root)
        while isinstance(node, Branch):
            index = bisect_right(node.keys, key)
            self._stack.append((node, index))
            node = self._load(node.children[index])
        self._leaf, self._index = node, bisect_left(node.keys, key)
        return self._index < node.count or self._next_leaf()

    def find_one(self, key: bytes) -> bool:
        """Jump to exactly `key`; if it is not there, stand on the next greater one and answer False."""
        return self.seek(key) and self.key == key

    def next(self) -> bool:
        """Go to the next key."""
        if self._index + 1 < self._place().count:
            self._index += 1
            return True
        return self._next_leaf()

    def previous(self) -> bool:
        """Go to the key before."""
        self._place()
        if self._index > 0:
            self._index -= 1
            return True
        while self._stack:
            branch, child = self._stack.pop()
            if child > 0:
                self._stack.append((branch, child - 1))
                return self._down(branch.children[child - 1], last=True)
        self._leaf = None
        return False

    def _next_leaf(self) -> bool:
        while self._stack:
            branch, child = self._stack.pop()
            if child + 1 < len(branch.children):
                self._stack.append((branch, child + 1))
                return self._down(branch.children[child + 1], last=False)
        self._leaf = None
        return False

    def _down(self, page: int, *, last: bool) -> bool:
        node = self._load(page)
        while isinstance(node, Branch):
            index = len(node.children) - 1 if last else 0
            self._stack.append((node, index))
            node = self._load(node.children[index])
        if not node.count:
            self._leaf = None
            return False
        self._leaf, self._index = node, node.count - 1 if last else 0
        return True


class TreeCursor(Cursor):
    """A cursor in a transaction: notes what it has seen, and goes on from its key when the tree was changed."""

    def __init__(self, tree: "Tree", load: Callable[[int], Node], access: Callable[[], TreeAccess]) -> None:
        tree.settle()
        super().__init__(load, tree.root)
        self._tree = tree
        self._access = access
        self._epoch = tree.epoch

    def first(self) -> bool:
        self._renew()
        found = super().first()
        self._access().read(None, after(self.key) if found else None)
        return found

    def last(self) -> bool:
        self._renew()
        found = super().last()
        self._access().read(self.key if found else None, None)
        return found

    def seek(self, key: bytes) -> bool:
        self._renew()
        found = super().seek(key)
        self._access().read(key, after(self.key) if found else None)
        return found

    def next(self) -> bool:
        key = self.key
        found = super().seek(after(key)) if self._renew() else super().next()
        self._access().read(key, after(self.key) if found else None)
        return found

    def previous(self) -> bool:
        key = self.key
        if self._renew():
            found = super().previous() if super().seek(key) else super().last()
        else:
            found = super().previous()
        self._access().read(self.key if found else None, after(key))
        return found

    def _renew(self) -> bool:
        """Whether the tree was changed since the last move."""
        self._tree.settle()
        changed = self._epoch != self._tree.epoch
        self._epoch, self._root = self._tree.epoch, self._tree.root
        return changed
