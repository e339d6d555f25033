"""Watching a run: its Temporal history, folded through its own program, is the stream of its events.

A workflow reports nothing about its steps. It does not need to: the machine is a function of the run's input and of the
outcomes of its effects, and the history holds both. So the gateway runs the same machine over the history, and gets
every event, pure steps and the values that conditions saw included, with the same sequence numbers every time: live, after a
reconnect, after a restart of everything, and for a run that ended last week.

    history event                          what the fold does
    started                                a machine, from the input (or the state that continue-as-new carried)
    activity scheduled / completed ...     remembers whose outcome it is / gives it to the machine
    child initiated / completed ...        the same
    workflow task completed                the machine steps on: only now the pure steps were really run
    cancel requested                       waits: how it ends decides what still happened
    completed, failed, canceled ...        the last event
    continued as new                       goes on with the next execution's history

The history is read by long poll: no events are added to it, and a closed run is read to its end at once.
"""

from collections.abc import AsyncIterator
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client
from temporalio.converter import DataConverter

from script import wire
from script.effects import Done, Yielded
from script.machine import STATE_VERSION, Machine
from script.program import Program
from script.wire import Outcome, RunInput, RunOutput, failure
from workflows.failures import child_not_started, outcome_of_failure, timed_out

_FAILED_ACTIVITY = {
    EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED: "activity_task_failed_event_attributes",
    EventType.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT: "activity_task_timed_out_event_attributes",
}


async def watch_run(client: Client, run_id: str, after: int = 0) -> AsyncIterator[dict[str, Any]]:
    """The events of a run with sequence numbers above `after`, as they happen; ends behind the run's last one.

    Raises temporalio.service.RPCError (NOT_FOUND) for an unknown run.
    """
    description = await client.get_workflow_handle(run_id).describe()
    execution: str | None = description.raw_description.workflow_execution_info.first_run_id or description.run_id
    fold = Fold(client.data_converter, run_id)
    while execution is not None:
        handle = client.get_workflow_handle(run_id, run_id=execution)
        execution = None
        async for event in handle.fetch_history_events(wait_new_event=True):
            for told in await fold.add(event):
                if told["seq"] > after:
                    yield told
            if fold.continued is not None:
                execution, fold.continued = fold.continued, None
                break


