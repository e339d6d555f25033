"""Transactions of a run, and the asking for effects.

A *scope* (the run; a block on another database; each compensation) owns at most one transaction at a time, on one database. It begins
with the first step that touches the database, ends with the scope or by `manage_transaction`, and is *durable*: it lives in the database
file, not here. What lives here is its identity, whether it wrote, and the fibers of the scope as they were when it began: a conflict puts
them back there (`reruns.py`).

A dry run never commits: a commit in the middle only tells so, and the end rolls back.
"""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from script.compiler.program import Instruction
from script.machine import batches, blocks, calls, dry_runs, failures, fibers, reruns, sagas
from script.machine.effects import StepFailure
from script.machine.state import RUN_SCOPE, Fiber, Frame
from script.wire import Outcome

if TYPE_CHECKING:
    from script.machine.machine import Machine

RERUN: Final = ("conflict", "transaction_lost")
"""Error codes that mean: the transaction has to run again from its beginning."""


# --- asking ---


def effect_id(machine: "Machine", key: str) -> str:
    """The name of an effect: its key, with the attempt of the transaction and the tries of the steps around it, if not the first."""
    number, tries = attempt(machine), fibers.attempts(machine.fiber)
    name = key if number == 1 else f"{key}~{number}"
    return name if max(tries, default=1) == 1 else f"{name}!{'.'.join(map(str, tries))}"


def attempt(machine: "Machine") -> int:
    """In which attempt of its transaction the current fiber is, or was begun."""
    scope = machine.scope()
    if scope is None:
        return int(machine.fiber.get("again", 1))
    return int((scope["txn"] or {}).get("attempt", 1)) + int(scope["spent"])


def ask(machine: "Machine", kind: str, key: str, call: dict[str, Any], then: str, **context: Any) -> str:
    """Leave an effect pending, which the current fiber waits for; gives its id. `then` says what `answered` does with its outcome."""
    name = _add(machine, kind, key, call, then, **context)
    machine.fiber["wait"] = {"effect": name}
    return name


def ask_timer(machine: "Machine", key: str, seconds: float) -> str:
    """A timer beside whatever the fiber does."""
    return _add(machine, "timer", key, {"seconds": seconds}, "timeout")


def _add(machine: "Machine", kind: str, key: str, call: dict[str, Any], then: str, **context: Any) -> str:
    dry_runs.check(machine, kind)
    state, name = machine.state, effect_id(machine, key)
    while name in state["effects"]:  # a step is called like something of ours, such as the timer of the block around it
        name += "_"
    if "seconds" in call:
        seconds = call["seconds"] - state["ahead"]
        call["until"] = (datetime.fromisoformat(state["clock"]) + timedelta(seconds=seconds)).isoformat()
    state["asked"] += 1
    state["effects"][name] = {
        "id": name,
        "number": state["asked"],
        "fiber": machine.fiber["id"],
        "kind": kind,
        "key": key,
        "call": call,
        "then": then,
        "at": state["clock"],
        "told": False,
        **context,
    }
    return name


# --- the transaction of a scope ---


def run_database(machine: "Machine") -> str | None:
    """The database that the run works on."""
    return machine.state["scopes"][RUN_SCOPE]["database"]  # type: ignore[no-any-return]


def is_open(machine: "Machine") -> bool:
    """Whether the current fiber's scope has an open transaction."""
    scope = machine.scope()
    return scope is not None and scope["txn"] is not None and (scope["txn"].get("inherited") or scope["txn"]["used"])


def is_used(scope: dict[str, Any]) -> bool:
    """Whether a scope has a transaction of its own with a step in it."""
    txn = scope["txn"]
    return txn is not None and not txn.get("inherited") and bool(txn["used"])


def is_held(machine: "Machine", fiber: Fiber) -> bool:
    """Whether a fiber may not go on, since the transaction of its scope is about to run again."""
    name = fiber["scope"]
    return name is not None and "rerun" in machine.state["scopes"].get(name, ())


