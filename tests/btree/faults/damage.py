"""A small database with everything in it, one bit of it flipped, and what comes out when all of it is read.

A *fact* is the answer to one question that a user may ask: the content, every key by itself, the state of a transaction, the result
of a step, the content of an open branch, what a sweep of expired branches leaves. After a flip every fact has to be what it was,
or an error of btree.errors. `Outcome` tells the facts that were not.
"""

import signal
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import apsw

from btree import Conflict, Database
from tests.btree.faults.driver import content, leak_of, trees_of
from tests.btree.faults.workload import Model

NOW = 1_000_000.0
SECONDS_AT_MOST = 2.0
OPEN, STEPS = "open-one", ("one", "two")
TRANSACTIONS = ("filled", "changed", OPEN, "undone")
DETECTED = "an error of btree.errors"


def small_database(path: Path) -> Model:
    """Two commits, a branch that stays open off the first, one rolled back; a tree of several pages.

    It is closed, so that everything is in the main file.
    """
    pairs = [
        (b"%04d" % number, b'{"number":%d,"text":"%s"}' % (number, b"abc" * (number % 40))) for number in range(160)
    ]
    with Database.open(path, create=True, clock=lambda: NOW) as database:
        filled = database.begin("filled")
        filled.create_tree("accounts").load(pairs)
        filled.create_tree("index")
        filled.save("one", b'"loaded"')
        filled.tree("index").put(b"a", b"1")
        filled.commit("two", b'"filled"')
        still_open = database.begin(OPEN)
        still_open.tree("index").put(b"d", b"4")
        still_open.save("one", b'"put"')
        changed = database.begin("changed")
        changed.tree("accounts").put(b"0007", b'"changed"')
        changed.tree("index").put(b"b", b"2")
        changed.commit("one", b'"changed"')
        undone = database.begin("undone")
        undone.tree("index").put(b"c", b"3")
        undone.save("one", b'"undone"')
        undone.rollback()
    return {"accounts": dict(pairs) | {b"0007": b'"changed"'}, "index": {b"a": b"1", b"b": b"2"}}


def questions(database: Database, model: Model) -> Iterator[tuple[str, Callable[[], Any]]]:
    """What a user may ask; the last ones write."""
    yield "content", partial(content, database)
    for name, pairs in model.items():
        yield f"keys of {name}", partial(each_key, database, name, list(pairs))
    for txn_id in TRANSACTIONS:
        yield f"status of {txn_id}", partial(database.status, txn_id)
        for step in STEPS:
            yield f"result of {txn_id}/{step}", partial(database.recorded, txn_id, step)
    yield "open branch", lambda: trees_of(database.resume(OPEN).tree)
    yield "after a sweep", lambda: (database.sweep().rolled_back, database.status(OPEN).state)
    yield "after a commit", partial(commit_open_branch, database)


def each_key(database: Database, name: str, keys: list[bytes]) -> list[bytes | None]:
    """The values of the keys, looked up one by one."""
    tree = database.snapshot().tree(name)
    return [tree.get(key) for key in keys]


def commit_open_branch(database: Database) -> Model | str:
    """Commit the branch that is behind the head: the engine may merge it or refuse it, and must not lose the other commit."""
    transaction = database.resume(OPEN)
    transaction.tree("index").put(b"e", b"5")
    try:
        transaction.commit("two", b'"committed"')
    except Conflict:
        return "refused"
    return content(database)


class Hang(BaseException):
    """The engine has computed for far too long."""


@contextmanager
def patience() -> Iterator[None]:
    """Raises Hang in the block when it uses more than SECONDS_AT_MOST of processor time."""

    def ring(*_: object) -> None:
        raise Hang

    before = signal.signal(signal.SIGVTALRM, ring)
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS_AT_MOST)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def facts(path: Path, model: Model) -> tuple[dict[str, Any], list[str]]:
    """The answers (DETECTED for an error that says so), and the errors that should not have come out.

    Raises Hang.
    """
    found: dict[str, Any] = {}
    raw: list[str] = []

    def ask(name: str, question: Callable[[], Any]) -> Any:
        try:
            with patience():
                found[name] = question()
        except Exception as error:
            found[name] = DETECTED
            leak = leak_of(error)
            if leak is not None:
                raw.append(f"{name}: {leak}")
        return found[name]

    database = ask("open", lambda: Database.open(path, clock=lambda: NOW))
    found.pop("open")
    if isinstance(database, Database):
        try:
            for name, question in questions(database, model):
                ask(name, question)
        finally:
            ask("close", database.close)
    return found, raw


@dataclass
class Outcome:
    """What one flip did."""

    place: str
    wrong: list[str] = field(default_factory=list)
    raw: list[str] = field(default_factory=list)
    detected: bool = False
    hung: bool = False

    @property
    def bad(self) -> bool:
        return bool(self.wrong or self.raw or self.hung)

    def __str__(self) -> str:
        return f"{self.place}: wrong {self.wrong}, raw {self.raw}{', HUNG' if self.hung else ''}"


