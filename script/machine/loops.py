"""Loops: element by element, with a condition, or several iterations side by side. Loops over rows are batches (`batches.py`).

items        the elements; None for a loop with a condition only
i            the position of the current one
values       what the iterations gave, where the loop's value is asked for
running      of a parallel loop: fiber -> position
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import orjson

from script.compiler.program import Instruction
from script.machine import batches, failures, fibers, iterations, reduce
from script.machine.effects import StepFailure
from script.machine.state import Frame
from script.wire import is_rows

if TYPE_CHECKING:
    from script.machine.machine import Machine

WHILE_BUDGET: Final = 1_000_000
"""Iterations of a loop with `while`: one that runs on and on is an error, not a bill."""


def loop(machine: "Machine", frame: Frame, instruction: Instruction) -> None:
    """Begin a loop: over a row reference, with a batch size or tolerance, as a batch; otherwise here. A batch and a parallel one also
    go on here."""
    operands = instruction.operands
    if frame["loops"] and frame["loops"][-1].get("pc") == frame["pc"]:
        go_on = batches.go_on if "batch" in frame["loops"][-1] or "part" in frame["loops"][-1] else _harvest
        go_on(machine, frame, instruction, frame["loops"][-1])
        return
    value = None if operands["list"] is None else elements(machine.render(frame, instruction, "list"))
    if is_rows(value) or operands.get("batch_size") or operands.get("tolerate") is not None:
        batches.begin(machine, frame, instruction, value)
        return
    record: dict[str, Any] = {"pc": frame["pc"], "items": value, "i": -1, "at": machine.state["clock"]}
    if operands.get("variable") and not operands.get("reduce"):
        record["values"] = []
    if operands.get("reduce"):
        record["reduced"] = reduce.empty(operands["reduce"])
    frame["loops"].append(record)
    if operands["concurrency"] > 1:
        record |= {"running": {}, "done": 0, "results": {}, "stopped": False, "partials": {}, "merged": 0}
        _harvest(machine, frame, instruction, record)
    else:
        _advance(machine, frame, instruction, record)


def next_(machine: "Machine", frame: Frame, instruction: Instruction) -> None:
    """The end of a loop's body."""
    record = frame["loops"][-1]
    if "fiber" in record:
        _end_iteration(machine, frame, instruction, stopped=False)
        return
    head = machine.programs[frame["program"]].linked[record["pc"]]
    if "chunk" in record:
        iterations.iterated(machine, frame, head, record)
        return
    if "values" in record:
        record["values"].append(frame["last"])
    if "reduced" in record:
        iterations.reduce_iteration(machine, frame, head, record)
    _advance(machine, frame, head, record)


def _advance(machine: "Machine", frame: Frame, head: Instruction, record: dict[str, Any]) -> None:
    record["i"] += 1
    items, operands = record["items"], head.operands
    if items is not None and record["i"] >= len(items):
        finish_loop(machine, frame, head, record)
        return
    if operands.get("iterator"):
        frame["vars"][operands["iterator"]] = items[record["i"]] if items is not None else record["i"]
    if operands.get("index"):
        frame["vars"][operands["index"]] = record["i"]
    frame["last"] = None
    if operands["while"] is not None:
        frame["pc"] = record["pc"]
        if not machine.condition(frame, head, "while"):
            finish_loop(machine, frame, head, record)
            return
        if record["i"] >= WHILE_BUDGET:
            raise StepFailure(
                "loop_budget", f"the loop has run {WHILE_BUDGET} times", hint="does its condition ever become false?"
            )
    frame["pc"] = record["pc"] + 1


def finish_loop(machine: "Machine", frame: Frame, head: Instruction, record: dict[str, Any]) -> None:
    """All elements are done, the condition is false, or a break came."""
    processed = record["i"] + 1 if record["items"] is None else min(record["i"] + 1, len(record["items"]))
    if head.operands["while"] is not None and frame["pc"] == record["pc"]:
        processed = record["i"]  # the condition ended it before the iteration
    leave_loop(machine, frame)
    _finish(machine, frame, head, record, processed)


def _finish(machine: "Machine", frame: Frame, head: Instruction, record: dict[str, Any], processed: int) -> None:
    if "reduced" in record:
        value: Any = {
            "processed": processed,
            "failed": 0,
            "reduced": reduce.final(record["reduced"], head.operands["reduce"]),
        }
    elif "values" in record:
        value = record["values"]
    else:
        value = {"processed": processed}
    frame["pc"] = record["pc"]
    machine.finish_step(frame, head, value, started=record["at"])
    frame["pc"] = head.operands["end"]


def leave_loop(machine: "Machine", frame: Frame) -> None:
    """Close the innermost loop: its iterator and index end with it."""
    record = frame["loops"].pop()
    if "pc" not in record:
        return  # a loop around a fiber: it is not the fiber's to close
    head = machine.programs[frame["program"]].linked[record["pc"]]
    for name in (head.operands.get("iterator"), head.operands.get("index")):
        if name:
            frame["vars"].pop(name, None)


