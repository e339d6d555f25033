"""Runs as people handle them: pausing, looking where they are, deciding, searching."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import httpx2
import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.api.sdk.v1 import WorkflowMetadata

from gateway.app import create_app
from gateway.runs.searching import Search
from tests.gateway.conftest import Gateway, authorization, eventually, problem_of
from tests.gateway.test_runs import ended

HOLD = {"type": "command", "name": "hold", "command": "hold"}
APPROVAL = {
    "type": "wait",
    "name": "release",
    "approval": {"by": ["anna", "bootstrap"], "prompt": "Send {{ n }} letters?"},
    "output_variable": "decision",
}
APPROVED = {
    "parameters": [{"name": "n", "default": 7}],
    "steps": [APPROVAL, {"type": "return", "name": "out", "value": "{{ decision }}"}],
}


async def started(gateway: Gateway, name: str, key: str | None = None, **body: Any) -> str:
    headers = {"Idempotency-Key": key} if key else {}
    answer = await gateway.http.post(f"/v1/scripts/{name}/runs", json=body, headers=headers)
    assert answer.status_code == 202, answer.text
    found: str = answer.json()["id"]
    return found


async def standing(gateway: Gateway, run_id: str, **fields: Any) -> dict[str, Any]:
    """The run, when it stands so."""

    async def stands() -> dict[str, Any] | None:
        found: dict[str, Any] = (await gateway.http.get(f"/v1/runs/{run_id}")).json()
        where = found.get("where") or {}
        fit = all((found.get(name) if name == "paused" else where.get(name)) == value for name, value in fields.items())
        return found if fit else None

    done: dict[str, Any] = await eventually(stands)
    return done


def person(gateway: Gateway, name: str) -> dict[str, str]:
    return authorization(gateway.services.keys.create(name))


async def history_types(gateway: Gateway, run_id: str) -> list[int]:
    handle = gateway.services.client.get_workflow_handle(run_id)
    return [event.event_type for event in (await handle.fetch_history()).events]


async def test_a_paused_run_begins_nothing_new(gateway: Gateway) -> None:
    steps = [HOLD, {"type": "command", "name": "then", "command": "hold"}, {"type": "return", "value": 5}]
    await gateway.save("pausing", steps)
    run_id = await started(gateway, "pausing")
    held = await standing(
        gateway, run_id, paused=False, steps=[{"step": "hold", "name": "hold", "type": "command", "tool": "hold"}]
    )
    assert held["state"] == "running"
    answer = await gateway.http.post(f"/v1/runs/{run_id}:pause")
    assert (answer.status_code, answer.json()) == (202, {"id": run_id, "paused": True})
    await standing(gateway, run_id, paused=True)
    gateway.gate.set()
    await standing(
        gateway, run_id, paused=True, steps=[{"step": "then", "name": "then", "type": "command", "tool": "hold"}]
    )
    await asyncio.sleep(0.3)
    scheduled = EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
    assert (await history_types(gateway, run_id)).count(scheduled) == 1
    for _ in range(2):
        again = await gateway.http.post(f"/v1/runs/{run_id}:resume")
        assert (again.status_code, again.json()) == (202, {"id": run_id, "paused": False})
    found = await ended(gateway, run_id)
    assert found["output"] == 5 and "where" not in found
    assert (await history_types(gateway, run_id)).count(scheduled) == 2
    for verb in ("pause", "resume"):
        problem_of(await gateway.http.post(f"/v1/runs/{run_id}:{verb}"), 409, "run_closed")
        problem_of(await gateway.http.post(f"/v1/runs/nope:{verb}"), 404, "run_not_found")


async def test_what_a_run_waits_for(gateway: Gateway) -> None:
    steps = [
        {"type": "wait", "name": "a while", "duration": "1h", "is_async": True},
        {"type": "script", "name": "inner", "script_name": "inner", "is_async": True},
        {"type": "loop", "name": "each", "list": [1], "iterator": "n", "steps": [APPROVAL | {"timeout": "2h"}]},
    ]
    await gateway.save("inner", [HOLD])
    await gateway.save("waiting", steps)
    run_id = await started(gateway, "waiting")
    approval = {
        "id": "each/release#0",
        "step": "each/release#0",
        "by": ["anna", "bootstrap"],
        "prompt": "Send 1 letters?",
    }
    found = await standing(gateway, run_id, approvals=[approval])
    where, begun = found["where"], datetime.fromisoformat(found["started_at"])
    hours = {
        timer["id"]: (datetime.fromisoformat(timer["until"]) - begun) // timedelta(hours=1) for timer in where["timers"]
    }
    assert hours == {"a while": 1, "each/release#0/timeout": 2}
    assert where["children"] == [{"step": "inner", "run_id": f"{run_id}/inner"}]
    assert sorted(step["step"] for step in where["steps"]) == ["a while", "each/release#0", "inner"]
    assert (where["more"], where["ending"], found["paused"]) == (0, None, False)
    await gateway.http.post(f"/v1/runs/{run_id}/cancel")
    gateway.gate.set()
    assert (await ended(gateway, run_id))["state"] == "canceled"


async def test_a_run_without_a_worker_is_told_without_where_it_is(gateway: Gateway) -> None:
    await gateway.save_held()
    nobody = replace(gateway.services, task_queue=f"nobody-{gateway.services.task_queue}", stopping=asyncio.Event())
    transport = httpx2.ASGITransport(create_app(nobody))
    async with httpx2.AsyncClient(transport=transport, base_url="http://x", headers=gateway.http.headers) as http:
        run_id = (await http.post("/v1/scripts/held/runs", json={})).json()["id"]
        found = (await http.get(f"/v1/runs/{run_id}")).json()
        assert (found["state"], found["paused"], found["where"]) == ("running", None, None)
        decided = await http.post(f"/v1/runs/{run_id}:decide", json={"approved": True})
        assert problem_of(decided, 503, "run_silent")["retryable"]
    await gateway.services.client.get_workflow_handle(run_id).terminate()


async def test_a_person_decides(gateway: Gateway) -> None:
    await gateway.save("letters", **APPROVED)
    run_id = await started(gateway, "letters", key="letters-1")
    url = f"/v1/runs/{run_id}:decide"
    await standing(gateway, run_id, paused=False)
    stranger = await gateway.http.post(url, json={"approved": True}, headers=person(gateway, "zoe"))
    problem = problem_of(stranger, 403, "not_asked")
    assert "anna, bootstrap" in problem["detail"] and problem["hint"]
    elsewhere = problem_of(await gateway.http.post(url, json={"approved": True, "step": "x"}), 409, "not_waiting")
    assert elsewhere["errors"][0]["hint"] == "it waits at release"
    for body in ({}, {"approved": "yes"}, {"approved": True, "by": "anna"}):
        problem_of(await gateway.http.post(url, json=body), 422, "invalid_request")
    body = {"approved": True, "step": "release", "comment": "go"}
    given = await gateway.http.post(url, json=body, headers=person(gateway, "anna"))
    told = given.json()
    assert given.status_code == 202 and told == {
        "id": run_id,
        "step": "release",
        "approved": True,
        "by": "anna",
        "at": told["at"],
    }
    found = await ended(gateway, run_id)
    recorded = {"approved": True, "by": "anna", "at": told["at"], "comment": "go"}
    assert found["output"] == recorded
    events = (await gateway.http.get(f"/v1/runs/{run_id}/events")).text.splitlines()
    assert any('"path":"release"' in event and '"by":"anna"' in event for event in events)
    problem_of(await gateway.http.post(url, json={"approved": True}), 409, "run_closed")
    upserts = EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES
    assert (await history_types(gateway, run_id)).count(upserts) == 2


async def test_a_rejection_fails_the_step(gateway: Gateway) -> None:
    await gateway.save("letters", **APPROVED)
    run_id = await started(gateway, "letters")
    await standing(gateway, run_id, paused=False)
    await gateway.http.post(f"/v1/runs/{run_id}:decide", json={"approved": False, "comment": "too many"})
    error = (await ended(gateway, run_id))["error"]
    assert (error["code"], error["message"]) == ("rejected", "bootstrap rejected it: too many")
    assert (error["details"]["by"], error["details"]["approved"]) == ("bootstrap", False)


async def test_several_that_wait_have_to_be_told_apart(gateway: Gateway) -> None:
    loop = {"type": "loop", "name": "each", "list": [1, 2], "iterator": "n", "concurrency": 2, "steps": [APPROVAL]}
    await gateway.save("many", [loop])
    run_id = await started(gateway, "many")

    async def two() -> bool:
        where = (await gateway.http.get(f"/v1/runs/{run_id}")).json()["where"]
        return where is not None and len(where["approvals"]) == 2

    await eventually(two)
    url = f"/v1/runs/{run_id}:decide"
    for step in (None, "each/release"):
        problem_of(await gateway.http.post(url, json={"approved": True, "step": step}), 422, "ambiguous_step")
    for step in ("each/release#1", "each/release#0"):
        answer = await gateway.http.post(url, json={"approved": True, "step": step})
        assert (answer.status_code, answer.json()["step"]) == (202, step)
    assert (await ended(gateway, run_id))["state"] == "completed"


async def test_what_waits_is_listed_over_all_runs(gateway: Gateway) -> None:
    for_anna = [APPROVAL | {"approval": {"by": "anna", "prompt": "ok?"}}]
    await gateway.save("for_anna", for_anna)
    await gateway.save("letters", **APPROVED)
    runs = {name: await started(gateway, name) for name in ("for_anna", "letters")}
    await gateway.save_held()
    await started(gateway, "held")

    async def listed(count: int, query: str = "", **options: Any) -> dict[str, list[str]] | None:
        answer = await gateway.http.get(f"/v1/approvals{query}", **options)
        found = {run["id"]: [entry["id"] for entry in run["approvals"]] for run in answer.json()["data"]}
        return found if len(found) == count else None

    both = {run: ["release"] for run in runs.values()}
    assert await eventually(lambda: listed(2)) == both
    assert await listed(1, "?mine=true") == {runs["letters"]: ["release"]}
    assert await listed(2, "?mine=true", headers=person(gateway, "anna")) == both
    assert await listed(1, "?script=for_anna") == {runs["for_anna"]: ["release"]}
    page = (await gateway.http.get("/v1/approvals?limit=1")).json()
    rest = (await gateway.http.get("/v1/approvals", params={"limit": 1, "cursor": page["next_cursor"]})).json()
    assert {page["data"][0]["id"], rest["data"][0]["id"]} == set(runs.values())
    problem_of(await gateway.http.get(f"/v1/runs?cursor={page['next_cursor']}"), 422, "invalid_cursor")
    await gateway.http.post(f"/v1/runs/{runs['letters']}:decide", json={"approved": True})
    await ended(gateway, runs["letters"])
    assert await eventually(lambda: listed(1)) == {runs["for_anna"]: ["release"]}
    await gateway.http.post(f"/v1/runs/{runs['for_anna']}/cancel")
    assert await eventually(lambda: listed_none(gateway))
    gateway.gate.set()


async def listed_none(gateway: Gateway) -> bool:
    return bool((await gateway.http.get("/v1/approvals")).json()["data"] == [])


async def test_runs_are_searched(gateway: Gateway) -> None:
    await gateway.http.post("/v1/databases", json={"name": "shop"})
    await gateway.save("good", [{"type": "return", "value": 1}], database="shop")
    await gateway.save("bad", [{"type": "fail", "name": "stop", "code": "no_stock", "message": "nothing left"}])
    await gateway.save_held()
    runs = {name: await started(gateway, name) for name in ("good", "bad", "held")}
    first = await ended(gateway, runs["good"])
    await ended(gateway, runs["bad"])

    async def found(**params: Any) -> list[str]:
        answer = await gateway.http.get("/v1/runs", params=params)
        assert answer.status_code == 200, answer.text
        names = {run_id: name for name, run_id in runs.items()}
        return sorted(names[run["id"]] for run in answer.json()["data"])

    async def visible() -> bool:
        return await found() == ["bad", "good", "held"] and await found(outcome="failed") == ["bad"]

    await eventually(visible)
    assert await found(outcome="completed") == await found(database="shop") == ["good"]
    assert await found(outcome="completed", status="failed") == []
    listed = {run["id"]: run["outcome"] for run in (await gateway.http.get("/v1/runs")).json()["data"]}
    assert [listed[runs[name]] for name in ("good", "bad", "held")] == ["completed", "failed", None]
    assert await found(state="running", status="running") == ["held"]
    assert await found(trigger="api") == ["bad", "good", "held"] and await found(trigger="schedule") == []
    assert await found(script="held", outcome="failed") == []
    began = first["started_at"]
    assert "good" in await found(since=began.replace("+00:00", "Z")) and "good" not in await found(until=began)
    assert await found(since="2999-01-01T00:00:00Z") == [] and await found(until="1999-01-01T00:00:00+05:00") == []
    wrong = {
        "?script=x%27%20OR%20SopScript=%27good": ("invalid_field", "?script"),
        "?trigger=x%5C": ("invalid_field", "?trigger"),
        "?database=x%22": ("invalid_field", "?database"),
        "?since=yesterday": ("invalid_field", "?since"),
        "?until=2026-01-01T00:00:00": ("invalid_field", "?until"),
        "?since=0001-01-01T00:00:00%2B14:00": ("invalid_field", "?since"),
        "?outcome=x%27": ("invalid_request", "?outcome"),
        "?state=running&status=failed": ("invalid_field", "?status"),
    }
    for query, (code, pointer) in wrong.items():
        problem = problem_of(await gateway.http.get(f"/v1/runs{query}"), 422, code)
        assert problem["errors"][0]["pointer"] == pointer
    gateway.gate.set()


@pytest.mark.parametrize("value", ["a b", "a-b.c", "ä", "%", "_", "a) OR (1=1", "a;b", "null"])
async def test_a_value_finds_nothing_but_itself(gateway: Gateway, value: str) -> None:
    await gateway.save("good", [{"type": "return", "value": 1}])
    await started(gateway, "good")
    answer = await gateway.http.get("/v1/runs", params={"trigger": value})
    assert (answer.status_code, answer.json()["data"]) == (200, []), Search(trigger=value).clauses()


async def test_the_temporal_ui_tells_where_a_run_is(gateway: Gateway) -> None:
    loop = {"type": "loop", "name": "each", "list": [1], "iterator": "i", "steps": [APPROVAL]}
    parameters = [{"name": "n", "default": 7}]
    first = {"type": "command", "name": "first", "command": "echo", "args": {"text": "a *b* | `c`"}}
    await gateway.save("child", [HOLD])
    call = {"type": "script", "name": "beside", "script_name": "child", "is_async": True}
    await gateway.save("shown", [call, first, loop], parameters=parameters)
    run_id = await started(gateway, "shown", arguments={"n": 3})
    await standing(gateway, run_id, paused=False)
    await gateway.http.post(f"/v1/runs/{run_id}:pause")
    await standing(gateway, run_id, paused=True)
    handle = gateway.services.client.get_workflow_handle(run_id)
    metadata = await handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
    assert metadata.current_details.splitlines() == [
        "**paused**",
        "",
        "| where | |",
        "|---|---|",
        "| `each/release#0` | waits for anna, bootstrap: Send 3 letters? |",
        f"| `beside` | run {run_id}/beside |",
        "",
        "1 results so far; the last ones first:",
        "",
        '- `first` "a \\*b\\* \\| \\`c\\`"',
    ]
    described = await handle.describe()
    assert await described.static_summary() == "shown"
    assert 'arguments: \\{"n":3\\}' in (await described.static_details() or "")
    child = await gateway.services.client.get_workflow_handle(f"{run_id}/beside").describe()
    assert (await child.static_summary(), await child.static_details()) == ("child", "called by `beside`")
    await gateway.http.post(f"/v1/runs/{run_id}:resume")
    await gateway.http.post(f"/v1/runs/{run_id}:decide", json={"approved": True})
    gateway.gate.set()
    await ended(gateway, run_id)


async def test_what_the_temporal_ui_shows_is_bounded(gateway: Gateway) -> None:
    loop = {
        "type": "loop",
        "name": "each",
        "list": "{{ range }}",
        "iterator": "i",
        "concurrency": 50,
        "steps": [{"type": "set", "name": "long", "variable": "t", "value": "x" * 500}, APPROVAL],
    }
    await gateway.save("wide", [loop], parameters=["range", {"name": "n", "default": 1}])
    run_id = await started(gateway, "wide", arguments={"range": list(range(50))})
    await standing(gateway, run_id, paused=False)
    handle = gateway.services.client.get_workflow_handle(run_id)

    async def text() -> str:
        metadata = await handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
        details: str = metadata.current_details
        return details if "and 30 more" in details else ""

    assert len(await eventually(text)) < 6000
    assert (await history_types(gateway, run_id)).count(EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES) == 1
    await handle.terminate()
