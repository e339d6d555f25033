"""Telling clients that the lists of tools and resources have changed: a script was saved, by whomever, through any gateway.

Nobody tells a gateway what another one has saved, so it looks every EVERY seconds, if there is anybody to tell. What it looks at (`tag`) is
a hash of all scripts; over stdio it is the catalog's ETag. Clients of older versions of the protocol hear it on their session's stream,
those of newer ones where they listen (`subscriptions/listen`).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final
from weakref import WeakSet

import anyio
from mcp.server.connection import Connection
from mcp.server.context import ServerRequestContext
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    ListenHandler,
    ResourcesListChanged,
    ServerEvent,
    ToolsListChanged,
)
from mcp_types import NotificationParams

EVERY: Final = 2.0
_log = logging.getLogger("gateway")


class Bus(InMemorySubscriptionBus):
    """The package's bus, which knows how many listen."""

    def __init__(self, came: Callable[[], None]) -> None:
        super().__init__()
        self._came = came
        self.listening = 0

    def subscribe(self, listener: Callable[[ServerEvent], None]) -> Callable[[], None]:
        leave = super().subscribe(listener)
        self.listening += 1
        self._came()
        left = False

        def unsubscribe() -> None:
            nonlocal left
            if not left:
                left = True
                self.listening -= 1
                leave()

        return unsubscribe


class Changes:
    """Who wants to hear of changes, and the look-out for them."""

    def __init__(self, tag: Callable[[], Awaitable[str]], every: float | None = None) -> None:
        self._came = asyncio.Event()
        self.bus = Bus(self._came.set)
        self.listen = ListenHandler(self.bus)
        self._tag = tag
        self._every = every or EVERY
        self._connections: WeakSet[Connection] = WeakSet()

    async def heard_from(self, context: ServerRequestContext[Any, Any], params: NotificationParams) -> None:
        """A session has begun: it is told for as long as it lasts."""
        self._connections.add(context.session._connection)
        self._came.set()

    def close(self) -> None:
        """End what listens."""
        self.listen.close()

    async def watch(self) -> None:
        """Look, and tell, until this is canceled."""
        known: str | None = None
        while True:
            if not self._connections and not self.bus.listening:
                known = None
            else:
                found = await self._look(known)
                if known is not None and found != known:
                    await self.tell()
                known = found
            self._came.clear()
            with anyio.move_on_after(self._every):  # who has just come is told of what changes from now on
                await self._came.wait()

    async def tell(self) -> None:
        """Tell everybody that the lists have changed."""
        for connection in list(self._connections):
            await connection.send_tool_list_changed()
            await connection.send_resource_list_changed()
        await self.bus.publish(ToolsListChanged())
        await self.bus.publish(ResourcesListChanged())

    async def _look(self, known: str | None) -> str | None:
        try:
            return await self._tag()
        except Exception:
            _log.warning("whether scripts have changed cannot be told just now", exc_info=True)
            return known
