"""The workflow that runs any script.

It is a driver and nothing else: the machine says which effects it needs, the workflow performs them with Temporal, side by side, and the
machine goes on. Pure steps run here, inside the workflow task; a step with an effect is one activity, named after its
tool, with the step's name as summary and its path as activity id, so that the Temporal UI reads like the script.

    call      an activity named after the tool          child      a child workflow (a script with its own database, or async)
    commit    commit_transaction                        chunk      run_chunk (a stretch of a loop over rows)
    rollback  rollback_transaction                      dispatch   dispatch_outbox
    restore   restore_savepoint                         partition  partition_rows (where a batch may be divided)
    sleep, timer   a timer                              approval   nothing: a signal answers it

The machine's outcomes are all that it knows, and all of them are in the history: that is why a watcher can fold the history
into the same events. So that both hear them in the same order, whatever has come up to a workflow task is taken when nothing else is
ready: signals first, after which the machine goes on; then, together, a cancellation and the outcomes in the order in which
they were asked for.
How a run stands can be asked with a query, and is shown in the Temporal UI (`details.py`): neither costs history. While a person's
decision is missing the run has a search attribute, so that all such runs can be found.
A run that grows long continues as new from the machine's state, when nothing is under way but timers and approvals.
"""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from script import wire
    from script.compiler.program import Program
    from script.machine import resuming
    from script.machine.effects import TIMERS, Done, Effect, Yielded, portions
    from script.machine.machine import Machine
    from script.machine.standing import standing
    from script.wire import Outcome, RunInput, RunOutput
    from workflows import attributes
    from workflows.attributes import SCHEDULED, WAITING
    from workflows.details import Details
    from workflows.failures import outcome_of_failure

STEP_TIMEOUT: Final = timedelta(days=1)
"""For a step that says nothing else: a dead worker is known by its missing heartbeats, not by this."""
HEARTBEAT_TIMEOUT: Final = timedelta(seconds=10)

RETRIES: Final = RetryPolicy(
    initial_interval=timedelta(milliseconds=200),
    backoff_coefficient=2.0,
    maximum_interval=timedelta(seconds=30),
    maximum_attempts=12,
    non_retryable_error_types=["PayloadsTooLarge"],
)
"""For infrastructure: a lost worker, a busy database, a mail server that does not answer. Errors of a script's own making
come as non-retryable and are not tried again."""

_TYPES: Final[dict[str, tuple[str, type]]] = {
    "commit": (wire.COMMIT_ACTIVITY, wire.EndTransaction),
    "rollback": (wire.ROLLBACK_ACTIVITY, wire.EndTransaction),
    "restore": (wire.RESTORE_ACTIVITY, wire.EndTransaction),
    "partition": (wire.PARTITION_ACTIVITY, wire.PartitionCall),
    "chunk": (wire.CHUNK_ACTIVITY, wire.ChunkCall),
    "dispatch": (wire.DISPATCH_ACTIVITY, wire.DispatchCall),
}


