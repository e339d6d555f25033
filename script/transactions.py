"""Effects and the transaction of a run: which effect a step becomes, and what its outcome means.

A run owns at most one transaction at a time, on the database that its script names. It begins with the first step that
touches the database, ends with the script or by `manage_transaction`, and is *durable*: it lives in the database file, not here.
What lives here is its identity, whether it wrote, and the frames as they were when it began. A conflict puts the machine
back to those frames, up to `ATTEMPTS` times.

Effects outside of the transaction (mail, a child run, a step on another database) that were done since it began are
kept in `memo` by their key: a rerun takes the recorded outcome and does nothing twice.

A dry run never commits: a commit in the middle only tells so, and the end rolls back.
"""

from typing import TYPE_CHECKING, Any, Final

import orjson

from script import batches
from script.effects import StepFailure
from script.program import Instruction, Program
from script.wire import MAX_WIRE_BYTES, Outcome, wire_size

if TYPE_CHECKING:
    from script.machine import Machine

Frame = dict[str, Any]

ATTEMPTS: Final = 5
RERUN: Final = ("conflict", "transaction_lost")
"""Error codes that mean: the transaction has to run again from its beginning."""


# --- asking ---


def ask(machine: "Machine", kind: str, key: str, call: dict[str, Any], then: str, **context: Any) -> None:
    """Leave an effect pending. `then` says what `answered` does with its outcome."""
    txn = machine.state["txn"]
    attempt = txn.get("attempt", 1) if txn else 1
    effect_id = key if attempt == 1 else f"{key}~{attempt}"
    machine.state["pending"] = {"id": effect_id, "kind": kind, "call": call, "then": then, **context}


def call(machine: "Machine", frame: Frame, instruction: Instruction, args: dict[str, Any]) -> None:
    """A tool call."""
    key = machine.key(frame, instruction.step)
    operands = instruction.operands
    effect, other = operands["effect"], operands.get("database")
    state = machine.state
    outside = effect in ("pure", "external") or (other is not None and other != state["database"])
    if outside and key in state["memo"]:
        answer_call(machine, frame, instruction, Outcome(**state["memo"][key]), state["clock"])
        return
    transaction = None
    if effect in ("read", "write"):
        transaction = _alone(machine, key, other) if outside and other else _member(machine)
    elif state["txn"] and state["txn"].get("inherited"):
        transaction = state["txn"]["ref"]
    program = machine.programs[frame["program"]]
    scope = set(program.databases) | ({state["database"]} if state["database"] else set())
    step_call = {
        "tool": operands["tool"],
        "args": args,
        "path": machine.path(frame, instruction.step),
        "key": f"{state['key_id']}/{key}",
        "run_id": state["run_id"],
        "now": state["clock"],
        "step": machine.info(frame, instruction.step).name,
        "database": other or state["database"],
        "transaction": transaction,
        "dry_run": state["dry_run"],
        "mocks": state["mocks"],
        "scope": sorted(scope),
    }
    ask(machine, "call", key, step_call, "call", effect=effect, outside=outside, memo=key)


def _alone(machine: "Machine", key: str, database: str) -> dict[str, Any]:
    return {
        "id": f"{machine.state['key_id']}/{key}",
        "database": database,
        "isolation": "serializable",
        "begin": True,
        "alone": True,
    }


def _member(machine: "Machine") -> dict[str, Any] | None:
    """The run's transaction, begun now if there is none; None where the script has no database."""
    state = machine.state
    if state["database"] is None:
        return None
    if state["txn"] is None:
        _begin(machine, explicit=False)
    txn = state["txn"]
    if txn.get("inherited"):
        return dict(txn["ref"])
    if not txn["used"]:
        state["checkpoint"] = orjson.loads(orjson.dumps(state["frames"]))
    begin, txn["used"] = not txn["opened"], True
    return _reference(machine) | {"begin": begin}


def _begin(machine: "Machine", *, explicit: bool) -> None:
    state = machine.state
    state["txn_number"] += 1
    state["memo"] = {}
    state["txn"] = {
        "number": state["txn_number"],
        "attempt": 1,
        "explicit": explicit,
        "used": False,
        "opened": False,
        "wrote": False,
    }


