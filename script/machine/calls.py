"""What a step asks of the outside: a tool, a run of its own, a person; and what their answers mean.

A tool that touches the database of its scope is a *member* of the scope's transaction: one after the other, whatever runs side by side.
One that stands alone, calls outside, or is a run of its own is *outside*: done once, and remembered while the transaction is open (a rerun
takes what it gave) and while a step with `retry` around is tried (what a child run has committed is not run again).
"""

from typing import TYPE_CHECKING, Any

from script.compiler.program import Instruction, Program
from script.compiler.secrets import mentions
from script.machine import fibers, sagas, transactions
from script.machine.effects import StepFailure
from script.machine.state import Frame
from script.wire import MAX_WIRE_BYTES, Outcome, wire_size

if TYPE_CHECKING:
    from script.machine.machine import Machine


def call(machine: "Machine", frame: Frame, instruction: Instruction, args: dict[str, Any]) -> None:
    """A tool call."""
    key, operands, state = machine.key(frame, instruction.step), instruction.operands, machine.state
    effect, other, scope = operands["effect"], operands.get("database"), machine.scope()
    own = scope["database"] if scope is not None else transactions.run_database(machine)
    alone = effect in ("read", "write") and (
        (other is not None and other != own) or (scope is None and own is not None)
    )
    outside = alone or effect in ("pure", "external")
    if outside and _remembered(machine, frame, instruction, key):
        return
    transaction, marks = None, []
    if alone:
        transaction = _alone(machine, key, other or own)
    elif not outside:
        if scope is not None and not transactions.is_turn(machine, machine.fiber):
            machine.fiber["wait"] = {"turn": machine.fiber["scope"]}
            return
        transaction = transactions.member(machine)
        marks = transactions.savepoints(machine, key) if transaction is not None and effect == "write" else []
    elif scope is not None and scope["txn"] is not None and scope["txn"].get("inherited"):
        transaction = scope["txn"]["ref"]
    program = machine.programs[frame["program"]]
    step_call = {
        "tool": operands["tool"],
        "args": args,
        "path": machine.path(frame, instruction.step),
        "key": f"{state['key_id']}/{key}",
        "run_id": state["run_id"],
        "now": state["clock"],
        "scheduled_at": state["scheduled_at"],
        "step": machine.info(frame, instruction.step).name,
        "database": other or own,
        "transaction": transaction,
        "savepoints": marks,
        "dry_run": state["dry_run"],
        "mocks": state["mocks"],
        "scope": sorted(set(program.databases) | ({own} if own else set())),
    }
    if "secrets" in operands:
        if mentions(args) != operands["named"]:
            raise StepFailure(
                "secret_refused",
                "a variable has brought the name of a secret into the arguments",
                hint="only names that are written in the step itself count; send such a text in a step that names none",
            )
        step_call["secrets"] = operands["secrets"]
    note_outside(frame, instruction, outside, alone)
    name = transactions.ask(machine, "call", key, step_call, "call", effect=effect, outside=outside)
    if not outside and scope is not None:
        scope["busy"] = name


def _alone(machine: "Machine", key: str, database: str | None) -> dict[str, Any]:
    return {
        "id": f"{machine.state['key_id']}/{key}",
        "database": database,
        "isolation": "serializable",
        "begin": True,
        "alone": True,
    }


def child(
    machine: "Machine",
    frame: Frame,
    instruction: Instruction,
    callee: Program,
    arguments: dict[str, Any],
    database: str | None,
) -> None:
    """A script in a run of its own, with a transaction of its own: on its database, or on that of its caller."""
    state, key = machine.state, machine.key(frame, instruction.step)
    if _remembered(machine, frame, instruction, key):
        return
    run = {
        "script": callee.name,
        "version": callee.hash,
        "arguments": arguments,
        "run_id": f"{state['run_id']}/{transactions.effect_id(machine, key)}",
        "database": callee.database or database,
        "dry_run": state["dry_run"],
        "mocks": state["mocks"],
        "now": state["clock"],
        "scheduled_at": state["scheduled_at"],
    }
    size = wire_size(arguments)
    if size > MAX_WIRE_BYTES:
        raise StepFailure(
            "too_large",
            f"the arguments are {size} bytes of JSON, the limit is {MAX_WIRE_BYTES}",
            hint="pass a key or a query, not the data",
        )
    note_outside(frame, instruction, True, run["database"] is not None)
    transactions.ask(machine, "child", key, run, "call", effect="external", outside=True)


