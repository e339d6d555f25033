"""MCP over streamable HTTP: the package's own client against a gateway on a real socket."""

import asyncio
import csv
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, TextContent

from tests.gateway.conftest import Gateway, authorization, eventually, listening
from toolbox.access import parse_scopes

LEGACY, MODERN = "legacy", "2026-07-28"
ROWS = [{"id": number, "city": "Bern" if number % 2 else "Rome", "text": "x" * number} for number in range(1, 61)]


@asynccontextmanager
async def connected(url: str, key: str, mode: str = LEGACY, **more: Any) -> AsyncIterator[Client]:
    """A client of the gateway's MCP server."""
    async with (
        httpx2.AsyncClient(headers=authorization(key), timeout=30) as http,
        Client(streamable_http_client(f"{url}/mcp", http_client=http), mode=mode, cache=None, **more) as client,
    ):
        yield client


def key_for(gateway: Gateway, *scopes: str) -> str:
    return gateway.services.keys.create("agent", parse_scopes(["mcp", *scopes]))


def told(result: CallToolResult) -> dict[str, Any]:
    """What a tool has answered."""
    assert not result.is_error, result.content
    assert isinstance(result.content[0], TextContent)
    assert result.structured_content is not None
    return result.structured_content


def error_of(result: CallToolResult) -> dict[str, Any]:
    """The error that a tool has answered."""
    assert result.is_error, result.content
    assert result.structured_content is not None
    return result.structured_content


async def fill(gateway: Gateway, database: str = "crm") -> None:
    http = gateway.http
    assert (await http.post("/v1/databases", json={"name": database})).status_code == 201
    body = {"name": "people", "primary_key": ["id"]}
    assert (await http.post(f"/v1/databases/{database}/stores", json=body)).status_code == 201
    answer = await http.post(f"/v1/databases/{database}/stores/people/rows:import", json=ROWS)
    assert answer.status_code == 200, answer.text


async def save_double(gateway: Gateway, name: str = "double") -> None:
    await gateway.save(
        name,
        [{"type": "return", "name": "after", "value": {"twice": "{{ n * 2 }}"}}],
        description="Doubles a number.",
        parameters=[{"name": "n", "type": "integer", "description": "the number", "required": True}],
        output_schema={"type": "object", "properties": {"twice": {"type": "integer"}}, "required": ["twice"]},
    )


@pytest.mark.parametrize("mode", [LEGACY, MODERN])
async def test_a_script_is_a_typed_tool(gateway: Gateway, url: str, mode: str) -> None:
    await save_double(gateway)
    async with connected(url, gateway.key, mode) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        tool = tools["run_double"]
        assert tool.input_schema["properties"] == {"n": {"type": "integer", "description": "the number"}}
        assert tool.input_schema["required"] == ["n"]
        assert tool.output_schema is not None
        assert tool.output_schema["properties"]["result"]["required"] == ["twice"]
        assert tool.description is not None
        assert tool.description.startswith("Doubles a number.")
        assert tool.annotations is not None
        assert (tool.annotations.read_only_hint, tool.annotations.idempotent_hint) == (True, True)
        answer = told(await client.call_tool("run_double", {"n": 21}))
        assert (answer["state"], answer["result"]) == ("completed", {"twice": 42})
        run = await gateway.http.get(f"/v1/runs/{answer['run_id']}")
        assert run.json()["output"] == {"twice": 42}
        wrong = error_of(await client.call_tool("run_double", {"nn": 21}))
        assert (wrong["code"], wrong["errors"][0]["pointer"]) == ("invalid_arguments", "/nn")
        assert wrong["errors"][0]["hint"] == "did you mean 'n'?"


