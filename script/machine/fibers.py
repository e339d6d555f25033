"""Fibers: strands of a run that go on side by side, each for itself, and are joined by the list of steps that began them.

A fiber starts with a copy of the variables around it, so that it sees the values from before it started; what it sets appears to
others when it is joined. Only one runs at a time, in the order in which they began: the machine stays deterministic. One that fails
interrupts its parent, which gives up the others: nothing outlives the list (or loop) that began it.
"""

from typing import TYPE_CHECKING, Any, Final

from script.compiler.program import Instruction
from script.machine import blocks, reruns, sagas, transactions
from script.machine.effects import TIMERS
from script.machine.state import Fiber, Frame, add_fiber, new_frame

if TYPE_CHECKING:
    from script.machine.machine import Machine

CANCELED: Final = "canceled"
_CAN_BE_GIVEN_UP: Final = ("call", "child", "chunk")


def runnable(machine: "Machine") -> Fiber | None:
    """The first fiber that can go on."""
    for fiber in machine.state["fibers"].values():
        wait = fiber["wait"]
        if (wait is None or _is_over(machine, fiber, wait)) and not transactions.is_held(machine, fiber):
            fiber["wait"] = None
            return fiber  # type: ignore[no-any-return]
    return None


def _is_over(machine: "Machine", fiber: Fiber, wait: dict[str, Any]) -> bool:
    """Whether what a fiber waits for has come."""
    if "effect" in wait or "ended" in wait:
        return False
    if "interrupt" in fiber and not wait.get("dying"):
        return True
    if "fibers" in wait:
        return all(is_ended(machine, name) for name in wait["fibers"])
    if "any" in wait:
        return any(is_ended(machine, name) for name in wait["any"])
    return transactions.is_turn(machine, fiber)


def is_ended(machine: "Machine", name: str) -> bool:
    """Whether a fiber is over. One that nobody takes up any more may be gone."""
    fiber = machine.state["fibers"].get(name)
    return fiber is None or "ended" in (fiber["wait"] or ())


def branch(machine: "Machine", frame: Frame, pc: int, bounds: tuple[int, int], top: int) -> Frame:
    """A frame for a part of the program that `frame` runs, with the same variables."""
    made = new_frame(
        frame["program"],
        pc,
        dict(frame["vars"]),
        prefix=frame["prefix"],
        iteration=frame["iteration"],
        clock=machine.state["clock"],
    )
    made["loops"] = [{"i": loop["i"]} if "i" in loop else {} for loop in frame["loops"]]
    return made | {"bounds": list(bounds), "top": top}


def fork(machine: "Machine", frame: Frame, role: str, *, step: int, scope: str | None) -> Fiber:
    """A fiber that the current one is the parent of."""
    parent = machine.fiber
    fiber = add_fiber(machine.state, [frame], role, scope=scope, parent=parent["id"])
    fiber |= {"step": step, "depth": len(parent["frames"]) - 1, "attempts": attempts(parent)}
    fiber["again"] = transactions.attempt(machine)
    return fiber


def attempts(fiber: Fiber) -> list[int]:
    """In which try each step with `retry` around the current step is."""
    around: list[int] = fiber["attempts"]
    return around + [
        record["attempt"] for frame in fiber["frames"] for record in frame["tries"] if record["vars"] is not None
    ]


# --- async steps ---


def spawn(machine: "Machine", frame: Frame, instruction: Instruction) -> None:
    """Begin an async step. One that touches the database of the open transaction runs right here instead, and tells so."""
    operands, step = instruction.operands, instruction.step
    if operands["touches"] and transactions.is_open(machine):
        error = {
            "code": "ran_synchronously",
            "message": "the step touches the database of the open transaction, so it was not run beside the others",
            "retryable": False,
        }
        machine.emit(frame, step, "running", kind="warning", error=error)
        frame["pc"] += 1
        return
    key, state = machine.key(frame, step), machine.state
    known = state["orphans"].pop(key, None)
    if known is not None and not state["fibers"][known].get("cancelled"):
        fiber = state["fibers"][known]
        fiber |= {"parent": machine.fiber["id"], "depth": len(machine.fiber["frames"]) - 1}
    else:
        body = branch(
            machine, frame, frame["pc"] + 1, (frame["pc"] + 1, operands["to"]), machine.info(frame, step).parent
        )
        fiber = fork(machine, body, "async", step=step, scope=None)
        fiber |= {"key": key, "origin": reruns.origin(machine, body)}
    frame["children"][str(step)] = fiber["id"]
    frame["pc"] = operands["to"]


