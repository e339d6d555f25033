"""The files of the query benchmark: stores of ours, and the same rows in SQLite (as JSON text, and in typed columns) and in DuckDB.

What a figure reads is loaded when it is first asked for. The JSON tables of SQLite are `(id INTEGER PRIMARY KEY, v TEXT)`, WAL,
synchronous=FULL, 32 MiB of cache. DuckDB is for orientation, and left out where it is not installed.
"""

import importlib
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import apsw
from btree_bench import Figures, Timer, timed
from query_records import COLUMNS, pairs, row

from btree import Database, Transaction
from query import create_index, create_store
from query.stores.catalog import rows_tree

_FEW: Final = 100
STORES: Final = {"orders": 1, "details": 1, "few": _FEW}
"""Store -> which of the rows it has: all of them, or every hundredth."""
Fetch = Callable[[], Iterable[Any]]
CHUNK: Final = 1000


def load_store(transaction: Transaction, name: str, count: int, step: int = 1) -> None:
    """A new store with every `step`-th of `count` rows."""
    create_store(transaction, name, primary_key=["id"])
    transaction.tree(rows_tree(name)).load(pairs(count, step))


@contextmanager
def sqlite(path: Path) -> Iterator[apsw.Connection]:
    """A connection with the same promises as ours."""
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -32768").fetchall()
    try:
        yield connection
    finally:
        connection.close()


class QueryBench(Figures):
    """The loaded files. `duckdb` is the module, or None."""

    def __init__(self, folder: Path, records: int, rounds: int) -> None:
        super().__init__(folder, records, rounds)
        self.duckdb: Any = importlib.import_module("duckdb") if find_spec("duckdb") else None
        self._loaded: set[str] = set()
        self._rows: dict[str, int] = {}

    def ours(self, file: str = "ours.db", *, create: bool = False) -> Database:
        return Database.open(self.path(file), create=create)

    def need(self, *parts: str) -> None:
        """Load what is not there yet: names of STORES, `typed` (columns), `indexed`, `duck`."""
        for part in parts:
            if part not in self._loaded:
                self._loaded.add(part)
                getattr(self, f"_load_{part}", lambda part=part: self._load_store(part))()

    def _load_store(self, name: str) -> None:
        step = STORES[name]
        with self.ours(create=True) as database:
            database.transact(lambda t: load_store(t, name, self.records, step))
        with sqlite(self.path("json.db")) as connection:
            self._fill(connection, name, pairs(self.records, step))

    def _fill(self, connection: apsw.Connection, name: str, rows: Iterable[tuple[bytes, bytes]]) -> None:
        step = STORES[name]
        with connection:
            connection.execute(f"CREATE TABLE {name} (id INTEGER PRIMARY KEY, v TEXT NOT NULL)")
            texts = ((at * step, value.decode()) for at, (_, value) in enumerate(rows))
            connection.executemany(f"INSERT INTO {name} VALUES (?, ?)", texts)

    def _load_typed(self) -> None:
        with sqlite(self.path("typed.db")) as connection, connection:
            connection.execute(
                "CREATE TABLE orders (id INTEGER PRIMARY KEY, customer TEXT, bucket INTEGER, lot INTEGER, amount REAL, status TEXT,"
                " note TEXT)"
            )
            rows = (row(number, self.records) for number in range(self.records))
            connection.executemany("INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    def _load_duck(self) -> None:
        self.need("typed")
        with self.duckdb.connect(str(self.path("duck.db"))) as connection:
            connection.execute("SET autoinstall_known_extensions = false")
            connection.execute(
                "CREATE TABLE orders (id BIGINT PRIMARY KEY, customer TEXT, bucket BIGINT, lot BIGINT, amount DOUBLE, status TEXT,"
                " note TEXT)"
            )
            file = self.path("rows.csv")
            with file.open("w", encoding="utf-8") as sink:
                for number in range(self.records):
                    sink.write(",".join(map(str, row(number, self.records))) + "\n")
            connection.execute(f"COPY orders FROM '{file}' (FORMAT csv)")
            file.unlink()

    def _load_indexed(self) -> None:
        with self.ours("indexed.db", create=True) as database:
            database.transact(lambda t: load_store(t, "orders", self.records))
            for field in ("customer", "bucket"):
                database.transact(lambda t, field=field: create_index(t, "orders", [field]))  # type: ignore[misc]
        with sqlite(self.path("indexed-json.db")) as connection:
            self._fill(connection, "orders", pairs(self.records))
            for field in ("customer", "bucket"):
                connection.execute(f"CREATE INDEX by_{field} ON orders (v->>'{field}')").fetchall()

    def copies(self, *files: tuple[str, str]) -> None:
        """Copy files, each to a name, for figures that write. Nobody may have them open."""
        for source, target in files:
            for suffix in ("", "-wal", "-shm"):
                self.path(target + suffix).unlink(missing_ok=True)
                if self.path(source + suffix).exists():
                    shutil.copy(self.path(source + suffix), self.path(target + suffix))

    # --- sides: each writes a JSON array to the null device, and tells the seconds ---

    def same(self, figure: str, count: int) -> None:
        """All sides have to give as many rows."""
        assert self._rows.setdefault(figure, count) == count, (figure, count, self._rows[figure])

    def json_of(self, figure: str, fetch: Callable[[Database], Any]) -> Timer:
        """The rows of a query of ours."""

        def run() -> float:
            with self.ours() as database, Path(os.devnull).open("wb") as sink:
                rows = fetch(database)

                def work() -> None:
                    divider = b"["
                    for chunk in rows.json_chunks():
                        sink.write(divider)
                        sink.write(chunk)
                        divider = b",\n"
                    sink.write(b"]")

                seconds = timed(work)
                self.same(figure, rows.returned)
                return seconds

        return run

    def sql_json(self, figure: str, statement: str, file: str = "json.db") -> Timer:
        """The texts that a statement of SQLite gives."""

        def run() -> float:
            with sqlite(self.path(file)) as connection:
                return self._written(figure, lambda: connection.execute(statement))

        return run

    def duck_json(self, figure: str, condition: str) -> dict[str, Timer]:
        """The rows of DuckDB as JSON texts; nothing where it is not installed."""
        if self.duckdb is None:
            return {}
        self.need("duck")

        def batches(connection: Any) -> Iterator[tuple[str]]:
            found = connection.execute(f"SELECT to_json(orders) FROM orders WHERE {condition}")
            while rows := found.fetchmany(CHUNK):
                yield from rows

        def run() -> float:
            with self.duckdb.connect(str(self.path("duck.db")), read_only=True) as connection:
                return self._written(figure, lambda: batches(connection))

        return {"duckdb": run}

    def _written(self, figure: str, fetch: Fetch) -> float:
        count = 0
        with Path(os.devnull).open("wb") as sink:

            def work() -> None:
                nonlocal count
                divider = b"["
                for (text,) in fetch():
                    sink.write(divider)
                    sink.write(text.encode())
                    divider = b",\n"
                    count += 1
                sink.write(b"]")

            seconds = timed(work)
        self.same(figure, count)
        return seconds


TYPED_JSON: Final = "json_object(" + ", ".join(f"'{name}', {name}" for name in COLUMNS) + ")"
