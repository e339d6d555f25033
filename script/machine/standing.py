"""How a run stands, told to people: where it is, what it waits for, whether it is paused.

    {paused, ending, steps: [{step, name, type, tool?}], timers: [{id, step, until}], approvals: [{id, step, by, prompt}],
     children: [{step, run_id}], batches: [{step, concurrency, processed, failed, total, rate, eta_seconds}], more}

`steps` are those under way, and those that would go on if the run were not paused; `step` is a key: path and iteration. Each list has
at most `LIMIT` entries; `more` counts what is left out. `ending` is the phase of the run's end, once it ends.
"""

from typing import Any, Final

from script.machine.machine import Machine
from script.machine.parts import running
from script.machine.progress import progress
from script.machine.state import Fiber

LIMIT: Final = 100


def standing(machine: Machine) -> dict[str, Any]:
    """How the run of a machine stands."""
    state = machine.state
    lists: dict[str, list[dict[str, Any]]] = {"steps": [], "timers": [], "approvals": [], "children": [], "batches": []}
    for fiber in state["fibers"].values():
        told = _step(machine, fiber)
        if told is not None:
            lists["steps"].append(told)
    for name, effect in state["effects"].items():
        key, call = effect["key"], effect["call"]
        if effect["kind"] == "approval":
            lists["approvals"].append({"id": name, "step": key, "by": call["by"], "prompt": call["prompt"]})
        elif effect["kind"] in ("sleep", "timer"):
            lists["timers"].append({"id": name, "step": key, "until": call["until"]})
        elif effect["kind"] == "child":
            lists["children"].append({"step": key, "run_id": call["run_id"]})
    for _, step, record in running(machine):
        lists["batches"].append({"step": step, "concurrency": record["concurrency"], **progress(record)})
    return {
        "paused": state["paused"],
        "ending": state["ending"]["phase"] if state["ending"] is not None and state["done"] is None else None,
        **{name: found[:LIMIT] for name, found in lists.items()},
        "more": sum(max(0, len(found) - LIMIT) for found in lists.values()),
    }


def _step(machine: Machine, fiber: Fiber) -> dict[str, Any] | None:
    """The step that a fiber is at; None for one that has ended, or only waits for others."""
    wait = fiber["wait"] or {}
    if not fiber["frames"] or "ended" in wait or "fibers" in wait or "any" in wait:
        return None
    frame = fiber["frames"][-1]
    code = machine.programs[frame["program"]].code[frame["pc"]]
    if code["step"] < 0:
        return None
    info = machine.info(frame, code["step"])
    told = {"step": machine.key(frame, code["step"]), "name": info.name, "type": info.type}
    return {**told, "tool": code["tool"]} if code["op"] == "call" else told
