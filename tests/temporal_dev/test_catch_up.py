"""A server that was down over due times makes up for each of them once when it is back."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from temporal_server import TemporalServer
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
)
from temporalio.service import RPCError

EVERY = timedelta(seconds=2)


async def test_due_times_while_the_server_was_down(tmp_path: Path) -> None:
    server = TemporalServer(tmp_path)
    server.start()
    try:
        client = await Client.connect(server.address)
        name = f"down-{uuid.uuid4().hex[:8]}"
        await client.create_schedule(
            name,
            Schedule(
                action=ScheduleActionStartWorkflow("Unknown", id=name, task_queue="nobody"),
                spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=EVERY)], jitter=timedelta(0)),
                policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.ALLOW_ALL, catchup_window=timedelta(minutes=10)),
            ),
        )

        async def started(client: Client) -> list[str]:
            return [run.id async for run in client.list_workflows(f"TemporalScheduledById = '{name}'")]

        await _until(lambda: _some(started, client, 1))
        server.stop()
        stopped = datetime.now(UTC)
        await _until(lambda: _passed(stopped + 3 * EVERY))
        server.start()
        back = datetime.now(UTC)
        client = await Client.connect(server.address)
        await _until(lambda: _some(started, client, 1 + int((back - stopped) / EVERY)))
        await client.get_schedule_handle(name).pause()
        found = sorted(run.removeprefix(f"{name}-") for run in await started(client))
        times = [datetime.fromisoformat(text) for text in found]
        assert times == [times[0] + number * EVERY for number in range(len(times))], "each due time has one run"
        assert sum(stopped < moment < back for moment in times) >= 2
    finally:
        server.stop()


async def _some(started: Callable[[Client], Awaitable[list[str]]], client: Client, count: int) -> bool:
    try:
        return len(await started(client)) >= count
    except RPCError:
        return False


async def _passed(moment: datetime) -> bool:
    return datetime.now(UTC) > moment


async def _until(check: Callable[[], Awaitable[bool]]) -> None:
    for _ in range(600):
        if await check():
            return
        await asyncio.sleep(0.1)
    raise AssertionError("it did not come true in time")
