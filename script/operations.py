"""The instructions: one small function for each operation of a Program.

A function gets the machine, the top frame and the linked instruction. It either finishes the step (`finish_step` moves
on), moves the program counter itself, or leaves an effect pending. Failures are raised as StepFailure.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import orjson

from script import batches, reduce, transactions
from script.arguments import bind_arguments
from script.effects import StepFailure
from script.program import Instruction, call_name
from script.wire import MAX_WIRE_BYTES, is_rows, wire_size

if TYPE_CHECKING:
    from script.machine import Machine

Frame = dict[str, Any]


def when(machine: "Machine", frame: Frame, instruction: Instruction) -> None:
    """A guard: the step is skipped when its condition is false."""
    if machine.condition(frame, instruction):
        frame["pc"] += 1
    else:
        machine.emit(frame, instruction.step, "skipped", value=_seen(machine, frame, instruction, False))
        frame["pc"] = instruction.operands["to"]


def branch(machine: "Machine", frame: Frame, instruction: Instruction) -> None:
    """An if: its event shows the condition with the values that it saw."""
    truth = machine.condition(frame, instruction)
    machine.emit(frame, instruction.step, "completed", value=_seen(machine, frame, instruction, truth))
    frame["pc"] = frame["pc"] + 1 if truth else instruction.operands["to"]


def _seen(machine: "Machine", frame: Frame, instruction: Instruction, truth: bool) -> dict[str, Any] | None:
    if not machine.trace:
        return None
    return {**instruction.conditions["condition"].describe(frame["vars"]), "condition": truth}


def jump(machine: "Machine", frame: Frame, instruction: Instruction) -> None:
    frame["pc"] = instruction.operands["to"]


def set_(machine: "Machine", frame: Frame, instruction: Instruction) -> None:
    machine.finish_step(frame, instruction, machine.render(frame, instruction, "value"))


def say(machine: "Machine", frame: Frame, instruction: Instruction) -> None:
    message = machine.render(frame, instruction, "message")
    machine.finish_step(frame, instruction, message if isinstance(message, str) else orjson.dumps(message).decode())


def enter(machine: "Machine", frame: Frame, instruction: Instruction) -> None:
    """The beginning of a block."""
    frame["pc"] += 1


def leave(machine: "Machine", frame: Frame, instruction: Instruction) -> None:
    """The end of a block; its value is that of its last step."""
    machine.finish_step(frame, instruction, frame["last"])


def return_(machine: "Machine", frame: Frame, instruction: Instruction) -> None:
    if any("chunk" in loop for loop in frame["loops"]):
        raise StepFailure(
            "return_in_batch", "a return inside a batch loop", hint="use reduce to bring values out, or break to stop"
        )
    value = machine.render(frame, instruction, "value")
    machine.emit(frame, instruction.step, "completed", value=value)
    machine.pop_frame(value)


def end(machine: "Machine", frame: Frame, instruction: Instruction) -> None:
    """Behind the last step: the script's value is that of the last step."""
    machine.pop_frame(frame["last"])


def fail(machine: "Machine", frame: Frame, instruction: Instruction) -> None:
    code = str(machine.render(frame, instruction, "code") or "failed")
    raise StepFailure(code, str(machine.render(frame, instruction, "message") or code))


# --- loops ---


def loop(machine: "Machine", frame: Frame, instruction: Instruction) -> None:
    """Begin a loop: over a row reference, or with a batch size, as a batch; otherwise here, element by element."""
    value = elements(machine.render(frame, instruction, "list"))
    if is_rows(value) or instruction.operands.get("batch_size"):
        batches.begin(machine, frame, instruction, value)
        return
    record: dict[str, Any] = {"pc": frame["pc"], "items": value, "i": -1, "at": machine.state["clock"]}
    if instruction.operands.get("variable") and not instruction.operands.get("reduce"):
        record["values"] = []
    if instruction.operands.get("reduce"):
        record["reduced"] = reduce.empty(instruction.operands["reduce"])
    frame["loops"].append(record)
    _advance(machine, frame, instruction, record)


def next_(machine: "Machine", frame: Frame, instruction: Instruction) -> None:
    """The end of a loop's body."""
    record = frame["loops"][-1]
    head = machine.programs[frame["program"]].linked[record["pc"]]
    if "chunk" in record:
        batches.iterated(machine, frame, head, record)
        return
    if "values" in record:
        record["values"].append(frame["last"])
    if "reduced" in record:
        batches.reduce_iteration(machine, frame, head, record)
    _advance(machine, frame, head, record)


