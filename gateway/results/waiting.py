"""Answers that wait for a run: `Prefer: wait=N` (RFC 7240), and tables.

Who waits is listened to: a client that goes away ends the waiting, and all that it holds. The run goes on in any case, so an answer
that cannot tell its end (the time is over, the gateway stops, Temporal does not answer) is 202 with the run's address.
"""

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import aclosing
from typing import Any, Final, TypeVar
from urllib.parse import quote

import orjson
from anyio import to_thread
from fastapi import Request, Response
from temporalio.service import RPCError

from gateway.access import credential_of
from gateway.problems import ApiError
from gateway.results.asking import Asked, Wait
from gateway.results.tables import table, telling_record
from gateway.runs.streams import is_end, run_records
from gateway.services import Services

_GONE: Final = 499
"""The status of an answer that nobody hears."""
_log = logging.getLogger("gateway")
T = TypeVar("T")


def address(run_id: str) -> str:
    """The path of a run."""
    return f"/v1/runs/{quote(run_id, safe='')}"


async def started(here: Services, request: Request, run_id: str, script: str, wait: Wait | None) -> Response:
    """The answer to a start: 202 and the address, or for a client that waits long enough 200 and the run's last record."""
    record = await _in_time(request, _last_record(here, run_id), wait) if wait is not None else None
    return _accepted(run_id, script, wait) if record is None else _json(200, record, _headers(run_id, wait))


async def tabulated(here: Services, request: Request, run_id: str, asked: Asked) -> Response:
    """The rows of a result, when there is one. Raises ApiError, QueryError, BTreeError."""
    with here.validity.held(credential_of(request)) as ended:
        record = await while_there(request, telling_record(here, run_id, asked.step, ended))
    if record is None:
        return Response(status_code=_GONE)
    return await to_thread.run_sync(table, here, record, asked, request)


async def called(
    here: Services, request: Request, run_id: str, script: str, asked: Asked, wait: Wait | None
) -> Response:
    """The answer to a call that wants a table: the rows, or 202 and the address if they take too long. Raises like `tabulated`."""
    if wait is None:
        answer = await tabulated(here, request, run_id, asked)
    else:
        record = await _in_time(request, telling_record(here, run_id, asked.step), wait)
        if record is None:
            return _accepted(run_id, script, wait)
        answer = await to_thread.run_sync(table, here, record, asked, request)
    answer.headers.update(_headers(run_id, wait))
    return answer


async def while_there(request: Request, work: Coroutine[Any, Any, T]) -> T | None:
    """What the work gives; None if the client goes away before: the work is given up then. Raises what the work raises."""
    working = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait((working, gone), return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        for task in (working, gone):
            task.cancel()
        await asyncio.gather(working, gone, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _in_time(
    request: Request, work: Coroutine[Any, Any, dict[str, Any] | None], wait: Wait
) -> dict[str, Any] | None:
    """What the work gives; None if it takes longer, or cannot be told. Raises ApiError for what is wrong with the request."""
    if not wait.seconds:
        work.close()
        return None
    try:
        async with asyncio.timeout(wait.seconds):
            return await while_there(request, work)
    except TimeoutError:
        return None
    except (ApiError, RPCError) as error:
        if isinstance(error, ApiError) and not error.retryable:
            raise
        _log.warning("the end of a run was not told in time (request %s): %s", request.state.request_id, error)
        return None


async def _last_record(here: Services, run_id: str) -> dict[str, Any] | None:
    """The record of the run's end. Raises ApiError `gateway_stopping`, and what watching raises."""
    async with aclosing(run_records(here, run_id, 0)) as records:
        async for record in records:
            if record and is_end(record):
                return record
    return None


def _headers(run_id: str, wait: Wait | None) -> dict[str, str]:
    found = {"Location": address(run_id), "Run-Id": run_id}
    return found if wait is None else {**found, "Preference-Applied": wait.applied, "Vary": "Accept, Prefer"}


def _accepted(run_id: str, script: str, wait: Wait | None) -> Response:
    told = {"id": run_id, "script": script, "location": address(run_id), "events": f"{address(run_id)}/events"}
    return _json(202, told, _headers(run_id, wait))


def _json(status: int, value: dict[str, Any], headers: dict[str, str]) -> Response:
    return Response(orjson.dumps(value), status, headers, "application/json")
