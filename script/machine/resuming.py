"""Going on from the middle of a run in another run: the state before a step, made a state of the new run.

    Retracing     a machine that is fed with the old run's outcomes, and keeps the state before a step's first execution
    resumed()     that state, such that a new run can begin with it
    adopt()       the same with the new run's names and time, when the new run begins

What the state means in another run:

* A transaction that was open and came to nothing has been rolled back: its fibers go back to its first step, and its steps are done again.
  Outside effects that were done in it are remembered, and not done again.
* A transaction that was open and was committed later on stays: the steps before are done, and the next data step begins a new transaction.
* Effects that were under way are asked for again. A step's timeout and a pause before a retry have as much time left as they had;
  a `wait` begins again. A chunk is asked for under the new run's name.
* Compensations that are due go along. A run that has compensated cannot be gone on with: its work is undone.
* Idempotency keys and transactions have the new run's name in front.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

import orjson

from script.compiler.program import Program
from script.errors import ScriptError
from script.machine import again, reruns, sagas, transactions
from script.machine.events import key_of
from script.machine.machine import Machine
from script.machine.state import Fiber, State
from script.wire import Outcome

_KEPT: Final = ("timeout", "retry", "chunk", "dispatch")
"""What effects are for that stay asked for as they are; all others are asked for again by the instruction that did, run again."""
_UNDONE: Final = ("compensated", "compensation_failed")


class CannotResume(ScriptError):
    """The run cannot be gone on with from there. `code` is step_not_run, nothing_failed, compensated or not_resumable."""

    def __init__(self, code: str, message: str, *, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.code = code


class Retracing(Machine):
    """A machine that looks for the first execution of the step `wanted`: a key, or the path of a step in any iteration.

    With `batches` and a loop that went chunk by chunk, it is the state in which the last chunk that failed was asked for. With `ledgers`,
    keys of batches, it is the first execution of any of them. `failed` is how many elements of each batch failed and were tolerated.
    """

    def __init__(self, programs: Mapping[str, Program], state: dict[str, Any], *, trace: bool = True) -> None:
        super().__init__(programs, state, trace=trace)
        self.wanted: str | None = None
        self.batches = False
        self.ledgers: frozenset[str] = frozenset()
        self._failed: dict[str, dict[str, int]] = {}
        self.found: State | None = None
        self.key_found = ""
        self.committed: set[tuple[str, int]] = set()
        self.unsettled: set[tuple[str, int]] = set()

    def resume(self, effect_id: str, outcome: Outcome) -> None:
        """Answer an effect, as a machine does."""
        pending = self.state["effects"].get(effect_id)
        if pending is not None and pending["kind"] in ("commit", "rollback"):
            self._settled(pending, outcome)
        if pending is not None and pending["kind"] == "chunk" and outcome.error is None and outcome.value["failed"]:
            self._failed.setdefault(pending["call"]["step"], {})[pending["key"]] = outcome.value["failed"]
        if self.batches and pending is not None and pending["kind"] == "chunk" and outcome.error is not None:
            loop = pending["key"].rpartition("/")[0]
            if loop == self.wanted:
                self._keep(loop)
        super().resume(effect_id, outcome)

    @property
    def failed(self) -> dict[str, int]:
        """Elements that failed, by the key of their batch."""
        return {step: sum(chunks.values()) for step, chunks in self._failed.items()}

    def finish(self, status: str, *, value: Any = None, error: dict[str, Any] | None = None, **more: Any) -> None:
        """The end of the run: a commit that nobody answered may have been done."""
        for pending in self.state["effects"].values():
            if pending["kind"] == "commit":
                self.unsettled.add(self._transaction(pending))
        super().finish(status, value=value, error=error, **more)

    def _settled(self, pending: dict[str, Any], outcome: Outcome) -> None:
        told = outcome.value.get("state") if isinstance(outcome.value, dict) else None
        if pending["kind"] == "rollback":
            if told == "committed":
                self.committed.add(self._transaction(pending))
        elif outcome.error is None:
            self.committed.add(self._transaction(pending))
        elif outcome.error.get("code") not in transactions.RERUN:
            self.unsettled.add(self._transaction(pending))

    def _transaction(self, pending: dict[str, Any]) -> tuple[str, int]:
        name: str = self.state["fibers"][pending["fiber"]]["scope"]
        return name, self.state["scopes"][name]["txn"]["number"]

    def _run(self, fiber: Fiber, fuel: int) -> int:
        if (self.wanted is not None or self.ledgers) and self.found is None:
            self.fiber = fiber
            while fiber["wait"] is None and fuel > 0 and self.state["done"] is None and self.found is None:
                if not ("interrupt" in fiber or "failing" in fiber):
                    self._look(fiber)
                fuel -= 1 - super()._run(fiber, 1)
        return super()._run(fiber, fuel)

    def _look(self, fiber: Fiber) -> None:
        if not fiber["frames"]:
            return
        frame = fiber["frames"][-1]
        step = self.programs[frame["program"]].code[frame["pc"]]["step"]
        if step >= 0 and (self.wanted in (self.path(frame, step), key := self.key(frame, step)) or key in self.ledgers):
            self._keep(key)

    def _keep(self, key: str) -> None:
        self.found, self.key_found = orjson.loads(orjson.dumps(self.state)), key


def failed_step(events: Iterable[Mapping[str, Any]], final: Mapping[str, Any] | None) -> str | None:
    """The key of the innermost step that failed with the run's own error `final`; None if none did. `events` are those of the run."""
    innermost: Mapping[str, Any] | None = None
    for event in events:
        failed = "path" in event and event["status"] in ("failed", "canceled")
        if not failed or final is None or event.get("error") != final:
            continue
        if innermost is None or not innermost["path"].startswith(event["path"] + "/"):
            innermost = event
    return key_of(innermost) if innermost is not None else None


