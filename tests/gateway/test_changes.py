"""Bulk changes over HTTP, and what guards them."""

from typing import Any

import pytest

from gateway.preferences import preferences
from gateway.problems import ApiError
from tests.gateway.conftest import Gateway, authorization, problem_of
from toolbox.access import parse_scopes

STORE = "/v1/databases/shop/stores/orders"


@pytest.fixture
async def shop(gateway: Gateway) -> Gateway:
    """Twenty orders, ten of them in Ulm."""
    (await gateway.http.post("/v1/databases", json={"name": "shop"})).raise_for_status()
    store = {"name": "orders", "primary_key": ["id"]}
    (await gateway.http.post("/v1/databases/shop/stores", json=store)).raise_for_status()
    rows = [{"id": n, "total": n, "city": "Ulm" if n % 2 else "Bonn"} for n in range(20)]
    (await gateway.http.post(f"{STORE}/rows:import", json=rows)).raise_for_status()
    return gateway


async def rows(gateway: Gateway) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await gateway.http.get(f"{STORE}/rows?limit=100")).json()["data"]
    return found


async def test_deleting_and_updating(shop: Gateway) -> None:
    http = shop.http
    deleted = await http.post(f"{STORE}:delete", json={"filter": {"city": "Ulm", "total": {"$gte": 10}}})
    assert (deleted.status_code, deleted.json()) == (200, {"deleted": 5})
    assert "preference-applied" not in deleted.headers
    values = {"total": "{{ row.total * 2 }}", "$unset": ["city"]}
    updated = await http.post(f"{STORE}:update", json={"filter": {"id": {"$lt": 3}}, "values": values})
    assert updated.json() == {"matched": 3, "updated": 3}
    assert (await rows(shop))[:4] == [
        {"id": 0, "total": 0},
        {"id": 1, "total": 2},
        {"id": 2, "total": 4},
        {"id": 3, "total": 3, "city": "Ulm"},
    ]
    assert (await http.post(f"{STORE}:delete", json={"key": 0})).json() == {"deleted": 1}
    last = {"filter": {}, "order_by": "-total", "limit": 2}
    assert (await http.post(f"{STORE}:delete", json=last)).json() == {"deleted": 2}
    assert max(row["total"] for row in await rows(shop)) == 14
    assert (await http.post(f"{STORE}:delete", json={"filter": {}})).json() == {"deleted": 12}
    assert await rows(shop) == []


async def test_no_more_rows_than_that(shop: Gateway) -> None:
    before, ulm = await rows(shop), {"filter": {"city": "Ulm"}}
    for path, body in ((":delete", ulm), (":update", {**ulm, "values": {"total": 0}})):
        for prefer in ("max-affected=9", "handling=strict, max-affected=0", 'max-affected="9"; x=1'):
            refused = await shop.http.post(f"{STORE}{path}", json=body, headers={"Prefer": prefer})
            assert problem_of(refused, 422, "too_many_rows")["errors"][0]["pointer"] == "Prefer"
        assert await rows(shop) == before
    done = await shop.http.post(f"{STORE}:delete", json=ulm, headers={"Prefer": "max-affected=10, handling=strict"})
    assert (done.json(), done.headers["preference-applied"]) == ({"deleted": 10}, "max-affected=10, handling=strict")


async def test_restoring_no_more_rows_than_that(shop: Gateway) -> None:
    version = (await shop.http.get("/v1/databases/shop")).json()["version"]
    await shop.http.post(f"{STORE}:delete", json={"filter": {"city": "Ulm"}})
    after, body = await rows(shop), {"version": version}
    refused = await shop.http.post(f"{STORE}:restore", json=body, headers={"Prefer": "max-affected=9"})
    problem_of(refused, 422, "too_many_rows")
    assert await rows(shop) == after
    dry = await shop.http.post(f"{STORE}:restore", json={**body, "dry_run": True}, headers={"Prefer": "max-affected=9"})
    assert (dry.json()["changed"], "preference-applied" in dry.headers) == (10, False)
    done = await shop.http.post(f"{STORE}:restore", json=body, headers={"Prefer": "max-affected=10"})
    assert (done.json()["changed"], done.headers["preference-applied"]) == (10, "max-affected=10")
    assert len(await rows(shop)) == 20


async def test_a_dry_run_tells_and_its_token_binds(shop: Gateway) -> None:
    http, before = shop.http, await rows(shop)
    body = {"filter": {"city": "Ulm"}, "values": {"$inc": {"total": 1}}}
    dry = (await http.post(f"{STORE}:update", json={**body, "dry_run": True})).json()
    assert (dry["dry_run"], dry["count"], len(dry["rows"])) == (True, 10, 10)
    assert dry["rows"][0] == {
        "before": {"id": 1, "total": 1, "city": "Ulm"},
        "after": {"id": 1, "total": 2, "city": "Ulm"},
    }
    assert await rows(shop) == before
    await http.post(f"{STORE}:delete", json={"key": 1})
    bound = {**body, "expect": dry["token"]}
    problem_of(await http.post(f"{STORE}:update", json=bound), 409, "preview_mismatch")
    again = (await http.post(f"{STORE}:update", json={**body, "dry_run": True})).json()
    done = await http.post(f"{STORE}:update", json={**body, "expect": again["token"]})
    assert done.json() == {"matched": 9, "updated": 9}


