"""Sessions: make, list, look at, change and close them.

    POST   /v1/sessions          201 and the session
    GET    /v1/sessions          one's own, newest first; with `admin` everybody's
    GET    /v1/sessions/{id}     how it stands, and what waits for a decision
    PATCH  /v1/sessions/{id}     its title, its database
    DELETE /v1/sessions/{id}     close it: what goes on there is stopped, and nothing more is said. What was said stays

A session belongs to the key that made it: to other keys, but those with `admin`, there is none of this id. What is done in it takes the
rights of whoever says so, at that moment, and never more than the session's grants.
"""

import asyncio
import secrets
import time
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from temporalio.service import RPCError, RPCStatusCode

from gateway.access import about, access_of
from gateway.data.databases import open_database
from gateway.keys import read_scopes
from gateway.schedules.calendars import check_zone
from gateway.services import Here, Services
from script.session_wire import CLOSE_SIGNAL, workflow_id
from toolbox.access import ADMIN, Scope
from toolbox.authoring import Limits, Session, Work
from toolbox.authoring.conversations import now_utc
from toolbox.errors import SessionNotFound

router = APIRouter(prefix="/v1/sessions", tags=["sessions"])

MOST: Final = Limits()
"""The highest limits that a session may have, which are those that it has by default."""
CLOSED: Final = "session_closed"
"""The code of the notice that is the last thing that a session tells of itself."""
SessionId = Annotated[str, Path(description="a session's id")]
Title = Annotated[str, Field(max_length=200)]
_ZONE: Final = "the person's, by its IANA name: in it schedules are meant; null: it is asked for"
_HEAD: Final = ("id", "title", "status", "owner", "database", "draft", "created_at", "updated_at")


class LimitsRequest(BaseModel):
    """Lower budgets than the usual ones."""

    model_config = ConfigDict(extra="forbid")

    rounds: int = Field(MOST.rounds, ge=1, le=MOST.rounds, description="requests to the model in one turn")
    calls: int = Field(MOST.calls, ge=1, le=MOST.calls, description="tool calls in one turn")
    tokens: int = Field(MOST.tokens, ge=1, le=MOST.tokens, description="tokens of the session")
    seconds: int = Field(MOST.seconds, ge=1, le=MOST.seconds, description="seconds of one turn")


class SessionRequest(BaseModel):
    """A new session; everything may be left out."""

    model_config = ConfigDict(extra="forbid")

    title: Title = ""
    database: str | None = Field(None, description="the one that is meant where none is named")
    time_zone: str | None = Field(None, description=_ZONE)
    grants: list[str] = Field([], description="scopes that narrow what the key may do here; none: all that it may")
    stub: bool = Field(False, description="all tools answer without effect")
    model: str | None = Field(None, max_length=200, description="another model than the usual one")
    limits: LimitsRequest = Field(default_factory=LimitsRequest)


