"""The rows about pages: their tables, and the checksum that each of them carries.

    page(id, body)                                       immutable, ids never given out twice
    version(seq, root, committed_at, txn, first, last, dead)    versions; root 0: not kept any more, but `dead` is still of use
    extent(first, last, txn, save, version)              the page ids of one write; every page is in one, or in a version's row
    txn(id, base, root, state, version, isolation, saves, lease_seconds, lease_until, ended_at)     branches
    journal(txn, step, save, result)                     results of steps, in the commit that made their pages durable
    access(txn, save, reads)                             what a branch has read and touched (see access.py)
    savepoint(txn, level, name, root, saves)             places in a branch to go back to
    pin(id, version, lease_until)                        versions that somebody goes on reading

The last row of `version`, with the seq `STATE`, is the *state*: its root is the number of the newest version, its first the next page
id. `version.first` and `last` are the extent that its commit wrote, until a sweep puts it among the others. Both stand there so that a
commit writes to one place of the file: every page of SQLite that it touches is a page of log.

`version.dead` are the ids of pages that this version does not need, and the one before it or its own branch did (u64, little-endian).
`extent.save` numbers the saves of a branch; NULL is a write that no save claims (yet), so that its pages go at the end.

Pages have checksums of their own. A row here ends in the crc32 of the values before it: SQLite does not notice a flipped bit, and a
head that points to another root would be a database with other contents.
"""

from array import array
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from isal.isal_zlib import crc32

from btree.errors import Corrupted

FORMAT: Final = 2
APPLICATION_ID: Final = 0x534F5054

PAGE_TABLE: Final = "CREATE TABLE page (id INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;"
ROW_TABLES: Final = """
CREATE TABLE version (seq INTEGER PRIMARY KEY, root INTEGER NOT NULL, committed_at REAL NOT NULL, txn TEXT NOT NULL,
    first INTEGER NOT NULL, last INTEGER NOT NULL, dead_crc INTEGER NOT NULL, crc INTEGER NOT NULL, dead BLOB NOT NULL) STRICT;
CREATE TABLE extent (first INTEGER PRIMARY KEY, last INTEGER NOT NULL, txn TEXT NOT NULL, save INTEGER, version INTEGER,
    crc INTEGER NOT NULL) STRICT;
CREATE INDEX extent_of_branch ON extent (txn) WHERE version IS NULL;
CREATE TABLE txn (id TEXT PRIMARY KEY, base INTEGER NOT NULL, root INTEGER NOT NULL, state TEXT NOT NULL, version INTEGER,
    isolation TEXT NOT NULL, saves INTEGER NOT NULL, lease_seconds REAL NOT NULL, lease_until REAL NOT NULL,
    ended_at REAL, crc INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX txn_open ON txn (lease_until) WHERE state = 'open';
CREATE TABLE journal (txn TEXT NOT NULL, step TEXT NOT NULL, save INTEGER NOT NULL, result BLOB NOT NULL,
    crc INTEGER NOT NULL, PRIMARY KEY (txn, step)) STRICT, WITHOUT ROWID;
CREATE TABLE access (txn TEXT NOT NULL, save INTEGER NOT NULL, reads BLOB NOT NULL, crc INTEGER NOT NULL,
    PRIMARY KEY (txn, save)) STRICT, WITHOUT ROWID;
CREATE TABLE savepoint (txn TEXT NOT NULL, level INTEGER NOT NULL, name TEXT NOT NULL, root INTEGER NOT NULL,
    saves INTEGER NOT NULL, crc INTEGER NOT NULL, PRIMARY KEY (txn, level)) STRICT, WITHOUT ROWID;
CREATE TABLE pin (id TEXT PRIMARY KEY, version INTEGER NOT NULL, lease_until REAL NOT NULL, crc INTEGER NOT NULL)
    STRICT, WITHOUT ROWID;
"""


