"""The outcomes of a run's effects, as its Temporal history tells them: activities, timers and children, and signals."""

from typing import Any, Final

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.converter import DataConverter

from script import wire
from script.wire import GIVEN_UP, Concurrency, Decision, Outcome, RunOutput, failure
from workflows.failures import child_not_started, outcome_of_failure, timed_out

_FAILED_ACTIVITY: Final = {
    EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED: "activity_task_failed_event_attributes",
    EventType.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT: "activity_task_timed_out_event_attributes",
}
_SIGNALS: Final[dict[str, type | None]] = {
    wire.DECIDE_SIGNAL: Decision,
    wire.PAUSE_SIGNAL: None,
    wire.GO_ON_SIGNAL: None,
    wire.CONCURRENCY_SIGNAL: Concurrency,
}


class Outcomes:
    """Follows which effect a history event belongs to, within one execution."""

    def __init__(self, converter: DataConverter) -> None:
        self._converter = converter
        self._activities: dict[int, str] = {}
        self._timers: dict[str, str] = {}
        self._fired: list[str] = []

    async def add(self, event: HistoryEvent) -> tuple[str, Outcome] | None:
        """The effect that an event answers, and its outcome: activities by their id, children by their workflow id.

        Timers answer later: their time is that of the workflow task (`take_fired`).
        """
        kind = event.event_type
        if kind == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
            self._activities[event.event_id] = event.activity_task_scheduled_event_attributes.activity_id
        elif kind == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
            completed = event.activity_task_completed_event_attributes
            outcome = (await self._converter.decode(completed.result.payloads, [Outcome]))[0]
            return self._activities.pop(completed.scheduled_event_id), outcome
        elif kind in _FAILED_ACTIVITY:
            failed = getattr(event, _FAILED_ACTIVITY[kind])
            error = await self._converter.decode_failure(failed.failure)
            return self._activities.pop(failed.scheduled_event_id), outcome_of_failure(error)
        elif kind == EventType.EVENT_TYPE_ACTIVITY_TASK_CANCELED:
            canceled = event.activity_task_canceled_event_attributes
            return self._activities.pop(canceled.scheduled_event_id), GIVEN_UP
        elif kind == EventType.EVENT_TYPE_TIMER_STARTED:
            await self._timer_started(event)
        elif kind == EventType.EVENT_TYPE_TIMER_FIRED:
            name = self._timers.pop(event.timer_fired_event_attributes.timer_id)
            if name in (wire.YIELD, wire.SPREAD):
                return name, Outcome()
            self._fired.append(name)
        else:
            return await self._child(event)
        return None

    def take_fired(self) -> list[str]:
        """The timers that fired since this was asked before."""
        fired, self._fired = self._fired, []
        return fired

    async def signal(self, event: HistoryEvent) -> list[tuple[str, Any]]:
        """A signal as the machine hears it; one that is none of ours, or cannot be read, is nothing: the workflow drops it, too."""
        told = event.workflow_execution_signaled_event_attributes
        if told.signal_name not in _SIGNALS:
            return []
        shape = _SIGNALS[told.signal_name]
        if shape is None:
            return [(told.signal_name, None)]
        try:
            return [(told.signal_name, (await self._converter.decode(told.input.payloads, [shape]))[0])]
        except Exception:  # whatever a converter raises for what anybody has sent
            return []

    async def _timer_started(self, event: HistoryEvent) -> None:
        summary = (await self._converter.decode([event.user_metadata.summary], [str]))[0]
        self._timers[event.timer_started_event_attributes.timer_id] = summary

    async def _child(self, event: HistoryEvent) -> tuple[str, Outcome] | None:
        kind = event.event_type
        if kind == EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED:
            completed = event.child_workflow_execution_completed_event_attributes
            output = (await self._converter.decode(completed.result.payloads, [RunOutput]))[0]
            outcome = Outcome(output.value, None, output.finished_at, output.sagas)
            return completed.workflow_execution.workflow_id, outcome
        if kind == EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_FAILED:
            failed = event.child_workflow_execution_failed_event_attributes
            error = await self._converter.decode_failure(failed.failure)
            return failed.workflow_execution.workflow_id, outcome_of_failure(error)
        if kind == EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TERMINATED:
            ended = event.child_workflow_execution_terminated_event_attributes
            outcome = Outcome(None, failure("terminated", "the child run was terminated"))
            return ended.workflow_execution.workflow_id, outcome
        if kind == EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_FAILED:
            return event.start_child_workflow_execution_failed_event_attributes.workflow_id, child_not_started()
        if kind == EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TIMED_OUT:
            late = event.child_workflow_execution_timed_out_event_attributes
            return late.workflow_execution.workflow_id, timed_out()
        if kind == EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_CANCELED:
            cancelled = event.child_workflow_execution_canceled_event_attributes
            return cancelled.workflow_execution.workflow_id, GIVEN_UP
        return None
