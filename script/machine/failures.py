"""What happens when a step fails: retry, then catch, then continue_on_error, then the failure of what is around it.

A program's exception table (`guards`, innermost first) tells who handles a failure at which instruction:

    retry       the step is tried again, after a pause, with the variables that it began with
    catch       steps that handle some errors
    ignore      continue_on_error: go on behind the step
    finally     steps that run in any case; behind them the failure (or return, break, continue) goes on where it was

A step with `retry`, `timeout` or `compensate` stands between `try` and `tried`, and has a record in `frame["tries"]` while it runs.
An interrupt (a cancelled run, a time-out, an async step that failed) is a failure that handlers further in do not hear; `finally` does.
"""

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from script.compiler.program import Guard, Instruction
from script.expressions.durations import parse_duration
from script.machine import blocks, dry_runs, fibers, loops, sagas, timeouts, transactions
from script.machine.effects import StepFailure
from script.machine.state import Fiber, Frame

if TYPE_CHECKING:
    from script.machine.machine import Machine

ANY: Final = "*"
_BEHIND: Final = ("tried", "finally", "done", "jump")
"""Instructions of a step that has ended well: what fails there is what is around it."""

Beyond = dict[str, Any]


def fail(
    machine: "Machine", fiber: Fiber, error: dict[str, Any], beyond: Beyond | None = None, *, told: bool = False
) -> None:
    """The current step of a fiber failed: go on at the innermost handler, or end the fiber.

    Fibers that were begun within what fails are given up first; the fiber waits for them. `told`: the step's failure has been told.
    """
    machine.fiber = fiber
    frames = fiber["frames"]
    while True:
        frame = frames[-1]
        program = machine.programs[frame["program"]]
        step = program.code[frame["pc"]]["step"]
        error = {"step": machine.key(frame, step) if step >= 0 else program.name, **error}
        guard = _handler(machine, fiber, error, beyond)
        children = [name for name in _children(machine, frame, guard) if not fibers.is_ended(machine, name)]
        if children:
            for name in children:
                fibers.kill(machine, machine.state["fibers"][name], "given up: what began it failed")
            fiber["failing"] = {"error": error, "beyond": beyond, "told": told}
            fiber["wait"] = {"fibers": children, "dying": True}
            return
        if told or program.code[frame["pc"]]["op"] in _BEHIND:
            step = machine.info(frame, step).parent if step >= 0 and (guard is None or guard.step != step) else -1
        told = False
        _tell(machine, frame, step, guard.step if guard else frame["top"], error)
        _leave(machine, frame, guard)
        if guard is not None:
            _handle(machine, fiber, frame, guard, error, beyond)
            return
        if len(frames) == 1:
            break
        frames.pop()
    _fiber_failed(machine, fiber, error)


def take_interrupt(machine: "Machine", fiber: Fiber) -> bool:
    """Let a fiber that can go on hear what happened meanwhile, if anything did. A step that has ended well is over before."""
    failing = fiber.pop("failing", None)
    if failing is not None:
        fail(machine, fiber, failing["error"], failing["beyond"], told=failing["told"])
    elif "interrupt" in fiber and fiber["frames"]:
        frame = fiber["frames"][-1]
        instruction = machine.programs[frame["program"]].linked[frame["pc"]]
        if instruction.op == "tried":
            over = _is_about(machine, fiber, instruction.step)
            tried(machine, frame, instruction)
            if over:
                del fiber["interrupt"]
                return True
        interrupt = fiber.pop("interrupt")
        fail(machine, fiber, interrupt["error"], interrupt)
    else:
        return False
    return True


def _is_about(machine: "Machine", fiber: Fiber, step: int) -> bool:
    """Whether the interrupt is that the time of a step of the top frame is over."""
    interrupt = fiber["interrupt"]
    known = interrupt["error"]["code"] == timeouts.TIMEOUT and interrupt["step"] == step
    return bool(known and len(fiber["frames"]) == interrupt["depth"] + 1)


