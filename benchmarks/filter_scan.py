"""A full scan with a filter, writing the JSON of what matches: our page filters beside SQLite's JSON operators.

`python benchmarks/filter_scan.py [RECORDS] [ROUNDS]`. Both sides read the same records from a file of their own, one after the other
in every round; the figures are medians, and the last column says how many times as long SQLite takes.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import apsw
from btree_records import pairs

from btree import Database
from query.filters.pages import page_filter

CASES: list[tuple[dict[str, Any], str]] = [
    ({"amount": {"$gt": 9000}}, "v->>'amount' > 9000"),
    ({"amount": {"$gt": -1}}, "v->>'amount' > -1"),
    ({"amount": {"$gt": 99999}}, "v->>'amount' > 99999"),
    ({"status": "paid"}, "v->>'status' = 'paid'"),
    ({"customer": "customer-0007919"}, "v->>'customer' = 'customer-0007919'"),
    ({"status": "paid", "amount": {"$gte": 9000}}, "v->>'status' = 'paid' AND v->>'amount' >= 9000"),
    ({"$or": [{"id": {"$lt": 100}}, {"status": {"$in": ["open", "sent"]}}]}, "v->>'id' < 100 OR v->>'status' IN ('open', 'sent')"),
    ({"note": {"$contains": "telephone"}}, "instr(v->>'note', 'telephone') > 0"),
    ({"customer": {"$regex": "42$"}}, "v->>'customer' LIKE '%42'"),
]  # fmt: skip


def ours(tree: Any, query: dict[str, Any], sink: Any) -> int:
    wanted = page_filter(query)
    assert wanted is not None
    count = 0
    for part in tree.leaves():
        found, run = wanted.keep(part.values_json)
        if found:
            count += found
            sink.write(run)
            sink.write(b"\n")
    return count


def sqlite(connection: apsw.Connection, condition: str, sink: Any) -> int:
    count = 0
    for (text,) in connection.execute(f"SELECT v FROM t WHERE {condition}"):
        sink.write(text.encode())
        sink.write(b"\n")
        count += 1
    return count


def timed(work: Callable[[], int]) -> tuple[float, int]:
    begin = time.perf_counter()
    count = work()
    return time.perf_counter() - begin, count


def main(records: int, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder, Path(os.devnull).open("wb") as sink:
        database = Database.open(Path(folder) / "ours.db", create=True)
        database.transact(lambda transaction: transaction.create_tree("t").load(pairs(records)))
        connection = apsw.Connection(str(Path(folder) / "sqlite.db"))
        connection.execute(
            "PRAGMA journal_mode = WAL; CREATE TABLE t(k BLOB PRIMARY KEY, v TEXT) WITHOUT ROWID"
        ).fetchall()
        with connection:
            connection.executemany(
                "INSERT INTO t VALUES (?, ?)", ((key, value.decode()) for key, value in pairs(records))
            )
        tree = database.snapshot().tree("t")
        print(
            f"{records} records, {rounds} rounds\n{'filter':<78}{'matches':>9}{'ours s':>8}{'SQLite s':>9}{'times':>7}"
        )
        for query, condition in CASES:
            seconds: tuple[list[float], list[float]] = ([], [])
            for _ in range(rounds):
                one, found = timed(lambda: ours(tree, query, sink))  # noqa: B023
                two, expected = timed(lambda: sqlite(connection, condition, sink))  # noqa: B023
                assert found == expected, (query, found, expected)
                seconds[0].append(one)
                seconds[1].append(two)
            first, second = map(statistics.median, seconds)
            print(f"{query!s:<78}{found:>9}{first:>8.3f}{second:>9.3f}{second / first:>7.1f}")
        connection.close()
        database.close()


if __name__ == "__main__":
    main(*(int(word) for word in (*sys.argv[1:], *("1000000", "3")[len(sys.argv) - 1 :])))
