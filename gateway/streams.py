"""Streams: the events of a run as NDJSON, one JSON object a line, each flushed when it happens.

A stream always says how it ended: the last line is the run's own end (`type` "run", `status` completed, failed, canceled), or a
record of type `error` with a problem in it. The end is told when the run has ended, not before: who then asks for the run
finds it closed. A stream without either was cut; the reader goes on with `?after=<last seq>`.

`yield` endpoints are avoided: they leak their generator when the client goes away. Here the response owns the generator and
closes it, whether the stream ends, fails, or its client vanishes; and a gateway that stops ends its streams with a record.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final, cast

import orjson
from fastapi.responses import StreamingResponse
from starlette.types import Send
from temporalio.client import WorkflowFailureError

from gateway.looking import describe_run
from gateway.problems import ApiError, problem, translate
from gateway.services import Services

MEDIA_TYPE: Final = "application/x-ndjson"
_HEADERS: Final = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
Events = AsyncGenerator[dict[str, Any], None]
_log = logging.getLogger("gateway")


class NdjsonResponse(StreamingResponse):
    """Sends a generator's records, and closes it in any case."""

    def __init__(self, records: Events, headers: dict[str, str]) -> None:
        self._records = records
        super().__init__(self._lines(), headers=_HEADERS | headers, media_type=MEDIA_TYPE)

    async def _lines(self) -> AsyncGenerator[bytes, None]:
        async for record in self._records:
            yield orjson.dumps(record) + b"\n"

    async def stream_response(self, send: Send) -> None:
        async with aclosing(self._records):
            await super().stream_response(send)


def run_events(
    here: Services, run_id: str, after: int, *, request_id: str, headers: dict[str, str] | None = None
) -> NdjsonResponse:
    """The events of a run that exists, from behind `after`."""
    return NdjsonResponse(_records(here, run_id, after, request_id), {"Run-Id": run_id, **(headers or {})})


async def _records(here: Services, run_id: str, after: int, request_id: str) -> Events:
    seq = after
    instance = f"/v1/runs/{run_id}/events"
    stopping = asyncio.ensure_future(here.stopping.wait())
    try:
        async with aclosing(_events(here, run_id, after)) as events:
            while (event := await _next(events, stopping)) is not None:
                seq = event["seq"]
                yield event
    except Exception as error:
        if not isinstance(error, ApiError):
            _log.exception("the stream of run %s failed (request %s)", run_id, request_id)
        told = problem(translate(error), instance=instance, request_id=request_id)
        yield {"type": "error", "run_id": run_id, "after": seq, "error": told}
    finally:
        stopping.cancel()


async def _events(here: Services, run_id: str, after: int) -> Events:
    """What the watch tells, but for the run's end, which is told when Temporal has closed the run, and as it did."""
    async with aclosing(cast(Events, here.watch(here.client, run_id, after))) as events:
        async for event in events:
            yield await _as_closed(here, run_id, event) if is_end(event) else event


def is_end(event: dict[str, Any]) -> bool:
    """Whether an event is the run's last."""
    return bool(event["type"] == "run" and event["status"] != "started")


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


async def _next(events: Events, stopping: asyncio.Future[Any]) -> dict[str, Any] | None:
    """The next event; None behind the last. Raises ApiError `gateway_stopping` if the gateway stops first."""
    coming = asyncio.ensure_future(anext(events, None))
    try:
        await asyncio.wait((coming, stopping), return_when=asyncio.FIRST_COMPLETED)
        if stopping.done() and not coming.done():
            raise _stopping()
        return coming.result()
    finally:
        if not coming.done():
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)


def _stopping() -> ApiError:
    return ApiError(
        "gateway_stopping",
        "the gateway stops; the run goes on",
        hint="read on with ?after=<last seq>",
        retryable=True,
    )
