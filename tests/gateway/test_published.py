"""Published scripts are operations of the document: typed, only those that the key may call, and always those that there are."""

from typing import Any

from jsonschema import Draft202012Validator

from tests.gateway.conftest import Gateway, authorization, problem_of
from toolbox.access import parse_scopes

WHO = {"name": "who", "type": {"type": "string", "minLength": 1}, "description": "whom to greet", "required": True}
TIMES = {
    "name": "times",
    "type": {"$ref": "#/$defs/few", "$defs": {"few": {"type": "integer", "maximum": 3}}},
    "default": 1,
}
GREETED = {
    "type": "object",
    "required": ["text"],
    "properties": {"text": {"$ref": "#/$defs/text"}},
    "$defs": {"text": {"type": "string"}},
}
STEPS = [{"type": "return", "value": {"text": "hello {{ who }}"}}]


async def document(gateway: Gateway, key: dict[str, str] | None = None) -> dict[str, Any]:
    answer = await gateway.http.get("/openapi.json", headers=key)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def save_greet(gateway: Gateway) -> str:
    return await gateway.save("greet", STEPS, parameters=[WHO, TIMES], output_schema=GREETED, description="Greets.")


def validator(found: dict[str, Any], schema: dict[str, Any]) -> Draft202012Validator:
    """For a schema of the document."""
    return Draft202012Validator({**schema, "components": found["components"]})


async def test_a_script_is_an_operation_with_its_parameters_and_its_result(gateway: Gateway) -> None:
    version = await save_greet(gateway)
    found = await document(gateway)
    told = found["paths"]["/v1/call/greet"]["post"]
    assert (told["operationId"], told["summary"], told["x-script-version"]) == ("call_greet", "greet", version)
    assert told["description"].startswith("Greets.") and told["x-scope"] == "scripts:run:greet"
    shared = [found["components"]["parameters"][taken["$ref"].rpartition("/")[2]] for taken in told["parameters"]]
    assert shared == [
        taken for taken in found["paths"]["/v1/call/{name}"]["post"]["parameters"] if taken["in"] != "path"
    ]
    assert {"Idempotency-Key", "format", "after"} <= {taken["name"] for taken in shared}
    assert set(told["responses"]) == set(found["paths"]["/v1/call/{name}"]["post"]["responses"])
    body = validator(found, told["requestBody"]["content"]["application/json"]["schema"])
    result = validator(found, told["responses"]["200"]["content"]["application/json"]["schema"])
    for arguments, fits in (
        ({"who": "you"}, True), ({"who": "you", "times": 3}, True),
        ({"who": "you", "times": 4}, False), ({"who": ""}, False), ({}, False), ({"who": "you", "more": 1}, False),
    ):  # fmt: skip
        sent = {"arguments": arguments}
        answer = await gateway.http.post("/v1/call/greet", json=sent, headers={"Prefer": "wait=20"})
        assert (answer.status_code == 200) == body.is_valid(sent) == fits, (arguments, answer.text)
        if fits:
            assert answer.json()["result"] == {"text": "hello you"}
            result.validate(answer.json())
            trace = await gateway.http.post("/v1/call/greet?format=json", json=sent)
            result.validate(trace.json())
    end = {"type": "run", "status": "completed"}
    assert result.is_valid({**end, "result": {"text": "x"}}) and result.is_valid({"type": "run", "status": "failed"})
    assert not result.is_valid({**end, "result": {"text": 1}}) and not result.is_valid(end)
    assert not body.is_valid({}) and not body.is_valid({"arguments": {"who": "x"}, "other": 1})


async def test_it_is_kept_current_and_its_names_stay(gateway: Gateway) -> None:
    before = await gateway.http.get("/openapi.json")
    assert "/v1/call/greet" not in before.json()["paths"]
    same = {"If-None-Match": before.headers["etag"]}
    assert (await gateway.http.get("/openapi.json", headers=same)).status_code == 304
    first = await save_greet(gateway)
    after = await gateway.http.get("/openapi.json", headers=same)
    assert (after.status_code, after.headers["cache-control"]) == (200, "private, no-cache")
    second = await gateway.save("greet", [{"type": "return", "value": 1}])
    told = (await document(gateway))["paths"]["/v1/call/greet"]["post"]
    assert (told["operationId"], told["x-script-version"]) == ("call_greet", second) and first != second
    assert "required" not in told["requestBody"]["content"]["application/json"]["schema"]
    draft = (await gateway.http.post("/v1/drafts?from=greet&name=other")).json()
    assert "/v1/call/other" not in (await document(gateway))["paths"]
    await gateway.http.post(f"/v1/drafts/{draft['id']}:publish", headers={"If-Match": "*"})
    assert "/v1/call/other" in (await document(gateway))["paths"]


async def test_a_key_is_shown_what_it_may_call(gateway: Gateway) -> None:
    await save_greet(gateway)
    (await gateway.http.post("/v1/databases", json={"name": "crm"})).raise_for_status()
    await gateway.save("sales", [{"type": "return", "value": 1}], database="crm")
    await gateway.save(
        "mail",
        [{"type": "command", "command": "send_email", "args": {"to": "a@b.example", "subject": "x", "body": "y"}}],
    )
    await gateway.save("all", [{"type": "script", "script_name": "mail"}])

    async def shown(*scopes: str) -> set[str]:
        key = authorization(gateway.services.keys.create("anna", parse_scopes(scopes)))
        found = (await document(gateway, key))["paths"]
        assert "/v1/call/{name}" in found
        return {path.rpartition("/")[2] for path in found if path.startswith("/v1/call/")} - {"{name}"}

    assert await shown() == set()
    assert await shown("scripts:read", "scripts:write", "data:crm:read") == set()
    assert await shown("scripts:run:greet") == {"greet"}
    assert await shown("scripts:run") == {"greet"}
    assert await shown("scripts:run", "data:crm:read") == {"greet", "sales"}
    assert await shown("scripts:run", "tools:send_email") == {"greet", "mail", "all"}
    assert await shown("scripts:call:all") == {"all"}
    assert await shown("admin") == {"greet", "sales", "mail", "all"}
    nobody = await document(gateway, {"Authorization": ""})
    assert [path for path in nobody["paths"] if path.startswith("/v1/call/")] == ["/v1/call/{name}"]


async def test_a_key_that_is_none_is_told(gateway: Gateway) -> None:
    for wrong in ("Bearer sop_x_y", "Basic eDp5", "x"):
        answer = await gateway.http.get("/openapi.json", headers={"Authorization": wrong})
        problem_of(answer, 401, "not_authenticated")
        assert (await gateway.http.get("/livez", headers={"Authorization": wrong})).status_code == 200
