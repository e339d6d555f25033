"""A model database in memory, strictly serialisable, with faults that can be switched on: the checker's own test.

Every state is kept whole. A transaction reads the state it began from; its commit is refused if a key that it wrote, a key that
it read or a range that it scanned was changed since. One event happens at a time, and the clock counts events. Each fault
takes away one thing:

    stale          transactions that only read may begin from an old state
    dirty          reads may see what others have not committed
    intermediate   a commit shows the first value of a key that was written twice, for a while
    lost update    commits are not validated at all
    write skew     only writes are validated: this is snapshot isolation
    phantom        ranges are validated only by the keys that were found in them
"""

import random
from dataclasses import dataclass, field
from enum import StrEnum

from tests.btree.isolation.history import Append, Count, History, Operation, Read, Scan, Transaction, Value, Write

RANGES = ["scan", "count", "write", "delete"]
LISTS = [f"a{n}" for n in range(4)]
REGISTERS = [f"r{n:02d}" for n in range(12)]
PROCESSES = 4
STEPS = ["append", "list", "write", "rewrite", "update", "delete", "get", "scan", "count"]


class Fault(StrEnum):
    NONE = "none"
    STALE = "stale"
    DIRTY = "dirty"
    INTERMEDIATE = "intermediate"
    LOST_UPDATE = "lost update"
    WRITE_SKEW = "write skew"
    PHANTOM = "phantom"


@dataclass
class Running:
    """A transaction under way."""

    id: str
    process: str
    start: int
    base: int
    claimed: int
    steps: list[str]
    view: dict[str, Value]
    writes: dict[str, Value] = field(default_factory=dict)
    firsts: dict[str, Value] = field(default_factory=dict)
    reads: set[str] = field(default_factory=set)
    ranges: list[tuple[str | None, str | None]] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)
    shown: bool = False


class Simulation:
    """Random transactions on the model, for a seed and a fault."""

    def __init__(self, seed: int, fault: Fault = Fault.NONE) -> None:
        self.rng = random.Random(seed)
        self.fault = fault
        self.states: list[dict[str, Value]] = [{}]
        self.changes: list[set[str]] = [set()]
        self.history: History = []
        self.clock = self.begun = self.value = 0

    def run(self, transactions: int) -> History:
        """Go on until so many transactions have ended."""
        running: dict[int, Running] = {}
        while len(self.history) < transactions:
            self.clock += 1
            process = self.rng.randrange(PROCESSES)
            if process not in running:
                running[process] = self._begin(process)
            elif running[process].steps:
                self._step(running[process], [other for p, other in running.items() if p != process])
            elif self._commit(running[process]):
                del running[process]
        return self.history

    def _begin(self, process: int) -> Running:
        self.begun += 1
        head = base = len(self.states) - 1
        steps = self.rng.choices(RANGES if self.fault is Fault.PHANTOM else STEPS, k=self.rng.randint(1, 4))
        if self.rng.random() < 0.4:
            steps = self.rng.choices(["list", "get", "scan"], k=self.rng.randint(2, 5))
            if self.fault is Fault.STALE:
                base = max(0, head - self.rng.randrange(4))
        return Running(f"T{self.begun}", f"p{process}", self.clock, base, head, steps, dict(self.states[base]))

    # --- one operation ---

    def _step(self, running: Running, others: list[Running]) -> None:
        if self.fault is Fault.DIRTY:
            for other in others:
                if self.rng.random() < 0.3:
                    running.view |= {k: v for k, v in other.writes.items() if k not in running.writes}
        match running.steps.pop():
            case "append":
                key = self.rng.choice(LISTS)
                self.value += 1
                self._put(running, key, (*self._list(running, key), self.value))
                running.operations.append(Append(key, self.value))
            case "list":
                key = self.rng.choice(LISTS)
                running.reads.add(key)
                running.operations.append(Read(key, self._list(running, key)))
            case "write" | "rewrite" | "update" as step:
                self._write(running, self.rng.choice(REGISTERS), step)
            case "delete" | "get" as step:
                self._get(running, self.rng.choice(REGISTERS), delete=step == "delete")
            case "scan":
                lower, upper = sorted(self.rng.sample([*REGISTERS, None], 2), key=lambda key: key or "~")
                running.operations.append(Scan(lower, upper, self._pairs(running, lower, upper)))
            case _:
                running.operations.append(Count(len(self._pairs(running, None, None))))

    def _write(self, running: Running, key: str, step: str) -> None:
        """Write a register once, twice, or behind a read of it."""
        if step == "update":
            self._get(running, key, delete=False)
        for _ in range(2 if step == "rewrite" else 1):
            self.value += 1
            self._put(running, key, self.value)
            running.operations.append(Write(key, self.value))

    def _list(self, running: Running, key: str) -> tuple[int, ...]:
        value = running.view.get(key)
        return value if isinstance(value, tuple) else ()

    def _put(self, running: Running, key: str, value: Value) -> None:
        if key in running.writes:
            running.firsts.setdefault(key, running.writes[key])
        running.view[key] = running.writes[key] = value

    def _get(self, running: Running, key: str, *, delete: bool) -> None:
        running.reads.add(key)
        running.operations.append(Read(key, running.view.get(key)))
        if delete and running.view.get(key) is not None and key not in running.writes:
            self._put(running, key, None)
            running.operations.append(Write(key, None))

    def _pairs(self, running: Running, lower: str | None, upper: str | None) -> tuple[tuple[str, int], ...]:
        running.ranges.append((lower, upper))
        found = []
        for key in REGISTERS:
            value = running.view.get(key)
            if _within(key, lower, upper) and isinstance(value, int):
                found.append((key, value))
                running.reads.add(key)
        return tuple(found)

    # --- the end ---

    def _commit(self, running: Running) -> bool:
        """Try to commit; False if it is half done."""
        if not running.shown and (self.rng.random() < 0.1 or not self._valid(running)):
            self._end(running, "aborted", None)
            return True
        if not running.writes:
            self._end(running, "ok", None)
            return True
        if self.fault is Fault.INTERMEDIATE and running.firsts and not running.shown:
            running.shown = True
            self._publish({**running.writes, **running.firsts})
            return False
        self._publish(running.writes)
        self._end(running, "ok", len(self.states) - 1)
        return True

    def _valid(self, running: Running) -> bool:
        if not running.writes or self.fault is Fault.LOST_UPDATE:
            return True
        changed = set().union(*self.changes[running.base + 1 :])
        if changed & running.writes.keys():
            return False
        if self.fault is Fault.WRITE_SKEW:
            return True
        ranges = [] if self.fault is Fault.PHANTOM else running.ranges
        inside = any(key in REGISTERS and _within(key, *bounds) for key in changed for bounds in ranges)
        return not changed & running.reads and not inside

    def _publish(self, writes: dict[str, Value]) -> None:
        self.states.append({**self.states[-1], **writes})
        self.changes.append(set(writes))

    def _end(self, running: Running, status: str, seq: int | None) -> None:
        self.history.append(
            Transaction(
                running.id,
                running.process,
                running.start,
                self.clock,
                "ok" if status == "ok" else "aborted",
                tuple(running.operations),
                running.claimed,
                seq,
            )
        )


def _within(key: str, lower: str | None, upper: str | None) -> bool:
    return (lower is None or lower <= key) and (upper is None or key < upper)
