"""The checker, checked: hand-written histories for each anomaly, and a model database with faults that can be switched on."""

import os
import random
import time
from pathlib import Path

import pytest

from tests.btree.isolation.checker import ALLOWED, Level, anomalies, violations
from tests.btree.isolation.history import Append, Count, History, Operation, Read, Scan, Transaction, Write, dump, load
from tests.btree.isolation.simulation import Fault, Simulation

LONG = os.environ.get("SOP_LONG_TESTS") == "1"
SEED = int(os.environ.get("SOP_TEST_SEED", random.SystemRandom().randrange(1 << 30)))


def txn(name: str, times: tuple[int, int], *operations: Operation, status: str = "ok", **engine: int) -> Transaction:
    assert status in ("ok", "aborted", "unknown")
    found = "ok" if status == "ok" else "aborted" if status == "aborted" else "unknown"
    return Transaction(name, name, *times, found, operations, engine.get("base"), engine.get("seq"))  # type: ignore[arg-type]


pytestmark = pytest.mark.timeout(900 if LONG else 120)

TOGETHER = (0, 100)
AFTER = (200, 300)

HISTORIES: dict[str, History] = {
    "G0": [
        txn("A", TOGETHER, Append("x", 1), Append("y", 1)),
        txn("B", TOGETHER, Append("x", 2), Append("y", 2)),
        txn("C", TOGETHER, Read("x", (1, 2))),
        txn("D", TOGETHER, Read("y", (2, 1))),
    ],
    "G1a": [txn("A", TOGETHER, Append("x", 1), status="aborted"), txn("B", TOGETHER, Read("x", (1,)))],
    "G1b": [
        txn("A", TOGETHER, Append("x", 1), Append("x", 2)),
        txn("B", TOGETHER, Read("x", (1,))),
        txn("C", AFTER, Read("x", (1, 2))),
    ],
    "G1c": [
        txn("A", TOGETHER, Append("x", 1), Read("y", (1,))),
        txn("B", TOGETHER, Append("y", 1), Read("x", (1,))),
    ],
    "lost update": [
        txn("A", TOGETHER, Read("x", None), Write("x", 1), base=0, seq=1),
        txn("B", TOGETHER, Read("x", None), Write("x", 2), base=0, seq=2),
    ],
    "G-single": [
        txn("A", TOGETHER, Append("x", 1), Append("y", 1)),
        txn("B", TOGETHER, Read("x", ()), Read("y", (1,))),
        txn("C", AFTER, Read("x", (1,))),
    ],
    "G-nonadjacent": [
        txn("A", TOGETHER, Read("x", ()), Read("s", (1,))),
        txn("B", TOGETHER, Append("x", 1), Append("p", 1)),
        txn("C", TOGETHER, Read("p", (1,)), Read("q", ())),
        txn("D", TOGETHER, Append("q", 1), Append("s", 1)),
        txn("Z", AFTER, *[Read(key, (1,)) for key in "xpqs"]),
    ],
    "G2-item": [
        txn("A", TOGETHER, Read("x", ()), Append("y", 1)),
        txn("B", TOGETHER, Read("y", ()), Append("x", 1)),
        txn("C", AFTER, Read("x", (1,)), Read("y", (1,))),
    ],
    "G2": [
        txn("A", TOGETHER, Scan("a", "m", ()), Write("n", 1), base=0, seq=1),
        txn("B", TOGETHER, Scan("m", "z", ()), Write("b", 1), base=0, seq=2),
    ],
    "stale read": [txn("A", (0, 100), Append("x", 1)), txn("B", (101, 200), Read("x", ()))],
    "G2-realtime": [
        txn("A", (20, 30), Read("x", ())),
        txn("B", (0, 50), Append("x", 1), Read("y", ())),
        txn("C", (0, 10), Append("y", 1)),
        txn("Z", (60, 70), Read("x", (1,)), Read("y", (1,))),
    ],
    "internal": [txn("A", TOGETHER, Append("x", 1), Read("x", ()))],
    "garbage read": [txn("A", TOGETHER, Read("x", 7))],
    "incompatible order": [
        txn("A", TOGETHER, Append("x", 1)),
        txn("B", TOGETHER, Append("x", 2)),
        txn("C", TOGETHER, Read("x", (1, 2))),
        txn("D", TOGETHER, Read("x", (2,))),
    ],
    "duplicate element": [txn("A", TOGETHER, Append("x", 1)), txn("B", TOGETHER, Read("x", (1, 1)))],
    "inconsistent count": [
        txn("A", TOGETHER, Write("x", 1), base=0, seq=1),
        txn("B", TOGETHER, Count(2), base=1),
    ],
}

