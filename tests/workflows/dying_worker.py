"""A worker whose model begins to speak and never ends: to be killed. Arguments: Temporal's address, a task queue, a data directory."""

import asyncio
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

from temporalio.client import Client

import workflows.authoring
from activities import Activities
from activities.payloads import create_data_converter
from agent import Message, Reply, ScriptedModel
from agent.protocol import Tool
from worker import THREADS, create_resources, create_worker


class Endless(ScriptedModel):
    """Says a few words, and then nothing more."""

    def converse(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool],
        model: str | None = None,
        *,
        said: Callable[[str], None] = lambda text: None,
    ) -> Reply:
        waiting = threading.Event()
        while True:
            said("and ")
            waiting.wait(0.05)


async def main(address: str, queue: str, folder: str) -> None:
    """Work until the end."""
    workflows.authoring.HEARTBEAT_TIMEOUT = timedelta(seconds=3)  # type: ignore[misc]
    client = await Client.connect(address, data_converter=create_data_converter(None))
    resources = create_resources(Path(folder), model=Endless([]))
    with ThreadPoolExecutor(THREADS) as threads:
        async with create_worker(client, queue, Activities(resources), threads):
            await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
