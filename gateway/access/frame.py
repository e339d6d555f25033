"""The frame of every request: its id (X-Request-ID in and out, and in the log of a failure), our headers, and a problem instead of what
nobody has caught, and instead of the body limiter's plain 413. The outermost layer, plain ASGI, so that streams pass through untouched.
"""

import logging
import re
import secrets
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.problems import ApiError, problem_response, translate

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
