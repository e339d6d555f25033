"""Rows out: the whole of a store, or the answer to a query (`queries`), as a stream of NDJSON, JSON, CSV or Arrow.

The rows come from the engine's pages straight to the socket; no run and no Temporal is involved. They are made in a thread, a piece at a
time and only when the socket has taken the piece before: a slow client slows the scan down and costs no memory and no thread. A client
that goes away ends the scan, and the version that was pinned for it is let go.

What is wrong with the query is told as a problem, before anything else is sent: the first piece is made before the answer begins. An
error after that is told in NDJSON by a last line `{"error": {...}}`, and in every format by the connection: the body is not ended as HTTP
wants it, so that no client takes a part for the whole.
"""

import asyncio
import logging
from collections.abc import Iterator
from time import perf_counter
from typing import Annotated, Any, Final, Protocol

import orjson
from anyio import CancelScope, to_thread
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

import query
from gateway.access import access_of, credential_of, validity
from gateway.data.databases import open_database
from gateway.data.queries import AggregateRequest, ExportParameters, Form, JoinRequest, SelectRequest, names_of
from gateway.problems import ApiError, problem, translate
from gateway.results.negotiation import preferred, require_installed
from gateway.services import Here, Services
from query.transfer.exports import AggregateQuery, AnyQuery, Format, JoinQuery, export
from toolbox.access import Scope as AccessScope

router = APIRouter(prefix="/v1/databases/{database}/stores/{store}", tags=["rows"])
_log = logging.getLogger("gateway")

MEDIA_TYPES: Final[dict[Format, str]] = {
    "ndjson": "application/x-ndjson",
    "json": "application/json",
    "csv": "text/csv",
    "arrow": "application/vnd.apache.arrow.stream",
}
_ACCEPTED: Final[dict[str, Format]] = {
    "application/x-ndjson": "ndjson",
    "application/ndjson": "ndjson",
    "application/jsonl": "ndjson",
    "application/json": "json",
    "text/csv": "csv",
    MEDIA_TYPES["arrow"]: "arrow",
}
MUCH: Final = 512 * 1024
SOON: Final = 0.005
"""Bytes that are made at a time, and seconds after which the pieces that are made are sent: going to a thread and back costs as much as
making one."""
_ROWS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "the rows",
        "content": {
            MEDIA_TYPES["ndjson"]: {"schema": {"type": "string"}},
            MEDIA_TYPES["json"]: {"schema": {"type": "array", "items": {"type": "object"}}},
            MEDIA_TYPES["csv"]: {"schema": {"type": "string"}},
        },
    },
}


@router.get("/rows:export", response_class=Response, responses=_ROWS)
def export_rows(
    here: Here,
    database: str,
    store: str,
    request: Request,
    given: Annotated[ExportParameters, Query()],
    accept: Annotated[str, Header()] = "*/*",
) -> Response:
    """The rows of a store, or of a query over it, as a file."""
    form = wanted(given, accept)
    try:
        answer = _answer(here, database, given.query(store), request, given, form, given.version, store)
    except query.QueryError as error:
        if error.pointer is not None:
            error.pointer = "?" + error.pointer.lstrip("/?")
        raise
    answer.headers["Content-Disposition"] = f'attachment; filename="{database}-{store}.{form}"'
    return answer


@router.post(":select", response_class=Response, responses=_ROWS)
def select_rows(
    here: Here,
    database: str,
    store: str,
    request: Request,
    body: SelectRequest,
    given: Annotated[Form, Query()],
    accept: Annotated[str, Header()] = "*/*",
) -> Response:
    """The rows of a query."""
    form = wanted(given, accept)
    return _answer(here, database, body.query(store), request, given, form, body.version, store)


@router.post(":join", response_class=Response, responses=_ROWS)
def join_rows(
    here: Here,
    database: str,
    store: str,
    request: Request,
    body: JoinRequest,
    given: Annotated[Form, Query()],
    accept: Annotated[str, Header()] = "*/*",
) -> Response:
    """The rows of the store and of another one that belong together."""
    form = wanted(given, accept)
    return _answer(here, database, body.query(store), request, given, form, body.version, store)


@router.post(":aggregate", response_class=Response, responses=_ROWS)
def aggregate_rows(
    here: Here,
    database: str,
    store: str,
    request: Request,
    body: AggregateRequest,
    given: Annotated[Form, Query()],
    accept: Annotated[str, Header()] = "*/*",
) -> Response:
    """Values computed over the rows of a query, or of a join: for all of them, or for each group."""
    form = wanted(given, accept)
    return _answer(here, database, body.query(store), request, given, form, body.version, store)


