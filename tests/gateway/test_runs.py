"""Runs end to end: HTTP, Temporal, a worker, databases."""

import asyncio
from dataclasses import replace
from typing import Any

import httpx2

from gateway.app import create_app
from script.wire import RunInput
from tests.gateway.conftest import Gateway, eventually, problem_of

RETURN_ARGUMENTS = [{"type": "return", "value": "{{ n }}"}]
N = {"parameters": [{"name": "n", "type": "integer"}]}


async def ended(gateway: Gateway, run_id: str) -> dict[str, Any]:
    """The run when it has ended."""

    async def closed() -> dict[str, Any] | None:
        found: dict[str, Any] = (await gateway.http.get(f"/v1/runs/{run_id}")).json()
        return None if found["state"] == "running" else found

    done: dict[str, Any] = await eventually(closed)
    return done


async def test_a_run_is_started_and_described(gateway: Gateway) -> None:
    version = await gateway.save("echo", RETURN_ARGUMENTS, **N)
    answer = await gateway.http.post("/v1/scripts/echo/runs", json={"arguments": {"n": 7}, "mocks": ["send_email"]})
    run_id = answer.json()["id"]
    assert (answer.status_code, answer.headers["location"]) == (202, f"/v1/runs/{run_id}")
    found = await ended(gateway, run_id)
    assert {
        name: found[name] for name in ("state", "script", "version", "arguments", "output", "trigger", "mocks")
    } == {
        "state": "completed",
        "script": "echo",
        "version": version,
        "arguments": {"n": 7},
        "output": 7,
        "trigger": "api",
        "mocks": ["send_email"],
    }
    assert found["started_at"] < found["ended_at"]
    assert found["temporal"].startswith(f"http://ui.example/namespaces/default/workflows/{run_id}/")


async def test_a_failed_run_has_its_error(gateway: Gateway) -> None:
    await gateway.save("broken", [{"type": "fail", "name": "stop", "code": "no_stock", "message": "nothing left"}])
    run_id = (await gateway.http.post("/v1/scripts/broken/runs", json={})).json()["id"]
    found = await ended(gateway, run_id)
    assert found["state"] == found["outcome"] == "failed" and "output" not in found
    assert (found["error"]["code"], found["error"]["step"]) == ("no_stock", "stop")


async def test_an_old_version_runs_as_it_was(gateway: Gateway) -> None:
    first = await gateway.save("v", [{"type": "return", "value": 1}])
    await gateway.save("v", [{"type": "return", "value": 2}])
    for version, output in ((None, 2), (1, 1), (first[:10], 1)):
        run_id = (await gateway.http.post("/v1/scripts/v/runs", json={"version": version})).json()["id"]
        assert (await ended(gateway, run_id))["output"] == output


async def test_arguments_are_checked_before_anything_starts(gateway: Gateway) -> None:
    await gateway.save("echo", RETURN_ARGUMENTS, **N)
    wrong: list[tuple[dict[str, Any], str, str, str | None]] = [
        ({"arguments": {"m": 1, "n": 1}}, "invalid_arguments", "/arguments/m", None),
        ({"arguments": {"nn": 1}}, "invalid_arguments", "/arguments/nn", "did you mean 'n'?"),
        ({}, "invalid_arguments", "/arguments/n", None),
        ({"arguments": {"n": "x"}}, "invalid_arguments", "/arguments/n", None),
        ({"arguments": {"n": 1}, "mocks": ["send_mail"]}, "unknown_tool", "/mocks/0", "did you mean 'send_email'?"),
        ({"arguments": {"n": "x" * 70_000}}, "too_large", "/arguments", None),
        ({"argument": {}}, "invalid_request", "/argument", None),
    ]
    for path in ("/v1/scripts/echo/runs", "/v1/call/echo"):
        for body, code, pointer, hint in wrong:
            problem = problem_of(await gateway.http.post(path, json=body), 422, code)
            assert problem["errors"][0]["pointer"] == pointer
            assert hint is None or problem["errors"][0]["hint"] == hint
        missing = await gateway.http.post(path.replace("echo", "ecko"), json={})
        assert problem_of(missing, 404, "script_not_found")["hint"] == "did you mean 'echo'?"
    found = (await gateway.http.get("/v1/runs?script=echo")).json()
    assert found == {"data": [], "has_more": False, "next_cursor": None}


