"""The MCP server over stdio: the same server in a process of its own, which talks with the gateway over HTTP (`sop mcp`)."""

from typing import Final

import anyio
import httpx2
from mcp.server.stdio import stdio_server

from gateway.client.transport import CONNECT_SECONDS, SECONDS
from gateway.mcp.api import Api
from gateway.mcp.changes import Changes
from gateway.mcp.server import create_server

EVERY: Final = 10.0
"""Seconds between looks for changes: each is a request."""


async def serve(url: str, key: str) -> None:
    """Serve stdin and stdout until stdin ends. Raises GatewayError if the gateway does not let this key in."""
    async with httpx2.AsyncClient(
        base_url=url.rstrip("/"),
        headers={"Authorization": f"Bearer {key}"},
        timeout=httpx2.Timeout(SECONDS, connect=CONNECT_SECONDS),
        trust_env=False,
    ) as http:
        api = Api(http)
        tag = _Tag(api)
        await tag()
        changes = Changes(tag, EVERY)
        server = create_server(lambda context: api, changes)
        async with stdio_server() as (reading, writing), anyio.create_task_group() as tasks:
            tasks.start_soon(changes.watch)
            await server.run(reading, writing, server.create_initialization_options())
            tasks.cancel_scope.cancel()


class _Tag:
    """The ETag of the catalog, asked for anew each time."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def __call__(self) -> str:
        answer = await self._api.answer("GET", "/v1/mcp/catalog")
        return answer.headers["etag"]