class Fold:
    """The machine of a run, fed from its history."""

    def __init__(self, converter: DataConverter, run_id: str) -> None:
        self._converter = converter
        self._run_id = run_id
        self._machine: Machine | None = None
        self._start: tuple[RunInput, str, str] | None = None
        self._names: dict[int, str] = {}
        self._outcomes: dict[str, Outcome] = {}
        self._cancelling = False
        self.continued: str | None = None

    async def add(self, event: HistoryEvent) -> list[dict[str, Any]]:
        """Take one history event in; gives the run's events that follow from it."""
        kind = event.event_type
        if kind == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
            await self._started(event)
        elif kind == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
            self._names[event.event_id] = event.activity_task_scheduled_event_attributes.activity_id
        elif kind == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
            completed = event.activity_task_completed_event_attributes
            outcome = (await self._converter.decode(completed.result.payloads, [Outcome]))[0]
            self._answered(self._names.pop(completed.scheduled_event_id), outcome)
        elif kind in _FAILED_ACTIVITY:
            failed = getattr(event, _FAILED_ACTIVITY[kind])
            outcome = outcome_of_failure(await self._converter.decode_failure(failed.failure))
            self._answered(self._names.pop(failed.scheduled_event_id), outcome)
        elif kind == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED:
            self._cancelling = True
        elif kind == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW:
            self.continued = event.workflow_execution_continued_as_new_event_attributes.new_execution_run_id
        else:
            await self._child(event)
            await self._ended(event)
        if not self._cancelling:
            self._answer()
            if kind == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
                self._drive()
        return self._machine.drain() if self._machine is not None else []

    async def _started(self, event: HistoryEvent) -> None:
        if self._machine is not None:
            return
        attributes = event.workflow_execution_started_event_attributes
        start = (await self._converter.decode(attributes.input.payloads, [RunInput]))[0]
        clock = event.event_time.ToDatetime().isoformat(timespec="milliseconds") + "+00:00"
        self._start = (start, clock, attributes.first_execution_run_id)
        if start.programs:
            self._begin(start.programs)

    def _begin(self, compiled: list[dict[str, Any]]) -> None:
        assert self._start is not None
        start, clock, first_run = self._start
        programs = {program["hash"]: Program.from_json(program) for program in compiled}
        if start.state is not None:
            self._machine = Machine(programs, start.state)
            return
        self._machine = Machine.start(
            programs,
            compiled[0]["hash"],
            run_id=self._run_id,
            key_id=f"{self._run_id}:{first_run[:8]}",
            arguments=start.arguments,
            clock=clock,
            dry_run=start.dry_run,
            mocks=start.mocks,
        )

    def _answered(self, name: str, outcome: Outcome) -> None:
        if name == wire.LOAD_ACTIVITY and self._machine is None:
            if outcome.error is None:
                self._begin(outcome.value)
            return
        self._outcomes[name] = outcome

    async def _child(self, event: HistoryEvent) -> None:
        kind = event.event_type
        if kind == EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED:
            completed = event.child_workflow_execution_completed_event_attributes
            output = (await self._converter.decode(completed.result.payloads, [RunOutput]))[0]
            self._outcomes[completed.workflow_execution.workflow_id] = Outcome(output.value, None, output.finished_at)
        elif kind == EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_FAILED:
            failed = event.child_workflow_execution_failed_event_attributes
            error = await self._converter.decode_failure(failed.failure)
            self._outcomes[failed.workflow_execution.workflow_id] = outcome_of_failure(error)
        elif kind == EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TERMINATED:
            ended = event.child_workflow_execution_terminated_event_attributes
            outcome = Outcome(None, failure("terminated", "the child run was terminated"))
            self._outcomes[ended.workflow_execution.workflow_id] = outcome
        elif kind == EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_FAILED:
            self._outcomes[event.start_child_workflow_execution_failed_event_attributes.workflow_id] = (
                child_not_started()
            )
        elif kind == EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TIMED_OUT:
            late = event.child_workflow_execution_timed_out_event_attributes
            self._outcomes[late.workflow_execution.workflow_id] = timed_out()
        elif kind == EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_CANCELED:
            cancelled = event.child_workflow_execution_canceled_event_attributes
            outcome = Outcome(None, failure("canceled", "the child run was canceled"))
            self._outcomes[cancelled.workflow_execution.workflow_id] = outcome

    def _drive(self) -> None:
        """What the workflow ran in a workflow task: pure steps, up to an effect without an outcome yet."""
        machine = self._machine
        while machine is not None:
            asked = machine.step()
            if isinstance(asked, Done):
                return
            if isinstance(asked, Yielded):
                continue
            name = asked.call["run_id"] if asked.kind == "child" else asked.id
            outcome = Outcome() if asked.kind == "sleep" else self._outcomes.pop(name, None)
            if outcome is None:
                return
            machine.resume(asked.id, outcome)

    def _answer(self) -> None:
        """An outcome that the machine waits for: the step's result is told at once, what follows from it when it is run."""
        machine = self._machine
        if machine is None or machine.state["pending"] is None:
            return
        pending = machine.state["pending"]
        name = pending["call"]["run_id"] if pending["kind"] == "child" else pending["id"]
        if name in self._outcomes:
            machine.resume(pending["id"], self._outcomes.pop(name))

    async def _ended(self, event: HistoryEvent) -> None:
        kind = event.event_type
        if kind == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
            self._drive()
            completed = event.workflow_execution_completed_event_attributes
            output = (await self._converter.decode(completed.result.payloads, [RunOutput]))[0]
            self._close("completed", output.value, None)
        elif kind == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
            self._drive()
            error = await self._converter.decode_failure(event.workflow_execution_failed_event_attributes.failure)
            self._close("failed", None, outcome_of_failure(error).error)
        elif kind == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED:
            self._answer()
            if self._machine is not None:
                self._machine.cancel()
            self._drive()
            self._close("canceled", None, failure("canceled", "the run was canceled"))
        elif kind == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED:
            reason = event.workflow_execution_terminated_event_attributes.reason
            self._close("failed", None, failure("terminated", f"the run was terminated: {reason or 'no reason given'}"))
        elif kind == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT:
            self._close("failed", None, failure("timeout", "the run was not finished in time"))

    def _close(self, status: str, value: Any, error: dict[str, Any] | None) -> None:
        """The end, where the machine has not told it by itself: a run that ended before its script was loaded, or from outside."""
        if self._machine is None and self._start is not None:
            self._machine = _stub(self._run_id, self._start[1])
        if self._machine is not None and self._machine.state["done"] is None:
            self._machine.state["pending"] = None
            self._machine.finish(status, value=value, error=error)


def _stub(run_id: str, clock: str) -> Machine:
    """A machine without a program, for a run that failed before it had one."""
    state = {
        "v": STATE_VERSION,
        "run_id": run_id,
        "clock": clock,
        "seq": 0,
        "frames": [],
        "pending": None,
        "done": None,
    }
    return Machine({}, state | {"checkpoint": None, "memo": {}})