def _advance(machine: "Machine", frame: Frame, head: Instruction, record: dict[str, Any]) -> None:
    record["i"] += 1
    if record["i"] >= len(record["items"]):
        finish_loop(machine, frame, head, record)
        return
    frame["vars"][head.operands["iterator"]] = record["items"][record["i"]]
    if head.operands.get("index"):
        frame["vars"][head.operands["index"]] = record["i"]
    frame["last"] = None
    frame["pc"] = record["pc"] + 1


def finish_loop(machine: "Machine", frame: Frame, head: Instruction, record: dict[str, Any]) -> None:
    """All elements are done, or a break came."""
    processed = min(record["i"] + 1, len(record["items"]))
    leave_loop(machine, frame)
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
    head = machine.programs[frame["program"]].linked[record["pc"]]
    frame["vars"].pop(head.operands["iterator"], None)
    if head.operands.get("index"):
        frame["vars"].pop(head.operands["index"], None)


def break_(machine: "Machine", frame: Frame, instruction: Instruction) -> None:
    record = frame["loops"][-1]
    machine.emit(frame, instruction.step, "completed")
    head = machine.programs[frame["program"]].linked[record["pc"]]
    if "chunk" in record:
        batches.iterated(machine, frame, head, record, stop=True)
    else:
        finish_loop(machine, frame, head, record)


def continue_(machine: "Machine", frame: Frame, instruction: Instruction) -> None:
    record = frame["loops"][-1]
    machine.emit(frame, instruction.step, "completed")
    frame["last"] = None
    frame["pc"] = machine.programs[frame["program"]].linked[record["pc"]].operands["next"]


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


# --- effects ---


def call(machine: "Machine", frame: Frame, instruction: Instruction) -> None:
    """A tool: becomes an effect, in the transaction of the script where its tool touches a database."""
    args = machine.render(frame, instruction, "args")
    size = wire_size(args)
    if size > MAX_WIRE_BYTES:
        raise StepFailure(
            "too_large",
            f"the arguments are {size} bytes of JSON, the limit is {MAX_WIRE_BYTES}",
            hint="pass a key or a query, not the data",
        )
    transactions.call(machine, frame, instruction, args)


def transaction(machine: "Machine", frame: Frame, instruction: Instruction) -> None:
    """manage_transaction: begin, commit or rollback."""
    args = machine.render(frame, instruction, "args")
    transactions.manage(machine, frame, instruction, args.get("action") if isinstance(args, dict) else None)


def script(machine: "Machine", frame: Frame, instruction: Instruction) -> None:
    """Call a script: a subroutine is a new frame in this transaction, one with its own database is a child run."""
    program = machine.programs[frame["program"]]
    name = instruction.operands["script"]
    version = (program.calls or {}).get(call_name(name, instruction.operands["version"]))
    if version is None or version not in machine.programs:
        raise StepFailure(
            "unknown_script",
            f"the script {name!r} was not resolved when the run started",
            hint="save the calling script again",
        )
    callee = machine.programs[version]
    arguments = machine.render(frame, instruction, "args")
    if callee.database is not None and instruction.operands.get("transaction") != "inherit":
        transactions.child(machine, frame, instruction, callee, arguments)
        return
    if callee.database is not None and callee.database != machine.state["database"]:
        raise StepFailure(
            "database_mismatch",
            f"{name} works on the database {callee.database!r} and cannot inherit a transaction on {machine.state['database']!r}",
            hint='leave out "transaction": "inherit", and it runs in a transaction of its own',
        )
    variables = bind_arguments(callee, arguments, machine.context(frame, instruction.step))
    prefix = machine.path(frame, instruction.step) + "/"
    machine.push_frame(version, variables, prefix=prefix, iteration=machine.iteration(frame))


OPERATIONS: Final[Mapping[str, Callable[["Machine", Frame, Instruction], None]]] = {
    "when": when,
    "branch": branch,
    "jump": jump,
    "set": set_,
    "say": say,
    "enter": enter,
    "leave": leave,
    "return": return_,
    "end": end,
    "fail": fail,
    "loop": loop,
    "next": next_,
    "break": break_,
    "continue": continue_,
    "call": call,
    "transaction": transaction,
    "script": script,
}