def resumed(retraced: Retracing) -> State:
    """The state to begin a new run with, of a machine that has heard all of the old run. Raises CannotResume."""
    state, done = retraced.found, retraced.state["done"]
    if done is not None and done["status"] in _UNDONE:
        message = "the run has compensated: what it had done is undone"
        raise CannotResume("compensated", message, hint="run it again from the start")
    if state is None:
        message = f"the run never came to a step {retraced.wanted!r}"
        raise CannotResume("step_not_run", message, hint="a step's path or key, as its events tell it")
    if state["ending"] is not None:
        message = f"{retraced.wanted!r} was run at the end of the run"
        raise CannotResume("not_resumable", message, hint="take a step of the run itself, or the start")
    state = orjson.loads(orjson.dumps(state))
    machine = Machine(retraced.programs, state, trace=False)
    for name, scope in state["scopes"].items():
        _settle(machine, name, scope, retraced)
    for effect in list(state["effects"].values()):
        _ask_again(state, effect)
    if retraced.ledgers:
        again.begin(machine, state["run_id"], {key: retraced.failed[key] for key in sorted(retraced.ledgers)})
    state |= {"forgotten": [], "paused": False, "seq": 0}
    return machine.state


def _settle(machine: Machine, name: str, scope: dict[str, Any], retraced: Retracing) -> None:
    """Bring a scope's transaction to what has become of it in the old run."""
    scope["busy"], txn = None, scope["txn"]
    scope.pop("rerun", None)
    if txn is None:
        return
    number = txn["number"]
    if txn["used"] and (name, number) in retraced.committed:
        transactions.ended(machine, scope, committed=True)
        if txn["explicit"]:
            transactions.begin(scope, explicit=True)
        return
    if txn["used"] and (name, number) in retraced.unsettled:
        message = "nobody knows whether the transaction that was open there was committed"
        raise CannotResume("not_resumable", message, hint="look at the data, and run it again from the start")
    if txn["used"]:
        reruns.restore_checkpoint(machine, name, scope)
        sagas.forget(machine, [scope["prefix"], number])
    txn |= {"attempt": 1, "opened": False, "wrote": False, "used": False}


def _ask_again(state: State, effect: dict[str, Any]) -> None:
    """Nobody has begun the effects of a new run."""
    effect["told"] = False
    effect.pop("given_up", None)
    if effect["then"] == "restored":
        effect |= {"kind": "sleep", "then": "retry", "call": {"seconds": 0, "until": state["clock"]}}
    elif effect["then"] not in _KEPT:
        del state["effects"][effect["id"]]
        state["fibers"][effect["fiber"]]["wait"] = None


def adopt(state: State, *, run_id: str, key_id: str, clock: str) -> None:
    """Make a resumed state one of the run that begins with it now."""
    old, late = state["key_id"], datetime.fromisoformat(clock) - datetime.fromisoformat(state["clock"])
    for effect in state["effects"].values():
        call = effect["call"]
        if "until" in call:
            call["until"] = (datetime.fromisoformat(call["until"]) + late).isoformat()
        if effect["kind"] == "chunk":
            call |= {"key_id": key_id, "key": _renamed(call["key"], old, key_id)}
            if call["transaction"] is not None:
                call["transaction"]["id"] = _renamed(call["transaction"]["id"], old, key_id)
        if "run_id" in call:
            call |= {"run_id": run_id, "now": clock}
    state |= {"run_id": run_id, "key_id": key_id, "clock": max(clock, state["clock"])}


def _renamed(name: str, old: str, new: str) -> str:
    return f"{new}{name.removeprefix(old)}"
