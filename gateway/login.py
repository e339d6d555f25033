"""Sessions of browsers over HTTP (`access.sessions`): log in with a key, look who is logged in, log out."""

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request, Response

from gateway.access import access_of
from gateway.access.origins import check_safe_for_cookies
from gateway.access.sessions import Session, forget_cookie, set_cookie
from gateway.problems import ApiError
from gateway.services import Here
from toolbox.access import Access

router = APIRouter(prefix="/v1/session", tags=["keys"])


@router.post("", status_code=201)
def log_in(here: Here, request: Request, response: Response) -> dict[str, Any]:
    """Begin a session of the request's key: the answer has a cookie, which stands for the key for eight hours."""
    if _session(request) is not None:
        message = "a session begins with a key, and not with another session"
        raise ApiError("not_authenticated", message, hint="Authorization: Bearer <key>")
    if access_of(request).by_token:
        message = "a session begins with a key of ours, and not with a provider's token"
        raise ApiError("not_authenticated", message, hint="make a key: POST /v1/keys")
    check_safe_for_cookies(request.scope)
    token, session = here.sessions.begin(access_of(request))
    set_cookie(response, request.scope, token, session, datetime.now(UTC))
    return _told(session.access, session)


@router.get("")
def show_session(here: Here, request: Request) -> dict[str, Any]:
    """Who asks: the key, what it may do, and until when the session lives, if the request came with its cookie."""
    return _told(access_of(request), _session(request))


@router.delete("", status_code=204)
def log_out(here: Here, request: Request) -> Response:
    """End the session of the request's cookie."""
    session = _session(request)
    if session is None:
        raise ApiError("session_not_found", "the request came with a key, and with no session to end")
    here.sessions.end(session.id)
    response = Response(status_code=204)
    forget_cookie(response, request.scope)
    return response


def _session(request: Request) -> Session | None:
    found: Session | None = getattr(request.state, "session", None)
    return found


def _told(access: Access, session: Session | None) -> dict[str, Any]:
    return {
        "key": {"id": access.key_id, "name": access.name},
        "scopes": list(map(str, access.scopes)),
        "session": {"expires_at": session.expires_at} if session is not None else None,
    }
