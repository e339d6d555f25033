"""Single flight: one computation for all who want its outcome at the same time."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass
class _Work(Generic[T]):
    task: asyncio.Task[T]
    waiting: int = 0


class SingleFlight(Generic[T]):
    """Computations under way, by key. One is begun by the first who wants it, and given up when the last one does not wait any more;
    its outcome is not kept."""

    def __init__(self) -> None:
        self._works: dict[str, _Work[T]] = {}

    async def get(self, key: str, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What `make` gives, for everybody who waits for this key. Raises what it raises."""
        work = self._works.get(key)
        if work is None or work.task.done():  # who asks in a loop is not to get the same outcome again
            work = self._works[key] = _Work(asyncio.create_task(make()))
        work.waiting += 1
        try:
            return await asyncio.shield(work.task)
        finally:
            work.waiting -= 1
            if not work.waiting:
                if self._works.get(key) is work:
                    del self._works[key]
                work.task.cancel()
                await asyncio.gather(work.task, return_exceptions=True)
