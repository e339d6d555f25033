"""MCP with keys: what a key may not do over HTTP it may not do here, and nobody gets at the session of somebody else."""

import asyncio
import json
import sys
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp.shared.exceptions import MCPError

from gateway.mcp import door
from tests.gateway.conftest import Gateway, Sop, authorization, listening, problem_of
from tests.gateway.test_mcp import LEGACY, MODERN, connected, error_of, fill, key_for, save_double, told
from toolbox.access import parse_scopes

HEADERS = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
}
LIST = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}


async def names(client: Client) -> set[str]:
    return {tool.name for tool in (await client.list_tools()).tools}


@pytest.mark.parametrize("mode", [LEGACY, MODERN])
async def test_a_key_sees_what_it_may_do(gateway: Gateway, url: str, mode: str) -> None:
    await fill(gateway)
    await fill(gateway, "hr")
    await save_double(gateway)
    fetch = {"type": "fetch", "name": "all", "resource": "people", "variable": "found"}
    await gateway.save("reads_hr", [fetch], database="hr")
    data = {"list_databases", "list_stores", "describe_store", "get_row", "select_rows", "join_rows", "aggregate_rows"}
    expected: dict[tuple[str, ...], set[str]] = {
        (): set(),
        ("data:crm:read",): data,
        ("scripts:run",): {"start_run", "run_double"},
        ("scripts:run", "data:hr:read"): data | {"start_run", "run_double", "run_reads_hr"},
        ("scripts:call:reads_*",): {"start_run", "run_reads_hr"},
        ("runs:control",): {"cancel_run", "decide_approval"},
    }
    for scopes, tools in expected.items():
        async with connected(url, key_for(gateway, *scopes), mode) as client:
            assert await names(client) == tools, scopes


async def test_the_catalog_has_a_tag_that_is_compared_as_everywhere(gateway: Gateway) -> None:
    await save_double(gateway)
    path = "/v1/mcp/catalog"
    tag = (await gateway.http.get(path)).headers["etag"]
    for same in (tag, f"W/{tag}", f'"other", W/{tag}', "*"):
        answer = await gateway.http.get(path, headers={"If-None-Match": same})
        assert (answer.status_code, answer.headers["etag"], answer.content) == (304, tag, b""), same
    several = [("If-None-Match", '"other"'), ("If-None-Match", tag)]
    assert (await gateway.http.get(path, headers=several)).status_code == 304
    await save_double(gateway, "more")
    changed = await gateway.http.get(path, headers={"If-None-Match": tag})
    assert [script["name"] for script in changed.json()["scripts"]] == ["double", "more"]


async def test_what_is_not_listed_is_refused(gateway: Gateway, url: str) -> None:
    await fill(gateway)
    await save_double(gateway)
    async with connected(url, key_for(gateway, "data:other:read", "scripts:run:other")) as client:
        for tool, arguments, scope in (
            ("select_rows", {"database": "crm", "store": "people"}, "data:crm:read"),
            ("run_double", {"n": 1}, "scripts:run:double"),
            ("start_run", {"script": "double"}, "scripts:run:double"),
            ("list_runs", {}, "runs:read"),
            ("cancel_run", {"run_id": "r"}, "runs:control"),
            ("save_script", {"script": {"name": "s", "steps": []}}, "scripts:write"),
        ):
            refused = error_of(await client.call_tool(tool, arguments))
            assert (refused["code"], refused["status"], refused["errors"][0]["scope"]) == ("forbidden", 403, scope)
        with pytest.raises(MCPError, match="scripts:read:double"):
            await client.read_resource("sop://scripts/double")
        assert (await client.list_resources()).resources == []


async def test_calls_are_audited_like_requests(gateway: Gateway, url: str) -> None:
    await save_double(gateway)
    key = key_for(gateway, "scripts:run:double")
    async with connected(url, key) as client:
        run_id = told(await client.call_tool("run_double", {"n": 1}))["run_id"]
        refused = error_of(await client.call_tool("list_databases", {}))
    key_id = key.split("_")[1]
    entries = (await gateway.http.get(f"/v1/audit?key={key_id}")).json()["data"]
    assert [(entry["status"], entry["route"]) for entry in entries] == [
        (403, "/v1/databases"),
        (200, "/v1/call/{name}"),
    ]
    assert entries[1]["target"] == {"script": "double", "run": run_id}
    assert entries[0]["request_id"] == refused["request_id"]


