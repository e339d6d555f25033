"""The simulated disk as an SQLite VFS over the default one, and a pager that keeps its file there.

A VFS lives for one trial. It has no shared memory, so WAL needs `locking_mode=EXCLUSIVE`, and one connection at a time.
Closing never fails: what is under test are the operations that move data.
"""
# ruff: noqa: N802  (SQLite names the methods)

import itertools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw

from btree import Database, SqlitePager
from tests.btree.faults.disk import Disk, Truncate, Write
from tests.btree.faults.driver import Ledger

_NAMES = itertools.count(1)
_DIRECTORY_SYNCED = apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_SUPER_JOURNAL | apsw.SQLITE_OPEN_WAL


class FaultyVFS(apsw.VFS):
    """Opens and deletes files of a `Disk`."""

    def __init__(self, disk: Disk) -> None:
        self.name = f"faulty-{next(_NAMES)}"
        self._disk = disk
        super().__init__(self.name, base="")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        self._disk.before("open")
        return FaultyFile(self._disk, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        self._disk.before("delete")
        super().xDelete(filename, syncdir)
        self._disk.deleted(filename, synced=syncdir)


class FaultyFile(apsw.VFSFile):
    """One open file. A temporary file without a name can fail, and is of no interest after a power loss."""

    def __init__(self, disk: Disk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__("", name, flags)
        self._disk = disk
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        self._inode = disk.opened(path) if path is not None else None
        self._new = bool(flags[0] & apsw.SQLITE_OPEN_CREATE and flags[0] & _DIRECTORY_SYNCED)

    def xRead(self, amount: int, offset: int) -> bytes:
        self._disk.before("read")
        return super().xRead(amount, offset)

    def xWrite(self, data: Any, offset: int) -> None:
        self._disk.before("write")
        super().xWrite(data, offset)
        if self._inode is not None:
            self._disk.changed(self._inode, Write(offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:
        self._disk.before("truncate")
        super().xTruncate(newsize)
        if self._inode is not None:
            self._disk.changed(self._inode, Truncate(newsize))

    def xSync(self, flags: int) -> None:
        """The files are in memory, so the real one need not be synced."""
        self._disk.before("sync")
        if self._inode is not None:
            directory, self._new = self._new, False
            self._disk.synced(self._inode, directory=directory)

    def xFileSize(self) -> int:
        self._disk.before("size")
        return super().xFileSize()


def close_quietly(connection: apsw.Connection) -> None:
    """Close it although the disk fails: apsw closes, and then tells what went wrong on the way."""
    try:
        connection.close()
    except apsw.Error:
        connection.close(True)


class FaultyPager(SqlitePager):
    """A pager whose file is on a simulated disk. Checkpoints come often, so that a short workload has some."""

    def __init__(self, path: str, vfs: str, *, create: bool, synchronous: str = "FULL") -> None:
        self._vfs = vfs
        self._synchronous = synchronous
        try:
            super().__init__(path, create=create)
        except BaseException:
            self.abandon()
            raise

    def abandon(self) -> None:
        """Close what is open, without a word: the disk may be gone."""
        for connection in self._connections:
            close_quietly(connection)
        self._connections.clear()

    def open_connection(self, create: bool) -> apsw.Connection:
        flags = apsw.SQLITE_OPEN_READWRITE | (apsw.SQLITE_OPEN_CREATE if create else 0)
        connection = apsw.Connection(self._path, flags=flags, vfs=self._vfs)
        try:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE; PRAGMA wal_autocheckpoint = 40; PRAGMA cache_size = 8")
            connection.execute(f"PRAGMA synchronous = {self._synchronous}; PRAGMA trusted_schema = OFF")
        except apsw.Error:
            close_quietly(connection)
            raise
        self._connections.append(connection)
        self._local.connection = connection
        return connection

    _connect = open_connection
    connect = open_connection


@contextmanager
def mounted(disk: Disk) -> Iterator[str]:
    """The name of a VFS for the disk, while the block runs.

    When a second operation fails while SQLite cleans up behind the first, its error has nowhere to go; apsw gives it to
    `sys.unraisablehook`. Those that were injected are dropped there.
    """
    vfs = FaultyVFS(disk)
    before = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if "injected" not in str(unraisable.exc_value):
            before(unraisable)

    sys.unraisablehook = hook
    try:
        yield vfs.name
    finally:
        sys.unraisablehook = before
        vfs.unregister()


def opener(path: Path, vfs: str, synchronous: str = "FULL") -> Callable[[Ledger], Database]:
    """What a driver opens its database with: a small cache, so that pages are read again."""

    def open_database(ledger: Ledger) -> Database:
        pager = FaultyPager(str(path), vfs, create=not ledger.opened, synchronous=synchronous)
        try:
            return Database(pager, cache_bytes=1 << 14, clock=ledger.clock)
        except BaseException:
            pager.abandon()
            raise

    return open_database


def abandon(database: Database | None) -> None:
    """Let go of a database whose disk is gone."""
    if database is not None:
        assert isinstance(database.pager, FaultyPager)
        database.pager.abandon()
