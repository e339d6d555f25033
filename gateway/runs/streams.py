"""Streams: the records of a run, each sent when it happens, in the form that was asked for (`results.forms`).

A stream always says how it ended: the last record is the run's own end (`type` "run", `status` completed, failed, canceled; `records` is
how many there are in all), or one of type `error` with a problem in it. The end is told when the run has ended, not before: who then asks
for the run finds it closed. A stream without either was cut; the reader goes on with `?after=<last seq>`.

`yield` endpoints are avoided: they leak their generator when the client goes away. Here the response owns the generator and
closes it, whether the stream ends, fails, or its client vanishes; and a gateway that stops ends its streams with a record, as it ends
those whose key is valid no more.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Any, Final, cast

from anyio import CancelScope
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send
from temporalio.client import WorkflowFailureError

from gateway.access import Credential, validity
from gateway.problems import ApiError, problem, translate
from gateway.results.ahead import Ahead
from gateway.results.asking import FormName
from gateway.results.forms import JsonArray, form_of
from gateway.runs.looking import describe_run
from gateway.services import Services

KEEP_ALIVE: Final = 15.0
"""Seconds of silence after which a stream shows that it is alive."""
LARGE: Final = 4096
"""Bytes of a record behind which no other one is put into the same piece."""
NOTHING: Final[dict[str, Any]] = {}
"""What records have in them when nothing has happened for so long."""
_HEADERS: Final = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no", "Vary": "Accept"}
Batch = list[dict[str, Any]]
Batches = AsyncGenerator[Batch, None]
Events = AsyncGenerator[dict[str, Any], None]
_log = logging.getLogger("gateway")


class RunStream(StreamingResponse):
    """Sends a generator's records, all that have come at a time, and closes it in any case. A JSON array that is not whole ends without the
    end of its body."""

    def __init__(self, batches: Batches, form: FormName, headers: dict[str, str]) -> None:
        self._batches = batches
        self._form = form_of(form)
        self._first: Batch | None = None
        self._failed = False
        super().__init__(self._pieces(), headers=_HEADERS | headers, media_type=self._form.media_type)

    async def begins(self) -> bool:
        """Wait for the first record; whether there is one."""
        self._first = await anext(self._batches, None)
        return self._first is not None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            with CancelScope(shield=True):
                await self._batches.aclose()

    async def stream_response(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async with aclosing(cast(AsyncGenerator[bytes, None], self.body_iterator)) as pieces:
            async for piece in pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        if not (self._failed and isinstance(self._form, JsonArray)):
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _pieces(self) -> AsyncGenerator[bytes, None]:
        if self._form.opening:
            yield self._form.opening
        for piece in self._joined(self._first or []):
            yield piece
        async for batch in self._batches:
            if not batch and self._form.ping:
                yield self._form.ping
            for piece in self._joined(batch):
                yield piece
        if self._form.closing and not self._failed:
            yield self._form.closing

    def _joined(self, batch: Batch) -> Iterator[bytes]:
        """The records of a batch in one piece, or in several if they are large."""
        held: list[bytes] = []
        for record in batch:
            self._failed = record["type"] == "error"
            held.append(self._form.piece(record))
            if len(held[-1]) >= LARGE:
                yield b"".join(held)
                held.clear()
        if held:
            yield b"".join(held)


def run_events(
    here: Services,
    run_id: str,
    after: int,
    *,
    request_id: str,
    form: FormName = "ndjson",
    headers: dict[str, str] | None = None,
    credential: Credential | None = None,
) -> RunStream:
    """The records of a run that exists, from behind `after`, for as long as the credential is valid."""
    batches = _told(here, run_id, after, request_id, credential)
    return RunStream(batches, form, {"Run-Id": run_id, **(headers or {})})


async def _told(here: Services, run_id: str, after: int, request_id: str, credential: Credential | None) -> Batches:
    """The records; an error is the last one."""
    seq = after
    try:
        with here.validity.held(credential) as ended:
            async with aclosing(_batches(here, run_id, after, ended)) as batches:
                async for batch in batches:
                    seq = batch[-1].get("seq", seq) if batch else seq
                    yield batch
    except Exception as error:
        if not isinstance(error, ApiError):
            _log.exception("the stream of run %s failed (request %s)", run_id, request_id)
        told = problem(translate(error), instance=f"/v1/runs/{run_id}/events", request_id=request_id)
        yield [{"type": "error", "run_id": run_id, "after": seq, "error": told}]


async def run_records(here: Services, run_id: str, after: int, ended: asyncio.Event | None = None) -> Events:
    """The records of a run behind `after`, to its end; NOTHING whenever there was none for KEEP_ALIVE seconds.

    Raises ApiError `gateway_stopping` if the gateway stops first, `not_authenticated` if the key has `ended`, and what watching raises.
    """
    async with aclosing(_batches(here, run_id, after, ended or asyncio.Event())) as batches:
        async for batch in batches:
            for record in batch or [NOTHING]:
                yield record


async def _batches(here: Services, run_id: str, after: int, ended: asyncio.Event) -> Batches:
    """The same, as many at a time as there are; an empty list for silence."""
    ahead = Ahead(_events(here, run_id, after))
    over: list[asyncio.Future[Any]] = [asyncio.ensure_future(event.wait()) for event in (here.stopping, ended)]
    try:
        while True:
            if not ahead.news.done():
                await asyncio.wait([ahead.news, *over], timeout=KEEP_ALIVE, return_when=asyncio.FIRST_COMPLETED)
            if ahead.news.done():
                batch = ahead.take()
                if not batch:
                    return
                yield batch
                if is_end(batch[-1]):
                    return
            elif not any(task.done() for task in over):
                yield []
            if here.stopping.is_set():
                raise _stopping()
            if ended.is_set():
                raise validity.ended()
    finally:
        for task in over:
            task.cancel()
        with CancelScope(shield=True):  # a request that is given up is canceled again and again
            await ahead.close()


async def _events(here: Services, run_id: str, after: int) -> Events:
    """What the watch tells, but for the run's end, which is told when Temporal has closed the run, and as it did."""
    async with aclosing(cast(Events, here.watch(here.client, run_id, after))) as events:
        async for event in events:
            yield await _end(here, run_id, event) if is_end(event) else event


def is_end(event: dict[str, Any]) -> bool:
    """Whether an event is the run's last."""
    return bool(event["type"] == "run" and event["status"] != "started")


async def _end(here: Services, run_id: str, event: dict[str, Any]) -> dict[str, Any]:
    """The last record of a run, asked for once for all who watch it."""
    return await here.ends.get(run_id, lambda: _as_closed(here, run_id, event)) | {"records": event["seq"]}


async def _as_closed(here: Services, run_id: str, event: dict[str, Any]) -> dict[str, Any]:
    """The end of a run, true. A watch folds a run's program and so may know an end before it has happened; until then the
    run may still be canceled or terminated."""
    with contextlib.suppress(WorkflowFailureError):
        await here.client.get_workflow_handle(run_id).result()
    found = await describe_run(here, run_id)
    status = found["state"] if found["state"] in ("completed", "canceled") else "failed"
    if status == event["status"] and found["state"] not in ("terminated", "timed_out"):
        return event
    told = {name: value for name, value in event.items() if name not in ("result", "rows", "error")}
    return {**told, "status": status, "error": found.get("error")}


def _stopping() -> ApiError:
    return ApiError(
        "gateway_stopping",
        "the gateway stops; the run goes on",
        hint="read on with ?after=<last seq>",
        retryable=True,
    )
