"""`/mcp`: the MCP server over streamable HTTP, in the gateway.

    POST /mcp      a message of the client's; the answer is JSON, or a stream of its progress and its result
    GET /mcp       the messages of the server's to a session (lists have changed)
    DELETE /mcp    the end of a session

Each of them takes an API key with the scope `mcp`, like any route of ours; what a message asks for is then a request of its own with the
same key (`inside`). A session belongs to the key that opened it: for another one it is not there (404). Its id is random, 122 bits, and is
no key: without one, it opens nothing. Sessions are of this process; clients of the protocol's newer versions need none.

Who is not a loopback name or one of `SOP_MCP_HOSTS` as `Host`, or comes from a web page that is not one of `SOP_MCP_ORIGINS`, is refused
(DNS rebinding): by the package's own check, before it reads a message.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import anyio
import httpx2
from fastapi import APIRouter, FastAPI, Request, Response
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.context import ServerRequestContext
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from mcp_types import SubscriptionsListenRequestParams, SubscriptionsListenResult
from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope, Send

from gateway.access import Credential, credential_of
from gateway.access.validity import ended
from gateway.mcp.api import Api
from gateway.mcp.catalog import digest
from gateway.mcp.changes import Changes
from gateway.mcp.inside import Inside
from gateway.mcp.server import create_server, protocol_error
from gateway.problems import ApiError, problem_response
from gateway.services import Services

MOST_SESSIONS: Final = 1000
MOST_OF_A_KEY: Final = 100
IDLE_SECONDS: Final = 600
SESSION: Final = "mcp-session-id"
_LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")
PATHS: Final = frozenset({"/mcp"})
router = APIRouter(tags=["mcp"])
_PROBLEMS: Final = {
    400: ("bad_request", "the request is no message of MCP", "POST takes application/json"),
    403: ("origin_not_allowed", "web pages of this origin may not use MCP here", "SOP_MCP_ORIGINS allows origins"),
    405: ("method_not_allowed", "this method is not allowed here", None),
    406: ("not_acceptable", "answers are application/json or text/event-stream", "Accept has to have both"),
    413: ("body_too_large", "the body is too large", None),
    415: ("unsupported_media_type", "POST takes application/json", None),
    421: ("host_not_allowed", "the gateway does not go by this name", "SOP_MCP_HOSTS has its names behind a proxy"),
}


class Door:
    """The MCP server of an application."""

    def __init__(self, app: FastAPI, services: Services) -> None:
        self._services = services
        self._http = httpx2.AsyncClient(transport=Inside(app), base_url="http://gateway", timeout=None)
        self._changes = Changes(lambda: asyncio.to_thread(digest, services))
        self._server = create_server(self._api, self._changes, self._listen)
        self._manager = StreamableHTTPSessionManager(
            self._server,
            security_settings=_security(services.mcp_hosts, services.mcp_origins),
            session_idle_timeout=IDLE_SECONDS,
            max_request_body_size=services.max_body_bytes,
            max_sessions=MOST_SESSIONS,
        )
        self._open = False
        for name in ("mcp", "sse_starlette"):  # their `info` is for those who develop them, and has the ids of sessions
            logging.getLogger(name).setLevel(logging.WARNING)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """While the application runs."""
        async with self._http, self._manager.run(), anyio.create_task_group() as tasks:
            tasks.start_soon(self._changes.watch)
            tasks.start_soon(self._end_listening)
            self._open = True
            try:
                yield
            finally:
                self._open = False
                tasks.cancel_scope.cancel()

    async def _end_listening(self) -> None:
        """Whoever listens to changes is told that there is no more to hear, when the gateway stops."""
        await self._services.stopping.wait()
        self._changes.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request. Raises ApiError where this application is not running, or the key has too many sessions."""
        if not self._open:
            raise ApiError("not_ready", "the gateway does not serve MCP now", retryable=True)
        if scope["state"].get("session") is not None:
            raise ApiError("not_authenticated", "MCP takes a key, and no session", hint="Authorization: Bearer <key>")
        key_id: str = scope["state"]["key_id"]
        owner = AccessToken(token="", client_id=key_id, scopes=[])
        scope["user"] = AuthenticatedUser(owner)
        if scope["method"] == "POST" and SESSION not in Headers(scope=scope):
            self._check_sessions(key_id)
        told = _Told(scope, receive, send)
        if scope["method"] != "GET":
            await self._manager.handle_request(scope, receive, told.send)
            return
        with self._services.validity.held(Credential(scope["state"]["access"])) as over:
            await self._manager.handle_request(scope, _until(receive, self._services.stopping, over), told.send)

    async def _listen(
        self, context: ServerRequestContext[Any, Any], params: SubscriptionsListenRequestParams
    ) -> SubscriptionsListenResult:
        """Let a client listen to changes, until its key is valid no more. Raises MCPError then."""
        assert isinstance(context.request, Request)
        with self._services.validity.held(credential_of(context.request)) as over:
            listening = asyncio.ensure_future(self._changes.listen(context, params))
            ending = asyncio.ensure_future(over.wait())
            try:
                await asyncio.wait((listening, ending), return_when=asyncio.FIRST_COMPLETED)
                if listening.done():
                    return listening.result()
                raise protocol_error(ended())
            finally:
                for task in (listening, ending):
                    task.cancel()
                await asyncio.gather(listening, ending, return_exceptions=True)

    def _check_sessions(self, key_id: str) -> None:
        owners = [owner["client_id"] for owner in self._manager._session_owners.values()]
        if len(owners) >= MOST_SESSIONS or owners.count(key_id) >= MOST_OF_A_KEY:
            hint = f"end sessions with DELETE; those that nobody uses end after {IDLE_SECONDS} seconds"
            raise ApiError("too_many_sessions", "there are too many sessions of MCP", hint=hint, retryable=True)

    def _api(self, context: ServerRequestContext[Any, Any]) -> Api:
        """The API with the key of the request that a message came with."""
        request = context.request
        assert isinstance(request, Request)
        headers = {
            "Authorization": request.headers["authorization"],
            "X-Request-ID": request.state.request_id,
        }
        return Api(self._http, headers, {"client": request.scope.get("client")}, self._services.stopping.is_set)


