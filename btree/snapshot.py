"""A version of a database for reading.

The trees of a version are in its catalog, which is a tree itself: name -> {"root": page id, "count": number of keys}.
"""

from collections.abc import Callable

import orjson

from btree.errors import TreeNotFound
from btree.page import Node
from btree.tree import ReadTree


class Snapshot:
    """One committed version. Reading it never blocks anyone, and sees no later change."""

    def __init__(self, load: Callable[[int], Node], seq: int, root: int) -> None:
        self._load = load
        self._catalog = ReadTree(load, root, 0)
        self.seq = seq

    def tree(self, name: str) -> ReadTree:
        """A tree by name. Raises TreeNotFound."""
        entry = self._catalog.get(name.encode())
        if entry is None:
            raise TreeNotFound(f"there is no tree {name!r}")
        fields = orjson.loads(entry)
        return ReadTree(self._load, fields["root"], fields["count"])

    def trees(self) -> list[str]:
        """The names of all trees, in order."""
        return [key.decode() for key, _ in self._catalog.scan()]