async def test_hints_tell_what_programs_do(gateway: Gateway, url: str) -> None:
    await fill(gateway)
    row = {"id": 1, "city": "Oslo", "text": ""}
    commands = {
        "adds": {"command": "add", "args": {"store": "people", "record": row}},
        "deletes": {"command": "delete", "args": {"store": "people", "key": 1}},
        "mails": {"command": "send_email", "args": {"to": "a@example.com", "subject": "s", "body": "b"}},
    }
    for name, step in commands.items():
        answer = await gateway.http.post(
            "/v1/scripts",
            json={"name": name, "database": "crm", "steps": [{"type": "command", "name": "do", **step}]},
        )
        assert answer.status_code == 201, answer.text
    await gateway.save("calls", [{"type": "script", "name": "do", "script_name": "deletes"}], database="crm")
    async with connected(url, gateway.key) as client:
        found = {tool.name: tool.annotations for tool in (await client.list_tools()).tools}
    hints = {
        name: (said.read_only_hint, said.destructive_hint, said.idempotent_hint, said.open_world_hint)
        for name, said in found.items()
        if said is not None
    }
    assert hints["run_adds"] == (False, False, False, False)
    assert hints["run_deletes"] == hints["run_calls"] == (False, True, False, False)
    assert hints["run_mails"] == (False, True, False, True)
    assert hints["select_rows"] == (True, False, True, False)


@pytest.mark.parametrize("mode", [LEGACY, MODERN])
async def test_rows_come_in_pages(gateway: Gateway, url: str, mode: str) -> None:
    await fill(gateway)
    where = {"database": "crm", "store": "people"}
    async with connected(url, gateway.key, mode) as client:
        assert {"name": "crm"} in told(await client.call_tool("list_databases"))["databases"]
        assert told(await client.call_tool("list_stores", {"database": "crm"}))["stores"][0]["count"] == 60
        assert told(await client.call_tool("describe_store", where))["count"] == 60
        assert told(await client.call_tool("get_row", {**where, "key": 7}))["row"] == ROWS[6]
        query = {**where, "filter": {"city": "Bern"}, "fields": ["id"], "limit": 13}
        first = told(await client.call_tool("select_rows", query))
        assert (first["count"], first["has_more"]) == (13, True)
        await gateway.http.post("/v1/databases/crm/stores/people/rows:import", json=[{"id": 0, "city": "Bern"}])
        found, cursor = first["rows"], first["next_cursor"]
        while cursor is not None:
            page = told(await client.call_tool("select_rows", {**query, "cursor": cursor}))
            found, cursor = found + page["rows"], page.get("next_cursor")
        assert found == [{"id": row["id"]} for row in ROWS if row["city"] == "Bern"]
        other = {**query, "filter": {"city": "Rome"}, "cursor": first["next_cursor"]}
        assert error_of(await client.call_tool("select_rows", other))["code"] == "invalid_cursor"
        forged = {**query, "cursor": "AAAA"}
        assert error_of(await client.call_tool("select_rows", forged))["errors"][0]["pointer"] == "/cursor"
        counted = {**where, "values": {"n": "count"}, "group_by": ["city"]}
        assert told(await client.call_tool("aggregate_rows", counted))["rows"][1] == {"city": "Rome", "n": 30}
        joined = {**where, "right": "people", "on": {"id": "id"}, "limit": 2}
        page = told(await client.call_tool("join_rows", joined))
        assert (page["count"], page["has_more"]) == (2, True)


async def test_an_answer_is_small_whatever_the_rows_are(gateway: Gateway, url: str) -> None:
    await fill(gateway)
    rows = [{"id": number, "text": "y" * 9000} for number in range(100, 110)] + [{"id": 200, "text": "z" * 40_000}]
    await gateway.http.post("/v1/databases/crm/stores/people/rows:import", json=rows)
    query: dict[str, Any] = {"database": "crm", "store": "people", "filter": {"id": {"$gte": 100}}, "limit": 100}
    found: list[int] = []
    async with connected(url, gateway.key) as client:
        for _ in range(4):
            page = told(await client.call_tool("select_rows", query))
            assert 1 <= page["count"] <= 3
            found += [row["id"] for row in page["rows"]]
            query["cursor"] = page["next_cursor"]
        assert found == list(range(100, 110))
        refused = error_of(await client.call_tool("select_rows", query))
    assert (refused["code"], refused["errors"][0]["pointer"]) == ("too_large", "/fields")