MORE: list[tuple[str, str, History]] = [
    (
        "a count that misses an insert, both ways: a phantom",
        "G2",
        [
            txn("A", TOGETHER, Count(0), Write("x", 1), base=0, seq=1),
            txn("B", TOGETHER, Count(0), Write("y", 2), base=0, seq=2),
        ],
    ),
    (
        "a list with an append lost without any later reader of it",
        "stale read",
        [
            txn("A", (0, 10), Append("x", 1)),
            txn("B", (0, 10), Append("x", 2)),
            txn("C", (20, 30), Read("x", (2,))),
        ],
    ),
    (
        "two states in one snapshot, by a scan",
        "G-single",
        [
            txn("A", TOGETHER, Write("x", 1), Write("y", 2), seq=1),
            txn("B", TOGETHER, Read("x", 1), Scan("y", "z", ()), base=0),
        ],
    ),
    (
        "a scan that is another the second time",
        "internal",
        [
            txn("A", TOGETHER, Write("x", 1), seq=1),
            txn("B", TOGETHER, Scan("a", "z", ()), Scan("a", "z", (("x", 1),)), base=0),
        ],
    ),
    (
        "registers without commit numbers: the order is proved by read-modify-write",
        "stale read",
        [
            txn("A", (0, 1), Write("x", 1)),
            txn("B", (2, 3), Read("x", 1), Write("x", 2)),
            txn("C", (4, 5), Read("x", 1)),
        ],
    ),
    (
        "a deleted key that is read later",
        "stale read",
        [
            txn("A", (0, 1), Write("x", 1), seq=1),
            txn("B", (2, 3), Write("x", None), seq=2),
            txn("C", (4, 5), Read("x", 1)),
        ],
    ),
    (
        "an unknown outcome that was read, and then was not",
        "stale read",
        [
            txn("A", (0, 1), Append("x", 1), status="unknown"),
            txn("B", (2, 3), Read("x", (1,))),
            txn("C", (4, 5), Read("x", ())),
        ],
    ),
    (
        "the read-only anomaly",
        "G2-item",
        [
            txn("deposit", (0, 10), Read("savings", 1), Write("savings", 20), base=1, seq=2),
            txn("withdraw", (0, 40), Read("savings", 1), Read("checking", 2), Write("checking", 11), base=1, seq=3),
            txn("report", (20, 30), Read("savings", 20), Read("checking", 2), base=2),
            txn("setup", (-10, -5), Write("savings", 1), Write("checking", 2), base=0, seq=1),
        ],
    ),
]

