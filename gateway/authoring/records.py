"""What was said in a session, and the rows that were shown.

    GET /v1/sessions/{id}/records               all records, or those behind ?after=; with ?follow=true those that come, too
    GET /v1/sessions/{id}/records/{seq}/rows    the rows of a record's result, in the forms of rows

A log that is followed goes on until the session is closed. A row reference takes reading its database, from whoever reads it now.
"""

import asyncio
from contextlib import aclosing
from typing import Annotated, Any, Final

from anyio import to_thread
from fastapi import APIRouter, Header, Path, Query, Request, Response
from pydantic import Field

from gateway.access import access_of, credential_of
from gateway.authoring.messages import RECORDS, RecordParameters, form_of_records
from gateway.authoring.sessions import CLOSED, SessionId, own
from gateway.authoring.tailing import Records
from gateway.authoring.turns import stopping
from gateway.data.exports import MEDIA_TYPES, wanted
from gateway.data.queries import Form, names_of
from gateway.problems import ApiError
from gateway.results.asking import Asked, LastEventId, number_of
from gateway.results.streaming import Batches, Record, RecordStream, explained, in_batches, while_valid
from gateway.results.tables import has_rows, rows_of
from gateway.services import Here, Services
from toolbox.access import Scope

router = APIRouter(prefix="/v1/sessions", tags=["sessions"])

_NOTHING_MORE: Final[dict[int | str, dict[str, Any]]] = {
    204: {"description": "sse: there is nothing more to connect for"}
}
_ROWS: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "the rows", "content": {kind: {"schema": {}} for kind in MEDIA_TYPES.values()}}
}


class LogParameters(RecordParameters):
    """How a log is read."""

    follow: bool = Field(False, description="go on with what is said from now on")


@router.get("/{session_id}/records", responses=RECORDS | _NOTHING_MORE, response_class=Response)
async def read(
    here: Here,
    request: Request,
    session_id: SessionId,
    given: Annotated[LogParameters, Query()],
    last_event_id: LastEventId = None,
) -> Response:
    """What was said, and with `follow` what is said from now on, until the session is closed."""
    form = form_of_records(request, given)
    after = number_of(last_event_id) if last_event_id else given.after
    session = await asyncio.to_thread(own, here, request, session_id)
    follow = given.follow and session.status != "closed"

    def make(ended: asyncio.Event) -> Batches:
        records = _followed(here, session_id, after) if follow else here.tails.past(session_id, after)
        return in_batches(records, lambda _: False, here.stopping, stopping, ended=ended)

    batches = while_valid(here.validity, credential_of(request), make)
    path = f"/v1/sessions/{session_id}/records"
    request_id = request.state.request_id
    told = explained(batches, after, {"session": session_id}, instance=path, request_id=request_id)
    stream = RecordStream(told, form, {})
    if form == "sse" and after and not follow and not await stream.begins():
        return Response(status_code=204)  # a browser connects again and again until it is told this
    return stream


async def _followed(here: Services, session_id: str, after: int) -> Records:
    async with aclosing(here.tails.follow(session_id, after)) as records:
        async for record in records:
            yield record
            if record["type"] == "notice" and record.get("code") == CLOSED:
                return


@router.get("/{session_id}/records/{seq}/rows", responses=_ROWS, response_class=Response)
async def read_rows(
    here: Here,
    request: Request,
    session_id: SessionId,
    seq: Annotated[int, Path(description="the number of a record", ge=1, lt=1 << 53)],
    given: Annotated[Form, Query()],
    accept: Annotated[str, Header()] = "*/*",
) -> Response:
    """The rows of a tool's result, as they were then."""
    asked = Asked(
        wanted(given, accept),
        guard=given.guard,
        null=given.null,
        as_json=tuple(names_of(given.as_json)),
        end=given.end,
    )
    await to_thread.run_sync(own, here, request, session_id)
    return await to_thread.run_sync(_rows, here, request, session_id, seq, asked)


def _rows(here: Services, request: Request, session_id: str, seq: int, asked: Asked) -> Response:
    record: Record | None = here.conversations.record(session_id, seq)
    if record is None:
        raise ApiError("record_not_found", f"the session {session_id!r} has no record {seq}")
    if not has_rows(record):
        raise ApiError("no_result", f"the record {seq} has no rows", hint="those of type tool_result may have some")
    if "rows" in record:
        access_of(request).require(Scope("data", "read", record["rows"]["ref"]["database"]))
    return rows_of(here, record, asked, request, {})
