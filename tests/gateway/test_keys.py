"""Keys over HTTP: made, limited, expired, revoked; keys that make keys; and what a scope keeps from."""

import hmac
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from btree import DiskFull
from gateway.access import Keys, Notes
from query import SYSTEM, open_store
from tests.gateway.conftest import Gateway, Sop, authorization, problem_of
from toolbox.access import Scope, parse_scopes


def made(gateway: Gateway, *scopes: str, name: str = "anna", **more: Any) -> dict[str, str]:
    return authorization(gateway.services.keys.create(name, parse_scopes(scopes), **more))


async def post(gateway: Gateway, given: dict[str, str], **body: Any) -> Any:
    return await gateway.http.post("/v1/keys", json={"name": "anna", "scopes": [], **body}, headers=given)


async def test_a_key_over_its_life(gateway: Gateway) -> None:
    end = datetime.now(UTC) + timedelta(days=1)
    answer = await gateway.http.post(
        "/v1/keys", json={"name": "ci", "scopes": ["data:crm:read", "scripts:run:*"], "expires_at": end.isoformat()}
    )
    assert answer.status_code == 201
    key = answer.json()
    assert key["scopes"] == ["data:crm:read", "scripts:run"]
    assert (key["name"], key["revoked_at"]) == ("ci", None)
    assert key["created_by"] == gateway.key.split("_")[1]
    assert datetime.fromisoformat(key["expires_at"]) == end.replace(microsecond=0)
    assert answer.headers["location"] == f"/v1/keys/{key['id']}"
    assert answer.headers["cache-control"] == "no-store"
    secret = key.pop("key")
    given = authorization(secret)
    assert secret.startswith(f"sop_{key['id']}_")
    problem_of(await gateway.http.get("/v1/databases/crm", headers=given), 404, "database_not_found")
    problem_of(await gateway.http.get("/v1/databases/hr", headers=given), 403, "forbidden")
    shown = (await gateway.http.get(answer.headers["location"])).json()
    assert {**key, "last_used_at": shown["last_used_at"]} == shown
    assert shown["last_used_at"] is not None
    listed = (await gateway.http.get("/v1/keys")).json()["data"]
    assert shown in listed and {row["name"] for row in listed} == {"ci", "bootstrap"}
    assert secret.split("_")[2] not in str(listed) and "hash" not in str(listed)
    assert (await gateway.http.delete(answer.headers["location"])).status_code == 204
    problem_of(await gateway.http.get("/v1/databases/crm", headers=given), 401, "not_authenticated")
    revoked_at = (await gateway.http.get(answer.headers["location"])).json()["revoked_at"]
    assert (await gateway.http.delete(answer.headers["location"])).status_code == 204
    assert (await gateway.http.get(answer.headers["location"])).json()["revoked_at"] == revoked_at is not None
    problem_of(await gateway.http.delete("/v1/keys/nobody"), 404, "key_not_found")
    problem_of(await gateway.http.get("/v1/keys/nobody"), 404, "key_not_found")


async def test_what_is_wrong_with_a_new_key_is_told(gateway: Gateway) -> None:
    wrong = await gateway.http.post("/v1/keys", json={"name": "ci", "scopes": ["data:crm:read", "data:crm", "nothing"]})
    problem = problem_of(wrong, 422, "invalid_scope")
    assert [found["pointer"] for found in problem["errors"]] == ["/scopes/1", "/scopes/2"]
    past = {"name": "ci", "scopes": [], "expires_at": "2020-01-01T00:00:00Z"}
    assert (
        problem_of(await gateway.http.post("/v1/keys", json=past), 422, "invalid_field")["errors"][0]["pointer"]
        == "/expires_at"
    )
    for body in ({"name": "ci"}, {"scopes": []}, {"name": "", "scopes": []}, {"name": "ci", "scopes": [], "admin": True},
                 {"name": "ci", "scopes": [], "expires_at": "2999-01-01T00:00:00"}):  # fmt: skip
        problem_of(await gateway.http.post("/v1/keys", json=body), 422, "invalid_request")
    many = {"name": "ci", "scopes": [f"tools:t{number}" for number in range(101)]}
    assert (
        problem_of(await gateway.http.post("/v1/keys", json=many), 422, "invalid_scope")["errors"][0]["pointer"]
        == "/scopes"
    )


