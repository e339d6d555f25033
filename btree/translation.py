"""SQLite's errors as ours."""

from collections.abc import Iterator
from contextlib import contextmanager

import apsw

from btree.errors import BTreeError, Busy, Closed, Corrupted, DiskFull, ReadOnly, StorageError


@contextmanager
def translated() -> Iterator[None]:
    """SQLite's errors as ours."""
    try:
        yield
    except (apsw.Error, UnicodeDecodeError) as error:
        raise translate(error) from error


def translate(error: apsw.Error | UnicodeDecodeError) -> BTreeError:
    """One error of SQLite as one of ours."""
    if isinstance(error, apsw.BusyError | apsw.LockedError):
        return Busy("another process holds the database's write lock", hint="try again")
    if isinstance(error, apsw.FullError):
        return DiskFull("the disk is full", hint="make room, then try again")
    if isinstance(error, apsw.ReadOnlyError):
        return ReadOnly("the database cannot be written here", hint="open it for writing, and look at its permissions")
    if isinstance(error, apsw.ConnectionClosedError):
        return Closed("the database is closed", hint="open it again")
    if isinstance(
        error, apsw.CorruptError | apsw.NotADBError | apsw.SQLError | apsw.ConstraintError | UnicodeDecodeError
    ):
        return Corrupted(f"SQLite cannot read the file: {error}", hint="restore the database from a backup")
    return StorageError(f"SQLite reports: {error}", hint="look at the disk and the file's permissions")
