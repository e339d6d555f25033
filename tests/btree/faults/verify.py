"""Holds a file that has been through something against the ledger of what was acknowledged.

Gives what is wrong as texts: "damage: ..." where the file cannot be read as a database, "lost: ..." where an acknowledged
fact is gone, "mixed: ..." where there is something that nobody wrote or half of what somebody wrote.
"""

from pathlib import Path

from btree import BTreeError, Database
from tests.btree.faults.driver import Branch, Ledger, content, trees_of
from tests.btree.faults.workload import Model


def verify(path: Path, ledger: Ledger) -> list[str]:
    """What is wrong with the file at `path`, opened without faults."""
    try:
        with Database.open(path, create=not ledger.opened, clock=ledger.clock) as database:
            problems = [f"damage: {problem}" for problem in database.check().problems]
            found = content(database)
            problems += _content(found, ledger)
            for txn_id, branch in ledger.branches.items():
                problems += [f"{problem} ({txn_id})" for problem in _branch(database, txn_id, branch, found, ledger)]
            return problems or _goes_on(database)
    except BTreeError as error:
        return [f"damage: {type(error).__name__}: {error}"]


def _content(found: Model, ledger: Ledger) -> list[str]:
    if found == ledger.head or (ledger.in_flight is not None and found == ledger.in_flight):
        return []
    missing = [
        key
        for name, pairs in ledger.head.items()
        for key, value in pairs.items()
        if found.get(name, {}).get(key) != value
    ]
    return [f"lost: commit {ledger.commits}; {len(missing)} of its records are not there as they were"]


def _branch(database: Database, txn_id: str, branch: Branch, found: Model, ledger: Ledger) -> list[str]:
    state = database.status(txn_id).state
    if state not in (branch.state, branch.aim):
        return [f"lost: it was {branch.state} on its way to {branch.aim}, and is {state}"]
    if branch.aim == "committed":
        truth = ledger.in_flight if state == "committed" else ledger.head
        if found != truth:
            return [f"mixed: its state is {state}, the content says otherwise"]
    problems = [
        f"lost: the result of {step}"
        for step, result in branch.saved.items()
        if database.recorded(txn_id, step) != result
    ]
    if state == "open":
        problems += _open_branch(database, txn_id, branch)
    return problems


def _open_branch(database: Database, txn_id: str, branch: Branch) -> list[str]:
    expected = branch.model
    if branch.saving is not None:
        step, after = branch.saving
        recorded = database.recorded(txn_id, step.key)
        if recorded is not None:
            expected = after
            if recorded != step.result:
                return [f"mixed: {step.key} is recorded as {recorded!r}"]
    if trees_of(database.resume(txn_id).tree) != expected:
        return ["lost: the content of the branch is not that of its last recorded step"]
    return []


def _goes_on(database: Database) -> list[str]:
    """Whether the file can be written to."""
    database.transact(lambda transaction: transaction.create_tree("afterwards").put(b"key", b"1"))
    if dict(database.snapshot().tree("afterwards").scan()) != {b"key": b"1"}:
        return ["damage: it takes no more writes"]
    return []
