"""One record, written by its key over HTTP, and whether somebody else was faster."""

import asyncio
import hashlib
from typing import Any

import orjson
import pytest

from tests.gateway.conftest import Gateway, authorization, problem_of
from toolbox.access import parse_scopes

SHOP = "/v1/databases/shop"
ITEMS = f"{SHOP}/stores/items"
LINES = f"{SHOP}/stores/lines"


@pytest.fixture(autouse=True)
async def stores(gateway: Gateway) -> None:
    (await gateway.http.post("/v1/databases", json={"name": "shop"})).raise_for_status()
    items = {
        "name": "items",
        "primary_key": ["id"],
        "schema": {"type": "object", "properties": {"n": {"type": "integer"}}},
    }
    (await gateway.http.post(f"{SHOP}/stores", json=items)).raise_for_status()
    (await gateway.http.post(f"{ITEMS}/indexes", json={"fields": ["name"], "unique": True})).raise_for_status()
    lines = {"name": "lines", "primary_key": ["order", "line"]}
    (await gateway.http.post(f"{SHOP}/stores", json=lines)).raise_for_status()


async def test_a_record_is_added_read_changed_and_removed(gateway: Gateway) -> None:
    http = gateway.http
    added = await http.post(f"{ITEMS}/rows", json={"id": "a/b ü", "n": 1})
    assert (added.status_code, added.json()) == (201, {"key": ["a/b ü"], "outcome": "added"})
    path = added.headers["location"]
    read = await http.get(path)
    assert (read.json(), read.headers["etag"]) == ({"id": "a/b ü", "n": 1}, added.headers["etag"])
    assert (await http.get(path, headers={"If-None-Match": read.headers["etag"]})).status_code == 304
    problem_of(await http.post(f"{ITEMS}/rows", json={"id": "a/b ü"}), 409, "record_exists")
    changed = await http.patch(path, json={"n": 2, "more": None}, headers={"If-Match": read.headers["etag"]})
    assert (changed.status_code, changed.json()) == (200, {"key": ["a/b ü"], "outcome": "updated"})
    assert (await http.get(path)).json() == {"id": "a/b ü", "n": 2, "more": None}
    assert (await http.get(path)).headers["etag"] == changed.headers["etag"] != read.headers["etag"]
    replaced = await http.put(path, json={"n": 3, "id": "a/b ü"})
    assert (replaced.status_code, replaced.json()["outcome"]) == (200, "updated")
    assert (await http.get(path)).json() == {"n": 3, "id": "a/b ü"}
    assert (await http.delete(path)).status_code == 204
    problem_of(await http.get(path), 404, "record_not_found")
    problem_of(await http.delete(path), 404, "record_not_found")
    problem_of(await http.patch(path, json={"n": 1}), 404, "record_not_found")


@pytest.mark.parametrize("key", [7, -1.5, "7", True, "true", "[1]", "null"])
async def test_keys_of_every_kind(gateway: Gateway, key: Any) -> None:
    location = (await gateway.http.post(f"{ITEMS}/rows", json={"id": key, "n": 1})).headers["location"]
    assert (await gateway.http.get(location)).json()["id"] == key
    put = await gateway.http.put(location, json={"id": key, "n": 2})
    assert (put.status_code, put.json()) == (200, {"key": [key], "outcome": "updated"})
    assert (await gateway.http.delete(location)).status_code == 204


async def test_a_composite_key(gateway: Gateway) -> None:
    put = await gateway.http.put(f'{LINES}/rows/["a",1]', json={"order": "a", "line": 1, "n": 1})
    assert (put.status_code, put.json()) == (201, {"key": ["a", 1], "outcome": "added"})
    moved = await gateway.http.patch(f'{LINES}/rows/["a",1]', json={"line": 2})
    assert moved.json() == {"key": ["a", 2], "outcome": "updated"}
    assert (await gateway.http.get(f'{LINES}/rows/["a",2]')).json() == {"order": "a", "line": 2, "n": 1}
    problem_of(await gateway.http.get(f'{LINES}/rows/["a",1]'), 404, "record_not_found")


async def test_what_is_refused_changes_nothing(gateway: Gateway) -> None:
    http = gateway.http
    (await http.post(f"{ITEMS}/rows", json={"id": 1, "n": 1, "name": "x"})).raise_for_status()
    (await http.post(f"{ITEMS}/rows", json={"id": 2, "n": 1, "name": "y"})).raise_for_status()
    wrong = problem_of(await http.put(f"{ITEMS}/rows/1", json={"id": 2, "n": 1}), 422, "invalid_record")
    assert wrong["errors"][0]["pointer"] == "/id"
    problem_of(await http.put(f"{ITEMS}/rows/1", json={"n": 1}), 422, "invalid_record")
    problem_of(await http.put(f"{ITEMS}/rows/1", json={"id": 1, "n": "x"}), 422, "invalid_record")
    problem_of(await http.patch(f"{ITEMS}/rows/1", json={"n": "x"}), 422, "invalid_record")
    problem_of(await http.put(f"{ITEMS}/rows/1", json={"id": 1, "name": "y"}), 409, "unique_violation")
    problem_of(await http.patch(f"{ITEMS}/rows/1", json={"id": 2}), 409, "record_exists")
    problem_of(await http.post(f"{ITEMS}/rows", json=[1]), 422, "invalid_request")
    problem_of(await http.post(f"{SHOP}/stores/none/rows", json={"id": 1}), 404, "store_not_found")
    problem_of(await http.put("/v1/databases/system/stores/_keys/rows/x", json={"id": "x"}), 403, "reserved_store")
    rows = (await http.get(f"{ITEMS}/rows")).json()["data"]
    assert rows == [{"id": 1, "n": 1, "name": "x"}, {"id": 2, "n": 1, "name": "y"}]


