"""Figures and readiness: what is counted, that nothing that a client chooses is in them, and that they are on a port of their own."""

import asyncio
import os
import re
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from prometheus_client import generate_latest

import btree.turns
from btree import Busy, Database
from btree.turns import Turns
from gateway.app import create_app
from gateway.operations.addresses import NotLoopback, metrics_address
from gateway.operations.exposed import add_figures, exposed
from gateway.operations.metrics import Metrics
from gateway.operations.upkeep import LATE_SECONDS, mark_swept
from query import create_store
from tests.gateway.conftest import Gateway, eventually, problem_of
from worker import keep_swept


def figures(metrics: Metrics) -> dict[str, float]:
    """The figures by `name{labels}`."""
    lines = generate_latest(metrics.registry).decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


async def test_requests_are_counted_by_route(gateway: Gateway) -> None:
    for _ in range(3):
        await gateway.http.get("/v1/scripts/none")
    await gateway.http.get("/v1/tools", headers={"Authorization": ""})
    await gateway.http.post("/v1/scripts", json={"name": "x", "steps": []})
    await gateway.http.request("BREW", "/v1/tools")
    found = figures(gateway.services.metrics)
    assert found['sop_requests_total{method="GET",route="/v1/scripts/{name}",status="404"}'] == 3
    assert found['sop_request_seconds_count{method="GET",route="/v1/scripts/{name}"}'] == 3
    assert found['sop_requests_total{method="GET",route="other",status="401"}'] == 1
    assert any(name.startswith('sop_requests_total{method="POST",route="/v1/scripts"') for name in found)
    assert [name for name in found if name.startswith('sop_requests_total{method="other"')]


async def test_streams_watchers_and_runs(gateway: Gateway, live: httpx2.AsyncClient) -> None:
    await gateway.save_held()
    add_figures(gateway.services)
    metrics = gateway.services.metrics
    call, events = '{route="/v1/call/{name}"}', '{route="/v1/runs/{run_id}/events"}'
    async with live.stream("POST", "/v1/call/held", json={}) as first:
        run_id = first.headers["run-id"]
        await anext(lines := first.aiter_lines())
        async with live.stream("GET", f"/v1/runs/{run_id}/events") as second:
            await anext(others := second.aiter_lines())
            await eventually(lambda: figures(metrics).get(f"sop_streams_open{call}") == 1)
            found = figures(metrics)
            opened = [name for name in found if name.startswith("sop_streams_open") and found[name]]
            assert len(opened) == 2 and f"sop_streams_open{call}" in opened
            assert (found["sop_watched_runs"], found["sop_watchers"]) == (1, 2)
            assert found['sop_runs_started_total{trigger="api"}'] == 1
            await asyncio.gather(lines.aclose(), others.aclose())
    gateway.gate.set()
    await eventually(lambda: not any(v for name, v in figures(metrics).items() if name.startswith("sop_streams_open")))
    found = figures(metrics)
    assert found[f"sop_stream_seconds_count{call}"] == 1
    assert found[f"sop_stream_seconds_count{events}"] == 1
    await eventually(lambda: figures(metrics)["sop_watchers"] == 0)


