"""What a machine tells: one event for each step, numbered by its state.

    {seq, run_id, type, status, started_at, duration_ms, step, path, iteration, name, result | rows | error}

`type` is that of the step, or `warning`, `progress`, `compensation`, `run`. Where nobody hears them they are counted only.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from script.compiler.program import Program, StepInfo
from script.wire import ROWS, is_rows


class Events:
    """The telling side of a machine. `trace`: whether events of steps are made, for `drain`; otherwise they are only counted."""

    def __init__(self, programs: Mapping[str, Program], state: dict[str, Any], *, trace: bool) -> None:
        self.programs = programs
        self.state = state
        self.trace = trace
        self.events: list[dict[str, Any]] = []

    def info(self, frame: Mapping[str, Any], step: int) -> StepInfo:
        return self.programs[frame["program"]].steps[step]

    def path(self, frame: Mapping[str, Any], step: int) -> str:
        """The step's path in the run."""
        return str(frame["prefix"]) + self.info(frame, step).path

    def iteration(self, frame: Mapping[str, Any], loops: int | None = None) -> list[int]:
        """The positions of the loops around, outermost first; `loops`: of so many only."""
        return [*frame["iteration"], *(loop["i"] for loop in frame["loops"][:loops] if "i" in loop)]

    def key(self, frame: Mapping[str, Any], step: int) -> str:
        """What names one execution of a step in its run: path and iteration, the same in every attempt."""
        return _key(self.path(frame, step), self.iteration(frame))

    def drain(self) -> list[dict[str, Any]]:
        """The events since the last drain."""
        events, self.events = self.events, []
        return events

    def emit(
        self,
        frame: Mapping[str, Any],
        step: int,
        status: str,
        *,
        value: Any = None,
        error: Any = None,
        started: str | None = None,
        kind: str | None = None,
        loops: int | None = None,
        **more: Any,
    ) -> None:
        """Tell one step event. `kind` overrides the type (`warning`, `progress`); `loops` is how many of the open loops are around it."""
        if not self.trace:
            self.state["seq"] += 1
            return
        info = self.info(frame, step)
        event = self._event(kind or info.type, status, started)
        event |= {
            "step": info.pointer,
            "path": self.path(frame, step),
            "iteration": self.iteration(frame, loops),
            "name": info.name,
        }
        if error is not None:
            event["error"] = error
        elif is_rows(value):
            event["rows"] = {"count": value[ROWS]["count"], "ref": value[ROWS]}
        else:
            event["result"] = value
        self.events.append(event | more)

    def emit_started(self, arguments: Mapping[str, Any], rerun: Mapping[str, str] | None) -> None:
        """Tell the beginning of the run."""
        program = self.programs[self.state["root"]]
        told: dict[str, Any] = {"script": program.name, "version": program.hash, "arguments": dict(arguments)}
        told["dry_run"] = self.state["dry_run"]
        if rerun is not None:
            told |= told_rerun(rerun)
        self.emit_run("started", **told)

    def emit_run(self, status: str, *, kind: str = "run", **fields: Any) -> None:
        """Tell an event of the run itself: started, its end, or a warning."""
        self.events.append(self._event(kind, status, None) | fields)

    def _event(self, kind: str, status: str, started: str | None) -> dict[str, Any]:
        self.state["seq"] += 1
        clock = self.state["clock"]
        begun = started or clock
        duration = (
            (datetime.fromisoformat(clock) - datetime.fromisoformat(begun)).total_seconds() * 1000
            if begun != clock
            else 0.0
        )
        return {
            "seq": self.state["seq"],
            "run_id": self.state["run_id"],
            "type": kind,
            "status": status,
            "started_at": begun,
            "duration_ms": round(duration, 3),
        }


def key_of(event: Mapping[str, Any]) -> str:
    """The key of the step that an event tells of."""
    return _key(event["path"], event["iteration"])


def _key(path: str, iteration: Sequence[int]) -> str:
    return f"{path}#{'.'.join(map(str, iteration))}" if iteration else path


def told_rerun(rerun: Mapping[str, str]) -> dict[str, str]:
    """What is told of a run that repeats another one: {rerun_of, from, elements?}."""
    return {"rerun_of": rerun["of"]} | {name: value for name, value in rerun.items() if name != "of"}