async def test_a_dry_run_tells_what_would_come_of_it(shop: Gateway) -> None:
    http, before = shop.http, await rows(shop)
    version = (await http.get("/v1/databases/shop")).json()["version"]
    ulm: dict[str, Any] = {"filter": {"city": "Ulm"}, "dry_run": True}
    deleted = (await http.post(f"{STORE}:delete", json=ulm)).json()
    assert (deleted["count"], deleted["result"]) == (10, {"deleted": 10})
    same = {**ulm, "values": {"city": "Ulm"}}
    assert (await http.post(f"{STORE}:update", json=same)).json()["result"] == {"matched": 10, "updated": 0}
    keys = {**ulm, "values": {"id": 99}}
    problem_of(await http.post(f"{STORE}:update", json=keys), 409, "record_exists")
    stale = {**ulm, "expect": "of other rows"}
    problem_of(await http.post(f"{STORE}:delete", json=stale), 409, "preview_mismatch")
    limited = await http.post(f"{STORE}:delete", json=ulm, headers={"Prefer": "max-affected=1"})
    assert (limited.json()["count"], "preference-applied" in limited.headers) == (10, False)
    await http.post(f"{STORE}:restore", json={"version": version, "dry_run": True})
    assert await rows(shop) == before
    assert (await http.get("/v1/databases/shop")).json()["version"] == version
    kept = {entry["route"].rpartition(":")[2]: entry["status"] for entry in shop.services.notes.entries(limit=100)[0]}
    assert 200 not in [kept.get(action) for action in ("delete", "update", "restore")]


async def test_what_is_refused(shop: Gateway) -> None:
    http, before = shop.http, await rows(shop)
    assert (
        problem_of(await http.post(f"{STORE}:delete", json={}), 422, "invalid_field")["errors"][0]["pointer"]
        == "/filter"
    )
    problem_of(await http.post(f"{STORE}:update", json={"filter": {}}), 422, "invalid_request")
    problem_of(await http.post(f"{STORE}:delete", json={"filtre": {}}), 422, "invalid_request")
    problem_of(await http.post(f"{STORE}:delete", json={"filter": {"$or": 1}}), 422, "invalid_query")
    problem_of(await http.post("/v1/databases/shop/stores/_outbox:delete", json={"filter": {}}), 403, "reserved_store")
    problem_of(await http.post("/v1/databases/system/stores/x:delete", json={"filter": {}}), 403, "reserved_database")
    problem_of(await http.post("/v1/databases/shop/stores/no:delete", json={"filter": {}}), 404, "store_not_found")
    for wrong in ("max-affected=", "max-affected=many", "max-affected=-1", "max-affected=1e3"):
        answer = await http.post(f"{STORE}:delete", json={"filter": {}}, headers={"Prefer": wrong})
        problem_of(answer, 422, "invalid_preference")
    strict = {"Prefer": "handling=strict, max-afected=1"}
    problem_of(await http.post(f"{STORE}:delete", json={"filter": {}}, headers=strict), 422, "invalid_preference")
    for scopes in ("data:shop:write",), ("data:shop:read",):
        key = authorization(shop.services.keys.create("anna", parse_scopes(scopes)))
        problem_of(await http.post(f"{STORE}:delete", json={"filter": {}}, headers=key), 403, "forbidden")
    assert await rows(shop) == before


async def test_strict_handling_of_a_start(gateway: Gateway) -> None:
    await gateway.save("greet", [{"type": "return", "value": 1}])
    path = "/v1/scripts/greet/runs"
    for prefer in ("handling=strict, wait=soon", "handling=strict, max-affected=3"):
        problem_of(await gateway.http.post(path, json={}, headers={"Prefer": prefer}), 422, "invalid_preference")
    done = await gateway.http.post(path, json={}, headers={"Prefer": "handling=strict, wait=20"})
    assert (done.status_code, done.json()["result"]) == (200, 1)


def test_preferences() -> None:
    assert preferences(None, ("wait",)) == preferences(["", " , ;"], ("wait",)) == {}
    assert preferences(['Wait="3"; x, wait=4', "Other", "handling=lenient"], ("wait",)) == {
        "wait": "3",
        "handling": "lenient",
    }
    with pytest.raises(ApiError, match="no preference 'other' here"):
        preferences(["other, handling=strict"], ("wait",))