async def test_twenty_posts_with_one_key_are_one_run(gateway: Gateway, live: httpx2.AsyncClient) -> None:
    await gateway.save("echo", RETURN_ARGUMENTS, **N)
    key = {"Idempotency-Key": "order-4711.a:b@c"}

    async def post() -> httpx2.Response:
        return await live.post("/v1/scripts/echo/runs", json={"arguments": {"n": 1}}, headers=key)

    answers = await asyncio.gather(*(post() for _ in range(20)))
    assert {(answer.status_code, answer.json()["id"]) for answer in answers} == {(202, "order-4711.a:b@c")}
    run_id = answers[0].json()["id"]
    first = await ended(gateway, run_id)
    again = await post()
    assert (again.status_code, again.json()["id"]) == (202, run_id)
    assert await ended(gateway, run_id) == first
    executions = [found async for found in gateway.services.client.list_workflows(f"WorkflowId = '{run_id}'")]
    assert len(executions) <= 1


async def test_a_key_with_another_request_is_refused(gateway: Gateway) -> None:
    await gateway.save("echo", RETURN_ARGUMENTS, **N)
    await gateway.save("other", RETURN_ARGUMENTS, **N)
    await gateway.save_held()
    for name, key in (("echo", "k-ended"), ("held", "k-running")):
        arguments = {"n": 1} if name == "echo" else {}
        started = await gateway.http.post(
            f"/v1/scripts/{name}/runs", json={"arguments": arguments}, headers={"Idempotency-Key": key}
        )
        assert started.status_code == 202
        for path, body in (
            ("/v1/scripts/other/runs", {"arguments": {"n": 1}}),
            ("/v1/call/echo", {"arguments": {"n": 2}}),
            ("/v1/scripts/echo/runs", {"arguments": {"n": 1}, "dry_run": True}),
        ):
            refused = await gateway.http.post(path, json=body, headers={"Idempotency-Key": key})
            problem_of(refused, 422, "idempotency_mismatch")
    gateway.gate.set()


async def test_keys_that_cannot_be_one(gateway: Gateway) -> None:
    await gateway.save("echo", RETURN_ARGUMENTS, **N)
    for key in ("", " ", "a b", "../x", "a/b", "x" * 256, "é".encode()):
        headers = {"Idempotency-Key": key}
        answer = await gateway.http.post("/v1/scripts/echo/runs", json={"arguments": {"n": 1}}, headers=headers)
        problem_of(answer, 422, "invalid_idempotency_key")


async def test_cancel(gateway: Gateway) -> None:
    await gateway.save_held()
    run_id = (await gateway.http.post("/v1/scripts/held/runs", json={})).json()["id"]
    assert (await gateway.http.get(f"/v1/runs/{run_id}")).json()["state"] == "running"
    answer = await gateway.http.post(f"/v1/runs/{run_id}/cancel")
    assert (answer.status_code, answer.json()) == (202, {"id": run_id, "state": "canceling"})
    gateway.gate.set()
    found = await ended(gateway, run_id)
    assert (found["state"], found["error"]["code"]) == ("canceled", "canceled")
    problem_of(await gateway.http.post(f"/v1/runs/{run_id}/cancel"), 409, "run_closed")


async def test_a_terminated_run(gateway: Gateway) -> None:
    await gateway.save_held()
    run_id = (await gateway.http.post("/v1/scripts/held/runs", json={})).json()["id"]
    await gateway.services.client.get_workflow_handle(run_id).terminate("enough")
    found = await ended(gateway, run_id)
    assert (found["state"], found["error"]["code"]) == ("terminated", "terminated")


async def test_runs_that_are_not_there(gateway: Gateway) -> None:
    for method, more in (("GET", ""), ("GET", "/events"), ("POST", "/cancel")):
        for run_id in ("nope", "a%2Fb%23c", "%27%20OR%201=1", "x" * 1200):
            answer = await gateway.http.request(method, f"/v1/runs/{run_id}{more}")
            problem_of(answer, 404, "run_not_found")


