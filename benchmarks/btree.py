"""The B+tree engine against what it stands on, and against what people would use instead.

Peers in the same run: SQLite through apsw (a `WITHOUT ROWID` table, WAL, synchronous=FULL: the same promise as ours), lmdb (synced), and
sop4py (the original system's engine, at a tenth of the records; it is slow). A record is about 137 bytes of JSON under a key of 12 bytes.

Every figure is the median of `--rounds` (5), ours and the peer's in turns. Prints one JSON line for each figure:
{"figure", "ours", "unit", "peers": {name: value}, "ratio": {name: ours to peer}, "bar", "holds"}; the exit code says whether all bars hold.

`python benchmarks/btree.py [--records N] [--rounds N] [--only NAME]`.
"""

import argparse
import gc
import json
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import apsw
import lmdb

from btree import Database

Pair = tuple[bytes, bytes]
Timer = Callable[[], float]

UPDATES = 100_000
READS = 20_000
COLD_READS = 3_000
SMALL = 500


def key(number: int) -> bytes:
    return b"%012d" % number


def record(number: int) -> bytes:
    return (
        b'{"id":%d,"customer":"customer-%07d","amount":%d.%02d,"status":"%s","note":"ordered by telephone, to be delivered"}'
        % (number, number * 7919 % 9_999_991, number % 9973, number % 100, (b"open", b"paid", b"sent")[number % 3])
    )


def pairs(count: int) -> Iterator[Pair]:
    return ((key(number), record(number)) for number in range(count))


class Sqlite:
    """A table of SQLite with the same promises."""

    def __init__(self, path: Path) -> None:
        self.connection = apsw.Connection(str(path))
        self.connection.execute(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -32768;"
            "CREATE TABLE IF NOT EXISTS t (k BLOB PRIMARY KEY, v BLOB NOT NULL) WITHOUT ROWID"
        ).fetchall()

    def close(self) -> None:
        self.connection.close()


class Bench:
    """A folder with the loaded files, and the figures."""

    def __init__(self, folder: Path, records: int, rounds: int) -> None:
        self.folder, self.records, self.rounds = folder, records, rounds
        self.pairs = list(pairs(records))
        self.ok = True
        self.random = random.Random(20261121)

    def path(self, name: str) -> Path:
        return self.folder / name

    def ours(self, **options: Any) -> Database:
        return Database.open(self.path("ours.db"), **options)

    def load(self) -> None:
        """The files that the other figures read."""
        for name in ("ours.db", "apsw.db"):
            for suffix in ("", "-wal", "-shm"):
                self.path(name + suffix).unlink(missing_ok=True)
        with self.ours(create=True) as database:
            database.transact(lambda t: t.create_tree("t").load(self.pairs))
        peer = Sqlite(self.path("apsw.db"))
        with peer.connection:
            peer.connection.executemany("INSERT INTO t VALUES (?, ?)", self.pairs)
        peer.close()
        shutil.rmtree(self.path("lmdb"), ignore_errors=True)
        with lmdb.open(str(self.path("lmdb")), map_size=4 << 30) as environment, environment.begin(write=True) as txn:
            txn.cursor().putmulti(self.pairs, append=True)

    def measure(self, timers: dict[str, Timer]) -> dict[str, float]:
        """The medians; the sides take turns."""
        seconds: dict[str, list[float]] = {name: [] for name in timers}
        for _ in range(self.rounds):
            for name, timer in timers.items():
                gc.collect()
                seconds[name].append(timer())
        return {name: statistics.median(values) for name, values in seconds.items()}

    def report(
        self, figure: str, unit: str, found: dict[str, float], bars: dict[str, tuple[str, float]], digits: int = 4
    ) -> None:
        """`bars`: peer -> (">=" or "<=", ratio of ours to the peer's)."""
        ours = found.pop("ours")
        ratios = {name: ours / value for name, value in found.items() if value}
        holds = all(ratios[name] >= bar if sign == ">=" else ratios[name] <= bar for name, (sign, bar) in bars.items())
        self.ok = self.ok and holds
        line = {
            "figure": figure,
            "ours": round(ours, digits),
            "unit": unit,
            "peers": {name: round(value, digits) for name, value in found.items()},
            "ratio": {name: round(value, 3) for name, value in ratios.items()},
            "bar": {name: f"{sign} {bar}" for name, (sign, bar) in bars.items()},
            "holds": holds,
        }
        print(json.dumps(line), flush=True)


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


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
                if warm:
                    for wanted_key in wanted:
                        get(wanted_key)
                return timed(lambda: [get(wanted_key) for wanted_key in wanted])

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


FIGURES = [scan, bulk_load, point_reads, updates, small_transactions]


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
        for figure in FIGURES:
            if options.only in (None, figure.__name__):
                figure(bench)
    return 0 if bench.ok else 1


if __name__ == "__main__":
    sys.exit(main())
