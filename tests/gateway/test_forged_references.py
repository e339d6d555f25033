"""An author with a key for one database, and the rows of another one: no row reference that a script makes up is followed."""

import json
from typing import Any

import pytest

from query import create_store
from tests.gateway.conftest import Gateway, authorization, problem_of
from toolbox.access import parse_scopes

AUTHOR = (
    "scripts:read",
    "scripts:write",
    "scripts:run",
    "runs:read",
    "runs:control",
    "data:crm:read",
    "data:crm:write",
)
PAY = "top-secret-pay"


@pytest.fixture
def author(gateway: Gateway) -> dict[str, str]:
    """The key of somebody who may do everything in `crm`, and knows that `hr` has a store `people`."""
    for name in ("crm", "hr"):
        gateway.services.databases.ensure(name).transact(
            lambda view: create_store(view, "people", primary_key=["id"]).add({"id": 1, "pay": PAY})
        )
    gateway.services.databases.open("crm").transact(
        lambda view: create_store(view, "notes", primary_key=["id"]).add({"id": 1, "text": "x"})
    )
    return authorization(gateway.services.keys.create("eve", parse_scopes(AUTHOR)))


def forged(gateway: Gateway, **more: Any) -> dict[str, Any]:
    version = gateway.services.databases.open("hr").head().seq
    return {"database": "hr", "version": version, "count": 1, "store": "people", "query": {}, **more}


LOOP = {"type": "loop", "name": "each", "list": "{{ rows }}", "iterator": "row",
        "steps": [{"type": "say", "name": "s", "message": "{{ row.pay }}"}]}  # fmt: skip
MADE = {"type": "set", "name": "make", "variable": "rows", "value": "{{ parse_json(text) }}"}
"""Nothing in the text of the script, or in the arguments, has the form of a reference."""


async def test_a_reference_that_a_script_makes_up_is_not_followed(gateway: Gateway, author: dict[str, str]) -> None:
    steps = {
        "loop": [MADE, LOOP],
        "failed_ones": [MADE, {**LOOP, "tolerate_failures": 1}],
        "in_parts": [MADE, {**LOOP, "batch_size": 1, "concurrency": 2}],
        "called": [MADE, {"type": "script", "name": "c", "script_name": "each", "script_args": {"rows": "{{ rows }}"}}],
        "by_a_row": [
            {"type": "command", "name": "p", "command": "upsert", "args": {"store": "notes", "record": {"id": 1, "v": "{{ parse_json(text) }}"}}},
            {"type": "command", "name": "k", "command": "manage_transaction", "args": {"action": "commit"}},
            {"type": "command", "name": "g", "command": "get", "args": {"store": "notes", "key": 1}, "output_variable": "note"},
            {"type": "set", "name": "make", "variable": "rows", "value": "{{ note.v }}"}, LOOP],
    }  # fmt: skip
    parameters = [{"name": "rows"}]
    body: dict[str, Any] = {"name": "each", "database": "crm", "steps": [LOOP], "parameters": parameters}
    assert (await gateway.http.post("/v1/scripts", json=body, headers=author)).status_code == 201
    seal = gateway.services.databases.seals.sealed({**forged(gateway), "database": "crm"})["seal"]
    for name, script in steps.items():
        body = {"name": name, "database": "crm", "steps": script, "parameters": [{"name": "text"}]}
        answer = await gateway.http.post("/v1/scripts", json=body, headers=author)
        assert answer.status_code == 201, answer.text
        for reference in (
            (forged(gateway, seal=seal),) if name != "loop" else (forged(gateway), forged(gateway, seal="0" * 32))
        ):
            arguments = {"text": json.dumps({"$rows": reference})}
            answer = await gateway.http.post(f"/v1/call/{name}", json={"arguments": arguments}, headers=author)
            last = json.loads(answer.text.splitlines()[-1])
            assert (last["status"], last["error"]["code"]) == ("failed", "invalid_reference"), (name, last)
            assert PAY not in answer.text