def member(machine: "Machine") -> dict[str, Any] | None:
    """The scope's transaction, begun now if there is none; None where there is no database."""
    scope = machine.scope()
    if scope is None or scope["database"] is None:
        return None
    if scope["txn"] is None:
        begin(scope, explicit=False)
    txn = scope["txn"]
    if txn.get("inherited"):
        return dict(txn["ref"])
    if not txn["used"]:
        reruns.take_checkpoint(machine, scope)
    first, txn["used"] = not txn["opened"], True
    return _reference(machine, scope) | {"begin": first}


def begin(scope: dict[str, Any], *, explicit: bool) -> None:
    scope["number"] += 1
    scope["memo"] = {}
    scope["txn"] = {
        "number": scope["number"],
        "attempt": 1,
        "explicit": explicit,
        "used": False,
        "opened": False,
        "wrote": False,
    }


def _reference(machine: "Machine", scope: dict[str, Any]) -> dict[str, Any]:
    txn = scope["txn"]
    return {
        "id": f"{machine.state['key_id']}/{scope['prefix']}t{txn['number']}.{txn['attempt']}",
        "database": scope["database"],
        "isolation": scope["isolation"],
        "begin": False,
        "alone": False,
    }


def savepoints(machine: "Machine", key: str) -> list[str]:
    """Where steps with `retry` around would go back to: the names of those that the transaction has not marked yet.

    A step that fails leaves nothing; only groups of steps need one.
    """
    txn = (machine.scope() or {}).get("txn")
    if txn is None:
        return []
    marks: list[str] = []
    top = machine.fiber["frames"][-1]
    for frame in [frame for fiber in reversed(_line(machine, machine.fiber)) for frame in fiber["frames"]]:
        for record in frame["tries"]:
            alone = frame is top and frame["pc"] == record["pc"] + 1
            if record["vars"] is not None and record["saved"] is None and not alone:
                name = f"{key}/{record['attempt']}/{len(marks)}" if marks else f"{key}/{record['attempt']}"
                kept = [entry["key"] for entry in machine.state["sagas"]]
                record["saved"] = {"txn": _number(txn), "name": name, "sagas": kept}
                marks.append(name)
    return marks


def _line(machine: "Machine", fiber: Fiber) -> list[Fiber]:
    """A fiber, and those of its scope that wait for it."""
    line = [fiber]
    while fiber["role"] == "iteration":
        fiber = machine.state["fibers"][fiber["parent"]]
        line.append(fiber)
    return line


def is_turn(machine: "Machine", fiber: Fiber) -> bool:
    """Whether a fiber may do a step of the transaction: one after the other, and none while another is within a group with
    `retry` that has written: going back there would undo what this one did."""
    scope = machine.state["scopes"][fiber["scope"]]
    if scope["busy"] is not None:
        return False
    line = _line(machine, fiber)
    others = [other for other in machine.state["fibers"].values() if other["role"] == "iteration" and other not in line]
    return not any(
        record["saved"] is not None
        for other in others
        if other["scope"] == fiber["scope"]
        for frame in other["frames"]
        for record in frame["tries"]
    )


def restore(machine: "Machine", frame: Frame, record: dict[str, Any]) -> bool:
    """Undo what a step with `retry` wrote in the transaction that is still open; False if that is over."""
    saved, scope = record["saved"], machine.scope()
    record["saved"] = None
    if scope is None or scope["txn"] is None or saved["txn"] != _number(scope["txn"]):
        return False
    inherited = scope["txn"].get("inherited")
    if not (inherited or is_used(scope)):
        return False
    if not inherited:
        sagas.forget(machine, [scope["prefix"], scope["txn"]["number"]], but=saved["sagas"])
    call = {
        "transaction": dict(scope["txn"]["ref"]) if inherited else _reference(machine, scope),
        "savepoint": saved["name"],
        "run_id": machine.state["run_id"],
        "key": f"{machine.state['key_id']}/{machine.key(frame, record['step'])}/restore",
    }
    scope["busy"] = ask(machine, "restore", machine.key(frame, record["step"]) + "/restore", call, "restored")
    return True


