"""Running a transaction again from its beginning, after a conflict, up to `ATTEMPTS` times.

The fibers of its scope go back to where they were at the transaction's first step, as soon as nothing of theirs is under way any more.
Outside effects that were done since it began are kept in `memo` by their key: a rerun takes the recorded outcome and does nothing
twice. Async steps that it had begun are not of the transaction: they go on, and the step that begins them again takes them up.
"""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import orjson

from script.machine import blocks, failures, fibers, sagas, timeouts, transactions
from script.machine.effects import TIMERS
from script.machine.state import MAIN, RUN_SCOPE, Fiber, Frame, add_fiber
from script.wire import Outcome

if TYPE_CHECKING:
    from script.machine.machine import Machine

ATTEMPTS: Final = 5


def _copy(value: Any) -> Any:
    return orjson.loads(orjson.dumps(value))


def origin(machine: "Machine", frame: Frame) -> Frame | None:
    """The first frame of an async step, for a transaction that runs again from a moment when it was under way."""
    kept = any(scope["database"] is not None for scope in machine.state["scopes"].values())
    return _copy(frame) if kept else None


def take_checkpoint(machine: "Machine", scope: dict[str, Any]) -> None:
    """The fibers of the scope as they are now, at the first step of its transaction."""
    name, state = machine.fiber["scope"], machine.state
    of_scope = {key: fiber for key, fiber in state["fibers"].items() if fiber["scope"] == name}
    waited = [(fiber["wait"] or {}).get("effect") for fiber in of_scope.values()]
    scope["checkpoint"] = _copy(
        {
            "fiber": machine.fiber["id"],
            "fibers": of_scope,
            "children": {child: state["fibers"][child] for child in _children(of_scope)},
            "then": {effect: state["effects"][effect]["then"] for effect in waited if effect is not None},
        }
    )


def _children(known: dict[str, Fiber]) -> set[str]:
    """The async steps that some fibers have begun."""
    return {child for fiber in known.values() for frame in fiber["frames"] for child in frame["children"].values()}


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


# --- when ---


def ask_for(scope: dict[str, Any], fiber: Fiber, outcome: Outcome) -> None:
    """A step of the transaction, or its commit, conflicted."""
    scope["rerun"] = {"error": outcome.error, "fiber": fiber["id"], "ending": not fiber["frames"], "late": []}


def come_late(scope: dict[str, Any], pending: dict[str, Any], outcome: Outcome) -> None:
    """What comes before the transaction runs again is heard only if it does not."""
    scope["rerun"]["late"].append([pending, asdict(outcome)])


def begin(machine: "Machine") -> None:
    """Run transactions again that have to, once nothing of them is under way any more."""
    for name, scope in list(machine.state["scopes"].items()):
        if "rerun" in scope and _is_quiet(machine, name):
            rerun = scope.pop("rerun")
            if scope["txn"]["attempt"] < ATTEMPTS:
                _run_again(machine, name, scope, rerun)
            else:
                _give_up(machine, scope, rerun)


def _is_quiet(machine: "Machine", name: str) -> bool:
    state = machine.state
    waits = [fiber["wait"] or {} for fiber in state["fibers"].values() if fiber["scope"] == name]
    effects = [state["effects"][wait["effect"]] for wait in waits if "effect" in wait]
    return all(effect["kind"] in TIMERS for effect in effects)


def _give_up(machine: "Machine", scope: dict[str, Any], rerun: dict[str, Any]) -> None:
    """It was tried often enough: the step fails, or the commit."""
    final = {**rerun["error"], "attempts": ATTEMPTS}
    transactions.ended(machine, scope, committed=False)
    scope["spent"] += 1
    machine.fiber = machine.state["fibers"][rerun["fiber"]]
    if rerun["ending"]:
        sagas.conflicted(machine, final)
    else:
        failures.fail(machine, machine.fiber, final)
    for pending, outcome in rerun["late"]:
        machine.answer(pending, Outcome(**outcome))


# --- how ---


def _run_again(machine: "Machine", name: str, scope: dict[str, Any], rerun: dict[str, Any]) -> None:
    state, txn, main = machine.state, scope["txn"], machine.state["fibers"][MAIN]
    cancelled = main.get("cancelled") or (state["ending"] or {}).get("cancelled")
    sagas.forget(machine, [scope["prefix"], txn["number"]])
    txn |= {"attempt": txn["attempt"] + 1, "opened": False, "wrote": False, "used": False}
    state["ending"] = state["ending"] if name != RUN_SCOPE else None
    machine.emit_run("rerun", kind="warning", error=rerun["error"], attempt=txn["attempt"])
    given_up = [
        key for key, fiber in state["fibers"].items() if fiber["role"] == blocks.ROLE and fiber.get("cancelled")
    ]
    restore_checkpoint(machine, name, scope)
    machine.fiber = state["fibers"][scope["checkpoint"]["fiber"]]
    seconds = 0.05 * 2 ** (txn["attempt"] - 2)
    scope["busy"] = transactions.ask(machine, "sleep", f"{scope['prefix']}conflict", {"seconds": seconds}, "rerun")
    if cancelled and name == RUN_SCOPE:
        fibers.kill(machine, state["fibers"][MAIN])
    for fiber in [state["fibers"][key] for key in given_up if key in scope["checkpoint"]["fibers"]]:
        fibers.kill(machine, fiber, "given up: what began it failed")