async def test_another_installation_on_the_same_temporal_sees_nothing(gateway: Gateway) -> None:
    await gateway.save("echo", RETURN_ARGUMENTS, **N)
    body, key = {"arguments": {"n": 1}}, {"Idempotency-Key": "shared-key"}
    assert (await gateway.http.post("/v1/scripts/echo/runs", json=body, headers=key)).status_code == 202
    other = create_app(replace(gateway.services, task_queue="another"))
    transport = httpx2.ASGITransport(other)
    async with httpx2.AsyncClient(transport=transport, base_url="http://x", headers=gateway.http.headers) as http:
        problem_of(await http.get("/v1/runs/shared-key"), 404, "run_not_found")
        problem_of(await http.post("/v1/scripts/echo/runs", json=body, headers=key), 422, "idempotency_mismatch")
        assert (await http.get("/v1/runs")).json()["data"] == []


async def test_runs_are_listed_page_by_page(gateway: Gateway) -> None:
    await gateway.save("listed", [{"type": "return", "value": 1}])
    started = []
    for _ in range(5):
        started.append((await gateway.http.post("/v1/scripts/listed/runs", json={})).json()["id"])
        await ended(gateway, started[-1])
    query = f"SopScript = 'listed' AND TaskQueue = '{gateway.services.task_queue}' AND ExecutionStatus = 'Completed'"

    async def listed() -> bool:
        return (await gateway.services.client.count_workflows(query)).count == 5

    await eventually(listed)
    seen: list[str] = []
    cursor: str | None = None
    for _ in range(10):
        params: dict[str, Any] = {"script": "listed", "state": "completed", "limit": 2}
        page = (await gateway.http.get("/v1/runs", params=params | ({"cursor": cursor} if cursor else {}))).json()
        seen += [found["id"] for found in page["data"]]
        assert {found["script"] for found in page["data"]} <= {"listed"}
        cursor = page["next_cursor"]
        if not page["has_more"]:
            break
    assert seen == list(reversed(started)) and cursor is None
    assert (await gateway.http.get("/v1/runs?script=listed&state=failed")).json()["data"] == []
    problem_of(await gateway.http.get("/v1/runs?script=x%27%20OR%201"), 422, "invalid_field")
    first = (await gateway.http.get("/v1/runs?script=listed&limit=2")).json()["next_cursor"]
    for other in (f"/v1/runs?limit=2&cursor={first}", "/v1/runs?cursor=AAAA", "/v1/runs?cursor=%20"):
        problem_of(await gateway.http.get(other), 422, "invalid_cursor")


async def test_large_programs_are_loaded_by_the_run(gateway: Gateway) -> None:
    steps = [{"type": "set", "name": f"s{n}", "variable": "x", "value": f"{n} {'x' * 200}"} for n in range(200)]
    await gateway.save("large", [*steps, {"type": "return", "value": "done"}])
    run_id = (await gateway.http.post("/v1/scripts/large/runs", json={})).json()["id"]
    assert (await ended(gateway, run_id))["output"] == "done"
    handle = gateway.services.client.get_workflow_handle(run_id)
    first = (await handle.fetch_history()).events[0]
    payloads = first.workflow_execution_started_event_attributes.input.payloads
    start = (await gateway.services.client.data_converter.decode(payloads, [RunInput]))[0]
    assert start.programs is None


async def test_a_child_run_has_an_address(gateway: Gateway) -> None:
    await gateway.http.post("/v1/databases", json={"name": "shop"})
    await gateway.save("inner", [{"type": "return", "value": 5}], database="shop")
    await gateway.save("outer", [{"type": "script", "name": "call it", "script_name": "inner"}])
    run_id = (await gateway.http.post("/v1/scripts/outer/runs", json={})).json()["id"]
    assert (await ended(gateway, run_id))["output"] == 5
    child = f"{run_id}/call it".replace("/", "%2F").replace(" ", "%20")
    found = (await gateway.http.get(f"/v1/runs/{child}")).json()
    assert (found["id"], found["script"], found["trigger"], found["output"]) == (
        f"{run_id}/call it",
        "inner",
        "parent",
        5,
    )
    events = await gateway.http.get(f"/v1/runs/{child}/events")
    assert events.text.count("\n") >= 2


async def test_arguments_that_json_here_cannot_hold_are_an_error(gateway: Gateway) -> None:
    await gateway.save("taking", [{"type": "return", "value": 1}], parameters=["x"])
    headers = {"Content-Type": "application/json"}
    for value in (str(2**70), '"\\ud800"'):
        body = '{"arguments": {"x": ' + value + "}}"
        answer = await gateway.http.post("/v1/scripts/taking/runs", content=body, headers=headers)
        assert answer.status_code in (400, 422), answer.text
        assert answer.headers["content-type"] == "application/problem+json"