# --- leaving an iteration ---


def break_(machine: "Machine", frame: Frame, instruction: Instruction) -> None:
    machine.emit(frame, instruction.step, "completed")
    if not failures.divert(machine, frame, {"jump": "break"}):
        LEAVE["break"](machine, frame)


def continue_(machine: "Machine", frame: Frame, instruction: Instruction) -> None:
    machine.emit(frame, instruction.step, "completed")
    if not failures.divert(machine, frame, {"jump": "continue"}):
        LEAVE["continue"](machine, frame)


def _leave_by_break(machine: "Machine", frame: Frame) -> None:
    record = frame["loops"][-1]
    head = machine.programs[frame["program"]].linked[record["pc"]]
    failures.leave_iteration(machine, frame, head.step)
    if "fiber" in record:
        _end_iteration(machine, frame, None, stopped=True)
        return
    if "chunk" in record:
        iterations.iterated(machine, frame, head, record, stop=True)
    else:
        finish_loop(machine, frame, head, record)


def _leave_by_continue(machine: "Machine", frame: Frame) -> None:
    head = machine.programs[frame["program"]].linked[frame["loops"][-1]["pc"]]
    failures.leave_iteration(machine, frame, head.step)
    frame["last"] = None
    frame["pc"] = head.operands["next"]


LEAVE: Final[Mapping[str, Callable[["Machine", Frame], None]]] = {
    "break": _leave_by_break,
    "continue": _leave_by_continue,
}


# --- side by side ---


def _harvest(machine: "Machine", frame: Frame, head: Instruction, record: dict[str, Any]) -> None:
    """Take the iterations that ended, begin as many others, and wait for the next one to end."""
    state = machine.state
    for name in [name for name in record["running"] if fibers.is_ended(machine, name)]:
        position, fiber = record["running"].pop(name), state["fibers"].pop(name)
        record["done"] += 1
        record["stopped"] = record["stopped"] or fiber["stopped"]
        if "values" in record:
            record["results"][str(position)] = fiber["last"]
        if "reduced" in record:
            record["partials"][str(position)] = fiber["reduced"]
    while (partial := record["partials"].pop(str(record["merged"]), None)) is not None:
        record["merged"] += 1
        with iterations.reducing():
            reduce.merge(record["reduced"], head.operands["reduce"], partial)
    items = record["items"]
    while (
        not record["stopped"] and record["i"] + 1 < len(items) and len(record["running"]) < head.operands["concurrency"]
    ):
        record["i"] += 1
        _begin_iteration(machine, frame, head, record)
    if record["running"]:
        machine.fiber["wait"] = {"any": list(record["running"])}
        return
    if "values" in record:
        results = record["results"]
        record["values"] = [results[position] for position in sorted(results, key=int)]
    leave_loop(machine, frame)
    _finish(machine, frame, head, record, record["done"])


def _begin_iteration(machine: "Machine", frame: Frame, head: Instruction, record: dict[str, Any]) -> None:
    start, operands = record["pc"] + 1, head.operands
    body = fibers.branch(machine, frame, start, (start, operands["next"] + 1), head.step)
    body["loops"][-1] = {"pc": record["pc"], "i": record["i"], "fiber": True}
    body["vars"][operands["iterator"]] = record["items"][record["i"]]
    if operands.get("index"):
        body["vars"][operands["index"]] = record["i"]
    if operands.get("reduce"):
        body["loops"][-1]["reduced"] = reduce.empty(operands["reduce"])
    fiber = fibers.fork(machine, body, "iteration", step=head.step, scope=machine.fiber["scope"])
    record["running"][fiber["id"]] = record["i"]


def _end_iteration(machine: "Machine", frame: Frame, instruction: Instruction | None, *, stopped: bool) -> None:
    record = frame["loops"][-1]
    if "reduced" in record:
        head = machine.programs[frame["program"]].linked[record["pc"]]
        iterations.reduce_iteration(machine, frame, head, record)
    fibers.end(
        machine.fiber, "completed", stopped=stopped, last=frame["last"], outputs={}, reduced=record.get("reduced")
    )


def elements(value: Any) -> Any:
    """What a loop goes over: a list, a row reference, a JSON array in text, or lines of text (blank ones left out)."""
    if isinstance(value, list) or is_rows(value):
        return value
    if isinstance(value, str):
        if value.lstrip().startswith("["):
            try:
                parsed = orjson.loads(value)
            except orjson.JSONDecodeError as error:
                raise StepFailure(
                    "type_mismatch", f"the loop's list is text that begins like a JSON array, but is none: {error}"
                ) from None
            if isinstance(parsed, list):
                return parsed
        return [line for line in value.splitlines() if line.strip()]
    kind = "null" if value is None else "an object" if isinstance(value, dict) else f"the value {value!r}"
    raise StepFailure("type_mismatch", f"a loop needs a list or rows, and this is {kind}")