async def test_nobody_writes_over_what_they_have_not_seen(gateway: Gateway) -> None:
    http, path = gateway.http, f"{ITEMS}/rows/1"
    problem_of(await http.put(path, json={"id": 1}, headers={"If-Match": "*"}), 412, "precondition_failed")
    first = await http.put(path, json={"id": 1, "n": 0}, headers={"If-None-Match": "*"})
    assert first.status_code == 201
    problem_of(await http.put(path, json={"id": 1}, headers={"If-None-Match": "*"}), 412, "precondition_failed")
    seen = {"If-Match": first.headers["etag"]}
    answers = await asyncio.gather(*(http.patch(path, json={"n": n + 1}, headers=seen) for n in range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 7
    now = (await http.get(path)).headers["etag"]
    late = problem_of(await http.delete(path, headers=seen), 412, "precondition_failed")
    assert late["current"] == {"etag": now}
    assert (await http.delete(path, headers={"If-Match": f'"x", {now}'})).status_code == 204
    problem_of(await http.delete(path, headers=seen), 412, "precondition_failed")


async def test_who_may_write_reads_nothing_by_it(gateway: Gateway) -> None:
    (await gateway.http.post(f"{ITEMS}/rows", json={"id": 1, "n": 41, "name": "canary"})).raise_for_status()
    key = gateway.services.keys.create("writer", parse_scopes(["data:shop:write"]))
    answers = [
        await gateway.http.request(method, f"{ITEMS}/rows/1", json=body, headers=authorization(key))
        for method, body in (("PATCH", {"n": 1}), ("PUT", {"id": 1, "name": "other"}))
    ]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert "canary" not in "".join(answer.text for answer in answers)
    problem_of(await gateway.http.get(f"{ITEMS}/rows/1", headers=authorization(key)), 403, "forbidden")


async def test_the_tag_of_a_record_tells_nothing_of_it(gateway: Gateway) -> None:
    record = {"id": 1, "n": 41}
    added = await gateway.http.post(f"{ITEMS}/rows", json=record)
    text = orjson.dumps(record, option=orjson.OPT_SORT_KEYS)
    guesses = [hashlib.new(name, text).hexdigest() for name in ("sha256", "sha1", "md5")]
    assert not any(added.headers["etag"].strip('"') in guess for guess in guesses)
    weak = {"If-Match": f"W/{added.headers['etag']}"}
    problem_of(await gateway.http.patch(f"{ITEMS}/rows/1", json={"n": 1}, headers=weak), 412, "precondition_failed")


async def test_a_dry_run_of_a_record_tells_and_keeps_nothing(gateway: Gateway) -> None:
    http, dry = gateway.http, {"dry_run": "true"}
    first = await http.post(f"{ITEMS}/rows", json={"id": 1, "n": 1, "name": "x"})
    (await http.post(f"{ITEMS}/rows", json={"id": 2, "n": 1, "name": "y"})).raise_for_status()
    version = (await http.get(SHOP)).json()["version"]
    path, tag = f"{ITEMS}/rows/1", first.headers["etag"]
    for method, at, body, outcome in (
        ("POST", f"{ITEMS}/rows", {"id": 3}, "added"),
        ("PUT", f"{ITEMS}/rows/3", {"id": 3}, "added"),
        ("PUT", path, {"id": 1}, "updated"),
        ("PATCH", path, {"n": 2}, "updated"),
        ("DELETE", path, None, "deleted"),
    ):
        answer = await http.request(method, at, json=body, params=dry)
        assert answer.status_code == 200, answer.text
        assert answer.json() == {"dry_run": True, "key": [1 if at == path else 3], "outcome": outcome}
        assert not {"etag", "location"} & answer.headers.keys()
    moved = await http.patch(path, json={"id": 7}, params=dry, headers={"If-Match": tag})
    assert moved.json()["key"] == [7]
    problem_of(await http.post(f"{ITEMS}/rows", json={"id": 1}, params=dry), 409, "record_exists")
    problem_of(await http.put(path, json={"id": 1, "name": "y"}, params=dry), 409, "unique_violation")
    problem_of(await http.patch(path, json={"n": "x"}, params=dry), 422, "invalid_record")
    problem_of(await http.delete(path, params=dry, headers={"If-Match": '"x"'}), 412, "precondition_failed")
    problem_of(await http.delete(f"{ITEMS}/rows/9", params=dry), 404, "record_not_found")
    misspelt = problem_of(await http.delete(path, params={"dry-run": "true"}), 422, "invalid_request")
    assert [found["code"] for found in misspelt["errors"]] == ["unknown_field"]
    assert (await http.get(f"{ITEMS}/rows")).json()["data"] == [
        {"id": 1, "n": 1, "name": "x"},
        {"id": 2, "n": 1, "name": "y"},
    ]
    assert (await http.get(SHOP)).json()["version"] == version
    routes = [entry["route"] for entry in gateway.services.notes.entries(limit=100)[0] if entry["status"] == 200]
    assert routes == []
    assert (await http.delete(path, params={"dry_run": "false"})).status_code == 204


async def test_no_join_reaches_the_systems_own_stores(gateway: Gateway) -> None:
    outbox = "/v1/databases/system/stores/_outbox"
    keys = {"right": "_keys", "on": {"id": "id"}, "type": "full"}
    problem_of(await gateway.http.post(f"{outbox}:join", json=keys), 403, "reserved_store")
    asked = {"values": {"n": "count"}, "join": keys}
    problem_of(await gateway.http.post(f"{outbox}:aggregate", json=asked), 403, "reserved_store")