async def test_an_expired_key_is_refused(gateway: Gateway) -> None:
    now = datetime.now(UTC)
    late = made(gateway, "admin", expires_at=now - timedelta(seconds=1))
    problem_of(await gateway.http.get("/v1/tools", headers=late), 401, "not_authenticated")
    key = gateway.services.keys.create("anna", expires_at=now + timedelta(hours=1))
    assert (await gateway.http.get("/v1/tools", headers=authorization(key))).status_code == 200
    later = Keys(gateway.services.databases, clock=lambda: now + timedelta(hours=1))
    assert later.verify(key) is None


async def test_a_key_from_before_there_were_scopes_may_do_everything(gateway: Gateway) -> None:
    old = gateway.services.keys.create("old")
    key_id = old.split("_")[1]

    def as_it_was(transaction: Any) -> None:
        store = open_store(transaction, "_keys")
        row = store.get(key_id)
        store.upsert({name: row[name] for name in ("id", "name", "hash", "created_at", "revoked_at")})

    gateway.services.databases.ensure(SYSTEM).transact(as_it_was)
    told = (await gateway.http.get(f"/v1/keys/{key_id}", headers=authorization(old))).json()
    assert (told["scopes"], told["expires_at"], told["created_by"]) == (["admin"], None, None)
    assert (await gateway.http.get("/v1/audit", headers=authorization(old))).status_code == 200


async def test_a_key_makes_keys_that_may_do_no_more(gateway: Gateway) -> None:
    end = datetime.now(UTC) + timedelta(days=1)
    given = made(gateway, "keys", "data:c*:read", "scripts:run", expires_at=end)
    until = end.replace(microsecond=0).isoformat()
    narrower = ["data:crm:read", "data:c*x:read", "scripts:run:weekly_*", "keys"]
    answer = await post(gateway, given, scopes=narrower, expires_at=until)
    assert answer.status_code == 201, answer.text
    child = authorization(answer.json()["key"])
    more = [
        "data:*:read",
        "data:crm:write",
        "data:d:read",
        "data:system:read",
        "scripts:call:weekly_report",
        "scripts:read",
        "admin",
    ]
    for scope in more:
        problem = problem_of(await post(gateway, given, scopes=[scope], expires_at=until), 403, "forbidden")
        assert [found["scope"] for found in problem["errors"]] == [scope]
    problem = problem_of(
        await post(gateway, child, scopes=["data:c*:read", "keys"], expires_at=until), 403, "forbidden"
    )
    assert [found["scope"] for found in problem["errors"]] == ["data:c*:read"]
    problem_of(await post(gateway, given, name="zoe", expires_at=until), 403, "forbidden")
    problem_of(await post(gateway, given), 403, "forbidden")
    problem_of(await post(gateway, given, expires_at=(end + timedelta(days=1)).isoformat()), 403, "forbidden")
    assert (await gateway.http.delete(answer.headers["location"], headers=given)).status_code == 204
    first = gateway.key.split("_")[1]
    problem_of(await gateway.http.delete(f"/v1/keys/{first}", headers=given), 403, "forbidden")
    zoes = gateway.services.keys.create("zoe", (), expires_at=end).split("_")[1]
    problem_of(await gateway.http.delete(f"/v1/keys/{zoes}", headers=given), 403, "forbidden")
    assert (await gateway.http.get("/v1/tools")).status_code == 200


