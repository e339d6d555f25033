"""A run's result as one answer: its rows as CSV, its end for a client that waits (`Prefer`)."""

import asyncio
import csv
import io
import json
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from gateway.results import tables
from gateway.results.asking import wait_of
from query import create_store
from query.transfer.streams import unguarded
from tests.gateway.conftest import Gateway, authorization, eventually, listening, problem_of
from tests.gateway.test_rows_streams import fill, many

CSV = {"Accept": "text/csv"}
PATIENCE = 10


def rows_of(answer: httpx2.Response) -> list[dict[str, str]]:
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/csv; charset=utf-8"), answer.text
    found = list(csv.DictReader(io.StringIO(answer.text, newline=""), strict=True))
    assert answer.headers["row-count"] == str(len(found))
    return found


async def ran(gateway: Gateway, steps: list[dict[str, Any]], **more: Any) -> str:
    """The events' path of a run that has ended."""
    await gateway.save("made", steps, **more)
    answer = await gateway.http.post("/v1/call/made", json={})
    assert answer.status_code == 200, answer.text
    return f"{answer.headers['location']}/events"


def command(name: str, tool: str, **args: Any) -> dict[str, Any]:
    return {"type": "command", "name": name, "command": tool, "args": args, "output_variable": name}


def returned(value: Any) -> dict[str, Any]:
    return {"type": "return", "name": "out", "value": value}


async def test_a_list_of_objects_is_a_table(gateway: Gateway, live: httpx2.AsyncClient) -> None:
    value = [
        {"id": 1, "text": "=1+1", "more": [1, {"a": None}]},
        {"id": 2, "late": True, "text": 'a "b",\r\nc'},
        {"id": None, "text": ""},
    ]
    path = await ran(gateway, [returned(value)])
    answer = await live.get(path, headers=CSV)
    assert answer.text == (
        'id,more,text,late\r\n1,"[1,{""a"":null}]",\'=1+1,\r\n2,,"a ""b"",\r\nc",true\r\n,,"",\r\n'
    )  # fmt: skip
    assert answer.headers["vary"] == "Accept"
    assert rows_of(await live.get(f"{path}?format=csv&guard=false"))[0]["text"] == "=1+1"
    assert rows_of(await live.get(f"{path}?format=csv&null=NULL"))[2] == {
        "id": "NULL",
        "text": "",
        "more": "",
        "late": "",
    }
    problem_of(await live.get(f"{path}?format=csv&null=1"), 422, "invalid_query")
    called = await live.post("/v1/call/made", json={}, headers=CSV)
    assert called.text == answer.text
    assert called.headers["location"] == f"/v1/runs/{called.headers['run-id']}"
    assert (await live.get(called.headers["location"])).json()["state"] == "completed"


@pytest.mark.parametrize("kind", ["store", "written down", "named"])
async def test_many_rows_come_from_the_engine(gateway: Gateway, live: httpx2.AsyncClient, kind: str) -> None:
    records: list[dict[str, Any]] = [{**one, "text": f"={one['text']}"} for one in many(3_000)]
    records[2_900]["late"] = "only here"
    database = fill(gateway, records)
    asked: dict[str, Any] = {"store": "items", "filter": {"id": {"$gte": 500}}}
    if kind == "written down":
        asked["order_by"] = "-text"
    if kind == "named":
        asked["fields"] = ["text AS t", "id"]
    path = await ran(gateway, [command("rows", "select", **asked), returned("{{ rows }}")], database="shop")
    last = json.loads((await live.get(path)).text.splitlines()[-1])
    assert ("result" in last["rows"]["ref"]) == (kind == "written down")
    database.transact(lambda transaction: create_store(transaction, "other", primary_key=["id"]))
    rows = rows_of(await live.get(path, headers=CSV))
    expected = [
        {"id": str(one["id"]), "text": one["text"], "late": one.get("late", "")} for one in records if one["id"] >= 500
    ]
    if kind == "written down":
        expected.reverse()
    if kind == "named":
        assert [(row["id"], unguarded(row["t"])) for row in rows] == [(row["id"], row["text"]) for row in expected]
        assert list(rows[0]) == ["t", "id"]
    else:
        assert [{**row, "text": unguarded(row["text"])} for row in rows] == expected
    await eventually(lambda: database.pins() == [])
    assert rows_of(await live.get(f"{path}?step=rows", headers=CSV)) == rows


