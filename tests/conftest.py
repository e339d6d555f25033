"""Fixtures: a real Temporal server for the whole session, and a worker over a fresh data directory."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from temporal_server import TemporalServer
from temporalio.client import Client, WorkflowHandle

import btree.edit
import btree.leaf_edits
import btree.load
import btree.shape
from activities import Activities, Resources
from activities.payloads import create_data_converter
from gateway.runs.watch import watch_run
from query import create_store
from script.wire import WORKFLOW_TYPE, RunInput, RunOutput
from tests.hooks import Hooks, receiving
from worker import THREADS, create_resources, create_worker


@pytest.fixture(params=["pages as they are", "small pages"])
def page_size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small pages divide and merge where a few rows are changed."""
    if request.param == "small pages":
        for module in (btree.edit, btree.leaf_edits, btree.load, btree.shape):
            monkeypatch.setattr(module, "TARGET", 300)
            monkeypatch.setattr(module, "MINIMUM", 75, raising=False)


@pytest.fixture(scope="session")
def temporal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TemporalServer]:
    """A Temporal server, tuned as the product's own."""
    server = TemporalServer(tmp_path_factory.mktemp("temporal"))
    server.start()
    yield server
    server.stop()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def client(temporal: TemporalServer) -> AsyncIterator[Client]:
    yield await Client.connect(temporal.address, data_converter=create_data_converter(None))
    await asyncio.sleep(0.3)


@dataclass
class System:
    """A worker with its resources, and a few calls that tests need."""

    client: Client
    resources: Resources
    task_queue: str
    data_dir: Path

    def store(self, database: str, name: str, key: list[str], records: list[dict[str, Any]] | None = None) -> None:
        """A store with records, in a database that is made if needed."""

        def fill(transaction: Any) -> None:
            store = create_store(transaction, name, primary_key=key)
            for record in records or []:
                store.add(record)

        self.resources.databases.ensure(database).transact(fill)

    async def start(
        self, name: str, arguments: dict[str, Any] | None = None, **options: Any
    ) -> WorkflowHandle[Any, RunOutput]:
        """Start a saved script."""
        programs = [program.to_json() for program in self.resources.library.closure(name)]
        run_id = options.pop("id", f"{name}-{uuid.uuid4().hex[:12]}")
        start = RunInput(
            script=name, version=programs[0]["hash"], arguments=arguments or {}, programs=programs, **options
        )
        return await self.client.start_workflow(
            WORKFLOW_TYPE, start, id=run_id, task_queue=self.task_queue, result_type=RunOutput
        )

    async def run(
        self, script: dict[str, Any], arguments: dict[str, Any] | None = None, **options: Any
    ) -> list[dict[str, Any]]:
        """Save and run a script; its events to the end."""
        self.resources.library.save(script)
        handle = await self.start(script["name"], arguments, **options)
        return [event async for event in watch_run(self.client, handle.id)]


@pytest_asyncio.fixture(loop_scope="session")
async def system(client: Client, tmp_path: Path) -> AsyncIterator[System]:
    """A worker in this process over a fresh data directory."""
    resources = create_resources(tmp_path)
    activities = Activities(resources)
    queue = f"test-{uuid.uuid4().hex[:8]}"
    with ThreadPoolExecutor(THREADS) as threads:
        async with create_worker(client, queue, activities, threads):
            yield System(client, resources, queue, tmp_path)
    activities.close()
    resources.databases.close()


@pytest.fixture
def hooks() -> Iterator[Hooks]:
    """A receiver of webhooks."""
    with receiving() as server:
        yield server
