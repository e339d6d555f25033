"""Default deny: nothing without a valid key but the exact paths of PUBLIC, whatever the routes are.

Plain ASGI around the router, so a route cannot forget it, and unknown paths need a key too: nobody can find out without one what there
is. A path is compared as the router sees it, whole: no prefix, suffix or case tricks. Who sends a key to one of KNOWING has to send a valid
one. What a key may do, each route's guard asks
(`routes`), with what is left for it in the request's state:

    key_id    the key's id, for logs; of a bearer token `oidc:` and its subject
    access    toolbox.access.Access
    session   sessions.Session, if the request came with a cookie; a request with a key is never known by its cookie

A credential is a key of ours, or a token of an identity provider (`tokens`), if one is configured. Both are checked at every request.
How many requests a key may send, and how often an address may fail here, `limits` says.

The answer's status is seen here too, so here it is noted what goes into the audit log.
"""

from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.access.audit import REFUSALS, Entry
from gateway.access.keys import Keys
from gateway.access.limits import INSIDE, Limits, address_of, headers, refusal
from gateway.access.notes import Notes
from gateway.access.routes import KNOWING, PUBLIC, Reached
from gateway.access.sessions import Sessions
from gateway.access.tokens import Tokens, is_token
from gateway.problems import ApiError, problem_response
from toolbox.access import Access

_FAILED: Final = 500


class Authentication:
    """Lets requests with a valid key through, or with the cookie of a session that stands for one."""

    def __init__(
        self,
        app: ASGIApp,
        keys: Keys,
        sessions: Sessions,
        notes: Notes,
        limits: Limits | None = None,
        tokens: Tokens | None = None,
    ) -> None:
        self._app = app
        self._keys = keys
        self._sessions = sessions
        self._notes = notes
        self._limits = limits or Limits()
        self._tokens = tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or (scope["type"] == "http" and _is_open(scope)):
            await self._app(scope, receive, send)
            return
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        watched = _Watched(scope, send, self._notes)
        given = Headers(scope=scope).getlist("authorization")
        try:
            session = None if given else self._sessions.of_request(scope)
            access = session.access if session is not None else await self._access(given)
            if access is None:
                raise self._not_authenticated(scope, watched)
            watched.access = access
            scope["state"] |= {"key_id": access.key_id, "access": access, "session": session}
            watched.headers = self._counted(scope, access)
            if session is not None:
                self._sessions.check_origin(scope)
        except ApiError as error:
            await _refuse(error, scope, receive, watched.send)
            return
        if not access.by_token:
            self._notes.used(access.key_id)
        try:
            await self._app(scope, receive, watched.send)
        except BaseException:
            watched.note(_FAILED)
            raise

    async def _access(self, given: list[str]) -> Access | None:
        """Raises ApiError where whether a token is valid cannot be told now."""
        if len(given) != 1:
            return None
        scheme, _, credential = given[0].partition(" ")
        if scheme.lower() != "bearer":
            return None
        if self._tokens is not None and is_token(credential.strip()):
            return await self._tokens.verify(credential.strip())
        return self._keys.verify(credential.strip())

    def _counted(self, scope: Scope, access: Access) -> dict[str, str]:
        """What the answer tells of the key's rate. Raises ApiError `rate_limited`."""
        buckets = self._limits.keys
        if buckets is None or scope.get(INSIDE):
            return {}
        taken = buckets.take(access.key_id)
        if not taken.allowed:
            raise refusal(buckets, taken)
        return headers(buckets, taken)

    def _not_authenticated(self, scope: Scope, watched: "_Watched") -> ApiError:
        buckets = self._limits.failures
        if buckets is not None:
            address = address_of(scope.get("client"))
            taken = buckets.take(address)
            if not taken.allowed:
                watched.address = address if self._limits.told.first(address) else None
                return refusal(buckets, taken)
        return ApiError(
            "not_authenticated",
            "a valid API key is needed",
            hint="Authorization: Bearer <key>; the first key is in the file api-key of the data directory",
        )


def _is_open(scope: Scope) -> bool:
    """Whether no key is needed, and none looked at."""
    if scope["path"] not in PUBLIC:
        return False
    return scope["path"] not in KNOWING or not any(Headers(scope=scope).getlist("authorization"))


async def _refuse(error: ApiError, scope: Scope, receive: Receive, send: Send) -> None:
    answer = problem_response(error, instance=scope["path"], request_id=scope["state"]["request_id"])
    await answer(scope, receive, send)


class _Watched:
    """What is sent for one request; its status is noted, once. `address` is that of who failed too often, if that is to be noted."""

    def __init__(self, scope: Scope, send: Send, notes: Notes) -> None:
        self._scope = scope
        self._send = send
        self._notes = notes
        self.access: Access | None = None
        self.headers: dict[str, str] = {}
        self.address: str | None = None
        self._noted = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.note(message["status"])
            MutableHeaders(scope=message).update(self.headers)
        await self._send(message)

    def note(self, status: int) -> None:
        """Note the outcome, if it belongs into the audit log."""
        state = self._scope["state"]
        reached: Reached | None = state.get("reached")
        writes = reached is not None and reached.writes
        if self._noted or not (writes or status in REFUSALS or self.address is not None):
            return
        self._noted = True
        entry = Entry(
            method=self._scope["method"],
            status=status,
            request_id=state["request_id"],
            route=reached.route if reached is not None else None,
            target=self._target(reached),
            key=self.access.key_id if self.access is not None else None,
            name=self.access.name if self.access is not None else None,
        )
        self._notes.audit(entry)

    def _target(self, reached: Reached | None) -> dict[str, str]:
        if self.address is not None:
            return {"address": self.address}
        return reached.target if reached is not None else {}
