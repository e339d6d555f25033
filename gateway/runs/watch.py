"""Watching a run: its Temporal history, folded through its own program, is the stream of its events.

A workflow reports nothing about its steps. It does not need to: the machine is a function of the run's input and of the
outcomes of its effects, and the history holds both. So the gateway runs the same machine over the history, and gets
every event, pure steps and the values that conditions saw included, with the same sequence numbers every time: live, after a
reconnect, after a restart of everything, and for a run that ended last week.

    history event                          what the fold does
    started                                a machine, from the input (or the state that continue-as-new carried)
    activity, timer, child                 remembers whose outcome it is, and the outcome
    signal, cancel requested               remembers it
    workflow task started                  whatever has come before is heard in this task
    workflow task completed                gives it to the machine, in the order of the workflow, and lets it step on
    completed, failed, canceled ...        the last event
    continued as new                       goes on with the next execution's history

One thing is told before its workflow task: the result of the only effect that is under way, if it went well. (If it failed, a
cancellation that comes up to the same task is heard before, and the failure is not heard at all.)
The history is read by long poll: no events are added to it, and a closed run is read to its end at once.
"""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client
from temporalio.common import SearchAttributeKey
from temporalio.converter import DataConverter, decode_typed_search_attributes
from temporalio.service import RPCError, RPCStatusCode

from gateway.runs.outcomes import Outcomes
from script import wire
from script.compiler.program import Program
from script.machine import resuming
from script.machine.effects import TIMERS, Effect, Waiting, Yielded, portions
from script.machine.machine import Machine
from script.machine.state import new_state
from script.wire import GIVEN_UP, Outcome, RunInput, RunOutput, failure
from workflows.failures import outcome_of_failure

SCHEDULED: Final = SearchAttributeKey.for_datetime(wire.SCHEDULED_FOR)


async def watch_run(
    client: Client, run_id: str, after: int = 0, *, wait: bool = True
) -> AsyncGenerator[dict[str, Any], None]:
    """The events of a run with sequence numbers above `after`, as they happen; ends behind the run's last one, without `wait` behind what
    there is.

    Raises temporalio.service.RPCError (NOT_FOUND) for an unknown run.
    """
    first = await _execution(client, run_id, after)
    fold = Fold(client.data_converter, run_id)
    async for told in fold_run(client, fold, run_id, first, wait=wait):
        for event in told:
            if event["seq"] > after:
                yield event


async def fold_run(
    client: Client, fold: "Fold", run_id: str, first: str, *, wait: bool
) -> AsyncIterator[list[dict[str, Any]]]:
    """Fold the histories of a run's executions, from the `first` on; gives what each event tells. `wait`: to the run's end."""
    execution: str | None = first
    while execution is not None:
        handle = client.get_workflow_handle(run_id, run_id=execution)
        execution = None
        async for event in handle.fetch_history_events(wait_new_event=wait):
            yield await fold.add(event)
            if fold.continued is not None:
                execution, fold.continued = fold.continued, None
                break


async def _execution(client: Client, run_id: str, after: int) -> str:
    """The execution to begin with: the last one that began before the event behind `after`, or the oldest that is still kept."""
    description = await client.get_workflow_handle(run_id).describe()
    first = description.raw_description.workflow_execution_info.first_run_id or description.run_id
    if not after:
        with contextlib.suppress(RPCError):
            await _beginning(client, run_id, first)
            return first
    execution = description.run_id
    begun = await _beginning(client, run_id, execution)
    while (state := (await _input(client, begun)).state) is not None and state["seq"] > after:
        earlier = begun.workflow_execution_started_event_attributes.continued_execution_run_id
        try:
            begun = await _beginning(client, run_id, earlier)
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:
                raise
            break  # it ended longer ago than Temporal keeps it
        execution = earlier
    return execution


async def _input(client: Client, begun: HistoryEvent) -> RunInput:
    payloads = begun.workflow_execution_started_event_attributes.input.payloads
    start: RunInput = (await client.data_converter.decode(payloads, [RunInput]))[0]
    return start


async def _beginning(client: Client, run_id: str, execution: str) -> HistoryEvent:
    """The first event of an execution. Raises RPCError (NOT_FOUND)."""
    handle = client.get_workflow_handle(run_id, run_id=execution)
    async for event in handle.fetch_history_events(page_size=1):
        return event
    raise ValueError(f"the run {run_id!r} has an execution without events: {execution}")


@dataclass
class Batch:
    """What one workflow task hears."""

    signals: list[tuple[str, Any]] = field(default_factory=list)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    cancelled: bool = False
    yields: int = 0


@dataclass(frozen=True)
class Task:
    """The workflow task that was started last: the history's length, the time, and whether Temporal suggested to continue as new."""

    events: int = 0
    moment: str = ""
    suggested: bool = False