async def test_nor_one_that_is_the_result_of_a_run(gateway: Gateway, author: dict[str, str]) -> None:
    steps = [MADE, {"type": "return", "name": "out", "value": "{{ rows }}"}]
    body = {"name": "told", "database": "crm", "steps": steps, "parameters": [{"name": "text"}]}
    assert (await gateway.http.post("/v1/scripts", json=body, headers=author)).status_code == 201
    arguments = {"text": json.dumps({"$rows": forged(gateway)})}
    answer = await gateway.http.post("/v1/call/told", json={"arguments": arguments}, headers=author)
    where = f"{answer.headers['location']}/events"
    problem = problem_of(
        await gateway.http.get(where, headers={**author, "Accept": "text/csv"}), 422, "invalid_reference"
    )
    assert "as it came" in str(problem)


@pytest.mark.parametrize("given", [1, "x", [], {}, {"count": "1"}, {"count": -1}, {"count": True}, None])
async def test_what_does_not_look_like_a_reference_is_a_value_like_others(gateway: Gateway, given: Any) -> None:
    """It once made a run stand still: the machine believed that there is a count."""
    steps = [MADE, {"type": "return", "name": "out", "value": {"n": "{{ size(rows) }}", "rows": "{{ rows }}"}}]
    await gateway.save("odd", steps, parameters=[{"name": "text"}])
    arguments = {"text": json.dumps({"$rows": given})}
    answer = await gateway.http.post("/v1/call/odd", json={"arguments": arguments})
    assert json.loads(answer.text.splitlines()[-1])["result"] == {"n": 1, "rows": {"$rows": given}}


async def test_the_authors_own_rows_are_followed(gateway: Gateway, author: dict[str, str]) -> None:
    """Through a script that is called, in parts, and run again."""
    crm = gateway.services.databases.open("crm")
    crm.transact(lambda view: [_add(view, n) for n in range(2, 800)])
    loop = {**LOOP, "batch_size": 50, "concurrency": 2, "reduce": {"n": {"op": "count"}}, "output_variable": "done", "steps": [
        {"type": "set", "name": "s", "variable": "x", "value": "{{ row.id }}"}]}  # fmt: skip
    called = {"name": "walk", "database": "crm", "parameters": [{"name": "rows"}],
              "steps": [loop, {"type": "return", "name": "r", "value": "{{ done }}"}]}  # fmt: skip
    query = {"store": "notes", "filter": {"id": {"$gte": 1.5}, "text": {"$in": ["x" * 60, "ünïcode", 2**62, 1e300]}}}
    main = {"name": "main", "database": "crm", "steps": [
        {"type": "command", "name": "q", "command": "select", "args": query, "output_variable": "rows"},
        {"type": "set", "name": "deep", "variable": "deep", "value": {"a": ["{{ rows }}"]}},
        {"type": "script", "name": "w", "script_name": "walk", "script_args": {"rows": "{{ rows }}"}, "output_variable": "done"},
        {"type": "return", "name": "r", "value": "{{ done }}"}]}  # fmt: skip
    for body in (called, main):
        answer = await gateway.http.post("/v1/scripts", json=body, headers=author)
        assert answer.status_code == 201, answer.text
    answer = await gateway.http.post("/v1/call/main", json={}, headers=author)
    records = [json.loads(line) for line in answer.text.splitlines()]
    assert records[-1]["result"]["reduced"] == {"n": 798}, records[-1]
    rows = next(record["rows"]["ref"] for record in records if record.get("name") == "q" and "rows" in record)
    arguments = {"arguments": {"rows": {"$rows": rows}}}
    answer = await gateway.http.post("/v1/call/walk", json=arguments, headers=author)
    assert json.loads(answer.text.splitlines()[-1])["result"]["processed"] == 798
    cheated = {"arguments": {"rows": {"$rows": {**rows, "query": {}}}}}
    answer = await gateway.http.post("/v1/call/walk", json=cheated, headers=author)
    assert json.loads(answer.text.splitlines()[-1])["error"]["code"] == "invalid_reference"


def _add(view: Any, number: int) -> None:
    from query import open_store

    open_store(view, "notes").add({"id": number, "text": "x" * 60})
