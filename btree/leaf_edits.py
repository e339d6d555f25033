"""Changing a tree a leaf at a time, while it is read.

`edits` hands out the leaves of a range like `ReadTree.leaves`, and each may be changed before the next is asked for: whoever has found
the pairs in a leaf says there which of them go, or which values take the place of theirs. Nothing is collected and no leaf is looked for
again, so a change of very many pairs takes the memory of one leaf, and of the pages that wait to be stored (`workspace`).

The walk keeps the branch above the leaf. As long as that branch is a copy of this transaction and the new leaf has a proper size, it is
only pointed to the new leaf; otherwise the leaf is placed as any other (`shape`), and the walk goes down from the root again, to the key
that the leaf's separator gives. The same happens when something else has changed the tree meanwhile.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from btree.access import Reading, TreeAccess, after
from btree.limits import MAX_VALUE, bad_value
from btree.page import MINIMUM, TARGET, Branch, DirtyLeaf, Leaf, Node
from btree.shape import PageTree, divide
from btree.tree import LeafSlice
from btree.workspace import Workspace

_AHEAD: Final = (2, 8, 32)
"""How many leaves are read at once: few at first, for whoever changes only a few rows."""


class EditedTree(PageTree):
    """A tree whose leaves can be changed while they are read. `access` gives where reads and touches are noted now."""

    def __init__(self, workspace: Workspace, root: int, count: int, access: Callable[[], TreeAccess]) -> None:
        super().__init__(workspace, root, count)
        self._access = access

    def settle(self) -> None:
        """Make changes that were collected in the pages."""

    def edits(self, lower: bytes | None = None, upper: bytes | None = None) -> "Iterator[LeafEdit]":
        """The pairs with lower <= key < upper a leaf at a time; each may be changed until the next is asked for."""
        reading = Reading(self._access, lower)
        walk = _Walk(self, self._workspace, lower if lower is not None else b"", upper)
        last: LeafSlice | None = None
        try:
            while (found := walk.next()) is not None:
                reading.widen(walk.read_to)
                last = LeafEdit(self, walk, self._access, *found)
                yield last
        except GeneratorExit:
            if last is not None:
                reading.end(after(last.last_key))
            raise
        reading.end(upper)

    def owns(self, page: int) -> bool:
        """Whether a page was made by this transaction."""
        return self._workspace.owns(page)

    def exchange(self, walk: "_Walk", pieces: Sequence[Leaf | DirtyLeaf], removed: int) -> None:
        """Put pieces in the place of the leaf where a walk stands."""
        workspace = self._workspace
        with workspace.changing():
            self.epoch += 1
            self.changed = True
            self._count -= removed
            page, parent = walk.page, walk.own_parent()
            if parent is not None and len(pieces) == 1 and MINIMUM <= pieces[0].size <= TARGET:
                parent.point(walk.path[-1], workspace.replace(page, pieces[0]))
                walk.epoch = self.epoch
            else:
                self._place(walk.path, page, pieces)
            workspace.relieve()


class _Walk:
    """A place in a tree: a leaf, and the way to it."""

    def __init__(self, tree: EditedTree, workspace: Workspace, key: bytes, upper: bytes | None) -> None:
        self._tree = tree
        self._workspace = workspace
        self._key: bytes | None = key
        self._upper = upper
        self._parent: Branch | None = None
        self._parent_page = 0
        self._parent_bound: bytes | None = None
        self._bound: bytes | None = None
        self._ahead: dict[int, Node] = {}
        self._read = 0
        self._height = 0
        self.path: list[int] = []
        self.epoch = -1
        """The state of the tree for which the way is right."""
        self.leaf: Leaf | DirtyLeaf | None = None
        """The leaf that may be changed."""

    @property
    def page(self) -> int:
        """The leaf's id now: it changes when the page is stored."""
        return self._parent.children[self.path[-1]] if self._parent is not None else self._tree.root

    @property
    def read_to(self) -> bytes | None:
        """The key up to which the range was read."""
        bound, upper = self._bound, self._upper
        return upper if bound is None or (upper is not None and upper < bound) else bound

    def own_parent(self) -> Branch | None:
        """The branch above the leaf, where it is this transaction's own and may be changed in place."""
        parent = self._parent
        return parent if parent is not None and self._workspace.dirty.get(self._parent_page) is parent else None

    def next(self) -> tuple[Leaf | DirtyLeaf, int, int] | None:
        """The next leaf with keys in the range, and its stretch; None at the end."""
        self._tree.settle()
        self.leaf = None
        upper = self._upper
        while (key := self._key) is not None and (upper is None or key < upper):
            start = 0
            parent = self._parent
            if self.epoch == self._tree.epoch and parent is not None and self.path[-1] < len(parent.keys):
                self.path[-1] += 1
                node = self._child(parent, self.path[-1])
            else:
                node = self._descend(key)
                start = bisect_left(node.keys, key)
            assert not isinstance(node, Branch)
            self._key = self._bound
            until = self.read_to
            stop = node.count if until is None or until == self._bound else bisect_left(node.keys, until, start)
            if stop > start:
                self.leaf = node
                return node, start, stop
        return None

    def _descend(self, key: bytes) -> Node:
        """Go to the key's leaf from the root."""
        self.path, self.epoch = [], self._tree.epoch
        self._parent, self._parent_bound, self._bound = None, None, None
        page = self._tree.root
        node = self._workspace.node(page)
        while isinstance(node, Branch):
            self._parent, self._parent_page, self._parent_bound = node, page, self._bound
            index = bisect_right(node.keys, key)
            self.path.append(index)
            left = self._height - len(self.path)
            page, node = node.children[index], self._child(node, index, ahead=left == 0, keep=left != 1)
        self._height = len(self.path)
        return node

    def _child(self, branch: Branch, index: int, *, ahead: bool = True, keep: bool = True) -> Node:
        """A child of the branch where the walk has come to; with `ahead`, read together with those that follow.

        Branches right above leaves are not kept in the cache: the walk comes to each once, and there are many in a large tree.
        """
        keys, children = branch.keys, branch.children
        self._bound = keys[index] if index < len(keys) else self._parent_bound
        page = children[index]
        node = self._ahead.pop(page, None)
        if node is not None:
            return node
        cached = self._workspace.cached
        if page < 0 or page in cached or not ahead:
            return self._workspace.node(page) if keep else self._workspace.nodes([page], keep=False)[0]
        last = bisect_left(keys, self._upper) if self._upper is not None else len(keys)
        many = max(1, min(_AHEAD[min(self._read, 2)], last + 1 - index))
        self._read += 1
        pages = [other for other in children[index : index + many] if other >= 0 and other not in cached]
        self._ahead = dict(zip(pages, self._workspace.nodes(pages, keep=False), strict=True))
        return self._ahead.pop(page, None) or self._workspace.node(page)


