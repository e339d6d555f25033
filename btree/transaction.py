"""A transaction: a private, durable branch of a database.

Reads see the base version plus what was written here. Changes are made in memory (see `workspace`) until `save`, which writes
the new pages, moves the branch's root and records the step's result, all in one SQLite transaction. So a step is
either in the branch together with its recorded result, or not at all; a repeated step finds the result and does nothing.

`commit` makes the branch the new head, merging it if the head has moved. It is idempotent, and if SQLite reports an error from COMMIT, the
outcome is looked up: a commit that happened is never reported as failed, and one that did not is never reported as done.

`savepoint` marks a place to go back to; savepoints nest, and are as durable as the branch.

What is read and touched is noted as it happens (see `access`), and saved with the branch.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from btree import savepoints
from btree.access import CATALOG, Access, TreeAccess
from btree.catalog import Entry, entry_of
from btree.commit import Commit, HeadMoved, all_access
from btree.edit import Tree
from btree.errors import (
    BTreeError,
    Conflict,
    KeyExists,
    NotWritten,
    StorageError,
    TransactionEnded,
    TreeExists,
    TreeNotFound,
    UnknownOutcome,
)
from btree.merge import HINT
from btree.page import DirtyLeaf
from btree.records import AccessRow, ExtentRow, JournalRow, TxnRow, sealed, unsealed
from btree.save import Pages, insert_txn, put_extent, put_txn, read_txn, store_early
from btree.version import Version
from btree.workspace import Draft, Workspace
from btree.writer import Writer

if TYPE_CHECKING:
    from btree.database import Database

Work = Callable[[Writer], tuple[TxnRow, Pages | None]]


class Transaction:
    """An open branch. `base` is the version it began from."""

    def __init__(self, database: "Database", row: TxnRow, base: Version, *, stored: bool, named: bool = True) -> None:
        self.id = row.id
        self.base = row.base
        self.isolation = row.isolation
        self.database = database
        self.base_version = base
        self.base_root = base.root
        self.own: list[tuple[int, int]] = database.extents(row.id) if stored else []
        self._row = row
        self._stored = stored
        self._named = named
        self._version: Version | None = None
        self.spilled: list[ExtentRow] = []
        """What was stored early since the last save, in order."""
        self._access = Access()
        self.workspace = Workspace(database.cache, self._spill, self.own, database.workspace_bytes)
        self.catalog = Tree(self.workspace, row.root, 0)
        self._trees: dict[str, Tree] = {}
        self._dropped: dict[str, Tree] = {}
        self.kept: dict[str, Any] = {}
        """What readers keep here; whether it still holds they look up themselves."""

    # --- trees ---

    @property
    def seq(self) -> int:
        """The version that it reads, but for its own writes."""
        return self.base

    @property
    def has_writes(self) -> bool:
        """Whether anything was changed, saved or not."""
        return self._row.root != self.base_root or self.has_unsaved

    @property
    def has_unsaved(self) -> bool:
        """Whether anything was changed since the last save."""
        return any(tree.changed or tree.waiting for tree in (self.catalog, *self._trees.values()))

    @property
    def has_unsaved_reads(self) -> bool:
        """Whether anything was read since the last save that a commit has to look at."""
        return self.isolation == "serializable" and bool(self._access)

    def tree(self, name: str) -> Tree:
        """A tree by name, for reading and writing. Raises TreeNotFound."""
        found = self._trees.get(name)
        if found is None:
            self._access.tree(CATALOG).points.add(name.encode())
            entry = entry_of(self.catalog, name)
            if entry is None:
                raise TreeNotFound(f"there is no tree {name!r}")
            found = self._trees[name] = Tree(self.workspace, entry.root, entry.length, self._noting(name))
        return found

    def has_tree(self, name: str) -> bool:
        """Whether there is a tree of that name."""
        self._access.tree(CATALOG).points.add(name.encode())
        return name in self._trees or self.catalog.get(name.encode()) is not None

    def trees(self) -> list[str]:
        """The names of all trees, in order."""
        self._access.tree(CATALOG).read(None, None)
        return [key.decode() for key, _ in self.catalog.scan()]

    def create_tree(self, name: str) -> Tree:
        """A new, empty tree. Raises TreeExists."""
        if self.catalog.get(name.encode()) is not None:
            raise TreeExists(f"the tree {name!r} is there already")
        tree = Tree(self.workspace, self.workspace.create(DirtyLeaf([], [])), 0, self._noting(name))
        tree.changed = True
        self.catalog.put(name.encode(), Entry(tree.root, 0).encode())
        self._access.tree(CATALOG).touched.add(name.encode())
        self._trees[name] = tree
        return tree

    def drop_tree(self, name: str) -> None:
        """Remove a tree. Raises TreeNotFound."""
        self.tree(name).clear()
        self._dropped[name] = self._trees.pop(name)
        self.workspace.drop(self._dropped[name].root)
        self.catalog.delete(name.encode())
        self._access.tree(CATALOG).touched.add(name.encode())

    def _noting(self, name: str) -> Callable[[], TreeAccess]:
        return lambda: self._access.tree(name)

    # --- durability ---

    def recorded(self, step_key: str) -> bytes | None:
        """The result that the journal has for a step."""
        return self.database.recorded(self.id, step_key)

    def save(self, step_key: str | None = None, result: bytes | None = None) -> None:
        """Make what was done durable, with the step's result, atomically; extends the lease.

        Raises TransactionEnded if it was committed or rolled back meanwhile, Conflict if it was continued elsewhere, Busy, DiskFull.
        """
        self.settle()
        self.durably(lambda writer: self.save_in(writer, step_key, result))

    def discard(self) -> None:
        """Forget what was changed since the last save: for a step that failed. What it read stays noted.

        A tree that was created since is gone, and what is written to its object goes nowhere.
        """
        self.spilled = []
        self._return_to(self._row)

    def commit(self, step_key: str | None = None, result: bytes | None = None) -> Version:
        """Save what is unsaved, and make the branch the new head; with a last journal entry, if wanted.

        Without any writes the transaction just ends. Committing again gives the version that it became.
        Raises Conflict if another transaction changed what this one wrote or read; TransactionEnded if it was rolled back.
        """
        if self._stored and self._row.state == "open":
            self._find_commit(step_key)
        if self._row.state != "committed":
            self.settle()
            if not (self._named or self._stored or self.has_writes or self._access.has_touched or step_key):
                self._row, self._version = self._row._replace(state="committed"), self.base_version
                return self.base_version
            commit = Commit(self)
            while self._row.state != "committed":
                try:
                    commit.prepare()
                    self.durably(lambda writer: commit.run(writer, step_key, result))
                    self._version = commit.version
                except HeadMoved:
                    continue
                except (
                    Conflict,
                    TransactionEnded,
                ):  # perhaps with a commit of this very transaction, by another object
                    if not self._find_commit(step_key):
                        raise
        if self._version is not None:
            return self._version
        return self.database.became(self._row)

    def _find_commit(self, step_key: str | None) -> bool:
        """Whether another object has committed this transaction; with what was written here, or its step.

        Raises TransactionEnded where it was committed without what was written here.
        """
        stored = self.database.transaction_row(self.id) if self.database.status(self.id).state != "unknown" else None
        if stored is None or stored.state != "committed":
            return False
        if self.has_unsaved and (step_key is None or self.recorded(step_key) is None):
            status = self.database.status(self.id)
            raise TransactionEnded(
                f"the transaction {self.id!r} was committed without what is unsaved here", status=status
            )
        self._row = stored
        return True

    def rollback(self) -> None:
        """End it, and drop what was written. Rolling back again, or after a commit, does nothing."""
        if self._row.state == "open":
            if self._stored:
                self.database.roll_back(self.id)
            self._return_to(self._row._replace(state="rolled_back"))

    def renew(self, lease_seconds: float | None = None) -> None:
        """Extend the lease by what it was begun with, or to `lease_seconds` from now on. Raises TransactionEnded."""
        with self.database.pager.write() as writer:
            row = self.open_row(writer)
            seconds = float(lease_seconds) if lease_seconds is not None else row.lease_seconds
            row = row._replace(lease_seconds=seconds, lease_until=self.database.clock() + seconds)
            self.put_row(writer, row)
        self._row, self._stored = row, True

    # --- savepoints (see savepoints.py) ---

    def savepoint(self, name: str) -> None:
        """Save, and mark the place under a name; the same name may be given again, further in."""
        self.settle()
        savepoints.mark(self, name)

    def rollback_to(self, name: str) -> None:
        """Go back to a savepoint, which stays; what was written since, and the steps recorded since, are forgotten.

        What was read since counts as read. Raises SavepointNotFound.
        """
        savepoints.go_back(self, name)

    def release(self, name: str) -> None:
        """Forget a savepoint, and those further in; what was written stays. Raises SavepointNotFound."""
        savepoints.release(self, name)

    def savepoints(self) -> list[str]:
        """The names of the open savepoints, from the outermost."""
        return savepoints.names(self)

    # --- for commits (see commit.py) ---

    def pages(self) -> int:
        """How many pages the branch has made."""
        return len(self.workspace.dirty) + sum(last - first + 1 for first, last in self.own)

    def changed_trees(self) -> dict[str, Tree]:
        """The trees with changes that are not saved."""
        return {name: tree for name, tree in self._trees.items() if tree.changed}

    def stage(self) -> None:
        """Let the catalog name the roots of changed trees as they are in the workspace."""
        with self.workspace.pause():
            for name, tree in self.changed_trees().items():
                self.catalog.put(name.encode(), Entry(tree.root, tree.length).encode())
            self.catalog.settle()

    def all_access(self) -> Access:
        """What was read and touched, in all saves and since."""
        rows = self.database.pager.read("SELECT * FROM access WHERE txn = ?", (self.id,)) if self._stored else []
        return all_access([AccessRow(*unsealed(row, "access")).reads for row in rows], self._access)

    def open_row(self, writer: Writer) -> TxnRow:
        """The transaction's row. Raises TransactionEnded; Conflict if another process went on with it, or its base is gone."""
        row = read_txn(writer, self.id) if self._stored else self._row
        if not self._stored and writer.newest().version().seq != self.base and not self.database.keeps(self.base):
            raise Conflict(
                f"version {self.base}, which the transaction {self.id!r} began from, is not kept any more", hint=HINT
            )
        if row is None or row.state != "open":
            raise TransactionEnded(
                f"the transaction {self.id!r} is {row.state if row else 'gone'}", status=self.database.status(self.id)
            )
        if (row.root, row.saves) != (self._row.root, self._row.saves):
            raise Conflict(f"the transaction {self.id!r} was continued elsewhere", hint="resume it and try again")
        return row

    def note_step(self, writer: Writer, row: TxnRow, step_key: str | None, result: bytes | None) -> None:
        """The journal entry of a step."""
        if step_key is not None:
            entry = JournalRow(self.id, step_key, row.saves, result if result is not None else b"null")
            writer.execute("INSERT INTO journal VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", sealed(entry))
            if not writer.changes():
                raise KeyExists(f"the step {step_key!r} is recorded already", hint="`recorded` gives its result")

    # --- writing ---

    def settle(self) -> None:
        """Make the collected changes in the pages. Raises TransactionEnded, StorageError."""
        if self._row.state != "open":
            raise TransactionEnded(
                f"the transaction {self.id!r} is {self._row.state}", status=self.database.status(self.id)
            )
        if self.workspace.broken:
            raise StorageError("a change could not be made", hint="discard it, or roll the transaction back")
        for tree in self._trees.values():
            tree.settle()

    def save_in(self, writer: Writer, step_key: str | None, result: bytes | None) -> tuple[TxnRow, Pages | None]:
        """Write down what is not saved yet."""
        row = self.open_row(writer)
        pages = None
        if self.has_unsaved:
            pages = Pages(writer, self.workspace)
            root, extent = pages.write(self.catalog, self.changed_trees())
            row = row._replace(root=root)
            for made in [*self.spilled, *([extent] if extent else [])]:
                put_extent(writer, made._replace(txn=self.id, save=row.saves + 1))
        row = self.saved(writer, row)
        self.note_step(writer, row, step_key, result)
        return row, pages

    def saved(self, writer: Writer, row: TxnRow) -> TxnRow:
        """The row after one more save, with what was read since the last one."""
        row = row._replace(saves=row.saves + 1, lease_until=self.database.clock() + row.lease_seconds)
        if self._access:
            writer.execute(
                "INSERT INTO access VALUES (?, ?, ?, ?)", sealed(AccessRow(self.id, row.saves, self._access.encode()))
            )
        self.put_row(writer, row)
        return row

    def put_row(self, writer: Writer, row: TxnRow) -> None:
        """Write the transaction's row. Raises TransactionEnded if one of this id was begun meanwhile that is not ours."""
        if self._stored:
            put_txn(writer, row)
        elif not self._named and row.state == "committed":
            return  # nobody will ask for it: its version's row says all there is
        elif not insert_txn(writer, row):
            status = self.database.status(self.id)
            raise TransactionEnded(f"a transaction {self.id!r} is {status.state} already", status=status)

    def _spill(self, nodes: Sequence[Draft]) -> list[int]:
        """Store pages early: in an extent that no save claims yet."""
        try:
            with self.database.pager.write() as writer:
                self.put_row(writer, self.open_row(writer))
                extent = store_early(writer, nodes, self.id)
        except UnknownOutcome as error:
            raise NotWritten(f"pages could not be stored: {error}", hint="roll back, and try again") from error
        self._stored = True
        self.spilled.append(extent)
        self.own.append((extent.first, extent.last))
        return list(range(extent.first, extent.last + 1))

    def durably(self, work: Work) -> None:
        """Run `work` in one write block; afterwards the branch stands on the row that it gives."""
        row, pages = self._row, None
        try:
            with self.workspace.pause(), self.database.pager.write() as writer:
                row, pages = work(writer)
        except UnknownOutcome as error:
            if not self._happened(row, error):
                raise NotWritten(f"nothing was written: {error}", hint="try again") from error
        self._stored = True
        if pages is not None:
            self.database.cache.keep(pages.decoded)
            if pages.extent is not None:
                self.own.append((pages.extent.first, pages.extent.last))
        self._access = Access()
        self.spilled = []
        self._return_to(row)

    def _happened(self, row: TxnRow, error: UnknownOutcome) -> bool:
        """After a COMMIT that raised: whether exactly this write is there. Raises the error again where that cannot be read either."""
        try:
            return self._is_there(row)
        except BTreeError:
            raise error from None

    def _is_there(self, row: TxnRow) -> bool:
        """Every save has its number."""
        if row.state == "committed" and row.version != row.base:
            return self.database.pager.read("SELECT txn FROM version WHERE seq = ?", (row.version,)) == [(self.id,)]
        found = self.database.pager.read("SELECT state, root, saves FROM txn WHERE id = ?", (self.id,))
        return found == [(row.state, row.root, row.saves)]

    def _return_to(self, row: TxnRow) -> None:
        """Stand on what is stored: nothing of it is changed."""
        self._row = row
        self.workspace.reset()
        self.catalog.forget(row.root, 0)
        if row.state != "open":
            self._trees.clear()
            self._dropped.clear()
            self.workspace.end()
            return
        for name, tree in [*self._trees.items(), *self._dropped.items()]:
            entry = entry_of(self.catalog, name)
            if entry is None:
                self._trees.pop(name, None)
                tree.forget(self.workspace.create(DirtyLeaf([], [])), 0)
            elif self._trees.setdefault(name, tree) is tree:
                tree.forget(entry.root, entry.length)
        self._dropped.clear()
