"""Reading ahead: what a generator gives, as much at a time as there is.

A stream that waits for each of its records by itself spends its time on waiting: a task, a timer and a write to the socket for each.
Here one task reads the generator, at most AHEAD items before they are taken, and whoever sends them takes all that have come.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from typing import Final, Generic, TypeVar

AHEAD: Final = 16
"""Items that are kept at most: a reader that is slow stops the generator."""
T = TypeVar("T")


class Ahead(Generic[T]):
    """Owns a generator. `close` it in any case."""

    def __init__(self, source: AsyncGenerator[T, None]) -> None:
        self._source = source
        self._items: deque[T] = deque()
        self._room = asyncio.Event()
        self.news: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when there are items, or the generator has ended; another one after each `take`."""
        self._task = asyncio.create_task(self._read())
        self._task.add_done_callback(lambda _: self._tell())

    def take(self) -> list[T]:
        """All items that are there: at least one if there is news, none when the generator has ended. Raises what it has raised."""
        taken = list(self._items)
        self._items.clear()
        self._room.set()
        if not self._task.done():
            if self.news.done():
                self.news = asyncio.get_running_loop().create_future()
        elif not taken:
            self._task.result()
        return taken

    async def close(self) -> None:
        """End the generator."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._source.aclose()

    async def _read(self) -> None:
        async for item in self._source:
            self._items.append(item)
            self._tell()
            if len(self._items) >= AHEAD:
                self._room.clear()
                await self._room.wait()

    def _tell(self) -> None:
        if not self.news.done():
            self.news.set_result(None)
