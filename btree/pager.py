"""Where pages, and the rows about them (records.py), are kept. The only storage idea is: pages by id, and rows.

All of an engine operation's writes go through one `write` block: it is one SQLite transaction, taken with BEGIN IMMEDIATE, so
that nobody ever sees half of it. Readers take no lock and wait for nobody; writers wait for each other only inside of these
short blocks, and take turns (turns.py).

Durability: WAL with synchronous=FULL. A COMMIT that raises has an unknown outcome (SQLite can fail behind the point of no
return, in the checkpoint): `UnknownOutcome` is raised, and the caller looks the fact up.
"""

import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Final, Protocol

import apsw

from btree.checkpoints import Checkpoints
from btree.errors import Closed, Corrupted, ReadOnly, WrongFormat
from btree.page import SQLITE_PAGE
from btree.records import (
    APPLICATION_ID,
    FORMAT,
    NEWEST,
    OLD_PAGE_TABLE,
    PAGE_TABLE,
    ROW_TABLES,
    Newest,
    Row,
    newest,
    sealed,
    statements,
)
from btree.translation import translate, translated
from btree.turns import Turns
from btree.upgrade import upgrade
from btree.writer import SqliteWriter, Timed, WriteBlock, Writer

BUSY_SECONDS: Final = 20.0
_WAITS: Final = (0.0001, 0.0002, 0.0003, 0.0005, 0.001, 0.002)
_AT_ONCE: Final = 64
_CACHE: Final = 512
"""KiB of its pages that SQLite keeps for a connection: those on the way to a row. Rows are kept decoded (cache.py), and a scan is the
quicker the less memory it goes through."""
_DIRTY: Final = 512
"""So many pages of SQLite may wait for a COMMIT before the first of them go to the log."""


class Pager(Protocol):
    """Storage for one database."""

    def read(self, sql: str, bindings: Sequence[Any] = ()) -> list[Row]: ...

    def newest(self) -> Newest:
        """The newest version. Raises Corrupted."""
        ...

    def page(self, page: int) -> bytes: ...

    def pages(self, pages: Sequence[int]) -> list[bytes]:
        """Several pages, in the order asked for."""
        ...

    def write(self) -> AbstractContextManager[Writer]: ...

    def frozen(self) -> AbstractContextManager[None]:
        """While in it, this thread's reads see one moment."""
        ...

    def outside(self, sql: str, bindings: Sequence[Any] = (), *, turn: bool = True) -> None:
        """Run a statement that cannot be in a transaction (VACUUM, a checkpoint); without `turn`, while others write."""
        ...

    def close(self) -> None: ...


