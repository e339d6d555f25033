"""The data directory: one database file for each name, and beside them the results of queries (`results`).

Names are checked before they become paths. The `system` database is ours (scripts, keys, the outbox of steps without a
transaction); scripts cannot name it.
"""

import os
import re
import shutil
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_bytes
from tempfile import TemporaryDirectory
from typing import Final

from btree import (
    BTreeError,
    CheckReport,
    Corrupted,
    Database,
    SweepReport,
    Timed,
    Version,
    restore_backup,
)
from query.errors import InvalidName, UnknownDatabase, did_you_mean
from query.files import make_durable
from query.results import Results
from query.seals import Seals
from query.stores.builds import check_indexes
from query.stores.catalog import View, list_stores

SYSTEM: Final = "system"
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")
_SQLITE: Final = b"SQLite format 3\0"
_HEADER: Final = struct.Struct(">16xH10xI")
"""SQLite's file format, section 1.3: the page size (1 is 65536) and the number of pages."""
_ASIDE: Final = ".aside-"
_RESULTS: Final = ".results"
_LEFT: Final = 86_400.0
"""Seconds after which nobody can still be writing in a folder where nothing was written."""
_UNREADABLE: Final = (ValueError, LookupError, TypeError, ArithmeticError, AssertionError, struct.error)
"""What reading rows may raise in a file that was damaged in a way that nothing notices before."""


class DatabaseExists(InvalidName):
    code = "database_exists"


def check_name(name: str, kind: str) -> str:
    """The name itself. Raises InvalidName: names are lower case, begin with a letter, and have at most 63 characters."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        hint = "lower-case letters, digits and _, beginning with a letter, at most 63"
        raise InvalidName(f"{name!r} is no name for a {kind}", hint=hint)
    return name


class Databases:
    """The databases of a data directory, opened once each and shared by all threads. `timed` is told how long their writes took.

    `secret` is what row references are sealed with, the same in all processes over a data directory; without it nobody else follows the
    references that are made here.
    """

    def __init__(self, root: Path, *, timed: Timed | None = None, secret: bytes | None = None) -> None:
        self._root = root
        self._timed = timed
        self._open: dict[str, Database] = {}
        self._lock = threading.Lock()
        self.results = Results(root / _RESULTS)
        self.seals = Seals(secret or token_bytes(32))
        root.mkdir(parents=True, exist_ok=True)

    def open(self, name: str) -> Database:
        """A database that exists. Raises UnknownDatabase (with the nearest name), InvalidName."""
        found = self._open.get(name)
        if found is not None:
            return found
        self._check_there(name)
        return self.ensure(name)

    def ensure(self, name: str) -> Database:
        """A database, created if it is not there."""
        path = self._path(name)
        with self._lock:
            if name not in self._open:
                self._open[name] = Database.open(path, create=True, timed=self._timed)
            return self._open[name]

    def create(self, name: str) -> Database:
        """A new database. Raises InvalidName, DatabaseExists."""
        self._check_free(name)
        return self.ensure(name)

    def restore(self, name: str, backup: Path, *, accept: Callable[[View], None] | None = None) -> Version:
        """A new database of a backup's file, which is checked first; gives the version that it holds.

        `accept` looks at it before it has its name, and may raise to refuse it. It is made aside, and gets its name all at once and
        only if that is free, whatever other processes do.
        Raises InvalidName, DatabaseExists, Corrupted, WrongFormat, StorageError.
        """
        self._check_free(name)
        _check_whole(backup)
        with self.aside() as folder:
            made = folder / f"{name}.db"
            try:
                version = restore_backup(backup, made)
                if accept is not None:
                    with Database.open(made) as opened:
                        accept(opened.snapshot())
            except _UNREADABLE as error:
                raise Corrupted(f"a row cannot be read: {error}") from error
            try:
                os.link(made, self._path(name))
            except FileExistsError:
                raise _exists(name) from None
        make_durable(self._root)
        return version

    def check(self, name: str) -> CheckReport:
        """Whether a database is in order, read from its file anew. Raises UnknownDatabase, InvalidName.

        Others may write meanwhile: it looks at the file as it is at one moment.
        """
        self._check_there(name)
        return _check(self._path(name))

    def _check_there(self, name: str) -> None:
        if not self._path(name).is_file():
            hint = did_you_mean(name, self.names(), "the databases are")
            raise UnknownDatabase(f"there is no database {name!r}", hint=hint)

    def _check_free(self, name: str) -> None:
        if self._path(name).exists():
            raise _exists(name)

    @contextmanager
    def aside(self) -> Iterator[Path]:
        """A folder beside the databases for files that are being made, removed at the end.

        What a process that was killed has left there goes after a day, when the next one is made.
        """
        for folder in self._root.glob(f"{_ASIDE}*"):
            if time.time() - _last_written(folder) > _LEFT:
                shutil.rmtree(folder, ignore_errors=True)
        with TemporaryDirectory(dir=self._root, prefix=_ASIDE, ignore_cleanup_errors=True) as made:
            yield Path(made)

    def names(self) -> list[str]:
        """The names of the databases, but for the system's."""
        return sorted(
            path.stem for path in self._root.glob("*.db") if path.stem != SYSTEM and _NAME.fullmatch(path.stem)
        )

    def sweep(self, *, retention_seconds: float, history_bytes: int) -> dict[str, SweepReport | BTreeError]:
        """End abandoned transactions and give space back, in every database, the system's too, and of results; what was done, by name.

        A database that cannot be swept does not keep the others from it: its error is in the answer (that of the results as `.results`).
        """
        done: dict[str, SweepReport | BTreeError] = {}
        for name in [*self.names(), *([SYSTEM] if self._path(SYSTEM).is_file() else [])]:
            try:
                done[name] = self.ensure(name).sweep(
                    retention_seconds=retention_seconds, history_bytes=history_bytes, pause=0.002
                )
            except BTreeError as error:
                done[name] = error
        try:
            self.results.sweep(retention_seconds=retention_seconds, most_bytes=history_bytes)
        except BTreeError as error:
            done[_RESULTS] = error
        return done

    def close(self) -> None:
        """Close all of them."""
        with self._lock:
            for database in self._open.values():
                database.close()
            self._open.clear()

    def _path(self, name: str) -> Path:
        return self._root / f"{check_name(name, 'database')}.db"