async def test_without_the_scope_or_a_key_there_is_no_mcp(gateway: Gateway, url: str) -> None:
    other = gateway.services.keys.create("anna", parse_scopes(["data:*:read"]))
    async with httpx2.AsyncClient(base_url=url, headers=HEADERS) as http:
        for method in ("GET", "POST", "DELETE"):
            problem_of(await http.request(method, "/mcp"), 401, "not_authenticated")
            problem_of(await http.request(method, "/mcp", headers=authorization("sop_0_0")), 401, "not_authenticated")
            answer = await http.request(method, "/mcp", headers=authorization(other))
            assert problem_of(answer, 403, "forbidden")["errors"][0]["scope"] == "mcp"
        for path in ("/mcp/", "//mcp", "/MCP", "/v1/mcp"):
            answer = await http.post(path, json=INITIALIZE, headers=authorization(gateway.key))
            assert answer.status_code in (307, 404, 405), path


async def test_a_session_is_its_keys_only(gateway: Gateway, url: str) -> None:
    anna, bob = key_for(gateway), key_for(gateway)
    async with httpx2.AsyncClient(base_url=url, headers=HEADERS) as http:
        opened = await http.post("/mcp", json=INITIALIZE, headers=authorization(anna))
        session = {"mcp-session-id": opened.headers["mcp-session-id"]}
        assert len(session["mcp-session-id"]) == 32
        for method, body in (("POST", LIST), ("GET", None), ("DELETE", None)):
            answer = await http.request(method, "/mcp", json=body, headers=authorization(bob) | session)
            assert (answer.status_code, answer.json()["error"]["message"]) == (404, "Session not found")
            answer = await http.request(method, "/mcp", json=body, headers=session)
            problem_of(answer, 401, "not_authenticated")
        assert (await http.post("/mcp", json=LIST, headers=authorization(anna) | session)).status_code == 200
        guessed = {"mcp-session-id": "0" * 32}
        answer = await http.post("/mcp", json=LIST, headers=authorization(anna) | guessed)
        assert answer.status_code == 404
        assert (await http.delete("/mcp", headers=authorization(anna) | session)).status_code == 200
        answer = await http.post("/mcp", json=LIST, headers=authorization(anna) | session)
        assert answer.status_code == 404


async def test_a_key_that_is_revoked_is_refused_in_the_middle_of_its_session(gateway: Gateway, url: str) -> None:
    key = key_for(gateway, "data:*:read")
    async with httpx2.AsyncClient(base_url=url, headers=HEADERS | authorization(key)) as http:
        opened = await http.post("/mcp", json=INITIALIZE)
        session = {"mcp-session-id": opened.headers["mcp-session-id"]}
        assert (await http.post("/mcp", json=LIST, headers=session)).status_code == 200
        gateway.services.keys.revoke(key.split("_")[1])
        problem_of(await http.post("/mcp", json=LIST, headers=session), 401, "not_authenticated")


async def test_sessions_of_a_key_are_limited(gateway: Gateway, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "MOST_OF_A_KEY", 2)
    anna, bob = key_for(gateway), key_for(gateway)
    async with httpx2.AsyncClient(base_url=url, headers=HEADERS) as http:
        opened = [await http.post("/mcp", json=INITIALIZE, headers=authorization(anna)) for _ in range(3)]
        assert [answer.status_code for answer in opened] == [200, 200, 503]
        problem_of(opened[2], 503, "too_many_sessions")
        assert (await http.post("/mcp", json=INITIALIZE, headers=authorization(bob))).status_code == 200


@pytest.mark.parametrize("version", ["2025-06-18", "2026-07-28"])
async def test_other_hosts_and_web_pages_are_refused(gateway: Gateway, url: str, version: str) -> None:
    given = HEADERS | authorization(gateway.key) | {"mcp-protocol-version": version}
    async with httpx2.AsyncClient(base_url=url, headers=given) as http:
        for host in ("evil.example", "127.0.0.1.evil.example:8080", "localhost.evil.example", "gateway"):
            answer = await http.post("/mcp", json=INITIALIZE, headers={"Host": host})
            problem_of(answer, 421, "host_not_allowed")
        for origin in ("https://evil.example", "null", "http://127.0.0.1:8080", "http://localhost"):
            answer = await http.post("/mcp", json=INITIALIZE, headers={"Origin": origin})
            problem_of(answer, 403, "origin_not_allowed")


async def test_messages_that_are_none(gateway: Gateway, url: str) -> None:
    async with httpx2.AsyncClient(base_url=url, headers=HEADERS | authorization(gateway.key)) as http:
        problem_of(await http.post("/mcp", content=b"x" * (3 << 20)), 413, "body_too_large")

        async def pieces() -> Any:
            for _ in range(3):
                yield b"x" * (1 << 20)

        problem_of(await http.post("/mcp", content=pieces()), 413, "body_too_large")
        problem_of(await http.post("/mcp", content="{}", headers={"Content-Type": "text/plain"}), 400, "bad_request")
        for body in (
            "nonsense",
            "[]",
            "{}",
            "[" * 5000,
            json.dumps([LIST, LIST]),
            json.dumps(LIST),
            '{"jsonrpc":"2.0"}',
        ):
            answer = await http.post("/mcp", content=body)
            assert answer.status_code == 400, body
            assert answer.json()["error"]["code"] < 0
        answer = await http.post("/mcp", json=INITIALIZE, headers={"Accept": "text/html"})
        assert answer.status_code == 406


