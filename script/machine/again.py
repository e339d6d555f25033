"""A run that does the failed elements of an earlier run again, and nothing else of its batches.

The state of such a run has `again` {run, failed}: the earlier run, and how many elements of each of its batches failed, by the key of
the loop. The run begins with the state before the first of these batches, and goes on from there to its end. Each batch that it comes to
goes through the elements that the ledger has for its key in the earlier run; one that has none goes through none. A chunk has as many of
them as a chunk has elements, whatever their ordinals, and they go one chunk after the other. A batch tolerates as many failures as the
whole of it did.

Batches that were under way in that state, beside the first one, begin again from their loops, in the same way.
"""

from typing import TYPE_CHECKING, Any

from script.machine.parts import running

if TYPE_CHECKING:
    from script.machine.machine import Machine


def begin(machine: "Machine", run_id: str, failed: dict[str, int]) -> None:
    """Make the state of a machine, which has nothing under way outside, that of a run which does again what failed in a run."""
    state = machine.state
    state["again"] = {"run": run_id, "failed": failed}
    for fiber, _, record in list(running(machine)):
        fiber["frames"][-1]["loops"].remove(record)
        fiber["wait"] = None
        walking = {fiber["id"], *record.get("running", ())}
        for name in [name for name, effect in state["effects"].items() if effect["fiber"] in walking]:
            del state["effects"][name]
        for name in record.get("running", ()):
            del state["fibers"][name]


def restrict(machine: "Machine", record: dict[str, Any], key: str) -> int:
    """Let a batch that begins go through what failed in the earlier run, if this run is such a one; how many elements it has."""
    again, whole = machine.state.get("again"), int(record["end"])
    if again is None:
        return whole
    failed = int(again["failed"].get(key, 0))
    record |= {"again": {"run": again["run"], "step": key}, "done": failed == 0}
    return failed