class SqlitePager:
    """A database file through apsw, with a connection for each thread."""

    def __init__(self, path: str, *, create: bool = False, read_only: bool = False, timed: Timed | None = None) -> None:
        self._path = path
        self.timed = timed
        self._read_only = read_only
        self._local = threading.local()
        self._connections: list[apsw.Connection] = []
        self._lock = threading.Lock()
        self._closed = False
        self.known: tuple[list[Row], Newest] | None = None
        """The rows of `NEWEST` as they were last, and what they say."""
        self._turns = self.turns()
        with translated():
            self._prepare(self._connection(create=create), create)

    def read(self, sql: str, bindings: Sequence[Any] = ()) -> list[Row]:
        try:
            connection = self._connection()
            return connection.execute(sql, bindings).fetchall()
        except (apsw.Error, UnicodeDecodeError) as error:
            raise translate(error) from error

    def newest(self) -> Newest:
        return self._parsed(self.read(NEWEST))

    def _parsed(self, rows: list[Row]) -> Newest:
        """What the rows say; the same rows are looked at once."""
        found = self.known
        if found is None or found[0] != rows:
            found = self.known = rows, newest(rows)
        return found[1]

    def page(self, page: int) -> bytes:
        try:
            for (body,) in self._connection().execute("SELECT body FROM page WHERE id = ?", (page,)):
                return body  # type: ignore[no-any-return]
        except (apsw.Error, UnicodeDecodeError) as error:
            raise translate(error) from error
        raise Corrupted(f"page {page} is missing", hint="restore the database from a backup", page=page)

    def pages(self, pages: Sequence[int]) -> list[bytes]:
        found: list[bytes] = []
        for start in range(0, len(pages), _AT_ONCE):
            part = list(pages[start : start + _AT_ONCE])
            if part == list(range(part[0], part[0] + len(part))):
                rows = self.read("SELECT body FROM page WHERE id BETWEEN ? AND ?", (part[0], part[-1]))
                bodies = [body for (body,) in rows]
            else:
                order, places = sorted(part), ",".join("?" * len(part))
                rows = self.read(f"SELECT body FROM page WHERE id IN ({places}) ORDER BY id", order)
                bodies = [body for (body,) in rows]
                if order != part and len(bodies) == len(part):
                    by_id = dict(zip(order, bodies, strict=True))
                    bodies = [by_id[page] for page in part]
            if len(bodies) < len(part):
                bodies = [self.page(page) for page in part]  # raises for the one that is missing
            found += bodies
        return found

    def write(self) -> AbstractContextManager[Writer]:
        """One durable SQLite transaction; rolled back when the block raises.

        Raises Busy, DiskFull, ReadOnly, StorageError, and UnknownOutcome when the COMMIT itself raised: whoever can look up
        whether it happened does so, and for whoever can do it again it is a StorageError like another.
        """
        return WriteBlock(self, self._turns)

    def begin(self) -> "SqliteWriter":
        """Take SQLite's write lock. What an interrupt has left open on this connection is taken back first."""
        connection = self._connection()
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        connection.execute("BEGIN IMMEDIATE")
        try:
            return SqliteWriter(connection, self._parsed(connection.execute(NEWEST).fetchall()))
        except BaseException:
            self.take_back(connection)
            raise

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """One read transaction: reads of this thread see the file as it is now."""
        with translated():
            connection = self._connection()
            connection.execute("BEGIN")
        try:
            yield
        finally:
            self.take_back(connection)

    def commit(self, connection: apsw.Connection) -> None:
        """The one COMMIT; tests make it fail."""
        connection.execute("COMMIT")

    def outside(self, sql: str, bindings: Sequence[Any] = (), *, turn: bool = True) -> None:
        with self._turns.turn() if turn else nullcontext(), translated():
            self._connection().execute(sql, bindings).fetchall()

    def close(self) -> None:
        failed: apsw.Error | None = None
        with self._lock:
            self._closed = True
            while self._connections:
                connection = self._connections.pop()
                try:
                    connection.close()
                except apsw.Error as error:
                    connection.close(
                        True
                    )  # what it could not copy from the log into the file is copied at the next opening
                    failed = error
        self._turns.close()
        if failed is not None:
            raise translate(failed) from failed

    def turns(self) -> Turns:
        """Where writers take turns."""
        return Turns(self._path + "-turns")

    def take_back(self, connection: apsw.Connection) -> None:
        """Take back what a connection has not committed."""
        if connection.in_transaction:
            try:
                connection.execute("ROLLBACK")
            except apsw.Error:  # it would stay in the transaction: the thread gets a new one
                self._forget(connection)

    def _forget(self, connection: apsw.Connection) -> None:
        with self._lock:
            self._connections = [other for other in self._connections if other is not connection]
        if getattr(self._local, "connection", None) is connection:
            self._local.connection = None
        connection.close(True)

    def _connection(self, *, create: bool = False) -> apsw.Connection:
        connection: apsw.Connection | None = getattr(self._local, "connection", None)
        if connection is None or self._closed:
            if self._closed:
                raise Closed("the database is closed", hint="open it again")
            connection = self.connect(create)
        return connection

    def connect(self, create: bool) -> apsw.Connection:
        """A new connection for this thread; tests open it through a file system that fails."""
        flags = apsw.SQLITE_OPEN_READWRITE | (apsw.SQLITE_OPEN_CREATE if create else 0)
        if self._read_only:
            flags = apsw.SQLITE_OPEN_READONLY
        connection = apsw.Connection(self._path, flags=flags, statementcachesize=200)
        self.set_up(connection)
        return connection

    def set_up(self, connection: apsw.Connection) -> None:
        """Make a new connection this thread's."""
        connection.set_busy_handler(_wait)
        connection.set_wal_hook(Checkpoints())
        connection.execute("PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF")
        connection.execute(f"PRAGMA cache_size = -{_CACHE}; PRAGMA cache_spill = {_DIRTY}")
        with self._lock:
            self._connections.append(connection)
        self._local.connection = connection

    def _prepare(self, connection: apsw.Connection, create: bool) -> None:
        """Lay out a new file, bring an old one to this format, or check that this one is ours."""
        if create and not connection.pragma("schema_version"):
            connection.execute(f"PRAGMA page_size = {SQLITE_PAGE}; PRAGMA journal_mode = WAL")
            connection.execute("BEGIN IMMEDIATE")
            if not connection.pragma("schema_version"):
                connection.execute(PAGE_TABLE + ROW_TABLES)
                state = (*sealed(Newest(None, 1).state()), b"")
                connection.execute("INSERT INTO version VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", state)
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {FORMAT}")
            connection.execute("COMMIT")
        if not self._read_only:
            connection.execute("PRAGMA journal_mode = WAL")
        application, version = connection.pragma("application_id"), connection.pragma("user_version")
        if application != APPLICATION_ID or not 1 <= version <= FORMAT:
            found = f"format {version}" if application == APPLICATION_ID else "not a database of ours"
            raise WrongFormat(
                f"{Path(self._path).name} cannot be opened: {found}, and this release reads formats 1 to {FORMAT}",
                hint="open it with the release that wrote it",
            )
        if version == FORMAT:
            self._check_schema(connection)
        else:
            if self._read_only:
                raise ReadOnly(
                    "a file of an older format has to be opened for writing once", hint="open it for writing"
                )
            upgrade(connection)

    def _check_schema(self, connection: apsw.Connection) -> None:
        """The texts of the tables are in the file too, and a flipped bit there is another table."""
        expected = {*statements(PAGE_TABLE + ROW_TABLES)}
        found = {sql for (sql,) in connection.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")}
        if found not in (expected, {*expected - {*statements(PAGE_TABLE)}, OLD_PAGE_TABLE}):
            raise Corrupted("the file's tables are not as they were made", hint="restore the database from a backup")


class MemoryPager(SqlitePager):
    """Pages in memory, for one process and tests: an in-memory database that the threads of this process share."""

    def __init__(self, name: str) -> None:
        self._anchor = apsw.Connection(
            f"file:/{name}?vfs=memdb", flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_URI
        )
        self._folder = tempfile.TemporaryDirectory()
        super().__init__(f"file:/{name}?vfs=memdb", create=True)

    def turns(self) -> Turns:
        return Turns(f"{self._folder.name}/turns")

    def connect(self, create: bool) -> apsw.Connection:
        flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_URI
        connection = apsw.Connection(self._path, flags=flags)
        self.set_up(connection)
        return connection

    def close(self) -> None:
        super().close()
        self._anchor.close()
        self._folder.cleanup()


def _wait(attempt: int) -> bool:
    """SQLite's busy handler: ask again soon, for `BUSY_SECONDS` in all."""
    if attempt < len(_WAITS):
        time.sleep(_WAITS[attempt])
        return True
    time.sleep(_WAITS[-1])
    return attempt * _WAITS[-1] < BUSY_SECONDS
