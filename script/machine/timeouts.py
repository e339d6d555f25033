"""The time of a step: a timer beside the step, which interrupts it."""

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from script.machine import fibers, transactions
from script.machine.state import Fiber, Frame

if TYPE_CHECKING:
    from script.machine.machine import Machine

TIMEOUT: Final = "timeout"


def begin(machine: "Machine", frame: Frame, record: dict[str, Any], seconds: float) -> None:
    """Begin the timer of a try."""
    record["timer"] = transactions.ask_timer(machine, machine.key(frame, record["step"]) + "/timeout", seconds)
    record["until"] = machine.state["effects"][record["timer"]]["call"]["until"]


def again(machine: "Machine", fiber: Fiber, depth: int, frame: Frame, record: dict[str, Any]) -> None:
    """The step's timer has gone, and the step is where it was before: what is left of its time counts."""
    until, now = datetime.fromisoformat(record["until"]), datetime.fromisoformat(machine.state["clock"])
    if until > now:
        begin(machine, frame, record, (until - now).total_seconds())
    else:
        record["timer"] = None
        fibers.interrupt(machine, fiber, _time_is_over(None), depth=depth, step=record["step"])


def timed_out(machine: "Machine", pending: dict[str, Any]) -> None:
    """The time of a try is over: the step fails with `timeout`, whatever it is doing."""
    fiber = machine.fiber
    for depth, frame in enumerate(fiber["frames"]):
        for record in frame["tries"]:
            if record["timer"] == pending["id"]:
                record["timer"] = None
                error = _time_is_over(pending["call"]["seconds"])
                fibers.interrupt(machine, fiber, error, depth=depth, step=record["step"])
                return


def _time_is_over(seconds: float | None) -> dict[str, Any]:
    allowed = "was allowed" if seconds is None else f"{seconds:g} s"
    return {"code": TIMEOUT, "message": f"the step took longer than {allowed}", "retryable": True}
