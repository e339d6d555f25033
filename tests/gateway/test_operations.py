"""Real processes: draining, logs without secrets, several gateways and workers over one data directory, figures of a worker."""

import asyncio
import json
import re
import signal
import socket
import statistics
import time
import uuid
from collections.abc import Callable
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest
from temporal_server import TemporalServer

from gateway.app import create_app
from gateway.services import create_services
from query import Databases, create_store
from tests.gateway.conftest import Gateway, authorization, eventually
from tests.gateway.processes import Part

ITEMS = "/v1/databases/shop/stores/items"


def of(gateway: Gateway, temporal: TemporalServer, **more: str) -> dict[str, str]:
    """The settings of a gateway process over a test's gateway's data directory."""
    return {
        "SOP_DATA_DIR": str(gateway.services.data_dir),
        "SOP_TASK_QUEUE": gateway.services.task_queue,
        "SOP_TEMPORAL_ADDRESS": temporal.address,
        "SOP_PORT": "0",
        **more,
    }


def fill(gateway: Gateway, count: int) -> None:
    def work(transaction: Any) -> None:
        store = create_store(transaction, "items", primary_key=["id"])
        for number in range(count):
            store.add({"id": number, "text": f"{number:06}" + "x" * 200})

    gateway.services.databases.ensure("shop").transact(work)


class Stalled:
    """A client that asks and reads no further than the beginning of the answer."""

    def __init__(self, url: str, key: str, path: str) -> None:
        host, _, port = url.removeprefix("http://").partition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=30)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n".encode())
        assert self.socket.recv(12) == b"HTTP/1.1 200"

    def rest(self) -> bytes:
        """What comes until the connection ends."""
        found = b""
        try:
            while piece := self.socket.recv(1 << 16):
                found += piece
        except ConnectionResetError:
            pass
        self.socket.close()
        return found


async def test_sigterm_drains_all_open_streams(gateway: Gateway, temporal: TemporalServer) -> None:
    """Twenty watchers of a run that stands still, and a client in the middle of rows: each is told, nobody is cut, and the run goes on."""
    steps: list[dict[str, Any]] = [
        {"type": "set", "name": "before", "variable": "n", "value": 1},
        {"type": "wait", "name": "hold", "approval": {"by": "bootstrap", "prompt": "may it?"}},
    ]
    await gateway.save("held", steps)
    fill(gateway, 60_000)
    with Part("gateway.serve", of(gateway, temporal, SOP_LOG_FORMAT="json")) as process:
        url = await process.ready()
        async with AsyncExitStack() as opened:
            http = await opened.enter_async_context(
                httpx2.AsyncClient(base_url=url, headers=authorization(gateway.key), timeout=30)
            )
            first = await opened.enter_async_context(http.stream("POST", "/v1/call/held", json={}))
            run_id = first.headers["run-id"]
            path = f"/v1/runs/{run_id}/events"
            streams = [first, *[await opened.enter_async_context(http.stream("GET", path)) for _ in range(19)]]
            watched = [stream.aiter_lines() for stream in streams]
            seen = [[json.loads(await anext(lines)), json.loads(await anext(lines))] for lines in watched]
            rows = await asyncio.to_thread(Stalled, url, gateway.key, f"{ITEMS}/rows:export")
            ending = asyncio.ensure_future(process.end(signal.SIGTERM))
            for lines, had in zip(watched, seen, strict=True):
                had += [json.loads(line) async for line in lines]
            got = await asyncio.to_thread(rows.rest)
        code, log = await ending
    for had in seen:
        *events, last = had
        assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
        assert (last["type"], last["after"], last["error"]["code"]) == ("error", len(events), "gateway_stopping")
    assert b'"gateway_stopping"' in got[-2000:] and not got.endswith(b"0\r\n\r\n")
    assert code == 0
    told = [json.loads(line) for line in log.splitlines()]
    assert not [line for line in told if "exception" in line]
    access = [line for line in told if line["logger"] == "gateway.access"]
    assert len([line for line in access if line.get("run_id") == run_id]) == 20
    assert [line["cut"] for line in access if line["path"].endswith("rows:export")] == [True]
    assert (await gateway.http.post(f"/v1/runs/{run_id}:decide", json={"approved": True})).status_code == 202

    async def completed() -> bool:
        return bool((await gateway.http.get(f"/v1/runs/{run_id}")).json()["state"] == "completed")

    await eventually(completed)