async def test_lists_show_what_the_key_may_see(gateway: Gateway) -> None:
    for name in ("crm", "hr"):
        gateway.services.databases.ensure(name)
    for name in ("weekly_a", "daily_b"):
        await gateway.save(name, [{"type": "say", "message": "x"}])
    given = made(gateway, "data:c*:read", "scripts:read:weekly_*", "data:new_*:write")
    assert (await gateway.http.get("/v1/databases", headers=given)).json() == {"data": [{"name": "crm"}]}
    scripts = (await gateway.http.get("/v1/scripts", headers=given)).json()["data"]
    assert [script["name"] for script in scripts] == ["weekly_a"]
    assert (await gateway.http.post("/v1/databases", json={"name": "new_one"}, headers=given)).status_code == 201
    problem = problem_of(
        await gateway.http.post("/v1/databases", json={"name": "other"}, headers=given), 403, "forbidden"
    )
    assert problem["errors"][0]["scope"] == "data:other:write"
    assert "other" not in gateway.services.databases.names()


async def test_a_join_takes_the_other_database_too(gateway: Gateway) -> None:
    for name in ("crm", "hr"):
        store = {"name": "people", "primary_key": ["id"]}
        gateway.services.databases.ensure(name)
        assert (await gateway.http.post(f"/v1/databases/{name}/stores", json=store)).status_code == 201
    await gateway.http.post("/v1/databases/hr/stores/people/rows:import", json=[{"id": 1, "pay": "secret"}])
    await gateway.http.post("/v1/databases/crm/stores/people/rows:import", json=[{"id": 1}])
    body = {"right": {"store": "people", "database": "hr"}, "on": "id"}
    address = "/v1/databases/crm/stores/people:join"
    aggregate = {"values": {"n": {"op": "max", "value": "right.pay"}}, "join": body}
    one, both = made(gateway, "data:crm:read"), made(gateway, "data:crm:read", "data:hr:read")
    for path, asked in ((address, body), (address.replace(":join", ":aggregate"), aggregate)):
        problem = problem_of(await gateway.http.post(path, json=asked, headers=one), 403, "forbidden")
        assert problem["errors"][0]["scope"] == "data:hr:read"
        allowed = await gateway.http.post(path, json=asked, headers=both)
        assert (allowed.status_code, "secret" in allowed.text) == (200, True), allowed.text


TRICKS = ["/v1/databases/crm/../hr/stores/people/rows", "/v1/databases/crm%2F..%2Fhr/stores/people/rows", "/v1/databases/HR/stores/people/rows",
          "/v1/databases/hr%00/stores/people/rows", "/v1/databases/hr%20/stores/people/rows", "//v1/databases/hr/stores/people/rows",
          "/v1/databases/./hr/stores/people/rows", "/v1/databases/crm/stores/..%2F..%2Fhr%2Fstores%2Fpeople/rows",
          "/v1/databases/crm/stores/people/rows/..%2F..%2F..%2F..%2Fhr%2Fstores%2Fpeople%2Frows%2F1", "/v1/databases/%68r/stores/people/rows",
          "/v1/databases/crm,hr/stores/people/rows", "/v1/databases/hr;crm/stores/people/rows", "/v1/databases/hr/stores/people/rows?database=crm",
          "/v1/databases/crm%2e%2e%2fhr/stores/people/rows", "/v1/databases/*/stores/people/rows", "/v1/databases/c*/stores/people/rows",
          "/v1/databases/hr/stores/people/rows/", "/v1/databases/hr/stores/people/rows/1", "/v1/databases/h%72/stores/people/rows:export"]  # fmt: skip


@pytest.mark.parametrize("path", TRICKS)
async def test_no_path_leads_to_another_database(gateway: Gateway, path: str) -> None:
    for name in ("crm", "hr"):
        gateway.services.databases.ensure(name)
        store = {"name": "people", "primary_key": ["id"]}
        await gateway.http.post(f"/v1/databases/{name}/stores", json=store)
    await gateway.http.post("/v1/databases/hr/stores/people/rows:import", json=[{"id": 1, "pay": "secret"}])
    for given in (made(gateway, "data:crm:read", "data:crm:write"), made(gateway, "data:c*:read")):
        more = {
            **given,
            "X-HTTP-Method-Override": "GET",
            "X-Original-URL": "/v1/databases/crm",
            "X-Forwarded-Prefix": "/v1/databases/crm",
        }
        answer = await gateway.http.get(path, headers=more)
        assert answer.status_code in (307, 403, 404, 422), (path, answer.status_code)
        assert "secret" not in answer.text


