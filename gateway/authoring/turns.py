"""A message on its way, and the records of the turn that it begins.

A message goes to the session's workflow as a signal, which starts the workflow where none goes on. Its key makes it one message however
often it is sent: who sends it again, since the answer was cut, reads its turn on. The records of a turn are those of the log from the
message to the record `turn`; a message that was sent while another one is answered waits for its turn, and so does its stream.

Nobody waits in silence: where no worker takes the message, a notice says so, and where the workflow has ended without ending the turn, the
stream ends with `turn_lost`.
"""

import asyncio
from contextlib import aclosing
from typing import Any, Final

from fastapi import Request
from temporalio.client import WorkflowExecutionStatus
from temporalio.common import WorkflowIDReusePolicy
from temporalio.service import RPCError, RPCStatusCode

from gateway.access import credential_of
from gateway.authoring.tailing import Records, closed
from gateway.health import missing_worker
from gateway.problems import ApiError
from gateway.results.streaming import Batch, Batches, in_batches, while_valid
from gateway.services import Services
from script.session_wire import MESSAGE_SIGNAL, SESSION_WORKFLOW, SessionInput, SessionMessage, workflow_id
from toolbox.authoring import Record, Session
from workflows.details import plain

SILENCE: Final = 5.0
"""Seconds without a record, after which it is asked why."""


async def send(here: Services, session: Session, message: SessionMessage) -> None:
    """Give a message to its session, unless it has it already. Raises ApiError `session_closed`, `idempotency_mismatch`."""
    place = await asyncio.to_thread(here.conversations.turn_of, session.id, message.key)
    if place is not None:
        await asyncio.to_thread(_check_same, here, session, place, message)
        if await asyncio.to_thread(_ended, here, session.id, place) or await _goes_on(here, session.id):
            return
    elif session.status == "closed":
        raise closed(session)
    await here.client.start_workflow(
        SESSION_WORKFLOW,
        SessionInput(session.id),
        id=workflow_id(session.id),
        task_queue=here.task_queue,
        start_signal=MESSAGE_SIGNAL,
        start_signal_args=[message],
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        static_summary=f"session: {plain(session.title)}" if session.title else "session",
    )


def turn_batches(here: Services, request: Request, session_id: str, key: str, after: int) -> Batches:
    """The records behind `after` of the turn of a message, to its end.

    Raises ApiError `session_closed`, `turn_lost`, `gateway_stopping`, `not_authenticated` for a key that is valid no more.
    """
    watch = _Watch(here, session_id, key)

    def make(ended: asyncio.Event) -> Batches:
        records = _of_turn(here, session_id, key, after)
        return in_batches(
            records, lambda _: False, here.stopping, stopping, patience=SILENCE, silent=watch.ask, ended=ended
        )

    return while_valid(here.validity, credential_of(request), make)


async def _of_turn(here: Services, session_id: str, key: str, after: int) -> Records:
    place = await here.tails.heard(session_id, key)
    async with aclosing(here.tails.follow(session_id, place["after"])) as records:
        async for record in records:
            if record["seq"] > after:
                yield record
            if _is_end(record, place["turn"]):
                return


def _is_end(record: Record, turn: int) -> bool:
    return bool(record["type"] == "turn" and record["turn"] == turn)


def _ended(here: Services, session_id: str, place: Record) -> bool:
    return any(_is_end(record, place["turn"]) for record in here.conversations.records(session_id, place["after"]))


def _check_same(here: Services, session: Session, place: Record, message: SessionMessage) -> None:
    """Raises ApiError for a key that has begun another message."""
    said = next(here.conversations.records(session.id, place["after"], 1), {})
    approval = message.approval
    if approval is None:
        same = said.get("text") == message.text
    else:
        same = (said.get("approval"), said.get("approved")) == (approval.id, approval.approved)
    if said.get("type") == "user" and not same:
        raise ApiError(
            "idempotency_mismatch",
            f"the key {message.key!r} was that of another message",
            pointer="Idempotency-Key",
            hint="use a new key for a new message",
        )


async def _goes_on(here: Services, session_id: str) -> bool:
    """Whether the session's workflow runs."""
    try:
        found = await here.client.get_workflow_handle(workflow_id(session_id)).describe()
    except RPCError as error:
        if error.status != RPCStatusCode.NOT_FOUND:
            raise
        return False
    goes_on: bool = found.status == WorkflowExecutionStatus.RUNNING
    return goes_on


class _Watch:
    """Asks why a turn is silent."""

    def __init__(self, here: Services, session_id: str, key: str) -> None:
        self._here = here
        self._session_id = session_id
        self._key = key
        self._told = False

    async def ask(self) -> Batch:
        """A notice, once, where no worker takes what there is to do. Raises ApiError `turn_lost`."""
        here = self._here
        if not await _goes_on(here, self._session_id):
            place = await asyncio.to_thread(here.conversations.turn_of, self._session_id, self._key)
            if place is None or not await asyncio.to_thread(_ended, here, self._session_id, place):
                raise ApiError(
                    "turn_lost",
                    "the session's workflow has ended before the turn",
                    hint="send the message again, with the same Idempotency-Key",
                    retryable=True,
                )
        missing = None if self._told else await missing_worker(here)
        if missing is None:
            return []
        self._told = True
        return [notice(self._session_id, "no_worker", f"{missing}: the message waits until one does")]


def notice(session_id: str, code: str, text: str) -> dict[str, Any]:
    """A record of the stream and not of the log: it has no number."""
    return {"session": session_id, "type": "notice", "code": code, "text": text}


def stopping() -> ApiError:
    """The end of a stream whose gateway stops."""
    return ApiError(
        "gateway_stopping",
        "the gateway stops; the session goes on",
        hint="send the message again with its Idempotency-Key, or read on with ?after=<last seq>",
        retryable=True,
    )