async def test_a_client_that_does_not_read_is_cut_off(gateway: Gateway, temporal: TemporalServer) -> None:
    fill(gateway, 60_000)
    with Part("gateway.serve", of(gateway, temporal, SOP_DRAIN_SECONDS="1")) as process:
        url = await process.ready()
        rows = await asyncio.to_thread(Stalled, url, gateway.key, f"{ITEMS}/rows:export")
        code, _ = await process.end(signal.SIGTERM)
        got = await asyncio.to_thread(rows.rest)
    assert code == 0
    assert not got.endswith(b"0\r\n\r\n")
    await eventually(lambda: gateway.services.databases.open("shop").pins() == [])


async def test_livez_answers_while_rows_stream(gateway: Gateway, temporal: TemporalServer) -> None:
    fill(gateway, 100_000)
    with Part("gateway.serve", of(gateway, temporal)) as process:
        url = await process.ready()
        async with httpx2.AsyncClient(base_url=url, headers=authorization(gateway.key), timeout=30) as http:
            streaming = asyncio.Event()

            async def stream() -> int:
                async with http.stream("POST", f"{ITEMS}:select?end=true", json={}) as answer:
                    last = b""
                    async for piece in answer.aiter_bytes():
                        streaming.set()
                        last = (last + piece)[-100:]
                return int(json.loads(last.splitlines()[-1])["end"]["rows"])

            streams = [asyncio.ensure_future(stream()) for _ in range(2)]
            await streaming.wait()
            times = []
            while not all(task.done() for task in streams):
                began = time.perf_counter()
                assert (await http.get("/livez")).status_code == 200
                times.append(time.perf_counter() - began)
            assert [await task for task in streams] == [100_000, 100_000]
    assert len(times) > 3
    assert statistics.median(times) < 0.1


CANARIES = {
    "SOP_SMTP_URL": "smtp+starttls://me:canary-smtp%40pass@127.0.0.1:1",
    "SOP_SMTP_FROM": "me@example.com",
    "SOP_OPENAI_API_KEY": "canary-openai-key",
    "SOP_OPENAI_MODEL": "none",
    "SOP_OPENAI_BASE_URL": "http://127.0.0.1:1/v1",
    "SOP_WEBHOOK_SECRETS": "default=whsec_canarywebhook==",
    "TEMPORAL_API_KEY": "canary-temporal-key",
    "TEMPORAL_TLS": "false",
}


async def test_no_secret_is_ever_logged(temporal: TemporalServer, tmp_path: Path) -> None:
    """A gateway and a worker, logging all that they can, doing all that uses secrets, and failing at it."""
    settings = {
        **CANARIES,
        "SOP_DATA_DIR": str(tmp_path),
        "SOP_TASK_QUEUE": f"quiet-{uuid.uuid4().hex[:8]}",
        "SOP_TEMPORAL_ADDRESS": temporal.address,
        "SOP_PORT": "0",
        "SOP_LOG_LEVEL": "debug",
        "SOP_LOG_FORMAT": "json",
        "SOP_HTTP_ALLOW": "127.0.0.1:1",
    }
    steps: list[dict[str, Any]] = [
        {"type": "command", "name": "mail", "command": "send_email",
         "args": {"to": "a@example.com", "subject": "s", "body": "canary-mail-body"}},
    ]  # fmt: skip
    with Part("worker", settings) as worker, Part("gateway.serve", settings) as gateway:
        await worker.ready()
        url = await gateway.ready()
        key = (tmp_path / "api-key").read_text().strip()
        async with httpx2.AsyncClient(base_url=url, headers=authorization(key), timeout=60) as http:
            saved = await http.post("/v1/scripts", json={"name": "mail", "steps": steps})
            assert saved.status_code == 201, saved.text
            started = await http.post("/v1/scripts/mail/runs", json={"arguments": {}})
            run_id = started.json()["id"]
            for wrong in ("Bearer canary-wrong-key", f"Bearer {key}x", "Basic Y2FuYXJ5LWJhc2lj"):
                assert (await http.get("/v1/tools", headers={"Authorization": wrong})).status_code == 401
            await http.get("/v1/tools", params={"api_key": "canary-query", "token": key})
            await http.post("/v1/scripts", content=b'{"canary-body', headers={"Content-Type": "application/json"})
            await http.get(f"/v1/runs/{run_id}", headers={"X-Request-ID": "canary id", "Cookie": "canary-cookie"})
            await asyncio.sleep(1)
        told = [await part.end(signal.SIGTERM) for part in (gateway, worker)]
    everything = "".join(log for _, log in told)
    assert [code for code, _ in told] == [0, 0]
    assert not re.findall(r"canary[-_%@](?!id\b)\w*|Y2FuYXJ5LWJhc2lj", everything)
    assert key.split("_")[2] not in everything
    for _, log in told:
        for line in log.splitlines():
            assert {"time", "level", "logger", "message"} <= json.loads(line).keys()
    assert f'"run_id":"{run_id}"' in told[0][1] and f'"run_id":"{run_id}"' in told[1][1]
    failed = [line for line in map(json.loads, told[1][1].splitlines()) if line["message"] == "step failed"]
    assert failed and (failed[0]["step"].partition("#")[0], failed[0]["tool"]) == ("mail", "send_email")


