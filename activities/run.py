"""The activities: thin adapters from Temporal to the effects.

One activity for each registered tool, under the tool's name, and one for all others (stand-ins); those of sessions (`authoring`);
and load_script, commit_transaction, rollback_transaction, restore_savepoint, partition_rows, run_chunk, dispatch_outbox and ask_model.
All are synchronous functions, run in the worker's threads. Cancellation is not thrown into a thread (it could hit anywhere): a chunk asks
between elements, other steps are short.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

from temporalio import activity
from temporalio.common import RawValue
from temporalio.exceptions import CancelledError

from activities import asking, authoring, chunks, dispatch, execution
from activities.execution import Resources
from activities.failures import application_error, timestamp
from activities.heartbeats import Heartbeats
from script import session_wire, wire
from script.wire import Outcome

_BEAT: Final = 1.0
"""Seconds between two heartbeats of a chunk: each is a turn of the event loop, which has to take the interpreter from the chunk."""


class Activities:
    """All activities over one set of resources."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._heartbeats = Heartbeats()

    def all(self) -> list[Callable[..., Any]]:
        """The functions to register with a worker."""
        named: dict[str, tuple[type, Callable[[Any], Any]]] = {
            wire.LOAD_ACTIVITY: (wire.LoadCall, self._load),
            wire.COMMIT_ACTIVITY: (
                wire.EndTransaction,
                lambda call: execution.end_transaction(self._resources, call, commit=True),
            ),
            wire.ROLLBACK_ACTIVITY: (
                wire.EndTransaction,
                lambda call: execution.end_transaction(self._resources, call, commit=False),
            ),
            wire.RESTORE_ACTIVITY: (
                wire.EndTransaction,
                lambda call: execution.restore_savepoint(self._resources, call),
            ),
            wire.PARTITION_ACTIVITY: (wire.PartitionCall, lambda call: chunks.partition(self._resources, call)),
            wire.CHUNK_ACTIVITY: (wire.ChunkCall, self._chunk),
            wire.ASK_ACTIVITY: (wire.StepCall, lambda call: asking.perform_ask(self._resources, call)),
            wire.DISPATCH_ACTIVITY: (wire.DispatchCall, lambda call: dispatch.dispatch_outbox(self._resources, call)),
        }
        for tool in self._resources.registry.names():
            named[tool] = (wire.StepCall, lambda call: execution.perform_call(self._resources, call))
        steps = [self._define(name, shape, work) for name, (shape, work) in named.items()]
        return [*steps, self._stand_in(), *self._of_sessions()]

    def _of_sessions(self) -> list[Callable[..., Any]]:
        """The activities of sessions: what they give is what follows."""
        named: dict[str, tuple[type, Callable[[Any, Any], Any]]] = {
            session_wire.HEAR_ACTIVITY: (session_wire.HearCall, authoring.hear_message),
            session_wire.THINK_ACTIVITY: (session_wire.ThinkCall, authoring.think),
            session_wire.ACT_ACTIVITY: (session_wire.ActCall, authoring.act),
            session_wire.END_TURN_ACTIVITY: (session_wire.EndTurnCall, authoring.end_turn),
        }
        return [self._activity(name, shape, partial(work, self._resources)) for name, (shape, work) in named.items()]

    def close(self) -> None:
        """Stop the heartbeat thread."""
        self._heartbeats.stop()

    def _define(self, name: str, shape: type, work: Callable[[Any], Any]) -> Callable[..., Any]:
        return self._activity(name, shape, partial(_outcome_of, work))

    def _activity(self, name: str, shape: type, work: Callable[[Any], Any]) -> Callable[..., Any]:
        def perform(call: Any) -> Any:
            return self._performed(work, call)

        perform.__annotations__["call"] = shape
        return activity.defn(name=name, no_thread_cancel_exception=True)(perform)

    def _stand_in(self) -> Callable[..., Outcome]:
        """The activity of a tool that was not there when the worker began: a stand-in, or none at all."""

        def perform(arguments: Sequence[RawValue]) -> Outcome:
            call = activity.payload_converter().from_payload(arguments[0].payload, wire.StepCall)
            work = partial(_outcome_of, partial(execution.perform_call, self._resources))
            found: Outcome = self._performed(work, call)
            return found

        return activity.defn(dynamic=True, no_thread_cancel_exception=True)(perform)

    def _performed(self, work: Callable[[Any], Any], call: Any) -> Any:
        try:
            with self._heartbeats.running():
                return work(call)
        except CancelledError:
            raise
        except Exception as error:
            raise application_error(error) from error

    def _load(self, call: wire.LoadCall) -> list[dict[str, Any]]:
        return [program.to_json() for program in self._resources.library.closure(call.script, call.version)]

    def _chunk(self, call: wire.ChunkCall) -> dict[str, Any]:
        last = time.monotonic()

        def heartbeat(done: int) -> None:
            nonlocal last
            if time.monotonic() - last >= _BEAT:
                last = time.monotonic()
                activity.heartbeat(done)
            if activity.is_cancelled():
                raise CancelledError("the run was cancelled")

        return chunks.run_chunk(self._resources, call, heartbeat)


def _outcome_of(work: Callable[[Any], Any], call: Any) -> Outcome:
    """What a step gives, with the time."""
    done = work(call)
    return replace(done if isinstance(done, Outcome) else Outcome(done), at=timestamp())
