"""Concurrent workloads on the real engine: what was seen has to fit the level that was promised.

Each run has few hot keys, so that transactions conflict, or many, so that most commits pass each other. The seed is in the
message of a failure; SOP_TEST_SEED takes it up again (which thread comes first is still up to the machine).
SOP_LONG_TESTS=1 runs more of everything.
"""

import os
import random
from collections import Counter
from pathlib import Path

import pytest

from tests.btree.isolation.checker import Level, anomalies, violations
from tests.btree.isolation.history import History
from tests.btree.isolation.workloads import Plan, read_all, run_processes, run_threads, set_up, tally

LONG = os.environ.get("SOP_LONG_TESTS") == "1"
SEED = int(os.environ.get("SOP_TEST_SEED", random.SystemRandom().randrange(1 << 30)))
COMMITS = 400 if LONG else 40
LEVELS: list[Level] = ["serializable", "snapshot"]
HOT, MANY = 6, 400

both_levels = pytest.mark.parametrize("level", LEVELS)
every_work = pytest.mark.parametrize("work", ["lists", "registers", "predicates", "skew", "phantoms"])
pytestmark = pytest.mark.timeout(1800 if LONG else 120)


def run(path: Path, plan: Plan, how: str) -> tuple[History, str]:
    """The whole history, and a line for messages."""
    workers = 3 if how == "processes" else 4
    before = set_up(path, plan, workers)
    if how == "processes":
        history = run_processes(path, plan, workers)
    else:
        history = run_threads(path, plan, workers, shared=how == "threads")
    counted = tally(history)
    text = f"seed {SEED}, {how}, {plan.work}, {plan.isolation}, {plan.keys} keys: {dict(counted)}"
    print(text)
    assert counted["ok"] >= workers * plan.commits * 0.9, f"too little was done: {text}"
    return [before, *history, read_all(path)], text


def judge(history: History, text: str, level: Level) -> None:
    found = violations(history, level)
    names = Counter(anomaly.name for anomaly in found)
    assert not found, f"{text}\n{dict(names)}\n" + "\n".join(map(str, found[:3]))


@both_levels
@every_work
@pytest.mark.parametrize("keys", [HOT, MANY], ids=["hot keys", "many keys"])
def test_threads_on_one_database(tmp_path: Path, work: str, level: Level, keys: int) -> None:
    history, text = run(tmp_path / "t.db", Plan(work, level, keys, COMMITS, SEED), "threads")
    judge(history, text, level)


@both_levels
@every_work
def test_a_database_object_for_each_thread(tmp_path: Path, work: str, level: Level) -> None:
    history, text = run(tmp_path / "t.db", Plan(work, level, 30, COMMITS, SEED), "databases")
    judge(history, text, level)


@both_levels
@pytest.mark.parametrize("work", ["lists", "predicates", "phantoms"])
def test_processes_on_one_file(tmp_path: Path, work: str, level: Level) -> None:
    history, text = run(tmp_path / "t.db", Plan(work, level, 30, COMMITS, SEED), "processes")
    judge(history, text, level)


@both_levels
@pytest.mark.parametrize("work", ["lists", "predicates", "phantoms"])
def test_transactions_that_move_at_every_step(tmp_path: Path, work: str, level: Level) -> None:
    """Saved and resumed through another Database object: what was read before has to count behind it."""
    history, text = run(tmp_path / "t.db", Plan(work, level, 12, COMMITS, SEED, moves=0.9), "databases")
    judge(history, text, level)


@pytest.mark.parametrize("work", ["skew", "phantoms"])
def test_snapshot_isolation_shows_write_skew(tmp_path: Path, work: str) -> None:
    """The proof that the checker would see it: what is allowed at this level does occur, and is found."""
    plan = Plan(work, "snapshot", HOT, COMMITS * 2, SEED)
    history, text = run(tmp_path / "t.db", plan, "threads")
    judge(history, text, "snapshot")
    names = {anomaly.name for anomaly in anomalies(history)}
    assert names & {"G2-item", "G2"}, f"{text}: only {names}"


@both_levels
@pytest.mark.parametrize("how", ["threads", "processes"])
def test_disjoint_keys_do_not_conflict(tmp_path: Path, level: Level, how: str) -> None:
    plan = Plan("disjoint", level, 100, COMMITS, SEED, rollbacks=0)
    history, text = run(tmp_path / "t.db", plan, how)
    judge(history, text, level)
    conflicts = tally(history)["aborted"]
    assert not conflicts, f"{conflicts} conflicts between transactions that share no key. {text}"
