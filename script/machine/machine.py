"""The Machine: runs a Program, and its whole state is a JSON value (`state.py`).

The machine does no I/O and has no clock. `step()` runs pure instructions until nothing goes on without something from outside, and
says what; whoever drives it (a Temporal workflow, a chunk activity, a test) performs the effects, any number of them side by side,
and gives each Outcome to `resume()`. Between the two the state can be written down, moved to another process, and taken up again:

    step()                        -> Waiting(effects to start, effects to give up) | Done | Yielded
    resume(effect id, outcome)    -> None

The machine also tells what happens, one event for each step (`events`, drained by the driver). Numbers come from the
state, so two machines given the same outcomes in the same order tell the same story: the gateway derives a run's events this way
from its Temporal history.

Invariants: effect ids are unique in a run (the step's path and iteration, plus `~n` in the n-th attempt of a transaction and `!n` in
the n-th try of a step with `retry`), keys are the same without the attempts; a fiber waits for one effect at most.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final, Self

import orjson

from script.compiler.program import Instruction, Program
from script.errors import ScriptError
from script.expressions.functions import EvaluationContext
from script.machine import dry_runs, failures, fibers, operations, parts, reruns, sagas, timeouts, transactions
from script.machine.arguments import bind_arguments, check_output
from script.machine.effects import TIMERS, Done, Effect, StepFailure, Waiting, Yielded
from script.machine.events import Events
from script.machine.state import MAIN, RUN_SCOPE, STATE_VERSION, Fiber, Frame, add_fiber, new_frame, new_state
from script.wire import ROWS, Outcome, is_rows, wire_size

FUEL: Final = 2_000
"""Instructions run before the machine yields: about 50 ms, far from the two seconds of a workflow task."""

MAX_FRAMES: Final = 64
MAX_MOVED_BYTES: Final = 1_800_000
"""State and programs of a larger size are not carried into a new execution: Temporal's payloads are limited to 2 MiB."""
MAX_EVENTS: Final = 40_000
"""A history of this length is not added to any longer: Temporal ends a run, without any compensation, at 51,200 events."""


