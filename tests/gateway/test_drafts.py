"""Drafts over HTTP: nobody writes over what they have not seen, a draft tells what is wrong with it, and only a right one is published."""

import asyncio
import json
from typing import Any

import httpx2
import pytest

from tests.gateway.conftest import Gateway, authorization, problem_of
from toolbox.access import parse_scopes

SAY = {"type": "say", "name": "greet", "message": "hello"}
GREET: dict[str, Any] = {"name": "greet", "steps": [SAY]}


def if_match(answer: httpx2.Response) -> dict[str, str]:
    return {"If-Match": answer.headers["etag"]}


async def made(gateway: Gateway, script: dict[str, Any] = GREET) -> httpx2.Response:
    answer = await gateway.http.post("/v1/drafts", json=script)
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"/v1/drafts/{answer.json()['id']}"
    return answer


async def patched(gateway: Gateway, path: str, revision: str, patch: Any, kind: str = "json-patch") -> httpx2.Response:
    headers = {"If-Match": revision, "Content-Type": f"application/{kind}+json"}
    return await gateway.http.patch(path, content=json.dumps(patch), headers=headers)


async def test_a_life_of_a_draft(gateway: Gateway) -> None:
    http = gateway.http
    wrong = {"name": "greet", "steps": [SAY, {"type": "say", "message": "{{ nobody }}"}]}
    created = await made(gateway, wrong)
    path, told = created.headers["location"], created.json()
    assert (created.headers["etag"], told["revision"], told["base"], told["ok"], told["script"]) == (
        '"1"',
        1,
        None,
        False,
        wrong,
    )
    assert [problem["pointer"] for problem in told["problems"]] == ["/steps/1/message"]
    checked = (await http.post(f"{path}:check")).json()
    assert (checked["revision"], checked["problems"]) == (1, told["problems"])
    refused = problem_of(await http.post(f"{path}:publish", headers=if_match(created)), 422, "script_invalid")
    assert [found["pointer"] for found in refused["errors"]] == ["/steps/1/message"]

    mend = [
        {"op": "replace", "path": "/steps/1/message", "value": "bye"},
        {"op": "move", "from": "/steps/1", "path": "/steps/0"},
    ]
    mended = await patched(gateway, path, '"1"', mend)
    assert (mended.headers["etag"], mended.json()["ok"]) == ('"2"', True)
    assert [step["message"] for step in mended.json()["script"]["steps"]] == ["bye", "hello"]
    described = await patched(gateway, path, '"2"', {"description": "It greets."}, "merge-patch")
    diff = (await http.get(f"{path}/diff", params={"from": 1})).json()
    assert diff["text"] == [
        "step 1 (say) stands at the beginning now",
        'step 1 (say): message is "bye", and was "{{ nobody }}"',
        'the script: description is "It greets.", and was not set',
    ]
    assert [change["kind"] for change in diff["changes"]].count("moved") == 1

    published = await http.post(f"{path}:publish", headers=if_match(described))
    assert published.status_code == 201
    version = published.json()["version"]
    assert published.headers["location"] == f"/v1/scripts/greet?version={version}"
    after = await http.get(path)
    assert (after.json()["base"], after.json()["revision"]) == (version, published.json()["draft"]["revision"])
    assert (await http.get(f"{path}/diff")).json()["changes"] == []
    again = await http.post(f"{path}:publish", headers=if_match(after))
    assert (again.status_code, again.json()["number"], again.json()["draft"]["revision"]) == (
        201,
        1,
        after.json()["revision"],
    )

    assert (await http.delete(path, headers=if_match(after))).status_code == 204
    problem_of(await http.get(path), 404, "draft_not_found")
    assert (await http.get("/v1/scripts/greet")).json()["version"] == version


