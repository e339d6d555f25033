"""Records as an answer: each is sent when it is there, in the form that was asked for (`forms`).

    a generator of records -> in_batches -> explained -> RecordStream -> the socket

A stream always says how it ended: by the record that its reader knows as the last one, or by one of type `error` with a problem in it. A
stream without either was cut; the reader goes on behind the last record that it has seen.

`yield` endpoints are avoided: they leak their generator when the client goes away. Here the response owns the generator and
closes it, whether the stream ends, fails, or its client vanishes; and a gateway that stops ends its streams with a record, as it ends
those whose key is valid no more (`while_valid`).
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing
from typing import Any, Final, cast

from anyio import CancelScope
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from gateway.access import Credential, Validity, validity
from gateway.problems import ApiError, problem, translate
from gateway.results.ahead import Ahead
from gateway.results.asking import FormName
from gateway.results.forms import JsonArray, form_of

KEEP_ALIVE: Final = 15.0
"""Seconds of silence after which a stream shows that it is alive."""
LARGE: Final = 4096
"""Bytes of a record behind which no other one is put into the same piece."""
NOTHING: Final[dict[str, Any]] = {}
"""What records have in them when nothing has happened for so long."""
_HEADERS: Final = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no", "Vary": "Accept"}
Record = dict[str, Any]
Batch = list[Record]
Batches = AsyncGenerator[Batch, None]
Records = AsyncGenerator[Record, None]
_log = logging.getLogger("gateway")


class RecordStream(StreamingResponse):
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


async def explained(
    source: Batches, after: int, about: Mapping[str, Any], *, instance: str, request_id: str
) -> Batches:
    """The batches of a stream that begins behind `after`; an error is the last record: {type, ...about, after, error}."""
    seq = after
    try:
        async with aclosing(source) as batches:
            async for batch in batches:
                seq = batch[-1].get("seq", seq) if batch else seq
                yield batch
    except Exception as error:
        if not isinstance(error, ApiError):
            _log.exception("the stream %s failed (request %s)", instance, request_id)
        told = problem(translate(error), instance=instance, request_id=request_id)
        yield [{"type": "error", **about, "after": seq, "error": told}]


async def while_valid(
    keys: Validity, credential: Credential | None, make: Callable[[asyncio.Event], Batches]
) -> Batches:
    """The batches that `make` makes, with the event that the credential of the stream is valid no more."""
    with keys.held(credential) as ended:
        async with aclosing(make(ended)) as batches:
            async for batch in batches:
                yield batch


async def _silence() -> Batch:
    return []


async def in_batches(
    records: Records,
    is_last: Callable[[Record], bool],
    stopping: asyncio.Event,
    stopped: Callable[[], ApiError],
    *,
    patience: float | None = None,
    silent: Callable[[], Awaitable[Batch]] = _silence,
    ended: asyncio.Event | None = None,
) -> Batches:
    """Records, as many at a time as there are, to the last one.

    After `patience` seconds (KEEP_ALIVE) without any, and again and again, what `silent` gives: by default an empty list. Raises what
    `stopped` makes if the gateway stops first, `not_authenticated` if the key has `ended`, and what making the records raises.
    """
    ahead = Ahead(records)
    over: list[asyncio.Future[Any]] = [
        asyncio.ensure_future(event.wait()) for event in (stopping, ended) if event is not None
    ]
    try:
        while True:
            if not ahead.news.done():
                await asyncio.wait(
                    [ahead.news, *over], timeout=patience or KEEP_ALIVE, return_when=asyncio.FIRST_COMPLETED
                )
            if ahead.news.done():
                batch = ahead.take()
                if not batch:
                    return
                yield batch
                if is_last(batch[-1]):
                    return
            elif not any(task.done() for task in over):
                yield await silent()
            if stopping.is_set():
                raise stopped()
            if ended is not None and ended.is_set():
                raise validity.ended()
    finally:
        for task in over:
            task.cancel()
        with CancelScope(shield=True):  # a request that is given up is canceled again and again
            await ahead.close()
