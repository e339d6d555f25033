"""The B+tree engine against what it stands on, and against what people would use instead.

Peers in the same run: SQLite through apsw (a `WITHOUT ROWID` table, WAL, synchronous=FULL: the same promise as ours), lmdb (synced), and
sop4py (the original system's engine, at a tenth of the records; it is slow). A record is about 137 bytes of JSON under a key of 12 bytes.

Every figure is the median of `--rounds` (5), ours and the peer's in turns. Prints one JSON line for each figure:
{"figure", "ours", "unit", "peers": {name: value}, "ratio": {name: ours to peer}, "bar", "holds"}; the exit code says whether all bars hold.

`python benchmarks/btree.py [--records N] [--rounds N] [--only NAME]`.
"""

import argparse
import gc
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import lmdb
from btree_bench import Bench, Sqlite, Timer, timed
from btree_records import Pair, key, pairs, record

from btree import Database

PARTS = str(Path(__file__).parent / "btree_parts.py")
UPDATES = 100_000
READS = 20_000
COLD_READS = 3_000
SMALL = 500


def scan(bench: Bench) -> None:
    """All records to a sink, as one JSON array."""
    megabytes = sum(len(value) + 2 for _, value in bench.pairs) / 1e6

    def ours() -> float:
        with bench.ours() as database, Path(os.devnull).open("wb") as sink:

            def work() -> None:
                sink.write(b"[")
                first = True
                for part in database.snapshot().tree("t").leaves():
                    if not first:
                        sink.write(b",\n")
                    sink.write(part.values_json)
                    first = False
                sink.write(b"]")

            return timed(work)

    def rows(cursor: Any) -> float:
        with Path(os.devnull).open("wb") as sink:

            def work() -> None:
                sink.write(b"[")
                first = True
                for (value,) in cursor:
                    if not first:
                        sink.write(b",\n")
                    sink.write(value)
                    first = False
                sink.write(b"]")

            return timed(work)

    def sqlite() -> float:
        peer = Sqlite(bench.path("apsw.db"))
        try:
            return rows(peer.connection.execute("SELECT v FROM t ORDER BY k"))
        finally:
            peer.close()

    def mapped() -> float:
        with lmdb.open(str(bench.path("lmdb")), readonly=True) as environment, environment.begin() as txn:
            return rows(zip(txn.cursor().iternext(keys=False, values=True)))

    found = bench.measure({"ours": ours, "apsw": sqlite, "lmdb": mapped})
    rates = {name: megabytes / seconds for name, seconds in found.items()}
    bench.report("full scan to a JSON array", "MB/s", rates, {"apsw": (">=", 4.0), "lmdb": (">=", 2.0)}, 1)


def bulk_load(bench: Bench) -> None:
    """Sorted pairs into an empty file, durable at the end."""
    sizes = {}

    def fresh(name: str) -> Path:
        for suffix in ("", "-wal", "-shm"):
            bench.path(name + suffix).unlink(missing_ok=True)
        return bench.path(name)

    def ours() -> float:
        with Database.open(fresh("load.db"), create=True) as database:
            seconds = timed(lambda: database.transact(lambda t: t.create_tree("t").load(bench.pairs)))
            database.pager.outside("PRAGMA wal_checkpoint(TRUNCATE)")
        sizes["ours"] = bench.path("load.db").stat().st_size / 1e6
        return seconds

    def sqlite() -> float:
        peer = Sqlite(fresh("load.db"))

        def work() -> None:
            with peer.connection:
                peer.connection.executemany("INSERT INTO t VALUES (?, ?)", bench.pairs)

        seconds = timed(work)
        peer.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        peer.close()
        sizes["apsw"] = bench.path("load.db").stat().st_size / 1e6
        return seconds

    found = bench.measure({"ours": ours, "apsw": sqlite})
    rates = {name: bench.records / seconds for name, seconds in found.items()}
    bench.report("bulk load, sorted", "records/s", rates, {"apsw": (">=", 1.5)}, 0)
    bench.report("file size after load", "MB", sizes, {"apsw": ("<=", 1.1)}, 1)


