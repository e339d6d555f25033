"""Does a workload with an engine, and keeps a ledger of what the engine has acknowledged.

The ledger knows at each moment the content of the last acknowledged commit and, if a call is under way, what it would make
of it; and for each transaction the state, saves and results that were acknowledged, and those under way. A call counts as
acknowledged when it has returned.

After an error the driver may go on as a workflow would: it asks `status` and `recorded` what became of the call, holds
the answer against the content, and takes the task up again by its id.
"""

import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import apsw

import btree
from btree import BTreeError, Conflict, Database, Transaction, TreeNotFound
from tests.btree.faults.workload import TREES, Action, Finish, Model, Reopen, Run, Step, Sweep, Task

LEASE = 3600.0
ENGINE = Path(btree.__file__).parent


@dataclass
class Branch:
    """A transaction, as far as we were told."""

    model: Model
    state: str = "unknown"
    aim: str | None = None
    saved: dict[str, bytes] = field(default_factory=dict)
    saving: tuple[Step, Model] | None = None


@dataclass
class Ledger:
    """What was acknowledged, and what was under way."""

    opened: bool = False
    now: float = 1_000_000.0
    head: Model = field(default_factory=dict)
    in_flight: Model | None = None
    branches: dict[str, Branch] = field(default_factory=dict)
    commits: int = 0
    errors: int = 0
    leaks: list[str] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def note(self, error: Exception) -> None:
        """Count an error; one of a kind that should never come out is kept as a leak."""
        self.errors += 1
        leak = leak_of(error)
        if leak is not None:
            self.leaks.append(leak)


