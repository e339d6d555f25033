"""HTTP without a socket: requests to our own application, as an httpx2 transport that streams.

What an MCP tool does is a request of the same API, with the same key, through the same layers: authentication, scopes, the audit log,
the limits of bodies. So there is one place where rights are asked, and it cannot be missed here. (httpx2's own ASGI transport gives an
answer when it is whole; a run's events are wanted as they happen.)

Requests of the inside are marked in their scope (INSIDE): they belong to a request that was counted already.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import anyio
import httpx2
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from starlette.types import ASGIApp, Message

from gateway.access.limits import INSIDE


class Inside(httpx2.AsyncBaseTransport):
    """The application as a transport."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Raises httpx2.RemoteProtocolError if the application fails before it answers, or in the middle of its answer."""
        exchange = _Exchange(await request.aread())
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": request.url.scheme,
            "path": request.url.path,
            "raw_path": request.url.raw_path.partition(b"?")[0],
            "query_string": request.url.query,
            "root_path": "",
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "client": request.extensions.get("client"),
            "server": (request.url.host, request.url.port or 80),
            INSIDE: True,
        }
        task = asyncio.ensure_future(exchange.run(self._app, scope))
        try:
            start = await exchange.begins()
        except BaseException:
            await exchange.leave(task)
            raise
        if start is None:
            await exchange.leave(task)
            raise httpx2.RemoteProtocolError("the gateway failed without an answer", request=request)
        return httpx2.Response(start["status"], headers=start["headers"], stream=_Body(exchange, task, request))


class _Exchange:
    """One request: what the application receives and sends. Nothing is kept: it sends when somebody reads."""

    def __init__(self, body: bytes) -> None:
        self._body: bytes | None = body
        self._gone = asyncio.Event()
        self._sending: MemoryObjectSendStream[Message]
        self._sending, self._reading = anyio.create_memory_object_stream[Message](0)
        self.whole = False

    @property
    def messages(self) -> MemoryObjectReceiveStream[Message]:
        return self._reading

    async def run(self, app: ASGIApp, scope: dict[str, Any]) -> None:
        async with self._sending:
            await app(scope, self._receive, self._send)

    async def begins(self) -> Message | None:
        """The beginning of the answer; None if there is none."""
        try:
            return await self._reading.receive()
        except anyio.EndOfStream:
            return None

    async def leave(self, task: "asyncio.Future[None]") -> None:
        """Nobody reads any more: tell the application, and wait until it has heard."""
        self._gone.set()
        self._reading.close()
        with anyio.CancelScope(shield=True):
            await asyncio.gather(task, return_exceptions=True)

    async def _receive(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self.whole = True
        if not self._gone.is_set():
            with suppress(anyio.BrokenResourceError):
                await self._sending.send(message)
                return
        await asyncio.sleep(0)  # whoever sends without ever waiting would not hear that nobody reads


class _Body(httpx2.AsyncByteStream):
    """The body of an answer, piece by piece."""

    def __init__(self, exchange: _Exchange, task: "asyncio.Future[None]", request: httpx2.Request) -> None:
        self._exchange = exchange
        self._task = task
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for message in self._exchange.messages:
            if message.get("body"):
                yield message["body"]
        if not self._exchange.whole:
            raise httpx2.RemoteProtocolError("the answer ended too early", request=self._request)

    async def aclose(self) -> None:
        await self._exchange.leave(self._task)