async def test_nothing_that_a_client_chooses_is_a_label(gateway: Gateway) -> None:
    """A hundred names of everything make no more series than one of each, and are not to be found in them."""
    http, metrics = gateway.http, gateway.services.metrics

    async def ask(name: str) -> None:
        await gateway.save(name, [{"type": "return", "name": "r", "value": 1}])
        await http.post(f"/v1/scripts/{name}/runs", json={}, headers={"Idempotency-Key": f"key-{name}"})
        gateway.services.databases.ensure(name).transact(lambda txn: create_store(txn, name, primary_key=["id"]))
        for path in (
            f"/v1/databases/{name}", f"/v1/databases/{name}/stores/{name}", f"/v1/databases/{name}/stores/{name}/rows:export",
            f"/v1/runs/{name}", f"/v1/runs/key-{name}", f"/v1/scripts/{name}?version={name}", f"/{name}", f"/v1/{name}/{name}",
            f"/v1/schedules/{name}", f"/v1/tools/{name}", f"/v1/databases/{name}/stores/{name}/changes?from={name}",
        ):  # fmt: skip
            await http.get(path)
            await http.get(path, headers={"Authorization": f"Bearer {name}"})
        await http.request(name.upper(), f"/v1/databases/{name}")
        await http.get("/livez", headers={"X-Request-ID": name, "Host": f"{name}.example"})

    await ask("canary_first")
    await ask("canary_again")  # an answer that exists for the second time only, such as a conflict
    before = set(figures(metrics))
    for number in range(20):
        await ask(f"canary_{number}")
    after = figures(metrics)
    assert set(after) == before
    assert not re.search("canary", generate_latest(metrics.registry).decode(), re.IGNORECASE)
    allowed = {"method", "route", "status", "trigger", "le"}
    assert {label for name in after for label in re.findall(r'(\w+)="', name)} <= allowed
    routes = {match[1] for name in after if (match := re.search(r'route="([^"]*)"', name))}
    known = set(gateway.app.openapi()["paths"]) | {"/openapi.json", "/docs", "other"}
    assert routes <= known


async def test_the_figures_are_not_on_the_apis_port(gateway: Gateway) -> None:
    for method in ("GET", "HEAD", "POST"):
        assert (await gateway.http.request(method, "/metrics", headers={"Authorization": ""})).status_code == 401
    problem_of(await gateway.http.get("/metrics"), 404, "not_found")


async def test_a_port_of_their_own(gateway: Gateway, unused_port: int) -> None:
    add_figures(gateway.services)
    gateway.services.databases.ensure("shop").transact(lambda txn: create_store(txn, "items", primary_key=["id"]))
    mark_swept(gateway.services.data_dir)
    url = f"http://127.0.0.1:{unused_port}/metrics"
    async with httpx2.AsyncClient() as http:
        with exposed(gateway.services, ("127.0.0.1", unused_port)):
            answer = await http.get(url)
            assert answer.headers["content-type"].startswith("text/plain")
            text = answer.text
            with (
                pytest.raises(ValueError, match="figures cannot be served"),
                exposed(gateway.services, ("127.0.0.1", unused_port)),
            ):
                pass
        with pytest.raises(httpx2.ConnectError):
            await http.get(url)
    named = dict(re.findall(r"^(sop_\w+) (\S+)$", text, re.MULTILINE))
    assert float(named["sop_commit_seconds_count"]) >= 1
    assert float(named["sop_lock_wait_seconds_count"]) >= float(named["sop_commit_seconds_count"])
    assert float(named["sop_disk_free_bytes"]) > 0
    swept = (gateway.services.data_dir / ".swept").stat().st_mtime
    assert float(named["sop_last_sweep_timestamp_seconds"]) == pytest.approx(swept)
    assert "process_resident_memory_bytes" in text


def test_addresses_of_figures() -> None:
    assert metrics_address("127.0.0.1:9464", "X", allow_remote=False) == ("127.0.0.1", 9464)
    assert metrics_address("[::1]:9464", "X", allow_remote=False) == ("::1", 9464)
    assert metrics_address("localhost:1", "X", allow_remote=False) == ("localhost", 1)
    assert metrics_address("0.0.0.0:9464", "X", allow_remote=True) == ("0.0.0.0", 9464)
    for bad in (
        "9464",
        "127.0.0.1",
        "127.0.0.1:",
        ":9464",
        "127.0.0.1:0",
        "127.0.0.1:65536",
        "::1:80",
        "127.0.0.1:x",
        "127.0.0.1:²",
    ):
        with pytest.raises(ValueError, match=r"^X"):
            metrics_address(bad, "X", allow_remote=True)
    for remote in ("0.0.0.0:9464", "[::]:9464", "example.com:9464"):
        with pytest.raises(NotLoopback, match=r"^X="):
            metrics_address(remote, "X", allow_remote=False)


