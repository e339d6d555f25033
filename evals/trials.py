"""Scripts run on copies of the samples, at a time that stands still: in this process, with nothing outside.

Unlike a dry run they write, into a data directory of their own that is thrown away: so what has changed can be compared row by row. Outside
calls are mocked, and so written down; the model is not asked.
"""

import uuid
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from typing import Any

from activities import Resources
from activities.chunks import perform
from activities.failures import error_of
from evals.outcome import Ran
from evals.samples import NOW, a_copy, changes, rows_now
from query import SYSTEM, list_stores, select
from script.errors import ScriptError, ScriptInvalid
from script.machine.effects import TIMERS, Done, Effect
from script.machine.local import run
from script.machine.machine import Machine
from script.wire import ASK_ACTIVITY, Outcome
from toolbox.outbox import STORE


class Bench:
    """Where the scripts of one case are run. A data directory serves until a run has changed something in it."""

    def __init__(self, scripts: Iterable[Mapping[str, Any]], samples: Iterable[str]) -> None:
        self._scripts = list(scripts)
        self._samples = list(samples)
        self._stack = ExitStack()
        self._made: tuple[Resources, dict[str, str]] | None = None

    def run(self, name: str, arguments: Mapping[str, Any]) -> Ran:
        """What a script does; one that is wrong ends as `invalid`."""
        resources, problems = self._ready()
        if name in problems:
            return Ran("invalid", error={"code": "invalid_script", "message": problems[name]})
        before = rows_now(resources.databases, self._samples)
        done = _run(resources, name, arguments)
        changed = changes(before, rows_now(resources.databases, self._samples))
        outside = _outside(resources, self._samples)
        if changed or outside:
            self.close()
        return Ran(done.status, done.value, done.error, changed, outside)

    def close(self) -> None:
        """Throw the data directory away."""
        self._made = None
        self._stack.close()

    def _ready(self) -> tuple[Resources, dict[str, str]]:
        if self._made is None:
            resources = self._stack.enter_context(a_copy(self._samples))
            self._made = resources, _save(resources, self._scripts)
        return self._made


def _save(resources: Resources, scripts: list[Mapping[str, Any]]) -> dict[str, str]:
    """Save what can be saved, those that are called first; gives what is wrong with the others."""
    left = scripts
    problems: dict[str, str] = {}
    while left:
        again: list[Mapping[str, Any]] = []
        for script in left:
            try:
                resources.library.save(script)
            except ScriptInvalid as invalid:
                problems[str(script.get("name"))] = invalid.problems[0].message
                again.append(script)
            else:
                problems.pop(str(script.get("name")), None)
        if len(again) == len(left):
            break
        left = again
    return problems


def _run(resources: Resources, name: str, arguments: Mapping[str, Any]) -> Done:
    programs = {program.hash: program for program in resources.library.closure(name)}
    root = next(iter(programs))
    return _drive(
        resources,
        Machine.start(programs, root, arguments=arguments, **_options(resources, f"trial-{uuid.uuid4().hex}", None)),
    )


def _options(resources: Resources, run_id: str, database: str | None) -> dict[str, Any]:
    registry = resources.registry
    mocks = [name for name in registry.names() if registry.get(name).effect == "external"]
    return {"run_id": run_id, "key_id": run_id, "clock": NOW, "mocks": [*mocks, ASK_ACTIVITY], "database": database}


def _drive(resources: Resources, machine: Machine) -> Done:
    def outcome(effect: Effect) -> Outcome:
        if effect.kind in TIMERS:
            approved = {"approved": True, "by": "eval", "at": NOW, "comment": ""}
            return Outcome(approved if effect.kind == "approval" else None, at=effect.call.get("until"))
        if effect.kind == "dispatch":
            return Outcome({"sent": 0, "failed": 0})
        try:
            if effect.kind != "child":
                return Outcome(perform(resources, effect, lambda done: None))
            call = effect.call
            options = _options(resources, call["run_id"], call["database"])
            child = Machine.start(machine.programs, call["version"], arguments=call["arguments"], **options)
            done = _drive(resources, child)
            return Outcome(done.value, done.error, None, [] if done.error else child.state["sagas"])
        except Exception as error:
            known = error_of(error)
            if known is None:
                raise
            return Outcome(None, known)

    try:
        return run(machine, outcome)
    except ScriptError as error:
        return Done("failed", error=error.to_dict())


def _outside(resources: Resources, names: list[str]) -> tuple[dict[str, Any], ...]:
    """The outside calls that were written down."""
    found: list[dict[str, Any]] = []
    for name in (*names, SYSTEM):
        view = resources.databases.open(name).snapshot()
        if STORE in {info.name for info in list_stores(view)}:
            found += [{"tool": row["tool"], "args": row["args"]} for row in select(view, STORE)]
    return tuple(found)
