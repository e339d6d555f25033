"""What an element of a batch costs in a worker: the churn example's chunks, run in this process, without Temporal.

    python benchmarks/chunk.py [--chunks 8] [--profile]

Prints microseconds of processor time for each customer, the best and the median chunk; with `--profile` also where the time goes.
"""

import argparse
import cProfile
import pstats
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples" / "churn"
sys.path[:0] = [str(ROOT), str(EXAMPLE)]

import prepare  # noqa: E402

from activities.chunks import perform  # noqa: E402
from query import create_store, import_ndjson  # noqa: E402
from script.machine.effects import Done, Waiting  # noqa: E402
from script.machine.machine import Machine  # noqa: E402
from script.wire import Outcome  # noqa: E402
from worker import create_resources  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--chunks", type=int, default=8)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder), options.chunks, profiled=options.profile)


def run(folder: Path, chunks: int, *, profiled: bool) -> None:
    resources = create_resources(folder / "data")
    database = resources.databases.ensure("customers")
    keys = {"customers": ["customer_id"], "orders": ["customer_id", "date", "sequence"]}
    for path, (name, key) in zip(prepare.write(folder), keys.items(), strict=True):
        database.transact(partial(create_store, name=name, primary_key=key))
        with path.open("rb") as lines:
            import_ndjson(database, name, lines)
    for name in ("check_churn_risk", "weekly_churn_prevention"):
        resources.library.save((EXAMPLE / "scripts" / f"{name}.json").read_text())
    programs = {program.hash: program for program in resources.library.closure("weekly_churn_prevention")}
    machine = Machine.start(
        programs,
        next(iter(programs)),
        run_id="run",
        key_id="run:1",
        arguments={"as_of": "1998-07-01"},
        clock="2026-01-05T09:00:00.000+00:00",
        mocks=["send_email"],
    )
    profile, times = cProfile.Profile(), []
    while len(times) < chunks:
        asked = machine.step()
        if isinstance(asked, Done):
            print(asked)
            break
        assert isinstance(asked, Waiting)
        for effect in asked.start:
            began = time.process_time()
            if profiled and effect.kind == "chunk" and times:
                answer: Any = profile.runcall(perform, resources, effect, lambda done: None)
            else:
                answer = perform(resources, effect, lambda done: None)
            seconds = time.process_time() - began
            if effect.kind == "chunk":
                times.append(seconds / effect.call["size"] * 1e6)
            machine.resume(effect.id, Outcome(answer))
    print(
        f"us for each customer: best {min(times[1:]):.0f}, median {statistics.median(times[1:]):.0f}, first {times[0]:.0f}"
    )
    if profiled:
        pstats.Stats(profile).sort_stats("tottime").print_stats(45)
    resources.databases.close()


if __name__ == "__main__":
    main()