def _reference(machine: "Machine") -> dict[str, Any]:
    state, txn = machine.state, machine.state["txn"]
    return {
        "id": f"{state['key_id']}/t{txn['number']}.{txn['attempt']}",
        "database": state["database"],
        "isolation": state["isolation"],
        "begin": False,
        "alone": False,
    }


def child(
    machine: "Machine", frame: Frame, instruction: Instruction, callee: Program, arguments: dict[str, Any]
) -> None:
    """A script with a database of its own: a run of its own, in a transaction of its own."""
    state, key = machine.state, machine.key(frame, instruction.step)
    if key in state["memo"]:
        answer_call(machine, frame, instruction, Outcome(**state["memo"][key]), state["clock"])
        return
    run = {
        "script": callee.name,
        "version": callee.hash,
        "arguments": arguments,
        "run_id": f"{state['run_id']}/{key}",
        "dry_run": state["dry_run"],
        "mocks": state["mocks"],
        "now": state["clock"],
    }
    ask(machine, "child", key, run, "call", effect="external", outside=True, memo=key)


def manage(machine: "Machine", frame: Frame, instruction: Instruction, action: Any) -> None:
    """manage_transaction."""
    state, txn = machine.state, machine.state["txn"]
    if action not in ("begin", "commit", "rollback"):
        raise StepFailure(
            "invalid_arguments", f"manage_transaction has no action {action!r}", hint="begin, commit or rollback"
        )
    if state["database"] is None:
        raise StepFailure(
            "no_database", "the script names no database, so it has no transaction", hint='give the script a "database"'
        )
    if txn is not None and txn.get("inherited"):
        raise StepFailure(
            "in_batch",
            "a batch commits chunk by chunk by itself",
            hint="leave manage_transaction out of the loop's body",
        )
    if action == "begin":
        if txn is not None and txn.get("kept"):
            txn |= {"explicit": True, "kept": False}
            machine.finish_step(frame, instruction, {"transaction": "begun"})
            return
        if txn is not None:
            raise StepFailure(
                "transaction_open", "a transaction is open already", hint="commit it or roll it back first"
            )
        _begin(machine, explicit=True)
        machine.finish_step(frame, instruction, {"transaction": "begun"})
    elif txn is None or not txn["used"]:
        state["txn"] = None
        machine.finish_step(frame, instruction, {"transaction": "empty"})
    elif action == "commit" and state["dry_run"]:
        txn |= {"explicit": False, "wrote": False, "kept": True}
        machine.finish_step(frame, instruction, {"transaction": "kept open: a dry run commits nothing"})
    else:
        end_transaction(machine, action, "manage", machine.key(frame, instruction.step))


def end_transaction(machine: "Machine", action: str, then: str, key: str, **context: Any) -> None:
    """Commit or roll back the open transaction."""
    call = {
        "transaction": _reference(machine),
        "run_id": machine.state["run_id"],
        "key": f"{machine.state['key_id']}/{key}",
    }
    ask(machine, action, key, call, then, **context)


def end_run(machine: "Machine", status: str, value: Any, error: dict[str, Any] | None) -> None:
    """The root script is over: what is open is committed or rolled back, then the run is done."""
    state, txn = machine.state, machine.state["txn"]
    if txn is None or txn.get("inherited") or not txn["used"]:
        machine.finish(status, value=value, error=error)
        return
    if status == "completed" and not txn["explicit"] and not state["dry_run"]:
        end_transaction(machine, "commit", "end", "commit", value=value)
        return
    if status == "completed" and txn["explicit"]:
        machine.emit_run(
            "rolled_back",
            kind="warning",
            error={
                "code": "uncommitted_transaction",
                "message": "a transaction was left open and is rolled back",
                "retryable": False,
            },
        )
    end_transaction(machine, "rollback", "end", "rollback", value=value, status=status, error=error)


# --- answers ---


