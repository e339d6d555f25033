"""Parts of a batch: stretches of its rows that are gone through side by side, each of them chunk after chunk.

A part is a fiber that stands at its loop, as the batch itself does, and counts into the batch's record. Parts begin and end where chunks
do: an element has the same ordinal, the same chunk and the same keys whatever the concurrency is, so a batch has the same result with any,
and it may be changed while the batch runs.

    parts       of the batch: what is not begun yet, [first ordinal, end, place behind which it begins], in order
    running     fiber -> first ordinal of its part
    partials    what parts that have ended, or were given back, brought out: first ordinal -> reductions
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from script.compiler.program import Instruction
from script.machine import fibers, reduce, transactions
from script.machine.iterations import reducing
from script.machine.state import Fiber, Frame

if TYPE_CHECKING:
    from script.machine.machine import Machine

MOST: Final = 100
"""More chunks than that do not run side by side."""
_FEWEST_PARTS: Final = 16
_PARTS_FOR_EACH: Final = 4
"""There are more parts than run at once: they end at different times, and more may be wanted later."""


def are_wanted(record: dict[str, Any], size: int) -> bool:
    """Whether a batch that goes chunk by chunk should be divided now."""
    return bool(
        "parts" not in record
        and "again" not in record
        and record["concurrency"] > 1
        and record["end"] - record["position"] > size
    )


def divide(machine: "Machine", frame: Frame, instruction: Instruction, record: dict[str, Any], size: int) -> None:
    """Divide what is left of a batch: a list by counting, rows by asking where every so many of them are."""
    first, end = record["position"], record["end"]
    chunks = -(-(end - first) // size)
    most = max(_FEWEST_PARTS, _PARTS_FOR_EACH * record["concurrency"])
    every = -(-chunks // min(most, chunks)) * size
    if "items" in record["batch"]:
        divided(record, [[offset, None] for offset in range(first + every, end, every)])
        return  # the fiber goes on at the loop
    call = {
        "rows": record["batch"]["rows"],
        "offset": first,
        "after": record["after"],
        "every": every,
        "run_id": machine.state["run_id"],
    }
    key = f"{machine.key(frame, instruction.step)}/parts{first}"
    transactions.ask(machine, "partition", key, call, "partition")


def divided(record: dict[str, Any], places: list[list[Any]]) -> None:
    """The batch goes on in parts, which begin at its position and at some places: [ordinal, the place of the row before]."""
    begins = [[record["position"], record["after"]], *places]
    ends = [first for first, _ in places] + [record["end"]]
    record["parts"] = [[first, end, after] for (first, after), end in zip(begins, ends, strict=True)]
    record |= {"running": {}, "partials": {}}


def go_on(machine: "Machine", frame: Frame, instruction: Instruction, record: dict[str, Any]) -> bool:
    """Take the parts that ended, begin as many others; whether all are done."""
    fibers_, waiting = machine.state["fibers"], record["parts"]
    for name in [name for name in record["running"] if fibers.is_ended(machine, name)]:
        first, fiber = record["running"].pop(name), fibers_.pop(name)
        record["partials"][str(first)] = fiber["reduced"]
        if fiber["rest"] is not None:
            waiting.append(fiber["rest"])
            waiting.sort()
    if record["stopped"]:
        waiting.clear()
    while waiting and len(record["running"]) < record["concurrency"]:
        _begin(machine, frame, instruction, record, waiting.pop(0))
    if record["running"]:
        machine.fiber["wait"] = {"any": list(record["running"])}
        return False
    with reducing():
        for first in sorted(record["partials"], key=int):
            reduce.merge(record["reduced"], instruction.operands["reduce"] or {}, record["partials"][first])
    return True


def _begin(machine: "Machine", frame: Frame, instruction: Instruction, record: dict[str, Any], part: list[Any]) -> None:
    first, end, after = part
    start, operands = record["pc"] + 1, instruction.operands
    body = fibers.branch(machine, frame, record["pc"], (start, operands["next"] + 1), instruction.step)
    body["vars"] = {name: value for name, value in body["vars"].items() if name in operands["reads"]}
    body["loops"][-1] = {
        "pc": record["pc"],
        "part": True,
        "position": first,
        "end": end,
        "after": after,
        "done": False,
        "reduced": reduce.empty(operands["reduce"] or {}),
    }
    fiber = fibers.fork(machine, body, "part", step=instruction.step, scope=machine.fiber["scope"])
    record["running"][fiber["id"]] = first


def batch_of(machine: "Machine", record: dict[str, Any]) -> dict[str, Any]:
    """The record of the batch that the current fiber walks, or walks a part of."""
    if "part" not in record:
        return record
    fiber = machine.fiber
    found: dict[str, Any] = machine.state["fibers"][fiber["parent"]]["frames"][fiber["depth"]]["loops"][-1]
    return found


def may_end(machine: "Machine", record: dict[str, Any]) -> bool:
    """End a part that is done, or that is one too many now: the rest is given back. False where it goes on."""
    batch = batch_of(machine, record)
    rest = None
    if not (record["done"] or batch["stopped"]):
        running = [name for name in batch["running"] if not fibers.is_ended(machine, name)]
        if len(running) <= batch["concurrency"]:
            return False
        rest = [record["position"], record["end"], record["after"]]
    fibers.end(machine.fiber, "completed", last=None, outputs={}, reduced=record["reduced"], rest=rest)
    return True


def running(machine: "Machine") -> Iterator[tuple[Fiber, str, dict[str, Any]]]:
    """The batches that the run is in the middle of: the fiber, the key of the loop, and its record."""
    for fiber in machine.state["fibers"].values():
        for frame in fiber["frames"]:
            for record in frame["loops"]:
                if "batch" in record:
                    step = machine.programs[frame["program"]].code[record["pc"]]["step"]
                    yield fiber, machine.key(frame, step), record


def change(machine: "Machine", step: str, concurrency: int) -> None:
    """How many chunks of a running batch may run at once from now on; nothing where there is no such batch, or no such number."""
    if not (isinstance(concurrency, int) and 1 <= concurrency <= MOST):
        return
    for fiber, key, record in running(machine):
        if key == step:
            record["concurrency"] = concurrency
            if "any" in (fiber["wait"] or ()):
                fiber["wait"] = None
