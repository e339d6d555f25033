"""kill -9 of two writers at any moment, again and again: what was acknowledged is there, and nothing is half there.

Sometimes only one of them is killed first, while the other goes on.
"""

import os
import random
import signal
import time
from collections import Counter
from itertools import count
from pathlib import Path

import pytest

from btree import Database
from tests.btree.faults.settings import fast_folder, long_form, test_seed
from tests.btree.faults.writers import STEPS_AT_MOST, WRITERS, Nursery, Told, branch_keys

KILLS = 2000 if long_form() else 200
ROUNDS_PER_FILE = 10


def killed_round(nursery: Nursery, file: str, number: int, rng: random.Random) -> Told:
    """Start two writers, let them write for a moment, and kill them."""
    pids, told = nursery.start(file, number, rng.randrange(1 << 30))
    rng.shuffle(pids)
    time.sleep(rng.uniform(0.005, 0.08))
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        time.sleep(rng.choice((0.0, 0.01)))
    return nursery.reap(told)


def problems_after(database: Database, told: Told) -> list[str]:
    """What is not as the writers were told."""
    problems = [*told.failures, *database.check().problems]
    head = {name: dict(database.snapshot().tree(name).scan()) for name in ("t", "u")}
    problems += [f"{key!r} was acknowledged and is lost" for key in told.puts if key not in head["t"]]
    singles = {key: value for key, value in head["t"].items() if b"/" not in key}
    if singles != head["u"]:
        problems.append("a commit is in one of its two trees only")
    for txn_id, state in told.state.items():
        problems += branch_problems(database, txn_id, state, told.saved[txn_id], head["t"])
    return problems


def branch_problems(
    database: Database, txn_id: str, told: str, saved: list[int], head: dict[bytes, bytes]
) -> list[str]:
    """A branch is committed as a whole, or not visible; while it is open it has its saved steps."""
    state = database.status(txn_id).state
    allowed = {
        "began": ["open"],
        "ending": ["open", "committed", "rolled_back"],
        "committed": ["committed"],
        "refused": ["rolled_back"],
    }
    if state not in allowed[told]:
        return [f"{txn_id} was told {told} and is {state}"]
    problems = [
        f"{txn_id}: step {step} was acknowledged, its result is lost"
        for step in saved
        if database.recorded(txn_id, f"step-{step}") != b"%d" % step
    ]
    if state == "open":
        found = {key for key, _ in database.resume(txn_id).tree("t").scan()}
        problems += [
            problem for step in range(STEPS_AT_MOST) for problem in step_problems(database, txn_id, step, found)
        ]
    visible = {key for key in head if key.startswith(txn_id.encode() + b"/")}
    expected = {key for step in saved for key in branch_keys(txn_id, step)} if state == "committed" else set()
    return (
        problems
        if visible == expected
        else [*problems, f"{txn_id} is {state}, and {len(visible)} of its keys are visible"]
    )


def step_problems(database: Database, txn_id: str, step: int, found: set[bytes]) -> list[str]:
    """A step of an open branch is recorded and all there, or neither."""
    there = found.intersection(branch_keys(txn_id, step))
    recorded = database.recorded(txn_id, f"step-{step}") is not None
    if len(there) == (len(branch_keys(txn_id, step)) if recorded else 0):
        return []
    return [f"{txn_id}: step {step} is {'' if recorded else 'not '}recorded, and {len(there)} of its keys are there"]


@pytest.mark.timeout(1800)
def test_kill_nine_loses_nothing_acknowledged(tmp_path: Path) -> None:
    seed = test_seed()
    rng = random.Random(seed)
    seen: Counter[str] = Counter()
    with fast_folder(tmp_path) as folder:
        nursery = Nursery(folder)
        try:
            for number in count():
                file = f"{number // ROUNDS_PER_FILE}.db"
                if number % ROUNDS_PER_FILE == 0:
                    with Database.open(folder / file, create=True) as database:
                        database.transact(lambda transaction: [transaction.create_tree(name) for name in ("t", "u")])
                told = killed_round(nursery, file, number, rng)
                with Database.open(folder / file) as database:
                    problems = problems_after(database, told)
                assert not problems, f"SOP_TEST_SEED={seed}, round {number}: {problems[:5]}"
                seen.update(told.state.values())
                seen["put"] += len(told.puts)
                if (number + 1) * WRITERS >= KILLS:
                    break
        finally:
            nursery.close()
    print(f"SOP_TEST_SEED={seed}: {KILLS} kills, {dict(seen)}")
    assert all(seen[kind] for kind in ("put", "committed", "began", "ending")), f"too little happened: {dict(seen)}"
