"""A tool is one decorated function: it is in the API, on the command line, in MCP, for the author's model, and a script can call it."""

import io
import json

import pytest

from activities.authoring.catalog import tools_of
from tests.gateway.conftest import Gateway, Sop
from tests.gateway.test_mcp import connected, told
from toolbox.access import ADMIN, Access
from worker import create_resources

# The gateway of these tests registers `echo`, as any installation registers a function of its own (`conftest.gateway_over`).
DESCRIPTION = "Give a text back."


async def test_one_function_is_a_tool_everywhere(
    gateway: Gateway, url: str, sop: Sop, monkeypatch: pytest.MonkeyPatch
) -> None:
    described = (await gateway.http.get("/v1/tools/echo")).json()
    assert (described["description"], described["effect"]) == (DESCRIPTION, "pure")
    assert described["arguments"]["required"] == ["text"]
    assert "echo" in [found["name"] for found in (await sop("tool", "list", "-o", "json")).json]
    async with connected(url, gateway.key) as client:
        listed = told(await client.call_tool("list_script_tools", {}))
        assert [found["description"] for found in listed["tools"] if found["name"] == "echo"] == [DESCRIPTION]
    resources = create_resources(gateway.services.data_dir, registry=gateway.services.registry)
    offered = {found.name: found for found in tools_of(resources, Access("k", "k", (ADMIN,)))}
    resources.databases.close()
    assert (offered["echo"].description, offered["echo"].arguments["required"]) == (DESCRIPTION, ["text"])
    monkeypatch.setattr("sys.stdin", io.StringIO("/echo text=042\n/help echo\n"))
    said = await sop("chat")
    assert said.code == 0 and said.out.splitlines()[0] == "042" and DESCRIPTION in said.out
    step = {"type": "command", "command": "echo", "args": {"text": "{{ who }}"}}
    await gateway.save("call_echo", [step], parameters=["who"])
    run = await gateway.http.post(
        "/v1/call/call_echo", json={"arguments": {"who": "you"}}, headers={"Prefer": "wait=20"}
    )
    assert run.json()["result"] == "you", json.dumps(run.json())
