"""One reading of a run's history, or of a session's log, for all who watch it here.

Reading costs the same for every watcher, so a hundred of them share one: a task reads on, keeps the last events, and wakes
everybody. Who wants older events than those reads for themselves until they have caught up, and joins then; who is too slow for what is
kept does the same. The task ends with its last watcher.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from itertools import islice
from typing import Any, Final

from temporalio.client import Client

from gateway.runs.watch import watch_run

KEPT: Final = 1_000
"""Events kept for those who are a little late."""

Event = dict[str, Any]
Events = AsyncGenerator[Event, None]
Read = Callable[[Any, str, int], Events]
"""Gives what has numbers above the last argument of what the second one names: the events of a run of Temporal's client, and so on."""


def _read(client: Client, run_id: str, after: int) -> Events:
    return watch_run(client, run_id, after)


class Reading:
    """Events from behind `after`, read once."""

    def __init__(self, events: Events, after: int) -> None:
        self.watchers = 0
        self.first = after + 1
        self._kept: deque[Event] = deque(maxlen=KEPT)
        self._news = asyncio.Event()
        self._task = asyncio.create_task(self._read_on(events))

    def covers(self, seq: int) -> bool:
        """Whether the event behind `seq` is kept, or comes."""
        return self.first <= seq + 1

    async def events(self, seq: int) -> Events:
        """The events behind `seq`; ends early where those are not kept any more. Raises what the reading has raised."""
        while self.covers(seq):
            news, ended = self._news, self._task.done()
            for event in list(islice(self._kept, max(0, seq + 1 - self.first), None)):
                seq = event["seq"]
                yield event
            if ended:
                self._task.result()
                return
            if not self._kept or self._kept[-1]["seq"] <= seq:
                await news.wait()

    async def close(self) -> None:
        """Stop reading."""
        self._task.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await self._task

    async def _read_on(self, source: Events) -> None:
        try:
            async with aclosing(source) as events:
                async for event in events:
                    self._kept.append(event)
                    self.first = self._kept[0]["seq"]
                    self._wake()
        finally:
            asyncio.get_running_loop().call_soon(self._wake)  # when the task is done

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()


class Readings:
    """What is watched here, by default runs. Called as `read` is (`watch_run`), and gives the same."""

    def __init__(self, read: Read = _read) -> None:
        self._read = read
        self._runs: dict[str, Reading] = {}

    def counts(self) -> tuple[int, int]:
        """How many runs are watched here, and by how many."""
        readings = list(self._runs.values())
        return len(readings), sum(reading.watchers for reading in readings)

    async def __call__(self, source: Any, run_id: str, after: int = 0) -> Events:
        """The events of a run with sequence numbers above `after`, as they happen; ends behind the run's last one.

        Raises temporalio.service.RPCError (NOT_FOUND) for an unknown run.
        """
        reading = self._runs.get(run_id)
        if reading is None:
            reading = self._runs[run_id] = Reading(self._read(source, run_id, after), after)
        reading.watchers += 1
        try:
            async with aclosing(self._through(reading, source, run_id, after)) as events:
                async for event in events:
                    yield event
        finally:
            reading.watchers -= 1
            if not reading.watchers:
                self._runs.pop(run_id, None)
                await reading.close()

    async def _through(self, reading: Reading, source: Any, run_id: str, seq: int) -> Events:
        while True:
            async with aclosing(reading.events(seq)) as events:
                async for event in events:
                    seq = event["seq"]
                    yield event
            if reading.covers(seq):
                return
            async with aclosing(self._read(source, run_id, seq)) as events:
                async for event in events:
                    seq = event["seq"]
                    yield event
                    if reading.covers(seq):
                        break
                else:
                    return
