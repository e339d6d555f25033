"""A key does nothing through a script that it could not do itself: starting, saving, scheduling, running again."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.gateway.conftest import Gateway, authorization, eventually, problem_of
from toolbox.access import needs, parse_scopes

FETCH = {"type": "fetch", "name": "look", "resource": "people", "variable": "rows"}
ADD = {"type": "command", "name": "put", "command": "upsert", "args": {"store": "people", "record": {"id": 1}}}
MAIL = {
    "type": "command",
    "name": "mail",
    "command": "send_email",
    "args": {"to": "a@example.com", "subject": "s", "body": "b"},
}
SAY = {"type": "say", "name": "say", "message": "x"}


def call(name: str, **more: Any) -> dict[str, Any]:
    return {"type": "script", "name": f"call_{name}", "script_name": name, **more}


@pytest.fixture
def prepared(gateway: Gateway) -> Iterator[Gateway]:
    from query import create_store

    for name in ("crm", "hr"):
        gateway.services.databases.ensure(name).transact(lambda view: create_store(view, "people", primary_key=["id"]))
    yield gateway


def made(gateway: Gateway, *scopes: str) -> dict[str, str]:
    return authorization(gateway.services.keys.create("anna", parse_scopes(scopes)))


def told(gateway: Gateway, name: str) -> set[str]:
    return set(map(str, needs(gateway.services.library.closure(name))))


def missing(problem: dict[str, Any]) -> set[str]:
    return {found["scope"] for found in problem["errors"]}


async def test_what_scripts_take(prepared: Gateway) -> None:
    save = prepared.save
    await save("nothing", [SAY])
    await save("reads", [FETCH], database="crm")
    await save("writes", [FETCH, ADD], database="crm")
    await save("mails", [MAIL])
    await save("both", [FETCH, {**ADD, "database": "hr"}], database="crm")
    await save("block", [{"type": "block", "name": "b", "database": "hr", "steps": [ADD]}], database="crm")
    await save("edits", [{"type": "command", "name": "e", "command": "select",
                          "args": {"store": "people", "filter": {"id": 1}, "action": "delete"}}], database="crm")  # fmt: skip
    await save("helper", [ADD])
    await save("calls", [call("helper"), call("reads")], database="hr")
    await save("deep", [{"type": "if", "name": "i", "condition": "true", "then": [call("mails")]}])
    await save("joins", [{"type": "command", "name": "j", "command": "join", "args": {
        "left": {"store": "people"}, "right": {"store": "people", "database": "hr"}, "on": "id"}}], database="crm")  # fmt: skip
    await save("lists", [{"type": "command", "name": "l", "command": "list_scripts"}])
    await save("saver", [{"type": "command", "name": "s", "command": "save_script", "args": {"script": {}}}])
    await save("undoes", [{**ADD, "name": "u", "compensate": [MAIL]}], database="crm")
    crm, hr = "data:crm:read", "data:hr:read"
    assert told(prepared, "nothing") == set()
    assert told(prepared, "reads") == {crm}
    assert told(prepared, "writes") == {crm, "data:crm:write"}
    assert told(prepared, "mails") == {"tools:send_email"}
    assert told(prepared, "both") == {crm, hr, "data:hr:write"}
    assert told(prepared, "block") == {crm, hr, "data:hr:write"}
    assert told(prepared, "edits") == {crm, "data:crm:write"}
    assert told(prepared, "calls") == {crm, hr, "data:crm:write", "data:hr:write"}
    assert told(prepared, "deep") == {"tools:send_email"}
    assert told(prepared, "joins") == {crm, hr}
    assert told(prepared, "lists") == {"scripts:read"}
    assert told(prepared, "saver") == {"admin"}
    assert told(prepared, "undoes") == {crm, "data:crm:write", "tools:send_email"}


async def test_starting_takes_what_the_script_does(prepared: Gateway) -> None:
    await prepared.save("writes", [FETCH, ADD, MAIL], database="crm")
    http, needed = prepared.http, ["data:crm:read", "data:crm:write", "tools:send_email"]
    for path in ("/v1/scripts/writes/runs", "/v1/call/writes"):
        problem = problem_of(await http.post(path, json={}, headers=made(prepared, "scripts:run")), 403, "forbidden")
        assert missing(problem) == set(needed)
        for left_out in needed:
            given = made(prepared, "scripts:run:w*", *(scope for scope in needed if scope != left_out))
            for body in ({}, {"dry_run": True}, {"mocks": ["send_email"]}):
                problem = problem_of(await http.post(path, json=body, headers=given), 403, "forbidden")
                assert missing(problem) == {left_out}
    body = {"mocks": ["send_email"]}
    started = await http.post("/v1/call/writes", json=body, headers=made(prepared, "scripts:run:writes", *needed))
    assert '"completed"' in started.text.splitlines()[-1], started.text
    granted = made(prepared, "scripts:call:wri*")
    assert '"completed"' in (await http.post("/v1/call/writes", json=body, headers=granted)).text.splitlines()[-1]
    problem_of(await http.get("/v1/databases/crm/stores/people/rows", headers=granted), 403, "forbidden")
    problem_of(await http.post("/v1/call/other", json={}, headers=granted), 403, "forbidden")


async def test_the_key_of_a_run_is_not_asked_again(prepared: Gateway) -> None:
    await prepared.save_held()
    key = prepared.services.keys.create("anna", parse_scopes(["scripts:run"]))
    answer = await prepared.http.post("/v1/scripts/held/runs", json={}, headers=authorization(key))
    assert answer.status_code == 202
    prepared.services.keys.revoke(key.split("_")[1])
    prepared.gate.set()

    async def ended() -> bool:
        return (await prepared.http.get(answer.json()["location"])).json()["state"] == "completed"  # type: ignore[no-any-return]

    await eventually(ended)


async def test_saving_takes_what_the_script_does(prepared: Gateway) -> None:
    await prepared.save("weekly_mail", [MAIL])
    steps = [FETCH, call("weekly_mail")]
    script = {"name": "weekly_x", "steps": steps, "database": "crm"}
    needed = {"data:crm:read", "tools:send_email"}
    trusted = ("scripts:write:weekly_*", "scripts:call:weekly_*", "scripts:run")
    problem = problem_of(
        await prepared.http.post("/v1/scripts", json=script, headers=made(prepared, *trusted)), 403, "forbidden"
    )
    assert missing(problem) == {"data:crm:read"}
    trusted = (*trusted, "data:crm:read")
    problem = problem_of(
        await prepared.http.post("/v1/scripts", json=script, headers=made(prepared, *trusted)), 403, "forbidden"
    )
    assert missing(problem) == {"tools:send_email"}
    assert [row["name"] for row in prepared.services.library.scripts()] == ["weekly_mail"]
    given = made(prepared, "scripts:write:weekly_*", *needed)
    assert (await prepared.http.post("/v1/scripts", json=script, headers=given)).status_code == 201
    other = {**script, "name": "monthly_x"}
    assert missing(
        problem_of(await prepared.http.post("/v1/scripts", json=other, headers=given), 403, "forbidden")
    ) == {"scripts:write:monthly_x"}
    wrong = {**script, "steps": [{"type": "command", "command": "nothing"}]}
    problem_of(await prepared.http.post("/v1/scripts", json=wrong, headers=given), 422, "script_invalid")
    itself = {"name": "weekly_y", "steps": [{"type": "if", "condition": "false", "then": [call("weekly_y")]}]}
    assert (await prepared.http.post("/v1/scripts", json=itself, headers=given)).status_code == 201


async def test_running_again_takes_what_the_script_does(prepared: Gateway) -> None:
    await prepared.save("writes", [FETCH, ADD], database="crm")
    run = await prepared.http.post("/v1/call/writes", json={}, headers={"Idempotency-Key": "first"})
    assert '"completed"' in run.text.splitlines()[-1]
    for step in ("start", "put"):
        body = {"from": step}
        for scopes, left in (((), {"scripts:run:writes"}), (("scripts:run",), {"data:crm:read", "data:crm:write"})):
            answer = await prepared.http.post(
                "/v1/runs/first:rerun", json=body, headers=made(prepared, "runs:control", *scopes)
            )
            assert missing(problem_of(answer, 403, "forbidden")) == left
        granted = made(prepared, "runs:control", "scripts:call:writes")
        assert (await prepared.http.post("/v1/runs/first:rerun", json=body, headers=granted)).status_code == 202


async def test_scheduling_takes_what_the_script_does(prepared: Gateway) -> None:
    await prepared.save("reads", [FETCH], database="crm")
    await prepared.save("mails", [MAIL])
    await prepared.save("nothing", [SAY])
    body: dict[str, Any] = {"id": "nightly", "script": "reads", "cron": "0 9 * * 1"}
    low = made(prepared, "schedules:write", "scripts:run")
    assert missing(problem_of(await prepared.http.post("/v1/schedules", json=body, headers=low), 403, "forbidden")) == {
        "data:crm:read"
    }
    able = made(prepared, "schedules:write", "scripts:run", "data:crm:read")
    answer = await prepared.http.post("/v1/schedules", json=body, headers=able)
    assert answer.status_code == 201, answer.text
    address = "/v1/schedules/nightly"
    change: dict[str, Any]
    for change, left in (
        ({"script": "mails"}, {"tools:send_email"}),
        ({"notify": {"to": "a@example.com"}}, {"tools:notify"}),
    ):
        answer = await prepared.http.patch(address, json=change, headers=able)
        assert missing(problem_of(answer, 403, "forbidden")) == left
    answer = await prepared.http.patch(address, json={"version": None}, headers=low)
    assert missing(problem_of(answer, 403, "forbidden")) == {"data:crm:read"}
    for change in ({"cron": "0 8 * * 1"}, {"script": "nothing"}):
        assert (await prepared.http.patch(address, json=change, headers=low)).status_code == 200
    dry = {**body, "id": "other", "dry_run": True}
    problem_of(await prepared.http.post("/v1/schedules", json=dry, headers=low), 403, "forbidden")
    assert (await prepared.http.delete(address, headers=low)).status_code == 204


async def test_who_decides_is_the_keys_name(prepared: Gateway) -> None:
    await prepared.save("letters", [{"type": "wait", "name": "ask", "approval": {"by": ["anna"], "prompt": "?"}}])
    await prepared.http.post("/v1/scripts/letters/runs", json={}, headers={"Idempotency-Key": "decided-1"})

    async def waits() -> Any:
        where = (await prepared.http.get("/v1/runs/decided-1")).json().get("where")
        return where and where["approvals"]

    await eventually(waits)
    zoe = authorization(prepared.services.keys.create("zoe", parse_scopes(["runs:control"])))
    body = {"approved": True}
    problem_of(await prepared.http.post("/v1/runs/decided-1:decide", json=body, headers=zoe), 403, "not_asked")
    problem_of(
        await prepared.http.post("/v1/runs/decided-1:decide", json=body, headers=made(prepared, "runs:read")),
        403,
        "forbidden",
    )
    answer = await prepared.http.post("/v1/runs/decided-1:decide", json=body, headers=made(prepared, "runs:control"))
    assert (answer.status_code, answer.json()["by"]) == (202, "anna")


async def test_a_row_reference_takes_the_rows_that_it_leads_to(prepared: Gateway) -> None:
    await prepared.http.post("/v1/databases/hr/stores/people/rows:import", json=[{"id": 1, "pay": "secret"}])
    loop = {
        "type": "loop",
        "name": "each",
        "list": "{{ rows }}",
        "iterator": "row",
        "steps": [{"type": "say", "name": "s", "message": "{{ row.pay }}"}],
    }
    parameters = [{"name": "rows"}]
    await prepared.save("each", [loop], parameters=parameters)
    version = prepared.services.databases.open("hr").head().seq
    reference = {"database": "hr", "version": version, "count": 1, "store": "people", "query": {}}
    rows = {"$rows": prepared.services.databases.seals.sealed(reference)}
    kept = {"$rows": {"database": "hr", "version": version, "count": 1, "result": "x"}}
    for given in (
        made(prepared, "scripts:run", "schedules:write"),
        made(prepared, "scripts:call:each", "schedules:write"),
    ):
        for value, left in (
            (rows, {"data:hr:read"}),
            ([{"deep": rows}], {"data:hr:read"}),
            (kept, {"data:hr:read", "runs:read"}),
        ):
            arguments = {"arguments": {"rows": value}}
            answer = await prepared.http.post("/v1/call/each", json=arguments, headers=given)
            assert missing(problem_of(answer, 403, "forbidden")) == left
            body = {"script": "each", "every": 3600, **arguments}
            answer = await prepared.http.post("/v1/schedules", json=body, headers=given)
            assert missing(problem_of(answer, 403, "forbidden")) == left
        answer = await prepared.http.post(
            "/v1/call/each", json={"arguments": {"rows": [{"pay": "own"}]}}, headers=given
        )
        assert '"completed"' in answer.text.splitlines()[-1], answer.text
    able = made(prepared, "scripts:run", "data:hr:read")
    answer = await prepared.http.post("/v1/call/each", json={"arguments": {"rows": rows}}, headers=able)
    assert '"completed"' in answer.text.splitlines()[-1], answer.text
    await prepared.http.post("/v1/call/each", json={"arguments": {"rows": rows}}, headers={"Idempotency-Key": "old"})
    answer = await prepared.http.post(
        "/v1/runs/old:rerun", json={}, headers=made(prepared, "runs:control", "scripts:run")
    )
    assert missing(problem_of(answer, 403, "forbidden")) == {"data:hr:read"}
    forging = [{"type": "set", "name": "forge", "variable": "rows", "value": rows}, loop]
    answer = await prepared.http.post(
        "/v1/scripts", json={"name": "forge", "steps": forging}, headers=made(prepared, "scripts:write", "data:hr:read")
    )
    assert missing(problem_of(answer, 403, "forbidden")) == {"admin"}


async def test_nothing_is_told_about_databases_that_the_key_may_not_read(prepared: Gateway) -> None:
    given = made(prepared, "scripts:read", "scripts:write", "data:crm:read")
    for database, steps in (
        ("hr", [{**FETCH, "resource": "peopl"}]),
        ("crm", [{**FETCH, "resource": "peopl", "database": "hr"}]),
        ("nowhere", [FETCH]),
    ):
        for route in ("/v1/scripts", "/v1/scripts:check"):
            script = {"name": "probe", "database": database, "steps": steps}
            problem = problem_of(await prepared.http.post(route, json=script, headers=given), 403, "forbidden")
            assert "people" not in str(problem) and len(problem["errors"]) == 1
    record = {**ADD, "args": {"store": "people", "record": {"id": 1, "database": "hr"}}}
    mine = {"name": "probe", "database": "crm", "steps": [{**FETCH, "resource": "peopl"}, record]}
    answer = await prepared.http.post("/v1/scripts:check", json=mine, headers=given)
    assert answer.status_code == 200 and "people" in answer.text