class Fold:
    """The machine of a run, fed from its history."""

    def __init__(self, converter: DataConverter, run_id: str, kind: type[Machine] = Machine) -> None:
        self._kind = kind
        self._converter = converter
        self._run_id = run_id
        self._outcomes = Outcomes(converter)
        self._machine: Machine | None = None
        self._start: tuple[RunInput, str, str] | None = None
        self._scheduled: str | None = None
        self._coming = Batch()
        self._task = Task()
        self._pausing = 0
        self._yielding = False
        self._begun: set[str] = set()
        self._spread: tuple[list[Effect], dict[str, Outcome]] = ([], {})
        self._early = False
        self._fresh = True  # an execution steps on before it hears anything
        self.continued: str | None = None

    @property
    def machine(self) -> Machine | None:
        """The machine, as far as the history was read."""
        return self._machine

    async def add(self, event: HistoryEvent) -> list[dict[str, Any]]:
        """Take one history event in; gives the run's events that follow from it."""
        kind = event.event_type
        if kind == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
            await self._started(event)
        elif kind == EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED:
            self._task = Task(
                event.event_id, _moment(event), event.workflow_task_started_event_attributes.suggest_continue_as_new
            )
        elif kind == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
            self._coming.outcomes |= {name: Outcome(at=self._task.moment) for name in self._outcomes.take_fired()}
            self._heard()
        elif kind == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED:
            self._coming.cancelled = True
        elif kind == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
            self._coming.signals += await self._outcomes.signal(event)
        elif kind == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW:
            self.continued = event.workflow_execution_continued_as_new_event_attributes.new_execution_run_id
            self._outcomes, self._coming, self._task = Outcomes(self._converter), Batch(), Task()
            self._pausing, self._yielding, self._spread, self._fresh = 0, False, ([], {}), True
        elif (answer := await self._outcomes.add(event)) is not None:
            self._answered(*answer)
        else:
            await self._ended(event)
        return self._machine.drain() if self._machine is not None else []

    async def _started(self, event: HistoryEvent) -> None:
        if self._machine is not None:
            return
        attributes = event.workflow_execution_started_event_attributes
        start = (await self._converter.decode(attributes.input.payloads, [RunInput]))[0]
        self._start = (start, _moment(event), attributes.first_execution_run_id)
        attribute = decode_typed_search_attributes(attributes.search_attributes).get(SCHEDULED)
        self._scheduled = start.scheduled_at or wire.scheduled_at(attribute)
        if start.programs:
            self._begin(start.programs)

    def _begin(self, compiled: list[dict[str, Any]]) -> None:
        assert self._start is not None
        start, clock, first_run = self._start
        programs = {program["hash"]: Program.from_json(program) for program in compiled}
        key_id = f"{self._run_id}:{first_run[:8]}"
        if start.state is not None:
            self._machine = self._kind(programs, start.state)
            if start.rerun is not None:
                resuming.adopt(start.state, run_id=self._run_id, key_id=key_id, clock=clock)
                self._machine.emit_started(start.arguments, start.rerun)
            return
        self._machine = self._kind.start(
            programs,
            compiled[0]["hash"],
            run_id=self._run_id,
            key_id=key_id,
            arguments=start.arguments,
            clock=clock,
            dry_run=start.dry_run,
            mocks=start.mocks,
            database=start.database,
            rerun=start.rerun,
            scheduled_at=self._scheduled,
        )

    def _answered(self, name: str, outcome: Outcome) -> None:
        if name == wire.LOAD_ACTIVITY and self._machine is None:
            if outcome.error is None:
                self._begin(outcome.value)
            return
        if name in (wire.YIELD, wire.SPREAD):
            self._coming.yields += 1
            return
        known = self._effect_of(name)
        machine = self._machine
        effects = machine.state["effects"] if machine is not None else {}
        alone = list(effects) == [known] and outcome.error is None and not self._pausing
        before = self._coming.signals or self._coming.cancelled or (machine is not None and machine.state["paused"])
        if machine is not None and alone and not before and not self._is_of_part(known):
            machine.resume(known, outcome)
            self._early = True
        else:
            self._coming.outcomes[known] = outcome

    def _is_of_part(self, name: str) -> bool:
        """Whether a part of a batch waits for an effect: a signal that comes up to the same task may begin more parts before."""
        assert self._machine is not None
        state = self._machine.state
        return bool(state["fibers"][state["effects"][name]["fiber"]]["role"] == "part")

    def _effect_of(self, name: str) -> str:
        """A child is known by its workflow id, everything else by the effect's."""
        if self._machine is not None:
            for found in self._machine.state["effects"].values():
                if found["kind"] == "child" and found["call"]["run_id"] == name:
                    return str(found["id"])
        return name

    def _heard(self) -> None:
        """What the workflow did in a workflow task: it took what had come, and ran pure steps up to effects without an outcome."""
        machine, batch, self._coming = self._machine, self._coming, Batch()
        self._begun, early, self._early = set(), self._early, False
        if machine is None:
            self._coming = batch
            return
        waited = bool(self._pausing) and (batch.cancelled or bool(batch.outcomes))
        if self._pausing:
            self._pausing -= batch.yields
            if not self._pausing:
                self._end_of_pause(machine)
            if self._pausing:
                self._coming = replace(batch, yields=0)
                return
        elif self._fresh and not self._moves(machine):
            self._drive(machine)
        fresh, self._fresh = self._fresh, False
        if fresh and self._pauses():
            self._coming = batch
            return
        if batch.signals:
            for kind, told in batch.signals:
                machine.hear(kind, told)
            moving = self._moves(machine)
            if not (moving or early):  # where an outcome was heard early, the workflow has none yet, and stands still
                self._drive(machine)
            if moving and machine.is_quiet and not waited:
                self._pausing = 1  # the workflow waits for what else has come, before it continues as new
            if self._pauses():
                self._coming = replace(batch, signals=[], yields=0)
                return
        if batch.cancelled:
            machine.cancel()
        machine.resume_all(batch.outcomes)
        if not self._moves(machine):
            self._drive(machine)

    def _moves(self, machine: Machine) -> bool:
        """Whether the workflow begins nothing more, and continues as new when it is quiet."""
        if not self._task.suggested:
            return False
        while machine.prepares_to_move(self._task.events):
            vanished = self._vanished(machine.unwanted())
            if not vanished:
                return True
            machine.resume_all(vanished)
        return False

    def _pauses(self) -> bool:
        return self._pausing > 0

    def _drive(self, machine: Machine) -> None:
        """Step on, and count the timers of its own that the workflow waits for before it hears anything again.

        What is begun and given up in one workflow task is not in the history: it is heard at once that it was given up.
        """
        while True:
            asked = machine.step()
            self._yielding = isinstance(asked, Yielded)
            self._pausing = int(self._yielding)
            if not isinstance(asked, Waiting):
                return
            vanished = self._vanished(asked.cancel)
            *earlier, last = portions(asked.start)
            if earlier:
                self._pausing, self._spread = len(earlier), (last, vanished)
                return
            self._note_begun(last)
            if not vanished:
                return
            machine.resume_all(vanished)

    def _end_of_pause(self, machine: Machine) -> None:
        """The workflow's own timers have fired, and it goes on."""
        (last, vanished), self._spread = self._spread, ([], {})
        self._note_begun(last)
        machine.resume_all(vanished)
        if (self._yielding or vanished) and not self._moves(machine):
            self._drive(machine)

    def _note_begun(self, effects: list[Effect]) -> None:
        self._begun |= {effect.id for effect in effects if effect.kind not in TIMERS}

    def _vanished(self, names: list[str]) -> dict[str, Outcome]:
        """Those of what is given up that were begun in this workflow task, with their outcome."""
        vanished = self._begun.intersection(names)
        self._begun -= vanished
        return dict.fromkeys(vanished, GIVEN_UP)

    async def _ended(self, event: HistoryEvent) -> None:
        kind = event.event_type
        if kind == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
            completed = event.workflow_execution_completed_event_attributes
            output = (await self._converter.decode(completed.result.payloads, [RunOutput]))[0]
            self._close("completed", output.value, None)
        elif kind == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
            error = await self._converter.decode_failure(event.workflow_execution_failed_event_attributes.failure)
            self._close("failed", None, outcome_of_failure(error).error)
        elif kind == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED:
            self._close("canceled", None, failure("canceled", "the run was canceled"))
        elif kind == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED:
            reason = event.workflow_execution_terminated_event_attributes.reason
            self._close("failed", None, failure("terminated", f"the run was terminated: {reason or 'no reason given'}"))
        elif kind == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT:
            self._close("failed", None, failure("timeout", "the run was not finished in time"))

    def _close(self, status: str, value: Any, error: dict[str, Any] | None) -> None:
        """The end, where the machine has not told it by itself: a run that ended before its script was loaded, or from outside."""
        if self._machine is None and self._start is not None:
            state = new_state(
                run_id=self._run_id, key_id="", root="", database=None, isolation="serializable", clock=self._start[1]
            )
            self._machine = self._kind({}, state)
        if self._machine is not None and self._machine.state["done"] is None:
            self._machine.finish(status, value=value, error=error)


def _moment(event: HistoryEvent) -> str:
    return event.event_time.ToDatetime().isoformat(timespec="milliseconds") + "+00:00"
