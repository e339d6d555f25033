"""Batches: a loop over rows, run chunk by chunk.

A loop over a row reference, or one with a `batch_size`, never holds its elements in the machine. The machine asks for one
chunk after the other; whoever performs a chunk reads its rows from the snapshot, runs the loop's body for each of them with a
machine of its own (`Iterations`), in one transaction, and answers with counts, partial reductions and where to go on:

    {processed, failed, after | null, done, stopped, reduced, outbox, position?}

`position` is the ordinal behind the chunk, where it is not that of its first element and `processed` (see `again.py`).
So memory is constant, a repeated chunk finds its recorded answer in the transaction's journal, and the position in
a batch of a million is a few bytes of state. What a body sets is gone after its iteration; what it should bring out
goes through `reduce`. Outside effects inside a body are written to the outbox in the chunk's transaction and dispatched
after its commit.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from script.compiler.program import Instruction
from script.machine import again, calls, parts, reduce, transactions
from script.machine.effects import StepFailure
from script.machine.iterations import reducing
from script.machine.progress import begun, counted, progress, tolerated
from script.machine.state import Frame
from script.wire import MAX_WIRE_BYTES, ROWS, Outcome, is_rows, wire_size

if TYPE_CHECKING:
    from script.machine.machine import Machine

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
    batch = {"rows": value[ROWS]} if is_rows(value) else {"items": value}
    total = batch["rows"]["count"] if "rows" in batch else len(batch["items"])
    record: dict[str, Any] = {
        "pc": frame["pc"],
        "batch": batch,
        "concurrency": operands["concurrency"],
        "stopped": False,
    }
    record |= {"position": 0, "end": total, "after": None, "done": False, "chunks": 0, "at": machine.state["clock"]}
    record |= {"limit": tolerated(operands.get("tolerate"), total), "reduced": reduce.empty(operands["reduce"] or {})}
    begun(record, machine.state["clock"], again.restrict(machine, record, machine.key(frame, instruction.step)))
    if record["limit"] is not None and _database(machine) is None:
        raise StepFailure(
            "no_database",
            "a batch that tolerates failures keeps their ledger in the script's database, and the script has none",
            hint='give the script a "database"',
        )
    frame["loops"].append(record)
    scope = machine.scope()
    if scope is not None and transactions.is_used(scope):
        _close_reading_transaction(machine, frame, instruction, scope)
    else:
        go_on(machine, frame, instruction, record)


def go_on(machine: "Machine", frame: Frame, instruction: Instruction, record: dict[str, Any]) -> None:
    """The next chunk of a batch or of a part of it, or the end."""
    batch = parts.batch_of(machine, record)
    if batch["limit"] is not None and batch["failed"] > batch["limit"]:
        raise StepFailure(
            "too_many_failures",
            f"{batch['failed']} of the first {batch['processed']} elements failed, and {batch['limit']} are tolerated",
            hint="the store _batch_failures has their ordinals, keys and errors",
        )
    if "part" in record:
        if not parts.may_end(machine, record):
            _next_chunk(machine, frame, instruction, batch, record)
    elif "parts" in record:
        if parts.go_on(machine, frame, instruction, record):
            _finish(machine, frame, instruction, record)
    elif record["done"]:
        _finish(machine, frame, instruction, record)
    elif parts.are_wanted(record, _size(instruction)) and not _is_inherited(machine):
        parts.divide(machine, frame, instruction, record, _size(instruction))
    else:
        _next_chunk(machine, frame, instruction, batch, record)


def _size(instruction: Instruction) -> int:
    return int(instruction.operands.get("batch_size") or DEFAULT_CHUNK)


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
    if scope["txn"].get("kept"):
        message = (
            "a batch of a dry run does not see what was written before it: that is rolled back here, not committed"
        )
        error = {"code": "not_committed", "message": message, "retryable": False}
        machine.emit(frame, instruction.step, "running", kind="warning", error=error)
    transactions.end_transaction(machine, scope, "rollback", "batch", machine.key(frame, instruction.step) + "/before")


def _next_chunk(
    machine: "Machine", frame: Frame, instruction: Instruction, batch: dict[str, Any], record: dict[str, Any]
) -> None:
    """Ask for the next chunk of what `record` walks: the batch, or a part of it."""
    state, database = machine.state, _database(machine)
    offset = record["position"]
    size = min(_size(instruction), record["end"] - offset) if "part" in record else _size(instruction)
    key = f"{machine.key(frame, instruction.step)}/chunk{offset // _size(instruction)}"
    outer = frame["loops"][:-1]
    call = {
        "script": machine.programs[state["root"]].name,
        "version": state["root"],
        "calls": {number: dict(program.calls or {}) for number, program in machine.programs.items()},
        "program": frame["program"],
        "loop": record["pc"],
        "variables": {name: frame["vars"][name] for name in instruction.operands["reads"] if name in frame["vars"]},
        "offset": offset,
        "size": size,
        "path": machine.path(frame, instruction.step),
        "prefix": frame["prefix"],
        "iteration": [*frame["iteration"], *(loop["i"] for loop in outer if "i" in loop)],
        "key": f"{state['key_id']}/{key}",
        "key_id": state["key_id"],
        "run_id": state["run_id"],
        "now": state["clock"],
        "scheduled_at": state["scheduled_at"],
        "transaction": _chunk_transaction(machine, key),
        "dry_run": state["dry_run"],
        "mocks": state["mocks"],
        "scope": sorted({*machine.programs[frame["program"]].databases, *([database] if database is not None else [])}),
        "step": machine.key(frame, instruction.step),
        "tolerate": None if batch["limit"] is None else batch["limit"] - batch["failed"],
        "rows": batch["batch"].get("rows"),
        "after": record["after"],
        "items": None,
    }
    if "items" in batch["batch"]:
        call["items"] = batch["batch"]["items"][offset : offset + size]
    if "again" in record:
        call["again"] = record["again"]
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


def _is_inherited(machine: "Machine") -> bool:
    """Whether this is a batch inside of a batch: its chunks are in the transaction of the outer one's."""
    scope = machine.scope()
    return scope is not None and scope["txn"] is not None and bool(scope["txn"].get("inherited"))