OLD_PAGE_TABLE: Final = "CREATE TABLE page (id INTEGER PRIMARY KEY, body BLOB NOT NULL)"
"""In files that were upgraded from format 1."""


Row = tuple[Any, ...]


def statements(script: str) -> list[str]:
    """The statements of a script, as SQLite keeps them."""
    return [statement.strip() for statement in script.split(";") if statement.strip()]


class VersionRow(NamedTuple):
    seq: int
    root: int
    committed_at: float
    txn: str
    first: int = 0
    last: int = 0
    dead_crc: int = 0


class ExtentRow(NamedTuple):
    first: int
    last: int
    txn: str
    save: int | None
    version: int | None


class TxnRow(NamedTuple):
    id: str
    base: int
    root: int
    state: str
    version: int | None
    isolation: str
    saves: int
    lease_seconds: float
    lease_until: float
    ended_at: float | None


class JournalRow(NamedTuple):
    txn: str
    step: str
    save: int
    result: bytes


class AccessRow(NamedTuple):
    txn: str
    save: int
    reads: bytes


class SavepointRow(NamedTuple):
    txn: str
    level: int
    name: str
    root: int
    saves: int


class PinRow(NamedTuple):
    id: str
    version: int
    lease_until: float


VERSION: Final = "seq, root, committed_at, txn, first, last, dead_crc, crc"
"""The columns of a version without the list of the dead, which may be long and has a checksum of its own."""
STATE: Final = 1 << 62
"""The seq of the row that is the state."""
NEWEST: Final = f"SELECT {VERSION} FROM version ORDER BY seq DESC LIMIT 2"
"""The rows for `newest`."""


class Newest(NamedTuple):
    """The newest version, None in a file that is being laid out, and the next page id."""

    head: VersionRow | None
    next_page: int

    def version(self) -> VersionRow:
        """The newest version. Raises Corrupted where there is none."""
        if self.head is None:
            raise Corrupted("the versions are missing", hint="restore the database from a backup")
        return self.head

    def state(self) -> VersionRow:
        """As it is stored."""
        return VersionRow(STATE, self.head.seq if self.head else 0, 0.0, "", self.next_page)


def newest(rows: Sequence[Sequence[Any]]) -> Newest:
    """From the last two rows. Raises Corrupted."""
    if not rows or rows[0][0] != STATE:
        raise Corrupted("the state of the database is missing", hint="restore the database from a backup")
    state = version_row(rows[0])
    head = version_row(rows[1]) if len(rows) > 1 else None
    if state.root != (head.seq if head else 0):
        raise Corrupted(f"the newest version {state.root} is missing", hint="restore the database from a backup")
    return Newest(head, state.first)


def version_row(row: Sequence[Any]) -> VersionRow:
    """The values of `VERSION`. Raises Corrupted."""
    return VersionRow(*unsealed(row, "version"))


def dead_pages(row: VersionRow, dead: bytes) -> "array[int]":
    """The ids of dead pages. Raises Corrupted."""
    if not isinstance(dead, bytes) or crc32(dead) != row.dead_crc or len(dead) % 8:
        raise Corrupted(
            f"the list of dead pages of version {row.seq} does not have the checksum it was written with",
            hint="restore the database from a backup",
            table="version",
        )
    return array("Q", dead)


def sealed(row: Sequence[Any]) -> tuple[Any, ...]:
    """A row with its checksum behind it, as it is stored."""
    values = tuple(row)
    return (*values, crc32(repr(values).encode()))


def unsealed(row: Sequence[Any], table: str) -> tuple[Any, ...]:
    """A stored row without its checksum. Raises Corrupted where it is not what was written."""
    values = tuple(row[:-1])
    if crc32(repr(values).encode()) != row[-1]:
        raise Corrupted(
            f"a row of {table} ({values[0]!r}) does not have the checksum it was written with",
            hint="restore the database from a backup",
            table=table,
        )
    return values
