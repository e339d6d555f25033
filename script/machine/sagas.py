"""Sagas: compensations of committed work, and the end of a run.

A step with `compensate` is remembered when it has gone well, with the variables of that moment. What it wrote in the open transaction is
due when that commits, and forgotten when it rolls back; what it did outside of it is due at once. When the run fails or is cancelled,
the compensations that are due run one after the other, newest first, each as a fiber in a scope (and so a transaction) of its own,
tried again when it fails; one that fails for good does not keep the others from running. A run that succeeds hands what is due to
its caller.

The end of a run has phases, each begun when the one before it is over:

    fibers        whatever still runs is given up
    transaction   commit, or roll back
    compensate    one compensation after the other         (not for a run that succeeded)
    on_failure    the script's steps for a failed run      (not for one that was cancelled)
    finish        the last event
"""

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Final

from script.compiler.program import Instruction
from script.machine import blocks, dry_runs, fibers, transactions
from script.machine.effects import StepFailure
from script.machine.state import RUN_SCOPE, Fiber, Frame, add_fiber, new_frame, new_scope
from script.wire import MAX_WIRE_BYTES, Outcome, wire_size

if TYPE_CHECKING:
    from script.machine.machine import Machine

TRIES: Final = 5
"""How often a compensation is tried."""
_PAUSE: Final = 0.2
"""Seconds before the second try; each further pause is four times as long."""

Entry = dict[str, Any]


# --- remembering ---


def remember(machine: "Machine", frame: Frame, instruction: Instruction, record: dict[str, Any]) -> None:
    """The step of a `try` has gone well: its compensation is due when the transaction commits, or now if it worked outside of that."""
    start = instruction.operands["compensate"]
    body = machine.programs[frame["program"]].linked[start].operands
    scope, key = machine.scope(), machine.key(frame, instruction.step)
    iteration = machine.iteration(frame)
    open_ = scope is not None and transactions.is_used(scope) and not record["outside"]
    if scope is not None and (scope["txn"] or {}).get("inherited"):
        raise StepFailure(
            "compensate_in_batch",
            "a step inside of a batch has a compensation, which a batch cannot keep",
            hint="compensate in a script that the batch calls, or give the loop itself a compensation",
        )
    entry = {
        "key": key,
        "program": frame["program"],
        "pc": start,
        "vars": {name: frame["vars"][name] for name in body["reads"] if name in frame["vars"]},
        "prefix": frame["prefix"],
        "iteration": iteration,
        "database": scope["database"] if scope is not None else transactions.run_database(machine),
        "isolation": scope["isolation"] if scope is not None else "serializable",
        "txn": [scope["prefix"], scope["txn"]["number"]] if open_ and scope is not None else None,
        "undone": machine.state["dry_run"] and (open_ or record["alone"]),
    }
    size = wire_size(entry["vars"])
    if size > MAX_WIRE_BYTES:
        raise StepFailure(
            "too_large",
            f"the variables that the compensation of {key} reads are {size} bytes of JSON, the limit is {MAX_WIRE_BYTES}",
            hint="let it read keys, and fetch the data itself",
        )
    path = machine.path(frame, instruction.step) + "/"
    if (
        machine.info(frame, instruction.step).type == "script"
    ):  # its own compensation stands for those of the called script
        machine.state["sagas"] = [
            known
            for known in machine.state["sagas"]
            if not known["prefix"].startswith(path) or known["iteration"][: len(iteration)] != iteration
        ]
    _push(machine, entry)


def inherit(machine: "Machine", frame: Frame, instruction: Instruction, entries: list[Entry]) -> None:
    """Take over what a child run has left to be compensated."""
    prefix = machine.key(frame, instruction.step) + "/"
    path = machine.path(frame, instruction.step) + "/"
    around = machine.iteration(frame)
    for entry in entries:
        named = {"key": prefix + entry["key"], "prefix": path + entry["prefix"]}
        _push(machine, {**entry, **named, "iteration": around + entry["iteration"]})


def _push(machine: "Machine", entry: Entry) -> None:
    if (machine.state["ending"] or {}).get("phase") in ("on_failure", "compensate", "finish"):
        return  # what runs behind the run's failure is not compensated itself
    kept = [known for known in machine.state["sagas"] if known["key"] != entry["key"]]
    machine.state["sagas"] = [*kept, entry]