def _chunk_transaction(machine: "Machine", key: str) -> dict[str, Any] | None:
    scope, database = machine.scope(), _database(machine)
    if scope is not None and _is_inherited(machine):
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
    """After a chunk, a dispatch, or the closing of the transaction before the batch: the fiber goes on at its loop (`go_on`), unless
    the run is paused. What a chunk has committed is dispatched in any case."""
    if pending["then"] == "batch":
        scope = machine.scope()
        assert scope is not None
        transactions.ended(machine, scope, committed=False)
        if outcome.error is not None:
            machine.emit_run("rollback_failed", kind="warning", error=outcome.error)
        return
    calls.raise_error(outcome)
    record = frame["loops"][-1]
    if pending["then"] == "partition":
        parts.divided(record, outcome.value["places"])
    if pending["then"] != "chunk":
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


def _count_chunk(
    machine: "Machine", frame: Frame, instruction: Instruction, record: dict[str, Any], answer: Mapping[str, Any]
) -> None:
    batch = parts.batch_of(machine, record)
    counted(batch, machine.state["clock"], answer["processed"], answer["failed"])
    batch["chunks"] += 1
    batch["stopped"] = batch["stopped"] or answer["stopped"]
    record["position"] = answer.get("position", record["position"] + answer["processed"])
    record["after"] = answer["after"]
    record["done"] = answer["done"] or answer["stopped"] or ("part" in record and record["position"] >= record["end"])
    with reducing():
        reduce.merge(record["reduced"], instruction.operands["reduce"] or {}, answer["reduced"])
    told = {"chunk": batch["chunks"], **progress(batch)}
    machine.emit(frame, instruction.step, "running", value=told, kind="progress")


def _finish(machine: "Machine", frame: Frame, instruction: Instruction, record: dict[str, Any]) -> None:
    frame["loops"].pop()
    value = {
        "processed": record["processed"],
        "failed": record["failed"],
        "reduced": reduce.final(record["reduced"], instruction.operands["reduce"] or {}),
    }
    machine.finish_step(frame, instruction, value, started=record["at"])
    frame["pc"] = instruction.operands["end"]
