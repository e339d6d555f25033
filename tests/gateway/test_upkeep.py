"""Versions, changes, restoring stores, checking and compacting over HTTP, and what is told when a version is gone."""

import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

import btree
import btree.turns
from btree import BTreeError, Database
from gateway.app import create_app
from gateway.problems import ApiError, translate
from gateway.times import iso, seconds_of
from query import drop_store, open_store
from tests.gateway.conftest import Gateway, authorization, problem_of

SHOP = "/v1/databases/shop"
ITEMS = f"{SHOP}/stores/items"


async def make(gateway: Gateway) -> Database:
    """A database `shop` with an empty store `items`."""
    await gateway.http.post("/v1/databases", json={"name": "shop"})
    await gateway.http.post(f"{SHOP}/stores", json={"name": "items", "primary_key": ["id"]})
    return gateway.services.databases.open("shop")


def write(database: Database, *records: dict[str, Any], gone: tuple[Any, ...] = ()) -> int:
    """One commit; its version."""

    def work(transaction: Any) -> None:
        store = open_store(transaction, "items")
        for record in records:
            store.upsert(record)
        for key in gone:
            store.delete(key)

    database.transact(work)
    return database.head().seq


async def all_pages(http: httpx2.AsyncClient, path: str, **params: Any) -> list[dict[str, Any]]:
    """Every page of a listing."""
    pages = [(await http.get(path, params=params)).json()]
    while pages[-1]["has_more"]:
        pages.append((await http.get(path, params={**params, "cursor": pages[-1]["next_cursor"]})).json())
    return pages


async def test_a_database_tells_the_room_that_it_takes(gateway: Gateway) -> None:
    opened = await make(gateway)
    pinned = opened.pin()
    shown = (await gateway.http.get(SHOP)).json()
    assert shown["space"] == opened.info().to_dict()
    assert (shown["space"]["pins"], shown["space"]["head"]) == (1, shown["version"])
    assert shown["space"]["file_bytes"] >= shown["space"]["pages"] * 100
    assert datetime.fromisoformat(shown["committed_at"]).utcoffset() == datetime.now(UTC).utcoffset()
    opened.unpin(pinned.id)


