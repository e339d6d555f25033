"""Running a transaction again from its beginning, after a conflict, up to `ATTEMPTS` times.

The fibers of its scope go back to where they were at the transaction's first step, as soon as nothing of theirs is under way any more.
Outside effects that were done since it began are kept in `memo` by their key: a rerun takes the recorded outcome and does nothing
twice. Async steps that it had begun are not of the transaction: they go on, and the step that begins them again takes them up.
"""

from typing import TYPE_CHECKING, Any, Final

import orjson

from script import failures, fibers, sagas, transactions
from script.effects import TIMERS
from script.state import RUN_SCOPE, Fiber

if TYPE_CHECKING:
    from script.machine import Machine

ATTEMPTS: Final = 5


def _copy(value: Any) -> Any:
    return orjson.loads(orjson.dumps(value))


def take_checkpoint(machine: "Machine", scope: dict[str, Any]) -> None:
    """The fibers of the scope as they are now, at the first step of its transaction."""
    name = machine.fiber["scope"]
    of_scope = {key: fiber for key, fiber in machine.state["fibers"].items() if fiber["scope"] == name}
    scope["checkpoint"] = {"fiber": machine.fiber["id"], "fibers": _copy(of_scope)}


def drop_joined(machine: "Machine", fiber: Fiber) -> None:
    """A joined fiber goes, unless a transaction might run again from a moment when it was not joined."""
    if any(scope["checkpoint"] is not None for scope in machine.state["scopes"].values()):
        fiber["joined"] = True
    else:
        del machine.state["fibers"][fiber["id"]]


def drop_all_joined(state: dict[str, Any]) -> None:
    """No transaction needs the fibers any more that were joined in it."""
    for name in [name for name, fiber in state["fibers"].items() if fiber.get("joined")]:
        del state["fibers"][name]


def rerun_if_quiet(machine: "Machine", scope: dict[str, Any]) -> None:
    """Run the transaction again, once nothing of it is under way any more."""
    name, state = machine.fiber["scope"], machine.state
    of_scope = [fiber for fiber in state["fibers"].values() if fiber["scope"] == name]
    for fiber in of_scope:
        waited = state["effects"].get((fiber["wait"] or {}).get("effect"))
        if waited is not None and waited["kind"] not in TIMERS:
            return
    rerun, txn = scope.pop("rerun"), scope["txn"]
    if txn["attempt"] >= ATTEMPTS:
        final = {**rerun["error"], "attempts": ATTEMPTS}
        transactions.ended(machine, scope, committed=False)
        if rerun["ending"]:
            sagas.conflicted(machine, final)
        else:
            failures.fail(machine, machine.fiber, final)
        return
    restore_checkpoint(machine, scope, of_scope)
    sagas.forget(machine, [scope["prefix"], txn["number"]])
    txn |= {"attempt": txn["attempt"] + 1, "opened": False, "wrote": False, "used": False}
    state["ending"] = state["ending"] if name != RUN_SCOPE else None
    machine.emit_run("rerun", kind="warning", error=rerun["error"], attempt=txn["attempt"])
    machine.fiber = state["fibers"][scope["checkpoint"]["fiber"]]
    scope["busy"] = transactions.ask(
        machine, "sleep", f"{scope['prefix']}conflict", {"seconds": 0.05 * 2 ** (txn["attempt"] - 2)}, "rerun"
    )


def restore_checkpoint(machine: "Machine", scope: dict[str, Any], of_scope: list[Fiber]) -> None:
    """Put the fibers of a scope back to where they were at the first step of its transaction."""
    state, known = machine.state, _copy(scope["checkpoint"]["fibers"])
    wanted = {name for fiber in known.values() for frame in fiber["frames"] for name in frame["children"].values()}
    for fiber in of_scope:
        for frame in fiber["frames"]:
            for record in frame["tries"]:
                fibers.forget(machine, record["timer"])
        if (waited := (fiber["wait"] or {}).get("effect")) in state["effects"]:
            fibers.forget(machine, waited)
        for frame in fiber["frames"]:
            for name in frame["children"].values():
                if name not in wanted:
                    _leave_behind(machine, state["fibers"][name])
        if fiber["id"] not in known:
            del state["fibers"][fiber["id"]]
    for fiber in [fiber for fiber in state["fibers"].values() if fiber.pop("joined", False)]:
        if fiber["id"] not in wanted:
            _leave_behind(machine, fiber)
    for name, fiber in known.items():
        if "effect" in (fiber["wait"] or ()):
            fiber["wait"] = None  # it asks again, and takes what is remembered
        for frame in fiber["frames"]:
            for record in frame["tries"]:
                record["timer"] = None
        state["fibers"][name] = fiber


def _leave_behind(machine: "Machine", fiber: Fiber) -> None:
    """An async step that the transaction had begun: the rerun takes it up, unless it failed."""
    if (fiber["wait"] or {}).get("ended", "completed") == "completed":
        machine.state["orphans"][fiber["key"]] = fiber["id"]
    else:
        del machine.state["fibers"][fiber["id"]]