async def test_the_rows_of_a_step(gateway: Gateway) -> None:
    body = [command("each", "select", store="items", filter={"id": "{{ n }}"})]
    fill(gateway, many(5))
    steps: list[dict[str, Any]] = [
        {"type": "loop", "name": "over", "list": [3, 1], "iterator": "n", "steps": body},
        {"type": "fail", "name": "bad", "code": "x", "message": "x", "continue_on_error": True},
        {"type": "if", "name": "never", "condition": "false", "then": [command("skipped", "select", store="items")]},
        {"type": "fail", "name": "stop", "code": "over", "message": "over"},
    ]
    path = await ran(gateway, steps, database="shop")

    async def of(step: str) -> httpx2.Response:
        return await gateway.http.get(path, params={"format": "csv", "step": step})

    assert [row["id"] for row in rows_of(await of("over/each"))] == ["3"]
    assert [row["id"] for row in rows_of(await of("over/each#0"))] == ["3"]
    assert [row["id"] for row in rows_of(await of("over/each#1"))] == ["1"]
    for step, status, code in (
        ("over/each#2", 422, "step_not_run"),
        ("nope", 422, "step_not_run"),
        ("skipped", 422, "step_not_run"),
        ("bad", 409, "no_result"),
    ):
        assert problem_of(await of(step), status, code)["errors"][0]["pointer"] == "?step"
    problem_of(await gateway.http.get(path, headers=CSV), 409, "no_result")  # the run has failed


async def test_a_step_has_its_rows_before_the_run_has_ended(gateway: Gateway, live: httpx2.AsyncClient) -> None:
    hold = {"type": "command", "name": "hold", "command": "hold"}
    found = command("found", "select", store="items")
    fill(gateway, many(2))
    await gateway.save("early", [found, hold, returned("{{ found }}")], database="shop")
    run = (await live.post("/v1/scripts/early/runs", json={})).json()
    step = await asyncio.wait_for(live.get(f"{run['events']}?format=csv&step=found"), PATIENCE)
    assert len(rows_of(step)) == 2
    assert (await live.get(run["location"])).json()["state"] == "running"
    whole = asyncio.ensure_future(live.get(f"{run['events']}?format=csv"))
    gateway.gate.set()
    assert (await whole).content == step.content


@pytest.mark.parametrize("value", [1, None, {"a": 1}, [1, 2], [{"a": 1}, 2]])
async def test_what_is_no_table_is_not_acceptable(gateway: Gateway, value: Any) -> None:
    path = await ran(gateway, [returned(value)])
    problem = problem_of(await gateway.http.get(path, headers=CSV), 406, "not_acceptable")
    assert "ndjson, sse and json" in problem["hint"]


async def test_no_rows_are_a_table_without_rows(gateway: Gateway) -> None:
    path = await ran(gateway, [returned([])])
    assert rows_of(await gateway.http.get(path, headers=CSV)) == []


async def test_rows_that_are_gone_and_references_that_are_none(gateway: Gateway) -> None:
    fill(gateway, many(1_000))
    steps = [command("rows", "select", store="items", order_by="-text"), returned("{{ rows }}")]
    path = await ran(gateway, steps, database="shop")
    last = json.loads((await gateway.http.get(path)).text.splitlines()[-1])
    gateway.services.databases.results.remove(last["rows"]["ref"]["result"])
    problem_of(await gateway.http.get(path, headers=CSV), 404, "result_not_found")
    whole = {"database": "shop", "version": 1, "count": 1_000, "store": "items", "query": {}}
    version = gateway.services.databases.open("shop").head().seq
    for forged, status, code in (
        ({**whole, "version": version, "count": 999}, 422, "invalid_query"),
        ({**whole, "version": version, "query": {"fields": [1]}}, 422, "invalid_query"),
        ({**whole, "version": version + 9}, 404, "version_not_found"),
        ({**whole, "database": "none"}, 404, "database_not_found"),
        ({**whole, "database": "system", "store": "_keys"}, 422, "invalid_query"),
        ({"database": "shop", "version": 1, "count": 1, "result": "../x"}, 422, "invalid_query"),
    ):
        sealed = gateway.services.databases.seals.sealed(forged)
        path = await ran(
            gateway, [returned("{{ given }}")], parameters=[{"name": "given", "default": {"$rows": sealed}}]
        )
        problem_of(await gateway.http.get(path, headers=CSV), status, code)
    forged = {"$rows": {**whole, "version": version}}
    path = await ran(gateway, [returned("{{ given }}")], parameters=[{"name": "given", "default": forged}])
    problem_of(await gateway.http.get(path, headers=CSV), 422, "invalid_reference")