def note_outside(frame: Frame, instruction: Instruction, outside: bool, alone: bool) -> None:
    """Let the step's `try` know, for its compensation, whether it works outside of the transaction, and there in one of its own."""
    if frame["tries"] and frame["tries"][-1]["step"] == instruction.step:
        frame["tries"][-1] |= {"outside": outside, "alone": alone}


def approval(machine: "Machine", key: str, asked: dict[str, Any]) -> None:
    """A person's decision: whoever of `by` approves or rejects first."""
    by = asked["by"] if isinstance(asked["by"], list) else [asked["by"]]
    transactions.ask(machine, "approval", key, {"by": by, "prompt": asked["prompt"]}, "approved", outside=True)


# --- answers ---


def _remembered(machine: "Machine", frame: Frame, instruction: Instruction, key: str) -> bool:
    """Whether an outside effect was done before, in the transaction or in an earlier try; its answer is taken then."""
    found = known(machine, key)
    if found is None:
        return False
    if found["sagas"]:
        sagas.inherit(machine, frame, instruction, found["sagas"])
    answer(machine, frame, instruction, Outcome(**found), machine.state["clock"])
    return True


def known(machine: "Machine", key: str) -> dict[str, Any] | None:
    """What an outside effect gave before, in the transaction or in an earlier try."""
    scope = machine.scope()
    found: dict[str, Any] | None = scope["memo"].get(_memo_key(machine, key)) if scope is not None else None
    for frame in machine.fiber["frames"]:
        for record in frame["tries"]:
            found = found or record["memo"].get(key)
    return found


def _memo_key(machine: "Machine", key: str) -> str:
    """The same in every attempt of the transaction, and another in every try of a step around."""
    return "!".join([key, *map(str, fibers.attempts(machine.fiber))])


def remember(machine: "Machine", pending: dict[str, Any], outcome: Outcome) -> None:
    """Keep the answer of an outside effect, for as long as it may be asked for again."""
    keep(machine, pending["key"], outcome, always=pending["kind"] == "child" and outcome.error is None)


def keep(machine: "Machine", key: str, outcome: Outcome, *, always: bool) -> None:
    """Keep an answer while the transaction is open, and (`always`) while a step with `retry` around is tried."""
    kept = {"value": outcome.value, "error": outcome.error, "at": outcome.at, "sagas": outcome.sagas}
    scope = machine.scope()
    if scope is not None and transactions.is_used(scope):
        scope["memo"][_memo_key(machine, key)] = kept
    if always:
        for frame in machine.fiber["frames"]:
            for record in frame["tries"]:
                if record["vars"] is not None:
                    record["memo"][key] = kept


def answer(machine: "Machine", frame: Frame, instruction: Instruction, outcome: Outcome, started: str) -> None:
    """The value of a call is the step's result; its error fails the step."""
    raise_error(outcome)
    size = wire_size(outcome.value)
    if size > MAX_WIRE_BYTES:
        raise StepFailure(
            "too_large",
            f"the result is {size} bytes of JSON, the limit is {MAX_WIRE_BYTES}",
            hint="ask for fewer fields or rows, or loop over the rows",
        )
    machine.finish_step(frame, instruction, outcome.value, started=started, **outcome.told)


def approved(machine: "Machine", frame: Frame, instruction: Instruction, outcome: Outcome, started: str) -> None:
    """A decision: approved, the step's value says by whom and when; rejected, the step fails."""
    raise_error(outcome)
    decision = outcome.value
    if not decision["approved"]:
        comment = f": {decision['comment']}" if decision.get("comment") else ""
        raise StepFailure("rejected", f"{decision['by']} rejected it{comment}", details=decision)
    machine.finish_step(frame, instruction, decision, started=started)


def raise_error(outcome: Outcome) -> None:
    """A failed outcome fails the step that asked for it."""
    if outcome.error is not None:
        failure = StepFailure("failed", "")
        failure.error = dict(outcome.error)
        raise failure
