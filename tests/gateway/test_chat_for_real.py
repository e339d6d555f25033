"""sop chat with the real workflow of sessions, without a model: slash commands from a draft to a run, and rows."""

import io
import json
import uuid

import pytest

from tests.gateway.conftest import Gateway, Sop

STEP = {"type": "return", "name": "tell", "value": "hello {{ who }}"}


async def test_from_a_draft_to_a_version(gateway: Gateway, sop: Sop, monkeypatch: pytest.MonkeyPatch) -> None:
    def typed(*lines: str) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(lines)))

    fields = {"fields": {"parameters": ["who"]}}
    typed("/help create", "/create greet", f"/insert_step 1 {json.dumps(STEP)}", "/delete_step nowhere", "/not_said")
    said = await sop("chat")
    assert said.code == 1 and "/create" in said.out and said.err.count("failed:") == 1
    assert "draft greet, revision 1: an error" in said.err and "revision 2: an error" in said.err
    assert "error: /steps/0/value: there is no variable 'who' here" in said.err
    session = said.err.split()[1]

    typed(f"/set_fields {json.dumps(fields)}", "/show", "/dry_run who=you", "/publish")
    said = await sop("chat", "--session", session)
    assert said.code == 1 and "1. tell: Return" in said.out
    assert "draft greet, revision 3: no errors" in said.err
    assert "dry run of greet" in said.err and 'completed: "hello you"' in said.err
    assert "! Publish greet" in said.err and "waits for a decision" in said.err
    shown = (await sop("session", "show", session, "-o", "json")).json
    assert [pending["shown"]["card"] for pending in shown["pending"]] == ["approval"]
    approved = await sop("session", "approve", session)
    assert approved.code == 0 and "greet is published as version 1" in approved.err
    assert gateway.services.library.get("greet") is not None
    asked = await sop("chat", "--session", session, "greet me")
    assert asked.code == 1 and "no language model is configured" in asked.err


async def test_rows_and_how_to_get_all(gateway: Gateway, sop: Sop) -> None:
    database = f"shop_{uuid.uuid4().hex[:6]}"
    (await gateway.http.post("/v1/databases", json={"name": database})).raise_for_status()
    declared = {"name": "orders", "primary_key": ["id"]}
    (await gateway.http.post(f"/v1/databases/{database}/stores", json=declared)).raise_for_status()
    rows = [{"id": number, "note": "x" * 50} for number in range(1500)]
    (await gateway.http.post(f"/v1/databases/{database}/stores/orders/rows:import", json=rows)).raise_for_status()
    said = await sop("chat", "--database", database, "/select orders limit=1200")
    assert said.code == 0 and len(said.out.splitlines()) == 11
    session = said.err.split()[1]
    told = f"the first 10 of 1200 rows; all: sop session rows {session} "
    assert told in said.err
    seq = said.err.partition(told)[2].split()[0]
    assert (await sop("session", "rows", session, seq, "-o", "json")).json == rows[:1200]


async def test_lines_that_decide_and_a_time_zone(gateway: Gateway, sop: Sop, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"greet_{uuid.uuid4().hex[:6]}"
    lines = [
        f"/create {name}",
        f"/step {json.dumps({'type': 'return', 'value': 'hello'})}",
        "/show --json",
        "/publish",
        "/approve",
        f"/schedule {name} every Monday at 9 AM",
        "/reject not before Friday",
        f"/schedule {name} every Monday at 9 AM",
        "/approve",
    ]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(lines)))
    said = await sop("chat", "--tz", "Europe/Madrid")
    assert said.code == 0, said.err
    assert json.loads(said.out.partition("\n}\n")[0] + "}")["script"]["name"] == name  # as it is, not in English
    made = (await sop("schedule", "list", "-o", "json")).json
    assert [found["time_zone"] for found in made if found["script"] == name] == ["Europe/Madrid"]
    monkeypatch.setenv("TZ", "UTC")
    unknown = await sop("chat", f"/schedule {name} every Monday at 9 AM")
    assert unknown.code == 1 and "time zone" in unknown.err
    assert (await sop("chat", "--tz", "Europe/Madird", "/help")).code == 2
