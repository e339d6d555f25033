"""A database: one SQLite file with copy-on-write B+trees, versions, snapshots and durable transactions.

    Database --- head ------> Version (seq, catalog root)      the newest committed state
        |------- snapshot --> Snapshot                         a version, to be read; never blocks, is never blocked
        '------- begin -----> Transaction                      a private branch off a version, durable from the start

A branch is (base version, private root, journal). Every save moves its root and writes the journal in one short
SQLite transaction; between saves nothing is locked, and any process can go on with it by its id. A commit appends a version:
when the head is still the base, the private root becomes the new head; when it has moved, Conflict is raised, and whoever drives
the transaction runs it again. (Merging such commits in flight is the engine's next step; nothing in the layout changes for it.)

Kept so far: every page ever committed, so that any old version stays readable. Pages of branches that were rolled
back stay in the file too, until there is a compaction.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

from btree.cache import PageCache
from btree.check import CheckReport, check_database
from btree.errors import Conflict, DatabaseNotFound, TransactionEnded, TransactionNotFound, VersionNotFound
from btree.page import Leaf, Node, decode
from btree.pager import Pager, SqlitePager, UnknownOutcome
from btree.snapshot import Snapshot
from btree.transaction import Transaction
from btree.version import TransactionStatus, Version

T = TypeVar("T")


class Database:
    """One database file. Objects may be shared by threads; any number of processes may have the file open."""

    def __init__(self, pager: Pager, *, cache_bytes: int = 32 << 20, clock: Callable[[], float] = time.time) -> None:
        self.pager = pager
        self.clock = clock
        self._cache = PageCache(cache_bytes)
        if not pager.read("SELECT 1 FROM version LIMIT 1"):
            self._first_version()

    @classmethod
    def open(
        cls, path: Path, *, create: bool = False, cache_bytes: int = 32 << 20, clock: Callable[[], float] = time.time
    ) -> "Database":
        """Open a file. Raises DatabaseNotFound if there is none and `create` is not set, WrongFormat, Corrupted."""
        if not create and not path.exists():
            raise DatabaseNotFound(f"there is no database {path.stem!r}", hint="create it first")
        return cls(SqlitePager(str(path), create=create), cache_bytes=cache_bytes, clock=clock)

    def close(self) -> None:
        """Close the connections of all threads."""
        self.pager.close()

    def __enter__(self) -> "Database":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- versions ---

    def head(self) -> Version:
        """The newest committed version."""
        return Version(*self.pager.read("SELECT seq, root, committed_at FROM version ORDER BY seq DESC LIMIT 1")[0])

    def versions(self, limit: int = 50) -> list[Version]:
        """The newest versions, newest first."""
        rows = self.pager.read("SELECT seq, root, committed_at FROM version ORDER BY seq DESC LIMIT ?", (limit,))
        return [Version(*row) for row in rows]

    def snapshot(self, seq: int | None = None) -> Snapshot:
        """A version for reading, the head by default. Raises VersionNotFound."""
        if seq is None:
            head = self.head()
            return Snapshot(self.load, head.seq, head.root)
        rows = self.pager.read("SELECT root FROM version WHERE seq = ?", (seq,))
        if not rows:
            raise VersionNotFound(f"there is no version {seq}", hint=f"the newest is {self.head().seq}")
        return Snapshot(self.load, seq, rows[0][0])

    def load(self, page: int) -> Node:
        """A page, decoded. Raises Corrupted."""
        node = self._cache.get(page)
        if node is None:
            node = decode(page, self.pager.page(page))
            self._cache.put(page, node)
        return node

    def keep(self, page: int, node: Node) -> None:
        """Put a page that was just written into the cache."""
        self._cache.put(page, node)

    # --- transactions ---

    def begin(self, txn_id: str, *, isolation: str = "serializable", lease_seconds: float = 3600) -> Transaction:
        """Begin a transaction, durably; an open one of this id is taken up again.

        Raises TransactionEnded if that id was committed or rolled back before.
        """
        if isolation not in ("serializable", "snapshot"):
            raise ValueError(f"isolation is serializable or snapshot, not {isolation!r}")
        known = self.pager.read("SELECT base, root, state, isolation FROM txn WHERE id = ?", (txn_id,))
        if not known:
            with self.pager.write() as writer:
                writer.execute(
                    "INSERT INTO txn SELECT ?1, seq, root, 'open', NULL, ?2, ?3 FROM version ORDER BY seq DESC LIMIT 1"
                    " ON CONFLICT (id) DO NOTHING",
                    (txn_id, isolation, self.clock() + lease_seconds),
                )
        return self.resume(txn_id)

    def resume(self, txn_id: str) -> Transaction:
        """Go on with an open transaction, in whichever process. Raises TransactionNotFound, TransactionEnded."""
        rows = self.pager.read("SELECT base, root, state, isolation FROM txn WHERE id = ?", (txn_id,))
        if not rows:
            raise TransactionNotFound(f"there is no transaction {txn_id!r}")
        base, root, state, isolation = rows[0]
        if state != "open":
            raise TransactionEnded(f"the transaction {txn_id!r} is {state}", status=self.status(txn_id))
        return Transaction(self, txn_id, base, root, isolation)

    def status(self, txn_id: str) -> TransactionStatus:
        """What became of a transaction."""
        rows = self.pager.read("SELECT state, version FROM txn WHERE id = ?", (txn_id,))
        return TransactionStatus(txn_id, *rows[0]) if rows else TransactionStatus(txn_id, "unknown")

    def recorded(self, txn_id: str, step_key: str) -> bytes | None:
        """The result that a transaction's journal has for a step, also after its end."""
        rows = self.pager.read("SELECT result FROM journal WHERE txn = ? AND step = ?", (txn_id, step_key))
        return bytes(rows[0][0]) if rows else None

    def open_transactions(self) -> list[TransactionStatus]:
        """The open transactions."""
        return [
            TransactionStatus(*row)
            for row in self.pager.read("SELECT id, state FROM txn WHERE state = 'open' ORDER BY id")
        ]

    def sweep(self) -> int:
        """Roll back the open transactions whose lease has expired; gives their number."""
        with self.pager.write() as writer:
            expired = writer.execute(
                "UPDATE txn SET state = 'rolled_back' WHERE state = 'open' AND lease_until < ? RETURNING id",
                (self.clock(),),
            )
        return len(expired)

    def transact(self, work: Callable[[Transaction], T], *, attempts: int = 5) -> T:
        """Run `work` in a transaction of its own and commit; a conflict runs it again. For short writes of one process.

        Raises Conflict after `attempts`, and whatever `work` raises (nothing is kept then).
        """
        for attempt in range(attempts):
            transaction = self.begin(uuid4().hex)
            try:
                result = work(transaction)
                transaction.commit()
            except Conflict:
                transaction.rollback()
                if attempt == attempts - 1:
                    raise
                time.sleep(0.005 * 2**attempt)
            except BaseException:
                transaction.rollback()
                raise
            else:
                return result
        raise ValueError("attempts has to be at least 1")

    def check(self) -> CheckReport:
        """Walk every page of the head and of the open branches."""
        return check_database(self)

    def _first_version(self) -> None:
        try:
            with self.pager.write() as writer:
                if not writer.execute("SELECT 1 FROM version LIMIT 1"):
                    page = writer.allocate(1)
                    writer.store([(page, Leaf.of([], []).encode())])
                    writer.execute("INSERT INTO version VALUES (1, ?, ?, '')", (page, self.clock()))
        except UnknownOutcome:
            if not self.pager.read("SELECT 1 FROM version LIMIT 1"):
                raise
