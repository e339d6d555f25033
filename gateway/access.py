"""Who may call, and the frame of every request: default deny, request ids, and problems instead of plain text.

Two ASGI middlewares, outermost first. They are plain ASGI, so that streams pass through untouched.

    RequestFrame    gives the request an id (X-Request-ID in and out, and in the log of a failure); makes a problem of what
                    nobody has caught, and of the body limiter's plain 413
    Authentication  lets nothing through without a valid key but the exact paths of PUBLIC, whatever the routes are

A path is compared as the router sees it, whole: no prefix, suffix or case tricks. Unknown paths need a key too, so that
nobody can find out without one what there is.
"""

import logging
import re
import secrets
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.keys import Keys
from gateway.problems import ApiError, problem_response, translate

PUBLIC: Final = frozenset({"/livez", "/readyz", "/docs", "/openapi.json"})
_log = logging.getLogger("gateway")
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")


class RequestFrame:
    """The outermost layer. A request id that is given and well-formed is kept."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id
        framed = _Frame(scope, receive, send, request_id)
        try:
            await self._app(scope, receive, framed.send)
        except Exception as error:
            _log.exception("%s %r failed (request %s)", scope["method"], scope["path"], request_id)
            if framed.started:
                raise
            answer = problem_response(translate(error), instance=scope["path"], request_id=request_id)
            await answer(scope, receive, framed.send)


class _Frame:
    """What is sent for one request, with our headers; a plain 413 is replaced."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._request_id = request_id
        self._replaced = False
        self.started = False

    async def send(self, message: Message) -> None:
        if self._replaced:
            return
        if message["type"] == "http.response.start":
            self.started = True
            headers = MutableHeaders(scope=message)
            if message["status"] == 413 and headers.get("content-type", "").startswith("text/plain"):
                await _too_large(self._scope, self._receive, self.send, self._request_id)
                self._replaced = True
                return
            headers["X-Request-ID"] = self._request_id
            headers.setdefault("Cache-Control", "no-store")
            headers["X-Content-Type-Options"] = "nosniff"
        await self._send(message)


async def _too_large(scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
    error = ApiError("body_too_large", "the body is too large", hint="rows are imported with rows:import, of any size")
    response = problem_response(error, instance=scope["path"], request_id=request_id)
    await response(scope, receive, send)


class Authentication:
    """Default deny. The id of the key is left in the request's state, for logs."""

    def __init__(self, app: ASGIApp, keys: Keys) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or (scope["type"] == "http" and scope["path"] in PUBLIC):
            await self._app(scope, receive, send)
            return
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        key_id = self._key_id(Headers(scope=scope).getlist("authorization"))
        if key_id is not None:
            scope["state"]["key_id"] = key_id
            await self._app(scope, receive, send)
            return
        error = ApiError(
            "not_authenticated",
            "a valid API key is needed",
            hint="Authorization: Bearer <key>; the first key is in the file api-key of the data directory",
        )
        await problem_response(error, instance=scope["path"], request_id=scope["state"]["request_id"])(
            scope, receive, send
        )

    def _key_id(self, given: list[str]) -> str | None:
        if len(given) != 1:
            return None
        scheme, _, key = given[0].partition(" ")
        return self._keys.verify(key.strip()) if scheme.lower() == "bearer" else None
