"""Runs that are run again, from the start or from a step: what is done before the step is not done again."""

import json
from typing import Any

import pytest
from temporalio import workflow
from temporalio.common import SearchAttributeKey

from tests.gateway.conftest import Gateway, eventually, problem_of
from tests.gateway.test_handling import APPROVAL, standing, started
from tests.gateway.test_runs import ended


def mail(name: str) -> dict[str, Any]:
    args = {"to": "ann@example.com", "subject": name, "body": "b"}
    return {"type": "command", "name": name, "command": "send_email", "args": args}


def add(name: str, row: dict[str, Any]) -> dict[str, Any]:
    return {"type": "command", "name": name, "command": "add", "args": {"store": "rows", "record": row}}


GET_STOCK = {
    "type": "command",
    "name": "read stock",
    "command": "get",
    "args": {"store": "rows", "key": "stock"},
    "output_variable": "stock",
}
CHECK = {
    "type": "if",
    "name": "check",
    "condition": "stock.n > 0",
    "then": [{"type": "set", "name": "enough", "variable": "ok", "value": True}],
    "else": [{"type": "fail", "name": "short", "code": "no_stock", "message": "nothing left"}],
}
COMMIT = {"type": "command", "name": "keep", "command": "manage_transaction", "args": {"action": "commit"}}


async def shop(gateway: Gateway, stock: int = 0) -> None:
    await gateway.http.post("/v1/databases", json={"name": "shop"})
    await gateway.http.post("/v1/databases/shop/stores", json={"name": "rows", "primary_key": ["id"]})
    await set_stock(gateway, stock)


async def set_stock(gateway: Gateway, stock: int) -> None:
    line = json.dumps({"id": "stock", "n": stock})
    headers = {"Content-Type": "application/x-ndjson"}
    answer = await gateway.http.post("/v1/databases/shop/stores/rows/rows:import", content=line, headers=headers)
    assert answer.json()["imported"] == 1, answer.text


async def rows(gateway: Gateway) -> list[dict[str, Any]]:
    answer = await gateway.http.get("/v1/databases/shop/stores/rows/rows")
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


async def failed(gateway: Gateway, name: str, **body: Any) -> str:
    run_id = await started(gateway, name, **body)
    found = await ended(gateway, run_id)
    assert found["state"] == "failed", found
    return run_id


async def rerun(gateway: Gateway, run_id: str, **body: Any) -> dict[str, Any]:
    """The new run when it has ended."""
    answer = await gateway.http.post(f"/v1/runs/{run_id}:rerun", json=body)
    assert answer.status_code == 202, answer.text
    told = answer.json()
    assert answer.headers["location"] == told["location"] and told["rerun_of"] == run_id
    found = await ended(gateway, told["id"])
    assert (found["rerun_of"], found["from"], found["trigger"]) == (run_id, told["from"], "rerun")
    return found


async def events(gateway: Gateway, run_id: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (await gateway.http.get(f"/v1/runs/{run_id}/events")).text.splitlines()]


def paths(told: list[dict[str, Any]]) -> list[str]:
    return [event["path"] for event in told if "path" in event]


async def test_from_the_failed_step_when_the_data_is_mended(gateway: Gateway) -> None:
    await shop(gateway)
    steps = [
        mail("first"),
        add("second", {"id": "a"}),
        COMMIT,
        GET_STOCK,
        CHECK,
        add("fifth", {"id": "b"}),
        {"type": "return", "name": "out", "value": "{{ stock.n }}"},
    ]
    await gateway.save("five", steps, database="shop")
    old = await failed(gateway, "five", mocks=["send_email"])
    assert [row["id"] for row in await rows(gateway)] == ["a", "stock"]
    await set_stock(gateway, 4)
    found = await rerun(gateway, old, **{"from": "failed"})
    assert (found["state"], found["output"], found["from"]) == ("completed", 4, "check/short")
    told = await events(gateway, found["id"])
    assert (told[0]["seq"], told[0]["status"], told[0]["rerun_of"], told[0]["from"]) == (
        1,
        "started",
        old,
        "check/short",
    )
    assert paths(told) == ["read stock", "check", "check/enough", "fifth", "out"]
    assert [row["id"] for row in await rows(gateway)] == ["a", "b", "stock"]
    assert len(await outbox(gateway)) == 1
    assert {event["run_id"] for event in told} == {found["id"]}
    assert await events(gateway, found["id"]) == told


