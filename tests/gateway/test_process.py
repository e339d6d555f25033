"""The gateway as a process, and its health."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from temporal_server import TemporalServer
from temporalio.client import Client

from gateway.app import create_app
from gateway.serve import NotLoopback, check_host
from tests.gateway.conftest import Gateway, authorization, eventually, problem_of

ROOT = Path(__file__).parents[2]


class Process:
    """`python -m gateway.serve` over a gateway's data directory."""

    def __init__(self, gateway: Gateway, temporal: TemporalServer, port: int = 0, **more: str) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("SOP_", "TEMPORAL_"))}
        settings = {
            "SOP_DATA_DIR": str(gateway.services.data_dir),
            "SOP_TASK_QUEUE": gateway.services.task_queue,
            "SOP_TEMPORAL_ADDRESS": temporal.address,
            "SOP_PORT": str(port),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gateway.serve"],
            cwd=ROOT,
            env={**inherited, **settings, **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    async def url(self) -> str:
        """Where it listens, when it does."""
        assert self.process.stdout is not None
        line = await asyncio.to_thread(self.process.stdout.readline)
        match = re.fullmatch(r"gateway ready on (http://127\.0\.0\.1:\d+) \(process \d+\)\n", line)
        assert match, line
        return match[1]

    async def end(self, number: int) -> tuple[int, str]:
        """Send a signal; the exit code and what was logged."""
        self.process.send_signal(number)
        _, log = await asyncio.to_thread(self.process.communicate, None, 15)
        return self.process.returncode, log


STEPS = [{"type": "command", "name": f"s{n}", "command": "coupon_code"} for n in range(60)]


async def test_a_gateway_that_is_killed_loses_nothing(gateway: Gateway, temporal: TemporalServer) -> None:
    await gateway.save("long", STEPS)
    first = Process(gateway, temporal)
    url = await first.url()
    seen: list[dict[str, Any]] = []
    async with httpx2.AsyncClient(base_url=url, headers=authorization(gateway.key), timeout=20) as http:
        with pytest.raises(httpx2.RemoteProtocolError):
            async with http.stream("POST", "/v1/call/long", json={}, headers={"Idempotency-Key": "long-1"}) as answer:
                async for line in answer.aiter_lines():
                    seen.append(json.loads(line))
                    if len(seen) == 5:
                        code, log = await first.end(signal.SIGKILL)
        assert (code, gateway.key.split("_")[2] in log) == (-signal.SIGKILL, False)
        second = Process(gateway, temporal, port=int(url.rpartition(":")[2]))
        assert await second.url() == url
        async with http.stream("GET", f"/v1/runs/long-1/events?after={seen[-1]['seq']}") as answer:
            seen += [json.loads(line) async for line in answer.aiter_lines()]
        whole = (await http.get("/v1/runs/long-1/events")).text
    assert [json.loads(line) for line in whole.splitlines()] == seen
    assert [event["seq"] for event in seen] == list(range(1, 63))
    assert seen[-1]["status"] == "completed"
    code, log = await second.end(signal.SIGTERM)
    assert (code, "Traceback" in log) == (0, False)


async def test_sigterm_ends_streams_with_a_record(gateway: Gateway, temporal: TemporalServer) -> None:
    await gateway.save("long", STEPS)
    process = Process(gateway, temporal)
    url = await process.url()
    async with (
        httpx2.AsyncClient(base_url=url, headers=authorization(gateway.key), timeout=20) as http,
        http.stream("POST", "/v1/call/long", json={}) as answer,
    ):
        lines = answer.aiter_lines()
        await anext(lines)
        ending = asyncio.ensure_future(process.end(signal.SIGTERM))
        rest = [json.loads(line) async for line in lines]
    code, log = await ending
    assert (rest[-1]["type"], rest[-1]["error"]["code"]) == ("error", "gateway_stopping")
    assert (code, "Traceback" in log) == (0, False)


async def test_it_listens_on_loopback_only(gateway: Gateway, temporal: TemporalServer) -> None:
    for host in ("127.0.0.1", "127.0.0.2", "::1", "localhost"):
        check_host(host, allow_remote=False)
    for host in ("0.0.0.0", "::", "192.168.1.1", "example.com", "127.0.0.1.example.com", ""):
        with pytest.raises(NotLoopback):
            check_host(host, allow_remote=False)
        check_host(host, allow_remote=True)
    refused = Process(gateway, temporal, SOP_HOST="0.0.0.0")
    told = await asyncio.to_thread(refused.process.communicate, None, 15)
    assert refused.process.returncode == 2
    assert told[0] == "" and told[1].startswith("the gateway cannot start: SOP_HOST=0.0.0.0 is not loopback")


async def test_readiness_has_reasons(gateway: Gateway) -> None:

    async def ready() -> bool:
        return (await gateway.http.get("/readyz")).status_code == 200

    await eventually(ready)
    lonely = replace(gateway.services, task_queue="nobody-polls-this", data_dir=gateway.services.data_dir / "gone")
    transport = httpx2.ASGITransport(create_app(lonely))
    async with httpx2.AsyncClient(transport=transport, base_url="http://x") as http:
        problem = problem_of(await http.get("/readyz"), 503, "not_ready")
        assert [found["pointer"] for found in problem["errors"]] == ["/checks/worker", "/checks/data_dir"]
        assert "nobody-polls-this" in problem["detail"]
        assert (await http.get("/livez")).json() == {"status": "alive"}
    absent = await Client.connect("127.0.0.1:1", lazy=True)
    transport = httpx2.ASGITransport(create_app(replace(gateway.services, client=absent)))
    async with httpx2.AsyncClient(transport=transport, base_url="http://x") as http:
        problem = problem_of(await http.get("/readyz"), 503, "not_ready")
        assert "/checks/temporal" in [found["pointer"] for found in problem["errors"]]


async def test_an_unreachable_temporal_ends_the_process(gateway: Gateway, temporal: TemporalServer) -> None:
    process = Process(gateway, temporal, SOP_TEMPORAL_ADDRESS="127.0.0.1:1")
    out, log = await asyncio.to_thread(process.process.communicate, None, 30)
    assert process.process.returncode == 1
    assert out == "" and "the gateway cannot start: " in log
