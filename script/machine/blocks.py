"""Blocks on another database: steps that stand alone, in a transaction of their own.

A block with `database` runs as a fiber with a scope of its own, which the step waits for: its transaction begins with its first data step,
and commits before the block is done (in a dry run it is rolled back). What the block set appears then. A conflict runs the block again, not
what is around it; and a transaction around that runs again does not run the block again: what it gave is remembered, as of a child run.

The compiler makes   alone END, its steps, done;   the machine comes to `alone` twice: to begin, and when the fiber has ended.
"""

from typing import TYPE_CHECKING, Any, Final

from script.compiler.program import Instruction
from script.machine import calls, fibers, reruns, transactions
from script.machine.effects import StepFailure
from script.machine.state import Fiber, Frame, new_scope
from script.wire import Outcome

if TYPE_CHECKING:
    from script.machine.machine import Machine

ROLE: Final = "block"


def alone(machine: "Machine", frame: Frame, instruction: Instruction) -> None:
    """Begin the steps of a block, or take what they set when they are done."""
    step, state = instruction.step, machine.state
    key, name = machine.key(frame, step), frame["children"].get(str(step))
    if name is None:
        known = calls.known(machine, key)
        if known is not None and _orphan(key) not in state["orphans"]:
            _take(machine, frame, instruction, known["value"])
            return
        frame["children"][str(step)] = name = _begin(machine, frame, instruction, key)
    if not fibers.is_ended(machine, name):
        machine.fiber["wait"] = {"fibers": [name]}
        return
    fiber = state["fibers"][frame["children"].pop(str(step))]
    reruns.drop_joined(machine, fiber)
    if "gave" not in fiber:
        calls.raise_error(Outcome(error=fiber["failed"]))
    calls.keep(machine, key, Outcome(fiber["gave"], None, state["clock"]), always=True)
    _take(machine, frame, instruction, fiber["gave"])


def _begin(machine: "Machine", frame: Frame, instruction: Instruction, key: str) -> str:
    state, scope = machine.state, machine.scope()
    if scope is not None and (scope["txn"] or {}).get("inherited"):
        raise StepFailure(
            "block_in_batch",
            "a block with a database has a transaction of its own, which a batch cannot repeat safely",
            hint="give the single steps the database, or loop without batch_size over fewer rows",
        )
    calls.note_outside(frame, instruction, True, True)
    orphan = state["orphans"].pop(_orphan(key), None)
    if orphan is not None:
        fiber = state["fibers"][orphan]
        fiber |= {"parent": machine.fiber["id"], "depth": len(machine.fiber["frames"]) - 1}
        return str(orphan)
    name = f"{ROLE}/{transactions.effect_id(machine, key)}"
    isolation = machine.programs[frame["program"]].isolation
    again = transactions.attempt(machine) - 1
    state["scopes"][name] = new_scope(instruction.operands["database"], isolation, f"{name}/")
    state["scopes"][name]["spent"] = again * reruns.ATTEMPTS  # what it asks for is told from what it asked for before
    start = frame["pc"] + 1
    body = fibers.branch(machine, frame, start, (start, instruction.operands["to"]), instruction.step)
    fiber = fibers.fork(machine, body, ROLE, step=instruction.step, scope=name)
    fiber["key"] = _orphan(key)
    return str(fiber["id"])


def _orphan(key: str) -> str:
    """What a block is known by when nobody waits for it. The step itself may be async, and have that fiber, too."""
    return f"{key}#{ROLE}"


def _take(machine: "Machine", frame: Frame, instruction: Instruction, gave: dict[str, Any]) -> None:
    frame["vars"] |= gave["outputs"]
    frame["last"] = gave["last"]
    frame["pc"] = instruction.operands["to"]


def done(machine: "Machine", fiber: Fiber, outputs: dict[str, Any], last: Any) -> None:
    """Its steps are done: commit."""
    scope = machine.state["scopes"][fiber["scope"]]
    fiber |= {"frames": [], "gave": {"outputs": outputs, "last": last}}
    if not transactions.end_scope(machine, scope, completed=True):
        _over(machine, fiber)


def failed(machine: "Machine", fiber: Fiber, error: dict[str, Any]) -> None:
    """One of its steps failed, or its commit: roll back."""
    scope = machine.state["scopes"][fiber["scope"]]
    fiber |= {"frames": [], "error": error}
    if not transactions.end_scope(machine, scope, completed=False):
        _over(machine, fiber)


def ended(machine: "Machine", fiber: Fiber, pending: dict[str, Any], outcome: Outcome) -> None:
    """Its transaction is over."""
    if outcome.error is not None and pending["kind"] == "commit":
        fiber["error"] = outcome.error
    elif outcome.error is not None:
        machine.emit_run("rollback_failed", kind="warning", error=outcome.error)
    _over(machine, fiber)


def _over(machine: "Machine", fiber: Fiber) -> None:
    orphans = machine.state["orphans"]
    del machine.state["scopes"][fiber["scope"]]
    fiber["scope"] = None
    error = fiber.pop("error", None)
    if error is None:
        fibers.end(fiber, "completed")
        return
    fiber.pop("gave", None)
    if orphans.get(fiber["key"]) == fiber["id"]:  # the step that had begun it begins it again
        del orphans[fiber["key"]], machine.state["fibers"][fiber["id"]]
        fibers.end(fiber, "failed")
        return
    cancelled, parent = bool(fiber.get("cancelled")), machine.state["fibers"].get(fiber["parent"])
    fibers.end(fiber, "canceled" if cancelled else "failed", failed=error)
    if parent is not None and not cancelled:
        fibers.interrupt(machine, parent, error, depth=fiber["depth"], step=fiber["step"])