def settle(machine: "Machine", txn: list[Any], *, committed: bool) -> None:
    """A transaction is over: what it did is due from now on, or was not done."""
    if not committed:
        forget(machine, txn)
    for entry in machine.state["sagas"]:
        if entry["txn"] == txn:
            entry["txn"] = None


def forget(machine: "Machine", txn: list[Any], but: Collection[str] = ()) -> None:
    """What a transaction did is undone, `but` what some keys name."""
    machine.state["sagas"] = [entry for entry in machine.state["sagas"] if entry["txn"] != txn or entry["key"] in but]


def due(machine: "Machine") -> list[Entry]:
    """What a caller has to compensate if it fails."""
    return list(machine.state["sagas"])


# --- the end of a run ---


def end_run(machine: "Machine", status: str, value: Any, error: dict[str, Any] | None) -> None:
    """The main script is over."""
    machine.fiber["frames"] = []
    machine.fiber.pop("interrupt", None)
    machine.state["ending"] = {
        "phase": "fibers",
        "status": status,
        "value": value,
        "error": error,
        "compensated": [],
        "failures": [],
    }
    machine.fiber["wait"] = None


def go_on(machine: "Machine") -> None:
    """Do the next thing of the run's end."""
    _PHASES[machine.state["ending"]["phase"]](machine, machine.state["ending"])


def _fibers(machine: "Machine", ending: dict[str, Any]) -> None:
    main, others = machine.fiber, []
    for fiber in list(machine.state["fibers"].values()):
        if fiber is not main and not fibers.is_ended(machine, fiber["id"]):
            fibers.kill(machine, fiber, "given up: the run ends")
            others.append(fiber["id"])
    if others:
        main["wait"] = {"fibers": others, "dying": True}
    else:
        ending["phase"] = "transaction"


def _transaction(machine: "Machine", ending: dict[str, Any]) -> None:
    scope = machine.state["scopes"][RUN_SCOPE]
    completed = ending["status"] == "completed"
    ending["phase"] = "finish" if completed else "compensate"
    if not transactions.end_scope(machine, scope, completed=completed):
        transactions.drop_empty(machine, scope)


def transaction_ended(machine: "Machine", pending: dict[str, Any], outcome: Outcome) -> None:
    """The last commit or rollback of a scope is done."""
    scope = machine.scope()
    assert scope is not None
    committed = pending["kind"] == "commit"
    went_well = "gave" in machine.fiber or (machine.state["ending"] or {}).get("status") == "completed"
    as_if = machine.state["dry_run"] and went_well and not scope["txn"]["explicit"]
    transactions.ended(machine, scope, committed=(committed or as_if) and outcome.error is None)
    if machine.fiber["role"] == blocks.ROLE:
        blocks.ended(machine, machine.fiber, pending, outcome)
        return
    if machine.fiber["role"] != "main":
        if committed and outcome.error is not None:
            part_failed(machine, machine.fiber, outcome.error)
        else:
            _part_over(machine, machine.fiber)
        return
    if committed and outcome.error is not None:
        conflicted(machine, outcome.error)
    elif outcome.error is not None:
        machine.emit_run("rollback_failed", kind="warning", error=outcome.error)
    elif not committed and isinstance(outcome.value, dict) and outcome.value.get("state") == "committed":
        message = "the transaction had been committed already"
        error = {"code": "committed_before", "message": message, "retryable": False}
        machine.emit_run("committed", kind="warning", error=error)


def conflicted(machine: "Machine", error: dict[str, Any]) -> None:
    """The last commit failed for good: so did the run, the block, or the compensation."""
    if machine.fiber["role"] == blocks.ROLE:
        blocks.failed(machine, machine.fiber, error)
        return
    if machine.fiber["role"] != "main":
        part_failed(machine, machine.fiber, error)
        return
    machine.state["ending"] |= {"status": "failed", "value": None, "error": error, "phase": "compensate"}


def _compensate(machine: "Machine", ending: dict[str, Any]) -> None:
    entries = machine.state["sagas"]
    if not entries:
        ending["phase"] = "on_failure"
        return
    entry = entries.pop()
    if entry["undone"]:
        dry_runs.skip_compensation(machine, entry)
        ending["compensated"].append(entry["key"])
        return
    _begin_part(machine, "compensation", entry, {**entry["vars"], "error": ending["error"]})


