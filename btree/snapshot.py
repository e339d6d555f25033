"""A version of a database for reading.

It is readable for as long as the version is kept: while it is pinned, the base of an open transaction, or younger than the retention
time. Reading a version that was given back raises VersionNotFound; it never gives wrong rows.
"""

from typing import Any, Final

from btree.cache import Nodes
from btree.catalog import entry_of
from btree.errors import TreeNotFound
from btree.tree import ReadTree

_KEPT: Final = 1024
"""So many trees, and so much else, is kept of a version at most."""


class Snapshot:
    """One committed version. Reading it never blocks anyone, and sees no later change."""

    def __init__(self, nodes: Nodes, seq: int, root: int) -> None:
        self._nodes = nodes
        self._catalog = ReadTree(nodes, root, 0)
        self._trees: dict[str, ReadTree] = {}
        self._kept: dict[str, Any] = {}
        self.seq = seq

    def tree(self, name: str) -> ReadTree:
        """A tree by name. Raises TreeNotFound."""
        found = self._trees.get(name)
        if found is None:
            entry = entry_of(self._catalog, name)
            if entry is None:
                raise TreeNotFound(f"there is no tree {name!r}")
            if len(self._trees) >= _KEPT:
                self._trees.clear()
            found = self._trees[name] = ReadTree(self._nodes, entry.root, entry.length)
        return found

    def kept(self, name: str) -> Any:
        """What a reader has kept under a name, None if nothing (any more)."""
        return self._kept.get(name)

    def keep(self, name: str, made: Any) -> None:
        """Keep something that was made of this version, for other readers of it. It must never change, nor refer to the snapshot."""
        if len(self._kept) >= _KEPT:
            self._kept.clear()
        self._kept[name] = made

    def has_tree(self, name: str) -> bool:
        """Whether there is a tree of that name."""
        return self._catalog.get(name.encode()) is not None

    def trees(self) -> list[str]:
        """The names of all trees, in order."""
        return [key.decode() for key, _ in self._catalog.scan()]