async def test_the_systems_own_database_takes_its_own_name(gateway: Gateway) -> None:
    for route in ("", "/backup", "/versions", "/stores/_outbox/rows"):
        for scope in ("data:*:read", "data:s*:read", "data:systems:read"):
            answer = await gateway.http.get(f"/v1/databases/system{route}", headers=made(gateway, scope))
            problem_of(answer, 403, "forbidden")
    assert (
        await gateway.http.get("/v1/databases/system", headers=made(gateway, "data:system:read"))
    ).status_code == 200


async def test_secrets_are_compared_in_constant_time(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[Any, Any]] = []
    compare = hmac.compare_digest

    def spy(one: Any, other: Any) -> bool:
        compared.append((one, other))
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", spy)
    keys = gateway.services.keys
    prefix, key_id, secret = gateway.key.split("_")
    for key, valid in (
        (gateway.key, True),
        (f"{prefix}_{key_id}_{secret[:-1]}x", False),
        (f"{prefix}_nobody_{secret}", False),
    ):
        assert (keys.verify(key) is not None) is valid
    assert len(compared) == 3 and {len(text) for pair in compared for text in pair} == {64}


async def test_the_last_use_is_written_once_a_minute(gateway: Gateway) -> None:
    moment = datetime(2030, 1, 1, tzinfo=UTC)
    database = gateway.services.databases.ensure(SYSTEM)
    notes = Notes(gateway.services.databases, audit_days=1, clock=lambda: moment, pause=3600)
    other = Notes(gateway.services.databases, audit_days=1, clock=lambda: moment, pause=3600)
    notes.used("k")
    assert notes.last_uses() == {"k": moment.isoformat()}
    first = database.head().seq
    for seconds in (1, 30, 59):
        moment = datetime(2030, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
        notes.used("k")
        notes.flush()
    assert database.head().seq == first
    other.used("k")
    assert other.last_uses() == {"k": "2030-01-01T00:00:00+00:00"}
    moment = datetime(2030, 1, 1, 0, 1, tzinfo=UTC)
    notes.used("k")
    assert notes.last_uses() == {"k": moment.isoformat()}
    notes.close()
    other.close()


async def test_notes_that_cannot_be_written_keep_no_request(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    notes = gateway.services.notes

    class Full:
        def transact(self, work: Any) -> None:
            raise DiskFull("no room")

    key = made(gateway, "scripts:read")
    with monkeypatch.context() as broken:
        broken.setattr(notes, "_database", Full())
        assert (await gateway.http.get("/v1/tools", headers=key)).status_code == 200
        problem_of(await gateway.http.get("/v1/runs", headers=key), 403, "forbidden")
        notes.flush()
    assert "entries of the audit log" in caplog.text
    assert notes.last_uses() is not None


async def test_the_command_line_makes_keys_with_scopes(sop: Sop, gateway: Gateway) -> None:
    words = ("--scope", "data:crm:read", "--scope", "scripts:run", "--expires-in", "2")
    key = (await sop("key", "create", "ci", *words)).out.strip()
    access = gateway.services.keys.verify(key)
    assert access is not None and access.expires_at is not None
    assert list(map(str, access.scopes)) == ["data:crm:read", "scripts:run"]
    assert timedelta(days=1.9) < datetime.fromisoformat(access.expires_at) - datetime.now(UTC) < timedelta(days=2)
    (row,) = [row for row in (await sop("key", "list", "-o", "json")).json if row["name"] == "ci"]
    assert (row["scopes"], row["last_used_at"]) == (["data:crm:read", "scripts:run"], None)
    wrong = await sop("key", "create", "ci", "--scope", "data:crm")
    assert (wrong.code, wrong.out) == (2, "") and "is no scope" in wrong.err
    everything = (await sop("key", "create", "root")).out.strip()
    root = gateway.services.keys.verify(everything)
    assert root is not None and root.has(Scope("admin"))