async def test_versions_page_by_page(gateway: Gateway) -> None:
    opened = await make(gateway)
    for number in range(9):
        write(opened, {"id": number})
    known = [(found.seq, iso(found.committed_at), found.transaction) for found in opened.versions(100)]
    assert len(known) == 11 and len(known[0][2]) > 8
    for limit in (1, 4, 10, 11, 12):
        pages = await all_pages(gateway.http, f"{SHOP}/versions", limit=limit)
        told = [tuple(row.values()) for page in pages for row in page["data"]]
        assert (told, len(pages)) == (known, -(-11 // limit))
    first = (await gateway.http.get(f"{SHOP}/versions", params={"limit": 4})).json()
    write(opened, {"id": 99})
    opened.pin(3)
    opened.sweep(retention_seconds=0)
    rest = (await gateway.http.get(f"{SHOP}/versions", params={"cursor": first["next_cursor"]})).json()
    assert ([row["seq"] for row in rest["data"]], rest["has_more"]) == ([3], False)
    forged = await gateway.http.get(f"{SHOP}/versions", params={"cursor": first["next_cursor"][:-3]})
    problem_of(forged, 422, "invalid_cursor")
    problem_of(await gateway.http.get("/v1/databases/system/versions"), 403, "reserved_database")
    problem_of(await gateway.http.get("/v1/databases/shp/versions"), 404, "database_not_found")


async def test_changes_of_a_store_page_by_page(gateway: Gateway) -> None:
    opened = await make(gateway)
    old = write(opened, *({"id": number, "n": 0} for number in range(100)))
    new = write(opened, *({"id": number, "n": 1} for number in range(90, 120)), gone=(3, 5))
    told: list[dict[str, Any]] = []
    params = {"from": old, "limit": 7}
    page = (await gateway.http.get(f"{ITEMS}/changes", params=params)).json()
    assert (page["from"], page["to"]) == (old, new)
    while True:
        told += page["data"]
        if page["next_cursor"] is None:
            break
        write(opened, {"id": 1000, "n": 0}, {"id": 4, "n": 7})
        sealed = page["next_cursor"]
        page = (await gateway.http.get(f"{ITEMS}/changes", params={**params, "cursor": sealed})).json()
        assert page["to"] == new
    assert [row["key"] for row in told] == [[3], [5], *([number] for number in range(90, 120))]
    assert [row["change"] for row in told] == ["deleted"] * 2 + ["updated"] * 10 + ["added"] * 20
    assert told[0] == {"key": [3], "change": "deleted", "before": {"id": 3, "n": 0}, "after": None}
    assert (told[2]["before"], told[2]["after"]) == ({"id": 90, "n": 0}, {"id": 90, "n": 1})
    other = await gateway.http.get(f"{ITEMS}/changes", params={"from": old, "to": new, "cursor": sealed})
    problem_of(other, 422, "invalid_cursor")
    opened.sweep(retention_seconds=0)
    gone = await gateway.http.get(f"{ITEMS}/changes", params={**params, "cursor": sealed})
    assert problem_of(gone, 404, "version_not_found")["hint"] == "begin the listing again, without a cursor"
    begun = problem_of(await gateway.http.get(f"{ITEMS}/changes", params=params), 404, "version_not_found")
    assert begun["detail"] == f"version {old} is not kept any more" and "the newest is" in begun["hint"]


async def test_versions_by_time(gateway: Gateway) -> None:
    opened = await make(gateway)
    old = write(opened, {"id": 1})
    new = write(opened, {"id": 2})
    times = {row["seq"]: row["committed_at"] for row in (await gateway.http.get(f"{SHOP}/versions")).json()["data"]}
    for first, last in ((times[old], times[new]), (str(old), times[new]), (times[old].replace("+00:00", "Z"), None)):
        params = {"from": first, **({"to": last} if last else {})}
        found = (await gateway.http.get(f"{ITEMS}/changes", params=params)).json()
        assert (found["from"], found["to"], len(found["data"])) == (old, new, 1)
    unescaped = await gateway.http.get(f"{ITEMS}/changes?from={times[old]}")
    assert unescaped.json()["from"] == old
    for bad in ("yesterday", "", "-1", "1.5", "2026-11-21T08:30:00", "9" * 30):
        answer = problem_of(await gateway.http.get(f"{ITEMS}/changes", params={"from": bad}), 422, "invalid_field")
        assert answer["errors"][0]["pointer"] == "?from"
    early = await gateway.http.get(f"{ITEMS}/changes", params={"from": "2001-01-01T00:00:00Z"})
    problem_of(early, 404, "version_not_found")
    later = {"from": 99}
    problem_of(await gateway.http.get(f"{ITEMS}/changes", params=later), 404, "version_not_found")
    problem_of(await gateway.http.get(f"{ITEMS}/changes"), 422, "invalid_request")
    missing = await gateway.http.get(f"{SHOP}/stores/nope/changes", params={"from": old})
    problem_of(missing, 404, "store_not_found")
    closed = await gateway.http.get("/v1/databases/system/stores/_keys/changes", params={"from": 1})
    problem_of(closed, 403, "reserved_database")


@given(st.floats(min_value=0, max_value=4e9))
def test_a_time_that_is_told_finds_its_version(seconds: float) -> None:
    assert 0 <= seconds_of(iso(seconds), "?from") - seconds < 2e-6


def test_times() -> None:
    assert iso(0.0000001) == "1970-01-01T00:00:00.000001+00:00"
    assert seconds_of("1970-01-01T01:00:00+01:00", "/at") == seconds_of("1970-01-01T00:00:00Z", "/at") == 0
    with pytest.raises(ApiError, match="has no time zone"):
        seconds_of("1970-01-01 00:00", "/at")


async def test_a_store_is_restored(gateway: Gateway) -> None:
    opened = await make(gateway)
    before = opened.head().seq
    old = write(opened, {"id": 1, "n": "a"}, {"id": 2})
    at = iso(opened.head().committed_at)
    head = write(opened, {"id": 1, "n": "b"}, {"id": 3}, gone=(2,))
    post = gateway.http.post
    counted = (await post(f"{ITEMS}:restore", json={"version": old, "dry_run": True})).json()
    assert counted == {"changed": 3, "version": head, "restored": old, "dry_run": True}
    assert opened.head().seq == head
    done = (await post(f"{ITEMS}:restore", json={"at": at})).json()
    assert done == {"changed": 3, "version": head + 1, "restored": old, "dry_run": False}
    assert (await gateway.http.get(f"{ITEMS}/rows")).json()["data"] == [{"id": 1, "n": "a"}, {"id": 2}]
    again = (await post(f"{ITEMS}:restore", json={"version": old})).json()
    assert (again["changed"], again["version"]) == (0, head + 1)
    opened.transact(lambda transaction: drop_store(transaction, "items"))
    problem_of(await gateway.http.get(f"{ITEMS}/rows"), 404, "store_not_found")
    assert (await post(f"{ITEMS}:restore", json={"version": head})).json()["changed"] == 2
    assert (await gateway.http.get(f"{ITEMS}/rows")).json()["data"] == [{"id": 1, "n": "b"}, {"id": 3}]
    assert (await post(f"{ITEMS}:restore", json={"version": before})).json()["changed"] == 2
    assert (await gateway.http.get(ITEMS)).json()["count"] == 0


async def test_restores_that_are_refused(gateway: Gateway) -> None:
    opened = await make(gateway)
    head = write(opened, {"id": 1})
    post = gateway.http.post
    late = problem_of(await post(f"{ITEMS}:restore", json={"version": 1}), 404, "store_not_found")
    assert late["detail"] == "version 1 has no store 'items': it was made later, or dropped before"
    problem_of(await post(f"{ITEMS}:restore", json={"version": head + 1}), 404, "version_not_found")
    problem_of(await post(f"{ITEMS}:restore", json={"at": "2001-01-01T00:00:00Z"}), 404, "version_not_found")
    for bad in ({}, {"version": 1, "at": "2001-01-01T00:00:00Z"}, {"at": "now"}):
        problem_of(await post(f"{ITEMS}:restore", json=bad), 422, "invalid_field")
    for bad in ({"version": 0}, {"version": 1 << 70}, {"version": "x"}, {"version": 1, "dryrun": True}):
        problem_of(await post(f"{ITEMS}:restore", json=bad), 422, "invalid_request")
    problem_of(await post(f"{SHOP}/stores/_stores:restore", json={"version": 1}), 403, "reserved_store")
    problem_of(await post("/v1/databases/system/stores/x:restore", json={"version": 1}), 403, "reserved_database")
    assert opened.head().seq == head


async def test_a_check(gateway: Gateway) -> None:
    opened = await make(gateway)
    write(opened, *({"id": number, "text": "x" * 100} for number in range(1000)))
    report = (await gateway.http.post(f"{SHOP}:check")).json()
    assert (report["ok"], report["keys"], report["versions"], report["problems"]) == (True, 1001, 3, [])
    assert report["pages"] > 10
    ((page, body),) = opened.pager.read("SELECT id, body FROM page ORDER BY length(body) DESC LIMIT 1")
    with opened.pager.write() as writer:
        writer.execute("UPDATE page SET body = ? WHERE id = ?", (bytes([*body[:-1], body[-1] ^ 1]), page))
    answer = await gateway.http.post(f"{SHOP}:check")
    assert (answer.status_code, answer.json()["ok"]) == (200, False)
    assert any(str(page) in problem for problem in answer.json()["problems"])
    problem_of(await gateway.http.get(f"{SHOP}/backup"), 500, "corrupted")
    problem_of(await gateway.http.post("/v1/databases/shp:check"), 404, "database_not_found")


async def test_compacting_gives_room_back(gateway: Gateway) -> None:
    opened = await make(gateway)
    for number in range(5):
        write(opened, *({"id": key, "text": f"{number}" * 300} for key in range(1000)))
    kept = (await gateway.http.post(f"{SHOP}:compact")).json()
    assert kept["swept"]["versions"] == 0 and opened.info().versions == 7
    assert (await gateway.http.post(f"{SHOP}:compact", json={})).json()["swept"]["versions"] == 0
    done = (await gateway.http.post(f"{SHOP}:compact", json={"retention_seconds": 0})).json()
    assert (done["swept"]["versions"], opened.info().versions) == (6, 1)
    assert done["swept"]["pages"] > 100
    assert done["bytes_after"] < done["bytes_before"] / 2
    assert done["bytes_after"] == opened.info().file_bytes
    assert (await gateway.http.post(f"{SHOP}:check")).json()["ok"] is True
    for bad in (-1, "x"):
        answer = await gateway.http.post(f"{SHOP}:compact", json={"retention_seconds": bad})
        problem_of(answer, 422, "invalid_request")


async def test_without_a_wish_the_settings_say_how_much_history_is_kept(gateway: Gateway) -> None:
    opened = await make(gateway)
    opened._clock = lambda: time.time() + 1000
    write(opened, {"id": 1})
    opened._clock = lambda: time.time() + 3000
    transport = httpx2.ASGITransport(create_app(replace(gateway.services, retention_seconds=2500)))
    async with httpx2.AsyncClient(
        transport=transport, base_url="http://gateway", headers=authorization(gateway.key)
    ) as http:
        assert (await http.post(f"{SHOP}:compact", json={})).json()["swept"]["versions"] == 1
    assert [version.seq for version in opened.versions()] == [3, 2]


async def test_a_listing_whose_version_is_gone_has_to_begin_again(gateway: Gateway) -> None:
    opened = await make(gateway)
    write(opened, *({"id": key, "text": "x" * 200} for key in range(1000)))
    first = (await gateway.http.get(f"{ITEMS}/rows", params={"limit": 10})).json()
    write(opened, {"id": 5000})
    following = {"limit": 10, "cursor": first["next_cursor"]}
    assert (await gateway.http.get(f"{ITEMS}/rows", params=following)).json()["data"][0]["id"] == 10
    await gateway.http.post(f"{SHOP}:compact", json={"retention_seconds": 0})
    answer = await gateway.http.get(f"{ITEMS}/rows", params=following)
    gone = problem_of(answer, 404, "version_not_found")
    assert (gone["hint"], gone["errors"][0]["pointer"]) == ("begin the listing again, without a cursor", "?cursor")
    assert f"version {first['version']} is not kept any more" in gone["detail"]
    pages = await all_pages(gateway.http, f"{ITEMS}/rows", limit=1000)
    assert len([row for page in pages for row in page["data"]]) == 1001


async def test_a_version_that_goes_while_a_page_is_read(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind the version's own row: its pages are given back when the listing stands between two of them."""
    opened = await make(gateway)
    write(opened, *({"id": key, "text": "x" * 200} for key in range(1000)))
    first = (await gateway.http.get(f"{ITEMS}/rows", params={"limit": 10})).json()
    write(opened, *({"id": key, "text": "y" * 200} for key in range(1000)))
    taken = Database.snapshot

    def snapshot(database: Database, seq: int | None = None) -> btree.Snapshot:
        found = taken(database, seq)
        database.sweep(retention_seconds=0)
        database.cache._nodes.clear()
        return found

    monkeypatch.setattr(Database, "snapshot", snapshot)
    answer = await gateway.http.get(f"{ITEMS}/rows", params={"limit": 900, "cursor": first["next_cursor"]})
    problem_of(answer, 404, "version_not_found")


async def test_a_database_that_is_busy_is_told_as_such(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = await make(gateway)
    monkeypatch.setattr(btree.turns, "SECONDS", 0.05)
    with opened.pager.write():
        began = time.monotonic()
        answer = await gateway.http.post(
            f"{ITEMS}/rows:import", content=json.dumps({"id": 1}), headers={"Content-Type": "application/x-ndjson"}
        )
        assert time.monotonic() - began < 10
    assert problem_of(answer, 503, "busy")["retryable"] is True
    assert answer.headers["retry-after"] == "1"


STATUSES = {
    "read_only": (500, False),
    "closed": (503, True),
    "busy": (503, True),
    "conflict": (409, True),
    "disk_full": (507, True),
    "corrupted": (500, False),
    "key_too_large": (422, False),
    "value_too_large": (422, False),
    "version_not_found": (404, False),
    "pin_not_found": (404, False),
    "savepoint_not_found": (404, False),
    "transaction_not_found": (404, False),
    "tree_not_found": (404, False),
}


def engine_errors(kind: type[BTreeError] = BTreeError) -> dict[str, type[BTreeError]]:
    found = {kind.code: kind}
    for below in kind.__subclasses__():
        found |= engine_errors(below)
    return found


@pytest.mark.parametrize("code", STATUSES)
def test_the_engines_errors_have_their_statuses(code: str) -> None:
    told = translate(engine_errors()[code]("what happened", hint="what to do"))
    assert (told.status, told.retryable, told.hint) == (*STATUSES[code], "what to do")


async def test_the_systems_own_database_is_looked_after_by_name_only(gateway: Gateway) -> None:
    """It can be seen, checked, compacted and backed up; its rows are neither read nor written, and it is never replaced."""
    http, system = gateway.http, "/v1/databases/system"
    gateway.services.notes.close()  # the gateway writes nothing of its own meanwhile
    await gateway.save("kept", [{"type": "say", "message": "hello"}])
    opened = gateway.services.databases.open("system")
    shown = (await http.get(system)).json()
    assert (shown["name"], shown["version"], shown["stores"]) == ("system", opened.head().seq, [])
    assert shown["space"] == opened.info().to_dict()
    assert (await http.get("/v1/databases")).json() == {"data": []}
    report = (await http.post(f"{system}:check")).json()
    assert (report["ok"], report["problems"]) == (True, [])
    done = (await http.post(f"{system}:compact", json={"retention_seconds": 0})).json()
    assert done["swept"]["versions"] > 0 and opened.info().versions == 1
    copy = await http.get(f"{system}/backup")
    assert copy.headers["database-version"] == str(opened.head().seq)
    assert copy.content.startswith(b"SQLite format 3")
    head = opened.head()
    for method, path, body in (
        ("GET", "/stores", None), ("GET", "/stores/_keys", None), ("GET", "/stores/_keys/rows", None), ("GET", "/versions", None),
        ("GET", "/stores/_keys/changes?from=1", None), ("GET", "/stores/_scripts/rows:export", None), ("POST", "/stores/_keys:select", {}),
        ("POST", "/stores/_keys:join", {"right": "_scripts", "on": "id"}), ("POST", "/stores/_keys:aggregate", {"values": {"n": "count"}}),
        ("POST", "/stores/x:restore", {"version": 1}), ("POST", "/stores", {"name": "x", "primary_key": ["id"]}),
        ("POST", "/stores/x/indexes", {"fields": ["id"]}), ("DELETE", "/stores/x/indexes/y", None)):  # fmt: skip
        problem_of(await http.request(method, system + path, json=body), 403, "reserved_database")
    store = {"headers": {"Content-Type": "application/x-ndjson"}, "content": b"{}"}
    problem_of(await http.post(f"{system}/stores/x/rows:import", **store), 403, "reserved_database")  # type: ignore[arg-type]
    problem_of(await http.put(f"{system}/backup", content=copy.content), 403, "reserved_database")
    assert (await http.delete(system)).status_code == 405
    script = {"name": "spy", "database": "system", "steps": [
        {"type": "fetch", "name": "all", "source": "btree", "resource": "_keys", "variable": "rows"}]}  # fmt: skip
    problem_of(await http.post("/v1/scripts", json=script), 422, "script_invalid")
    assert opened.head() == head
    assert (await http.get("/v1/scripts/kept")).status_code == 200