@workflow.defn(name=wire.WORKFLOW_TYPE)
class ScriptWorkflow:
    """Runs one script, whichever it is."""

    @workflow.init
    def __init__(self, start: RunInput) -> None:
        self._start = start
        self._programs: list[dict[str, Any]] = start.programs or []
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._begun: tuple[int, set[str]] = (0, set())
        self._starting: dict[str, bool] = {}
        self._outcomes: dict[str, Outcome] = {}
        self._signals: list[tuple[str, Any]] = []
        self._cancelling = self._cancelled = self._signalled = False
        self._running: Machine | None = None
        self._details = Details()
        self._waiting = workflow.info().typed_search_attributes.get(WAITING) is not None

    @workflow.signal(name=wire.DECIDE_SIGNAL)
    def decide(self, decision: wire.Decision) -> None:
        """A person approves or rejects."""
        self._signals.append(("decide", decision))

    @workflow.signal(name=wire.PAUSE_SIGNAL)
    def pause(self) -> None:
        """Begin nothing new until `go_on`."""
        self._signals.append(("pause", None))

    @workflow.signal(name=wire.GO_ON_SIGNAL)
    def go_on(self) -> None:
        """Go on after a pause."""
        self._signals.append(("go_on", None))

    @workflow.signal(name=wire.CONCURRENCY_SIGNAL)
    def concurrency(self, told: wire.Concurrency) -> None:
        """Run so many chunks of a batch at once from now on."""
        self._signals.append(("concurrency", told))

    @workflow.query(name=wire.STANDING_QUERY)
    def standing(self) -> dict[str, Any] | None:
        """How the run stands; None before its script is loaded."""
        return standing(self._running) if self._running is not None else None

    @workflow.run
    async def run(self, start: RunInput) -> RunOutput:
        """Run the script to its end.

        Raises ApplicationError (its type is the error's code, its details the whole error) for a failed run.
        """
        self._running = machine = await self._machine()
        done = await self._drive(machine)
        if changes := attributes.at_end(done.status, self._waiting):
            workflow.upsert_search_attributes(changes)
        self._show(machine)
        if done.error is None:
            return RunOutput(done.value, machine.state["clock"], machine.state["sagas"])
        if self._cancelled and done.error["code"] == "canceled":
            raise asyncio.CancelledError("the run was cancelled")
        raise ApplicationError(done.error["message"], done.error, type=done.error["code"], non_retryable=True)

    async def _machine(self) -> Machine:
        if not self._programs:
            call = wire.LoadCall(self._start.script, self._start.version)
            loading = asyncio.ensure_future(
                _activity(wire.LOAD_ACTIVITY, call, wire.LOAD_ACTIVITY, f"load {call.script}")
            )
            await self._unless_cancelled(loading)
            outcome = await loading
            if self._cancelling and outcome.error is not None:
                raise asyncio.CancelledError("the run was cancelled before it began")
            if outcome.error is not None:
                raise ApplicationError(
                    outcome.error["message"], outcome.error, type=outcome.error["code"], non_retryable=True
                )
            self._programs = outcome.value
        programs = {program["hash"]: Program.from_json(program) for program in self._programs}
        info = workflow.info()
        key_id = f"{info.workflow_id}:{info.first_execution_run_id[:8]}"
        clock = info.workflow_start_time.isoformat(timespec="milliseconds")
        if self._start.state is not None:
            machine = Machine(programs, self._start.state)
            if self._start.rerun is not None:
                resuming.adopt(machine.state, run_id=info.workflow_id, key_id=key_id, clock=clock)
                machine.emit_started(self._start.arguments, self._start.rerun)
            return self._quietly(machine)
        machine = Machine.start(
            programs,
            self._programs[0]["hash"],
            run_id=info.workflow_id,
            key_id=key_id,
            arguments=self._start.arguments,
            clock=clock,
            database=self._start.database,
            dry_run=self._start.dry_run,
            mocks=self._start.mocks,
            rerun=self._start.rerun,
            scheduled_at=self._start.scheduled_at or wire.scheduled_at(info.typed_search_attributes.get(SCHEDULED)),
        )
        return self._quietly(machine)

    def _quietly(self, machine: Machine) -> Machine:
        """Nobody hears its events here: they are counted only."""
        machine.trace = False
        return machine

    async def _drive(self, machine: Machine) -> Done:
        await self._begin(machine.outstanding())
        while True:
            info = workflow.info()
            if info.is_continue_as_new_suggested() and machine.prepares_to_move(info.get_current_history_length()):
                if machine.is_quiet and self._signalled and not self._has_news():
                    # The SDK may have let this run before it applies the rest of what has come up to this workflow task.
                    self._signalled = False
                    await self._undisturbed(workflow.sleep(timedelta(milliseconds=1), summary=wire.YIELD))
                    continue
                if machine.is_quiet and not self._has_news():
                    following = replace(self._start, programs=self._programs, state=machine.state, rerun=None)
                    workflow.continue_as_new(following)
                if vanished := self._give_up(machine.unwanted()):
                    machine.resume_all(vanished)
                    continue
                await self._news(machine)
                continue
            asked = machine.step()
            machine.drain()
            if isinstance(asked, Done):
                return asked
            if isinstance(asked, Yielded):
                await self._undisturbed(workflow.sleep(timedelta(milliseconds=1), summary=wire.YIELD))
                continue
            vanished = self._give_up(asked.cancel)
            self._show(machine)
            await self._begin(asked.start)
            if vanished:
                machine.resume_all(vanished)
                continue
            await self._news(machine)

    def _show(self, machine: Machine) -> None:
        """Tell the Temporal UI, and the search for what waits for a person, how the run stands."""
        told = standing(machine)
        workflow.set_current_details(self._details.text(told))
        if bool(told["approvals"]) != self._waiting and machine.state["done"] is None:
            self._waiting = not self._waiting
            change = WAITING.value_set(wire.FOR_APPROVAL) if self._waiting else WAITING.value_unset()
            workflow.upsert_search_attributes([change])

    async def _news(self, machine: Machine) -> None:
        """Wait until something has come, and give it to the machine."""
        await self._undisturbed(workflow.wait_condition(self._has_news))
        if self._signals:  # they alone: the SDK may or may not let the workflow run before it applies the others
            signals, self._signals = self._signals, []
            for kind, told in signals:
                machine.hear(kind, told)
            self._signalled = True
            return
        self._signalled = False
        outcomes, self._outcomes = self._outcomes, {}
        if self._cancelling:
            self._cancelling, self._cancelled = False, True
            machine.cancel()
        self._details.note(outcomes)
        machine.resume_all(outcomes)

    def _has_news(self) -> bool:
        return bool(self._outcomes or self._signals or self._cancelling)

    async def _unless_cancelled(self, task: asyncio.Task[Any]) -> None:
        """Wait for something; a cancellation of the run is noted, and the task is asked to end. It may still go well."""
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            self._cancelling = True
            task.cancel()

    async def _undisturbed(self, waiting: Any) -> None:
        """Wait for something; a cancellation of the run is noted, and the waiting goes on."""
        task = asyncio.ensure_future(waiting)
        while not task.done():
            try:
                await asyncio.shield(task)
            except asyncio.CancelledError:
                self._cancelling = True
        task.result()

    async def _begin(self, effects: list[Effect]) -> None:
        """Begin effects; many large ones in several workflow tasks."""
        for position, portion in enumerate(portions(effects)):
            if position:
                await self._undisturbed(workflow.sleep(timedelta(milliseconds=1), summary=wire.SPREAD))
            for effect in portion:
                if effect.kind != "approval":
                    self._tasks[effect.id] = asyncio.create_task(self._effect(effect))
                if effect.kind not in TIMERS:
                    self._begun_now().add(effect.id)

    def _begun_now(self) -> set[str]:
        """The effects that were begun in this workflow task, and may be given up before Temporal has heard of them."""
        task = workflow.info().get_current_history_length()
        if self._begun[0] != task:
            self._begun = (task, set())
        return self._begun[1]

    def _give_up(self, names: list[str]) -> dict[str, Outcome]:
        """Ask effects to end. What was begun in this very workflow task is not in the history: it has ended, all of it at once.

        (The SDK would tell the end of each in a round of its own, in an order of its own.) A child that Temporal has been asked for
        is cancelled when it has begun: the SDK would give it up unheard, with all that is to be compensated if it ends well first.
        """
        begun = self._begun_now()
        vanished = dict.fromkeys((name for name in names if name in begun), wire.GIVEN_UP)
        for name in names:
            if name in self._starting and name not in vanished:
                self._starting[name] = True
                continue
            task = self._tasks.pop(name, None) if name in vanished else self._tasks.get(name)
            if task is not None:
                task.cancel()
        begun.difference_update(vanished)
        return vanished

    async def _effect(self, effect: Effect) -> None:
        try:
            outcome = await self._perform(effect)
        except asyncio.CancelledError:
            outcome = wire.GIVEN_UP
        finally:
            wanted = self._tasks.pop(effect.id, None) is not None
        if wanted and not (outcome is wire.GIVEN_UP and effect.kind in TIMERS):
            self._outcomes[effect.id] = outcome

    async def _perform(self, effect: Effect) -> Outcome:
        if effect.kind in TIMERS:
            left = datetime.fromisoformat(effect.call["until"]) - workflow.now()
            await workflow.sleep(max(left, timedelta(milliseconds=1)), summary=effect.id)
            return Outcome(at=workflow.now().isoformat(timespec="milliseconds"))
        if effect.kind == "child":
            return await self._child(effect)
        if effect.kind == "call":
            call = wire.StepCall(**{**effect.call, "transaction": _transaction(effect.call["transaction"])})
            return await _activity(call.tool, call, effect.id, call.step)
        activity, shape = _TYPES[effect.kind]
        fields = dict(effect.call)
        if "transaction" in fields:
            fields["transaction"] = _transaction(fields["transaction"])
        return await _activity(activity, shape(**fields), effect.id, _summary(effect))

    async def _child(self, effect: Effect) -> Outcome:
        call = effect.call
        start = RunInput(
            script=call["script"],
            version=call["version"],
            arguments=call["arguments"],
            trigger="parent",
            dry_run=call["dry_run"],
            mocks=call["mocks"],
            database=call["database"],
            programs=self._subprograms(call["version"]),
            scheduled_at=call["scheduled_at"],
        )
        self._starting[effect.id] = False
        try:
            handle = await workflow.start_child_workflow(
                wire.WORKFLOW_TYPE,
                start,
                id=call["run_id"],
                result_type=RunOutput,
                static_summary=call["script"],
                static_details=f"called by `{effect.id}`",
                parent_close_policy=workflow.ParentClosePolicy.REQUEST_CANCEL,
                search_attributes=attributes.of_child(call),
            )
            if self._starting.pop(effect.id):
                handle.cancel()
            output: RunOutput = await handle
        except Exception as error:
            return outcome_of_failure(error)
        finally:
            self._starting.pop(effect.id, None)
        return Outcome(output.value, None, output.finished_at, output.sagas)

    def _subprograms(self, root: str) -> list[dict[str, Any]]:
        """The programs that a child needs, its own first."""
        known = {program["hash"]: program for program in self._programs}
        order: list[str] = [root]
        for reached in order:
            order += [called for called in (known[reached]["calls"] or {}).values() if called not in order]
        return [known[reached] for reached in order]


def _transaction(fields: dict[str, Any] | None) -> wire.TransactionRef | None:
    return wire.TransactionRef(**fields) if fields is not None else None


def _summary(effect: Effect) -> str:
    if effect.kind == "chunk":
        return f"{effect.call['path']}: rows from {effect.call['offset']}"
    return effect.kind


async def _activity(name: str, call: Any, effect_id: str, summary: str) -> Outcome:
    try:
        outcome: Outcome = await workflow.execute_activity(
            name,
            call,
            activity_id=effect_id,
            summary=summary,
            result_type=Outcome,
            start_to_close_timeout=STEP_TIMEOUT,
            heartbeat_timeout=HEARTBEAT_TIMEOUT,
            retry_policy=RETRIES,
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )
    except Exception as error:
        return outcome_of_failure(error)
    return outcome


__all__ = ["ScriptWorkflow"]
