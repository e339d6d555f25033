"""Merging in flight: committing a branch although the head has moved since it began.

Three catalogs take part: the base that the branch began from, mine (the branch), and the head. What the branch wrote is
the difference base -> mine; what others did is the difference base -> head, and it is looked at only where the branch wrote or read:

1. A key that the branch wrote or touched, and that others changed: a write-write conflict.
2. A key or range that the branch read (also an empty one), and in which others changed anything: a conflict, if it is to be
   serializable. A branch that passes has read what it would read if it ran now, after everything committed, and so may be put there.
3. A tree that others left alone is taken over from the branch as it is; otherwise the branch's writes are made again on the head's tree.

All of it skips pages that are shared: the cost is in proportion to the differences, not to the trees.
Method: the comparison of snapshots by shared structure is that of persistent trees (Driscoll et al. 1989); validating reads by key
range at commit is backward validation (Haerder 1984), with ranges against phantoms.
"""

from array import array
from collections.abc import Iterator

from btree.access import CATALOG, Access
from btree.cache import Nodes
from btree.catalog import Entry, entry_of
from btree.diff import changed, changes
from btree.edit import Change, Tree
from btree.errors import Conflict
from btree.tree import ReadTree
from btree.workspace import Workspace

HINT = "run the transaction again from its beginning"


class Merge:
    """One attempt. `base`, `mine`, `head` are roots of catalogs; mine may have pages in the workspace only."""

    def __init__(self, stored: Nodes, workspace: Workspace, *, base: int, mine: int, head: int) -> None:
        self._stored = stored
        self._workspace = workspace
        self._base_root, self._mine_root = base, mine
        self._base = ReadTree(stored, base, 0)
        self._head = ReadTree(stored, head, 0)
        self.catalog = Tree(workspace, head, 0)
        self.trees: dict[str, Tree] = {}
        self.replaced: array[int] | None = array("q")
        """The head's pages that are replaced; None where trees were taken over whole, so that they have to be looked for."""

    def run(self, access: Access, mine: dict[str, Tree], *, serializable: bool) -> None:
        """Merge into `catalog` and `trees` (those whose roots are not in the catalog yet). Raises Conflict."""
        self._workspace.hold()
        before, self._workspace.replaced = self._workspace.replaced, array("q")
        try:
            self._run(access, mine, serializable)
        finally:
            replaced, self._workspace.replaced = self._workspace.replaced, before
            self._workspace.broken = False  # what is half done is on the head's tree, not in the branch
        if self.replaced is not None:
            self.replaced = replaced

    def check_touched(self, access: Access) -> None:
        """For a branch that changed nothing in the end: whether others changed what it wrote. Raises Conflict."""
        self._check_names(access, serializable=False)
        for name in access.trees():
            self._check_reads(name, access, serializable=False)

    def _run(self, access: Access, mine: dict[str, Tree], serializable: bool) -> None:
        self._check_names(access, serializable)
        for name in access.trees():
            self._check_reads(name, access, serializable)
        for key, old, new in changes(self._workspace, self._base_root, self._mine_root):
            self._merge(key.decode(), _entry(old), _entry(new), mine)
        with self._workspace.pause():
            for name, tree in self.trees.items():
                self.catalog.put(name.encode(), Entry(tree.root, tree.length).encode())
            self.catalog.settle()

    def _merge(self, name: str, base: Entry | None, mine: Entry | None, trees: dict[str, Tree]) -> None:
        head = entry_of(self._head, name)
        if mine is None:
            roots = base.root if base else None, head.root if head else None
            if head is None or changed(self._stored, *roots, None, None):
                raise Conflict(f"the tree {name!r} was dropped here, and changed by another transaction", hint=HINT)
            self.catalog.delete(name.encode())
            self.replaced = None
        elif head == base:
            self.replaced = None
            if name in trees:
                self.trees[name] = trees[name]
            self.catalog.put(name.encode(), mine.encode())
        elif base is None or head is None:
            done = "created" if base is None else "dropped"
            raise Conflict(f"the tree {name!r} was {done} by another transaction", hint=HINT)
        else:
            merged = Tree(self._workspace, head.root, head.length)
            root = trees[name].root if name in trees else mine.root
            merged.apply(self._writes(name, base, root, head))
            self.trees[name] = merged

    def _writes(self, name: str, base: Entry, mine: int, head: Entry) -> Iterator[Change]:
        now = ReadTree(self._stored, head.root, 0)
        for key, old, new in changes(self._workspace, base.root, mine):
            if now.get(key) != old:
                raise _conflict(name, key, "written here, and")
            yield key, new

    def _check_names(self, access: Access, serializable: bool) -> None:
        done = access.tree(CATALOG)
        touched, touched_ranges = done.all_touched()
        points = touched | done.all_points() if serializable else touched
        ranges = touched_ranges + done.all_ranges() if serializable else touched_ranges
        if not points and not ranges:
            return
        names = set(points)
        for lower, upper in ranges:
            names.update(key for tree in (self._base, self._head) for key, _ in tree.scan(lower, upper))
        for name in sorted(names):
            before, now = self._base.get(name) is not None, self._head.get(name) is not None
            if before != now:
                done_to = "dropped" if before else "created"
                message = f"the tree {name.decode()!r} was {done_to} by another transaction, and its name was read here"
                raise Conflict(message, hint=HINT, tree=name.decode())

    def _check_reads(self, name: str, access: Access, serializable: bool) -> None:
        base, head = entry_of(self._base, name), entry_of(self._head, name)
        if base == head:
            return
        done = access.tree(name)
        roots = base.root if base else None, head.root if head else None
        touched, ranges = done.all_touched()
        self._compare(name, touched, *roots, "written here, and")
        if serializable:
            self._compare(name, done.all_points(), *roots, "read here, and")
            ranges = ranges + done.all_ranges()
        for lower, upper in ranges:
            if changed(self._stored, *roots, lower, upper):
                found = next(changes(self._stored, *roots, lower, upper))
                raise _conflict(name, found[0], "in a range that was read or written here, and")

    def _compare(self, name: str, keys: set[bytes], base: int | None, head: int | None, what: str) -> None:
        before = ReadTree(self._stored, base, 0) if base is not None else None
        now = ReadTree(self._stored, head, 0) if head is not None else None
        for key in keys:
            if (before.get(key) if before else None) != (now.get(key) if now else None):
                raise _conflict(name, key, what)


def _entry(value: bytes | None) -> Entry | None:
    return Entry.decode(value) if value is not None else None


def _conflict(tree: str, key: bytes, what: str) -> Conflict:
    message = f"the key {key!r} of {tree!r} was {what} changed by another transaction that was committed first"
    return Conflict(message, hint=HINT, tree=tree)