def test_the_engine_tells_what_writes_cost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wait is at least as long as somebody else had the turn; a turn that never comes is told, too; a write that is taken back is not."""
    told: list[tuple[float, float | None]] = []
    path = tmp_path / "a.db"
    with Database.open(path, create=True, timed=lambda waited, took: told.append((waited, took))) as database:

        def write() -> None:
            database.transact(lambda txn: txn.create_tree("t"))

        told.clear()
        write()
        assert told and all(took is not None and took > 0 <= waited for waited, took in told)
        told.clear()
        with suppress(RuntimeError):
            database.transact(lambda txn: _fail())
        assert told == []
        asked = threading.Event()
        sleep = btree.turns.time.sleep
        monkeypatch.setattr(btree.turns.time, "sleep", lambda seconds: (asked.set(), sleep(seconds)))
        others = Turns(f"{path}-turns")
        turn = others.take()
        writer = threading.Thread(target=lambda: database.transact(lambda txn: txn.create_tree("u")))
        writer.start()
        assert asked.wait(10)
        began = btree.turns.time.monotonic()
        sleep(0.05)
        held = btree.turns.time.monotonic() - began
        others.give_back(turn)
        writer.join()
        assert max(waited for waited, _ in told) >= held
        monkeypatch.setattr(btree.turns, "SECONDS", 0.0)
        told.clear()
        turn = others.take()
        with pytest.raises(Busy):
            database.transact(lambda txn: txn.create_tree("v"))
        assert told and told[-1][1] is None
        others.give_back(turn)
        others.close()


def _fail() -> None:
    raise RuntimeError


async def test_readiness_wants_room_and_warns_of_sweeps(gateway: Gateway) -> None:
    data_dir = gateway.services.data_dir

    async def ready(**changes: Any) -> httpx2.Response:
        transport = httpx2.ASGITransport(create_app(replace(gateway.services, **changes)))
        async with httpx2.AsyncClient(transport=transport, base_url="http://x") as http:
            return await http.get("/readyz")

    async def is_ready() -> bool:
        return (await ready()).status_code == 200

    await eventually(is_ready)
    assert (await ready()).json() == {
        "status": "ready", "checks": {"temporal": "ok", "worker": "ok", "data_dir": "ok"}, "warnings": [],
    }  # fmt: skip
    problem = problem_of(await ready(min_free_bytes=1 << 62), 503, "not_ready")
    assert [place["pointer"] for place in problem["errors"]] == ["/checks/data_dir"]
    assert f"less than {1 << 62}" in problem["detail"]
    mark_swept(data_dir)
    assert (await ready()).json()["warnings"] == []
    past = (data_dir / ".swept").stat().st_mtime - LATE_SECONDS - 5
    os.utime(data_dir / ".swept", (past, past))
    assert "the databases were last swept 90" in (await ready()).json()["warnings"][0]
    assert (await ready(sweep_seconds=3600)).json()["warnings"] == []


async def test_a_sweep_is_told(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    from settings import Settings

    monkeypatch.setenv("SOP_SWEEP_SECONDS", "0.01")
    stop, swept = asyncio.Event(), asyncio.Event()
    await asyncio.wait_for(
        keep_swept(gateway.services.databases, Settings(), stop, lambda: (swept.set(), stop.set())[0]), 30
    )
    assert swept.is_set()


async def test_a_client_that_is_gone_is_counted_too(gateway: Gateway) -> None:
    """An answer that never began."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        raise asyncio.CancelledError

    scope = {
        "type": "http", "method": "GET", "path": "/livez", "raw_path": b"/livez", "query_string": b"", "headers": [],
        "http_version": "1.1", "scheme": "http", "server": ("x", 80), "client": None, "root_path": "",
    }  # fmt: skip
    with pytest.raises(asyncio.CancelledError):
        await create_app(gateway.services)(scope, receive, send)
    found = figures(gateway.services.metrics)
    assert found['sop_requests_total{method="GET",route="/livez",status="200"}'] == 1


@pytest.fixture
def unused_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
