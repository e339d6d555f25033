"""A gateway over a real Temporal server and a real worker: in this process over ASGI, or listening on a real socket."""

import asyncio
import inspect
import json
import threading
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
import uvicorn
from fastapi import FastAPI
from temporalio.client import Client

from activities import Activities
from gateway.app import create_app
from gateway.cli import run
from gateway.services import Services, create_services
from toolbox import builtin_registry, tool
from worker import THREADS, create_resources, create_worker, with_schedules


@dataclass
class Gateway:
    """A gateway, a client with its key, and a gate that runs can be held at."""

    services: Services
    app: FastAPI
    key: str
    http: httpx2.AsyncClient
    gate: threading.Event

    async def save(self, name: str, steps: list[dict[str, Any]], **more: Any) -> str:
        """Save a script; its version."""
        answer = await self.http.post("/v1/scripts", json={"name": name, "steps": steps, **more})
        assert answer.status_code == 201, answer.text
        version: str = answer.json()["version"]
        return version

    async def save_held(self, name: str = "held") -> None:
        """Save a script that stops in its middle until the gate is opened."""
        steps = [
            {"type": "set", "name": "before", "variable": "n", "value": 1},
            {"type": "command", "name": "hold", "command": "hold"},
            {"type": "return", "name": "after", "value": "{{ n }}"},
        ]
        await self.save(name, steps)


def authorization(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest_asyncio.fixture(loop_scope="session")
async def gateway(client: Client, tmp_path: Path) -> AsyncIterator[Gateway]:
    """Over ASGI: for everything but streams and sockets. Its worker has two more tools, `hold` and `echo`."""
    async with gateway_over(client, tmp_path) as made:
        yield made


@asynccontextmanager
async def gateway_over(
    client: Client, data_dir: Path, *, temporal_ui: str = "http://ui.example", queue: str | None = None, **options: Any
) -> AsyncIterator[Gateway]:
    """A gateway and a worker over a data directory; `options` are those of the worker's resources."""
    gate = threading.Event()

    @tool(effect="read")
    def hold() -> bool:
        """Wait for the gate."""
        return gate.wait(20)

    @tool(effect="pure")
    def echo(text: str) -> str:
        """Give a text back."""
        return text

    registry = builtin_registry()
    registry.register(hold)
    registry.register(echo)
    queue = queue or f"gateway-{uuid.uuid4().hex[:8]}"
    resources = with_schedules(create_resources(data_dir, registry=registry, **options), client, queue)
    activities = Activities(resources)
    services = create_services(client, data_dir, registry, task_queue=queue, temporal_ui=temporal_ui)
    app = create_app(services)
    key = (data_dir / "api-key").read_text().strip()
    transport = httpx2.ASGITransport(app)
    with ThreadPoolExecutor(THREADS) as threads:
        async with (
            create_worker(client, queue, activities, threads),
            httpx2.AsyncClient(transport=transport, base_url="http://gateway", headers=authorization(key)) as http,
        ):
            yield Gateway(services, app, key, http, gate)
            gate.set()
    activities.close()
    services.close()
    resources.databases.close()


@asynccontextmanager
async def listening(services: Services) -> AsyncIterator[str]:
    """The app under uvicorn on a free port of this machine; gives its address."""
    server = uvicorn.Server(
        uvicorn.Config(create_app(services), port=0, log_level="error", timeout_graceful_shutdown=2)
    )
    task = asyncio.ensure_future(server._serve())
    await eventually(lambda: server.started)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    services.stopping.set()
    server.should_exit = True
    await task


@pytest_asyncio.fixture(loop_scope="session")
async def live(gateway: Gateway) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the gateway on a real socket."""
    async with (
        listening(gateway.services) as url,
        httpx2.AsyncClient(base_url=url, headers=authorization(gateway.key), timeout=30) as http,
    ):
        yield http


@dataclass
class Result:
    """What a command line printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Sop = Callable[..., Coroutine[Any, Any, Result]]


@pytest_asyncio.fixture(loop_scope="session")
async def url(gateway: Gateway) -> AsyncIterator[str]:
    async with listening(replace(gateway.services, stopping=asyncio.Event())) as found:
        yield found


@pytest.fixture
def sop(gateway: Gateway, url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Sop:
    """Run a command line; what it printed, and its exit code."""
    monkeypatch.setenv("SOP_URL", url)
    monkeypatch.setenv("SOP_DATA_DIR", str(gateway.services.data_dir))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(gateway.services.data_dir / "config"))

    async def call(*words: str) -> Result:
        capsys.readouterr()
        code = await asyncio.to_thread(run, words)
        return Result(code, *capsys.readouterr())

    return call


async def eventually(check: Callable[[], Any | Awaitable[Any]], patience: float = 20) -> Any:
    """What `check` gives when it gives something true; fails after `patience` seconds."""
    for _ in range(int(patience / 0.02)):
        found = check()
        if inspect.isawaitable(found):
            found = await found
        if found:
            return found
        await asyncio.sleep(0.02)
    raise AssertionError("it did not come true in time")


def problem_of(answer: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    """The problem of an answer, after checking what all of them have."""
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == status
    assert problem["code"] == code, problem
    assert problem["type"] == f"urn:sop:problem:{code}"
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert {"title", "detail", "instance", "errors", "retryable"} <= set(problem)
    return problem


__all__ = ["Gateway", "Result", "Sop", "authorization", "eventually", "gateway_over", "listening", "problem_of"]
