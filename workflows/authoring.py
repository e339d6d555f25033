"""The workflow of a session: one message after the other, and what follows on each until the turn is over.

It decides nothing: activities say what is next (`script.session_wire.Next`), and what a session is, and all that was said, is in the system
database. What it has is time: a turn that takes too long is ended, and so is one that the person stops. Whatever is under way then is
given up at once; nobody waits for a thread that hangs in a model's request, and what such an activity still wants to say is refused,
because the turn is over.

An activity that fails for good ends its turn as failed, and the session goes on with the next message. A session that has grown long
continues as new between two turns, with the messages that it has not heard yet.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, TypeVar

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from script import session_wire as wire
    from script import turns
    from script.session_wire import Next, SessionInput, SessionMessage
    from workflows.details import plain
    from workflows.failures import outcome_of_failure

HEARTBEAT_TIMEOUT: Final = timedelta(seconds=10)
STEP_TIMEOUT: Final = timedelta(hours=1)
"""For an activity of a turn; the turn's own time is shorter by default."""
TURN_SECONDS: Final = 600.0
LONG: Final = 4_000
"""Events after which a session continues as new, where Temporal does not suggest it before."""
MOST_CARRIED: Final = 30
"""Messages that are carried into a new execution: each may have 32 KiB, and Temporal's payloads have 2 MiB at most."""

_RETRIES: Final = RetryPolicy(
    initial_interval=timedelta(milliseconds=500),
    backoff_coefficient=2.0,
    maximum_interval=timedelta(seconds=10),
    maximum_attempts=5,
    non_retryable_error_types=["PayloadsTooLarge"],
)
"""For what may pass: a lost worker, a model that does not answer now."""
_HEARING: Final = RetryPolicy(
    initial_interval=timedelta(milliseconds=500), maximum_interval=timedelta(seconds=30), maximum_attempts=30
)
"""For hearing a message: a quarter of an hour. One that cannot be heard by then must not keep the others from being heard."""
_ALWAYS: Final = RetryPolicy(initial_interval=timedelta(milliseconds=500), maximum_interval=timedelta(seconds=30))
"""For what must be written down: that a turn has ended."""

T = TypeVar("T")


@dataclass
class _Turn:
    """What the Temporal UI shows of a turn."""

    number: int = 0
    told: Mapping[str, Any] = field(default_factory=dict)


@workflow.defn(name=wire.SESSION_WORKFLOW)
class SessionWorkflow:
    """Takes the messages of one session."""

    @workflow.init
    def __init__(self, start: SessionInput) -> None:
        self._session = start.session
        self._inbox = list(start.inbox)
        self._closed = self._busy = self._stopping = False
        self._turn = _Turn()

    @workflow.signal(name=wire.MESSAGE_SIGNAL)
    def message(self, message: SessionMessage) -> None:
        """The person says or decides something."""
        self._inbox.append(message)

    @workflow.signal(name=wire.STOP_SIGNAL)
    def stop(self) -> None:
        """End the turn that is under way."""
        self._stopping = self._busy

    @workflow.signal(name=wire.CLOSE_SIGNAL)
    def close(self) -> None:
        """End the session, and the turn that is under way."""
        self._closed = True
        self._stopping = self._busy

    @workflow.run
    async def run(self, start: SessionInput) -> None:
        """Take messages until the session is closed."""
        while not self._closed:
            self._show("")
            await workflow.wait_condition(lambda: bool(self._inbox) or self._closed)
            if self._is_long() and not self._closed:
                workflow.continue_as_new(SessionInput(self._session, self._inbox))
            if self._inbox and not self._closed:
                self._busy, self._stopping = True, False
                await self._take(self._inbox.pop(0))
                self._busy = False

    def _is_long(self) -> bool:
        """Whether to go on in a new execution: not while so many messages wait that they could not be carried over."""
        info = workflow.info()
        long = info.is_continue_as_new_suggested() or info.get_current_history_length() > LONG
        return long and len(self._inbox) <= MOST_CARRIED

    async def _take(self, message: SessionMessage) -> None:
        """One turn, from the message to its end."""
        self._show("hears a message")
        try:
            call = wire.HearCall(self._session, message)
            heard: Next = await self._activity(wire.HEAR_ACTIVITY, call, Next, "a message", retries=_HEARING)
        except Exception as error:
            if is_cancelled_exception(error):
                raise
            workflow.logger.warning("a message could not be heard")  # the session is gone: there is nobody to tell
            return
        self._turn = _Turn(heard.turn, told=heard.told)
        rounds = asyncio.create_task(self._rounds(heard, message.access))
        seconds = timedelta(seconds=heard.seconds or TURN_SECONDS)
        try:
            await workflow.wait_condition(
                lambda: self._stopping or rounds.done(), timeout=seconds, timeout_summary="the time of a turn"
            )
        except TimeoutError:
            text = f"the turn has taken {seconds.total_seconds():g} s, and may take no longer"
            why = {"code": "limit_seconds", "message": text, "retryable": False}
            ended = wire.EndTurnCall(self._session, heard.turn, "limited", why)
        else:
            ended = self._ended(rounds, heard.turn)
        if not rounds.done():
            rounds.cancel()
            await asyncio.gather(rounds, return_exceptions=True)
        self._show("ends")
        told = await self._activity(wire.END_TURN_ACTIVITY, ended, dict[str, Any], ended.status, retries=_ALWAYS)
        self._turn = _Turn(heard.turn, told=told)

    def _ended(self, rounds: "asyncio.Task[Next]", turn: int) -> wire.EndTurnCall:
        """How a turn has ended."""
        if not rounds.done():
            return wire.EndTurnCall(self._session, turn, "canceled")
        failed = rounds.exception()
        if failed is not None:
            return wire.EndTurnCall(self._session, turn, "failed", outcome_of_failure(failed).error)
        found = rounds.result()
        status = "waiting" if found.kind == "wait" else found.status
        return wire.EndTurnCall(self._session, turn, status, found.error)

    async def _rounds(self, heard: Next, access: dict[str, Any]) -> Next:
        """What follows on a message, until nothing does."""
        following = turns.turn(self._session, heard, access)
        try:
            asked = next(following)
            while True:
                self._show(f"calls {plain(asked.summary)}" if asked.activity == wire.ACT_ACTIVITY else asked.summary)
                asked = following.send(await self._activity(asked.activity, asked.call, Next, asked.summary))
        except StopIteration as end:
            found: Next = end.value
            return found

    async def _activity(
        self, name: str, call: Any, result: type[T], summary: str, *, retries: RetryPolicy = _RETRIES
    ) -> T:
        done: T = await workflow.execute_activity(
            name,
            call,
            summary=summary[:200],
            result_type=result,
            start_to_close_timeout=STEP_TIMEOUT,
            heartbeat_timeout=HEARTBEAT_TIMEOUT,
            retry_policy=retries,
            cancellation_type=workflow.ActivityCancellationType.TRY_CANCEL,
        )
        return done

    def _show(self, doing: str) -> None:
        """Tell the Temporal UI how the session stands."""
        told = self._turn.told
        parts = [f"**{plain(told['title'])}**"] if told.get("title") else []
        if doing or self._turn.number:
            parts.append(f"turn {self._turn.number}{f': {doing}' if doing else ''}")
        if told.get("waiting"):
            parts.append("waits for the person:\n\n" + "\n".join(f"- {plain(what)}" for what in told["waiting"]))
        if self._inbox:
            parts.append(f"{len(self._inbox)} messages are not heard yet")
        workflow.set_current_details("\n\n".join(parts))


__all__ = ["SessionWorkflow"]