def wanted(given: Form, accept: str) -> Format:
    """The format that is asked for. Raises ApiError, InvalidQuery for what it does not have."""
    form = given.format or negotiated(accept)
    given.check(form)
    require_installed(form)
    return form


def negotiated(accept: str) -> Format:
    """The format that a client likes best. Raises ApiError `not_acceptable`."""
    best = preferred(accept, _ACCEPTED)
    if best is None:
        told = ", ".join(MEDIA_TYPES.values())
        raise ApiError("not_acceptable", f"rows come as {told}, not as {accept}", pointer="Accept", status=406)
    return best


def _answer(
    here: Services,
    database: str,
    asked: AnyQuery,
    request: Request,
    given: Form,
    form: Format,
    version: int | None,
    store: str,
) -> Response:
    """The answer, whose first piece is made."""
    opened = open_database(here, database, store)
    source = asked.source if isinstance(asked, AggregateQuery) else asked
    if database == query.SYSTEM and isinstance(source, JoinQuery):
        raise ApiError("reserved_store", "other stores of the system cannot be read", pointer="/right")

    def views(name: str) -> query.View:
        access_of(request).require(AccessScope("data", "read", name))
        return open_database(here, name).snapshot()

    how: dict[str, Any] = {
        "guard": given.guard,
        "null": given.null,
        "end": given.end,
        "as_json": names_of(given.as_json),
    }
    try:
        rows = export(opened, asked, form, version=version, views=views, **how)
    except query.InvalidQuery as error:
        error.pointer = "?as_json" if error.pointer == "/as_json" else error.pointer
        raise
    headers = {"Database-Version": str(rows.version), "Vary": "Accept"}
    if rows.whole:
        rows.close()
        return Response(rows.first, headers=headers, media_type=MEDIA_TYPES[form])
    return RowsResponse(here, rows, form, request, headers)


def _some(pieces: Iterator[bytes], much: int) -> tuple[list[bytes], Exception | None]:
    """The next pieces, in a thread: so many bytes, and no more than come within SOON; and what went wrong behind them."""
    until = perf_counter() + SOON
    found: list[bytes] = []
    try:
        while not found or (much > 0 and perf_counter() < until):
            piece = next(pieces, None)
            if piece is None:
                break
            found.append(piece)
            much -= len(piece)
    except Exception as error:
        return found, error
    return found, None


class Pieces(Protocol):
    """What an `Export` is to those who send it."""

    def __iter__(self) -> Iterator[bytes]: ...

    def close(self) -> None: ...


class RowsResponse(StreamingResponse):
    """Sends an export's pieces, and closes it in any case."""

    def __init__(self, here: Services, rows: Pieces, form: Format, request: Request, headers: dict[str, str]) -> None:
        self._here = here
        self._rows = rows
        self._form = form
        self._request = request
        super().__init__((), headers={**headers, "X-Accel-Buffering": "no"}, media_type=MEDIA_TYPES[form])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:  # here, since a client that is gone already keeps the stream from being begun
            with CancelScope(shield=True):
                await to_thread.run_sync(self._rows.close)

    async def stream_response(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        with self._here.validity.held(credential_of(self._request)) as ended:
            last = await self._send_pieces(send, ended)
        await send({"type": "http.response.body", "body": last or b"", "more_body": last is not None})

    async def _send_pieces(self, send: Send, ended: asyncio.Event) -> bytes | None:
        """Send all pieces; what is to be sent behind them and without ending the body, if it went wrong."""
        pieces = iter(self._rows)
        try:
            much = 0  # the first piece goes at once
            while True:
                some, failed = await to_thread.run_sync(_some, pieces, much)
                if some:
                    await send({"type": "http.response.body", "body": b"".join(some), "more_body": True})
                if failed is not None:
                    raise failed
                if not some:
                    return None
                if self._here.stopping.is_set():
                    raise ApiError("gateway_stopping", "the gateway stops", hint="ask again", retryable=True)
                if ended.is_set():
                    raise validity.ended()
                much = MUCH
        except Exception as error:
            return self._told(error)

    def _told(self, error: Exception) -> bytes:
        refusal = translate(error)
        request_id = self._request.state.request_id
        path = self._request.url.path
        _log.error(
            "the rows of %s ended too early (request %s): %s",
            path,
            request_id,
            refusal.message,
            exc_info=error if refusal.code == "internal_error" else None,
        )
        if self._form != "ndjson":
            return b""
        return orjson.dumps({"error": problem(refusal, instance=path, request_id=request_id)}) + b"\n"
