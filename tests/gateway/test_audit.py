"""The audit log: writes and refusals of real requests, pages, age, and what it does not keep."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from gateway.access import Notes
from gateway.access.audit import MOST, Entry, Gathered
from query import SYSTEM, open_store
from tests.gateway.conftest import Gateway, Sop, authorization, problem_of
from tests.gateway.test_figures import figures
from toolbox.access import parse_scopes


async def entries(gateway: Gateway, **asked: Any) -> list[dict[str, Any]]:
    """All entries but those of asking, oldest first."""
    answer = await gateway.http.get("/v1/audit", params={"limit": 1000, **asked})
    assert answer.status_code == 200, answer.text
    data: list[dict[str, Any]] = answer.json()["data"]
    return data[::-1]


def short(entry: dict[str, Any]) -> tuple[Any, ...]:
    return (entry["method"], entry["route"], entry["target"], entry["status"])


async def test_writes_are_kept_and_reading_is_not(gateway: Gateway) -> None:
    http, first = gateway.http, gateway.key.split("_")[1]
    await http.post("/v1/databases", json={"name": "crm"}, headers={"X-Request-ID": "made-1"})
    await http.post("/v1/databases/crm/stores", json={"name": "people", "primary_key": ["id"]})
    await http.post("/v1/databases/crm/stores/people/rows:import", json=[{"id": 1, "pay": "canary"}])
    await http.post("/v1/databases/crm/stores/people:select", json={"filter": {"pay": "canary"}})
    await http.get("/v1/databases/crm/stores/people/rows/1")
    await http.post("/v1/databases/crm:check")
    await gateway.save("say", [{"type": "say", "message": "canary"}])
    await http.post("/v1/scripts/say/runs", json={}, headers={"Idempotency-Key": "r1"})
    await http.delete("/v1/schedules/nothing")
    made = (await http.post("/v1/keys", json={"name": "ci", "scopes": []})).json()
    await http.delete(f"/v1/keys/{made['id']}")
    await http.post("/v1/nothing")
    found = await entries(gateway)
    assert list(map(short, found)) == [
        ("POST", "/v1/databases", {"database": "crm"}, 201),
        ("POST", "/v1/databases/{database}/stores", {"database": "crm"}, 201),
        ("POST", "/v1/databases/{database}/stores/{store}/rows:import", {"database": "crm", "store": "people"}, 200),
        ("POST", "/v1/scripts", {"script": "say"}, 201),
        ("POST", "/v1/scripts/{name}/runs", {"script": "say", "run": "r1"}, 202),
        ("DELETE", "/v1/schedules/{schedule_id}", {"schedule": "nothing"}, 404),
        ("POST", "/v1/keys", {"key": made["id"]}, 201),
        ("DELETE", "/v1/keys/{key_id}", {"key": made["id"]}, 204),
    ]
    assert found[0]["request_id"] == "made-1"
    assert {(entry["key"], entry["name"], entry["times"]) for entry in found} == {(first, "bootstrap", 1)}
    assert "canary" not in str(found) and made["key"] not in str(found)
    assert [entry["at"] for entry in found] == sorted(entry["at"] for entry in found)


async def test_refusals_are_kept(gateway: Gateway) -> None:
    key = gateway.services.keys.create("anna", parse_scopes(["data:crm:read"]))
    await gateway.http.get("/v1/databases/hr", headers=authorization(key))
    await gateway.http.get("/v1/databases/crm", headers=authorization(key))
    gateway.services.notes.flush()
    await gateway.http.get("/v1/databases/hr/stores/secrets", headers={"Authorization": "Bearer sop_x_y"})
    refused, unknown = await entries(gateway)
    assert short(refused) == ("GET", "/v1/databases/{database}", {"database": "hr"}, 403)
    assert (refused["key"], refused["name"]) == (key.split("_")[1], "anna")
    assert (*short(unknown), unknown["key"], unknown["name"]) == ("GET", None, {}, 401, None, None)
    mine = await entries(gateway, key=key.split("_")[1])
    assert mine == [refused]


async def test_knocking_does_not_fill_the_disk() -> None:
    gathered, now = Gathered(), datetime(2030, 1, 1, tzinfo=UTC)
    for number in range(5000):
        gathered.add(Entry(f"M{number}", 401, f"r{number}"), now)
        gathered.add(Entry("GET", 403, "r", "/v1/runs", {}, "k", "anna"), now)
    assert sorted((row["status"], row["times"]) for row in gathered.rows()) == [(401, 5000), (403, 5000)]
    for number in range(MOST):
        gathered.add(Entry("POST", 200, str(number), "/v1/keys", {"database": "x" * 10_000}, "k", "anna"), now)
    assert (len(gathered.rows()), gathered.lost) == (MOST, 2)
    assert {len(row["target"].get("database", "")) for row in gathered.rows()} == {0, 200}


async def test_pages_go_on_where_they_were(gateway: Gateway) -> None:
    for number in range(5):
        await gateway.http.post("/v1/databases", json={"name": f"d{number}"})
    seen: list[str] = []
    cursor: str | None = None
    for _ in range(3):
        page = (
            await gateway.http.get("/v1/audit", params={"limit": 2} | ({"cursor": cursor} if cursor else {}))
        ).json()
        seen += [entry["target"]["database"] for entry in page["data"]]
        cursor = page["next_cursor"]
        await gateway.http.post("/v1/databases", json={"name": "between"})
    assert seen == ["d4", "d3", "d2", "d1", "d0"] and cursor is None
    first = (await gateway.http.get("/v1/audit", params={"limit": 1})).json()
    assert first["has_more"] is True
    other = await gateway.http.get("/v1/audit", params={"limit": 1, "key": "x", "cursor": first["next_cursor"]})
    problem_of(other, 422, "invalid_cursor")


async def test_times_choose(gateway: Gateway) -> None:
    for number in range(3):
        await gateway.http.post("/v1/databases", json={"name": f"d{number}"})
    _, middle, last = await entries(gateway)
    assert (await entries(gateway, since=middle["at"]))[-1] == last
    assert len(await entries(gateway, since="1900-01-01T00:00:00Z", until="2999-01-01T00:00:00Z")) == 3
    assert await entries(gateway, until="2000-01-01T00:00:00Z") == []
    for wrong in ("yesterday", "2026-01-01T00:00:00", ""):
        problem_of(await gateway.http.get("/v1/audit", params={"since": wrong}), 422, "invalid_field")


async def test_entries_are_bounded_by_age(gateway: Gateway) -> None:
    moment = datetime(2030, 1, 1, tzinfo=UTC)
    notes = Notes(gateway.services.databases, audit_days=1, clock=lambda: moment, pause=3600)

    def note(number: int) -> None:
        notes.audit(Entry("POST", 200, str(number), "/v1/keys", {}, "k", "anna"))

    def kept() -> int:
        return open_store(gateway.services.databases.ensure(SYSTEM).snapshot(), "_audit").count()

    for number in range(2500):
        note(number)
    assert len(notes.entries(limit=1000)[0]) == 1000
    moment += timedelta(days=1, microseconds=1)
    assert notes.entries(limit=1000) == ([], None)
    assert kept() == 2500
    note(1)
    notes.flush()
    assert kept() == 2500 - 2000 + 1
    note(2)
    notes.flush()
    assert kept() == 2
    assert {entry["request_id"] for entry in notes.entries(limit=10)[0]} == {"2", "1"}
    notes.close()


async def test_closing_writes_what_waits(gateway: Gateway) -> None:
    notes = Notes(gateway.services.databases, audit_days=1, pause=3600)
    notes.audit(Entry("POST", 200, "last", "/v1/keys", {}, "k", "anna"))
    notes.close()
    assert [entry["request_id"] for entry in await entries(gateway)] == ["last"]


async def test_the_log_is_written_beside_the_requests(gateway: Gateway, live: Any) -> None:
    from tests.gateway.conftest import eventually

    assert (await live.post("/v1/databases", json={"name": "crm"})).status_code == 201

    def written() -> bool:
        view = gateway.services.databases.ensure(SYSTEM).snapshot()
        try:
            return open_store(view, "_audit").count() == 1
        except Exception:
            return False

    await eventually(written)


async def test_the_command_line_shows_it(sop: Sop, gateway: Gateway) -> None:
    await gateway.http.post("/v1/databases", json={"name": "crm"})
    found = await sop("audit", "-o", "json", "--limit", "5")
    assert (found.code, found.json[0]["target"]) == (0, {"database": "crm"})
    assert (await sop("audit", "--key", "nobody", "-o", "json")).json == []
    table = await sop("audit")
    assert "/v1/databases" in table.out and "bootstrap" in table.out


async def test_a_start_that_finds_its_run_again_is_counted_and_kept_once(gateway: Gateway) -> None:
    http, key = gateway.http, {"Idempotency-Key": "once-1"}
    await gateway.save_held("say")
    starts = [http.post("/v1/scripts/say/runs", json={}, headers=key) for _ in range(5)]
    assert {answer.status_code for answer in await asyncio.gather(*starts)} == {202}
    gateway.gate.set()
    assert (await http.post("/v1/call/say", json={}, headers=key)).status_code == 200
    assert (await http.post("/v1/scripts/say/runs", json={}, headers=key)).status_code == 202
    refused = await http.post("/v1/scripts/say/runs", json={"dry_run": True}, headers=key)
    problem_of(refused, 422, "idempotency_mismatch")
    again = [http.post("/v1/runs/once-1:rerun", json={}, headers={"Idempotency-Key": "once-2"}) for _ in range(2)]
    assert {answer.status_code for answer in await asyncio.gather(*again)} == {202}
    found = [short(entry) for entry in await entries(gateway)][1:]
    route = "/v1/scripts/{name}/runs"
    assert found == [
        ("POST", route, {"script": "say", "run": "once-1"}, 202),
        ("POST", route, {"script": "say"}, 422),
        ("POST", "/v1/runs/{run_id}:rerun", {"run": "once-1", "script": "say", "new_run": "once-2"}, 202),
    ]
    counted = figures(gateway.services.metrics)
    assert counted['sop_runs_started_total{trigger="api"}'] == counted['sop_runs_started_total{trigger="rerun"}'] == 1
