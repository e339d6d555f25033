"""Driving a machine right here: each effect is a function call.

Used for the iterations of a chunk, and by tests: the same program, the same machine, without Temporal.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from script.compiler.program import Program
from script.machine import reduce
from script.machine.effects import TIMERS, Done, Effect, Waiting, Yielded
from script.machine.machine import Machine
from script.machine.state import RUN_SCOPE, add_fiber, new_frame, new_state
from script.wire import GIVEN_UP, ChunkCall, Outcome

Perform = Callable[[Effect], Outcome]


def run(machine: Machine, perform: Perform, stepped: Callable[[], None] = lambda: None) -> Done:
    """Drive the machine to its end, one effect after the other. The time of a step runs only while something sleeps.

    `stepped` is called whenever the machine has gone on: for its events, or to raise what ends it.
    """
    waiting: dict[str, Effect] = {}
    while True:
        asked = machine.step()
        stepped()
        if isinstance(asked, Done):
            return asked
        if isinstance(asked, Waiting):
            waiting |= {effect.id: effect for effect in asked.start}
            given_up = [effect for name in asked.cancel if (effect := waiting.pop(name, None)) is not None]
            machine.resume_all({effect.id: GIVEN_UP for effect in given_up if effect.kind not in TIMERS})
            if not waiting:
                continue
            effect = _left(machine, waiting.pop(_next(waiting)))
            machine.resume(effect.id, perform(effect))


def _next(waiting: Mapping[str, Effect]) -> str:
    """The oldest effect that is no pause; or else the pause that is over first."""
    busy = next((name for name, effect in waiting.items() if effect.kind not in ("sleep", "timer")), None)
    return busy if busy is not None else min(waiting, key=lambda name: str(waiting[name].call["until"]))


def _left(machine: Machine, effect: Effect) -> Effect:
    """A pause as it is now: what is left of it."""
    if effect.kind not in ("sleep", "timer"):
        return effect
    left = datetime.fromisoformat(effect.call["until"]) - datetime.fromisoformat(machine.state["clock"])
    return replace(effect, call={**effect.call, "seconds": max(0.0, left.total_seconds())})


class Iterations:
    """The body of a loop, run for one element after the other: what a chunk does.

    All iterations count into one set of partial reductions, which `reduced` holds. `ordinals` are those of the elements, where they are
    not one behind the other.
    """

    def __init__(self, programs: Mapping[str, Program], call: ChunkCall, ordinals: Sequence[int] | None = None) -> None:
        self._programs = programs
        self._call = call
        self._ordinals = ordinals
        self._head = programs[call.program].linked[call.loop]
        self.reduced = reduce.empty(self._head.operands["reduce"] or {})

    def run(self, position: int, element: Any, perform: Perform) -> Done:
        """Run the body for the element at a position of the chunk: iterated, stopped (by a break), or failed.

        One that failed may have left something in the reductions: whoever goes on has to put them back.
        """
        return run(self._machine(element, self.ordinal(position)), perform)

    def ordinal(self, position: int) -> int:
        """The ordinal of the element at a position of the chunk."""
        return self._ordinals[position] if self._ordinals is not None else self._call.offset + position

    def _machine(self, element: Any, ordinal: int) -> Machine:
        call, operands = self._call, self._head.operands
        depth = operands["depth"]
        variables = {**call.variables, operands["iterator"]: element}
        if operands.get("index"):
            variables[operands["index"]] = ordinal
        record = {"pc": call.loop, "chunk": True, "i": ordinal, "reduced": self.reduced}
        start = call.loop + 1
        frame = new_frame(call.program, start, variables, prefix=call.prefix, iteration=call.iteration, clock=call.now)
        frame |= {
            "loops": [{}] * depth + [record],
            "bounds": [start, operands["next"] + 1],
            "top": self._head.step,
        }
        transaction = call.transaction
        state = new_state(
            run_id=call.run_id,
            key_id=call.key_id,
            root=call.version,
            database=transaction.database if transaction else None,
            isolation=transaction.isolation if transaction else "serializable",
            clock=call.now,
            dry_run=call.dry_run,
            mocks=call.mocks,
            scheduled_at=call.scheduled_at,
        )
        if transaction is not None:
            state["scopes"][RUN_SCOPE]["txn"] = {"inherited": True, "ref": _member_reference(call)}
        add_fiber(state, [frame], "element", scope=RUN_SCOPE)
        return Machine(self._programs, state, trace=False)


def _member_reference(call: ChunkCall) -> dict[str, Any]:
    transaction = call.transaction
    assert transaction is not None
    return {
        "id": transaction.id,
        "database": transaction.database,
        "isolation": transaction.isolation,
        "begin": False,
        "alone": False,
    }


__all__ = ["Iterations", "Perform", "Yielded", "run"]