async def test_steps_of_a_transaction_that_was_committed_are_not_done_again(gateway: Gateway) -> None:
    await shop(gateway)
    steps = [add("one", {"id": "a"}), GET_STOCK, {"type": "return", "name": "out", "value": "{{ stock.n }}"}]
    await gateway.save("all_well", steps, database="shop")
    run_id = await started(gateway, "all_well")
    assert (await ended(gateway, run_id))["output"] == 0
    await set_stock(gateway, 9)
    found = await rerun(gateway, run_id, **{"from": "read stock"})
    assert (found["output"], paths(await events(gateway, found["id"]))) == (9, ["read stock", "out"])


async def test_outside_effects_of_a_transaction_that_was_rolled_back_are_not_done_again(gateway: Gateway) -> None:
    await shop(gateway)
    await gateway.save("rolled", [add("one", {"id": "a"}), mail("two"), GET_STOCK, CHECK], database="shop")
    old = await failed(gateway, "rolled", mocks=["send_email"])
    assert [row["id"] for row in await rows(gateway)] == ["stock"]
    sent = len(await outbox(gateway))
    assert sent == 1
    await set_stock(gateway, 1)
    found = await rerun(gateway, old, **{"from": "failed"})
    assert paths(await events(gateway, found["id"]))[:2] == ["one", "two"]
    assert [row["id"] for row in await rows(gateway)] == ["a", "stock"]
    assert len(await outbox(gateway)) == sent


async def test_from_the_start_with_the_same_or_other_arguments_and_programs(gateway: Gateway) -> None:
    parameters = [{"name": "n", "type": "integer"}]
    first = await gateway.save("echo", [{"type": "return", "value": "{{ n }}"}], parameters=parameters)
    old = await started(gateway, "echo", arguments={"n": 1})
    await ended(gateway, old)
    latest = await gateway.save("echo", [{"type": "return", "value": "{{ n * 10 }}"}], parameters=parameters)
    cases: list[tuple[dict[str, Any], int, str]] = [
        ({}, 1, first),
        ({"arguments": {"n": 2}}, 2, first),
        ({"from": "start", "version": "latest"}, 10, latest),
        ({"arguments": {"n": 3}, "version": 1}, 3, first),
    ]
    for body, output, version in cases:
        found = await rerun(gateway, old, **body)
        assert (found["output"], found["version"], found["from"]) == (output, version, "start")
        told = (await events(gateway, found["id"]))[0]
        assert (told["rerun_of"], told["from"], told["version"]) == (old, "start", version)
    again = await rerun(gateway, found["id"])
    assert (again["output"], again["rerun_of"]) == (3, found["id"])
    wrong = await gateway.http.post(f"/v1/runs/{old}:rerun", json={"arguments": {"n": "x"}})
    assert problem_of(wrong, 422, "invalid_arguments")["errors"][0]["pointer"] == "/arguments/n"


async def test_programs_that_the_old_run_had_loaded_are_those_of_the_new_one(gateway: Gateway) -> None:
    await gateway.save("helper", [{"type": "return", "value": 1}])
    steps = [{"type": "set", "name": f"s{n}", "variable": "x", "value": f"{n} {'x' * 200}"} for n in range(200)]
    call = {"type": "script", "name": "call", "script_name": "helper", "version": "latest"}
    await gateway.save("large", [*steps, call])
    old = await started(gateway, "large")
    assert (await ended(gateway, old))["output"] == 1
    await gateway.save("helper", [{"type": "return", "value": 2}])
    assert (await rerun(gateway, old))["output"] == 1
    assert (await rerun(gateway, old, **{"from": "call"}))["output"] == 1
    assert (await rerun(gateway, old, version="latest"))["output"] == 2


