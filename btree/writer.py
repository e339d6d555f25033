"""One write: a turn, a short SQLite transaction, and what can be done in it."""

from collections.abc import Callable, Iterable, Sequence
from time import perf_counter
from typing import Any, Protocol

import apsw

from btree.errors import Busy, UnknownOutcome
from btree.records import Newest, Row, VersionRow, sealed
from btree.translation import translate
from btree.turns import Turns

Timed = Callable[[float, float | None], None]
"""Told of each write, behind it: the seconds that it waited for its turn, and those of its COMMIT (None: its turn never came)."""


class Writer(Protocol):
    """The inside of a write block."""

    def execute(self, sql: str, bindings: Sequence[Any] = ()) -> list[Row]: ...

    def changes(self) -> int:
        """How many rows the last statement changed."""
        ...

    def newest(self) -> Newest:
        """The newest version, and the next page id."""
        ...

    def move_head(self, row: VersionRow, stored: Row) -> None:
        """Make a version the head; `stored` is the row as it is in the file."""
        ...

    def allocate(self, count: int) -> int:
        """The first of `count` new page ids."""
        ...

    def store(self, pages: Iterable[tuple[int, bytes]]) -> None: ...


class Writable(Protocol):
    """What a write block needs of its pager."""

    known: tuple[list[Row], Newest] | None
    timed: Timed | None

    def begin(self) -> "SqliteWriter": ...

    def commit(self, connection: apsw.Connection) -> None: ...

    def take_back(self, connection: apsw.Connection) -> None: ...


class WriteBlock:
    """The span of one write: its turn, its SQLite transaction, and what becomes of them. A class, as it is quicker than generators."""

    def __init__(self, pager: Writable, turns: Turns) -> None:
        self._pager = pager
        self._turns = turns
        self._turn = -1
        self._writer: SqliteWriter | None = None
        self._waited = 0.0
        self._took: float | None = None

    def __enter__(self) -> Writer:
        timed = self._pager.timed
        self._turn = self._turns.take() if timed is None else self._take(timed)
        try:
            self._writer = self._pager.begin()
        except BaseException as error:
            self._turns.give_back(self._turn)
            if isinstance(error, apsw.Error | UnicodeDecodeError):
                raise translate(error) from error
            raise
        return self._writer

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        writer = self._writer
        assert writer is not None
        try:
            if error is None:
                try:
                    newest = writer.finish()
                except BaseException as failure:
                    self._pager.take_back(writer.connection)
                    if isinstance(failure, apsw.Error):
                        raise translate(failure) from failure
                    raise
                self._commit(writer.connection)
                if newest is not None:
                    self._pager.known = newest
            else:
                self._pager.take_back(writer.connection)
                if isinstance(error, apsw.Error | UnicodeDecodeError):
                    raise translate(error) from error
        finally:
            self._turns.give_back(self._turn)
        if self._took is not None and self._pager.timed is not None:
            self._pager.timed(self._waited, self._took)

    def _take(self, timed: Timed) -> int:
        began = perf_counter()
        try:
            turn = self._turns.take()
        except Busy:
            timed(perf_counter() - began, None)
            raise
        self._waited = perf_counter() - began
        return turn

    def _commit(self, connection: apsw.Connection) -> None:
        began = perf_counter()
        try:
            self._pager.commit(connection)
            self._took = perf_counter() - began
        except apsw.Error as error:
            self._pager.take_back(connection)
            message = f"SQLite reports, for a write that may have happened or not: {error}"
            raise UnknownOutcome(message, hint="do it again, that changes nothing if it happened") from error
        except BaseException:  # an interrupt: before the COMMIT, or behind it
            self._pager.take_back(connection)
            raise


class SqliteWriter:
    """The inside of one write."""

    def __init__(self, connection: apsw.Connection, newest: Newest) -> None:
        self.connection = connection
        self._before = newest
        self._head, self._next = newest
        self._stored: Row | None = None

    def execute(self, sql: str, bindings: Sequence[Any] = ()) -> list[Row]:
        return self.connection.execute(sql, bindings).fetchall()

    def changes(self) -> int:
        return self.connection.changes()

    def newest(self) -> Newest:
        return Newest(self._head, self._next)

    def move_head(self, row: VersionRow, stored: Row) -> None:
        self._head, self._stored = row, stored

    def allocate(self, count: int) -> int:
        self._next += count
        return self._next - count

    def store(self, pages: Iterable[tuple[int, bytes]]) -> None:
        self.connection.executemany("INSERT INTO page VALUES (?, ?)", pages)

    def finish(self) -> tuple[list[Row], Newest] | None:
        """Write the state, if it was changed; gives what `NEWEST` would find then, where the head was moved."""
        now = self.newest()
        if now == self._before:
            return None
        seq, head, *_, crc = state = sealed(now.state())
        values = (head, now.next_page, crc, seq)
        self.connection.execute("UPDATE version SET root = ?, first = ?, crc = ? WHERE seq = ?", values)
        return ([state, self._stored], now) if self._stored is not None else None
