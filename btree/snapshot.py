"""A version of a database for reading.

It is readable for as long as the version is kept: while it is pinned, the base of an open transaction, or younger than the retention
time. Reading a version that was given back raises VersionNotFound; it never gives wrong rows.
"""

from btree.cache import Nodes
from btree.catalog import entry_of
from btree.errors import TreeNotFound
from btree.tree import ReadTree


class Snapshot:
    """One committed version. Reading it never blocks anyone, and sees no later change."""

    def __init__(self, nodes: Nodes, seq: int, root: int) -> None:
        self._nodes = nodes
        self._catalog = ReadTree(nodes, root, 0)
        self.seq = seq

    def tree(self, name: str) -> ReadTree:
        """A tree by name. Raises TreeNotFound."""
        entry = entry_of(self._catalog, name)
        if entry is None:
            raise TreeNotFound(f"there is no tree {name!r}")
        return ReadTree(self._nodes, entry.root, entry.length)

    def has_tree(self, name: str) -> bool:
        """Whether there is a tree of that name."""
        return self._catalog.get(name.encode()) is not None

    def trees(self) -> list[str]:
        """The names of all trees, in order."""
        return [key.decode() for key, _ in self._catalog.scan()]