def point_reads(bench: Bench) -> None:
    """Random reads by key."""
    keys = [key(bench.random.randrange(bench.records)) for _ in range(READS)]
    few = keys[:COLD_READS]

    def both(warm: bool) -> dict[str, Timer]:
        wanted = keys if warm else few
        roomy = 2 << 30 if warm else 32 << 20

        def ours() -> float:
            with bench.ours(cache_bytes=roomy) as database:
                get = database.snapshot().tree("t").get

                def work() -> None:
                    for wanted_key in wanted:
                        get(wanted_key)

                if warm:
                    work()
                return timed(work)

        def sqlite() -> float:
            peer = Sqlite(bench.path("apsw.db"))
            if warm:
                peer.connection.execute("PRAGMA cache_size = -2097152")
            execute = peer.connection.execute

            def work() -> None:
                for wanted_key in wanted:
                    for (_,) in execute("SELECT v FROM t WHERE k = ?", (wanted_key,)):
                        pass

            if warm:
                work()
            seconds = timed(work)
            peer.close()
            return seconds

        return {"ours": ours, "apsw": sqlite}

    for warm, bar in ((True, 0.5), (False, 2.5)):
        found = bench.measure(both(warm))
        count = READS if warm else COLD_READS
        micros = {name: seconds / count * 1e6 for name, seconds in found.items()}
        bench.report(f"random point read, {'warm' if warm else 'cold cache'}", "us", micros, {"apsw": ("<=", bar)}, 2)


def updates(bench: Bench) -> None:
    """100,000 random updates in one transaction, durable at the end."""
    count = min(UPDATES, bench.records)

    def changes() -> list[Pair]:
        numbers = bench.random.sample(range(bench.records), count)
        return [(key(number), record(number + 1)) for number in numbers]

    def ours() -> float:
        with bench.ours() as database:
            wanted = changes()

            def work(t: Any) -> None:
                put = t.tree("t").put
                for wanted_key, value in wanted:
                    put(wanted_key, value)

            seconds = timed(lambda: database.transact(work))
            database.sweep(retention_seconds=0.0)
            database.pager.outside("PRAGMA wal_checkpoint(TRUNCATE)")
        return seconds

    def sqlite() -> float:
        peer = Sqlite(bench.path("apsw.db"))
        wanted = [(value, wanted_key) for wanted_key, value in changes()]

        def work() -> None:
            with peer.connection:
                peer.connection.executemany("UPDATE t SET v = ? WHERE k = ?", wanted)

        seconds = timed(work)
        peer.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        peer.close()
        return seconds

    found = bench.measure({"ours": ours, "apsw": sqlite})
    bench.report("100,000 random updates in one transaction", "s", found, {"apsw": ("<=", 1.0)}, 3)


def small_transactions(bench: Bench) -> None:
    """One record each: begin, put, commit; durable."""

    def ours() -> float:
        with bench.ours() as database:
            numbers = [bench.random.randrange(bench.records) for _ in range(SMALL)]

            def work() -> None:
                for number in numbers:
                    database.transact(lambda t, number=number: t.tree("t").put(key(number), record(number + 2)))  # type: ignore[misc]

            seconds = timed(work)
            database.sweep(retention_seconds=0.0)
        return seconds / SMALL * 1e3

    def sqlite() -> float:
        peer = Sqlite(bench.path("apsw.db"))
        numbers = [bench.random.randrange(bench.records) for _ in range(SMALL)]

        def work() -> None:
            for number in numbers:
                with peer.connection:
                    peer.connection.execute("UPDATE t SET v = ? WHERE k = ?", (record(number + 2), key(number)))

        seconds = timed(work)
        peer.close()
        return seconds / SMALL * 1e3

    found = bench.measure({"ours": ours, "apsw": sqlite})
    bench.report("one-record durable transaction", "ms", found, {"apsw": ("<=", 2.5)}, 3)


