"""Where pages, versions and transactions are kept. The only storage idea is: pages by id, and rows about them.

A `Pager` is a small set of atomic operations. Two are here: SQLite (one file, any number of processes) and memory (tests).
All of an engine operation's writes go through one `write` block: it is one SQLite transaction, taken with
BEGIN IMMEDIATE, so that a reader of `head` never sees half of it.

    page(id, body)                                  immutable, ids never reused
    version(seq, root, committed_at, txn)           the committed versions; the highest seq is the head
    txn(id, base, root, state, version, isolation, lease_until)     branches: open, committed or rolled_back
    journal(txn, step, result)                      results of steps, in the commit that made their pages durable
    meta(name, value)                               format, next page id

Durability: WAL with synchronous=FULL. A COMMIT that raises has an unknown outcome (SQLite can fail behind the point of no
return, in the checkpoint): `UnknownOutcome` is raised, and the caller looks the fact up.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

import apsw

from btree.errors import BTreeError, Busy, Corrupted, DiskFull, StorageError, WrongFormat

FORMAT: Final = 1
APPLICATION_ID: Final = 0x534F5054
BUSY_MILLISECONDS: Final = 20_000

Row = tuple[Any, ...]

_SCHEMA: Final = """
CREATE TABLE page (id INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE version (seq INTEGER PRIMARY KEY, root INTEGER NOT NULL, committed_at REAL NOT NULL, txn TEXT NOT NULL);
CREATE TABLE txn (id TEXT PRIMARY KEY, base INTEGER NOT NULL, root INTEGER NOT NULL, state TEXT NOT NULL,
    version INTEGER, isolation TEXT NOT NULL, lease_until REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX txn_open ON txn (lease_until) WHERE state = 'open';
CREATE TABLE journal (txn TEXT NOT NULL, step TEXT NOT NULL, result BLOB, PRIMARY KEY (txn, step)) WITHOUT ROWID;
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
INSERT INTO meta VALUES ('next_page', 1);
"""


class UnknownOutcome(BTreeError):
    """COMMIT raised: it may have happened. Internal: the engine looks it up before anyone hears of it."""

    code = "unknown_outcome"


class Writer(Protocol):
    """The inside of a write block."""

    def execute(self, sql: str, bindings: Sequence[Any] = ()) -> list[Row]: ...

    def allocate(self, count: int) -> int:
        """The first of `count` new page ids."""
        ...

    def store(self, pages: Sequence[tuple[int, bytes]]) -> None: ...


class Pager(Protocol):
    """Storage for one database."""

    def read(self, sql: str, bindings: Sequence[Any] = ()) -> list[Row]: ...

    def page(self, page: int) -> bytes: ...

    def write(self) -> AbstractContextManager[Writer]: ...

    def close(self) -> None: ...


class SqlitePager:
    """A database file through apsw, with a connection for each thread."""

    def __init__(self, path: str, *, create: bool) -> None:
        self._path = path
        self._local = threading.local()
        self._connections: list[apsw.Connection] = []
        self._lock = threading.Lock()
        self._closed = False
        with _translated():
            self._prepare(self._connection(create=create))

    def read(self, sql: str, bindings: Sequence[Any] = ()) -> list[Row]:
        with _translated():
            return list(self._connection().execute(sql, bindings))

    def page(self, page: int) -> bytes:
        with _translated():
            for (body,) in self._connection().execute("SELECT body FROM page WHERE id = ?", (page,)):
                return bytes(body)
        raise Corrupted(f"page {page} is missing", hint="restore the database from a backup", page=page)

    @contextmanager
    def write(self) -> Iterator[Writer]:
        """One durable SQLite transaction; rolled back when the block raises.

        Raises Busy, DiskFull, StorageError, and UnknownOutcome when the COMMIT itself raised.
        """
        connection = self._connection()
        with _translated():
            connection.execute("BEGIN IMMEDIATE")
        try:
            with _translated():
                yield _SqliteWriter(connection)
        except BaseException:
            self._abandon(connection)
            raise
        try:
            self.commit(connection)
        except apsw.Error as error:
            self._abandon(connection)
            raise UnknownOutcome(f"the commit reported: {error}") from error

    def commit(self, connection: apsw.Connection) -> None:
        """The one COMMIT; tests make it fail."""
        connection.execute("COMMIT")

    def close(self) -> None:
        with self._lock:
            self._closed = True
            for connection in self._connections:
                connection.close()
            self._connections.clear()

    def _abandon(self, connection: apsw.Connection) -> None:
        if connection.in_transaction:
            try:
                connection.execute("ROLLBACK")
            except apsw.Error:
                connection.interrupt()

    def _connection(self, *, create: bool = False) -> apsw.Connection:
        connection: apsw.Connection | None = getattr(self._local, "connection", None)
        if connection is None or self._closed:
            connection = self._connect(create)
        return connection

    def _connect(self, create: bool) -> apsw.Connection:
        if self._closed:
            raise StorageError("the database is closed", hint="open it again")
        flags = apsw.SQLITE_OPEN_READWRITE | (apsw.SQLITE_OPEN_CREATE if create else 0)
        connection = apsw.Connection(self._path, flags=flags)
        connection.set_busy_timeout(BUSY_MILLISECONDS)
        connection.execute("PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF; PRAGMA cache_size = -8192")
        with self._lock:
            self._connections.append(connection)
        self._local.connection = connection
        return connection

    def _prepare(self, connection: apsw.Connection) -> None:
        """Lay out a new file, or check that this one is ours."""
        if not connection.pragma("schema_version"):
            connection.execute("PRAGMA page_size = 8192; PRAGMA journal_mode = WAL")
            connection.execute("BEGIN IMMEDIATE")
            if not connection.pragma("schema_version"):
                connection.execute(_SCHEMA)
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {FORMAT}")
            connection.execute("COMMIT")
        found = connection.pragma("application_id"), connection.pragma("user_version")
        if found != (APPLICATION_ID, FORMAT):
            raise WrongFormat(
                f"{Path(self._path).name} is no database of format {FORMAT} (found {found})",
                hint="open it with the release that wrote it",
            )


class MemoryPager(SqlitePager):
    """Pages in memory, for one process and tests: an in-memory database that the threads of this process share."""

    def __init__(self, name: str) -> None:
        self._anchor = apsw.Connection(
            f"file:/{name}?vfs=memdb", flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_URI
        )
        super().__init__(f"file:/{name}?vfs=memdb", create=True)

    def _connect(self, create: bool) -> apsw.Connection:
        flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_URI
        connection = apsw.Connection(self._path, flags=flags)
        connection.set_busy_timeout(BUSY_MILLISECONDS)
        self._connections.append(connection)
        self._local.connection = connection
        return connection

    def close(self) -> None:
        super().close()
        self._anchor.close()


class _SqliteWriter:
    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, bindings: Sequence[Any] = ()) -> list[Row]:
        return list(self._connection.execute(sql, bindings))

    def allocate(self, count: int) -> int:
        ((first,),) = self.execute(
            "UPDATE meta SET value = value + ? WHERE name = 'next_page' RETURNING value - ?", (count, count)
        )
        return int(first)

    def store(self, pages: Sequence[tuple[int, bytes]]) -> None:
        self._connection.executemany("INSERT INTO page VALUES (?, ?)", pages)


@contextmanager
def _translated() -> Iterator[None]:
    """SQLite's errors as ours."""
    try:
        yield
    except apsw.BusyError as error:
        raise Busy("another process holds the database's write lock", hint="try again") from error
    except apsw.FullError as error:
        raise DiskFull("the disk is full", hint="make room, then try again") from error
    except (apsw.CorruptError, apsw.NotADBError) as error:
        raise Corrupted(f"SQLite cannot read the file: {error}", hint="restore the database from a backup") from error
    except apsw.Error as error:
        raise StorageError(f"SQLite reports: {error}", hint="look at the disk and the file's permissions") from error