async def test_a_draft_of_a_version(gateway: Gateway) -> None:
    http = gateway.http
    first = await gateway.save("greet", [SAY])
    await gateway.save("greet", [{**SAY, "message": "second"}])
    latest = (await http.post("/v1/drafts?from=greet")).json()
    assert latest["script"]["steps"][0]["message"] == "second" and latest["name"] == "greet"
    other = (await http.post("/v1/drafts?from=greet&version=1&name=other")).json()
    assert (other["base"], other["name"], other["script"]["name"]) == (first, "other", "other")
    assert (await http.get(f"/v1/drafts/{other['id']}/diff")).json()["text"] == [
        'the script: name is "other", and was "greet"'
    ]
    listed = (await http.get("/v1/drafts")).json()["data"]
    assert sorted(draft["id"] for draft in listed) == sorted([latest["id"], other["id"]])
    assert [draft["id"] for draft in (await http.get("/v1/drafts?script=other")).json()["data"]] == [other["id"]]
    problem_of(await http.post("/v1/drafts?from=gret"), 404, "script_not_found")
    problem_of(await http.post("/v1/drafts?from=greet&version=7"), 404, "version_not_found")
    problem_of(await http.post("/v1/drafts?from=greet", json=GREET), 422, "invalid_field")
    problem_of(await http.post("/v1/drafts?name=greet", json=GREET), 422, "invalid_field")
    problem_of(await http.post("/v1/drafts?from=greet&name=a%20b"), 422, "script_invalid")


async def test_changes_say_which_revision_they_are_for(gateway: Gateway) -> None:
    http, created = gateway.http, await made(gateway)
    path = created.headers["location"]
    patch = {"Content-Type": "application/json-patch+json"}
    for answer in (
        await http.put(path, json=GREET),
        await http.patch(path, content="[]", headers=patch),
        await http.delete(path),
        await http.post(f"{path}:publish"),
    ):
        assert problem_of(answer, 428, "precondition_required")["errors"][0]["pointer"] == "If-Match"
    second = await http.put(path, json={**GREET, "description": "second"}, headers=if_match(created))
    stale = '"1"'
    for answer in (
        await http.put(path, json=GREET, headers={"If-Match": stale}),
        await http.patch(path, content="[]", headers={**patch, "If-Match": stale}),
        await http.delete(path, headers={"If-Match": stale}),
        await http.post(f"{path}:publish", headers={"If-Match": stale}),
    ):
        problem = problem_of(answer, 412, "precondition_failed")
        assert problem["current"].items() >= {"revision": 2, "etag": '"2"'}.items()
        assert problem["diff"]["text"] == ['the script: description is "second", and was not set']
    for other in ('W/"2"', "2", '"99999999999999999999"', '"x"', "", '"02"'):
        problem = problem_of(await http.put(path, json=GREET, headers={"If-Match": other}), 412, "precondition_failed")
        assert problem["current"]["revision"] == 2 and "diff" not in problem
    same = await http.put(path, json={**GREET, "description": "second"}, headers=if_match(second))
    assert same.headers["etag"] == '"2"'
    third = await http.put(path, json=GREET, headers={"If-Match": '"7", "2"'})
    assert third.headers["etag"] == '"3"'
    assert (await http.put(path, json={**GREET, "description": "4"}, headers={"If-Match": "*"})).headers[
        "etag"
    ] == '"4"'
    assert (await http.get(path)).json()["script"]["description"] == "4"


async def test_of_two_editors_one_wins(gateway: Gateway) -> None:
    created = await made(gateway)
    path = created.headers["location"]
    for revision in range(1, 6):
        headers = {"If-Match": f'"{revision}"'}
        edits = [{**GREET, "description": f"{revision} by {who}"} for who in ("anna", "ben", "cy")]
        answers = await asyncio.gather(*(gateway.http.put(path, json=edit, headers=headers) for edit in edits))
        assert sorted(answer.status_code for answer in answers) == [200, 412, 412]
        winner = next(answer for answer in answers if answer.status_code == 200)
        assert (await gateway.http.get(path)).json()["script"] == winner.json()["script"]
        for loser in (answer for answer in answers if answer.status_code == 412):
            assert winner.json()["script"]["description"] in loser.json()["diff"]["text"][0]