async def test_an_iteration_and_a_step_of_a_called_script(gateway: Gateway) -> None:
    await shop(gateway)
    await gateway.save("inner", [{**add("put", {"id": "{{ id }}"})}], parameters=["id"], database="shop")
    call = {"type": "script", "name": "call", "script_name": "inner", "script_args": {"id": "{{ letter }}"}}
    loop = {"type": "loop", "name": "each", "list": ["a", "b", "c"], "iterator": "letter", "steps": [call]}
    await gateway.save("letters_in", [loop, {"type": "return", "value": "done"}])
    for row in ("b",):
        await gateway.http.post(
            "/v1/databases/shop/stores/rows/rows:import",
            content=json.dumps({"id": row}),
            headers={"Content-Type": "application/x-ndjson"},
        )
    old = await failed(gateway, "letters_in")
    assert [row["id"] for row in await rows(gateway)] == ["a", "b", "stock"]
    answer = await gateway.http.post(f"/v1/runs/{old}:rerun", json={"from": "each/call#2"})
    problem_of(answer, 422, "step_not_run")
    found = await rerun(gateway, old, **{"from": "failed"})
    assert (found["state"], found["from"], found["error"]["code"]) == ("failed", "each/call#1", "record_exists")


async def test_what_waits_beside_goes_on_and_a_rerun_can_be_run_again(gateway: Gateway) -> None:
    await shop(gateway)
    steps = [APPROVAL | {"is_async": True}, GET_STOCK, CHECK, {"type": "say", "name": "tell", "message": "sent"}]
    await gateway.save("beside", steps, database="shop", parameters=[{"name": "n", "default": 2}])
    old = await failed(gateway, "beside")
    again = (await gateway.http.post(f"/v1/runs/{old}:rerun", json={"from": "failed"})).json()["id"]
    assert (await ended(gateway, again))["error"]["code"] == "no_stock"
    await set_stock(gateway, 1)
    last = (await gateway.http.post(f"/v1/runs/{again}:rerun", json={"from": "failed"})).json()["id"]
    approval = {"id": "release", "step": "release", "by": ["anna", "bootstrap"], "prompt": "Send 2 letters?"}
    await standing(gateway, last, approvals=[approval])
    await gateway.http.post(f"/v1/runs/{last}:decide", json={"approved": True})
    found = await ended(gateway, last)
    assert (found["state"], found["rerun_of"]) == ("completed", again)


async def test_one_key_is_one_rerun(gateway: Gateway) -> None:
    await gateway.save("echo", [{"type": "return", "name": "out", "value": 1}])
    old = await started(gateway, "echo")
    await ended(gateway, old)
    url, key = f"/v1/runs/{old}:rerun", {"Idempotency-Key": "again-1"}
    for _ in range(2):
        answer = await gateway.http.post(url, json={"from": "out"}, headers=key)
        assert (answer.status_code, answer.json()["id"]) == (202, "again-1")
        assert (await ended(gateway, "again-1"))["output"] == 1
    problem_of(await gateway.http.post(url, json={}, headers=key), 422, "idempotency_mismatch")
    bad = await gateway.http.post(url, json={}, headers={"Idempotency-Key": "a b"})
    problem_of(bad, 422, "invalid_idempotency_key")