def _on_failure(machine: "Machine", ending: dict[str, Any]) -> None:
    ending["phase"] = "finish"
    state = machine.state
    start = machine.programs[state["root"]].on_failure
    if start is None or ending["status"] != "failed":
        return
    scope = state["scopes"][RUN_SCOPE]
    entry = {
        "key": "on_failure",
        "program": state["root"],
        "pc": start,
        "prefix": "",
        "iteration": [],
        "database": scope["database"],
        "isolation": scope["isolation"],
    }
    _begin_part(machine, "on_failure", entry, {**state.get("arguments", {}), "error": ending["error"]})


def _finish(machine: "Machine", ending: dict[str, Any]) -> None:
    machine.fiber["wait"] = {"ended": ending["status"]}
    if ending["failures"]:
        machine.finish("compensation_failed", error=ending["error"], compensation_failures=ending["failures"])
    elif ending["compensated"]:
        machine.finish("compensated", error=ending["error"], compensated=ending["compensated"])
    else:
        machine.finish(ending["status"], value=ending["value"], error=ending["error"])


_PHASES: Final = {
    "fibers": _fibers,
    "transaction": _transaction,
    "compensate": _compensate,
    "on_failure": _on_failure,
    "finish": _finish,
}


# --- compensations, and on_failure: parts of a program in a scope of their own ---


def _begin_part(machine: "Machine", role: str, entry: Entry, variables: dict[str, Any]) -> None:
    main, name = machine.fiber, f"{role}/{entry['key']}"
    machine.state["scopes"][name] = new_scope(entry["database"], entry["isolation"], f"{name}/")
    fiber = add_fiber(machine.state, [], role, scope=name, parent=main["id"])
    fiber |= {"entry": entry, "variables": variables, "attempts": [1]}
    _reset(machine, fiber)
    main["wait"] = {"fibers": [fiber["id"]], "dying": True}


def _reset(machine: "Machine", fiber: Fiber) -> None:
    """At the beginning of its steps."""
    entry = fiber["entry"]
    start = entry["pc"]
    body = machine.programs[entry["program"]].linked[start].operands
    frame = new_frame(
        entry["program"],
        start + 1,
        dict(fiber["variables"]),
        prefix=entry["prefix"],
        iteration=entry["iteration"],
        clock=machine.state["clock"],
    )
    fiber["frames"] = [frame | {"bounds": [start + 1, body["to"]], "top": body["step"]}]
    fiber["wait"] = None


def part_done(machine: "Machine", fiber: Fiber) -> None:
    """Its steps are done: commit."""
    scope = machine.state["scopes"][fiber["scope"]]
    fiber["frames"] = []
    if not transactions.end_scope(machine, scope, completed=True):
        _part_over(machine, fiber)


def part_failed(machine: "Machine", fiber: Fiber, error: dict[str, Any]) -> None:
    """Its steps failed, or its commit: roll back, and try again."""
    scope = machine.state["scopes"][fiber["scope"]]
    fiber |= {"frames": [], "error": error}
    fiber.pop("interrupt", None)
    if not transactions.end_scope(machine, scope, completed=False):
        _part_over(machine, fiber)


def _part_over(machine: "Machine", fiber: Fiber) -> None:
    error, ending, entry = fiber.pop("error", None), machine.state["ending"], fiber["entry"]
    compensating = fiber["role"] == "compensation"
    if error is not None and compensating and fiber["attempts"][0] < TRIES:
        failed = fiber["attempts"][0]
        machine.emit_run("retrying", kind="compensation", step=entry["key"], error=error, attempt=failed + 1)
        fiber["attempts"] = [failed + 1]
        if machine.state["dry_run"]:
            part_again(machine, fiber)
            return
        transactions.ask(machine, "sleep", f"{fiber['scope']}/retry", {"seconds": _PAUSE * 4 ** (failed - 1)}, "part")
        return
    if compensating:
        ending["compensated" if error is None else "failures"].append(
            entry["key"] if error is None else {"step": entry["key"], "error": error}
        )
        told = {"error": error} if error is not None else {}
        status = "completed" if error is None else "failed"
        machine.emit_run(status, kind="compensation", step=entry["key"], **told)
    elif error is not None:
        machine.emit_run("on_failure_failed", kind="warning", error=error)
    del machine.state["scopes"][fiber["scope"]]
    fiber["scope"] = None
    fibers.end(fiber, "completed")


def part_again(machine: "Machine", fiber: Fiber) -> None:
    """The pause is over."""
    _reset(machine, fiber)
