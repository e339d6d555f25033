"""A gateway over a real Temporal server and a real worker: in this process over ASGI, or listening on a real socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest_asyncio
import uvicorn
from temporalio.client import Client

from gateway.app import create_app
from gateway.services import Services, create_services
from tests.conftest import System



@dataclass
class Gateway:
    """A gateway and a client with its key."""

    services: Services
    key: str
    http: httpx2.AsyncClient

    @property
    def app(self) -> Any:
        return self.http._transport.app  # type: ignore[union-attr]


def headers(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest_asyncio.fixture(loop_scope="session")
async def gateway(client: Client, system: System) -> AsyncIterator[Gateway]:
    """Over ASGI: for everything but streams and sockets."""
    services = create_services(
        client,
        system.data_dir,
        system.resources.registry,
        task_queue=system.task_queue,
        temporal_ui="http://ui.example",
    )
    key = (system.data_dir / "api-key").read_text().strip()
    transport = httpx2.ASGITransport(create_app(services), raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://gateway", headers=headers(key)) as http:
        yield Gateway(services, key, http)
    services.databases.close()


@asynccontextmanager
async def listening(services: Services) -> AsyncIterator[str]:
    """The app under uvicorn on a free port of this machine; gives its address."""
    config = uvicorn.Config(create_app(services), port=0, log_level="error", timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    task = asyncio.ensure_future(server._serve())
    while not server.started:
        await asyncio.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    services.stopping.set()
    server.should_exit = True
    await task


@pytest_asyncio.fixture(loop_scope="session")
async def live(gateway: Gateway) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of a gateway on a real socket."""
    async with (
        listening(gateway.services) as url,
        httpx2.AsyncClient(base_url=url, headers=headers(gateway.key), timeout=30) as http,
    ):
        yield http