async def test_streams_of_sessions_end_when_the_gateway_stops(gateway: Gateway) -> None:
    services = replace(gateway.services, stopping=asyncio.Event())
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(httpx2.AsyncClient(headers=HEADERS | authorization(gateway.key)))
        async with listening(services) as url:
            opened = await http.post(f"{url}/mcp", json=INITIALIZE)
            session = {"mcp-session-id": opened.headers["mcp-session-id"]}
            await http.post(
                f"{url}/mcp", json={"jsonrpc": "2.0", "method": "notifications/initialized"}, headers=session
            )
            answer = await stack.enter_async_context(http.stream("GET", f"{url}/mcp", headers=session, timeout=30))
            assert answer.status_code == 200
            services.stopping.set()
            with suppress(httpx2.RemoteProtocolError):  # it ends as a cut one does: there is nothing to say at its end
                assert [piece async for piece in answer.aiter_bytes() if not piece.startswith(b":")] == []


@pytest.mark.parametrize("mode", [LEGACY, MODERN])
async def test_calls_that_wait_end_when_the_gateway_stops(gateway: Gateway, mode: str) -> None:
    await gateway.save_held()
    services = replace(gateway.services, stopping=asyncio.Event())
    asked = {"script": "held", "wait_seconds": 600, "idempotency_key": f"held-{mode}"}
    heard = asyncio.Event()

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.set()

    async with listening(services) as url, connected(url, gateway.key, mode) as client:
        calling = asyncio.create_task(client.call_tool("start_run", asked, progress_callback=hear))
        await asyncio.wait_for(heard.wait(), 20)
        services.stopping.set()
        refused = error_of(await asyncio.wait_for(calling, 20))
        again = error_of(await client.call_tool("get_run", {"run_id": asked["idempotency_key"], "wait_seconds": 600}))
    for error in (refused, again):
        assert (error["code"], error["retryable"]) == ("gateway_stopping", True)
        assert error["run_id"] == asked["idempotency_key"]
        assert "get_run" in error["hint"]
    assert (await gateway.http.get(f"/v1/runs/{asked['idempotency_key']}")).json()["state"] == "running"


async def test_who_listens_is_told_that_the_gateway_stops(gateway: Gateway) -> None:
    services = replace(gateway.services, stopping=asyncio.Event())
    async with (
        listening(services) as url,
        connected(url, gateway.key, MODERN) as client,
        client.listen(tools_list_changed=True) as events,
    ):
        services.stopping.set()
        async with asyncio.timeout(20):
            assert [event async for event in events] == []


def stdio(gateway: Gateway, url: str, key: str) -> StdioServerParameters:
    """`sop mcp` as a client starts it."""
    root = str(Path(__file__).parents[2])
    environment = {"SOP_URL": url, "SOP_API_KEY": key, "PYTHONPATH": root, "HOME": str(gateway.services.data_dir)}
    return StdioServerParameters(
        command=sys.executable, args=["-c", "from gateway.cli import main; main()", "mcp"], env=environment
    )


async def test_over_stdio_it_is_the_same(gateway: Gateway, url: str) -> None:
    await fill(gateway)
    await save_double(gateway)
    key = key_for(gateway, "data:crm:read", "scripts:run")
    async with Client(stdio(gateway, url, key), mode=LEGACY, cache=None) as client:
        async with connected(url, key) as other:
            assert (await client.list_tools()).tools == (await other.list_tools()).tools
        answer = told(await client.call_tool("run_double", {"n": 4}))
        assert answer["result"] == {"twice": 8}
        page = told(await client.call_tool("select_rows", {"database": "crm", "store": "people", "limit": 2}))
        assert (page["count"], page["has_more"]) == (2, True)
        refused = error_of(await client.call_tool("list_runs", {}))
        assert refused["code"] == "forbidden"


async def test_without_a_key_that_may_stdio_does_not_begin(gateway: Gateway, sop: Sop) -> None:
    other = gateway.services.keys.create("anna", parse_scopes(["data:*:read"]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOP_API_KEY", other)
        refused = await sop("mcp")
    assert (refused.code, refused.out) == (4, "")
    assert "mcp" in refused.err
