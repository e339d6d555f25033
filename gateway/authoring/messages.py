"""What a person says and decides in a session.

    POST /v1/sessions/{id}/messages               {text}: the answer is what comes of it, as it comes
    POST /v1/sessions/{id}/approvals/{approval}   {approved, comment}: a decision is a message, and is answered in the same way
    POST /v1/sessions/{id}:stop                   end the turn that is under way, at once

The answer is the stream of the turn's records, in any of the forms of records, to the record `turn`; or with `Prefer: respond-async` 202 at
once. A client that goes away stops nothing.
"""

import asyncio
import uuid
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Header, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from gateway.access import access_of
from gateway.authoring.sessions import SessionId, own, signal
from gateway.authoring.turns import send, turn_batches
from gateway.preferences import preferences
from gateway.problems import ApiError
from gateway.results.asking import KNOWN, MEDIA_TYPES, FormName, LastEventId, number_of
from gateway.results.negotiation import chosen
from gateway.results.streaming import RecordStream, explained
from gateway.runs.starting import check_key
from gateway.services import Here, Services
from script.session_wire import MAX_MESSAGE_BYTES, STOP_SIGNAL, Approval, SessionMessage
from toolbox.authoring import Session

router = APIRouter(prefix="/v1/sessions", tags=["sessions"])

FORMS: Final[dict[FormName, str]] = {form: MEDIA_TYPES[form] for form in ("ndjson", "sse", "json")}
_KNOWN: Final = {media_type: form for media_type, form in KNOWN.items() if form in FORMS}
RECORDS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "the records, in order; where not all came, the last one is of type error",
        "content": {kind: {"schema": {}} for kind in FORMS.values()},
    },
}
_ACCEPTED: Final[dict[int | str, dict[str, Any]]] = {
    202: {
        "description": "with `Prefer: respond-async`: {session, key, records}",
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
}
Key = Annotated[str | None, Header(alias="Idempotency-Key", description="one key is one message")]
Prefer = Annotated[list[str] | None, Header(description="respond-async: do not wait for what comes of it")]


class RecordParameters(BaseModel):
    """How records are read."""

    model_config = ConfigDict(extra="forbid")

    format: str | None = Field(
        None, description="default: by Accept, else ndjson", json_schema_extra={"enum": [*FORMS, None]}
    )
    after: int = Field(0, ge=0, lt=1 << 53, description="only records with a higher seq")


class MessageRequest(BaseModel):
    """What is said: words, or a slash command."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(min_length=1, description=f"at most {MAX_MESSAGE_BYTES} bytes of UTF-8")


class DecisionRequest(BaseModel):
    """A decision."""

    model_config = ConfigDict(extra="forbid")

    approved: bool = Field(strict=True)
    comment: str = Field(default="", max_length=4000)


@router.post("/{session_id}/messages", responses=RECORDS | _ACCEPTED, response_class=Response)
async def say(
    here: Here,
    request: Request,
    session_id: SessionId,
    body: MessageRequest,
    given: Annotated[RecordParameters, Query()],
    key: Key = None,
    last_event_id: LastEventId = None,
    prefer: Prefer = None,
) -> Response:
    """Say something; the answer is what comes of it, as it comes."""
    _check_text(body.text)
    return await _said(here, request, session_id, body.text, None, (given, key, last_event_id, prefer))


@router.post("/{session_id}/approvals/{approval}", responses=RECORDS | _ACCEPTED, response_class=Response)
async def decide(
    here: Here,
    request: Request,
    session_id: SessionId,
    approval: Annotated[str, Path(description="the id of what waits for a decision")],
    body: DecisionRequest,
    given: Annotated[RecordParameters, Query()],
    key: Key = None,
    last_event_id: LastEventId = None,
    prefer: Prefer = None,
) -> Response:
    """Approve or reject what waits; the answer is what comes of it, as it comes."""
    _check_utf8(body.comment, "/comment")
    decision = Approval(approval, body.approved, body.comment)
    return await _said(here, request, session_id, "", decision, (given, key, last_event_id, prefer))


@router.post("/{session_id}:stop", status_code=202)
async def stop(here: Here, request: Request, session_id: SessionId) -> dict[str, Any]:
    """End the turn that is under way, at once. Where none is, there is nothing to end."""
    await asyncio.to_thread(own, here, request, session_id)
    return {"id": session_id, "stopping": await signal(here, session_id, STOP_SIGNAL)}


def form_of_records(request: Request, given: RecordParameters) -> FormName:
    """The form that is asked for. Raises ApiError `not_acceptable`."""
    return chosen(request, given.format, FORMS, _KNOWN, "a conversation")


async def _said(
    here: Services,
    request: Request,
    session_id: str,
    text: str,
    decision: Approval | None,
    how: tuple[RecordParameters, str | None, str | None, list[str] | None],
) -> Response:
    given, key, last_event_id, prefer = how
    check_key(key)
    form = form_of_records(request, given)
    after = number_of(last_event_id) if last_event_id else given.after
    later = "respond-async" in preferences(prefer, ("respond-async",))
    session = await asyncio.to_thread(own, here, request, session_id)
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    message = SessionMessage(key or str(uuid.uuid4()), text, access_of(request).to_json(), at, decision)
    if decision is not None:
        await asyncio.to_thread(_check_waits, here, session, message.key, decision)
    await send(here, session, message)
    path = f"/v1/sessions/{session_id}/records"
    headers = {"Location": f"{path}?after={session.seq}", "Idempotency-Key": message.key}
    if later:
        told = {"session": session_id, "key": message.key, "records": headers["Location"]}
        applied = {"Preference-Applied": "respond-async", "Vary": "Accept, Prefer"}
        return Response(orjson.dumps(told), 202, headers | applied, "application/json")
    batches = turn_batches(here, request, session_id, message.key, after)
    about = {"session": session_id}
    request_id = request.state.request_id
    return RecordStream(explained(batches, after, about, instance=path, request_id=request_id), form, headers)


def _check_waits(here: Services, session: Session, key: str, decision: Approval) -> None:
    """Raises ApiError for a decision that nothing waits for, but not for one that was heard already."""
    waiting = [pending.id for pending in session.pending]
    if decision.id not in waiting and here.conversations.turn_of(session.id, key) is None:
        raise ApiError(
            "not_waiting",
            f"the session does not wait for a decision {decision.id!r}",
            hint=f"it waits for {', '.join(waiting)}" if waiting else "GET /v1/sessions/{id} has what waits",
        )


def _check_text(text: str) -> None:
    """Raises ApiError for a message that is too long, or none."""
    size = _check_utf8(text, "/text")
    if size > MAX_MESSAGE_BYTES:
        raise ApiError(
            "too_large",
            f"the message has {size} bytes, the limit is {MAX_MESSAGE_BYTES}",
            pointer="/text",
            hint="import data into a store, and name the store",
        )
    if not text.strip():
        raise ApiError("invalid_field", "the message says nothing", pointer="/text")


def _check_utf8(text: str, pointer: str) -> int:
    """The bytes of a text. Raises ApiError for half a character."""
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        raise ApiError("invalid_field", "this is no text: it has half of a character", pointer=pointer) from None
