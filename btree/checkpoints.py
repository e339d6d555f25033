"""When SQLite's log is copied into the file."""

from contextlib import suppress
from typing import Final

import apsw

CHECKPOINT: Final = 400
"""Pages of SQLite."""


class Checkpoints:
    """Copies SQLite's log into the file, after every `CHECKPOINT` pages that it has grown.

    SQLite's own rule is to try at every commit while the log is that long. With several busy processes the log is seldom at rest, so
    that it stays long, and then every commit pays for two more syncs.
    """

    def __init__(self) -> None:
        self._last = 0

    def __call__(self, connection: apsw.Connection, name: str, pages: int) -> int:
        if pages < self._last:
            self._last = 0  # the log has begun anew
        if pages - self._last >= CHECKPOINT:
            self._last = pages
            with suppress(apsw.BusyError):  # another one is at it
                connection.wal_checkpoint(name, apsw.SQLITE_CHECKPOINT_PASSIVE)
        return apsw.SQLITE_OK
