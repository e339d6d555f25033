"""The tree of a run's steps.

Events tell what has ended: `add`. What is under way, and what is waited for, a worker tells when it is asked: `stand`, with the `where` of
a run's description. Both name steps by their paths, whose parts are the tree.

Groups and loops tell of themselves only at their end. Until then a loop is known by the positions that its steps have: of the steps around
them that have not told yet what they are, the innermost.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

NOTICES: Final = 3
"""Warnings that a step keeps; the others are counted."""

Event = Mapping[str, Any]


@dataclass
class Step:
    """A place in the tree.

    `last` is the last event of its own, `counts` how its executions have ended, `progress` a batch's, `position` the highest of an
    iteration that was seen since the loop began, `times` how many there were in all. `running` is {key: since when, on the watcher's
    own clock}; `waits` is what for, in words; `open` whether its steps have told anything since it has told its own end.
    """

    name: str
    kind: str | None = None
    last: Event | None = None
    counts: Counter[str] = field(default_factory=Counter)
    milliseconds: float = 0.0
    progress: Event | None = None
    position: int | None = None
    times: int = 0
    notices: list[Event] = field(default_factory=list)
    noticed: int = 0
    running: dict[str, float] = field(default_factory=dict)
    waits: list[str] = field(default_factory=list)
    children: dict[str, "Step"] = field(default_factory=dict)
    open: bool = True

    @property
    def executions(self) -> int:
        return sum(self.counts.values())

    @property
    def failed(self) -> int:
        return self.counts["failed"]

    @property
    def failures(self) -> int:
        """How many executions of steps in it have failed."""
        return sum(step.failed for step in self.walk()) - self.failed

    @property
    def is_loop(self) -> bool:
        """Whether it is one, or looks like one."""
        return self.kind == "loop" or self.times > 0 or self.position is not None

    @property
    def busy(self) -> bool:
        """Whether something in it is under way, or waits."""
        return bool(self.running or self.waits) or any(child.busy for child in self.children.values())

    @property
    def ended(self) -> bool:
        """Whether it has told its end since its steps have last told anything, and nothing of it is under way."""
        return self.last is not None and not self.open and not self.busy

    def walk(self) -> Iterator["Step"]:
        """It, and what is in it."""
        yield self
        for child in self.children.values():
            yield from child.walk()


class Steps:
    """The steps of one run."""

    def __init__(self) -> None:
        self.root = Step("")
        self.begun: Event | None = None
        self.end: Event | None = None
        self.seq = 0
        self.paused = False
        self.ending: str | None = None
        self.unlisted = 0
        self.silent = False

    def add(self, event: Event) -> None:
        """Take in an event."""
        self.seq = event.get("seq", self.seq)
        kind = event["type"]
        if kind == "run":
            if event["status"] == "started":
                self.begun = event
            else:
                self.end = event
                self.stand(None, 0.0)
                for step in self.root.walk():
                    step.open = step.last is None
        elif "path" in event:
            self._of_step(event)
        elif kind == "compensation":
            self._compensation(event)
        else:
            _notice(self.root, event)

    def stand(self, where: Mapping[str, Any] | None, now: float) -> None:
        """Take in where the run is at the moment `now`; None: nobody knows."""
        before = {key: since for step in self.root.walk() for key, since in step.running.items()}
        for step in self.root.walk():
            step.running, step.waits = {}, []
            _forget_runs(step)
        where = where or {}
        self.paused, self.ending = bool(where.get("paused")), where.get("ending")
        self.unlisted = where.get("more", 0)
        for found in where.get("steps", ()):
            step = self._at(found["step"])
            step.kind = step.kind or found["type"]
            step.running[found["step"]] = before.get(found["step"], now)
        for found in where.get("timers", ()):
            self._at(found["step"]).waits.append(f"until {found['until']}")
        for found in where.get("approvals", ()):
            by = ", ".join(map(str, found["by"]))
            self._at(found["step"]).waits.append(f"for the approval of {by}: {found['prompt']}")
        for found in where.get("batches", ()):
            self._at(found["step"]).progress = found
        for found in where.get("children", ()):
            self._child(self._at(found["step"]), found, before, now)

    def _child(self, step: Step, found: Mapping[str, Any], before: Mapping[str, float], now: float) -> None:
        """A run that a step waits for, and the steps that it is at (`where`, if somebody has asked)."""
        child = step.children.setdefault(f"run {found['run_id']}", Step(f"run {found['run_id']}", kind="run"))
        child.running[found["run_id"]] = before.get(found["run_id"], now)
        for inner in (found.get("where") or {}).get("steps", ()):
            at = child.children.setdefault(inner["step"], Step(inner["step"], kind=inner["type"]))
            at.running[inner["step"]] = before.get(inner["step"], now)

    def _at(self, key: str) -> Step:
        """The step of a key: path and iteration."""
        path, _, iteration = key.partition("#")
        around = self._around(path)
        _note_positions(around, [int(part) for part in iteration.split(".") if part.isdigit()])
        return around[-1]

    def _around(self, path: str) -> list[Step]:
        """The step of a path, behind those around it."""
        found = [self.root]
        for name in path.split("/"):
            found.append(found[-1].children.setdefault(name, Step(name)))
        return found[1:]

    def _of_step(self, event: Event) -> None:
        around = self._around(event["path"])
        step = around[-1]
        if event["type"] == "warning":
            _notice(step, event)
            return
        for outer in around[:-1]:
            if outer.kind != "if":  # which has told what it is before its steps begin
                outer.open = True
        if event["type"] == "progress":
            step.progress, step.kind, step.open = event["result"], "loop", True
        else:
            _ended(step, event)
        _note_positions(around, event.get("iteration") or [])

    def _compensation(self, event: Event) -> None:
        place = self.root.children.setdefault("compensations", Step("compensations", kind="compensation"))
        _ended(place.children.setdefault(event["step"], Step(event["step"])), event)
        place.last, place.open = event, False


def _ended(step: Step, event: Event) -> None:
    """An execution of a step has ended."""
    iteration = event.get("iteration") or []
    key = f"{event.get('path')}#{'.'.join(map(str, iteration))}" if iteration else event.get("path")
    step.running.pop(str(key), None)
    step.waits = []
    step.kind, step.last, step.open = event["type"], event, False
    step.counts[event["status"]] += 1
    step.milliseconds += event.get("duration_ms", 0)
    if step.kind == "loop":
        step.times += 0 if step.position is None else step.position + 1
        step.progress = None
    else:
        step.times = 0  # perhaps it was taken for a loop
    step.position = None
    _forget_runs(step)


def _forget_runs(step: Step) -> None:
    """Child runs are shown as long as they are waited for."""
    for name in [name for name, child in step.children.items() if child.kind == "run"]:
        del step.children[name]


def _note_positions(around: list[Step], iteration: list[int]) -> None:
    """How far the loops around a step are."""
    loops = [step for step in around[:-1] if step.kind in (None, "loop")]
    for step, position in zip(reversed(loops), reversed(iteration), strict=False):
        step.position = position if step.position is None else max(step.position, position)


def _notice(step: Step, event: Event) -> None:
    step.notices = [*step.notices, event][-NOTICES:]
    step.noticed += 1
