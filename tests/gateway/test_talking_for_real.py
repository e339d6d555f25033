"""Sessions over HTTP with the real workflow: what is said comes back as records, and what waits is decided."""

import json
import uuid
from pathlib import Path
from typing import Any

import httpx2
from temporalio.client import Client

from agent import ScriptedModel
from tests.gateway.conftest import Gateway, gateway_over


async def say(http: httpx2.AsyncClient, session: str, **body: Any) -> list[dict[str, Any]]:
    """The records of a message's turn."""
    headers = {"Idempotency-Key": uuid.uuid4().hex, "Accept": "application/x-ndjson"}
    answer = await http.post(f"/v1/sessions/{session}/messages", json=body, headers=headers, timeout=30)
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines() if line.strip()]


async def test_a_conversation_over_http(client: Client, tmp_path: Path) -> None:
    model = ScriptedModel(
        [("Let me see.", [("create_store", {"name": "notes", "primary_key": ["id"]})]), "There is a store."]
    )
    async with gateway_over(client, tmp_path, model=model) as gateway:
        await _talk(gateway)
    assert len(model.conversations) == 2


async def _talk(gateway: Gateway) -> None:
    gateway.services.databases.ensure("crm")
    made = await gateway.http.post("/v1/sessions", json={"database": "crm"})
    assert made.status_code == 201, made.text
    session = made.json()["id"]
    told = await say(gateway.http, session, text="Make a store for notes")
    assert told[-1]["status"] == "waiting", told
    shown = (await gateway.http.get(f"/v1/sessions/{session}")).json()
    (pending,) = shown["pending"]
    assert pending["shown"]["tool"] == "create_store"
    decided = await gateway.http.post(
        f"/v1/sessions/{session}/approvals/{pending['id']}", json={"approved": True}, timeout=30
    )
    assert decided.status_code in (200, 202), decided.text
    told = await say(gateway.http, session, text="/add notes id=1 text=hello")
    assert told[-1]["status"] == "completed", told
    told = await say(gateway.http, session, text="/select notes")
    assert next(record for record in told if record["type"] == "tool_result")["result"] == [{"id": 1, "text": "hello"}]