def many_writers(bench: Bench) -> None:
    """Four processes committing disjoint keys to one file, against one."""

    def run(writers: int) -> tuple[float, int]:
        path = bench.path("writers.db")
        for suffix in ("", "-wal", "-shm"):
            bench.path("writers.db" + suffix).unlink(missing_ok=True)
        with Database.open(path, create=True) as database:
            loaded = bench.pairs[:100_000]
            database.transact(lambda t: t.create_tree("t").load(loaded))
            before = database.head().seq
            command = [sys.executable, PARTS, "writer", str(path)]
            children = [
                subprocess.Popen([*command, str(number)], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
                for number in range(writers)
            ]
            answers = []
            for child in children:
                assert child.stdout is not None
                child.stdout.readline()
            for child in children:
                assert child.stdin is not None
                child.stdin.write("go\n")
                child.stdin.flush()
            answers = [json.loads(child.communicate()[0]) for child in children]
            assert all(child.returncode == 0 for child in children)
            commits = sum(answer["commits"] for answer in answers)
            assert database.head().seq - before == commits, "every commit has to be a version"
            tree = database.snapshot().tree("t")
            assert tree.count() == len(loaded) + commits, "a commit was lost"
            span = max(answer["end"] for answer in answers) - min(answer["begin"] for answer in answers)
        return commits / span, sum(answer["conflicts"] for answer in answers)

    rates: dict[int, list[float]] = {1: [], 4: []}
    conflicts = 0
    for _ in range(bench.rounds):
        for writers, found in rates.items():
            rate, failed = run(writers)
            found.append(rate)
            conflicts += failed
    medians = {"ours": statistics.median(rates[4]), "one writer": statistics.median(rates[1])}
    assert conflicts == 0, "disjoint keys must not conflict"
    bench.report("four processes, disjoint keys", "commits/s", medians, {"one writer": (">=", 0.9)}, 0)


def merging(bench: Bench) -> None:
    """A commit of 100 changes after the head moved by 10,000 other keys."""
    rounds: list[float] = []
    with bench.ours() as database:
        for _ in range(bench.rounds):
            numbers = bench.random.sample(range(bench.records), min(10_100, bench.records))
            ours = database.begin(f"ours-{time.monotonic_ns()}")
            for number in numbers[:100]:
                ours.tree("t").put(key(number), record(number + 3))

            def others(t: Any, numbers: list[int] = numbers) -> None:
                for number in numbers[100:]:
                    t.tree("t").put(key(number), record(number + 4))

            database.transact(others)
            rounds.append(timed(ours.commit) * 1e3)
            database.sweep(retention_seconds=0.0)
    found = {"ours": statistics.median(rounds), "the bar's": 20.0}
    bench.report("commit of 100 after the head moved by 10,000", "ms", found, {"the bar's": ("<=", 1.0)}, 2)


def memory(bench: Bench) -> None:
    """Peak memory above idle, of a scan and of an update of every record, at one and at five times the records."""
    for part in ("scan", "update"):
        peaks: dict[str, float] = {}
        for times in (1, 5):
            path = bench.path("memory.db")
            for suffix in ("", "-wal", "-shm"):
                bench.path("memory.db" + suffix).unlink(missing_ok=True)
            with Database.open(path, create=True) as database:
                database.transact(lambda t, times=times: t.create_tree("t").load(pairs(times * bench.records)))  # type: ignore[misc]
            command = [sys.executable, PARTS, part, str(path)]
            found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout)
            peaks[f"{times}x"] = found["peak_mb"]
            bench.path("memory.db").unlink()
        medians = {"ours": peaks["5x"], "at a fifth of the records": peaks["1x"], "the bar's": 100.0}
        bars = {"at a fifth of the records": ("<=", 1.1), "the bar's": ("<=", 1.0)}
        bench.report(f"peak memory above idle: {part} of {5 * bench.records} records", "MB", medians, bars, 1)


def original(bench: Bench) -> None:
    """One-record transactions of the original system's engine (sop4py), with 100,000 records in it."""
    sop, btree_module, sop_ai, options_module = (
        importlib.import_module(name) for name in ("sop", "sop.btree", "sop.ai", "sop.database")
    )
    context = sop.Context()
    folder = str(bench.path("sop4py"))
    options = options_module.DatabaseOptions(stores_folders=[folder], type=sop_ai.DatabaseType.Standalone)
    database = sop_ai.Database(options)
    item = btree_module.Item
    with database.begin_transaction(context) as transaction:
        database.new_btree(context, "t", transaction)
    for start in range(0, min(100_000, bench.records), 10_000):
        with database.begin_transaction(context) as transaction:
            tree = database.open_btree(context, "t", transaction)
            tree.add(
                context, [item(key=number, value=record(number).decode()) for number in range(start, start + 10_000)]
            )

    def theirs() -> float:
        def work() -> None:
            for _ in range(SMALL // 10):
                number = bench.random.randrange(min(100_000, bench.records))
                with database.begin_transaction(context) as transaction:
                    tree = database.open_btree(context, "t", transaction)
                    tree.update(context, item(key=number, value=record(number + 2).decode()))

        return timed(work) / (SMALL // 10) * 1e3

    small = bench.path("small.db")
    with Database.open(small, create=True) as ours_database:
        ours_database.transact(lambda t: t.create_tree("t").load(bench.pairs[:100_000]))

        def ours() -> float:
            def work() -> None:
                for _ in range(SMALL):
                    number = bench.random.randrange(min(100_000, bench.records))
                    ours_database.transact(lambda t, number=number: t.tree("t").put(key(number), record(number + 2)))  # type: ignore[misc]

            return timed(work) / SMALL * 1e3

        found = bench.measure({"ours": ours, "sop4py": theirs})
    bench.report("one-record durable transaction, 100,000 records", "ms", found, {"sop4py": ("<=", 0.05)}, 3)


FIGURES = [scan, bulk_load, point_reads, updates, small_transactions, merging, many_writers, memory, original]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        bench = Bench(Path(folder), options.records, options.rounds)
        bench.load()
        gc.collect()
        gc.freeze()  # the million pairs of the benchmark itself are none of the collector's business
        for figure in FIGURES:
            if options.only in (None, figure.__name__):
                figure(bench)
    return 0 if bench.ok else 1


if __name__ == "__main__":
    sys.exit(main())
