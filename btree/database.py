"""A database: one SQLite file with copy-on-write B+trees, versions, snapshots and durable transactions.

    Database --- head ------> Version (seq, catalog root)      the newest committed state
        |------- snapshot --> Snapshot                         a version, to be read; never blocks, is never blocked
        '------- begin -----> Transaction                      a private branch off a version, durable from the start

A branch is (base version, private root, journal). Every save moves its root and writes the journal in one short
SQLite transaction; between saves nothing is locked, and any process can go on with it by its id. A commit appends a version:
when the head is still the base, the private root becomes the new head; when it has moved, the branch is merged, and only
where both changed (or read) the same, Conflict is raised, and whoever drives the transaction runs it again.

What old versions and ended branches do not share with anything kept is given back by `sweep` (see `space`).
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from secrets import token_hex
from typing import TypeVar

from btree.backup import back_up, compact
from btree.cache import PageCache
from btree.check import CheckReport, check_database
from btree.errors import (
    Conflict,
    DatabaseNotFound,
    NotWritten,
    TransactionEnded,
    TransactionNotFound,
    UnknownOutcome,
    VersionNotFound,
)
from btree.history import difference, restore
from btree.page import DirtyLeaf
from btree.pager import Pager, SqlitePager
from btree.records import (
    STATE,
    VERSION,
    ExtentRow,
    JournalRow,
    PinRow,
    TxnRow,
    VersionRow,
    sealed,
    unsealed,
    version_row,
)
from btree.save import append_version, put_txn, read_txn
from btree.snapshot import Snapshot
from btree.space import HISTORY_BYTES, RETENTION, Space, SpaceReport, SweepReport
from btree.transaction import Transaction
from btree.version import Pin, TransactionStatus, Version, version_of
from btree.workspace import BUDGET
from btree.writer import Timed

T = TypeVar("T")

LEASE = 3600.0
"""Seconds that a transaction or a pin is kept without a sign of life, where nothing else is asked for."""


class Database:
    """One database file. Objects may be shared by threads; any number of processes may have the file open."""

    def __init__(
        self,
        pager: Pager,
        *,
        cache_bytes: int = 32 << 20,
        workspace_bytes: int = BUDGET,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.pager = pager
        self._clock = clock
        self.workspace_bytes = workspace_bytes
        self.cache = PageCache(pager, cache_bytes)
        self.space = Space(self)
        if pager.newest().head is None:
            self._first_version()

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        create: bool = False,
        read_only: bool = False,
        cache_bytes: int = 32 << 20,
        clock: Callable[[], float] = time.time,
        timed: Timed | None = None,
    ) -> "Database":
        """Open a file; `timed` is told how long each write took.

        Raises DatabaseNotFound if there is none and `create` is not set, WrongFormat, Corrupted.
        """
        if not create and not path.exists():
            raise DatabaseNotFound(f"there is no database {path.stem!r}", hint="create it first")
        pager = SqlitePager(str(path), create=create, read_only=read_only, timed=timed)
        return cls(pager, cache_bytes=cache_bytes, clock=clock)

    def clock(self) -> float:
        """Seconds since 1970."""
        return float(self._clock())

    def close(self) -> None:
        """Close the connections of all threads."""
        self.pager.close()

    def __enter__(self) -> "Database":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- versions ---

    def head(self) -> Version:
        """The newest committed version. Raises Corrupted."""
        return version_of(self.pager.newest().version())

    def version(self, seq: int) -> Version:
        """A committed version that is kept. Raises VersionNotFound."""
        rows = self.pager.read(f"SELECT {VERSION} FROM version WHERE seq = ?", (seq,)) if 1 <= seq < STATE else []
        row = version_row(rows[0]) if rows else None
        if row is None or not row.root:
            head = self.head().seq
            gone = f"version {seq} is not kept any more" if 1 <= seq < head else f"there is no version {seq}"
            raise VersionNotFound(gone, hint=f"the newest is {head}; versions are kept while they are pinned or young")
        return version_of(row)

    def versions(self, limit: int = 50, *, before: int | None = None) -> list[Version]:
        """The newest versions that are kept (and are older than `before`), newest first."""
        sql = f"SELECT {VERSION} FROM version WHERE root > 0 AND seq < ? ORDER BY seq DESC LIMIT ?"
        rows = self.pager.read(sql, (min(before, STATE) if before is not None else STATE, limit))
        return [version_of(version_row(row)) for row in rows]

    def version_at(self, moment: float) -> Version:
        """The version that was the head at a moment (seconds since 1970). Raises VersionNotFound where it is not kept."""
        sql = "SELECT seq FROM version WHERE committed_at <= ? AND seq < ? ORDER BY seq DESC LIMIT 1"
        rows = self.pager.read(sql, (moment, STATE))
        if not rows:
            raise VersionNotFound("nothing is kept from that time", hint="`versions` shows what is kept")
        return self.version(rows[0][0])

    def snapshot(self, seq: int | None = None) -> Snapshot:
        """A version for reading, the head by default. Raises VersionNotFound."""
        found = self.head() if seq is None else self.version(seq)
        return Snapshot(self.cache, found.seq, found.root)

    def difference(
        self, old: int, new: int, tree: str, lower: bytes | None = None, upper: bytes | None = None
    ) -> Iterator[tuple[bytes, bytes | None, bytes | None]]:
        """What changed in a tree between two versions: (key, old value, new value), None where there is none, in key order."""
        return difference(self, self.version(old), self.version(new), tree, lower, upper)

    # --- pins ---

    def pin(self, seq: int | None = None, *, pin_id: str | None = None, lease_seconds: float = LEASE) -> Pin:
        """Keep a version (the head by default) readable until the lease ends; pinning again extends it.

        Raises VersionNotFound.
        """
        pin_id = pin_id or token_hex(16)
        try:
            return self._pin(seq, pin_id, float(lease_seconds))
        except UnknownOutcome:
            return self._pin(seq, pin_id, float(lease_seconds))

    def _pin(self, seq: int | None, pin_id: str, lease_seconds: float) -> Pin:
        with self.pager.write() as writer:
            version = self.version(seq) if seq is not None else version_of(writer.newest().version())
            row = PinRow(pin_id, version.seq, self.clock() + lease_seconds)
            known = writer.execute("SELECT version FROM pin WHERE id = ?", (row.id,))
            if known and seq is None:
                row = row._replace(version=known[0][0])
            writer.execute("INSERT OR REPLACE INTO pin VALUES (?, ?, ?, ?)", sealed(row))
        return Pin(*row)

    def unpin(self, pin_id: str) -> bool:
        """Let a pinned version go; False if it was not pinned."""
        with self.pager.write() as writer:
            return bool(writer.execute("DELETE FROM pin WHERE id = ? RETURNING id", (pin_id,)))

    def pins(self) -> list[Pin]:
        """The pins that there are."""
        return [Pin(*unsealed(row, "pin")) for row in self.pager.read("SELECT * FROM pin ORDER BY version, id")]

    # --- transactions ---

    def begin(
        self, txn_id: str, *, isolation: str = "serializable", lease_seconds: float = LEASE, durable: bool = True
    ) -> Transaction:
        """Begin a transaction; an open one of this id is taken up again.

        It is durable from the start, so that another process can go on with it; with `durable=False` from its first save, which
        is quicker for work that is done and committed at once.

        Raises TransactionEnded if that id was committed or rolled back before.
        """
        if isolation not in ("serializable", "snapshot"):
            raise ValueError(f"isolation is serializable or snapshot, not {isolation!r}")
        if self._transaction_row(txn_id) is None:
            head = self.head()
            row = self._new_row(txn_id, head, isolation, float(lease_seconds))
            if not durable:
                return Transaction(self, row, head, stored=False)
            self._insert(row)
        return self.resume(txn_id)

    def _new_row(self, txn_id: str, head: Version, isolation: str, lease: float) -> TxnRow:
        until = self.clock() + lease
        return TxnRow(txn_id, head.seq, head.root, "open", None, isolation, 0, lease, until, None)

    def _insert(self, row: TxnRow) -> None:
        try:
            with self.pager.write() as writer:
                if read_txn(writer, row.id) is None:
                    head = writer.newest().version()
                    put_txn(writer, row._replace(base=head.seq, root=head.root))
        except UnknownOutcome as error:
            if self._transaction_row(row.id) is None:
                raise NotWritten(f"nothing was written: {error}", hint="try again") from error

    def resume(self, txn_id: str) -> Transaction:
        """Go on with an open transaction, in whichever process. Raises TransactionNotFound, TransactionEnded."""
        row = self.transaction_row(txn_id)
        if row.state != "open":
            raise TransactionEnded(f"the transaction {txn_id!r} is {row.state}", status=self.status(txn_id))
        return Transaction(self, row, self.version(row.base), stored=True)

    def status(self, txn_id: str) -> TransactionStatus:
        """What became of a transaction."""
        row = self._transaction_row(txn_id)
        if row is None:
            return TransactionStatus(txn_id, "unknown")
        return TransactionStatus(txn_id, row.state, row.version, row.lease_until if row.state == "open" else None)

    def recorded(self, txn_id: str, step_key: str) -> bytes | None:
        """The result that a transaction's journal has for a step, also after its end."""
        rows = self.pager.read("SELECT * FROM journal WHERE txn = ? AND step = ?", (txn_id, step_key))
        return JournalRow(*unsealed(rows[0], "journal")).result if rows else None

    def open_transactions(self) -> list[TransactionStatus]:
        """The open transactions, by id."""
        rows = self.pager.read("SELECT * FROM txn WHERE state = 'open' ORDER BY id")
        found = [TxnRow(*unsealed(row, "txn")) for row in rows]
        return [TransactionStatus(row.id, row.state, row.version, row.lease_until) for row in found]

    def roll_back(self, txn_id: str) -> None:
        """Drop the branch of an open transaction; does nothing if it has ended."""
        try:
            with self.pager.write() as writer:
                row = read_txn(writer, txn_id)
                if row is not None and row.state == "open":
                    put_txn(writer, row._replace(state="rolled_back", ended_at=self.clock()))
        except UnknownOutcome:
            if self.status(txn_id).state == "open":
                raise
        self.space.free_branch(txn_id)

    def transact(self, work: Callable[[Transaction], T], *, attempts: int = 5, isolation: str = "serializable") -> T:
        """Run `work` in a transaction of its own and commit; a conflict runs it again. For short writes of one process.

        Raises Conflict after `attempts`, and whatever `work` raises (nothing is kept then).
        """
        for attempt in range(attempts):
            head = self.head()
            transaction = Transaction(
                self, self._new_row(token_hex(16), head, isolation, LEASE), head, stored=False, named=False
            )
            try:
                result = work(transaction)
                transaction.commit()
            except (Conflict, VersionNotFound):  # its base may have been given back: it was not pinned
                transaction.rollback()
                if attempt == attempts - 1:
                    raise
                time.sleep(0.001 * 2 ** min(attempt, 6))
            except BaseException:
                transaction.rollback()
                raise
            else:
                return result
        raise ValueError("attempts has to be at least 1")

    def restore(self, seq: int, tree: str) -> int:
        """Make a tree what it was in a version, as a new version; gives the number of keys that changed.

        Raises VersionNotFound, TreeNotFound, Conflict.
        """
        return self.transact(lambda transaction: restore(transaction, self.snapshot(seq), tree))

    # --- space and files ---

    def sweep(
        self, *, retention_seconds: float = RETENTION, history_bytes: int = HISTORY_BYTES, pause: float = 0.0
    ) -> SweepReport:
        """Roll back transactions and drop pins whose lease has expired, and give back what nothing kept needs; see `space`."""
        return self.space.sweep(retention_seconds, history_bytes, pause)

    def info(self) -> SpaceReport:
        """What the file holds: pages, versions, transactions, pins, bytes."""
        return self.space.report()

    def check(self) -> CheckReport:
        """Walk every page of everything that is kept, and account for every page of the file, as it is at this moment."""
        return check_database(self.pager)

    def back_up(self, path: Path) -> Version:
        """A consistent copy in a new file, while others go on writing; gives the version that it holds."""
        return back_up(self, path)

    def compact(self) -> tuple[int, int]:
        """Rewrite the file without free room; gives its bytes before and after. Writers wait meanwhile."""
        return compact(self)

    # --- for the other modules ---

    def transaction_row(self, txn_id: str) -> TxnRow:
        """The row of a transaction. Raises TransactionNotFound."""
        row = self._transaction_row(txn_id)
        if row is None:
            raise TransactionNotFound(f"there is no transaction {txn_id!r}")
        return row

    def keeps(self, seq: int) -> bool:
        """Whether a version is kept."""
        try:
            return self.version(seq).root > 0
        except VersionNotFound:
            return False

    def became(self, row: TxnRow) -> Version:
        """The version that a transaction was committed as, also when it is not kept any more."""
        assert row.version is not None
        try:
            return self.version(row.version)
        except VersionNotFound:
            return Version(row.version, row.root, row.ended_at or 0.0, row.id)

    def extents(self, txn_id: str) -> list[tuple[int, int]]:
        """The page ids that an open branch has made."""
        sql = "SELECT * FROM extent WHERE txn = ? AND version IS NULL ORDER BY first"
        found = [ExtentRow(*unsealed(row, "extent")) for row in self.pager.read(sql, (txn_id,))]
        return [(row.first, row.last) for row in found]

    def _transaction_row(self, txn_id: str) -> TxnRow | None:
        rows = self.pager.read("SELECT * FROM txn WHERE id = ?", (txn_id,))
        return TxnRow(*unsealed(rows[0], "txn")) if rows else None

    def _first_version(self) -> None:
        try:
            with self.pager.write() as writer:
                if writer.newest().head is None:
                    page = writer.allocate(1)
                    writer.store([(page, DirtyLeaf([], []).encode(page))])
                    append_version(writer, VersionRow(1, page, self.clock(), "", page, page), [])
        except UnknownOutcome:
            if self.pager.newest().head is None:
                raise
