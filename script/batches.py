"""Batches: a loop over rows, run chunk by chunk.

A loop over a row reference, or one with a `batch_size`, never holds its elements in the machine. The machine asks for one
chunk after the other; whoever performs a chunk reads its rows from the snapshot, runs the loop's body for each of them with a
machine of its own (`Iterations`), in one transaction, and answers with counts, partial reductions and where to go on:

    {processed, failed, after | null, done, stopped, reduced, outbox}

So memory is constant, a repeated chunk finds its recorded answer in the transaction's journal, and the position in
a batch of a million is a few bytes of state. What a body sets is gone after its iteration; what it should bring out
goes through `reduce`. Outside effects inside a body are written to the outbox in the chunk's transaction and dispatched
after its commit.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from script import calls, reduce, transactions
from script.effects import StepFailure
from script.program import Instruction
from script.state import Frame
from script.wire import MAX_WIRE_BYTES, ROWS, Outcome, is_rows, wire_size

if TYPE_CHECKING:
    from script.machine import Machine

DEFAULT_CHUNK: Final = 500
"""Iterations in one chunk, and so in one transaction, unless the loop has a `batch_size`."""


def begin(machine: "Machine", frame: Frame, instruction: Instruction, value: Any) -> None:
    """Begin a batch over rows or over a list in chunks."""
    operands = instruction.operands
    clash = sorted(set(operands["assigns"]) & set(frame["vars"]))
    if clash:
        raise StepFailure(
            "batch_scope",
            f"the body of a batch sets {clash[0]!r}, a variable from outside of the loop",
            hint="iterations of a batch do not see each other: bring values out with `reduce`",
        )
    record: dict[str, Any] = {
        "pc": frame["pc"],
        "batch": {},
        "processed": 0,
        "number": 0,
        "after": None,
        "at": machine.state["clock"],
    }
    record["batch"] = {"rows": value[ROWS]} if is_rows(value) else {"items": value}
    record["reduced"] = reduce.empty(operands["reduce"] or {})
    frame["loops"].append(record)
    scope = machine.scope()
    if scope is not None and transactions.is_used(scope):
        _close_reading_transaction(machine, frame, instruction, scope)
    else:
        next_chunk(machine, frame, instruction)


def _close_reading_transaction(
    machine: "Machine", frame: Frame, instruction: Instruction, scope: dict[str, Any]
) -> None:
    if machine.fiber["role"] == "iteration":
        raise StepFailure(
            "in_parallel",
            "a batch has transactions of its own, and iterations that run side by side share one",
            hint="put the batch into a script with a database of its own",
        )
    if scope["txn"]["wrote"]:
        raise StepFailure(
            "batch_in_transaction",
            "a batch commits chunk by chunk, and the transaction before it has uncommitted writes",
            hint="commit them with manage_transaction before the loop",
        )
    transactions.end_transaction(machine, scope, "rollback", "batch", machine.key(frame, instruction.step) + "/before")


def next_chunk(machine: "Machine", frame: Frame, instruction: Instruction) -> None:
    """Ask for the next chunk."""
    state, record, database = machine.state, frame["loops"][-1], _database(machine)
    size = instruction.operands.get("batch_size") or DEFAULT_CHUNK
    key = f"{machine.key(frame, instruction.step)}/chunk{record['number']}"
    outer = frame["loops"][:-1]
    call = {
        "script": machine.programs[state["root"]].name,
        "version": state["root"],
        "calls": {number: dict(program.calls or {}) for number, program in machine.programs.items()},
        "program": frame["program"],
        "loop": record["pc"],
        "variables": {name: frame["vars"][name] for name in instruction.operands["reads"] if name in frame["vars"]},
        "offset": record["processed"],
        "size": size,
        "path": machine.path(frame, instruction.step),
        "prefix": frame["prefix"],
        "iteration": [*frame["iteration"], *(loop["i"] for loop in outer if "i" in loop)],
        "key": f"{state['key_id']}/{key}",
        "key_id": state["key_id"],
        "run_id": state["run_id"],
        "now": state["clock"],
        "transaction": _chunk_transaction(machine, key),
        "dry_run": state["dry_run"],
        "mocks": state["mocks"],
        "scope": sorted({*machine.programs[frame["program"]].databases, *([database] if database is not None else [])}),
        "rows": record["batch"].get("rows"),
        "after": record["after"],
        "items": None,
    }
    if "items" in record["batch"]:
        call["items"] = record["batch"]["items"][record["processed"] : record["processed"] + size]
    over = wire_size(call) - MAX_WIRE_BYTES
    if over > 0:
        raise StepFailure(
            "too_large",
            f"the variables that the loop's body reads are {over} bytes too large",
            hint="a smaller batch_size, or fetch inside of the body",
        )
    transactions.ask(machine, "chunk", key, call, "chunk")


def _database(machine: "Machine") -> str | None:
    scope = machine.scope()
    return scope["database"] if scope is not None else transactions.run_database(machine)


def _chunk_transaction(machine: "Machine", key: str) -> dict[str, Any] | None:
    scope, database = machine.scope(), _database(machine)
    if scope is not None and scope["txn"] is not None and scope["txn"].get("inherited"):
        return dict(scope["txn"]["ref"])
    if database is None:
        return None
    return {
        "id": f"{machine.state['key_id']}/{key}",
        "database": database,
        "isolation": scope["isolation"] if scope is not None else "serializable",
        "begin": True,
        "alone": True,
    }


def answered(
    machine: "Machine", frame: Frame, instruction: Instruction, pending: dict[str, Any], outcome: Outcome
) -> None:
    """Go on after a chunk, a dispatch, or the closing of the transaction before the batch."""
    if pending["then"] == "batch":
        scope = machine.scope()
        assert scope is not None
        transactions.ended(machine, scope, committed=False)
        if outcome.error is not None:
            machine.emit_run("rollback_failed", kind="warning", error=outcome.error)
        next_chunk(machine, frame, instruction)
        return
    calls.raise_error(outcome)
    record = frame["loops"][-1]
    if pending["then"] == "dispatch":
        _after_chunk(machine, frame, instruction, record)
        return
    _count_chunk(machine, frame, instruction, record, outcome.value)
    if outcome.value["outbox"] and not machine.state["dry_run"] and pending["call"]["transaction"] is not None:
        dispatch = {
            "database": pending["call"]["transaction"]["database"],
            "prefix": f"{machine.state['key_id']}/",
            "run_id": machine.state["run_id"],
            "now": machine.state["clock"],
        }
        transactions.ask(machine, "dispatch", pending["id"] + "/dispatch", dispatch, "dispatch")
    else:
        _after_chunk(machine, frame, instruction, record)


def go_on(machine: "Machine", frame: Frame, instruction: Instruction, then: str) -> None:
    """Ask again for what was asked for when the transaction began that runs again now."""
    if then == "dispatch":
        _after_chunk(machine, frame, instruction, frame["loops"][-1])
    else:
        next_chunk(machine, frame, instruction)


@contextmanager
def reducing() -> Iterator[None]:
    """What values cannot be combined is an error of the loop, never of the machine."""
    try:
        yield
    except TypeError:
        message = "reduce: min and max need values of one type, all numbers or all strings"
        raise StepFailure("type_mismatch", message) from None
    except OverflowError as error:
        raise StepFailure("overflow", f"reduce: {error}") from None


def _count_chunk(
    machine: "Machine", frame: Frame, instruction: Instruction, record: dict[str, Any], answer: Mapping[str, Any]
) -> None:
    record["processed"] += answer["processed"]
    record["number"] += 1
    record["after"] = answer["after"]
    record["done"] = answer["done"] or answer["stopped"]
    with reducing():
        reduce.merge(record["reduced"], instruction.operands["reduce"] or {}, answer["reduced"])
    total = record["batch"]["rows"].get("count") if "rows" in record["batch"] else len(record["batch"]["items"])
    progress = {"processed": record["processed"], "failed": 0, "total": total, "chunk": record["number"]}
    machine.emit(frame, instruction.step, "running", value=progress, kind="progress")


def _after_chunk(machine: "Machine", frame: Frame, instruction: Instruction, record: dict[str, Any]) -> None:
    if not record["done"]:
        next_chunk(machine, frame, instruction)
        return
    frame["loops"].pop()
    value = {
        "processed": record["processed"],
        "failed": 0,
        "reduced": reduce.final(record["reduced"], instruction.operands["reduce"] or {}),
    }
    machine.finish_step(frame, instruction, value, started=record["at"])
    frame["pc"] = instruction.operands["end"]


# --- inside of a chunk ---


def iterated(
    machine: "Machine", frame: Frame, head: Instruction, record: dict[str, Any], *, stop: bool = False
) -> None:
    """The body of a chunk's iteration is over: count it in, and give the machine back."""
    reduce_iteration(machine, frame, head, record)
    machine.state["done"] = {"status": "stopped" if stop else "iterated", "value": None, "error": None}


def reduce_iteration(machine: "Machine", frame: Frame, head: Instruction, record: dict[str, Any]) -> None:
    """Count one finished iteration into the loop's reductions."""
    table = head.operands.get("reduce") or {}

    def where(name: str) -> bool:
        return f"reduce/{name}/where" not in head.conditions or machine.condition(frame, head, f"reduce/{name}/where")

    def value(name: str) -> Any:
        element = machine.render(frame, head, f"reduce/{name}/value")
        op = table[name]["op"]
        number = isinstance(element, int | float) and not isinstance(element, bool)
        if element is not None and op in ("sum", "avg") and not number:
            raise StepFailure("type_mismatch", f"reduce {name}: {op} needs numbers, and got {element!r}")
        if element is not None and op in ("min", "max") and not (number or isinstance(element, str)):
            raise StepFailure("type_mismatch", f"reduce {name}: {op} needs numbers or strings, and got {element!r}")
        return element

    with reducing():
        reduce.add(record["reduced"], table, where, value)
