"""The outermost layer of the gateway: each request is counted, and is one line of the log.

    INFO gateway.access: GET /v1/runs/{run_id} 200  path=... ms=3.1 bytes=412 request_id=... key_id=... run_id=...

The line is written when the answer has ended, so for a stream at its end; `cut` marks one whose client went away, or that did not come to
its end. Queries
(`?filter=...`) and headers are not logged: they have data and keys in them. Probes that go well are logged at debug level only.
"""

import logging
from time import perf_counter
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.operations.logs import REQUEST
from gateway.operations.metrics import Metrics

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_PROBES: Final = frozenset({"/livez", "/readyz"})
_OTHER: Final = "other"
_log = logging.getLogger("gateway.access")


class Measured:
    """Plain ASGI, so that streams pass through untouched."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(scope, send, self._metrics)
        before = REQUEST.set(scope)
        try:
            await self._app(scope, receive, answer.send)
        finally:
            answer.close()
            REQUEST.reset(before)


class _Answer:
    """What is sent for one request. The route is known when the answer begins: by then it was found."""

    def __init__(self, scope: Scope, send: Send, metrics: Metrics) -> None:
        self._scope = scope
        self._send = send
        self._metrics = metrics
        self._began = perf_counter()
        self._method = scope["method"] if scope["method"] in _METHODS else _OTHER
        self._status: int | None = None
        self._bytes = 0
        self._streams: str | None = None
        self._whole = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._note_run(message)
            self._metrics.seconds.labels(self._method, self._route()).observe(perf_counter() - self._began)
        elif message["type"] == "http.response.body":
            self._bytes += len(message.get("body", b""))
            self._whole = not message.get("more_body", False)
            if not self._whole and self._streams is None:
                self._streams = self._route()
                self._metrics.streams.labels(self._streams).inc()
        await self._send(message)

    def close(self) -> None:
        """The end, whatever it was."""
        route, seconds = self._route(), perf_counter() - self._began
        if self._streams is not None:
            self._metrics.streams.labels(self._streams).dec()
            self._metrics.stream_seconds.labels(self._streams).observe(seconds)
        status = str(self._status) if self._status is not None else "aborted"
        self._metrics.requests.labels(self._method, route, status).inc()
        told: dict[str, Any] = {"path": self._scope["path"], "ms": round(seconds * 1000, 1), "bytes": self._bytes}
        if not self._whole:
            told["cut"] = True
        quiet = route in _PROBES and status == "200"
        _log.log(logging.DEBUG if quiet else logging.INFO, "%s %s %s", self._method, route, status, extra=told)

    def _route(self) -> str:
        path = getattr(self._scope.get("route"), "path", None)
        return path.replace(":path}", "}") if isinstance(path, str) else _OTHER

    def _note_run(self, message: Message) -> None:
        """The run that an answer is about, where the address does not tell it."""
        for name, value in message.get("headers", ()):
            if name.lower() == b"run-id":
                self._scope.setdefault("state", {})["run_id"] = value.decode("latin-1")
