"""The engine's benchmark: its files, its peers, and how figures are measured and told."""

import gc
import json
import random
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import apsw
import lmdb
from btree_records import pairs

from btree import Database

Timer = Callable[[], float]


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


class Figures:
    """A folder for the files, and how figures are measured and told. `ok`: all bars held so far."""

    def __init__(self, folder: Path, records: int, rounds: int) -> None:
        self.folder, self.records, self.rounds = folder, records, rounds
        self.ok = True
        self.random = random.Random(20261121)

    def path(self, name: str) -> Path:
        return self.folder / name

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
        holds = all(
            ratios.get(name, 0.0) >= bar if sign == ">=" else ratios.get(name, 0.0) <= bar
            for name, (sign, bar) in bars.items()
        )
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


class Bench(Figures):
    """The engine's loaded files."""

    def __init__(self, folder: Path, records: int, rounds: int) -> None:
        super().__init__(folder, records, rounds)
        self.pairs = list(pairs(records))

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


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
