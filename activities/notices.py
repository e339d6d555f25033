"""Noticing how the runs of schedules ended, and telling who wants to know.

A worker looks for them again and again in Temporal's list of runs, by the time of their end. So every end is noticed, also of
runs that could not say anything about themselves any more: terminated, timed out, failed before their script was loaded. Nothing is
added to the runs; ends that came while no worker was there are found by the next one. The list may lag behind: the last minutes
are looked at again, and an end that was recorded is not recorded twice. Any number of workers may do this side by side.
"""

import asyncio
import logging
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from temporalio.client import Client, WorkflowExecution, WorkflowFailureError
from temporalio.common import SearchAttributeKey
from temporalio.service import RPCError

from activities.execution import Resources
from script.wire import NOTICES_MEMO, SCHEDULED_FOR
from toolbox import ToolError
from toolbox.errors import SessionNotFound
from toolbox.notices import EndedRun, NoticeBook, Notify, message_of
from toolbox.notify import Message, deliver
from toolbox.vault import redacted

LOOKED_BACK: Final = timedelta(minutes=10)
_SCHEDULE: Final = SearchAttributeKey.for_keyword("TemporalScheduledById")
_SCHEDULED: Final = SearchAttributeKey.for_datetime(SCHEDULED_FOR)
_SCRIPT: Final = SearchAttributeKey.for_keyword("SopScript")
_log = logging.getLogger("notices")


class Notices:
    """The notices of one task queue's schedules."""

    def __init__(self, client: Client, resources: Resources, task_queue: str) -> None:
        self._client = client
        self._resources = resources
        self._task_queue = task_queue
        self._book = NoticeBook(resources.databases)

    async def keep_told(self, seconds: float, stop: asyncio.Event) -> None:
        """Sweep every so many seconds until `stop`."""
        while not stop.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), seconds)
                return
            try:
                await self.sweep(datetime.now(UTC))
            except Exception:
                _log.exception("the ends of scheduled runs could not be looked at")

    async def sweep(self, now: datetime) -> None:
        """Record the runs that have ended, and send the notices that are due. Raises RPCError."""
        seen = await asyncio.to_thread(self._book.seen_until, self._task_queue)
        since = min(datetime.fromisoformat(seen), now) if seen else now
        ended = [run async for run in self._client.list_workflows(self._query(since - LOOKED_BACK))]
        for run in sorted(ended, key=lambda run: run.close_time or now):
            memo = await run.memo()
            if NOTICES_MEMO in memo:
                await self._record(run, memo[NOTICES_MEMO], now)
        if seen is None or now - since > LOOKED_BACK / 2:  # not every time: each note is a commit
            await asyncio.to_thread(self._book.seen, self._task_queue, now.isoformat(), now)
        for execution in await asyncio.to_thread(self._book.due, _text(now)):
            await self._send(execution)

    def _query(self, since: datetime) -> str:
        moment = since.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return (
            f"TaskQueue = '{self._task_queue}' AND TemporalScheduledById IS NOT NULL AND CloseTime >= '{moment}' "
            "AND ExecutionStatus != 'ContinuedAsNew'"
        )

    async def _record(self, run: WorkflowExecution, memo: dict[str, Any], now: datetime) -> None:
        if run.close_time is None or run.status is None or await asyncio.to_thread(self._book.knows, run.run_id):
            return
        outcome, found = run.status.name.lower(), run.typed_search_attributes
        scheduled = found.get(_SCHEDULED)
        ended = EndedRun(
            execution=run.run_id,
            schedule=str(found.get(_SCHEDULE)),
            run=run.id,
            script=str(found.get(_SCRIPT)),
            outcome=outcome,
            ended_at=_text(run.close_time),
            scheduled_at=_text(scheduled) if scheduled else None,
            memo=memo,
            error=await self._error(run) if outcome == "failed" else None,
        )
        await asyncio.to_thread(self._book.record, ended, _text(now))

    async def _error(self, run: WorkflowExecution) -> dict[str, Any] | None:
        """What a failed run says about it."""
        try:
            await self._client.get_workflow_handle(run.id, run_id=run.run_id).result(follow_runs=False)
        except WorkflowFailureError as error:
            cause = error.cause
            return {
                "code": getattr(cause, "type", None) or type(cause).__name__,
                "message": getattr(cause, "message", None) or str(cause),
            }
        except RPCError as error:
            _log.warning("the failure of %s could not be read: %s", run.id, error.message)
        return None

    async def _send(self, execution: str) -> None:
        now = datetime.now(UTC)
        row = await asyncio.to_thread(self._book.claim, execution, now)
        if row is None:
            return
        failed: ToolError | None = None
        try:
            notify, key = Notify.of_memo(row["memo"]), f"notice/{execution}/{row['kind']}"
            message = message_of(row, datetime.fromisoformat(row["ended_at"]))
            if notify.session is not None:
                await asyncio.to_thread(self._tell_session, notify.session, key, message)
            whom = notify.receiver()
            if whom is not None:
                await deliver(self._resources.services, key, whom, message)
        except ToolError as error:
            clean = redacted(self._resources.services.vault, error)
            failed = clean if isinstance(clean, ToolError) else error
        status = await asyncio.to_thread(self._book.mark, row, now, failed)
        if failed is not None:
            _log.warning("a notice about %s was not sent (%s): %s", row["schedule"], status, failed.message)

    def _tell_session(self, session: str, key: str, message: Message) -> None:
        """Tell it in a conversation, once. Nobody is told in one that is not there any more."""
        text = f"{message.subject}\n{message.text}"
        try:
            self._resources.conversations.once(
                session, key, lambda work: bool(work.say("notice", text=text, code=message.kind, facts=message.facts))
            )
        except SessionNotFound:
            _log.warning("the session %s is told nothing: there is none", session)


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")