class Patient:
    """A pristine file, of which damaged copies are looked at."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "patient.db"
        self.model = small_database(self.path)
        self.image = self.path.read_bytes()
        self.truth, raw = facts(self.path, self.model)
        assert self.truth["content"] == self.model
        assert not raw
        assert DETECTED not in self.truth.values()

    def with_byte(self, offset: int, bit: int) -> Outcome:
        """One bit of the file flipped."""
        damaged = bytearray(self.image)
        damaged[offset] ^= 1 << bit
        self._lay(bytes(damaged))
        return self._examine(f"byte {offset} bit {bit}")

    def with_cell(self, cell: "Cell", damaged: Any, place: str = "") -> Outcome | None:
        """One value of one row replaced, through SQLite; None if SQLite does not accept it there."""
        self._lay(self.image)
        connection = apsw.Connection(str(self.path))
        try:
            connection.execute("PRAGMA synchronous = OFF")
            cell.write(connection, damaged)
        except apsw.ConstraintError:
            return None
        finally:
            connection.close()
        return self._examine(
            place or f"{cell.table}.{cell.column} of {cell.key}: {shown(cell.value)} -> {shown(damaged)}"
        )

    def used_bytes(self) -> tuple[list[int], list[int]]:
        """The places in the file that are not zero: those in the table of pages, and all the others."""
        self._lay(self.image)
        connection = apsw.Connection(str(self.path))
        try:
            roots = {root for (root,) in connection.execute("SELECT rootpage FROM sqlite_schema WHERE name != 'page'")}
            size = connection.pragma("page_size")
        finally:
            connection.close()
        used = [offset for offset, byte in enumerate(self.image) if byte]
        beside = [offset for offset in used if offset // size + 1 in roots | {1}]
        return sorted(set(used).difference(beside)), beside

    def cells(self) -> list["Cell"]:
        """All values in all rows."""
        self._lay(self.image)
        connection = apsw.Connection(str(self.path))
        try:
            return list(_cells(connection))
        finally:
            connection.close()

    def _lay(self, image: bytes) -> None:
        for path in self.path.parent.iterdir():
            path.unlink()
        self.path.write_bytes(image)

    def _examine(self, place: str) -> Outcome:
        try:
            found, raw = facts(self.path, self.model)
        except Hang:
            return Outcome(place, hung=True)
        wrong = [
            f"{name} is {shown(answer)}" for name, answer in found.items() if answer not in (self.truth[name], DETECTED)
        ]
        return Outcome(place, wrong, raw, detected=not found or DETECTED in found.values())


@dataclass(frozen=True)
class Cell:
    """One value in one row."""

    table: str
    column: str
    key: dict[str, Any]
    value: Any

    def write(self, connection: apsw.Connection, value: Any) -> None:
        where = " AND ".join(f'"{name}" = ?' for name in self.key)
        place = "CAST(? AS TEXT)" if isinstance(self.value, str) else "?"
        connection.execute(
            f'UPDATE "{self.table}" SET "{self.column}" = {place} WHERE {where}', (value, *self.key.values())
        )
        assert connection.changes() == 1

    def flips(self, places: Callable[[int], list[int]], bit: Callable[[], int]) -> Iterator[Any]:
        """The value with one bit flipped: all bits of a number; of bytes and text one bit at each of `places(length)`."""
        if isinstance(self.value, int):
            bits = min(self.value.bit_length() + 2, 63)
            yield from (self.value ^ (1 << position) for position in range(bits))
            yield self.value - (1 << 63)  # the sign
        elif isinstance(self.value, float):
            (bits,) = struct.unpack("<q", struct.pack("<d", self.value))
            yield from (struct.unpack("<d", struct.pack("<q", bits ^ (1 << position)))[0] for position in range(63))
        elif isinstance(self.value, (bytes, str)):
            data = self.value.encode() if isinstance(self.value, str) else self.value
            for place in places(len(data)):
                damaged = bytearray(data)
                damaged[place] ^= 1 << bit()
                yield bytes(damaged)


def _cells(connection: apsw.Connection) -> Iterator[Cell]:
    tables = [
        name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
    ]
    for table in tables:
        info = list(connection.execute(f'SELECT name, pk FROM pragma_table_info("{table}")'))
        keys = [name for name, position in info if position]
        for row in connection.execute(f'SELECT * FROM "{table}"'):
            values = dict(zip([name for name, _ in info], row, strict=True))
            for column, value in values.items():
                yield Cell(table, column, {key: values[key] for key in keys}, value)


def shown(value: Any) -> str:
    """A short text for a message."""
    text = repr(value)
    return text if len(text) < 60 else f"{text[:40]}... ({len(text)} characters)"