def _number(txn: dict[str, Any]) -> list[int]:
    """Which transaction of its scope it is, and in which attempt; that of a chunk is the only one there."""
    return [] if txn.get("inherited") else [txn["number"], txn["attempt"]]


def release(machine: "Machine", pending: dict[str, Any]) -> None:
    """The next member of the transaction may go on."""
    for scope in machine.state["scopes"].values():
        if scope["busy"] == pending["id"]:
            scope["busy"] = None


# --- manage_transaction, and the end ---


def manage(machine: "Machine", frame: Frame, instruction: Instruction, action: Any) -> None:
    """manage_transaction."""
    scope = machine.scope()
    if action not in ("begin", "commit", "rollback"):
        raise StepFailure(
            "invalid_arguments", f"manage_transaction has no action {action!r}", hint="begin, commit or rollback"
        )
    if scope is None or machine.fiber["role"] == "iteration":
        raise StepFailure(
            "in_parallel",
            "steps that run side by side cannot begin or end the transaction",
            hint="manage it before or behind them, or call a script with a database of its own",
        )
    if scope["database"] is None:
        raise StepFailure(
            "no_database", "the script names no database, so it has no transaction", hint='give the script a "database"'
        )
    txn = scope["txn"]
    if txn is not None and txn.get("inherited"):
        raise StepFailure(
            "in_batch",
            "a batch commits chunk by chunk by itself",
            hint="leave manage_transaction out of the loop's body",
        )
    if action == "begin":
        if txn is not None and not txn.get("kept"):
            raise StepFailure(
                "transaction_open", "a transaction is open already", hint="commit it or roll it back first"
            )
        if txn is not None:
            txn |= {"explicit": True, "kept": False}
        else:
            begin(scope, explicit=True)
        machine.finish_step(frame, instruction, {"transaction": "begun"})
    elif txn is None or not txn["used"]:
        drop_empty(machine, scope)
        machine.finish_step(frame, instruction, {"transaction": "empty"})
    elif action == "commit" and machine.state["dry_run"]:
        txn |= {"explicit": False, "wrote": False, "kept": True}
        sagas.settle(machine, [scope["prefix"], txn["number"]], committed=True)
        machine.finish_step(frame, instruction, {"transaction": "kept open: a dry run commits nothing"})
    else:
        end_transaction(machine, scope, action, "manage", machine.key(frame, instruction.step))


def end_transaction(machine: "Machine", scope: dict[str, Any], action: str, then: str, key: str) -> None:
    """Commit or roll back the open transaction of a scope."""
    call = {
        "transaction": _reference(machine, scope),
        "run_id": machine.state["run_id"],
        "key": f"{machine.state['key_id']}/{key}",
    }
    ask(machine, action, key, call, then)


def end_scope(machine: "Machine", scope: dict[str, Any], *, completed: bool) -> bool:
    """Commit what the steps of a scope left open, or roll it back; False if there is nothing.

    Only what completed and began its transaction by itself is committed, and never in a dry run. One that was begun with
    `manage_transaction` and left open is rolled back, with a warning.
    """
    if not is_used(scope):
        return False
    explicit = scope["txn"]["explicit"]
    if completed and explicit:
        machine.emit_run(
            "rolled_back",
            kind="warning",
            error={
                "code": "uncommitted_transaction",
                "message": "a transaction was left open and is rolled back",
                "retryable": False,
            },
        )
    action = "commit" if completed and not explicit and not machine.state["dry_run"] else "rollback"
    end_transaction(machine, scope, action, "end", scope["prefix"] + action)
    return True