class ChangeRequest(BaseModel):
    """What is to be another; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    title: Title = ""
    database: str | None = Field(None, description="null: none is meant any more")
    time_zone: str | None = Field(None, description=_ZONE)


@router.post("", status_code=201)
def create(here: Here, request: Request, response: Response, body: SessionRequest) -> dict[str, Any]:
    """Begin a session."""
    access = access_of(request)
    _check_database(here, request, body.database)
    _check_zone(body.time_zone)
    now = now_utc()
    session = Session(
        id=_new_id(),
        owner=access.key_id,
        created_at=now,
        updated_at=now,
        title=body.title,
        grants=_grants(request, body.grants),
        database=body.database,
        time_zone=body.time_zone,
        stub=body.stub,
        model=body.model,
        limits=Limits(**body.limits.model_dump()),
    )
    here.conversations.create(session)
    about(request, session=session.id)
    response.headers["Location"] = f"/v1/sessions/{session.id}"
    return _told(here, session)


@router.get("")
def list_(
    here: Here,
    request: Request,
    status: Literal["open", "closed"] | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    cursor: str | None = None,
) -> dict[str, Any]:
    """One's own sessions, newest first; with `admin` everybody's."""
    access = access_of(request)
    owner = None if access.has(ADMIN) else access.key_id
    named = f"sessions/{owner}/{status}"
    before = here.cursors.open(named, cursor) if cursor is not None else None
    found = here.conversations.page(limit + 1, before=before, owner=owner, status=status)
    page, more = found[:limit], len(found) > limit
    return {
        "data": list(map(_head, page)),
        "has_more": more,
        "next_cursor": here.cursors.seal(named, page[-1].id) if more else None,
    }


@router.get("/{session_id}")
def show(here: Here, request: Request, session_id: SessionId) -> dict[str, Any]:
    """How a session stands."""
    return _told(here, own(here, request, session_id))


@router.patch("/{session_id}")
def change(here: Here, request: Request, session_id: SessionId, body: ChangeRequest) -> dict[str, Any]:
    """Another title, another database, another time zone."""
    own(here, request, session_id)
    given = body.model_dump(include=body.model_fields_set)
    _check_database(here, request, given.get("database"))
    _check_zone(given.get("time_zone"))

    def work(work: Work) -> dict[str, Any]:
        for name, value in given.items():
            setattr(work.session, name, value)
        return work.session.to_json()

    return _told(here, Session.from_json(here.conversations.change(session_id, work)))


@router.delete("/{session_id}", status_code=204)
async def close(here: Here, request: Request, session_id: SessionId) -> Response:
    """Close a session: what goes on there is stopped. It stays, with what was said, and takes no more messages."""
    await asyncio.to_thread(own, here, request, session_id)
    await asyncio.to_thread(here.conversations.change, session_id, _close)
    await signal(here, session_id, CLOSE_SIGNAL)
    return Response(status_code=204)


def _close(work: Work) -> None:
    if work.session.status != "closed":
        work.session.status = "closed"
        work.say("notice", code=CLOSED, text="the session is closed")


async def signal(here: Services, session_id: str, name: str) -> bool:
    """Tell the workflow of a session something; whether there is one that goes on."""
    try:
        await here.client.get_workflow_handle(workflow_id(session_id)).signal(name)
    except RPCError as error:
        if error.status != RPCStatusCode.NOT_FOUND:
            raise
        return False
    return True


def own(here: Services, request: Request, session_id: str) -> Session:
    """A session that the request may know. Raises SessionNotFound, for those of others too."""
    access = access_of(request)
    session = here.conversations.get(session_id)
    if session.owner != access.key_id and not access.has(ADMIN):
        raise SessionNotFound(f"there is no session {session_id!r}")
    return session


def _new_id() -> str:
    """Later ids are greater."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(8)}"


def _grants(request: Request, texts: list[str]) -> list[str]:
    """Raises ApiError for what is no scope, or is not the key's."""
    scopes = read_scopes(texts, "/grants")
    access_of(request).require(*scopes)
    return list(map(str, scopes))


def _check_database(here: Services, request: Request, database: str | None) -> None:
    """Raises ApiError `forbidden`, DatabaseNotFound."""
    if database is not None:
        access_of(request).require(Scope("data", "read", database))
        open_database(here, database)


def _check_zone(name: str | None) -> None:
    """Raises ApiError `unknown_time_zone`."""
    if name is not None:
        check_zone(name)


def _head(session: Session) -> dict[str, Any]:
    found = {name: getattr(session, name) for name in _HEAD}
    return {**found, "waiting": len(session.pending), "turn": {"number": session.turn, "status": session.turn_status}}


def _told(here: Services, session: Session) -> dict[str, Any]:
    """The session as its person sees it."""
    row = session.to_json()
    kept = ("time_zone", "grants", "mocks", "recording", "stub", "model", "verbose", "usage", "limits")
    turn = {
        "number": session.turn,
        "status": session.turn_status,
        "started_at": session.turn_started_at or None,
        "rounds": session.turn_rounds,
        "calls": session.turn_calls,
    }
    head = {**_head(session), "turn": turn, "records": session.seq}
    return {**head, **{name: row[name] for name in kept}, "pending": _pending(here, session)}


def _pending(here: Services, session: Session) -> list[dict[str, Any]]:
    """What waits for a decision, each with what was shown of it."""
    if not session.pending:
        return []
    cards = {record.get("approval"): record for record in here.conversations.cards(session.id, "approval")}
    found = []
    for pending in session.pending:
        call = session.call(pending.call)
        told = {"id": pending.id, "what": pending.what, "turn": pending.turn, "hash": pending.hash}
        named = {"tool": call.tool, "args": call.args} if call is not None else {}
        found.append({**told, **named, "shown": cards.get(pending.id)})
    return found