def restore_checkpoint(machine: "Machine", name: str, scope: dict[str, Any]) -> None:
    """Put the fibers of the scope back to where they were, and take care of the async steps that they have begun, now or then."""
    state, checkpoint = machine.state, _copy(scope["checkpoint"])
    known: dict[str, Fiber] = checkpoint["fibers"]
    now = {key: fiber for key, fiber in state["fibers"].items() if fiber["scope"] == name}
    wanted = _children(known)
    for child in _children(now) - wanted:
        _leave_behind(machine, state["fibers"][child])
    for fiber in [fiber for fiber in state["fibers"].values() if fiber.pop("joined", False)]:
        if fiber["id"] not in wanted:
            _leave_behind(machine, fiber)
    _forget_timers(machine, {*now, *known}, known)
    for key in now:
        del state["fibers"][key]
    state["fibers"] |= known
    for child in sorted(wanted, key=int):
        _begin_again(machine, known, checkpoint["children"][child])
    for fiber in known.values():
        _go_on(machine, fiber, checkpoint["then"])


def _forget_timers(machine: "Machine", owners: set[str], known: dict[str, Fiber]) -> None:
    """Timers and approvals that were under way then, and still are, go on."""
    kept = {(fiber["wait"] or {}).get("effect") for fiber in known.values()}
    kept |= {record["timer"] for fiber in known.values() for frame in fiber["frames"] for record in frame["tries"]}
    for name, effect in list(machine.state["effects"].items()):
        if effect["fiber"] in owners and name not in kept:
            fibers.forget(machine, name)


def _go_on(machine: "Machine", fiber: Fiber, then: dict[str, str]) -> None:
    """What a fiber waited for then, and has come meanwhile, it asks for again, and takes what is remembered."""
    state, machine.fiber = machine.state, fiber
    waited = (fiber["wait"] or {}).get("effect")
    gone = waited is not None and waited not in state["effects"]
    if gone:
        fiber["wait"] = None
    for depth, frame in enumerate(fiber["frames"]):
        for record in frame["tries"]:
            if record["timer"] is not None and record["timer"] not in state["effects"]:
                timeouts.again(machine, fiber, depth, frame, record)
    if gone and then[str(waited)] == "retry":
        failures.retry_now(machine, fiber["frames"][-1])
    elif "fibers" in (fiber["wait"] or {}) and not fiber["wait"].get("dying"):
        fiber["wait"] = None  # a join looks again


def _begin_again(machine: "Machine", known: dict[str, Fiber], then: Fiber) -> None:
    """An async step that was under way then, and has failed or was given up since, begins again from its start."""
    state, now = machine.state, machine.state["fibers"].get(then["id"])
    over = ("failed", "canceled")
    if then.get("cancelled") or (then["wait"] or {}).get("ended") in over:
        if now is None:
            state["fibers"][then["id"]] = then
            fibers.end(then, "canceled", outputs={}, last=None)
        return
    if now is not None and not now.get("cancelled") and (now["wait"] or {}).get("ended") not in over:
        return
    if now is not None and "ended" in now["wait"]:
        del state["fibers"][now["id"]]
    if then["role"] == blocks.ROLE:
        for frame in state["fibers"][then["parent"]]["frames"]:
            frame["children"] = {step: child for step, child in frame["children"].items() if child != then["id"]}
        return  # the block's step begins it again
    fiber = add_fiber(state, [then["origin"]], "async", scope=None, parent=then["parent"])
    fiber |= {key: then[key] for key in ("step", "depth", "attempts", "key")} | {"origin": _copy(then["origin"])}
    machine.fiber = state["fibers"][then["parent"]]
    fiber["again"] = transactions.attempt(machine)
    for frame in machine.fiber["frames"]:
        frame["children"] = {
            step: fiber["id"] if child == then["id"] else child for step, child in frame["children"].items()
        }


def _leave_behind(machine: "Machine", fiber: Fiber) -> None:
    """An async step that the transaction had begun: the rerun takes it up, unless it failed or was given up."""
    ended = (fiber["wait"] or {}).get("ended")
    if fiber.get("cancelled") or ended == "failed":
        if ended is not None:
            del machine.state["fibers"][fiber["id"]]
    else:
        machine.state["orphans"][fiber["key"]] = fiber["id"]
