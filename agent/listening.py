"""Work that somebody listens to, and may end at any time.

A request to a model is awaited in an event loop of its own, in the thread that asks. Whoever listens hears every piece of text; while none
comes it hears an empty one a few times a second, so that it can end the request also while the model is silent: what it raises cancels the
work (connections are closed with it), and is raised here.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

BEAT: Final = 0.2
"""Seconds of silence after which an empty text is heard."""
T = TypeVar("T")


def listening(work: Coroutine[Any, Any, T], said: Callable[[str], None], beat: float = BEAT) -> T:
    """The result of some work that tells `said` what it has. Raises what the work raises, and what `said` raises."""
    return asyncio.run(_heard(work, said, beat))


async def _heard(work: Coroutine[Any, Any, T], said: Callable[[str], None], beat: float) -> T:
    task = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait({task}, timeout=beat))[0]:
            said("")
        return task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
