"""What the engine is made to do: a list of actions, pure data, made from a seed.

Every list has all of: several trees, splits, merges by deleting most of a tree, a bulk load, transactions of many saved
steps, rollbacks, branches that stay open while others commit, a commit of such a branch (which the engine merges or
refuses), a sweep of expired branches, and a database that is closed and opened again. The seed decides keys, values and sizes.

A task is durable work the way a workflow drives it: begin by id, skip the steps that are recorded, save each with its result.
"""

import random
from dataclasses import dataclass
from typing import Literal

Model = dict[str, dict[bytes, bytes]]

LONG = b"-" * 900
"""Behind the keys of `bulk` and `index`: a branch page has room for few of them, so that few records make a deep tree."""
TREES = ("accounts", "index", "bulk", "shared", "between")


@dataclass(frozen=True)
class Step:
    """Changes that are saved together; a value of None deletes. `load` fills the new tree `bulk`."""

    key: str
    result: bytes
    changes: tuple[tuple[str, bytes, bytes | None], ...] = ()
    creates: tuple[str, ...] = ()
    load: tuple[tuple[bytes, bytes], ...] = ()

    def applied(self, model: Model) -> Model:
        """The model after this step."""
        after = {name: dict(pairs) for name, pairs in model.items()}
        for name in self.creates:
            after[name] = {}
        if self.load:
            after["bulk"] = dict(self.load)
        for name, key, value in self.changes:
            if value is None:
                after[name].pop(key, None)
            else:
                after[name][key] = value
        return after


@dataclass(frozen=True)
class Task:
    """A transaction: its steps, the last of which is saved by the commit, and how it ends (for now)."""

    id: str
    steps: tuple[Step, ...]
    ending: Literal["commit", "rollback", "leave"] = "commit"

    def applied(self, model: Model) -> Model:
        for step in self.steps:
            model = step.applied(model)
        return model


@dataclass(frozen=True)
class Run:
    """Do a task."""

    task: Task


@dataclass(frozen=True)
class Finish:
    """Commit a task that was left open before."""

    task: Task


@dataclass(frozen=True)
class Sweep:
    """Let all leases expire, and roll back what is open."""


@dataclass(frozen=True)
class Reopen:
    """Close the database and open it again."""


Action = Run | Finish | Sweep | Reopen


def workload(seed: int, *, rounds: int = 2) -> list[Action]:
    """The actions of a seed, the same ones every time."""
    maker = _Maker(random.Random(seed))
    actions: list[Action] = [Run(maker.first())]
    for _ in range(rounds):
        left = maker.task(
            "left", [maker.puts("shared", 3, prefix=b"left-%d-" % maker.number) for _ in range(2)], "leave"
        )
        forgotten = maker.task("forgotten", [maker.puts("index", 3), maker.deletes("accounts", 9)], "leave")
        actions += [
            Run(maker.task("small", [maker.puts("accounts", 1)])),
            Run(left),
            Run(maker.task("steps", [maker.puts("accounts", 8), maker.puts("index", 32), maker.deletes("index", 3)])),
            Finish(left),
            Run(forgotten),
            Run(maker.task("undone", [maker.puts("accounts", 5), maker.deletes("index", 4)], "rollback")),
            Run(maker.task("shrink", [maker.deletes("accounts", 24), maker.deletes("index", 30)])),
            Reopen(),
            Run(maker.task("pair", [maker.pair(), maker.pair()])),
            Sweep(),
            Run(maker.task("grow", [maker.puts("accounts", 12)])),
        ]
    actions.insert(6, Run(maker.task("bulk", [maker.bulk(80)])))
    stays = maker.task("stays", [maker.puts("accounts", 4), maker.pair(), maker.puts("index", 2)], "leave")
    return [*actions, Run(stays), Run(maker.task("last", [maker.puts("accounts", 2)]))]


class _Maker:
    """Makes steps, and remembers which keys there are, so that deletes find something."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.number = 0
        self._keys: dict[str, list[bytes]] = {name: [] for name in TREES}

    def task(self, name: str, steps: list[Step], ending: Literal["commit", "rollback", "leave"] = "commit") -> Task:
        self.number += 1
        return Task(f"{self.number:02d}-{name}", tuple(steps), ending)

    def first(self) -> Task:
        trees = Step("trees", b"null", creates=("accounts", "index", "shared"))
        return self.task("first", [trees, self.puts("accounts", 20)])

    def puts(self, tree: str, count: int, *, prefix: bytes = b"") -> Step:
        changes = tuple((tree, prefix + self._new_key(tree), self._value(large=tree == "index")) for _ in range(count))
        return self._step(changes)

    def deletes(self, tree: str, count: int) -> Step:
        keys = self._keys[tree]
        self._rng.shuffle(keys)
        self._keys[tree], gone = keys[count:], keys[:count]
        return self._step(tuple((tree, key, None) for key in gone))

    def pair(self) -> Step:
        """The same key into two trees: a mix of two commits would show."""
        key = b"pair-%d" % self._rng.randrange(1000)
        value = self._value()
        return self._step((("accounts", key, value), ("index", key, value)))

    def bulk(self, count: int) -> Step:
        pairs = tuple((b"%05d" % number + LONG, self._value()) for number in range(count))
        return Step("load", b"%d" % count, load=pairs)

    def _step(self, changes: tuple[tuple[str, bytes, bytes | None], ...]) -> Step:
        self.number += 1
        return Step(f"step-{self.number}", b'{"number":%d}' % self.number, changes)

    def _new_key(self, tree: str) -> bytes:
        key = b"%06d" % self._rng.randrange(1_000_000) + LONG * (tree == "index")
        self._keys[tree].append(key)
        return key

    def _value(self, *, large: bool = False) -> bytes:
        size = 2400 if large else self._rng.choice((5, 60, 900, 1800))
        return b'"' + self._rng.randbytes(size // 2).hex().encode() + b'"'
