"""Dry runs, here and now: a script is run by the machine in this process, and nothing of it stays.

The effects are performed as those of a run are: reads read, writes write in transactions that are dropped, nothing outside is called, the
model is not asked, and waits are over at once (`script.machine.dry_runs`). A script that is called with a database of its own, or
asynchronously, is rehearsed in its place, with events of its own. Events are told as a run tells them, the first of them only: how many
were left out is told, too, and memory stays constant however many there are.
"""

import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from activities.chunks import perform
from activities.execution import Resources
from activities.failures import error_of, timestamp
from activities.heartbeats import check_cancelled
from btree import BTreeError
from script.compiler.compiler import compile_script
from script.compiler.program import Program
from script.errors import ScriptInvalid
from script.machine import local
from script.machine.effects import TIMERS, Done, Effect
from script.machine.machine import Machine
from script.wire import Outcome, wire_size
from toolbox import ScriptLibrary
from toolbox.access import Access, needs, of_arguments

MOST_EVENTS: Final = 200
MOST_BYTES: Final = 40 * 1024
"""Of JSON in all events together."""
_DEPTH: Final = 8


class LocalRehearsal:
    """See `toolbox.authoring.desk.Rehearsal`."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    def __call__(
        self, script: dict[str, Any], arguments: dict[str, Any], *, mocks: dict[str, Any], access: Access
    ) -> dict[str, Any]:
        """{status, result | error, events, events_left_out, duration_ms}. Raises ScriptInvalid, ToolError, CancelledError."""
        began = time.monotonic()
        programs = self._programs(script)
        access.require(*needs(programs), *of_arguments(arguments), what=f"running {programs[0].name} dry")
        events = _Events()
        done = _Rehearsed(self._resources, programs, mocks, events).run(programs[0], arguments)
        ended = {"error": done.error} if done.error is not None else {"result": done.value}
        told = {"status": done.status, **ended, "events": events.kept, "events_left_out": events.left_out}
        return {**told, "duration_ms": round((time.monotonic() - began) * 1000, 1)}

    def _programs(self, script: Mapping[str, Any]) -> list[Program]:
        """The programs of a script and of all that it calls, its own first. Raises ScriptInvalid, ToolError."""
        library, registry = self._resources.library, self._resources.registry
        checked, problems = library.check(script)
        errors = [problem for problem in problems if problem.severity == "error"]
        if errors:
            raise ScriptInvalid(errors)
        program = compile_script(checked, registry.signatures())
        calls: dict[str, str] = {}
        reached: dict[str, Program] = {}
        for call, (name, pin) in program.script_calls().items():
            if name == program.name and pin is None:
                calls[call] = program.hash
                continue
            closure = library.closure(name, None if pin in (None, "latest") else pin)
            calls[call] = closure[0].hash
            reached |= {found.hash: found for found in closure}
        return [program.with_calls(calls), *reached.values()]


class _Known(ScriptLibrary):
    """A library that knows the programs of one rehearsal, saved or not: all that a chunk asks for."""

    def __init__(self, programs: Mapping[str, Program]) -> None:
        self._known = programs

    def resolved(self, calls: Mapping[str, Mapping[str, str]]) -> list[Program]:
        return [self._known[number].with_calls(dict(targets)) for number, targets in calls.items()]


class _Events:
    """The first events, and how many more there were. The end of the run itself is always kept."""

    def __init__(self) -> None:
        self.kept: list[dict[str, Any]] = []
        self.left_out = 0
        self._bytes = 0

    def hear(self, events: Sequence[dict[str, Any]], *, last: bool = False) -> None:
        for event in events:
            size = wire_size(event)
            fits = len(self.kept) < MOST_EVENTS - 1 and self._bytes + size <= MOST_BYTES
            if fits or (last and event is events[-1] and event["type"] == "run"):
                self.kept.append(event)
                self._bytes += size
            else:
                self.left_out += 1


class _Rehearsed:
    """One dry run, with those that it calls."""

    def __init__(
        self, resources: Resources, programs: Sequence[Program], mocks: dict[str, Any], events: _Events
    ) -> None:
        self._programs = {program.hash: program for program in programs}
        given = {name: value for name, value in mocks.items() if value is not None}
        self._resources = replace(resources, library=_Known(self._programs), mocked=given)
        self._mocks = sorted(mocks)
        self._events = events
        self._open: dict[str, str] = {}
        self._depth = 0

    def run(self, program: Program, arguments: dict[str, Any]) -> Done:
        """Run it to its end; whatever happens, nothing stays open."""
        name = f"dry-{uuid.uuid4().hex}"
        machine = Machine.start(
            self._programs,
            program.hash,
            run_id=name,
            key_id=name,
            arguments=arguments,
            clock=timestamp(),
            dry_run=True,
            mocks=self._mocks,
        )
        try:
            return self._drive(machine, last=True)
        finally:
            for transaction, database in self._open.items():
                with suppress(BTreeError):
                    self._resources.databases.open(database).roll_back(transaction)

    def _drive(self, machine: Machine, *, last: bool = False) -> Done:
        done = local.run(machine, self._perform, lambda: self._hear(machine))
        self._events.hear(machine.drain(), last=last)
        return done

    def _hear(self, machine: Machine) -> None:
        check_cancelled()
        if machine.state["done"] is None:
            self._events.hear(machine.drain())

    def _perform(self, effect: Effect) -> Outcome:
        check_cancelled()
        if effect.kind in TIMERS:
            return Outcome(at=effect.call.get("until"))
        self._note(effect)
        try:
            if effect.kind == "child":
                return self._child(effect)
            return Outcome(perform(self._resources, effect, lambda done: check_cancelled()), at=timestamp())
        except Exception as error:
            known = error_of(error)
            if known is None:
                raise
            return Outcome(None, known, timestamp())

    def _note(self, effect: Effect) -> None:
        """Know which transactions are open."""
        reference = effect.call.get("transaction")
        if not isinstance(reference, dict) or reference.get("alone"):
            return
        if effect.kind in ("rollback", "commit"):
            self._open.pop(reference["id"], None)
        else:
            self._open[reference["id"]] = reference["database"]

    def _child(self, effect: Effect) -> Outcome:
        """A script that is a run of its own."""
        call = effect.call
        if self._depth >= _DEPTH:
            error = {"code": "too_deep", "message": f"more than {_DEPTH} runs in each other", "retryable": False}
            return Outcome(None, error, timestamp())
        machine = Machine.start(
            self._programs,
            call["version"],
            run_id=call["run_id"],
            key_id=call["run_id"],
            arguments=call["arguments"],
            clock=timestamp(),
            database=call["database"],
            dry_run=True,
            mocks=self._mocks,
            scheduled_at=call["scheduled_at"],
        )
        self._depth += 1
        try:
            done = self._drive(machine)
        finally:
            self._depth -= 1
        return Outcome(done.value, done.error, machine.state["clock"], machine.state["sagas"] if not done.error else [])