def drop_empty(machine: "Machine", scope: dict[str, Any]) -> None:
    """A transaction without any step, or that was about to run again, is over."""
    if scope["txn"] is not None and not scope["txn"].get("inherited"):
        ended(machine, scope, committed=False)


def ended(machine: "Machine", scope: dict[str, Any], *, committed: bool) -> None:
    """The transaction of a scope is over: its compensations are due from now on, or never were."""
    txn, state = scope["txn"], machine.state
    scope |= {"txn": None, "checkpoint": None, "memo": {}, "spent": scope["spent"] + txn["attempt"] - 1}
    sagas.settle(machine, [scope["prefix"], txn["number"]], committed=committed)
    reruns.drop_all_joined(state)


# --- answers ---


def answered(machine: "Machine", pending: dict[str, Any], outcome: Outcome, started: str) -> None:
    """Go on with the outcome of an effect of the current fiber."""
    then, scope, fiber = pending["then"], machine.scope(), machine.fiber
    release(machine, pending)
    if "interrupt" in fiber and outcome.error is not None:
        if then == "end":
            sagas.transaction_ended(machine, pending, outcome)
        return  # it was given up: the fiber hears why
    if pending.get("outside"):
        calls.remember(machine, pending, outcome)
    if scope is not None and "rerun" in scope:
        reruns.come_late(scope, pending, outcome)
        return
    if scope is not None and _is_lost(fiber, scope, pending, outcome):
        reruns.ask_for(scope, fiber, outcome)
        return
    if then == "end":
        sagas.transaction_ended(machine, pending, outcome)
        return
    if then == "rerun":
        return
    if then == "part":
        sagas.part_again(machine, fiber)
        return
    frame = fiber["frames"][-1]
    instruction = machine.programs[frame["program"]].linked[frame["pc"]]
    if then == "call":
        _called(machine, frame, instruction, pending, outcome, started)
    elif then == "approved":
        calls.approved(machine, frame, instruction, outcome, started)
    elif then == "waited":
        calls.raise_error(outcome)
        machine.finish_step(frame, instruction, None, started=started)
    elif then == "retry":
        calls.raise_error(outcome)
        failures.retry_now(machine, frame)
    elif then == "restored":
        calls.raise_error(outcome)
        failures.retry_after_pause(machine, frame)
    elif then == "manage":
        calls.raise_error(outcome)
        assert scope is not None
        ended(machine, scope, committed=pending["kind"] == "commit")
        told = {"transaction": f"{pending['kind']} done", **_version(outcome)}
        machine.finish_step(frame, instruction, told, started=started)
    else:
        batches.answered(machine, frame, instruction, pending, outcome)


def _is_lost(fiber: Fiber, scope: dict[str, Any], pending: dict[str, Any], outcome: Outcome) -> bool:
    """Whether an outcome says that the transaction has to run again. (Not for one that is to be rolled back, nor by what is given up.)"""
    if outcome.error is None or outcome.error.get("code") not in RERUN:
        return False
    given_up = fiber["role"] in ("iteration", blocks.ROLE) and fiber.get("cancelled")
    return is_used(scope) and not pending.get("outside") and pending["kind"] != "rollback" and not given_up


def _called(
    machine: "Machine", frame: Frame, instruction: Instruction, pending: dict[str, Any], outcome: Outcome, started: str
) -> None:
    scope = machine.scope()
    if not pending["outside"] and scope is not None and is_used(scope) and outcome.error is None:
        scope["txn"]["opened"] = True
        scope["txn"]["wrote"] = scope["txn"]["wrote"] or pending["effect"] == "write"
    if pending["kind"] == "child" and outcome.sagas:
        sagas.inherit(machine, frame, instruction, outcome.sagas)
    calls.answer(machine, frame, instruction, outcome, started)


def _version(outcome: Outcome) -> dict[str, Any]:
    return (
        {"version": outcome.value["version"]} if isinstance(outcome.value, dict) and "version" in outcome.value else {}
    )
