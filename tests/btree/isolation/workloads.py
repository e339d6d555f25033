"""Random transactions against the real engine, and the history of what they did and saw.

A worker runs transactions of one kind until so many have committed; a conflict is rolled back and counted, and another
transaction is tried. Workers are threads on one Database, threads with a Database each, or processes (this module, run
with `-m`, writes its history as JSON lines). Half-way through, a transaction may be saved and taken up by another Database object.

    lists        append to lists, and read them: Elle's list-append
    registers    read, write, update, insert and delete single keys
    predicates   scans both ways, cursors that stop early, absent keys, counts, beside inserts and deletes
    skew         read two keys and write one of them: what provokes write skew
    phantoms     look for one key of a pair in some way, and insert or delete the other: write skew by predicates
    disjoint     read and write only keys of one's own

Registers live in one tree, so that its count is theirs, lists in another. Values are padded so that the trees have several pages.
The final transaction reads everything, so that every append is in a list that was read.
"""

import random
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from subprocess import PIPE, Popen

import msgspec
import orjson

from btree import Conflict, Cursor, Database, ReadTree, Transaction, Tree
from tests.btree.isolation import history as h

REGISTERS, LISTS = "registers", "lists"
WORK = {
    "lists": ["append", "append", "update list", "list"],
    "registers": ["get", "get", "write", "update", "update", "delete"],
    "predicates": ["write", "delete"],
    "skew": ["skew"],
    "phantoms": ["phantom"],
    "disjoint": ["get", "write", "update", "delete"],
}
LOOKS = ["get", "scan", "reverse scan", "forward", "backward", "count"]
PADDING = "x" * 150
Pairs = list[tuple[bytes, bytes]]


class Plan(msgspec.Struct, frozen=True):
    """What to run. `commits` for each worker; `moves` is the chance of a move to another Database object at each step."""

    work: str
    isolation: str
    keys: int
    commits: int
    seed: int
    steps: int = 4
    moves: float = 0.1
    rollbacks: float = 0.04
    attempts: int = 40


