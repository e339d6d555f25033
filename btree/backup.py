"""Copies of a database's file, and rewriting it without free room."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from btree.errors import Corrupted, StorageError
from btree.version import Version

if TYPE_CHECKING:
    from btree.database import Database


def back_up(database: "Database", path: Path) -> Version:
    """Copy what is committed at this moment to a new file, while others go on writing; the copy is checked, and durable.

    Gives the version that is its head.
    Raises StorageError if the path is taken or cannot be written, Corrupted if the copy is not in order.
    """
    if path.exists():
        raise StorageError(f"{path.name} is there already", hint="choose another name for the backup")
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    try:
        database.pager.outside("VACUUM INTO ?", (str(partial),), turn=False)
        head = _checked(partial)
        _durable(partial, path)
    finally:
        for leftover in _files(partial):
            leftover.unlink(missing_ok=True)
    return head


def restore_backup(backup: Path, path: Path) -> Version:
    """Make a new database file of a backup. Transactions that were open in it are rolled back, and its pins are dropped.

    Raises StorageError if the path is taken, Corrupted or WrongFormat if the backup is no database in order.
    """
    from btree.database import Database

    if path.exists():
        raise StorageError(f"{path.name} is there already", hint="restore under another name")
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_bytes(b"")
        with backup.open("rb") as source, partial.open("wb") as target:
            while block := source.read(1 << 20):
                target.write(block)
        _checked(partial)
        with Database.open(partial) as copy:
            for transaction in copy.open_transactions():
                copy.roll_back(transaction.id)
            for pin in copy.pins():
                copy.unpin(pin.id)
            copy.pager.outside("PRAGMA wal_checkpoint(TRUNCATE)")
            head = copy.head()
        _durable(partial, path)
    finally:
        for leftover in _files(partial):
            leftover.unlink(missing_ok=True)
    return head


def compact(database: "Database") -> tuple[int, int]:
    """Rewrite the file without free room; gives its bytes before and after."""
    before = _bytes(database)
    database.pager.outside("VACUUM")
    database.pager.outside("PRAGMA wal_checkpoint(TRUNCATE)")
    return before, _bytes(database)


def _bytes(database: "Database") -> int:
    ((size,),), ((count,),) = database.pager.read("PRAGMA page_size"), database.pager.read("PRAGMA page_count")
    return int(size) * int(count)


def _checked(path: Path) -> Version:
    """The head of a file that is in order. Raises Corrupted."""
    from btree.database import Database

    with Database.open(path) as copy:
        report = copy.check()
        if not report.ok:
            hint = "check the database it is taken from"
            raise Corrupted(f"the copy is not in order: {report.problems[0]}", hint=hint)
        copy.pager.outside("PRAGMA wal_checkpoint(TRUNCATE)")
        return copy.head()


def _durable(partial: Path, path: Path) -> None:
    """Make the bytes and the name durable, in this order."""
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _files(path: Path) -> list[Path]:
    return [path.with_name(path.name + suffix) for suffix in ("", "-wal", "-shm", "-journal", "-turns")]
