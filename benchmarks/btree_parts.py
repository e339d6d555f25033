"""What the engine's benchmark does in processes of their own: writing beside others, and taking memory that can be told from its own.

`python benchmarks/btree_parts.py writer PATH NUMBER` | `scan PATH` | `update PATH`; each prints one JSON object.
"""

import json
import os
import random
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from btree_records import key, record

from btree import Conflict, Database

WRITES = 1500


def writer(path: str, number: int) -> None:
    """One writing process: waits for a line, and commits records of its own one by one."""
    conflicts = 0
    with Database.open(Path(path)) as database:
        print("ready", flush=True)
        sys.stdin.readline()
        begin = time.monotonic()
        for count in range(WRITES):
            wanted = key(1_000_000 + random.Random(count * 4 + number).randrange(1 << 30) * 4 + number)
            while True:
                transaction = database.begin(f"{number}/{count}", durable=False)
                transaction.tree("t").put(wanted, record(count))
                try:
                    transaction.commit()
                    break
                except Conflict:
                    conflicts += 1
                    transaction.rollback()
        end = time.monotonic()
    print(json.dumps({"commits": WRITES, "conflicts": conflicts, "begin": begin, "end": end}), flush=True)


def peak_memory() -> int:
    """KiB that this process has had resident at most. (getrusage tells the parent's, before the child's program began.)"""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])


def memory(part: str, path: str) -> None:
    """In a process of its own: scan, or change every record in one transaction."""
    with Database.open(Path(path)) as database, Path(os.devnull).open("wb") as sink:
        database.snapshot().tree("t").get(key(0))
        idle = peak_memory()
        if part == "scan":
            for slice_ in database.snapshot().tree("t").leaves():
                sink.write(slice_.values_json)
        else:

            def change(t: Any) -> None:
                tree = t.tree("t")
                for slice_ in tree.leaves():
                    for found, value in zip(slice_.keys, slice_.values(), strict=True):
                        tree.put(found, value[:-1] + b',"seen":true}')

            database.transact(change)
        peak = peak_memory()
    print(json.dumps({"peak_mb": (peak - idle) / 1024}))


if __name__ == "__main__":
    if sys.argv[1] == "writer":
        writer(sys.argv[2], int(sys.argv[3]))
    else:
        memory(sys.argv[1], sys.argv[2])