def _exists(name: str) -> DatabaseExists:
    return DatabaseExists(f"there is a database {name!r} already", hint="take another name")


def _last_written(folder: Path) -> float:
    times = [0.0]
    for path in (folder, *folder.glob("*")):
        with suppress(OSError):  # removed meanwhile
            times.append(path.stat().st_mtime)
    return max(times)


def _check_whole(backup: Path) -> None:
    """Raises Corrupted for what is no SQLite file, or shorter than its header says (which SQLite itself may put up with)."""
    with backup.open("rb") as file:
        header = file.read(_HEADER.size)
    if header[: len(_SQLITE)] != _SQLITE or len(header) < _HEADER.size:
        raise Corrupted("it is not the file of a database", hint="was it cut, or is it another file?")
    size, pages = _HEADER.unpack(header)
    told, found = (65536 if size == 1 else size) * pages, backup.stat().st_size
    if found < told:
        raise Corrupted(f"it was cut: it has {found} bytes, and should have {told}", hint="take a whole copy")


def _check(path: Path) -> CheckReport:
    """The report on a file; one that cannot be read is a report too."""
    try:
        with Database.open(path) as opened:
            report = opened.check()
            if report.ok:
                view = opened.snapshot()
                report.problems += [
                    problem for store in list_stores(view) for problem in check_indexes(view, store.name)
                ]
            return report
    except BTreeError as error:
        return CheckReport(problems=[error.message])
    except _UNREADABLE as error:
        return CheckReport(problems=[f"a row cannot be read: {error}"])