CLEAN: dict[str, History] = {
    "one after the other": [
        txn("A", (0, 1), Append("x", 1), Read("x", (1,))),
        txn("B", (2, 3), Read("x", (1,)), Append("x", 2), Append("x", 3)),
        txn("C", (4, 5), Read("x", (1, 2, 3))),
    ],
    "a read of the state before, while it changes": [txn("A", (0, 10), Append("x", 1)), txn("B", (5, 15), Read("x", ()))],
    "aborted writes that nobody saw": [txn("A", (0, 1), Append("x", 1), status="aborted"), txn("B", (2, 3), Read("x", ()))],
    "an unknown outcome that nobody saw": [txn("A", (0, 1), Append("x", 1), status="unknown"), txn("B", (2, 3), Read("x", ()))],
    "deleted, and written again": [
        txn("A", (0, 1), Write("x", 1), base=0, seq=1),
        txn("B", (2, 3), Read("x", 1), Write("x", None), base=1, seq=2),
        txn("C", (4, 9), Read("x", None), Count(0), base=2),
        txn("D", (5, 6), Scan(None, None, ()), Write("x", 2), base=2, seq=3),
        txn("E", (10, 11), Scan("x", None, (("x", 2),)), Count(1), base=3),
    ],
    "absent at the begin and at the commit, and not between": [
        txn("A", (0, 90), Read("y", None), Write("x", 1), base=0, seq=3),
        txn("B", (1, 2), Write("x", 2), base=0, seq=1),
        txn("C", (3, 4), Read("x", 2), Write("x", None), Count(0), base=1, seq=2),
        txn("D", (100, 110), Read("x", 1), Count(1), base=3),
    ],
    "a range beside the change": [
        txn("A", TOGETHER, Scan("a", "m", ()), Write("n", 1), base=0, seq=1),
        txn("B", TOGETHER, Scan("o", "z", ()), Write("m", 1), base=0, seq=2),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", HISTORIES)
def test_each_anomaly_is_found_and_named(name: str) -> None:
    _judge(HISTORIES[name], name)


@pytest.mark.parametrize(("what", "name", "history"), MORE, ids=[what for what, _, _ in MORE])
def test_anomalies_in_other_guises(what: str, name: str, history: History) -> None:
    _judge(history, name)


def _judge(history: History, name: str) -> None:
    found = violations(history, "serializable")
    assert name in {anomaly.name for anomaly in found}, f"{name} was not found in {found}"
    names = {anomaly.name for anomaly in violations(history, "snapshot")}
    if name in ALLOWED["snapshot"]:
        assert not names, f"{name} is allowed under snapshot isolation, and {names} was reported"
    else:
        assert name in names
    assert all(anomaly.transactions[0] in str(anomaly) for anomaly in found)


@pytest.mark.parametrize("what", CLEAN)
def test_clean_histories_are_clean(what: str) -> None:
    assert anomalies(CLEAN[what]) == []


def test_a_history_is_kept_as_json_lines(tmp_path: Path) -> None:
    history = [transaction for parts in HISTORIES.values() for transaction in parts]
    dump(history, tmp_path / "history.jsonl")
    assert load(tmp_path / "history.jsonl") == history


def test_values_have_to_be_unique() -> None:
    with pytest.raises(ValueError, match="unique"):
        anomalies([txn("A", TOGETHER, Write("x", 1)), txn("B", TOGETHER, Write("x", 1))])


# --- a model database with faults ---

# What a fault has to be found as, by the level at which it has to be found.
SHOWS_AS: dict[Fault, tuple[Level, set[str]]] = {
    Fault.STALE: ("snapshot", {"stale read"}),
    Fault.DIRTY: ("snapshot", {"G1a"}),
    Fault.INTERMEDIATE: ("snapshot", {"G1b"}),
    Fault.LOST_UPDATE: ("snapshot", {"lost update"}),
    Fault.WRITE_SKEW: ("serializable", {"G2-item", "G2"}),
    Fault.PHANTOM: ("serializable", {"G2"}),
}


def simulate(seed: int, fault: Fault, transactions: int = 400) -> History:
    return Simulation(seed, fault).run(transactions)


@pytest.mark.parametrize("fault", SHOWS_AS)
def test_each_fault_of_the_model_is_found(fault: Fault) -> None:
    level, names = SHOWS_AS[fault]
    for seed in range(SEED, SEED + (40 if LONG else 5)):
        found = {anomaly.name for anomaly in violations(simulate(seed, fault, 1000), level)}
        assert found & names, f"seed {seed}: the fault {fault} was not found as one of {names}, only as {found}"


def test_the_faultless_model_is_clean() -> None:
    for seed in range(SEED, SEED + (500 if LONG else 50)):
        found = anomalies(simulate(seed, Fault.NONE))
        assert not found, f"seed {seed}: {found[0]}"


@pytest.mark.parametrize("fault", [Fault.WRITE_SKEW, Fault.PHANTOM])
def test_the_model_with_snapshot_isolation_is_clean_at_that_level(fault: Fault) -> None:
    for seed in range(SEED, SEED + (200 if LONG else 30)):
        found = violations(simulate(seed, fault), "snapshot")
        assert not found, f"seed {seed}: {found[0]}"


def test_the_names_do_not_depend_on_commit_numbers_alone() -> None:
    """Without commit numbers and bases less can be proved of registers, and still nothing false is."""
    for seed in range(SEED, SEED + (200 if LONG else 20)):
        bare = [_bare(transaction) for transaction in simulate(seed, Fault.NONE)]
        assert not anomalies(bare), f"seed {seed}: {anomalies(bare)[0]}"
    broken = [_bare(transaction) for transaction in simulate(SEED, Fault.LOST_UPDATE, 1000)]
    assert "lost update" in {anomaly.name for anomaly in anomalies(broken)}, f"seed {SEED}"


def _bare(transaction: Transaction) -> Transaction:
    return Transaction(
        transaction.id,
        transaction.process,
        transaction.start,
        transaction.end,
        transaction.status,
        transaction.operations,
    )


def test_five_thousand_transactions_take_about_a_second() -> None:
    history = simulate(SEED, Fault.NONE, 5000)
    started = time.process_time()
    found = anomalies(history)
    took = time.process_time() - started
    print(f"{len(history)} transactions checked in {took:.2f} s")
    assert not found, f"seed {SEED}: {found[0]}"
    assert took < 3, f"{took:.2f} s of processor time"