def join(machine: "Machine", frame: Frame, instruction: Instruction) -> None:
    """Wait for async steps, and take what they set, in the order of the steps."""
    steps = [str(step) for step in instruction.operands["of"] if str(step) in frame["children"]]
    waited = [name for step in steps if not is_ended(machine, name := frame["children"][step])]
    if waited:
        machine.fiber["wait"] = {"fibers": waited}
        return
    for step in steps:
        fiber = machine.state["fibers"][frame["children"].pop(step)]
        frame["vars"] |= fiber["outputs"]
        if int(step) == instruction.operands["last"]:
            frame["last"] = fiber["last"]
        reruns.drop_joined(machine, fiber)
    frame["pc"] += 1


def done(machine: "Machine", frame: Frame, instruction: Instruction) -> None:
    """The end of the part of a program that a fiber runs. (The body of an async step that was run in place is gone on behind.)"""
    fiber = machine.fiber
    if len(fiber["frames"]) > 1 or frame["bounds"] is None or frame["bounds"][0] != instruction.operands["body"]:
        frame["pc"] += 1
        return
    outputs = {name: frame["vars"][name] for name in instruction.operands["outputs"] if name in frame["vars"]}
    if fiber["role"] == blocks.ROLE:
        blocks.done(machine, fiber, outputs, frame["last"])
        return
    if fiber["role"] != "async":
        sagas.part_done(machine, fiber)
        return
    end(fiber, "completed", outputs=outputs, last=frame["last"])


def end(fiber: Fiber, status: str, **result: Any) -> None:
    """A fiber is over; it stays, with its result, until it is joined."""
    fiber |= {"wait": {"ended": status}, "frames": [], **result}
    fiber.pop("interrupt", None)


# --- giving up ---


def kill(machine: "Machine", fiber: Fiber, message: str = "the run was canceled") -> None:
    """Cancel a fiber: what it does is given up, its `finally` steps still run."""
    if fiber.get("cancelled") or "ended" in (fiber["wait"] or ()):
        return
    fiber["cancelled"] = True
    error = {"code": CANCELED, "message": message, "retryable": False}
    fiber.pop("interrupt", None)
    interrupt(machine, fiber, error, depth=-1, step=-1)


def interrupt(machine: "Machine", fiber: Fiber, error: dict[str, Any], *, depth: int, step: int) -> None:
    """Let a fiber fail as soon as it hears it: handlers of the steps inside of `step` (of the frame `depth`) are passed over.

    The first of several interrupts counts. An effect under way is given up, and how it ended is heard before. A fiber without frames
    is past its steps, and ends as it does.
    """
    if "interrupt" in fiber or not fiber["frames"]:
        return
    fiber["interrupt"] = {"error": error, "depth": depth, "step": step}
    give_up(machine, fiber)


def give_up(machine: "Machine", fiber: Fiber) -> None:
    """An interrupted fiber gives up the effect that it waits for, if it can be given up."""
    name = (fiber["wait"] or {}).get("effect")
    if name is None or "interrupt" not in fiber:
        return
    effect = machine.state["effects"][name]
    if effect["kind"] in TIMERS:
        forget(machine, name)
        fiber["wait"] = None
    elif not effect["told"]:  # nobody has begun it
        transactions.release(machine, machine.state["effects"].pop(name))
        fiber["wait"] = None
    elif effect["kind"] in _CAN_BE_GIVEN_UP and "given_up" not in effect:
        effect["given_up"] = "now"


def forget(machine: "Machine", name: str | None) -> None:
    """Wait for a timer no longer."""
    found = machine.state["effects"].pop(name, None)
    if found is not None:
        transactions.release(machine, found)
        if found["told"]:
            machine.state["forgotten"].append(name)
