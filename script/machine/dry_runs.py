"""What a dry run does otherwise.

It reads for real, writes in transactions that are rolled back, calls nothing outside, and waits for nobody. The machine holds to the first
part by never asking for a commit or a dispatch (`check`), and tells everybody whom it asks that this is a dry run; what they do with it is
theirs (`activities/execution.py`). The rest is here:

* waits, and pauses before another try, end at once; the run's clock goes on by so much, so that `now()` is what it would be
* approvals are given, by `dry_run`
* a compensation of data is told and not run: what it would undo was never committed
"""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from script.compiler.program import Instruction
from script.machine.state import Frame

if TYPE_CHECKING:
    from script.machine.machine import Machine

APPROVER: Final = "dry_run"
_NEVER: Final = ("commit", "dispatch", "approval")


def check(machine: "Machine", kind: str) -> None:
    """Raises ValueError for an effect that no dry run may ask for: a defect of the machine."""
    if machine.state["dry_run"] and kind in _NEVER:
        raise ValueError(f"a dry run asks for a {kind}")


def pass_time(machine: "Machine", seconds: float) -> None:
    """Let the clock of the run go on, without waiting."""
    machine.state["ahead"] += seconds
    machine.state["clock"] = later(machine.state["clock"], seconds)


def later(moment: str, seconds: float) -> str:
    """So many seconds after a moment (before, if they are negative)."""
    if not seconds:
        return moment
    return (datetime.fromisoformat(moment) + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")


def waited(machine: "Machine", frame: Frame, instruction: Instruction, seconds: float) -> None:
    """A wait of a dry run."""
    pass_time(machine, seconds)
    notice = f"a dry run does not wait: its clock goes on by {seconds:g} s"
    machine.finish_step(frame, instruction, None, notice=notice)


def approved(machine: "Machine", frame: Frame, instruction: Instruction) -> None:
    """An approval of a dry run."""
    value = {"approved": True, "by": APPROVER, "at": machine.state["clock"], "comment": ""}
    machine.finish_step(frame, instruction, value, notice="nobody was asked: a dry run takes it as approved")


def skip_compensation(machine: "Machine", entry: dict[str, Any]) -> None:
    """Tell a compensation that is not run."""
    notice = "a dry run does not run it: what it would undo was not committed"
    machine.emit_run("skipped", kind="compensation", step=entry["key"], notice=notice)