async def test_what_cannot_be_run_again(gateway: Gateway) -> None:
    undo = {"type": "set", "name": "undo", "variable": "x", "value": 1}
    fail = {"type": "fail", "name": "stop", "code": "bad", "message": "bad"}
    await gateway.save("undone", [{**mail("sent"), "compensate": undo}, fail])
    run_id = await started(gateway, "undone", mocks=["send_email"])
    assert (await ended(gateway, run_id))["outcome"] == "compensated"
    for step in ("failed", "stop", "sent"):
        answer = await gateway.http.post(f"/v1/runs/{run_id}:rerun", json={"from": step})
        assert "from the start" in problem_of(answer, 409, "compensated")["hint"]
    found = await rerun(gateway, run_id)
    assert found["outcome"] == "compensated"
    await gateway.save("fine", [{"type": "return", "name": "out", "value": 1}])
    fine = await started(gateway, "fine")
    await ended(gateway, fine)
    wrong: list[tuple[dict[str, Any], int, str]] = [
        ({"from": "failed"}, 422, "nothing_failed"),
        ({"from": "nope"}, 422, "step_not_run"),
        ({"from": ""}, 422, "step_not_run"),
        ({"from": "out", "arguments": {}}, 422, "invalid_field"),
        ({"from": "out", "version": "latest"}, 422, "invalid_field"),
        ({"from_step": "out"}, 422, "invalid_request"),
        ({"version": "nope"}, 404, "version_not_found"),
    ]
    for body, status, code in wrong:
        assert problem_of(await gateway.http.post(f"/v1/runs/{fine}:rerun", json=body), status, code)
    problem_of(await gateway.http.post("/v1/runs/nope:rerun", json={}), 404, "run_not_found")
    await gateway.save_held()
    held = await started(gateway, "held")
    problem_of(await gateway.http.post(f"/v1/runs/{held}:rerun", json={}), 409, "run_open")
    gateway.gate.set()


async def test_a_terminated_run_goes_on_where_it_was_and_takes_its_compensations_along(gateway: Gateway) -> None:
    undo = {"type": "say", "name": "undo", "message": "undone"}
    hold = {"type": "command", "name": "hold", "command": "hold", "output_variable": "held"}
    stop = {"type": "fail", "name": "stop", "code": "bad", "message": "bad"}
    await gateway.save("killed", [{**mail("sent"), "compensate": undo}, hold, stop])
    run_id = await started(gateway, "killed", mocks=["send_email"])
    await standing(gateway, run_id, steps=[{"step": "hold", "name": "hold", "type": "command", "tool": "hold"}])
    await gateway.services.client.get_workflow_handle(run_id).terminate("enough")
    gateway.gate.set()
    await ended(gateway, run_id)
    found = await rerun(gateway, run_id, **{"from": "hold"})
    told = await events(gateway, found["id"])
    assert found["outcome"] == "compensated" and told[-1]["compensated"] == ["sent"]
    assert "sent" not in paths(told) and len(await outbox(gateway)) == 1


async def outbox(gateway: Gateway) -> list[dict[str, Any]]:
    return [row for name in ("shop", "system") for row in await _outbox(gateway, name)]


async def _outbox(gateway: Gateway, database: str) -> list[dict[str, Any]]:
    answer = await gateway.http.get(f"/v1/databases/{database}/stores/_outbox/rows")
    found: list[dict[str, Any]] = answer.json().get("data", [])
    return found


