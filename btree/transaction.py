"""A transaction: a private, durable branch of a database.

Reads see the base version plus what was written here. Changes are made in memory (see `tree.Workspace`) until `save`, which
writes the new pages, moves the branch's root and records the step's result, all in one SQLite transaction. So a step
is either in the branch together with its recorded result, or not at all; a repeated step finds the result and does nothing.

`commit` makes the branch the new head. It is idempotent, and if SQLite reports an error from COMMIT, the outcome is looked up:
a commit that happened is never reported as failed, and one that did not is never reported as done.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import orjson

from btree.errors import Conflict, StorageError, TransactionEnded, TreeExists, TreeNotFound
from btree.page import Branch, Node
from btree.pager import UnknownOutcome, Writer
from btree.tree import Tree, Workspace
from btree.version import Version

if TYPE_CHECKING:
    from btree.database import Database


class Transaction:
    """An open branch. `base` is the version it began from."""

    def __init__(self, database: "Database", txn_id: str, base: int, root: int, isolation: str) -> None:
        self.id = txn_id
        self.base = base
        self.isolation = isolation
        self._database = database
        self._root = root
        self._base_root: int = database.pager.read("SELECT root FROM version WHERE seq = ?", (base,))[0][0]
        self._open_workspace()

    def _open_workspace(self) -> None:
        self._workspace = Workspace(self._database.load)
        self._catalog = Tree(self._workspace, self._root, 0)
        self._trees: dict[str, Tree] = {}
        self._written: list[tuple[int, Node]] = []

    # --- trees ---

    @property
    def seq(self) -> int:
        """The version that it reads, but for its own writes."""
        return self.base

    @property
    def has_writes(self) -> bool:
        """Whether anything was changed, saved or not."""
        return self._root != self._base_root or self.has_unsaved

    @property
    def has_unsaved(self) -> bool:
        """Whether anything was changed since the last save."""
        return self._catalog.changed or any(tree.changed for tree in self._trees.values())

    def tree(self, name: str) -> Tree:
        """A tree by name, for reading and writing. Raises TreeNotFound."""
        if name not in self._trees:
            entry = self._catalog.get(name.encode())
            if entry is None:
                raise TreeNotFound(f"there is no tree {name!r}")
            fields = orjson.loads(entry)
            self._trees[name] = Tree(self._workspace, fields["root"], fields["count"])
        return self._trees[name]

    def trees(self) -> list[str]:
        """The names of all trees, in order."""
        return [key.decode() for key, _ in self._catalog.scan()]

    def create_tree(self, name: str) -> Tree:
        """A new, empty tree. Raises TreeExists."""
        if self._catalog.get(name.encode()) is not None:
            raise TreeExists(f"the tree {name!r} is there already")
        tree = Tree.empty(self._workspace)
        self._catalog.put(name.encode(), b"{}")
        self._trees[name] = tree
        return tree

    def drop_tree(self, name: str) -> None:
        """Remove a tree. Raises TreeNotFound."""
        if not self._catalog.delete(name.encode()):
            raise TreeNotFound(f"there is no tree {name!r}")
        self._trees.pop(name, None)

    # --- durability ---

    def recorded(self, step_key: str) -> bytes | None:
        """The result that the journal has for a step."""
        return self._database.recorded(self.id, step_key)

    def save(self, step_key: str | None = None, result: bytes | None = None) -> None:
        """Make what was done durable, with the step's result, atomically.

        Raises TransactionEnded if it was committed or rolled back meanwhile, Busy, DiskFull.
        """
        self._durably(lambda writer: self._save_in(writer, step_key, result), step_key, "open")

    def discard(self) -> None:
        """Forget what was changed since the last save: for a step that failed."""
        self._open_workspace()

    def commit(self, step_key: str | None = None, result: bytes | None = None) -> Version:
        """Save what is unsaved, and make the branch the new head; with a last journal entry, if wanted.

        Without any writes the transaction just ends. Committing again gives the version that it became.
        Raises Conflict if another transaction was committed since the base; TransactionEnded if it was rolled back.
        """
        state = self._database.status(self.id)
        if state.state != "committed":
            self._durably(lambda writer: self._commit_in(writer, step_key, result), step_key, "committed")
            state = self._database.status(self.id)
        row = self._database.pager.read("SELECT seq, root, committed_at FROM version WHERE seq = ?", (state.version,))[
            0
        ]
        return Version(*row)

    def rollback(self) -> None:
        """End it, and drop what was written. Rolling back again, or after a commit, does nothing."""
        with self._database.pager.write() as writer:
            writer.execute("UPDATE txn SET state = 'rolled_back' WHERE id = ? AND state = 'open'", (self.id,))
        self.discard()

    def _durably(self, work: Callable[[Writer], int], step_key: str | None, state: str) -> None:
        root = self._root
        try:
            with self._database.pager.write() as writer:
                root = work(writer)
        except UnknownOutcome as error:
            if not self._happened(root, step_key, state):
                raise StorageError(f"nothing was written: {error}", hint="try again") from error
        for page, node in self._written:
            self._database.keep(page, node)
        self._root = root
        self._open_workspace()

    def _happened(self, root: int, step_key: str | None, state: str) -> bool:
        """After a COMMIT that raised: whether exactly this write is there. Page ids are given out once, so a root tells."""
        ((found, now),) = self._database.pager.read("SELECT root, state FROM txn WHERE id = ?", (self.id,))
        journaled = step_key is None or self._database.recorded(self.id, step_key) is not None
        return bool(found == root and now == state and journaled)

    def _save_in(self, writer: Writer, step_key: str | None, result: bytes | None) -> int:
        rows = writer.execute("SELECT root, state FROM txn WHERE id = ?", (self.id,))
        if rows[0][1] != "open":
            raise TransactionEnded(
                f"the transaction {self.id!r} is {rows[0][1]}", status=self._database.status(self.id)
            )
        if rows[0][0] != self._root:
            raise Conflict(f"the transaction {self.id!r} was continued elsewhere", hint="resume it and try again")
        root = self._write_pages(writer) if self.has_unsaved else self._root
        writer.execute("UPDATE txn SET root = ? WHERE id = ?", (root, self.id))
        if step_key is not None:
            writer.execute(
                "INSERT INTO journal VALUES (?, ?, ?)", (self.id, step_key, result if result is not None else b"null")
            )
        return root

    def _commit_in(self, writer: Writer, step_key: str | None, result: bytes | None) -> int:
        root = self._save_in(writer, step_key, result)
        if root == self._base_root:
            writer.execute("UPDATE txn SET state = 'committed', version = base WHERE id = ?", (self.id,))
            return root
        ((head,),) = writer.execute("SELECT max(seq) FROM version")
        if head != self.base:
            raise Conflict(
                f"version {head} was committed since this transaction began at version {self.base}",
                hint="run the transaction again from its beginning",
            )
        writer.execute("INSERT INTO version VALUES (?, ?, ?, ?)", (head + 1, root, self._database.clock(), self.id))
        writer.execute("UPDATE txn SET state = 'committed', version = ? WHERE id = ?", (head + 1, self.id))
        return root

    def _write_pages(self, writer: Writer) -> int:
        """Write the changed trees and the catalog; gives the catalog's new root."""
        pages = _Pages(writer, self._workspace)
        for name, tree in self._trees.items():
            if tree.changed:
                fields = {"root": pages.write(tree.root), "count": tree.count()}
                self._catalog.put(name.encode(), orjson.dumps(fields))
        root = pages.write(self._catalog.root)
        writer.store([(page, node.encode()) for page, node in pages.written])
        self._written = pages.written
        return root


class _Pages:
    """Gives the dirty pages below a root their ids, children first. The workspace stays as it is: a write may fail."""

    def __init__(self, writer: Writer, workspace: Workspace) -> None:
        self._dirty = workspace.dirty
        self._next = writer.allocate(len(self._dirty) + 8)
        self._spare = self._next + len(self._dirty) + 8
        self._writer = writer
        self.written: list[tuple[int, Node]] = []

    def write(self, page: int) -> int:
        if page >= 0:
            return page
        node = self._dirty[page]
        if isinstance(node, Branch):
            node = Branch(node.keys, [self.write(child) for child in node.children])
        if self._next == self._spare:
            self._next = self._writer.allocate(64)
            self._spare = self._next + 64
        number, self._next = self._next, self._next + 1
        self.written.append((number, node))
        return number