def _security(hosts: Sequence[str], origins: Sequence[str]) -> TransportSecuritySettings:
    names = [*_LOOPBACK, *hosts]
    return TransportSecuritySettings(
        allowed_hosts=[*names, *(f"{name}:*" for name in names)], allowed_origins=list(origins)
    )


def _until(receive: Receive, *events: asyncio.Event) -> Receive:
    """What a client sends, until the gateway stops, or the key ends: then it is as if it had gone."""

    async def received() -> Message:
        coming = asyncio.ensure_future(receive())
        ending = [asyncio.ensure_future(event.wait()) for event in events]
        try:
            await asyncio.wait((coming, *ending), return_when=asyncio.FIRST_COMPLETED)
            return coming.result() if coming.done() else {"type": "http.disconnect"}
        finally:
            for task in (coming, *ending):
                task.cancel()
            await asyncio.gather(coming, *ending, return_exceptions=True)

    return received


class _Told:
    """What is sent, with problems of ours for refusals that are no messages of MCP."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._replaced = False

    async def send(self, message: Message) -> None:
        if self._replaced:
            return
        if message["type"] == "http.response.start" and message["status"] in _PROBLEMS and not _is_json(message):
            self._replaced = True
            await self._problem(message["status"])
            return
        await self._send(message)

    async def _problem(self, status: int) -> None:
        code, detail, hint = _PROBLEMS[status]
        error = ApiError(code, detail, hint=hint, status=status)
        state = self._scope["state"]
        answer = problem_response(error, instance=self._scope["path"], request_id=state["request_id"])
        await answer(self._scope, self._receive, self._send)


def _is_json(message: Message) -> bool:
    return "json" in Headers(raw=message["headers"]).get("content-type", "")


class _Through(Response):
    """A response that the door sends itself."""

    def __init__(self, door: Door) -> None:
        super().__init__()
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._door(scope, receive, send)


@router.post("/mcp", include_in_schema=False)
async def message(request: Request) -> Response:
    """A message of MCP (JSON-RPC)."""
    return _Through(request.app.state.mcp)


@router.get("/mcp", include_in_schema=False)
async def listen(request: Request) -> Response:
    """The stream of a session of MCP."""
    return _Through(request.app.state.mcp)


@router.delete("/mcp", include_in_schema=False)
async def end_session(request: Request) -> Response:
    """End a session of MCP."""
    return _Through(request.app.state.mcp)