async def test_a_loop_in_chunks_goes_on_with_the_chunk_that_failed(gateway: Gateway) -> None:
    await shop(gateway)
    check = {"type": "command", "name": "look", "command": "get", "args": {"store": "rows", "key": "stock"}}
    known = {"type": "if", "name": "known", "condition": "size(r) > 0 && (r.n > 0 || x < 4)"}
    body = [
        {**check, "output_variable": "r"},
        {**known, "else": [{"type": "fail", "name": "short", "code": "no_stock", "message": "nothing left"}]},
        add("mark", {"id": "seen {{ x }}"}),
    ]
    loop = {"type": "loop", "name": "each", "list": "[1, 2, 3, 4, 5]", "iterator": "x", "batch_size": 2, "steps": body}
    await gateway.save("chunks", [loop], database="shop")
    old = await failed(gateway, "chunks")
    assert [row["id"] for row in await rows(gateway)] == ["seen 1", "seen 2", "stock"]
    await set_stock(gateway, 1)
    found = await rerun(gateway, old, **{"from": "failed"})
    assert (found["state"], found["from"], found["output"]["processed"]) == ("completed", "each", 5)
    assert [row["id"] for row in await rows(gateway)] == [f"seen {n}" for n in range(1, 6)] + ["stock"]
    again = await rerun(gateway, old, **{"from": "each"})
    assert (again["state"], again["error"]["code"]) == ("failed", "record_exists")


async def test_a_run_that_has_continued_as_new_waits_and_is_run_again(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        workflow.Info, "is_continue_as_new_suggested", lambda info: info.get_current_history_length() > 40
    )
    await shop(gateway)
    loop = {
        "type": "loop",
        "name": "each",
        "list": list(range(15)),
        "iterator": "i",
        "steps": [add("put", {"id": "{{ i }}"})],
    }
    steps = [
        APPROVAL | {"is_async": True},
        loop,
        COMMIT,
        GET_STOCK,
        CHECK,
        {"type": "return", "value": "{{ decision.by }}"},
    ]
    parameters = [{"name": "n", "default": 2}]
    await gateway.save("long", [*steps[:3], mail("sent"), *steps[3:]], database="shop", parameters=parameters)
    old = await failed(gateway, "long", mocks=["send_email"])
    described = await gateway.services.client.get_workflow_handle(old).describe()
    assert described.raw_description.workflow_execution_info.first_run_id != described.run_id
    await set_stock(gateway, 1)
    new = (await gateway.http.post(f"/v1/runs/{old}:rerun", json={"from": "failed"})).json()["id"]
    approval = {"id": "release", "step": "release", "by": ["anna", "bootstrap"], "prompt": "Send 2 letters?"}
    await standing(gateway, new, approvals=[approval])
    await gateway.http.post(f"/v1/runs/{new}:decide", json={"approved": True})
    found = await ended(gateway, new)
    assert (found["output"], found["arguments"], found["rerun_of"]) == ("bootstrap", {}, old)
    assert len(await outbox(gateway)) == 1
    told = await events(gateway, new)
    assert [event["seq"] for event in told] == list(range(1, len(told) + 1))
    assert "each/put" not in paths(told)


async def test_what_waits_is_found_after_continuing_as_new(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        workflow.Info, "is_continue_as_new_suggested", lambda info: info.get_current_history_length() > 40
    )
    gateway.gate.set()
    hold = {"type": "command", "name": "hold", "command": "hold"}
    loop = {"type": "loop", "name": "each", "list": list(range(15)), "iterator": "i", "steps": [hold]}
    parameters = [{"name": "n", "default": 2}]
    await gateway.save("long", [APPROVAL | {"is_async": True}, loop], parameters=parameters)
    run_id = await started(gateway, "long")
    await standing(gateway, run_id, steps=[{"step": "release", "name": "release", "type": "wait"}])
    handle = gateway.services.client.get_workflow_handle(run_id)
    described = await handle.describe()
    assert described.raw_description.workflow_execution_info.first_run_id != described.run_id
    (listed,) = (await gateway.http.get("/v1/approvals")).json()["data"]
    assert listed["id"] == run_id
    await gateway.http.post(f"/v1/runs/{run_id}:decide", json={"approved": True})
    assert (await ended(gateway, run_id))["state"] == "completed"

    async def gone() -> bool:
        return bool((await gateway.http.get("/v1/approvals")).json()["data"] == [])

    assert await eventually(gone)
    attribute = SearchAttributeKey.for_keyword("SopWaiting")
    assert (await handle.describe()).typed_search_attributes.get(attribute) is None