def _fiber_failed(machine: "Machine", fiber: Fiber, error: dict[str, Any]) -> None:
    cancelled, role = bool(fiber.get("cancelled")), fiber["role"]
    orphans = machine.state["orphans"]
    if role == "element":
        machine.finish("failed", error=error)
    elif role == "main":
        status = "canceled" if cancelled and error["code"] == fibers.CANCELED else "failed"
        sagas.end_run(machine, status, None, error)
    elif role in ("compensation", "on_failure"):
        sagas.part_failed(machine, fiber, error)
    elif role == blocks.ROLE:
        blocks.failed(machine, fiber, error)
    elif orphans.get(fiber.get("key")) == fiber["id"]:
        del orphans[fiber["key"]], machine.state["fibers"][fiber["id"]]
        fibers.end(fiber, "failed")
    elif cancelled:
        fibers.end(fiber, "canceled", outputs={}, last=None)
    else:
        fibers.end(fiber, "failed", outputs={}, last=None)
        parent = machine.state["fibers"][fiber["parent"]]
        around = fiber["step"]
        if role == "async":
            frame = parent["frames"][fiber["depth"]]
            around = machine.info(frame, around).parent
        fibers.interrupt(machine, parent, error, depth=fiber["depth"], step=around)


# --- handlers ---


def _handler(machine: "Machine", fiber: Fiber, error: dict[str, Any], beyond: Beyond | None) -> Guard | None:
    frame = fiber["frames"][-1]
    program = machine.programs[frame["program"]]
    low, high = frame["bounds"] or (0, len(program.code))
    for guard in program.guards:
        if not (low <= guard.start <= frame["pc"] < guard.end <= high):
            continue
        if guard.kind == "finally" or (
            _hears(machine, fiber, frame, guard, beyond) and _takes(machine, fiber, frame, guard, error)
        ):
            return guard
    return None


def _hears(machine: "Machine", fiber: Fiber, frame: Frame, guard: Guard, beyond: Beyond | None) -> bool:
    """Whether a handler hears a failure that is to be heard beyond some step only."""
    if beyond is None:
        return True
    depth = len(fiber["frames"]) - 1
    if depth != beyond["depth"]:
        return bool(depth < beyond["depth"])
    return guard.step in _around(machine, frame, beyond["step"])


def _around(machine: "Machine", frame: Frame, step: int) -> Iterator[int]:
    """A step and the steps around it, from the innermost."""
    while step >= 0:
        yield step
        step = machine.info(frame, step).parent


def _takes(machine: "Machine", fiber: Fiber, frame: Frame, guard: Guard, error: dict[str, Any]) -> bool:
    if guard.kind == "catch":
        return error["code"] in guard.errors or ANY in guard.errors
    if guard.kind != "retry":
        return True
    record = next((known for known in reversed(frame["tries"]) if known["step"] == guard.step), None)
    if record is None:
        return False  # a break or continue has left the step
    policy = machine.programs[frame["program"]].code[record["pc"]]["retry"]
    wanted = not policy["only"] or error["code"] in policy["only"]
    return bool(record["attempt"] < policy["max_attempts"] and wanted and error["code"] not in policy["never"])


def _record(frame: Frame, step: int) -> dict[str, Any]:
    return next(record for record in reversed(frame["tries"]) if record["step"] == step)


def _handle(
    machine: "Machine", fiber: Fiber, frame: Frame, guard: Guard, error: dict[str, Any], beyond: Beyond | None
) -> None:
    frame["last"] = None
    if guard.kind == "retry":
        _try_again(machine, frame, _record(frame, guard.step), error)
    elif guard.kind == "finally":
        frame["unwinding"].append({"step": guard.step, "error": error, "beyond": beyond})
        frame["pc"] = guard.target + 1
    else:
        frame["vars"]["error"] = error
        frame["pc"] = guard.target