async def test_reading_what_one_has(gateway: Gateway) -> None:
    http, created = gateway.http, await made(gateway)
    path = created.headers["location"]
    same = await http.get(path, headers={"If-None-Match": '"1"'})
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", '"1"')
    await http.put(path, json={**GREET, "description": "x"}, headers=if_match(created))
    for other in ('"1"', '"3", "4"'):
        assert (await http.get(path, headers={"If-None-Match": other})).status_code == 200
    for tags in ('"1", W/"2"', "*"):
        assert (await http.get(path, headers={"If-None-Match": tags})).status_code == 304


async def test_what_it_was_can_be_had_back(gateway: Gateway) -> None:
    http, created = gateway.http, await made(gateway)
    path = created.headers["location"]
    changed = await http.put(path, json={**GREET, "description": "worse"}, headers=if_match(created))
    revisions = (await http.get(f"{path}/revisions")).json()["data"]
    assert [found["revision"] for found in revisions] == [2, 1]
    first = await http.get(f"{path}/revisions/1")
    assert "immutable" in first.headers["cache-control"] and first.headers["etag"] == '"1"'
    assert (await http.get(f"{path}/revisions/1", headers={"If-None-Match": '"1"'})).status_code == 304
    undone = await http.put(path, json=first.json()["script"], headers=if_match(changed))
    assert (undone.json()["revision"], undone.json()["script"]) == (3, GREET)
    problem_of(await http.get(f"{path}/revisions/9"), 404, "revision_not_found")
    problem_of(await http.get(f"{path}/diff?from=9"), 404, "revision_not_found")


async def test_what_cannot_be_a_draft_or_a_patch(gateway: Gateway) -> None:
    http, created = gateway.http, await made(gateway)
    path = created.headers["location"]
    for body in ("[]", "{", '{"steps": []}', '{"name": "a b"}', '{"name": "a", "name": "b"}', ""):
        headers = {"Content-Type": "application/json", **if_match(created)}
        problem_of(await http.post("/v1/drafts", content=body, headers=headers), 422, "script_invalid")
        problem_of(await http.put(path, content=body, headers=headers), 422, "script_invalid")
    found = problem_of(await patched(gateway, path, '"1"', [{"op": "remove", "path": "/steps/4"}]), 422, "patch_failed")
    assert found["errors"][0]["pointer"] == "/0/path"
    problem_of(await patched(gateway, path, '"1"', {"name": None}, "merge-patch"), 422, "script_invalid")
    problem_of(await patched(gateway, path, '"1"', 7, "merge-patch"), 422, "script_invalid")
    problem_of(await patched(gateway, path, '"1"', [], "xml"), 415, "unsupported_media_type")
    for content, code in (
        (b"[", "not_json"),
        (b"\xff", "not_json"),
        (b'[{"op": "add", "op": "add"}]', "duplicate_key"),
    ):
        headers = {"Content-Type": "application/json-patch+json", "If-Match": "*"}
        problem_of(await http.patch(path, content=content, headers=headers), 422, code)
    assert (await http.get(path)).headers["etag"] == '"1"'