async def test_a_client_that_waits_gets_the_end_of_the_run(gateway: Gateway, live: httpx2.AsyncClient) -> None:
    await gateway.save("good", [returned("{{ 6 * 7 }}")])
    await gateway.save("bad", [{"type": "fail", "code": "no_stock", "message": "none"}])
    for name, status in (("good", "completed"), ("bad", "failed")):
        for path in (f"/v1/scripts/{name}/runs", f"/v1/call/{name}"):
            answer = await live.post(path, json={}, headers={"Prefer": "respond-async, wait=20"})
            assert answer.status_code == 200, answer.text
            assert answer.headers["preference-applied"] == "wait=20"
            assert answer.headers["content-type"] == "application/json"
            location = answer.headers["location"]
            records = [json.loads(line) for line in (await live.get(f"{location}/events")).text.splitlines()]
            assert answer.json() == records[-1]
            assert (records[-1]["status"], records[-1]["records"]) == (status, len(records))
            assert (await live.get(location)).json()["state"] == status
    table = await live.post("/v1/call/good", json={}, headers={"Prefer": "wait=20", **CSV})
    problem_of(table, 406, "not_acceptable")


async def test_a_client_that_does_not_wait_long_enough_gets_the_address(
    gateway: Gateway, live: httpx2.AsyncClient
) -> None:
    await gateway.save_held()
    asked = [(path, more, prefer) for path in ("/v1/scripts/held/runs", "/v1/call/held") for more in ({}, CSV)
             for prefer in ("wait=1", "wait=0", "respond-async") if not (more and "runs" in path)]  # fmt: skip
    for path, more, prefer in asked:
        headers = {"Prefer": prefer, "Idempotency-Key": "slow", **more}
        answer = await live.post(path, json={}, headers=headers)
        assert (answer.status_code, answer.headers["preference-applied"]) == (202, prefer)
        assert answer.headers["location"] == "/v1/runs/slow"
        told = {"id": "slow", "script": "held", "location": "/v1/runs/slow", "events": "/v1/runs/slow/events"}
        assert answer.json() == told
    plain = await live.post("/v1/scripts/held/runs", json={}, headers={"Idempotency-Key": "slow"})
    assert plain.status_code == 202 and "preference-applied" not in plain.headers
    gateway.gate.set()
    waited = await live.post("/v1/call/held", json={}, headers={"Prefer": "wait=20", "Idempotency-Key": "slow"})
    assert (waited.status_code, waited.json()["result"]) == (200, 1)


async def test_a_stream_is_asked_for_in_so_many_words(gateway: Gateway, live: httpx2.AsyncClient) -> None:
    """Who names a stream gets one: it begins at once, so there is nothing to wait for."""
    await gateway.save("good", [returned(1)])
    for accept in ("application/x-ndjson", "text/event-stream"):
        answer = await live.post("/v1/call/good", json={}, headers={"Prefer": "wait=20", "Accept": accept})
        assert answer.headers["content-type"].startswith(accept)
        assert "preference-applied" not in answer.headers


async def test_a_gateway_that_stops_tells_who_waits_where_the_run_is(gateway: Gateway) -> None:
    await gateway.save_held()
    services = replace(gateway.services, stopping=asyncio.Event())
    async with (
        listening(services) as url,
        httpx2.AsyncClient(base_url=url, headers=authorization(gateway.key), timeout=PATIENCE) as http,
    ):
        headers = {"Prefer": "wait=600", "Idempotency-Key": "waits"}
        waiting = asyncio.ensure_future(http.post("/v1/call/held", json={}, headers=headers))
        table = asyncio.ensure_future(http.post("/v1/call/held", json={}, headers=CSV | {"Idempotency-Key": "waits"}))
        await eventually(lambda: len(services.watch._runs) == 1 or waiting.done() or table.done(), 60)  # type: ignore[attr-defined]
        answered = [(task.result().status_code, task.result().text) for task in (waiting, table) if task.done()]
        assert not answered, "they were to wait until the gateway stops"
        services.stopping.set()
        assert ((await waiting).status_code, (await waiting).headers["location"]) == (202, "/v1/runs/waits")
        problem_of(await table, 503, "gateway_stopping")
    gateway.gate.set()


@pytest.mark.parametrize(
    ("prefer", "applied"),
    [
        (["wait=10"], "wait=10"),
        (["respond-async, wait=10"], "wait=10"),
        (["respond-async", 'WAIT = "5"; x=y, wait=9'], "wait=5"),
        (["respond-async"], "respond-async"),
        (["handling=strict, wait=007"], "wait=7"),
        (["wait=-1"], None),
        (["wait=1.5"], None),
        (["wait=²"], None),
        (["wait=9999999999"], None),
        (["wait"], None),
        ([""], None),
        (None, None),
    ],
)
def test_preferences(prefer: list[str] | None, applied: str | None) -> None:
    found = wait_of(prefer)
    assert (found and found.applied) == applied


async def test_rows_are_read_page_by_page(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "PAGE", 7)
    fill(gateway, many(500))
    path = await ran(gateway, [command("rows", "select", store="items"), returned("{{ rows }}")], database="shop")
    assert [row["id"] for row in rows_of(await gateway.http.get(path, headers=CSV))] == [str(n) for n in range(500)]
