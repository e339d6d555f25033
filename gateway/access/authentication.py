"""Default deny: nothing without a valid key but the exact paths of PUBLIC, whatever the routes are.

Plain ASGI around the router, so a route cannot forget it, and unknown paths need a key too: nobody can find out without one what there
is. A path is compared as the router sees it, whole: no prefix, suffix or case tricks. What a key may do, each route's guard asks
(`routes`), with what is left for it in the request's state:

    key_id    the key's id, for logs
    access    scopes.Access
    session   sessions.Session, if the request came with a cookie; a request with a key is never known by its cookie

The answer's status is seen here too, so here it is noted what goes into the audit log.
"""

from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.access.audit import REFUSALS, Entry
from gateway.access.keys import Keys
from gateway.access.notes import Notes
from gateway.access.routes import PUBLIC, Reached
from gateway.access.scopes import Access
from gateway.access.sessions import Sessions
from gateway.problems import ApiError, problem_response

_FAILED: Final = 500


class Authentication:
    """Lets requests with a valid key through, or with the cookie of a session that stands for one."""

    def __init__(self, app: ASGIApp, keys: Keys, sessions: Sessions, notes: Notes) -> None:
        self._app = app
        self._keys = keys
        self._sessions = sessions
        self._notes = notes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or (scope["type"] == "http" and scope["path"] in PUBLIC):
            await self._app(scope, receive, send)
            return
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        given = Headers(scope=scope).getlist("authorization")
        try:
            session = None if given else self._sessions.of_request(scope)
        except ApiError as error:
            await _refuse(error, scope, receive, _Watched(scope, send, None, self._notes).send)
            return
        access = session.access if session is not None else self._access(given)
        watched = _Watched(scope, send, access, self._notes)
        if access is None:
            await _not_authenticated(scope, receive, watched.send)
            return
        scope["state"] |= {"key_id": access.key_id, "access": access, "session": session}
        self._notes.used(access.key_id)
        try:
            await self._app(scope, receive, watched.send)
        except BaseException:
            watched.note(_FAILED)
            raise

    def _access(self, given: list[str]) -> Access | None:
        if len(given) != 1:
            return None
        scheme, _, key = given[0].partition(" ")
        return self._keys.verify(key.strip()) if scheme.lower() == "bearer" else None


async def _not_authenticated(scope: Scope, receive: Receive, send: Send) -> None:
    error = ApiError(
        "not_authenticated",
        "a valid API key is needed",
        hint="Authorization: Bearer <key>; the first key is in the file api-key of the data directory",
    )
    await _refuse(error, scope, receive, send)


async def _refuse(error: ApiError, scope: Scope, receive: Receive, send: Send) -> None:
    answer = problem_response(error, instance=scope["path"], request_id=scope["state"]["request_id"])
    await answer(scope, receive, send)


class _Watched:
    """What is sent for one request; its status is noted, once."""

    def __init__(self, scope: Scope, send: Send, access: Access | None, notes: Notes) -> None:
        self._scope = scope
        self._send = send
        self._access = access
        self._notes = notes
        self._noted = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.note(message["status"])
        await self._send(message)

    def note(self, status: int) -> None:
        """Note the outcome, if it belongs into the audit log."""
        state = self._scope["state"]
        reached: Reached | None = state.get("reached")
        writes = reached is not None and reached.writes
        if self._noted or not (writes or status in REFUSALS):
            return
        self._noted = True
        entry = Entry(
            method=self._scope["method"],
            status=status,
            request_id=state["request_id"],
            route=reached.route if reached is not None else None,
            target=reached.target if reached is not None else {},
            key=self._access.key_id if self._access is not None else None,
            name=self._access.name if self._access is not None else None,
        )
        self._notes.audit(entry)