class Driver:
    """Runs actions against a database that `opener` opens; each at most `attempts` times."""

    def __init__(self, opener: Callable[[Ledger], Database], *, attempts: int = 1) -> None:
        self.ledger = Ledger()
        self.database: Database | None = None
        self._opener = opener
        self._attempts = attempts

    def run(self, actions: list[Action]) -> None:
        """Do the actions. Raises what the engine raised at the last attempt."""
        for action in [None, *actions]:
            self._persist(action)

    def _persist(self, action: Action | None) -> None:
        for attempt in range(1, self._attempts + 1):
            try:
                self._do(action)
            except (BTreeError, apsw.Error) as error:
                self.ledger.note(error)
                if attempt == self._attempts:
                    raise
                self._interlude()
            else:
                return

    def _interlude(self) -> None:
        """After an error another transaction comes first: it is given the page ids of the write that failed."""
        if self.database is None:
            return
        changes = (("between", b"%d" % self.ledger.errors, b'"between"'),)
        step = Step("between", b"null", changes, creates=("between",))
        task = Task(f"between-{self.ledger.errors}", (step,), "leave")
        self._task(self.database, task, "leave")
        found = trees_of(self.database.resume(task.id).tree)
        assert found == self.ledger.branches[task.id].model, f"{task.id} is not what was written"

    def _open(self) -> None:
        if self.database is None:
            self.database = self._opener(self.ledger)
            self.ledger.opened = True

    def _do(self, action: Action | None) -> None:
        self._open()
        assert self.database is not None
        if isinstance(action, Run):
            self._task(self.database, action.task, action.task.ending)
        elif isinstance(action, Finish):
            self._task(self.database, action.task, "commit")
        elif isinstance(action, Sweep):
            self._sweep(self.database)
        elif isinstance(action, Reopen):
            database, self.database = self.database, None
            database.close()
            self._open()

    # --- tasks ---

    def _task(self, database: Database, task: Task, ending: str) -> None:
        branch = self.ledger.branches.setdefault(task.id, Branch(self.ledger.head))
        if self._ended(database, task, branch):
            return
        branch.aim = "open"
        transaction = database.begin(task.id)
        branch.state, branch.aim = "open", None
        early = task.steps if ending == "leave" else task.steps[:-1]
        for step in early:
            self._step(database, transaction, branch, step)
        if ending == "commit":
            self._commit(database, transaction, task, branch)
        elif ending == "rollback":
            self._rollback(transaction, branch)

    def _ended(self, database: Database, task: Task, branch: Branch) -> bool:
        """Whether an earlier attempt has ended it; and whether what the database tells of it is the truth."""
        state = database.status(task.id).state
        if branch.state == "unknown" and branch.aim is None:
            assert state == "unknown", f"{task.id} is {state} and was never begun"
        if branch.aim == "committed":
            assert self.ledger.in_flight is not None
            truth = self.ledger.in_flight if state == "committed" else self.ledger.head
            assert content(database) == truth, f"{task.id} is said to be {state}, the content says otherwise"
            if state == "committed":
                self._committed(task, branch)
            self.ledger.in_flight = None
        if state in ("committed", "rolled_back"):
            branch.state, branch.aim, branch.saving = state, None, None
            return True
        return False

    def _step(self, database: Database, transaction: Transaction, branch: Branch, step: Step) -> None:
        recorded = database.recorded(transaction.id, step.key)
        if recorded is None:
            assert step.key not in branch.saved, f"{transaction.id}: {step.key} was acknowledged and is not recorded"
            branch.saving = step, step.applied(branch.model)
            perform(transaction, step)
            transaction.save(step.key, step.result)
        else:
            assert recorded == step.result, f"{transaction.id}: {step.key} is recorded as {recorded!r}"
        if step.key not in branch.saved:
            branch.model, branch.saved[step.key] = step.applied(branch.model), step.result
        branch.saving = None

    def _commit(self, database: Database, transaction: Transaction, task: Task, branch: Branch) -> None:
        last = task.steps[-1]
        recorded = database.recorded(task.id, last.key) is not None
        after = task.applied(self.ledger.head)
        branch.aim, self.ledger.in_flight = "committed", after
        try:
            if recorded:
                transaction.commit()
            else:
                perform(transaction, last)
                transaction.commit(last.key, last.result)
        except Conflict:
            branch.aim, self.ledger.in_flight = None, None
            self._rollback(transaction, branch)
            return
        self._committed(task, branch)

    def _committed(self, task: Task, branch: Branch) -> None:
        assert self.ledger.in_flight is not None
        branch.model = self.ledger.head = self.ledger.in_flight
        branch.state, branch.aim, self.ledger.in_flight = "committed", None, None
        branch.saved = {step.key: step.result for step in task.steps}
        self.ledger.commits += 1

    def _rollback(self, transaction: Transaction, branch: Branch) -> None:
        branch.aim = "rolled_back"
        transaction.rollback()
        branch.state, branch.aim, branch.saving = "rolled_back", None, None

    def _sweep(self, database: Database) -> None:
        open_ones = [branch for branch in self.ledger.branches.values() if branch.state == "open"]
        for branch in open_ones:
            branch.aim = "rolled_back"
        self.ledger.now += 2 * LEASE
        database.sweep()
        for branch in open_ones:
            branch.state, branch.aim, branch.saving = "rolled_back", None, None


def perform(transaction: Transaction, step: Step) -> None:
    """Make a step's changes."""
    for name in step.creates:
        transaction.create_tree(name)
    if step.load:
        transaction.create_tree("bulk").load(step.load)
    for name, key, value in step.changes:
        tree = transaction.tree(name)
        if value is None:
            tree.delete(key)
        else:
            tree.put(key, value)


def content(database: Database) -> Model:
    """Everything that the head holds."""
    return trees_of(database.snapshot().tree)


def trees_of(tree: Callable[[str], object]) -> Model:
    """All trees of a snapshot or a transaction, by its `tree`."""
    found: Model = {}
    for name in TREES:
        try:
            found[name] = dict(tree(name).scan())  # type: ignore[attr-defined]
        except TreeNotFound:
            continue
    return found


def leak_of(error: Exception) -> str | None:
    """What is wrong with the kind of an error: only those of btree.errors may come out. Tells the call it came out of."""
    kind = type(error)
    if kind.__module__ == "btree.errors":
        return None
    frames = traceback.extract_tb(error.__traceback__)
    calls = [frame.name for frame in frames if Path(frame.filename).parent == ENGINE]
    return f"{calls[0] if calls else 'outside'}: {kind.__module__}.{kind.__qualname__}: {error}"