async def test_several_gateways_and_workers_share_a_data_directory(temporal: TemporalServer, tmp_path: Path) -> None:
    """Two of each; one of each is killed in the middle of a run: it ends as if nothing had been, and every row was changed once."""
    settings = {
        "SOP_DATA_DIR": str(tmp_path),
        "SOP_TASK_QUEUE": f"shared-{uuid.uuid4().hex[:8]}",
        "SOP_TEMPORAL_ADDRESS": temporal.address,
        "SOP_PORT": "0",
    }
    steps: list[dict[str, Any]] = [
        {"type": "loop", "name": "each", "list": str(list(range(30))), "iterator": "i", "steps": [
            {"type": "command", "name": "read", "command": "get", "args": {"store": "counts", "key": 1}, "output_variable": "row"},
            {"type": "command", "name": "add", "command": "update", "args": {"store": "counts", "key": 1, "values": {"n": "{{ row.n + 1 }}"}}},
        ]},
    ]  # fmt: skip
    databases = Databases(tmp_path / "databases")
    databases.ensure("shop").transact(
        lambda txn: create_store(txn, "counts", primary_key=["id"]).add({"id": 1, "n": 0})
    )
    with ExitStack() as parts:
        workers = [parts.enter_context(Part("worker", settings)) for _ in range(2)]
        gateways = [parts.enter_context(Part("gateway.serve", settings)) for _ in range(2)]
        for worker in workers:
            await worker.ready()
        urls = [await gateway.ready() for gateway in gateways]
        key = authorization((tmp_path / "api-key").read_text().strip())
        async with (
            httpx2.AsyncClient(base_url=urls[0], headers=key, timeout=60) as first,
            httpx2.AsyncClient(base_url=urls[1], headers=key, timeout=60) as second,
        ):
            await _done(second.post("/v1/scripts", json={"name": "count", "database": "shop", "steps": steps}))
            await _done(first.post("/v1/scripts/count/runs", json={}, headers={"Idempotency-Key": "counting"}))
            again = await first.post("/v1/scripts/count/runs", json={}, headers={"Idempotency-Key": "counting"})
            assert again.json()["id"] == "counting"
            events = []
            async with second.stream("GET", "/v1/runs/counting/events") as stream:
                async for line in stream.aiter_lines():
                    events.append(json.loads(line))
                    if len(events) == 10:
                        workers[0].process.kill()
                        gateways[0].process.kill()
            assert events[-1]["status"] == "completed", events[-1]
            assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
            exported = await second.get("/v1/databases/shop/stores/counts/rows:export")
            assert exported.json() == {"id": 1, "n": 30}
    databases.close()