class Machine(Events):
    """One run of a script, at some point of its life. `programs` maps hashes to programs and holds every program reachable.

    Without `trace` the events of steps are counted and not made, for drivers that tell nobody.
    """

    def __init__(self, programs: Mapping[str, Program], state: dict[str, Any], *, trace: bool = True) -> None:
        if state.get("v") != STATE_VERSION:
            raise ValueError(f"machine state of version {state.get('v')!r}, this release knows {STATE_VERSION}")
        super().__init__(programs, state, trace=trace)
        self.fiber: Fiber = {}
        self._now: tuple[str, datetime] = ("", datetime.fromtimestamp(0, UTC))

    @classmethod
    def start(
        cls,
        programs: Mapping[str, Program],
        root: str,
        *,
        run_id: str,
        key_id: str,
        arguments: Mapping[str, Any],
        clock: str,
        database: str | None = None,
        dry_run: bool = False,
        mocks: list[str] | None = None,
        scheduled_at: str | None = None,
        rerun: Mapping[str, str] | None = None,
    ) -> Self:
        """A machine before its first instruction. Bad arguments make it a failed run, not an exception.

        `run_id` names the run to people; `key_id` begins every idempotency key and transaction id, and has to be unique for
        all time (a workflow id may come back after the retention, its first execution's id does not). `database` is for a script that
        names none itself. `rerun` {of, from} is told of a run that repeats another one.
        """
        program = programs[root]
        state = new_state(
            run_id=run_id,
            key_id=key_id,
            root=root,
            database=program.database or database,
            isolation=program.isolation,
            clock=clock,
            dry_run=dry_run,
            mocks=mocks,
            scheduled_at=scheduled_at,
        )
        machine = cls(programs, state)
        machine.emit_started(arguments, rerun)
        try:
            variables = bind_arguments(
                program, arguments, EvaluationContext(machine.now, f"{key_id}/arguments", scheduled_at)
            )
        except ScriptError as error:
            machine.finish("failed", error=error.to_dict())
        else:
            if program.on_failure is not None:
                state["arguments"] = dict(variables)
            frame = new_frame(root, 0, variables, prefix="", iteration=[], clock=clock)
            add_fiber(state, [frame], "main", scope=RUN_SCOPE)
        return machine

    # --- driving ---

    def step(self, fuel: int = FUEL) -> Waiting | Done | Yielded:
        """Run until nothing goes on without an outcome, the end is reached or the fuel is used up."""
        state = self.state
        while state["done"] is None:
            if fuel <= 0:
                return Yielded()
            if not state["paused"]:
                reruns.begin(self)
            fiber = None if state["paused"] else fibers.runnable(self)
            if fiber is None:
                return self._waiting()
            fuel = self._run(fiber, fuel)
        return Done(**state["done"])

    def resume(self, effect_id: str, outcome: Outcome) -> None:
        """Answer an effect. Raises ValueError if it is not pending."""
        pending = self.state["effects"].pop(effect_id, None)
        if pending is None:
            raise ValueError(f"the effect {effect_id!r} is not pending (pending are {list(self.state['effects'])})")
        if outcome.at is not None:
            self.state["clock"] = max(self.state["clock"], dry_runs.later(outcome.at, self.state["ahead"]))
        self.fiber = self.state["fibers"][pending["fiber"]]
        if pending["then"] == "timeout":
            timeouts.timed_out(self, pending)
            return
        self.answer(pending, outcome)

    def answer(self, pending: dict[str, Any], outcome: Outcome) -> None:
        """Let the fiber that waited for an effect go on with its outcome."""
        self.fiber = self.state["fibers"][pending["fiber"]]
        self.fiber["wait"] = None
        try:
            transactions.answered(self, pending, outcome, pending["at"])
        except StepFailure as failure:
            failures.fail(self, self.fiber, failure.error)
        except ScriptError as error:
            failures.fail(self, self.fiber, error.to_dict())
        fibers.give_up(self, self.fiber)

    def resume_all(self, outcomes: Mapping[str, Outcome]) -> None:
        """Answer effects in the order in which they were asked for. What nobody waits for any more is left out."""
        effects = self.state["effects"]
        for name in sorted(filter(effects.__contains__, outcomes), key=lambda name: int(effects[name]["number"])):
            if name in effects:  # an answer before may have made it forgotten
                self.resume(name, outcomes[name])

    def hear(self, kind: str, told: Any = None) -> None:
        """A signal: pause, go_on, decide with a Decision (nothing, where nobody waits for it, or who decides was not asked), or
        concurrency with a Concurrency (nothing, where no such batch runs)."""
        if kind == "concurrency":
            parts.change(self, told.step, told.n)
        elif kind == "decide":
            effect = self.state["effects"].get(told.effect)
            if effect is not None and effect["kind"] == "approval" and told.by in effect["call"]["by"]:
                value = {"approved": told.approved, "by": told.by, "at": told.at, "comment": told.comment}
                self.resume(told.effect, Outcome(value, None, told.at))
        else:
            self.state["paused"] = kind == "pause"

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is under way but timers and approvals, and what nobody has begun: the run may go on elsewhere."""
        return all(effect["kind"] in TIMERS or not effect["told"] for effect in self.state["effects"].values())

    def prepares_to_move(self, events: int) -> bool:
        """Asked when the run's history, of so many events, is long: whether to begin nothing more, and go on elsewhere when quiet.

        A child run may take for ever, and only the execution that was cancelled can end as canceled: then the run goes on here until
        the history has to end. A run that is too large to be carried elsewhere fails there, with room left to end it in order.
        """
        if wire_size(self.state) + self._programs_size > MAX_MOVED_BYTES:
            if events > MAX_EVENTS:
                self._outgrown()
            return False
        children = any(effect["kind"] == "child" for effect in self.state["effects"].values())
        return events > MAX_EVENTS or not (children or self._is_cancelled)

    @cached_property
    def _programs_size(self) -> int:
        return sum(wire_size(program.to_json()) for program in self.programs.values())

    def _outgrown(self) -> None:
        main = self.state["fibers"].get(MAIN)
        if main is None or self.state["ending"] is not None or main.get("outgrown"):
            return
        main["outgrown"] = True
        message = (
            "the run has come so far that it has to be carried on elsewhere, and its variables are too large for that"
        )
        error = {"code": "too_large", "message": message, "retryable": False, "hint": "keep large values in a store"}
        fibers.interrupt(self, main, error, depth=-1, step=-1)

    def cancel(self) -> None:
        """Ask the run to end as canceled: the steps under way are given up, `finally` steps and compensations still run."""
        if self.state["ending"] is not None:
            self.state["ending"]["cancelled"] = True  # counts if the last commit conflicts
        elif self.state["done"] is None:
            fibers.kill(self, self.state["fibers"][MAIN])

    @property
    def _is_cancelled(self) -> bool:
        return bool(self.state["fibers"].get(MAIN, {}).get("cancelled"))

    def _run(self, fiber: Fiber, fuel: int) -> int:
        """Run one fiber until it waits or ends; gives the fuel that is left."""
        self.fiber = fiber
        while fiber["wait"] is None and fuel > 0 and self.state["done"] is None:
            fuel -= 1
            try:
                if failures.take_interrupt(self, fiber):
                    continue
                if not fiber["frames"]:
                    sagas.go_on(self)
                    continue
                frame = fiber["frames"][-1]
                instruction = self.programs[frame["program"]].linked[frame["pc"]]
                operations.OPERATIONS[instruction.op](self, frame, instruction)
            except StepFailure as failure:
                failures.fail(self, fiber, failure.error)
            except ScriptError as error:
                failures.fail(self, fiber, error.to_dict())
        return fuel

    def _waiting(self) -> Waiting:
        start = []
        for name, found in self.state["effects"].items():
            if not found["told"]:
                found["told"] = True
                start.append(Effect(name, found["kind"], found["call"]))
        return Waiting(start, self.unwanted())

    def unwanted(self) -> list[str]:
        """The effects that are to be given up, each told once."""
        cancel: list[str] = self.state["forgotten"]
        self.state["forgotten"] = []
        for name, found in self.state["effects"].items():
            if found.get("given_up") == "now":
                found["given_up"] = "told"
                cancel.append(name)
        return cancel

    def outstanding(self) -> list[Effect]:
        """The effects that were given out and are not answered: what a driver that takes over has to go on with."""
        effects = self.state["effects"].items()
        return [Effect(name, found["kind"], found["call"]) for name, found in effects if found["told"]]

    # --- frames ---

    def push_frame(self, program: str, variables: dict[str, Any], *, prefix: str, iteration: list[int]) -> None:
        """Call a program in a new scope."""
        frames = self.fiber["frames"]
        if len(frames) >= MAX_FRAMES:
            raise StepFailure(
                "recursion_limit", f"scripts are nested more than {MAX_FRAMES} deep", hint="does a script call itself?"
            )
        clock = self.state["clock"]
        frames.append(new_frame(program, 0, variables, prefix=prefix, iteration=iteration, clock=clock))

    def pop_frame(self, value: Any) -> None:
        """Leave a program with `value`; the root's leaving ends the run."""
        frames = self.fiber["frames"]
        frame = frames[-1]
        check_output(self.programs[frame["program"]], value)
        failures.leave_well(self, frame, -1)
        if len(frames) == 1:
            sagas.end_run(self, "completed", value, None)
            return
        frames.pop()
        caller = frames[-1]
        instruction = self.programs[caller["program"]].linked[caller["pc"]]
        self.finish_step(caller, instruction, value, started=frame["at"])

    def scope(self) -> dict[str, Any] | None:
        """The scope that the current fiber's data steps belong to; None where each stands alone."""
        name = self.fiber["scope"]
        return self.state["scopes"][name] if name is not None else None

    # --- evaluation ---

    def now(self) -> datetime:
        """The time of the last outcome."""
        clock = self.state["clock"]
        if self._now[0] != clock:
            self._now = (clock, datetime.fromisoformat(clock))
        return self._now[1]

    def context(self, frame: Mapping[str, Any], step: int) -> EvaluationContext:
        """The evaluation context of a step: its time and its seed are the same whenever it is evaluated again."""
        due = self.state["scheduled_at"]
        return EvaluationContext(self.now, lambda: f"{self.state['key_id']}/{self.key(frame, step)}", due)

    def render(self, frame: Frame, instruction: Instruction, operand: str) -> Any:
        """The value of a template operand."""
        template = instruction.templates[operand]
        return template.render(frame["vars"], self.context(frame, instruction.step))

    def condition(self, frame: Frame, instruction: Instruction, operand: str = "condition") -> bool:
        """The truth of a condition operand; anything but true or false is an error."""
        expression = instruction.conditions[operand]
        value = expression.evaluate(frame["vars"], self.context(frame, instruction.step))
        if not isinstance(value, bool):
            raise StepFailure(
                "type_mismatch",
                f"the condition `{expression.source}` gives {orjson.dumps(value).decode()[:80]}, not true or false",
                hint="compare it with something: == != < <= > >=",
            )
        return value

    # --- results and events ---

    def finish_step(
        self, frame: Frame, instruction: Instruction, value: Any, *, started: str | None = None, **more: Any
    ) -> None:
        """A step ended well: bind its variable, tell it, go on behind it."""
        variable = instruction.operands.get("variable")
        if variable:
            frame["vars"][variable] = value
        frame["last"] = value
        self.emit(frame, instruction.step, "completed", value=value, started=started, **more)
        frame["pc"] += 1

    def finish(self, status: str, *, value: Any = None, error: dict[str, Any] | None = None, **more: Any) -> None:
        """The end of the run: the last event, and `Done` from now on."""
        self.state |= {"fibers": {}, "effects": {}, "orphans": {}}
        self.state["done"] = {"status": status, "value": value, "error": error}
        if error is not None:
            more["error"] = error
        elif is_rows(value):
            more["rows"] = {"count": value[ROWS]["count"], "ref": value[ROWS]}
        else:
            more["result"] = value
        self.emit_run(status, **more)
