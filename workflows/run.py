"""The workflow that runs any script.

It is a driver and nothing else: the machine says which effect it needs, the workflow performs it with Temporal, and the
machine goes on. Pure steps run here, inside the workflow task; a step with an effect is one activity, named after its
tool, with the step's name as summary and its path as activity id, so that the Temporal UI reads like the script.

    call      an activity named after the tool          child      a child workflow (a script with its own database)
    commit    commit_transaction                        chunk      run_chunk (a stretch of a loop over rows)
    rollback  rollback_transaction                      dispatch   dispatch_outbox
    sleep     a timer

The machine's outcomes are all that it knows, and all of them are in the history: that is why a watcher can fold the history
into the same events. A run that grows long continues as new from the machine's state. A cancelled run rolls its open
transaction back before it ends.
"""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from temporalio import workflow
from temporalio.common import RetryPolicy, SearchAttributeKey, SearchAttributePair, TypedSearchAttributes
from temporalio.exceptions import ApplicationError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from script import wire
    from script.effects import Done, Effect, Yielded
    from script.machine import Machine
    from script.program import Program
    from script.wire import Outcome, RunInput, RunOutput
    from workflows.failures import outcome_of_failure

STEP_TIMEOUT: Final = timedelta(minutes=10)
HEARTBEAT_TIMEOUT: Final = timedelta(seconds=10)
MAX_STATE_BYTES: Final = 1 << 20
"""A larger state is not carried into a new execution: payloads are limited to 2 MiB."""

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
    "chunk": (wire.CHUNK_ACTIVITY, wire.ChunkCall),
    "dispatch": (wire.DISPATCH_ACTIVITY, wire.DispatchCall),
}

OUTCOME: Final = SearchAttributeKey.for_keyword("SopOutcome")