async def test_the_restore_drill(gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> None:
    """As docs/operations.md has it: the system's database and the secret in their places, the others over HTTP; keys go on."""
    fill(gateway, 100)
    await gateway.save("one", [{"type": "return", "name": "r", "value": 1}])
    key = gateway.services.keys.create("drill")
    drill = tmp_path_factory.mktemp("drill")
    (drill / "databases").mkdir()
    shop, system = [(await gateway.http.get(f"/v1/databases/{name}/backup")).content for name in ("shop", "system")]
    (drill / "databases" / "system.db").write_bytes(system)
    (drill / "secret").write_bytes((gateway.services.data_dir / "secret").read_bytes())
    registry, client = gateway.services.registry, gateway.services.client
    services = create_services(client, drill, registry, task_queue="drill")
    transport = httpx2.ASGITransport(create_app(services))
    try:
        async with httpx2.AsyncClient(transport=transport, base_url="http://x", headers=authorization(key)) as http:
            await _done(http.put("/v1/databases/shop/backup", content=shop))
            assert (await http.post("/v1/databases/shop:check")).json()["ok"]
            assert (await http.get("/v1/scripts")).json() == (await gateway.http.get("/v1/scripts")).json()
            rows = [(await one.get(f"{ITEMS}/rows:export")).content for one in (http, gateway.http)]
            assert rows[0] == rows[1] and len(rows[0].splitlines()) == 100
        assert (drill / "api-key").read_text().strip() == gateway.key
    finally:
        services.close()


async def _done(asked: Any) -> None:
    answer = await asked
    assert answer.is_success, answer.text


async def test_a_workers_figures(temporal: TemporalServer, gateway: Gateway, free_port: Callable[[], int]) -> None:
    """The SDK's and ours, on one port; ours without labels."""
    port = free_port()
    fill(gateway, 10)
    queue = f"figures-{uuid.uuid4().hex[:8]}"
    settings = of(
        gateway, temporal, SOP_TASK_QUEUE=queue, SOP_WORKER_METRICS=f"127.0.0.1:{port}", SOP_SWEEP_SECONDS="0.2"
    )
    with Part("worker", settings) as worker:
        await worker.ready()
        async with httpx2.AsyncClient() as http:

            async def told() -> str | None:
                text = (await http.get(f"http://127.0.0.1:{port}/metrics")).text
                return text if "sop_last_sweep_timestamp_seconds" in text else None

            text = await eventually(told)
        names = set(re.findall(r"^([a-z_]+)[{ ]", text, re.MULTILINE))
        assert {"temporal_worker_task_slots_available", "temporal_num_pollers"} <= names
        assert {"sop_commit_seconds_count", "sop_lock_wait_seconds_count"} <= names
        assert set(re.findall(r"^sop_\w+\{([^}]*)\}", re.sub(r'le="[^"]*"', "", text), re.MULTILINE)) <= {""}
        assert (gateway.services.data_dir / ".swept").exists()
        code, log = await worker.end(signal.SIGTERM)
    assert (code, "Traceback" in log) == (0, False)


WRONG = [
    ("TEMPORAL_PROFILE", "nowhere", 2, "the configuration of Temporal's client cannot be read"),
    ("TEMPORAL_ADDRESS", "127.0.0.1:1", 1, ""),
    ("SOP_LOG_FORMAT", "xml", 2, "log_format"),
    ("OTEL_TRACES_EXPORTER", "zipkin", 2, "OTEL_TRACES_EXPORTER is otlp or none"),
]


@pytest.mark.parametrize(
    ("module", "setting", "value", "code", "told"),
    [
        ("gateway.serve", "SOP_GATEWAY_METRICS", "0.0.0.0:9999", 2, "SOP_GATEWAY_METRICS=0.0.0.0 is not loopback"),
        ("worker", "SOP_WORKER_METRICS", "9999", 2, "SOP_WORKER_METRICS is host:port"),
        *(("gateway.serve", *wrong) for wrong in WRONG),
        *(("worker", *wrong) for wrong in WRONG),
    ],
)
async def test_what_is_wrong_with_settings_is_told_at_the_start(
    tmp_path: Path, module: str, setting: str, value: str, code: int, told: str
) -> None:
    settings = {"SOP_DATA_DIR": str(tmp_path), "SOP_TEMPORAL_ADDRESS": "127.0.0.1:1", "SOP_PORT": "0", setting: value}
    with Part(module, settings) as process:
        ended, log = await process.ended()
    assert ended == code and told in log
    assert f"the {module.partition('.')[0]} cannot start: " in log and "Traceback" not in log


@pytest.fixture
def free_port() -> Callable[[], int]:
    def find() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            return port

    return find