async def test_errors_say_how_to_repair(gateway: Gateway, url: str) -> None:
    await fill(gateway)
    where = {"database": "crm", "store": "people"}
    async with connected(url, gateway.key) as client:

        async def wrong(tool: str, **arguments: Any) -> tuple[str, str | None]:
            found = error_of(await client.call_tool(tool, arguments))
            assert found["request_id"]
            return found["code"], found["errors"][0]["pointer"] if found["errors"] else None

        assert await wrong("select_rows", **where, filter={"id": {"$gtt": 1}}) == (
            "unknown_operator",
            "/filter/id/$gtt",
        )
        assert await wrong("select_rows", **where, limit=10_000) == ("invalid_arguments", "/limit")
        assert await wrong("select_rows", store="people") == ("invalid_arguments", "/database")
        assert await wrong("select_rows", **where, colour="red") == ("invalid_arguments", "/colour")
        assert (await wrong("select_rows", database="crm", store="peple"))[0] == "store_not_found"
        assert (await wrong("list_stores", database="system"))[0] == "reserved_database"
        assert (await wrong("list_stores", database="../crm"))[0] in ("database_not_found", "invalid_name", "not_found")
        assert (await wrong("get_run", run_id="nothing"))[0] == "run_not_found"
        assert (await wrong("run_nothing"))[0] == "script_not_found"
        assert (await wrong("nothing"))[0] == "unknown_tool"
        script = {"name": "s", "steps": [{"type": "command", "name": "x", "command": "ad"}]}
        problems = told(await client.call_tool("check_script", {"script": script}))["problems"]
        assert problems[0]["hint"]


async def test_a_long_run_tells_its_progress_and_can_be_asked_for_again(gateway: Gateway, url: str) -> None:
    await gateway.save_held()
    heard: list[str] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append(message or "")

    async with connected(url, gateway.key) as client:
        answer = await client.call_tool(
            "start_run", {"script": "held", "wait_seconds": 0, "idempotency_key": "held-1"}, progress_callback=hear
        )
        assert told(answer) | {"hint": ""} == {"run_id": "held-1", "state": "running", "hint": ""}
        standing = told(await client.call_tool("get_run", {"run_id": "held-1"}))
        assert (standing["state"], standing["script"]) == ("running", "held")
        assert [run["id"] for run in told(await client.call_tool("list_runs", {"script": "held"}))["runs"]] in (
            [],
            ["held-1"],
        )
        waiting = asyncio.create_task(
            client.call_tool("get_run", {"run_id": "held-1", "wait_seconds": 60}, progress_callback=hear)
        )
        await eventually(lambda: any("before: completed" in message for message in heard))
        gateway.gate.set()
        ended = told(await waiting)
        assert (ended["state"], ended["result"]) == ("completed", 1)
        assert told(await client.call_tool("get_run", {"run_id": "held-1"})) == ended


async def test_a_call_that_is_canceled_leaves_its_run(gateway: Gateway, url: str) -> None:
    await gateway.save_held()
    arguments = {"script": "held", "wait_seconds": 60, "idempotency_key": "held-2"}
    async with connected(url, gateway.key) as client:
        calling = asyncio.create_task(client.call_tool("start_run", arguments))
        await eventually(lambda: _state(gateway, "held-2"))
        calling.cancel()
        await asyncio.gather(calling, return_exceptions=True)
        assert told(await client.call_tool("get_run", {"run_id": "held-2"}))["state"] == "running"
        assert told(await client.call_tool("cancel_run", {"run_id": "held-2"}))["state"] == "canceling"
        gateway.gate.set()
        ended = error_of(await client.call_tool("get_run", {"run_id": "held-2", "wait_seconds": 60}))
        assert (ended["run_id"], ended["state"]) == ("held-2", "canceled")


async def _state(gateway: Gateway, run_id: str) -> str | None:
    state: str | None = (await gateway.http.get(f"/v1/runs/{run_id}")).json().get("state")
    return state


async def test_a_run_that_fails_is_an_error_with_its_run(gateway: Gateway, url: str) -> None:
    await fill(gateway)
    await gateway.save("double", [{"type": "return", "name": "r", "value": "{{ 1 / int('0') }}"}])
    async with connected(url, gateway.key) as client:
        failed = error_of(await client.call_tool("run_double", {}))
    assert failed["state"] == "failed"
    assert failed["error"]["code"]
    assert (await gateway.http.get(f"/v1/runs/{failed['run_id']}")).json()["state"] == "failed"