@workflow.defn(name=wire.WORKFLOW_TYPE)
class ScriptWorkflow:
    """Runs one script, whichever it is."""

    @workflow.init
    def __init__(self, start: RunInput) -> None:
        self._start = start
        self._programs: list[dict[str, Any]] = start.programs or []

    @workflow.run
    async def run(self, start: RunInput) -> RunOutput:
        """Run the script to its end.

        Raises ApplicationError (its type is the error's code, its details the whole error) for a failed run.
        """
        machine = await self._machine()
        try:
            done = await self._drive(machine)
        except asyncio.CancelledError:
            await _uncancellable(self._cancel(machine))
            raise
        workflow.upsert_search_attributes([OUTCOME.value_set(done.status)])
        if done.error is not None:
            raise ApplicationError(done.error["message"], done.error, type=done.error["code"], non_retryable=True)
        return RunOutput(done.value, machine.state["clock"])

    async def _machine(self) -> Machine:
        if not self._programs:
            call = wire.LoadCall(self._start.script, self._start.version)
            outcome = await self._activity(wire.LOAD_ACTIVITY, call, wire.LOAD_ACTIVITY, f"load {call.script}")
            if outcome.error is not None:
                raise ApplicationError(
                    outcome.error["message"], outcome.error, type=outcome.error["code"], non_retryable=True
                )
            self._programs = outcome.value
        programs = {program["hash"]: Program.from_json(program) for program in self._programs}
        if self._start.state is not None:
            return Machine(programs, self._start.state)
        info = workflow.info()
        return Machine.start(
            programs,
            self._programs[0]["hash"],
            run_id=info.workflow_id,
            key_id=f"{info.workflow_id}:{info.first_execution_run_id[:8]}",
            arguments=self._start.arguments,
            clock=info.workflow_start_time.isoformat(timespec="milliseconds"),
            dry_run=self._start.dry_run,
            mocks=self._start.mocks,
        )

    async def _drive(self, machine: Machine) -> Done:
        while True:
            machine.drain()
            asked = machine.step()
            if isinstance(asked, Done):
                return asked
            if isinstance(asked, Yielded):
                await workflow.sleep(timedelta(milliseconds=1), summary="yield")
                continue
            if workflow.cancellation_reason() is not None:
                raise asyncio.CancelledError("the run was cancelled")
            machine.resume(asked.id, await self._perform(machine, asked))
            if workflow.cancellation_reason() is not None and machine.state["done"] is None:
                raise asyncio.CancelledError("the run was cancelled")
            if workflow.info().is_continue_as_new_suggested():
                self._continue_as_new(machine)

    def _continue_as_new(self, machine: Machine) -> None:
        if (
            machine.state["pending"] is None
            and machine.state["done"] is None
            and wire.wire_size(machine.state) <= MAX_STATE_BYTES
        ):
            workflow.continue_as_new(replace(self._start, programs=self._programs, state=machine.state))

    async def _cancel(self, machine: Machine) -> None:
        """What has to be done before the run may end: what a chunk committed gets out, an open transaction is rolled back."""
        pending = machine.state["pending"]
        if pending is not None and pending["kind"] == "dispatch":
            await self._perform(machine, Effect(pending["id"], pending["kind"], pending["call"]))
        machine.cancel()
        while isinstance(asked := machine.step(), Effect):
            machine.resume(asked.id, await self._perform(machine, asked))
        workflow.upsert_search_attributes([OUTCOME.value_set("canceled")])

    async def _perform(self, machine: Machine, effect: Effect) -> Outcome:
        if effect.kind == "sleep":
            await workflow.sleep(timedelta(seconds=effect.call["seconds"]), summary=effect.id)
            return Outcome()
        if effect.kind == "child":
            return await self._child(effect)
        if effect.kind == "call":
            call = wire.StepCall(**{**effect.call, "transaction": _transaction(effect.call["transaction"])})
            return await self._activity(call.tool, call, effect.id, call.step)
        activity, shape = _TYPES[effect.kind]
        fields = dict(effect.call)
        if "transaction" in fields:
            fields["transaction"] = _transaction(fields["transaction"])
        return await self._activity(activity, shape(**fields), effect.id, _summary(effect))

    async def _activity(self, name: str, call: Any, effect_id: str, summary: str) -> Outcome:
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
            return _outcome_or_cancel(error)
        return outcome

    async def _child(self, effect: Effect) -> Outcome:
        call = effect.call
        start = RunInput(
            script=call["script"],
            version=call["version"],
            arguments=call["arguments"],
            trigger="parent",
            dry_run=call["dry_run"],
            mocks=call["mocks"],
            programs=self._subprograms(call["version"]),
        )
        try:
            output: RunOutput = await workflow.execute_child_workflow(
                wire.WORKFLOW_TYPE,
                start,
                id=call["run_id"],
                result_type=RunOutput,
                static_summary=call["script"],
                parent_close_policy=workflow.ParentClosePolicy.REQUEST_CANCEL,
                search_attributes=self._attributes(call),
            )
        except Exception as error:
            return _outcome_or_cancel(error)
        return Outcome(output.value, None, output.finished_at)

    def _attributes(self, call: dict[str, Any]) -> TypedSearchAttributes:
        program = next(program for program in self._programs if program["hash"] == call["version"])
        values = (call["script"], call["version"][:12], program["database"] or "", "parent")
        names = wire.SEARCH_ATTRIBUTES
        return TypedSearchAttributes(
            [
                SearchAttributePair(SearchAttributeKey.for_keyword(name), value)
                for name, value in zip(names, values, strict=False)
                if value
            ]
        )

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


def _outcome_or_cancel(error: Exception) -> Outcome:
    """A failed effect is an outcome; a cancelled one cancels the run."""
    if is_cancelled_exception(error) and workflow.cancellation_reason() is not None:
        raise asyncio.CancelledError("the run was cancelled") from error
    return outcome_of_failure(error)


async def _uncancellable(work: Any) -> None:
    """Finish `work` although the workflow is being cancelled, however often."""
    task = asyncio.ensure_future(work)
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise
    task.result()


__all__ = ["ScriptWorkflow"]