class LeafEdit(LeafSlice):
    """A stretch of a leaf that may be changed: once, before the next one is asked for, and while nothing else changes the tree.

    Places count from the beginning of the stretch, and are given in rising order.
    """

    __slots__ = ("_access", "_lines", "_tree", "_walk")

    def __init__(
        self,
        tree: EditedTree,
        walk: _Walk,
        access: Callable[[], TreeAccess],
        leaf: Leaf | DirtyLeaf,
        start: int,
        stop: int,
    ) -> None:
        super().__init__(leaf, start, stop)
        self._tree, self._walk, self._access = tree, walk, access
        self._lines: list[bytes] | None = None

    def values_at(self, places: Sequence[int]) -> list[bytes]:
        """The values at some places."""
        lines, start, last = self._divided(), self._start, self._leaf.count - 1
        found = [lines[start + place][:-1] for place in places]
        if places and start + places[-1] == last:
            found[-1] = lines[last]
        return found

    def remove(self, places: Sequence[int]) -> None:
        """Remove the pairs at some places. Raises RuntimeError if the stretch may not be changed any more, TransactionEnded."""
        self._check()
        if not places:
            return
        leaf, lines = _built(self._leaf), self._divided()
        start = self._start
        absolute = [start + place for place in places] if start else places
        for place in reversed(absolute):
            del lines[place]
        if lines and absolute[-1] == leaf.count - 1:
            lines[-1] = lines[-1][:-1]
        self._note(absolute)
        pieces = [leaf.rewritten(lines, absolute)] if lines else []
        self._exchange(pieces, len(absolute))

    def replace(self, places: Sequence[int], values: Sequence[bytes]) -> None:
        """Put other values at some places; a value that is there already counts as written, like with `put`.

        Raises RuntimeError if the stretch may not be changed any more, InvalidValue, ValueTooLarge, TransactionEnded.
        """
        self._check()
        if set(map(type, values)) != {bytes} or max(map(len, values)) > MAX_VALUE or b"\n" in b"".join(values):
            _check_values(values)
        leaf, lines, start = _built(self._leaf), self._divided(), self._start
        last, changed, same = leaf.count - 1, [], []
        for place, value in zip(places, values, strict=True):
            at = start + place
            line = value if at == last else value + b","
            if lines[at] == line:
                same.append(at)
            else:
                lines[at] = line
                changed.append(at)
        if same:
            keys = leaf.keys
            self._access().touched.update([keys[at] for at in same])
        if changed:
            self._note(changed)
            new = leaf.rewritten(lines)
            self._exchange([new] if new.size <= TARGET else divide(new.draft(), full=False), 0)

    def _divided(self) -> list[bytes]:
        if self._lines is None:
            self._lines = _built(self._leaf).lines()
        return self._lines

    def _check(self) -> None:
        self._tree.settle()
        if self._walk.leaf is not self._leaf or self._walk.epoch != self._tree.epoch:
            raise RuntimeError("a stretch of a leaf is changed once, before the next one, and before anything else")

    def _note(self, places: Sequence[int]) -> None:
        """Note keys as touched where the change may take back one of this transaction: it would not show."""
        if self._tree.owns(self._walk.page):
            keys = self._leaf.keys
            self._access().touched.update([keys[place] for place in places])

    def _exchange(self, pieces: Sequence[Leaf | DirtyLeaf], removed: int) -> None:
        self._walk.leaf = None
        self._tree.exchange(self._walk, pieces, removed)


def _check_values(values: Sequence[bytes]) -> None:
    for value in values:
        if not isinstance(value, bytes) or len(value) > MAX_VALUE or b"\n" in value:
            raise bad_value(value)


def _built(leaf: Leaf | DirtyLeaf) -> Leaf:
    return leaf if isinstance(leaf, Leaf) else leaf.built()
