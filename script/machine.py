"""The Machine: runs a Program, and its whole state is a JSON value.

The machine does no I/O and has no clock. `step()` runs pure instructions until it needs something from outside, and says
what as an Effect; whoever drives it (a Temporal workflow, a chunk activity, a test) performs the effect and gives the
Outcome to `resume()`. Between the two the state can be written down, moved to another process, and taken up again:

    step()                        -> Effect | Done | Yielded
    resume(effect id, outcome)    -> None

State (all of it plain JSON):

    frames      the call stack: program hash, pc, variables, open loops, path prefix, last value
    txn         the open transaction of the script that owns a database, with its attempt
    checkpoint  the frames as they were when that transaction began: where a conflict goes back to
    memo        outcomes of effects outside of the transaction since then: a rerun does not repeat them
    pending     the effect that was asked for and not answered yet, with what to do then
    clock, seq  time of the last outcome, number of the last event

The machine also tells what happens, one event for each step (`events`, drained by the driver). Numbers come from the
state, so two machines given the same outcomes tell the same story: the gateway derives a run's events this way from
its Temporal history.

Invariants: between `step` and `resume` exactly one effect is pending; effect ids are unique in a run (the step's path and
iteration, plus `~n` in the n-th attempt of a transaction), keys are the same without the attempt.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from script import operations, transactions
from script.arguments import bind_arguments, check_output
from script.effects import Done, Effect, StepFailure, Yielded
from script.errors import ScriptError
from script.functions import EvaluationContext
from script.program import Instruction, Program, StepInfo
from script.wire import ROWS, Outcome, is_rows

STATE_VERSION: Final = 1
FUEL: Final = 2_000
"""Instructions run before the machine yields: about 50 ms, far from the two seconds of a workflow task."""

MAX_FRAMES: Final = 64


class Machine:
    """One run of a script, at some point of its life. `programs` maps hashes to programs and holds every program reachable."""

    def __init__(self, programs: Mapping[str, Program], state: dict[str, Any], *, trace: bool = True) -> None:
        if state.get("v") != STATE_VERSION:
            raise ValueError(f"machine state of version {state.get('v')!r}, this release knows {STATE_VERSION}")
        self.programs = programs
        self.state = state
        self.trace = trace
        self.events: list[dict[str, Any]] = []
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
        dry_run: bool = False,
        mocks: list[str] | None = None,
    ) -> "Machine":
        """A machine before its first instruction. Bad arguments make it a failed run, not an exception.

        `run_id` names the run to people; `key_id` begins every idempotency key and transaction id, and has to be unique for
        all time (a workflow id may come back after the retention, its first execution's id does not).
        """
        program = programs[root]
        state: dict[str, Any] = {
            "v": STATE_VERSION,
            "run_id": run_id,
            "key_id": key_id,
            "root": root,
            "database": program.database,
            "isolation": program.isolation,
            "dry_run": dry_run,
            "mocks": list(mocks or []),
            "clock": clock,
            "seq": 0,
            "frames": [],
            "txn": None,
            "txn_number": 0,
            "checkpoint": None,
            "memo": {},
            "pending": None,
            "done": None,
        }
        machine = cls(programs, state)
        machine.emit_run(
            "started", script=program.name, version=program.hash, arguments=dict(arguments), dry_run=dry_run
        )
        try:
            variables = bind_arguments(program, arguments, machine.context_of(f"{key_id}/arguments"))
        except ScriptError as error:
            machine.finish("failed", error=error.to_dict())
        else:
            machine.push_frame(root, variables, prefix="", iteration=[])
        return machine

    # --- driving ---

    def step(self, fuel: int = FUEL) -> Effect | Done | Yielded:
        """Run until an effect is needed, the end is reached or the fuel is used up."""
        for _ in range(fuel):
            if self.state["pending"] is not None:
                pending = self.state["pending"]
                return Effect(pending["id"], pending["kind"], pending["call"])
            if self.state["done"] is not None:
                return Done(**self.state["done"])
            self._instruction()
        return Yielded()

    def resume(self, effect_id: str, outcome: Outcome) -> None:
        """Answer the pending effect. Raises ValueError if another effect, or none, is pending."""
        pending = self.state["pending"]
        if pending is None or pending["id"] != effect_id:
            raise ValueError(f"effect {effect_id!r} is not pending (pending is {pending and pending['id']!r})")
        self.state["pending"] = None
        started = self.state["clock"]
        if outcome.at is not None and outcome.at > started:
            self.state["clock"] = outcome.at
        try:
            transactions.answered(self, pending, outcome, started)
        except StepFailure as failure:
            self.fail(failure.error)
        except ScriptError as error:
            self.fail(error.to_dict())

    def cancel(self) -> None:
        """End the run as canceled; an open transaction is rolled back first (one more effect)."""
        self.state["pending"] = None
        if self.state["done"] is None:
            transactions.end_run(
                self, "canceled", None, {"code": "canceled", "message": "the run was canceled", "retryable": False}
            )

    def drain(self) -> list[dict[str, Any]]:
        """The events since the last drain."""
        events, self.events = self.events, []
        return events

    def _instruction(self) -> None:
        frame = self.state["frames"][-1]
        try:
            instruction = self.programs[frame["program"]].linked[frame["pc"]]
            operations.OPERATIONS[instruction.op](self, frame, instruction)
        except StepFailure as failure:
            self.fail(failure.error)
        except ScriptError as error:
            self.fail(error.to_dict())

    # --- frames ---

    def push_frame(self, program: str, variables: dict[str, Any], *, prefix: str, iteration: list[int]) -> None:
        """Call a program in a new scope."""
        if len(self.state["frames"]) >= MAX_FRAMES:
            raise StepFailure(
                "recursion_limit", f"scripts are nested more than {MAX_FRAMES} deep", hint="does a script call itself?"
            )
        frame = {"program": program, "pc": 0, "vars": variables, "loops": [], "prefix": prefix, "iteration": iteration}
        self.state["frames"].append({**frame, "last": None, "at": self.state["clock"]})

    def pop_frame(self, value: Any) -> None:
        """Leave a program with `value`; the root's leaving ends the run."""
        frame = self.state["frames"][-1]
        check_output(self.programs[frame["program"]], value)
        if len(self.state["frames"]) == 1:
            transactions.end_run(self, "completed", value, None)
            return
        self.state["frames"].pop()
        started = frame["at"]
        caller = self.state["frames"][-1]
        instruction = self.programs[caller["program"]].linked[caller["pc"]]
        self.finish_step(caller, instruction, value, started=started)

    def info(self, frame: Mapping[str, Any], step: int) -> StepInfo:
        return self.programs[frame["program"]].steps[step]

    def path(self, frame: Mapping[str, Any], step: int) -> str:
        """The step's path in the run."""
        return str(frame["prefix"]) + self.info(frame, step).path

    def iteration(self, frame: Mapping[str, Any]) -> list[int]:
        """The positions of the loops around, outermost first."""
        return [*frame["iteration"], *(loop["i"] for loop in frame["loops"] if "i" in loop)]

    def key(self, frame: Mapping[str, Any], step: int) -> str:
        """What names one execution of a step in its run: path and iteration, the same in every attempt."""
        iteration = self.iteration(frame)
        path = self.path(frame, step)
        return f"{path}#{'.'.join(map(str, iteration))}" if iteration else path

    # --- evaluation ---

    def context_of(self, seed: str) -> EvaluationContext:
        clock = self.state["clock"]
        if self._now[0] != clock:
            self._now = (clock, datetime.fromisoformat(clock))
        return EvaluationContext(now=self._now[1], seed=seed)

    def context(self, frame: Mapping[str, Any], step: int) -> EvaluationContext:
        """The evaluation context of a step: its time and its seed are the same whenever it is evaluated again."""
        return self.context_of(f"{self.state['key_id']}/{self.key(frame, step)}")

    def render(self, frame: dict[str, Any], instruction: Instruction, operand: str) -> Any:
        """The value of a template operand."""
        template = instruction.templates[operand]
        return template.render(frame["vars"], self.context(frame, instruction.step))

    def condition(self, frame: dict[str, Any], instruction: Instruction, operand: str = "condition") -> bool:
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
        self, frame: dict[str, Any], instruction: Instruction, value: Any, *, started: str | None = None
    ) -> None:
        """A step ended well: bind its variable, tell it, go on behind it."""
        variable = instruction.operands.get("variable")
        if variable:
            frame["vars"][variable] = value
        frame["last"] = value
        if self.trace:
            self.emit(frame, instruction.step, "completed", value=value, started=started)
        frame["pc"] += 1

    def emit(
        self,
        frame: Mapping[str, Any],
        step: int,
        status: str,
        *,
        value: Any = None,
        error: Any = None,
        started: str | None = None,
        kind: str | None = None,
    ) -> None:
        """Tell one step event. `kind` overrides the type (`warning`, `progress`)."""
        if not self.trace:
            return
        info = self.info(frame, step)
        event = self._event(kind or info.type, status, started)
        event |= {
            "step": info.pointer,
            "path": self.path(frame, step),
            "iteration": self.iteration(frame),
            "name": info.name,
        }
        if error is not None:
            event["error"] = error
        elif is_rows(value):
            event["rows"] = {"count": value[ROWS]["count"], "ref": value[ROWS]}
        else:
            event["result"] = value
        self.events.append(event)

    def emit_run(self, status: str, *, kind: str = "run", **fields: Any) -> None:
        """Tell an event of the run itself: started, its end, or a warning."""
        self.events.append(self._event(kind, status, None) | fields)

    def _event(self, kind: str, status: str, started: str | None) -> dict[str, Any]:
        self.state["seq"] += 1
        clock = self.state["clock"]
        begun = started or clock
        duration = (
            (datetime.fromisoformat(clock) - datetime.fromisoformat(begun)).total_seconds() * 1000
            if begun != clock
            else 0.0
        )
        return {
            "seq": self.state["seq"],
            "run_id": self.state["run_id"],
            "type": kind,
            "status": status,
            "started_at": begun,
            "duration_ms": round(duration, 3),
        }

    def fail(self, error: dict[str, Any]) -> None:
        """A step of the top frame failed: go on at the innermost guard, or end the run."""
        frames = self.state["frames"]
        while frames:
            frame = frames[-1]
            program = self.programs[frame["program"]]
            floor = frame.get("floor", 0)
            guard = next((g for g in program.guards if g.start <= frame["pc"] < g.end and g.depth >= floor), None)
            step = program.code[frame["pc"]]["step"]
            error = {"step": self.key(frame, step) if step >= 0 else program.name, **error}
            self._tell_failures(frame, step, guard.step if guard else -1, error)
            if guard is not None:
                self._cut_loops(frame, guard.depth)
                frame["vars"]["error"] = error
                frame["last"] = None
                frame["pc"] = guard.target
                return
            if len(frames) == 1:
                break
            frames.pop()
        transactions.end_run(self, "failed", None, error)

    def _tell_failures(self, frame: dict[str, Any], step: int, last: int, error: dict[str, Any]) -> None:
        """A failed event for the step and for each step around it, up to the guarded one."""
        while step >= 0:
            self.emit(frame, step, "failed", error=error)
            if step == last:
                return
            step = self.info(frame, step).parent

    def _cut_loops(self, frame: dict[str, Any], depth: int) -> None:
        while len(frame["loops"]) > depth:
            operations.leave_loop(self, frame)

    def finish(self, status: str, *, value: Any = None, error: dict[str, Any] | None = None) -> None:
        """The end of the run: the last event, and `Done` from now on."""
        self.state["frames"] = []
        self.state["checkpoint"] = None
        self.state["memo"] = {}
        self.state["done"] = {"status": status, "value": value, "error": error}
        if error is not None:
            self.emit_run(status, error=error)
        elif is_rows(value):
            self.emit_run(status, rows={"count": value[ROWS]["count"], "ref": value[ROWS]})
        else:
            self.emit_run(status, result=value)