def answered(machine: "Machine", pending: dict[str, Any], outcome: Outcome, started: str) -> None:
    """Go on with the outcome of the pending effect."""
    then = pending["then"]
    conflicted = outcome.error is not None and outcome.error.get("code") in RERUN
    if conflicted and outcome.error and _owns(machine) and not pending.get("outside"):
        _rerun(machine, outcome.error, ending=then == "end")
        return
    if then == "rerun":
        return
    if then == "end":
        _ended(machine, pending, outcome)
        return
    frame = machine.state["frames"][-1]
    instruction = machine.programs[frame["program"]].linked[frame["pc"]]
    if then == "call":
        _called(machine, frame, instruction, pending, outcome, started)
    elif then == "manage":
        raise_error(outcome)
        machine.state["txn"] = None
        machine.finish_step(
            frame, instruction, {"transaction": f"{pending['kind']} done", **_version(outcome)}, started=started
        )
    else:
        batches.answered(machine, frame, instruction, pending, outcome)


def _owns(machine: "Machine") -> bool:
    txn = machine.state["txn"]
    return txn is not None and not txn.get("inherited") and txn["used"]


def _called(
    machine: "Machine", frame: Frame, instruction: Instruction, pending: dict[str, Any], outcome: Outcome, started: str
) -> None:
    state, txn = machine.state, machine.state["txn"]
    if pending["outside"]:
        if _owns(machine):
            state["memo"][pending["memo"]] = {"value": outcome.value, "error": outcome.error, "at": outcome.at}
    elif txn is not None and not txn.get("inherited") and outcome.error is None:
        txn["opened"] = True
        txn["wrote"] = txn["wrote"] or pending["effect"] == "write"
    answer_call(machine, frame, instruction, outcome, started)


def answer_call(machine: "Machine", frame: Frame, instruction: Instruction, outcome: Outcome, started: str) -> None:
    """The value of a call is the step's result; its error fails the step."""
    raise_error(outcome)
    size = wire_size(outcome.value)
    if size > MAX_WIRE_BYTES:
        raise StepFailure(
            "too_large",
            f"the result is {size} bytes of JSON, the limit is {MAX_WIRE_BYTES}",
            hint="ask for fewer fields or rows, or loop over the rows",
        )
    machine.finish_step(frame, instruction, outcome.value, started=started)


def raise_error(outcome: Outcome) -> None:
    """A failed outcome fails the step that asked for it."""
    if outcome.error is not None:
        failure = StepFailure("failed", "")
        failure.error = dict(outcome.error)
        raise failure


def _version(outcome: Outcome) -> dict[str, Any]:
    return (
        {"version": outcome.value["version"]} if isinstance(outcome.value, dict) and "version" in outcome.value else {}
    )


def _ended(machine: "Machine", pending: dict[str, Any], outcome: Outcome) -> None:
    """The last commit or rollback of the run is done."""
    machine.state["txn"] = None
    status = pending.get("status", "completed")
    if outcome.error is not None and pending["kind"] == "commit":
        machine.finish("failed", error=outcome.error)
        return
    if outcome.error is not None:
        machine.emit_run("rollback_failed", kind="warning", error=outcome.error)
    elif (
        pending["kind"] == "rollback" and isinstance(outcome.value, dict) and outcome.value.get("state") == "committed"
    ):
        message = "the transaction had been committed already"
        error = {"code": "committed_before", "message": message, "retryable": False}
        machine.emit_run("committed", kind="warning", error=error)
    machine.finish(status, value=pending.get("value"), error=pending.get("error"))


def _rerun(machine: "Machine", error: dict[str, Any], *, ending: bool) -> None:
    """Back to the state at the transaction's beginning, after a pause."""
    state = machine.state
    txn = state["txn"]
    if txn["attempt"] >= ATTEMPTS:
        state["txn"] = None
        final = {**error, "attempts": ATTEMPTS}
        machine.finish("failed", error=final) if ending else machine.fail(final)
        return
    state["frames"] = orjson.loads(orjson.dumps(state["checkpoint"]))
    txn |= {"attempt": txn["attempt"] + 1, "opened": False, "wrote": False, "used": False}
    machine.emit_run("rerun", kind="warning", error=error, attempt=txn["attempt"])
    pause = 0.05 * 2 ** (txn["attempt"] - 2)
    ask(machine, "sleep", "conflict", {"seconds": pause}, "rerun")