class Session:
    """A transaction under way, with a note of each operation."""

    def __init__(
        self, transaction: Transaction, plan: Plan, worker: int, rng: random.Random, fresh: Callable[[], int]
    ) -> None:
        self.transaction = transaction
        self.operations: list[h.Operation] = []
        self._plan, self._worker, self._rng, self._fresh = plan, worker, rng, fresh
        self._written: set[str] = set()

    @property
    def _tree(self) -> Tree:
        return self.transaction.tree(REGISTERS)

    def step(self, name: str) -> None:
        """Do one thing on a random key."""
        key = self._key()
        steps: dict[str, Callable[[], None]] = {
            "append": lambda: self.append(key),
            "list": lambda: self.read_list(key),
            "update list": lambda: self.append(key, look=True),
            "get": lambda: self.get(key),
            "write": lambda: self.write(key),
            "update": lambda: self.write(key, look=True),
            "delete": lambda: self.delete(key),
            "scan": lambda: self.scan(key, reverse=False),
            "reverse scan": lambda: self.scan(key, reverse=True),
            "forward": lambda: self.forward(key),
            "backward": lambda: self.backward(key),
            "count": self.count,
            "skew": self.skew,
            "phantom": self.phantom,
        }
        steps[name]()

    def _key(self) -> str:
        number = self._rng.randrange(self._plan.keys)
        if self._plan.work == "disjoint":
            number += self._worker * self._plan.keys
        return f"{number:05d}"

    # --- lists ---

    def append(self, key: str, *, look: bool = False) -> None:
        if look:
            self.read_list(key)
        tree, value = self.transaction.tree(LISTS), self._fresh()
        tree.put(key.encode(), orjson.dumps([*read_list(tree, key), value]))
        self.operations.append(h.Append(list_key(key), value))

    def read_list(self, key: str) -> None:
        self.operations.append(h.Read(list_key(key), read_list(self.transaction.tree(LISTS), key)))

    # --- registers ---

    def get(self, key: str) -> None:
        found = self._tree.get(key.encode())
        self.operations.append(h.Read(key, None if found is None else decode(found)))

    def write(self, key: str, *, look: bool = False) -> None:
        if look:
            self.get(key)
        value = self._fresh()
        self._tree.put(key.encode(), encode(value))
        self._written.add(key)
        self.operations.append(h.Write(key, value))

    def delete(self, key: str) -> None:
        """Not of what was written here: insert and delete in one transaction is no change, and has no version."""
        if key in self._written:
            return
        self.get(key)
        if self._tree.delete(key.encode()):
            self._written.add(key)
            self.operations.append(h.Write(key, None))

    def count(self) -> None:
        self.operations.append(h.Count(self._tree.count()))

    def scan(self, lower: str, *, reverse: bool, most: int = 12) -> None:
        upper = f"{int(lower) + self._rng.randint(1, most):05d}" if self._rng.random() < 0.9 else None
        pairs = list(self._tree.scan(lower.encode(), upper.encode() if upper else None, reverse=reverse))
        self._note(lower, upper, pairs[::-1] if reverse else pairs)

    def forward(self, key: str, *, most: int = 4) -> None:
        """Seek, go on a few keys, and stop: what lies behind was not read."""
        cursor = self._tree.cursor()
        pairs, valid, left = [], cursor.seek(key.encode()), self._rng.randint(1, most)
        while valid and left:
            pairs.append((cursor.key, cursor.value))
            left -= 1
            valid = cursor.next() if left else valid
        self._note(key, pairs[-1][0].decode() + "\0" if valid else None, pairs)

    def backward(self, key: str, *, most: int = 4) -> None:
        """Seek, go back a few keys, and stop."""
        cursor = self._tree.cursor()
        upper: str | None = None
        if cursor.seek(key.encode()):
            upper, valid = cursor.key.decode() + "\0", True
        else:
            valid = cursor.last()
        pairs, left = [], self._rng.randint(1, most)
        while valid and left:
            pairs.append((cursor.key, cursor.value))
            left -= 1
            valid = cursor.previous() if left else valid
        self._note(_lowest(key, cursor, valid), upper, pairs[::-1])

    def _note(self, lower: str | None, upper: str | None, pairs: Pairs) -> None:
        found = tuple((key.decode(), decode(value)) for key, value in pairs)
        assert list(found) == sorted(found), f"a scan out of order: {found}"
        self.operations.append(h.Scan(lower, upper, found))

    def skew(self) -> None:
        """Read a pair of keys, write one."""
        pair = self._rng.randrange(self._plan.keys // 2) * 2
        self.get(f"{pair:05d}")
        self.get(f"{pair + 1:05d}")
        self.write(f"{pair + self._rng.randrange(2):05d}")

    def phantom(self) -> None:
        """Look for one key of a pair, and put the other in or out."""
        pair, side = self._rng.randrange(self._plan.keys // 2) * 2, self._rng.randrange(2)
        seen, changed = f"{pair + side:05d}", f"{pair + 1 - side:05d}"
        looks = {
            "get": lambda: self.get(seen),
            "scan": lambda: self.scan(seen, reverse=False, most=1),
            "reverse scan": lambda: self.scan(seen, reverse=True, most=1),
            "forward": lambda: self.forward(seen, most=1),
            "backward": lambda: self.backward(seen, most=2),
            "count": self.count,
        }
        looks[self._rng.choice(LOOKS)]()
        if self._tree.get(changed.encode()) is None:
            self.write(changed)
        else:
            self.delete(changed)


def _lowest(sought: str, cursor: Cursor, valid: bool) -> str | None:
    """How far a cursor read that went back: to the key where it stands, or to the beginning."""
    return min(cursor.key.decode(), sought) if valid else None


def encode(value: int) -> bytes:
    return orjson.dumps([value, PADDING])


def decode(value: bytes) -> int:
    return int(orjson.loads(value)[0])


def list_key(key: str) -> str:
    return f"list {key}"


def read_list(tree: ReadTree, key: str) -> tuple[int, ...]:
    return tuple(orjson.loads(tree.get(key.encode()) or b"[]"))


class Worker:
    """Runs a plan's transactions on a Database, with a second one to move to."""

    def __init__(self, plan: Plan, number: int, database: Database, other: Database) -> None:
        self.history: h.History = []
        self._plan, self._number, self._databases = plan, number, (database, other)
        self._rng = random.Random(f"{plan.seed}/{number}")
        self._value = (number + 1) * 1_000_000_000

    def run(self) -> h.History:
        """Until enough have committed, or too many were tried."""
        wanted = self._plan.commits
        for _ in range(self._plan.commits * self._plan.attempts):
            self.history.append(self._attempt())
            wanted -= self.history[-1].status == "ok"
            if not wanted:
                break
        return self.history

    def _fresh(self) -> int:
        self._value += 1
        return self._value

    def _attempt(self) -> h.Transaction:
        start, name = time.monotonic_ns(), uuid.uuid4().hex
        transaction = self._databases[0].begin(name, isolation=self._plan.isolation)
        session = Session(transaction, self._plan, self._number, self._rng, self._fresh)
        base, seq = transaction.seq, None
        try:
            for number, step in enumerate(self._steps()):
                session.step(step)
                self._maybe_move(session, number)
            if self._rng.random() < self._plan.rollbacks:
                raise Conflict("rolled back by choice")
            seq = session.transaction.commit().seq
        except Conflict:
            session.transaction.rollback()
        return h.Transaction(
            id=name[:8],
            process=f"worker {self._number}",
            start=start,
            end=time.monotonic_ns(),
            status="aborted" if seq is None else "ok",
            operations=tuple(session.operations),
            base=base,
            seq=seq if any(isinstance(o, (h.Append, h.Write)) for o in session.operations) else None,
        )

    def _steps(self) -> list[str]:
        """What to do. For predicates there is one way of looking in a transaction: another would cover up for it."""
        work = WORK[self._plan.work]
        if self._plan.work == "phantoms":
            return work
        if self._plan.work == "predicates":
            work = [*[self._rng.choice(LOOKS)] * 2, *work]
        return self._rng.choices(work, k=self._rng.randint(1, self._plan.steps))

    def _maybe_move(self, session: Session, number: int) -> None:
        """Save, and go on in another Database object; and wait a little, so that transactions overlap."""
        if self._rng.random() < self._plan.moves:
            session.transaction.save(f"step {number}", b"null")
            self._databases = self._databases[::-1]
            session.transaction = self._databases[0].resume(session.transaction.id)
        if self._rng.random() < 0.5:
            time.sleep(self._rng.random() * 0.003)


# --- the ways to run it ---


def set_up(path: Path, plan: Plan, workers: int) -> h.Transaction:
    """Make the trees; every other register is there from the beginning."""
    start = time.monotonic_ns()
    keys = plan.keys * (workers if plan.work == "disjoint" else 1)
    values = {f"{number:05d}": number + 1 for number in range(0, keys, 2)}
    with Database.open(path, create=True) as database:
        transaction = database.begin("setup")
        transaction.create_tree(REGISTERS).load((key.encode(), encode(value)) for key, value in values.items())
        transaction.create_tree(LISTS)
        seq = transaction.commit().seq
    writes = tuple(h.Write(key, value) for key, value in values.items())
    return h.Transaction("setup", "setup", start, time.monotonic_ns(), "ok", writes, 1, seq)


def read_all(path: Path) -> h.Transaction:
    """The final reader; it also checks the file."""
    start = time.monotonic_ns()
    with Database.open(path) as database:
        report = database.check()
        assert report.ok, report.problems
        head = database.snapshot()
        found: list[h.Operation] = [
            h.Read(list_key(key.decode()), tuple(orjson.loads(value))) for key, value in head.tree(LISTS).scan()
        ]
        pairs = [(key.decode(), decode(value)) for key, value in head.tree(REGISTERS).scan()]
        found += [h.Scan(None, None, tuple(pairs)), h.Count(head.tree(REGISTERS).count())]
    return h.Transaction("final", "final", start, time.monotonic_ns(), "ok", tuple(found), head.seq)


def run_threads(path: Path, plan: Plan, workers: int, *, shared: bool) -> h.History:
    """Threads, all on one Database object or each with its own."""
    with ExitStack() as stack:
        first, other = (stack.enter_context(Database.open(path)) for _ in range(2))
        running = []
        for number in range(workers):
            database = first if shared else stack.enter_context(Database.open(path))
            running.append(Worker(plan, number, database, other))
        failures: list[BaseException] = []
        threads = [threading.Thread(target=_guarded, args=(worker, failures)) for worker in running]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]
    return [transaction for worker in running for transaction in worker.history]


def _guarded(worker: Worker, failures: list[BaseException]) -> None:
    try:
        worker.run()
    except BaseException as error:
        failures.append(error)


def run_processes(path: Path, plan: Plan, workers: int) -> h.History:
    """Processes on one file; they begin together."""
    text = msgspec.json.encode(plan).decode()
    outputs = [path.with_name(f"history-{number}.jsonl") for number in range(workers)]
    processes = [
        Popen(
            [sys.executable, "-m", __name__, str(path), text, str(number), str(output)],
            stdin=PIPE,
            stdout=PIPE,
            text=True,
        )
        for number, output in enumerate(outputs)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate()
        assert process.returncode == 0, f"a worker ended with {process.returncode}"
    return [transaction for output in outputs for transaction in h.load(output)]


def tally(history: h.History) -> Counter[str]:
    """How many ended how."""
    return Counter(transaction.status for transaction in history)


def main(path: str, plan: str, number: str, output: str) -> None:
    """One worker process."""
    with Database.open(Path(path)) as database, Database.open(Path(path)) as other:
        worker = Worker(msgspec.json.decode(plan, type=Plan), int(number), database, other)
        print("ready", flush=True)
        sys.stdin.readline()
        h.dump(worker.run(), Path(output))


if __name__ == "__main__":
    main(*sys.argv[1:])
