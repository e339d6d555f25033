"""The shape of a tree that is changed: where pages are divided, merged, and pointed to by others.

A leaf is never changed in place; new leaves take its place (`_place`), and the branches above are copied the first time they
are touched. Division and merging work on bytes: a page over `TARGET` is divided into pieces of about equal size (full ones, where keys
are appended at the end of the tree), and one below `MINIMUM` is merged with a neighbour, or filled up from it.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from math import ceil
from types import MappingProxyType

from btree.page import BRANCH_MINIMUM, BRANCH_TARGET, ENTRY, MINIMUM, TARGET, Branch, DirtyLeaf, Leaf, Node
from btree.tree import ReadTree
from btree.workspace import Workspace


class PageTree(ReadTree):
    """A tree whose pages are in a workspace."""

    def __init__(self, workspace: Workspace, root: int, count: int) -> None:
        super().__init__(workspace, root, count)
        self._workspace = workspace
        self.changed = False
        self.epoch = 0
        workspace.trees.append(self)

    @property
    def length(self) -> int:
        """How many keys are in the pages."""
        return self._count

    def stand(self, root: int, count: int) -> None:
        """Go on from stored pages."""
        self.root, self._count, self.changed = root, count, False
        self.epoch += 1

    def end(self) -> None:
        """Refuse everything from now on."""

    def _leaf(self, page: int, ahead: Mapping[int, Node] = MappingProxyType({})) -> Leaf | DirtyLeaf:
        node = ahead.get(page) or self._workspace.node(page)
        assert not isinstance(node, Branch)
        return node

    def _descend(
        self, key: bytes, ahead: Mapping[int, Node] = MappingProxyType({})
    ) -> tuple[list[int], int, bytes | None]:
        """The way to the key's leaf: indexes of the children taken, the leaf's id, and the key from which on the next leaf is in charge."""
        path: list[int] = []
        bound: bytes | None = None
        page = self.root
        node = self._workspace.node(page)
        while isinstance(node, Branch):
            index = bisect_right(node.keys, key)
            if index < len(node.keys):
                bound = node.keys[index]
            path.append(index)
            page = node.children[index]
            node = ahead.get(page) or self._workspace.node(page)
        return path, page, bound

    def _place(self, path: list[int], page: int, pieces: Sequence[Leaf | DirtyLeaf]) -> None:
        """Put pieces in the place of the leaf at `path`, and balance upwards."""
        workspace = self._workspace
        if not path:
            self.root = workspace.replace(page, pieces[0] if pieces else DirtyLeaf([], []))
            if len(pieces) > 1:
                ids = [self.root, *(workspace.create(piece) for piece in pieces[1:])]
                self.root = workspace.create(Branch([piece.keys[0] for piece in pieces[1:]], ids))
            return
        branches: list[Branch] = []
        self.root, branch = workspace.branch(self.root)
        for index in path[:-1]:
            branches.append(branch)
            child, below = workspace.branch(branch.children[index])
            branch.point(index, child)
            branch = below
        branches.append(branch)
        index = path[-1]
        if not pieces:
            workspace.drop(page)
            branch.remove(index)
        else:
            branch.point(index, workspace.replace(page, pieces[0]))
            for offset, piece in enumerate(pieces[1:]):
                branch.put(index + offset, piece.keys[0], workspace.create(piece))
            if len(pieces) == 1 and pieces[0].size < MINIMUM:
                self._merge(branch, index)
        self._balance(branches, path)

    def _balance(self, branches: list[Branch], path: list[int]) -> None:
        """Divide or merge branches from below upwards."""
        for level in range(len(branches) - 1, 0, -1):
            branch, parent, index = branches[level], branches[level - 1], path[level - 1]
            if branch.size > BRANCH_TARGET:
                for offset, (separator, right) in enumerate(split(branch)):
                    parent.put(index + offset, separator, self._workspace.create(right))
            elif branch.size < BRANCH_MINIMUM or not branch.keys:
                self._merge(parent, index)
        root = branches[0]
        if root.size > BRANCH_TARGET and (parts := split(root)):
            rights = [self._workspace.create(right) for _, right in parts]
            self.root = self._workspace.create(Branch([separator for separator, _ in parts], [self.root, *rights]))
        while isinstance(root, Branch) and not root.keys:
            self._workspace.drop(self.root)
            self.root = root.children[0]
            root = self._workspace.node(self.root)  # type: ignore[assignment]

    def _merge(self, parent: Branch, index: int) -> None:
        """Join child `index` with a neighbour, or fill it up from there."""
        if not parent.keys:
            return
        at = index - 1 if index else 0
        left, right = parent.children[at], parent.children[at + 1]
        node = self._workspace.node(left)
        if isinstance(node, Branch):
            child, node = self._workspace.branch(left)
            parent.point(at, child)
            other = self._workspace.node(right)
            assert isinstance(other, Branch)
            node.append(parent.keys[at], other)
            self._workspace.drop(right)
            parent.remove(at + 1)
            for offset, (separator, rest) in enumerate(split(node)):
                parent.put(at + offset, separator, self._workspace.create(rest))
            return
        first, second = node.draft(), self._leaf(right).draft()
        pieces = divide(DirtyLeaf(first.keys + second.keys, first.values + second.values), full=False)
        parent.point(at, self._workspace.replace(left, pieces[0]))
        self._workspace.drop(right)
        parent.remove(at + 1)
        for offset, piece in enumerate(pieces[1:]):
            parent.put(at + offset, piece.keys[0], self._workspace.create(piece))


def divide(leaf: DirtyLeaf, *, full: bool) -> list[DirtyLeaf]:
    """A leaf as leaves that are not too large: none for an empty one; with `full`, all but the last are full."""
    if leaf.size <= TARGET or len(leaf.keys) == 1:
        return [leaf] if leaf.keys else []
    sizes = [len(key) + len(value) + ENTRY for key, value in zip(leaf.keys, leaf.values, strict=True)]
    rest = sum(sizes)
    aim = TARGET if full else rest / ceil(rest / (TARGET - 32))
    pieces, start, size = [], 0, 0
    for index, more in enumerate(sizes):
        if size and (size + more > TARGET - 2 * ENTRY or size + more / 2 > aim):
            pieces.append(DirtyLeaf(leaf.keys[start:index], leaf.values[start:index]))
            rest, start, size = rest - size, index, 0
            aim = TARGET if full else rest / ceil(rest / (TARGET - 32))
        size += more
    pieces.append(DirtyLeaf(leaf.keys[start:], leaf.values[start:]))
    return pieces


def split(branch: Branch) -> list[tuple[bytes, Branch]]:
    """Make a branch small enough: the parts cut off to its right, each with the separator before it."""
    if branch.size <= BRANCH_TARGET or len(branch.keys) < 3:
        return []
    separator, right = halve(branch)
    return [*split(branch), (separator, right), *split(right)]


def halve(branch: Branch) -> tuple[bytes, Branch]:
    """Move the right half (by bytes) of a branch to a new one; gives the separator between them and the new one."""
    ends = list(accumulate(len(key) + 10 for key in branch.keys))
    at = max(1, min(bisect_right(ends, ends[-1] // 2), len(branch.keys) - 2))
    return branch.cut(at)