async def test_rows_of_a_run_come_as_csv_in_pages(gateway: Gateway, url: str) -> None:
    await fill(gateway)
    steps = [
        {"type": "fetch", "name": "all", "resource": "people", "variable": "found"},
        {"type": "return", "name": "end", "value": "{{ found }}"},
    ]
    rows = [{**row, "text": "x" * 700} for row in ROWS]
    await gateway.http.post("/v1/databases/crm/stores/people/rows:import?mode=upsert", json=rows)
    await gateway.save("everybody", steps, database="crm")
    async with connected(url, gateway.key) as client:
        answer = told(await client.call_tool("run_everybody", {}))
        assert answer["state"] == "completed"
        assert [row["city"] for row in csv.DictReader(answer["rows"]["csv"].splitlines())] == ["Bern", "Rome"] * 10
        assert (answer["rows"]["count"], answer["rows"]["total"]) == (20, 60)
        cursor, found = 0, []
        while cursor is not None:
            asked = {"run_id": answer["run_id"], "limit": 25, "cursor": cursor}
            page = told(await client.call_tool("get_run_rows", asked))
            assert page["total"] == 60
            found += [int(row["id"]) for row in csv.DictReader(page["csv"].splitlines())]
            cursor = page.get("next_cursor")
    assert found == [row["id"] for row in ROWS]


async def test_scripts_and_runs_are_resources(gateway: Gateway, url: str) -> None:
    await save_double(gateway)
    async with connected(url, gateway.key) as client:
        run_id = told(await client.call_tool("run_double", {"n": 1}))["run_id"]
        assert [found.uri for found in (await client.list_resources()).resources] == ["sop://scripts/double"]
        assert len((await client.list_resource_templates()).resource_templates) == 4

        async def read(uri: str) -> str:
            found = (await client.read_resource(uri)).contents[0]
            text: str = found.text  # type: ignore[union-attr]
            return text

        assert '"twice"' in await read("sop://scripts/double")
        assert '"number":1' in await read("sop://scripts/double/versions/1")
        assert '"output":{"twice":2}' in await read(f"sop://runs/{run_id}")
        events = (await read(f"sop://runs/{run_id}/events")).splitlines()
        assert len(events) >= 2
        assert len((await read(f"sop://runs/{run_id}/events?after=1")).splitlines()) == len(events) - 1
        for uri in ("sop://runs/nothing", "sop://scripts/nothing", "file:///etc/passwd", "sop://scripts/a/b"):
            with pytest.raises(MCPError):
                await client.read_resource(uri)


@pytest.mark.parametrize("mode", [LEGACY, MODERN])
async def test_a_saved_script_is_told_to_clients(gateway: Gateway, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    monkeypatch.setattr("gateway.mcp.changes.EVERY", 0.02)
    heard = asyncio.Event()

    async def hear(message: Any) -> None:
        if type(message).__name__ == "ToolListChangedNotification":
            heard.set()

    async def more_scripts() -> bool:
        await save_double(gateway, f"another_{len(gateway.services.library.scripts())}")
        return heard.is_set()

    async with listening(gateway.services) as url, connected(url, gateway.key, mode, message_handler=hear) as client:
        if mode == LEGACY:
            assert client.server_capabilities.tools is not None
            assert client.server_capabilities.tools.list_changed
            await eventually(more_scripts)
            return
        async with client.listen(tools_list_changed=True) as events:
            first = asyncio.ensure_future(anext(aiter(events)))
            first.add_done_callback(lambda _: heard.set())
            await eventually(more_scripts)
            assert type(first.result()).__name__ == "ToolsListChanged"


async def test_long_lists_come_in_pages(gateway: Gateway, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.mcp.server.PAGE", 2)
    for number in range(5):
        await save_double(gateway, f"double{number}")
    key = key_for(gateway, "scripts:read", "scripts:run")
    async with connected(url, key) as client:
        pages, cursor = [], None
        while True:
            found = await client.list_tools(cursor=cursor)
            pages.append([tool.name for tool in found.tools if tool.name.startswith("run_")])
            assert ("start_run" in [tool.name for tool in found.tools]) == (cursor is None)
            if (cursor := found.next_cursor) is None:
                break
        assert pages == [["run_double0", "run_double1"], ["run_double2", "run_double3"], ["run_double4"]]
        first = await client.list_resources()
        assert (len(first.resources), first.next_cursor) == (2, "2")
        for wrong in ("x", "-1", "9" * 30):
            with pytest.raises(MCPError, match="cursor"):
                await client.list_tools(cursor=wrong)
