"""Queries over stores against SQLite: JSON text under JSON operators, and (for orientation) typed columns and DuckDB.

A row is about 137 bytes of JSON under an integer key. Every figure is the median of `--rounds`, the sides in turns in one run; sides
that give rows write them as one JSON array, and have to give as many. Prints one JSON line for each figure: {"figure", "ours", "unit",
"peers": {name: value}, "ratio": {name: ours to peer}, "bar", "holds"}; the exit code says whether all bars hold.

`python benchmarks/query.py [--records N] [--rounds N] [--only NAME] [--folder PATH]`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from btree_bench import Timer, timed
from query_bench import TYPED_JSON, QueryBench, load_store, sqlite
from query_parts import PARTS, delete_lot, update_lot
from query_records import buckets, customer

from btree import Database
from query import Query, create_store, export, join, open_store, select

LOOKUPS = 2000
GROUPS = 100
JOINS = 50
LOTS = 10
PAIR = "'{\"left\":' || l.v || ',\"right\":' || r.v || '}'"


def _rates(bench: QueryBench, rows: int, timers: dict[str, Timer]) -> dict[str, float]:
    return {name: rows / seconds for name, seconds in bench.measure(timers).items()}


def filter_scan(bench: QueryBench) -> None:
    """A number without an index, half of the rows, and 1%."""
    bench.need("orders", "typed")
    for share, amount in ((50, 500), (1, 10)):
        figure = f"filter scan, {share}% of the rows to JSON"
        rates = _rates(
            bench,
            bench.records,
            {
                "ours": bench.json_of(
                    figure,
                    lambda database, amount=amount: select(  # type: ignore[misc]
                        database.snapshot(), "orders", filter={"amount": {"$lt": amount}}
                    ),
                ),
                "apsw json": bench.sql_json(figure, f"SELECT v FROM orders WHERE v->>'amount' < {amount}"),
                "apsw typed": bench.sql_json(
                    figure, f"SELECT {TYPED_JSON} FROM orders WHERE amount < {amount}", "typed.db"
                ),
                **bench.duck_json(figure, f"amount < {amount}"),
            },
        )
        bench.report(figure, "rows/s", rates, {"apsw json": (">=", 1.5)}, 0)


def key_range(bench: QueryBench) -> None:
    """1% of the rows by key."""
    bench.need("orders", "typed")
    low, high = bench.records // 2, bench.records // 2 + bench.records // 100
    figure = "1% range by key to JSON"
    where = f"id >= {low} AND id < {high}"
    rates = _rates(
        bench,
        high - low,
        {
            "ours": bench.json_of(
                figure,
                lambda database: select(database.snapshot(), "orders", filter={"id": {"$gte": low, "$lt": high}}),
            ),
            "apsw json": bench.sql_json(figure, f"SELECT v FROM orders WHERE {where}"),
            "apsw typed": bench.sql_json(figure, f"SELECT {TYPED_JSON} FROM orders WHERE {where}", "typed.db"),
            **bench.duck_json(figure, where),
        },
    )
    bench.report(figure, "rows/s", rates, {"apsw json": (">=", 3.0)}, 0)


def indexed(bench: QueryBench) -> None:
    """Rows by the value of an indexed field: one row, and a hundred."""
    bench.need("indexed")
    for field, count, rows in (("customer", LOOKUPS, 1), ("bucket", GROUPS, 100)):
        numbers = [bench.random.randrange(bench.records) for _ in range(count)]
        wanted: list[Any] = [customer(n) if field == "customer" else n % buckets(bench.records) for n in numbers]
        figure = f"indexed equality, {rows} row{'s' if rows > 1 else ''} by a value"

        def ours(field: str = field, wanted: list[Any] = wanted, figure: str = figure) -> float:
            with bench.ours("indexed.db") as database, Path(os.devnull).open("wb") as sink:
                view, found = database.snapshot(), 0

                def work() -> None:
                    nonlocal found
                    for value in wanted:
                        selected = select(view, "orders", filter={field: value})
                        for chunk in selected.json_chunks():
                            sink.write(chunk)
                        found += selected.returned

                seconds = timed(work)
                bench.same(figure, found)
            return seconds

        def peer(field: str = field, wanted: list[Any] = wanted, figure: str = figure) -> float:
            with sqlite(bench.path("indexed-json.db")) as connection, Path(os.devnull).open("wb") as sink:
                statement, found = f"SELECT v FROM orders WHERE v->>'{field}' = ?", 0

                def work() -> None:
                    nonlocal found
                    for value in wanted:
                        for (text,) in connection.execute(statement, (value,)):
                            sink.write(text.encode())
                            found += 1

                seconds = timed(work)
                bench.same(figure, found)
            return seconds

        found = bench.measure({"ours": ours, "apsw json": peer})
        micros = {name: seconds / count * 1e6 for name, seconds in found.items()}
        bench.report(figure, "us", micros, {"apsw json": ("<=", 1.5)}, 1)


def joins(bench: QueryBench) -> None:
    """All rows with all rows by equal keys, and with a hundredth of them."""
    bench.need("orders", "details", "few")
    times: dict[str, float] = {}
    for right, bars in (("details", {"apsw json": ("<=", 1 / 1.5)}), ("few", {})):
        figure = f"join by key with {right}"

        def joined(database: Database, right: str = right) -> Any:
            return join(database.snapshot(), left="orders", right=right, on="id")

        found = bench.measure(
            {
                "ours": bench.json_of(figure, joined),
                "apsw json": bench.sql_json(figure, f"SELECT {PAIR} FROM orders l JOIN {right} r ON r.id = l.id"),
            }
        )
        times[right] = found["ours"]
        if right == "few":
            found["ours, all keys"] = times["details"]
            bars = {"ours, all keys": ("<=", 0.2)}
        share = "all" if right == "details" else "1%"
        bench.report(f"join by key to JSON, {share} of the keys on the right", "s", found, bars, 3)


def small_join(bench: QueryBench) -> None:
    """100 users and their 500 orders, the test that the original system published."""
    with bench.ours("small.db", create=True) as database:

        def fill(transaction: Any) -> None:
            users = create_store(transaction, "users", primary_key=["id"])
            orders = create_store(transaction, "orders", primary_key=["id"])
            for number in range(100):
                users.add({"id": number, "name": f"user {number}", "city": f"city {number % 7}"})
            for number in range(500):
                orders.add({"id": number, "user": number * 37 % 100, "amount": number * 1.5, "status": "open"})

        database.transact(fill)

        def work() -> None:
            for _ in range(JOINS):
                rows = join(database.snapshot(), left="users", right="orders", on={"id": "user"})
                count = sum(1 for _ in rows)
                bench.same("small join", count)

        found = bench.measure({"ours": lambda: timed(work) / JOINS * 1e3})
    found["the original system's"] = 2.29
    bench.report("join of 100 with 500 rows", "ms", found, {"the original system's": ("<=", 1.0)}, 3)


def first_byte(bench: QueryBench) -> None:
    """From the query to the first piece of its stream, the version pinned."""
    bench.need("orders")

    def ours() -> float:
        with bench.ours() as database:
            opened: list[Any] = []

            def work() -> None:
                opened.append(export(database, Query("orders"), "json"))
                assert next(iter(opened[0]))

            seconds = timed(work)
            opened[0].close()
        return seconds * 1e3

    found = bench.measure({"ours": ours})
    found["the bar's"] = 20.0
    bench.report("first byte of a stream of all rows", "ms", found, {"the bar's": ("<=", 1.0)}, 2)


def _changing(
    bench: QueryBench, figure: str, change: Callable[[Any, int], int], statement: str, bar: float, name: str
) -> None:
    """A tenth of the rows in one durable transaction, another tenth in every round, in copies of the files."""
    bench.need("orders")
    bench.copies(("ours.db", "changed.db"), ("json.db", "changed-json.db"))
    rounds = {"ours": 0, "apsw json": 0}

    def ours() -> float:
        lot = rounds["ours"] % LOTS
        rounds["ours"] += 1
        with bench.ours("changed.db") as database:
            count = 0

            def work() -> None:
                nonlocal count
                count = database.transact(lambda t: change(t, lot))

            seconds = timed(work)
            bench.same(f"{name} {lot}", count)
            database.sweep(retention_seconds=0.0)
            database.pager.outside("PRAGMA wal_checkpoint(TRUNCATE)")
        return seconds

    def peer() -> float:
        lot = rounds["apsw json"] % LOTS
        rounds["apsw json"] += 1
        with sqlite(bench.path("changed-json.db")) as connection:

            def work() -> None:
                with connection:
                    connection.execute(statement, (lot,))

            before = connection.total_changes()
            seconds = timed(work)
            bench.same(f"{name} {lot}", connection.total_changes() - before)
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return seconds

    found = bench.measure({"ours": ours, "apsw json": peer})
    bench.report(figure, "s", found, {"apsw json": ("<=", bar)}, 3)


def bulk_update(bench: QueryBench) -> None:
    """By a field without an index."""
    statement = "UPDATE orders SET v = json_set(v, '$.status', 'late') WHERE v->>'lot' = ?"
    _changing(
        bench, "bulk update of 10% of the rows", lambda t, lot: update_lot(t, lot, "late"), statement, 1.2, "update"
    )


def bulk_delete(bench: QueryBench) -> None:
    """By a field without an index."""
    statement = "DELETE FROM orders WHERE v->>'lot' = ?"
    _changing(bench, "bulk delete of 10% of the rows", delete_lot, statement, 1.0, "delete")


def memory(bench: QueryBench) -> None:
    """Peak memory above idle, at one and at five times the rows, each in a process of its own; within a tenth, or 8 MB."""
    peaks: dict[str, dict[int, float]] = {part: {} for part in PARTS}
    for times in (1, 5):
        count, path = times * bench.records, bench.path("memory.db")
        with Database.open(path, create=True) as database:
            for store in ("orders", "details"):
                database.transact(lambda t, store=store, count=count: load_store(t, store, count))  # type: ignore[misc]
            assert open_store(database.snapshot(), "orders").count() == count
        for part in PARTS:
            command = [sys.executable, str(Path(__file__).parent / "query_parts.py"), part, str(path)]
            answer = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout)
            peaks[part][times] = answer["peak_mb"]
        for suffix in ("", "-wal", "-shm"):
            bench.path("memory.db" + suffix).unlink(missing_ok=True)
    for part, found in peaks.items():
        allowed = max(1.1 * found[1], found[1] + 8.0)
        told = {"ours": found[5], "at a fifth of the rows": found[1], "allowed": allowed}
        bench.report(
            f"peak memory above idle: {part} of {5 * bench.records} rows", "MB", told, {"allowed": ("<=", 1.0)}, 1
        )


FIGURES = [filter_scan, key_range, indexed, joins, small_join, first_byte, bulk_update, bulk_delete, memory]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=[figure.__name__ for figure in FIGURES])
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if not 1 <= options.rounds <= LOTS:
        parser.error(f"--rounds is 1 to {LOTS}: every round changes another tenth of the rows")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        bench = QueryBench(Path(folder), options.records, options.rounds)
        if bench.duckdb is None:
            print("duckdb is not installed: the figures are without it", file=sys.stderr)
        for figure in FIGURES:
            if options.only in (None, figure.__name__):
                figure(bench)
    return 0 if bench.ok else 1


if __name__ == "__main__":
    sys.exit(main())
