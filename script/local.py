"""Driving a machine right here: each effect is a function call.

Used for the iterations of a chunk, and by tests: the same program, the same machine, without Temporal.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from script import reduce
from script.effects import Done, Effect, Yielded
from script.machine import STATE_VERSION, Machine
from script.program import Program
from script.wire import ChunkCall, Outcome

Perform = Callable[[Effect], Outcome]


def run(machine: Machine, perform: Perform) -> Done:
    """Drive the machine to its end."""
    while True:
        asked = machine.step()
        if isinstance(asked, Done):
            return asked
        if isinstance(asked, Effect):
            machine.resume(asked.id, perform(asked))


class IterationFailed(Exception):
    """The body of a loop failed for one element; `ordinal` is its position in the whole loop."""

    def __init__(self, ordinal: int, error: dict[str, Any]) -> None:
        super().__init__(error["message"])
        self.ordinal = ordinal
        self.error = error


class Iterations:
    """The body of a loop, run for one element after the other: what a chunk does.

    All iterations count into one set of partial reductions, which `reduced` holds.
    """

    def __init__(self, programs: Mapping[str, Program], call: ChunkCall) -> None:
        self._programs = programs
        self._call = call
        self._head = programs[call.program].linked[call.loop]
        self.reduced = reduce.empty(self._head.operands["reduce"] or {})

    def run(self, elements: Iterator[Any] | list[Any], perform: Perform) -> Iterator[int]:
        """Run the body for each element, yielding how many are done; ends early after a `break`.

        Raises IterationFailed for the first element whose body fails.
        """
        for position, element in enumerate(elements):
            ordinal = self._call.offset + position
            done = run(self._machine(element, ordinal), perform)
            if done.status == "failed":
                assert done.error is not None
                raise IterationFailed(ordinal, done.error)
            yield position + 1
            if done.status == "stopped":
                self.stopped = True
                return

    stopped = False

    def _machine(self, element: Any, ordinal: int) -> Machine:
        call, operands = self._call, self._head.operands
        depth = operands["depth"]
        variables = {**call.variables, operands["iterator"]: element}
        if operands.get("index"):
            variables[operands["index"]] = ordinal
        record = {"pc": call.loop, "chunk": True, "i": ordinal, "reduced": self.reduced}
        frame = {
            "program": call.program,
            "pc": call.loop + 1,
            "vars": variables,
            "loops": [{}] * depth + [record],
            "floor": depth + 1,
            "prefix": call.prefix,
            "iteration": call.iteration,
            "last": None,
            "at": call.now,
        }
        transaction = call.transaction
        state = {
            "v": STATE_VERSION,
            "run_id": call.run_id,
            "key_id": call.key_id,
            "root": call.version,
            "database": transaction.database if transaction else None,
            "isolation": transaction.isolation if transaction else "serializable",
            "dry_run": call.dry_run,
            "mocks": call.mocks,
            "clock": call.now,
            "seq": 0,
            "frames": [frame],
            "txn": {"inherited": True, "ref": _member_reference(call)} if transaction else None,
            "txn_number": 0,
            "checkpoint": None,
            "memo": {},
            "pending": None,
            "done": None,
        }
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


__all__ = ["IterationFailed", "Iterations", "Perform", "Yielded", "run"]
