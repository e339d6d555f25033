"""Streams on real sockets: they begin before the run ends, say how they end, resume, and leave nothing behind."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from temporalio.client import Client

from gateway.runs.streams import run_events
from gateway.runs.watch import watch_run
from tests.gateway.conftest import Gateway, authorization, eventually, listening, problem_of

READ_TIMEOUT = 10


async def records(answer: httpx2.Response) -> list[dict[str, Any]]:
    return [json.loads(line) async for line in answer.aiter_lines()]


async def test_the_stream_begins_before_the_run_ends(gateway: Gateway, live: httpx2.AsyncClient) -> None:
    await gateway.save_held()
    async with live.stream("POST", "/v1/call/held", json={}) as answer:
        assert answer.headers["content-type"] == "application/x-ndjson"
        assert answer.headers["location"] == f"/v1/runs/{answer.headers['run-id']}"
        lines = answer.aiter_lines()
        first = json.loads(await asyncio.wait_for(anext(lines), READ_TIMEOUT))
        second = json.loads(await asyncio.wait_for(anext(lines), READ_TIMEOUT))
        assert (first["type"], first["status"], second["name"]) == ("run", "started", "before")
        state = (await gateway.http.get(answer.headers["location"])).json()["state"]
        assert state == "running"
        gateway.gate.set()
        rest = [json.loads(line) async for line in lines]
    assert [event["name"] for event in rest[:-1]] == ["hold", "after"]
    assert (rest[-1]["type"], rest[-1]["status"], rest[-1]["result"]) == ("run", "completed", 1)
    assert [event["seq"] for event in (first, second, *rest)] == [1, 2, 3, 4, 5]


async def test_an_ended_run_replays_the_same_from_any_place(gateway: Gateway, live: httpx2.AsyncClient) -> None:
    gateway.gate.set()
    await gateway.save_held()
    async with live.stream("POST", "/v1/call/held", json={}) as answer:
        whole = [line async for line in answer.aiter_lines()]
        path = f"{answer.headers['location']}/events"
    for after in range(len(whole) + 1):
        replayed = await live.get(f"{path}?after={after}")
        assert replayed.text.splitlines() == whole[after:]
    problem_of(await live.get(f"{path}?after=-1"), 422, "invalid_request")


async def test_a_failed_run_ends_its_stream_with_the_error(gateway: Gateway, live: httpx2.AsyncClient) -> None:
    await gateway.save("broken", [{"type": "fail", "name": "stop", "code": "no_stock", "message": "nothing left"}])
    async with live.stream("POST", "/v1/call/broken", json={}) as answer:
        found = await records(answer)
    assert (found[-1]["status"], found[-1]["error"]["code"]) == ("failed", "no_stock")


async def test_the_end_is_told_when_the_run_has_ended_and_as_it_did(gateway: Gateway) -> None:
    await gateway.save("pure", [{"type": "return", "value": 1}])
    services = replace(gateway.services, task_queue="nobody-polls-this", stopping=asyncio.Event())
    async with listening(services) as url, httpx2.AsyncClient(base_url=url, headers=authorization(gateway.key)) as http:
        async with http.stream("POST", "/v1/call/pure", json={}) as answer:
            run_id = answer.headers["run-id"]
            lines = answer.aiter_lines()
            assert json.loads(await asyncio.wait_for(anext(lines), READ_TIMEOUT))["status"] == "started"
            coming = asyncio.ensure_future(anext(lines))
            await asyncio.sleep(0.3)
            assert not coming.done()
            await services.client.get_workflow_handle(run_id).terminate("enough")
            last = json.loads(await asyncio.wait_for(coming, READ_TIMEOUT))
        replayed = (await http.get(f"/v1/runs/{run_id}/events")).text.splitlines()
    assert (last["type"], last["status"], last["error"]["code"]) == ("run", "failed", "terminated")
    assert "result" not in last and json.loads(replayed[-1]) == last


async def test_a_run_is_closed_when_its_stream_has_ended(gateway: Gateway, live: httpx2.AsyncClient) -> None:
    await gateway.save("pure", [{"type": "return", "value": 1}])
    for _ in range(10):
        async with live.stream("POST", "/v1/call/pure", json={}) as answer:
            await records(answer)
        assert (await live.get(answer.headers["location"])).json()["state"] == "completed"


async def test_a_run_can_be_watched_by_several_and_joined_by_its_key(
    gateway: Gateway, live: httpx2.AsyncClient
) -> None:
    await gateway.save_held()
    key = {"Idempotency-Key": "joined"}

    async def call() -> list[dict[str, Any]]:
        async with live.stream("POST", "/v1/call/held", json={}, headers=key) as answer:
            return await records(answer)

    calls = [asyncio.ensure_future(call()) for _ in range(3)]
    await asyncio.sleep(0.3)
    gateway.gate.set()
    first, *others = await asyncio.gather(*calls)
    assert len(first) == 5 and all(other == first for other in others)


async def test_a_client_that_vanishes_frees_everything_and_the_run_goes_on(gateway: Gateway) -> None:
    open_watchers = 0

    async def counted(client: Client, run_id: str, after: int) -> AsyncIterator[dict[str, Any]]:
        nonlocal open_watchers
        open_watchers += 1
        try:
            async for event in watch_run(client, run_id, after):
                yield event
        finally:
            open_watchers -= 1

    await gateway.save_held()
    services = replace(gateway.services, watch=counted, stopping=asyncio.Event())
    async with listening(services) as url:
        started = (await gateway.http.post("/v1/scripts/held/runs", json={})).json()
        before = len(asyncio.all_tasks())
        host, port = url.removeprefix("http://").split(":")
        for _ in range(5):
            with socket.create_connection((host, int(port))) as raw:
                request = f"GET {started['events']} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {gateway.key}\r\n\r\n"
                raw.sendall(request.encode())
                raw.setblocking(False)
                got = b""
                while b'"name":"before"' not in got:
                    got += await asyncio.wait_for(asyncio.get_running_loop().sock_recv(raw, 65536), READ_TIMEOUT)
                assert open_watchers == 1
            await eventually(lambda: open_watchers == 0, patience=2)
        await asyncio.sleep(0.1)
        assert len(asyncio.all_tasks()) <= before + 1
        assert (await gateway.http.get(started["location"])).json()["state"] == "running"
    gateway.gate.set()


async def test_a_gateway_that_stops_ends_its_streams_with_a_record(gateway: Gateway) -> None:
    await gateway.save_held()
    services = replace(gateway.services, stopping=asyncio.Event())
    async with listening(services) as url, httpx2.AsyncClient(base_url=url, headers=authorization(gateway.key)) as http:
        async with http.stream("POST", "/v1/call/held", json={}) as answer:
            lines = answer.aiter_lines()
            for _ in range(2):
                await asyncio.wait_for(anext(lines), READ_TIMEOUT)
            services.stopping.set()
            last = json.loads(await asyncio.wait_for(anext(lines), READ_TIMEOUT))
            assert await anext(lines, None) is None
        not_ready = problem_of(await http.get("/readyz"), 503, "not_ready")
        assert "stopping" in not_ready["detail"]
    assert (last["type"], last["after"]) == ("error", 2)
    assert (last["error"]["code"], last["error"]["retryable"]) == ("gateway_stopping", True)
    gateway.gate.set()
    rest = await gateway.http.get(f"/v1/runs/{last['run_id']}/events?after=2")
    assert [json.loads(line)["seq"] for line in rest.text.splitlines()] == [3, 4, 5]


async def test_an_error_inside_a_stream_is_a_record(gateway: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    async def failing(client: Client, run_id: str, after: int) -> AsyncIterator[dict[str, Any]]:
        yield {"seq": after + 1, "type": "run", "status": "started"}
        raise RuntimeError("a secret inside")

    response = run_events(replace(gateway.services, watch=failing), "r1", 4, request_id="q1")
    lines = [json.loads(bytes(chunk)) async for chunk in response.body_iterator]
    assert lines[0]["seq"] == 5
    assert (lines[1]["type"], lines[1]["after"], lines[1]["error"]["code"]) == ("error", 5, "internal_error")
    assert "secret" not in json.dumps(lines[1])
    assert "q1" in caplog.text and "a secret inside" in caplog.text


async def test_livez_answers_while_streams_flow(gateway: Gateway) -> None:
    async def flood(client: Client, run_id: str, after: int) -> AsyncIterator[dict[str, Any]]:
        for seq in range(after + 1, 1_000_000_000):
            yield {"seq": seq, "type": "say", "status": "completed", "result": "x" * 1000}

    gateway.gate.set()
    await gateway.save_held()
    started = (await gateway.http.post("/v1/scripts/held/runs", json={})).json()
    services = replace(gateway.services, watch=flood, stopping=asyncio.Event())
    async with listening(services) as url, httpx2.AsyncClient(base_url=url, headers=authorization(gateway.key)) as http:
        async with http.stream("GET", started["events"]) as answer:
            lines = answer.aiter_lines()
            await anext(lines)
            for _ in range(5):
                begun = asyncio.get_running_loop().time()
                assert (await http.get("/livez")).status_code == 200
                assert asyncio.get_running_loop().time() - begun < 1
        with contextlib.suppress(httpx2.HTTPError):
            assert (await http.get("/livez")).status_code == 200
