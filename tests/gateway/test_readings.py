"""One reading for all watchers of a run: everybody gets every event they want once, whenever they come and however slow they are."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from gateway.runs import readings
from gateway.runs.readings import Readings

CLIENT: Any = None
LAST = 300


class Source:
    """A run's events as `watch_run` gives them: those up to `ready`, and the rest as that grows. Counts who reads."""

    def __init__(self, ready: int = 0) -> None:
        self.ready = ready
        self.begun: list[int] = []
        self.open = 0
        self.fails_at = 0

    async def __call__(self, client: Any, run_id: str, after: int) -> AsyncIterator[dict[str, Any]]:
        self.begun.append(after)
        self.open += 1
        try:
            for seq in range(after + 1, LAST + 1):
                while seq > self.ready:  # noqa: ASYNC110
                    await asyncio.sleep(0)
                if seq == self.fails_at:
                    raise RuntimeError("no more")
                yield {"seq": seq}
        finally:
            self.open -= 1


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> Source:
    made = Source()
    monkeypatch.setattr(readings, "watch_run", made)
    return made


async def watch(watches: Readings, after: int = 0) -> list[int]:
    return [event["seq"] async for event in watches(CLIENT, "run", after)]


async def test_a_hundred_watchers_read_once(source: Source) -> None:
    watches = Readings()
    watching = [asyncio.create_task(watch(watches, after)) for after in range(100)]
    for _ in range(LAST):
        source.ready += 1
        await asyncio.sleep(0)
    assert await asyncio.gather(*watching) == [list(range(after + 1, LAST + 1)) for after in range(100)]
    assert source.begun == [0]
    assert source.open == 0


async def test_who_wants_older_events_reads_them_and_joins(source: Source) -> None:
    watches = Readings()
    source.ready = 200
    first = asyncio.create_task(watch(watches, 100))
    await asyncio.sleep(0.01)
    second = asyncio.create_task(watch(watches))
    await asyncio.sleep(0.01)
    assert source.begun == [100, 0]
    assert source.open == 1  # the second has caught up
    source.ready = LAST
    assert await first == list(range(101, LAST + 1))
    assert await second == list(range(1, LAST + 1))


async def test_who_is_too_slow_for_what_is_kept_loses_nothing(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readings, "KEPT", 10)
    watches = Readings()
    source.ready = 5
    seen = []
    async with aclosing(watches(CLIENT, "run", 0)) as slow:
        seen.append((await anext(slow))["seq"])
        source.ready = LAST
        assert (await watch(watches, 3))[-1] == LAST
        seen += [event["seq"] async for event in slow]
    assert seen == list(range(1, LAST + 1))
    assert len(source.begun) > 1
    assert source.open == 0


async def test_a_failure_is_told_to_everybody_and_is_not_kept(source: Source) -> None:
    watches = Readings()
    source.ready, source.fails_at = LAST, 50
    found = await asyncio.gather(*(watch(watches) for _ in range(3)), return_exceptions=True)
    assert [str(error) for error in found] == ["no more"] * 3
    source.fails_at = 0
    assert await watch(watches) == list(range(1, LAST + 1))


async def test_the_last_watcher_ends_the_reading(source: Source) -> None:
    watches = Readings()
    source.ready = 1
    one, two = watches(CLIENT, "run", 0), watches(CLIENT, "run", 0)
    assert [(await anext(one))["seq"], (await anext(two))["seq"]] == [1, 1]
    await one.aclose()
    assert source.open == 1
    await two.aclose()
    assert source.open == 0
    assert source.begun == [0]