def _leave(machine: "Machine", frame: Frame, guard: Guard | None) -> None:
    """Close what is open within the step of a handler, or all that is open in a frame."""

    def inside(record: dict[str, Any]) -> bool:
        if guard is None:
            return True
        if guard.kind == "retry" and record["step"] == guard.step and "attempt" in record:
            return False
        return guard.step in _around(machine, frame, record["step"])

    for name in _children(machine, frame, guard):
        machine.state["fibers"].pop(name, None)
    frame["children"] = {step: name for step, name in frame["children"].items() if name in machine.state["fibers"]}
    while len(frame["loops"]) > (guard.depth if guard is not None else 0):
        loops.leave_loop(machine, frame)
    while frame["tries"] and inside(frame["tries"][-1]):
        fibers.forget(machine, frame["tries"].pop()["timer"])
    while frame["unwinding"] and inside(frame["unwinding"][-1]):
        frame["unwinding"].pop()


def _children(machine: "Machine", frame: Frame, guard: Guard | None) -> list[str]:
    """The fibers that were begun within the step of a handler, or by any step of the frame."""
    found = [
        name
        for step, name in frame["children"].items()
        if guard is None or guard.step in _around(machine, frame, int(step))
    ]
    for record in frame["loops"][guard.depth if guard is not None else 0 :]:
        found += record.get("running", ())
    return found


def _tell(machine: "Machine", frame: Frame, step: int, last: int, error: dict[str, Any]) -> None:
    """A failed event for the step and for each step around it, up to the one that handles it (or the fiber's beginning)."""
    status = "canceled" if error["code"] == fibers.CANCELED else "failed"
    while step >= 0 and step != frame["top"]:
        around = sum(machine.info(frame, one).type == "loop" for one in _around(machine, frame, step)) - (
            machine.info(frame, step).type == "loop"
        )
        machine.emit(frame, step, status, error=error, loops=around)
        if step == last:
            return
        step = machine.info(frame, step).parent


# --- tries ---


def try_(machine: "Machine", frame: Frame, instruction: Instruction) -> None:
    """The beginning of a step with retry, timeout or compensate."""
    operands = instruction.operands
    record = {
        "pc": frame["pc"],
        "step": instruction.step,
        "attempt": 1,
        "vars": dict(frame["vars"]) if operands["retry"] else None,
        "timer": None,
        "saved": None,
        "outside": False,
        "alone": False,
        "memo": {},
    }
    frame["tries"].append(record)
    _begin(machine, frame, instruction, record)


def _begin(machine: "Machine", frame: Frame, instruction: Instruction, record: dict[str, Any]) -> None:
    """Begin a try: its time runs from now."""
    if instruction.operands["timeout"] is not None:
        seconds = parse_duration(machine.render(frame, instruction, "timeout"))
        timeouts.begin(machine, frame, record, seconds)
    frame["pc"] = record["pc"] + 1


def tried(machine: "Machine", frame: Frame, instruction: Instruction) -> None:
    """The end of such a step, when it went well."""
    leave_well(machine, frame, instruction.step)
    frame["pc"] = instruction.operands["to"]


def leave_well(machine: "Machine", frame: Frame, step: int) -> None:
    """The tries within a step (-1: all of the frame) are over: their work is done, and compensated if that is needed later."""
    around = [record for record in frame["tries"] if step < 0 or step in _around(machine, frame, record["step"])]
    for record in reversed(around):
        head = machine.programs[frame["program"]].linked[record["pc"]]
        if head.operands["compensate"] is not None:
            sagas.remember(machine, frame, head, record)
    for record in around:
        fibers.forget(machine, record["timer"])
        frame["tries"].remove(record)


def leave_iteration(machine: "Machine", frame: Frame, loop: int) -> None:
    """A break or continue has left the steps inside of a loop."""
    for step in {record["step"] for record in frame["tries"]}:
        if machine.info(frame, step).parent >= 0 and loop in _around(machine, frame, machine.info(frame, step).parent):
            leave_well(machine, frame, step)
    frame["unwinding"] = [
        entry
        for entry in frame["unwinding"]
        if entry["step"] == loop or loop not in _around(machine, frame, entry["step"])
    ]


