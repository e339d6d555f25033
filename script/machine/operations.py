"""The instructions: one small function for each operation of a Program.

A function gets the machine, the top frame and the linked instruction. It either finishes the step (`finish_step` moves
on), moves the program counter itself, or leaves an effect pending. Failures are raised as StepFailure.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import orjson

from script.compiler.program import Instruction, call_name
from script.expressions.durations import parse_duration, seconds_until
from script.machine import blocks, calls, dry_runs, failures, fibers, loops, transactions
from script.machine.arguments import bind_arguments
from script.machine.effects import StepFailure
from script.machine.state import Frame
from script.wire import MAX_WIRE_BYTES, wire_size

if TYPE_CHECKING:
    from script.machine.machine import Machine


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
    failures.check_no_jump_out(frame, "return")
    value = machine.render(frame, instruction, "value")
    machine.emit(frame, instruction.step, "completed", value=value)
    if not failures.divert(machine, frame, {"value": value}):
        machine.pop_frame(value)


def end(machine: "Machine", frame: Frame, instruction: Instruction) -> None:
    """Behind the last step: the script's value is that of the last step."""
    machine.pop_frame(frame["last"])


def fail(machine: "Machine", frame: Frame, instruction: Instruction) -> None:
    code = str(machine.render(frame, instruction, "code") or "failed")
    raise StepFailure(code, str(machine.render(frame, instruction, "message") or code))


# --- effects ---


def call(machine: "Machine", frame: Frame, instruction: Instruction) -> None:
    """A tool: becomes an effect, in the transaction of the script where its tool touches a database."""
    args = machine.render(frame, instruction, "args") | instruction.operands.get("literal", {})
    size = wire_size(args)
    if size > MAX_WIRE_BYTES:
        raise StepFailure(
            "too_large",
            f"the arguments are {size} bytes of JSON, the limit is {MAX_WIRE_BYTES}",
            hint="pass a key or a query, not the data",
        )
    calls.call(machine, frame, instruction, args)


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
    scope = machine.scope()
    database = scope["database"] if scope is not None else transactions.run_database(machine)
    arguments = machine.render(frame, instruction, "args")
    elsewhere = instruction.operands.get("database")
    if elsewhere is not None and elsewhere != database:
        calls.child(machine, frame, instruction, callee, arguments, elsewhere)
        return
    if instruction.operands["is_async"] or (
        callee.database is not None and instruction.operands.get("transaction") != "inherit"
    ):
        calls.child(machine, frame, instruction, callee, arguments, database)
        return
    if callee.database is not None and callee.database != database:
        raise StepFailure(
            "database_mismatch",
            f"{name} works on the database {callee.database!r} and cannot inherit a transaction on {database!r}",
            hint='leave out "transaction": "inherit", and it runs in a transaction of its own',
        )
    variables = bind_arguments(callee, arguments, machine.context(frame, instruction.step))
    prefix = machine.path(frame, instruction.step) + "/"
    machine.push_frame(version, variables, prefix=prefix, iteration=machine.iteration(frame))


def wait(machine: "Machine", frame: Frame, instruction: Instruction) -> None:
    """A timer, or a person's decision."""
    operands = instruction.operands
    key = machine.key(frame, instruction.step)
    if operands["approval"] is not None:
        approval = machine.render(frame, instruction, "approval")
        if machine.state["dry_run"]:
            dry_runs.approved(machine, frame, instruction)
        else:
            calls.approval(machine, key, approval)
        return
    if operands["until"] is not None:
        seconds = seconds_until(
            machine.render(frame, instruction, "until"), datetime.fromisoformat(machine.state["clock"])
        )
    else:
        seconds = parse_duration(machine.render(frame, instruction, "duration"))
    if machine.state["dry_run"]:
        dry_runs.waited(machine, frame, instruction, seconds)
    else:
        transactions.ask(machine, "sleep", key, {"seconds": seconds}, "waited")


OPERATIONS: Final[Mapping[str, Callable[["Machine", Frame, Instruction], None]]] = {
    "when": when,
    "branch": branch,
    "jump": jump,
    "set": set_,
    "say": say,
    "enter": enter,
    "alone": blocks.alone,
    "leave": leave,
    "return": return_,
    "end": end,
    "fail": fail,
    "loop": loops.loop,
    "next": loops.next_,
    "break": loops.break_,
    "continue": loops.continue_,
    "call": call,
    "transaction": transaction,
    "script": script,
    "wait": wait,
    "try": failures.try_,
    "tried": failures.tried,
    "finally": failures.finally_,
    "rethrow": failures.rethrow,
    "spawn": fibers.spawn,
    "join": fibers.join,
    "done": fibers.done,
}