async def test_who_may(gateway: Gateway) -> None:
    (await gateway.http.post("/v1/databases", json={"name": "crm"})).raise_for_status()
    await gateway.save("secret", [SAY])
    created = await made(gateway)
    path = created.headers["location"]

    def key(*scopes: str) -> dict[str, str]:
        return {**authorization(gateway.services.keys.create("anna", parse_scopes(scopes))), **if_match(created)}

    mine, others = key("scripts:write:greet"), key("scripts:write:other", "scripts:read")
    http = gateway.http
    assert (await http.get(path, headers=mine)).json()["script"] == GREET
    assert [draft["id"] for draft in (await http.get("/v1/drafts", headers=mine)).json()["data"]] == [
        created.json()["id"]
    ]
    assert (await http.get("/v1/drafts", headers=others)).json()["data"] == []
    patch = {"Content-Type": "application/json-patch+json"}
    for answer in (
        await http.get(path, headers=others),
        await http.put(path, json=GREET, headers=others),
        await http.patch(path, content="[]", headers={**others, **patch}),
        await http.delete(path, headers=others),
        await http.post(f"{path}:check", headers=others),
        await http.post(f"{path}:publish", headers=others),
        await http.get(f"{path}/diff", headers=others),
        await http.get(f"{path}/revisions", headers=others),
        await http.get(f"{path}/revisions/1", headers=others),
        await http.post("/v1/drafts", json=GREET, headers=others),
        await http.post("/v1/drafts?from=secret", headers=others),
        await http.post("/v1/drafts?from=secret&name=greet", headers=mine),
        await http.put(path, json={**GREET, "name": "other"}, headers=mine),
        await http.put(path, json={**GREET, "database": "crm"}, headers=mine),
    ):
        problem_of(answer, 403, "forbidden")
    assert (await http.get(path)).json()["script"] == GREET
    assert (await http.post(f"{path}:publish", headers=mine)).status_code == 201


async def test_the_audit_log_has_who_changed_what(gateway: Gateway) -> None:
    created = await made(gateway)
    await gateway.http.post(f"{created.headers['location']}:publish", headers=if_match(created))
    entries = (await gateway.http.get("/v1/audit")).json()["data"]
    told = [(entry["route"], entry["target"]) for entry in entries if "draft" in entry["target"]]
    target = {"draft": created.json()["id"], "script": "greet"}
    assert told == [("/v1/drafts/{draft_id}:publish", target), ("/v1/drafts", target)]


async def test_versions_never_change(gateway: Gateway) -> None:
    http, version = gateway.http, await gateway.save("greet", [SAY])
    latest = await http.get("/v1/scripts/greet")
    assert latest.headers["cache-control"] == "no-store"
    for name in (version, "1"):
        found = await http.get(f"/v1/scripts/greet/versions/{name}")
        assert found.json() == latest.json()
        assert found.headers["etag"] == f'"{version}"'
        assert found.headers["cache-control"] == "private, max-age=31536000, immutable"
        same = await http.get(f"/v1/scripts/greet/versions/{name}", headers={"If-None-Match": f'"{version}"'})
        assert (same.status_code, same.headers["cache-control"]) == (304, found.headers["cache-control"])
    for other in (version[:12], "latest", "2"):
        problem_of(await http.get(f"/v1/scripts/greet/versions/{other}"), 404, "version_not_found")


async def test_drafts_come_in_pages(gateway: Gateway) -> None:
    ids = {(await made(gateway, {**GREET, "name": f"s{number % 2}"})).json()["id"] for number in range(5)}
    found, params = [], {"limit": "2"}
    while True:
        page = (await gateway.http.get("/v1/drafts", params=params)).json()
        assert len(page["data"]) <= 2 and page["has_more"] == (page["next_cursor"] is not None)
        found += [draft["id"] for draft in page["data"]]
        if page["next_cursor"] is None:
            break
        params["cursor"] = page["next_cursor"]
    assert sorted(found) == sorted(ids)
    other = {"cursor": params["cursor"], "script": "s1"}
    problem_of(await gateway.http.get("/v1/drafts", params=other), 422, "invalid_cursor")
    only = authorization(gateway.services.keys.create("anna", parse_scopes(["scripts:write:s1"])))
    page = (await gateway.http.get("/v1/drafts", params={"limit": 2}, headers=only)).json()
    assert ({draft["name"] for draft in page["data"]}, page["next_cursor"]) == ({"s1"}, None)


async def test_too_many_drafts(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolbox.drafts.PER_SCRIPT", 1)
    await made(gateway)
    refused = problem_of(await gateway.http.post("/v1/drafts", json=GREET), 409, "too_many_drafts")
    assert "1 drafts of the script 'greet'" in refused["detail"]
    assert "DELETE" in refused["hint"]
