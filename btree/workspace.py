"""The pages that a transaction has changed and not saved yet.

They have negative ids until they are stored. A page that is changed for the first time is copied here, and its id is
noted as *replaced*: whoever commits tells the space keeping which pages the new version does not need.

When the pages here take more than `budget` bytes, they are stored early (*spilled*), from the leaves upwards, and the branches above are
pointed to their final ids. So a transaction of any size takes the same memory; what it spilled belongs to no save yet, and is
given back if none ever claims it.
"""

from array import array
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from btree.cache import DECODED, Nodes
from btree.errors import StorageError, TransactionEnded
from btree.page import Branch, DirtyLeaf, Leaf, Node

if TYPE_CHECKING:
    from btree.shape import PageTree

BUDGET: Final = 12 << 20

Draft = Leaf | DirtyLeaf | Branch
"""A node that is not stored yet."""
Store = Callable[[Sequence[Draft]], list[int]]
"""Stores nodes, and gives their page ids."""


class Workspace:
    """Nodes by negative id, over the stored ones."""

    def __init__(self, stored: Nodes, store: Store, own: list[tuple[int, int]], budget: int = BUDGET) -> None:
        self._stored = stored
        self._store = store
        self._own = own
        self._budget = budget
        self._bytes = 0
        self._next = -1
        self.dirty: dict[int, Draft] = {}
        """Nodes by id; newer ones have smaller ids."""
        self.replaced = array("q")
        self.open: set[int] = set()
        """Branches that somebody goes on filling, and keeps at hand."""
        self.trees: list[PageTree] = []
        self.paused = False
        self.broken = False
        """Whether a change was made by half: then nothing here may be saved."""
        self._held = 0

    def reset(self) -> None:
        """Forget all of it."""
        self.dirty.clear()
        self.replaced = array("q")
        self.open.clear()
        self._bytes = self._held = 0
        self.broken = False

    @property
    def cached(self) -> Mapping[int, Node]:
        return self._stored.cached

    def node(self, page: int) -> Node:
        return self.dirty[page] if page < 0 else self._stored.node(page)

    def nodes(self, pages: Sequence[int], *, keep: bool, ways: bool = False) -> list[Node]:
        if not pages or min(pages) >= 0:
            return self._stored.nodes(pages, keep=keep, ways=ways)
        return [self.node(page) for page in pages]

    def owns(self, page: int) -> bool:
        """Whether the page was made by this transaction."""
        at = bisect_right(self._own, (page, 1 << 62)) - 1
        return page < 0 or (at >= 0 and self._own[at][0] <= page <= self._own[at][1])

    def create(self, node: Draft) -> int:
        """Take in a new node."""
        page, self._next = self._next, self._next - 1
        self.dirty[page] = node
        self._bytes += _bytes_of(node)
        return page

    def replace(self, page: int, leaf: Leaf | DirtyLeaf) -> int:
        """Put a leaf in the place of another; gives its id."""
        if page >= 0:
            self.replaced.append(page)
            return self.create(leaf)
        self._bytes += _bytes_of(leaf) - _bytes_of(self.dirty[page])
        self.dirty[page] = leaf
        return page

    def branch(self, page: int) -> tuple[int, Branch]:
        """A branch to be changed in place: itself if it is here already, otherwise a copy."""
        if page < 0:
            node = self.dirty[page]
        else:
            found = self._stored.cached.get(page) or self._stored.nodes([page], keep=False)[0]
            assert not isinstance(found, Leaf)
            node = found.draft()
            self.replaced.append(page)
            page = self.create(node)
        assert isinstance(node, Branch)
        return page, node

    def drop(self, page: int) -> None:
        """A node is not needed any more."""
        if page >= 0:
            self.replaced.append(page)
        else:
            self._bytes -= _bytes_of(self.dirty.pop(page))

    def drop_all(self, page: int) -> None:
        """A whole subtree is not needed any more."""
        found, level = [page], [page]
        while isinstance(self.node(level[0]), Branch):
            below: list[int] = []
            for branch in map(self.node, level):
                assert isinstance(branch, Branch)
                below.extend(branch.children)
            found += below
            level = below
        for dropped in found:
            self.drop(dropped)

    def changing(self) -> "_Changing":
        """Around a change: one that fails half-way leaves the workspace broken, until all of it is forgotten. Raises StorageError."""
        return _Changing(self)

    def pause(self) -> "_Pause":
        """Around what writes ids down: nothing is stored early."""
        return _Pause(self)

    def end(self) -> None:
        """The transaction has ended: its trees refuse everything, and what refers back to this is let go, so that it is freed at once."""
        for tree in self.trees:
            tree.end()
        self.trees.clear()
        self._store = _too_late

    def hold(self) -> None:
        """Keep the ids of the leaves that are here now, somebody remembers them: only newer ones are stored early."""
        self._held = self._next

    def relieve(self) -> None:
        """Store what is complete if there is too much: the leaves, then the branches whose children are stored."""
        if self.paused or self._bytes <= self._budget:
            return
        while pages := [page for page, node in self.dirty.items() if self._complete(page, node)]:
            ids = dict(zip(pages, self._store([self.dirty[page] for page in pages]), strict=True))
            for page in pages:
                del self.dirty[page]
            for node in self.dirty.values():
                if isinstance(node, Branch) and node.fresh:
                    node.settle(lambda child, ids=ids: ids.get(child, child))  # type: ignore[misc]
            for tree in self.trees:
                tree.root = ids.get(tree.root, tree.root)
        self._bytes = sum(map(_bytes_of, self.dirty.values()))

    def _complete(self, page: int, node: Draft) -> bool:
        return page <= self._held and page not in self.open and not (isinstance(node, Branch) and node.fresh)


class _Changing:
    """A change; a class, as it is quicker than a generator, and every small transaction has two."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def __enter__(self) -> None:
        if self._workspace.broken:
            raise StorageError("a change before could not be made", hint="discard it, or roll the transaction back")
        self._workspace.broken = True

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._workspace.broken = kind is not None


class _Pause:
    """A pause in storing early."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._before = workspace.paused

    def __enter__(self) -> None:
        self._workspace.paused = True

    def __exit__(self, *_: object) -> None:
        self._workspace.paused = self._before


def _too_late(nodes: Sequence[Draft]) -> list[int]:
    raise TransactionEnded("the transaction has ended: begin another one")


def _bytes_of(node: Draft) -> int:
    """Memory, estimated."""
    return node.size if isinstance(node, Leaf) else DECODED * node.size