def _try_again(machine: "Machine", frame: Frame, record: dict[str, Any], error: dict[str, Any]) -> None:
    """Begin the next try: undo what the step wrote in the open transaction, wait, and run it with the variables of its beginning."""
    instruction = machine.programs[frame["program"]].linked[record["pc"]]
    fibers.forget(machine, record["timer"])
    record |= {"timer": None, "attempt": record["attempt"] + 1}
    frame |= {"pc": record["pc"], "vars": dict(record["vars"])}
    delay = pause(machine, instruction.operands["retry"], record["attempt"] - 1, machine.key(frame, instruction.step))
    machine.emit(
        frame, instruction.step, "retrying", kind="warning", error=error, attempt=record["attempt"], delay_seconds=delay
    )
    record["delay"] = delay
    if record["saved"] is not None and transactions.restore(machine, frame, record):
        return
    retry_after_pause(machine, frame)


def retry_after_pause(machine: "Machine", frame: Frame) -> None:
    """Wait, then begin the next try."""
    record = frame["tries"][-1]
    key, seconds = machine.key(frame, record["step"]) + "/retry", record.pop("delay")
    if machine.state["dry_run"]:
        dry_runs.pass_time(machine, seconds)
        retry_now(machine, frame)
    else:
        transactions.ask(machine, "sleep", key, {"seconds": seconds}, "retry")


def retry_now(machine: "Machine", frame: Frame) -> None:
    """The pause is over."""
    record = frame["tries"][-1]
    _begin(machine, frame, machine.programs[frame["program"]].linked[record["pc"]], record)


def pause(machine: "Machine", policy: dict[str, Any], failed: int, key: str) -> float:
    """Seconds before the next try, after so many failed ones. The jitter comes from the step's key: the same whenever it is asked for."""
    seconds: float = min(policy["initial_interval"] * policy["backoff"] ** (failed - 1), policy["max_interval"])
    drawn = hashlib.blake2b(f"{machine.state['key_id']}/{key}/{failed}".encode(), digest_size=4).digest()
    share = int.from_bytes(drawn, "big") / (1 << 32)
    return round(seconds * (1 - float(policy["jitter"]) * share), 3)


# --- finally ---


def finally_(machine: "Machine", frame: Frame, instruction: Instruction) -> None:
    """The beginning of `finally`, reached without a failure."""
    frame["unwinding"].append({"step": instruction.step})
    frame["pc"] += 1


def rethrow(machine: "Machine", frame: Frame, instruction: Instruction) -> None:
    """The end of `finally`: what was going on goes on."""
    entry = frame["unwinding"].pop()
    if "error" in entry:
        fail(machine, machine.fiber, entry["error"], entry["beyond"], told=True)
    elif "value" in entry:
        if not divert(machine, frame, {"value": entry["value"]}):
            machine.pop_frame(entry["value"])
    elif "jump" in entry:
        if not divert(machine, frame, {"jump": entry["jump"]}):
            loops.LEAVE[entry["jump"]](machine, frame)
    else:
        frame["pc"] += 1


def divert(machine: "Machine", frame: Frame, entry: dict[str, Any]) -> bool:
    """Let a return (`value`) or a break or continue (`jump`) pass through the innermost `finally` around; False if there is none."""
    program = machine.programs[frame["program"]]
    low, high = frame["bounds"] or (0, len(program.code))
    if "jump" in entry:
        low = max(low, frame["loops"][-1]["pc"] + 1)
    for guard in program.guards:
        if guard.kind == "finally" and low <= guard.start <= frame["pc"] < guard.end <= high:
            leave_well(machine, frame, guard.step)
            _leave(machine, frame, guard)
            frame["unwinding"].append({"step": guard.step, **entry})
            frame["pc"] = guard.target + 1
            return True
    return False


def check_no_jump_out(frame: Frame, what: str) -> None:
    """Refuse a return from a part of a program that runs as a fiber."""
    if frame["bounds"] is not None:
        raise StepFailure(
            f"{what}_in_parallel",
            f"a {what} inside of steps that run side by side",
            hint="bring values out with variables",
        )
