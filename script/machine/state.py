"""The state of a machine: plain JSON, made here and nowhere else.

    fibers      strands of the run by their number: the main one, async steps, iterations that run side by side, compensations
    effects     what was asked for and not answered yet, by id
    scopes      who owns a transaction, by name: the run itself, each block on another database, each compensation
    sagas       compensations of committed work, oldest first
    orphans     fibers of a transaction that runs again: taken up by the step that had begun them
    forgotten   timers that nobody waits for any more, for the driver to hear
    ending      how the run is ending, once it is
    clock, seq  time of the last outcome, number of the last event
    ahead       seconds that the clock of a dry run is ahead, since it waits for nobody
    again       of a run that does the failed elements of an earlier one again: {run, failed {key of a batch: elements}}
    scheduled_at   the time that a schedule started the run for (ISO 8601, UTC), or null

A fiber is a call stack:

    frames      program hash, pc, variables, open loops, tries, path prefix, last value; the first frame of a fiber that runs a part
                of a program only has the `bounds` of that part, and the step `top` that is around it
    wait        what it waits for: {effect: id}, {fibers: ids} (all of them), {any: ids}, {turn: scope}; {ended: status} at its end
    interrupt   what it hears as soon as it can: that it is cancelled, that a step takes too long, that a fiber of its own failed
    attempts    in which tries of the steps around it it was begun
    parent      the fiber that begins and joins it; `step` is the step that did
    scope       the scope whose transaction its data steps belong to; None: each stands alone
"""

from typing import Any, Final

STATE_VERSION: Final = 2
MAIN: Final = "1"
RUN_SCOPE: Final = "run"

State = dict[str, Any]
Fiber = dict[str, Any]
Frame = dict[str, Any]


def new_state(
    *,
    run_id: str,
    key_id: str,
    root: str,
    database: str | None,
    isolation: str,
    clock: str,
    dry_run: bool = False,
    mocks: list[str] | None = None,
    scheduled_at: str | None = None,
) -> State:
    """The state of a run before its first instruction."""
    return {
        "v": STATE_VERSION,
        "run_id": run_id,
        "key_id": key_id,
        "root": root,
        "dry_run": dry_run,
        "mocks": list(mocks or []),
        "scheduled_at": scheduled_at,
        "clock": clock,
        "ahead": 0.0,
        "seq": 0,
        "fibers": {},
        "forked": 0,
        "effects": {},
        "asked": 0,
        "forgotten": [],
        "scopes": {RUN_SCOPE: new_scope(database, isolation)},
        "sagas": [],
        "orphans": {},
        "ending": None,
        "paused": False,
        "done": None,
    }


def new_scope(database: str | None, isolation: str = "serializable", prefix: str = "") -> dict[str, Any]:
    """A scope without a transaction. `prefix` tells the names of its transactions from those of other scopes."""
    return {
        "database": database,
        "isolation": isolation,
        "prefix": prefix,
        "number": 0,
        "txn": None,
        "checkpoint": None,
        "memo": {},
        "busy": None,
        "spent": 0,
    }


def new_frame(
    program: str, pc: int, variables: dict[str, Any], *, prefix: str, iteration: list[int], clock: str
) -> Frame:
    """A frame at an instruction."""
    return {
        "program": program,
        "pc": pc,
        "vars": variables,
        "loops": [],
        "tries": [],
        "unwinding": [],
        "children": {},
        "bounds": None,
        "top": -1,
        "prefix": prefix,
        "iteration": iteration,
        "last": None,
        "at": clock,
    }


def add_fiber(state: State, frames: list[Frame], role: str, *, scope: str | None, parent: str | None = None) -> Fiber:
    """A new fiber of the run. `role` is main, async, iteration, block, part (of a batch), compensation or on_failure."""
    state["forked"] += 1
    fiber: Fiber = {
        "id": str(state["forked"]),
        "role": role,
        "frames": frames,
        "wait": None,
        "parent": parent,
        "scope": scope,
        "attempts": [],
    }
    state["fibers"][fiber["id"]] = fiber
    return fiber
