"""The data directory: one database file for each name.

Names are checked before they become paths. The `system` database is ours (scripts, keys, the outbox of steps without a
transaction); scripts cannot name it.
"""

import re
import threading
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from btree import BTreeError, Database, SweepReport
from query.errors import InvalidName, UnknownDatabase

SYSTEM: Final = "system"
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")


def check_name(name: str, kind: str) -> str:
    """The name itself. Raises InvalidName: names are lower case, begin with a letter, and have at most 63 characters."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        hint = "lower-case letters, digits and _, beginning with a letter, at most 63"
        raise InvalidName(f"{name!r} is no name for a {kind}", hint=hint)
    return name


class Databases:
    """The databases of a data directory, opened once each and shared by all threads."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._open: dict[str, Database] = {}
        self._lock = threading.Lock()
        root.mkdir(parents=True, exist_ok=True)

    def open(self, name: str) -> Database:
        """A database that exists. Raises UnknownDatabase (with the nearest name), InvalidName."""
        found = self._open.get(name)
        if found is not None:
            return found
        if not self._path(name).is_file():
            near = get_close_matches(name, self.names(), n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"the databases are: {', '.join(self.names()) or 'none'}"
            raise UnknownDatabase(f"there is no database {name!r}", hint=hint)
        return self.ensure(name)

    def ensure(self, name: str) -> Database:
        """A database, created if it is not there."""
        path = self._path(name)
        with self._lock:
            if name not in self._open:
                self._open[name] = Database.open(path, create=True)
            return self._open[name]

    def create(self, name: str) -> Database:
        """A new database. Raises InvalidName if it is there already."""
        if self._path(name).exists():
            raise InvalidName(f"the database {name!r} is there already")
        return self.ensure(name)

    def names(self) -> list[str]:
        """The names of the databases, but for the system's."""
        return sorted(
            path.stem for path in self._root.glob("*.db") if path.stem != SYSTEM and _NAME.fullmatch(path.stem)
        )

    def sweep(self, *, retention_seconds: float, history_bytes: int) -> dict[str, SweepReport | BTreeError]:
        """End abandoned transactions and give space back, in every database, the system's too; what was done, by name.

        A database that cannot be swept does not keep the others from it: its error is in the answer.
        """
        done: dict[str, SweepReport | BTreeError] = {}
        for name in [*self.names(), *([SYSTEM] if self._path(SYSTEM).is_file() else [])]:
            try:
                done[name] = self.ensure(name).sweep(
                    retention_seconds=retention_seconds, history_bytes=history_bytes, pause=0.002
                )
            except BTreeError as error:
                done[name] = error
        return done

    def close(self) -> None:
        """Close all of them."""
        with self._lock:
            for database in self._open.values():
                database.close()
            self._open.clear()

    def _path(self, name: str) -> Path:
        return self._root / f"{check_name(name, 'database')}.db"
