"""The example `saga`, and sagas in general, over real databases on a real server: what was committed is taken back when a later step fails."""

import json
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError

from gateway.runs.watch import watch_run
from query import select
from script.machine import sagas
from tests.conftest import System

SCRIPTS = Path(__file__).parent.parent.parent / "examples" / "saga" / "scripts"
USER = {"uid": "123", "email": "old@example.com"}


@pytest.fixture
def prepared(system: System) -> System:
    """The two databases of the example, and its scripts."""
    system.store("users_db", "users", ["uid"], [USER])
    system.store("audit_db", "log", ["number"], [{"number": 1, "msg": "the first"}])
    for name in ("update_user", "log_audit", "user_update_saga"):
        system.resources.library.save(json.loads((SCRIPTS / f"{name}.json").read_text(encoding="utf-8")))
    return system


def rows(system: System, database: str, store: str) -> list[dict[str, Any]]:
    return list(select(system.resources.databases.open(database).snapshot(), store))


async def events_of(system: System, name: str, arguments: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    handle = await system.start(name, arguments)
    return [event async for event in watch_run(system.client, handle.id)]


async def test_both_are_done(prepared: System) -> None:
    events = await events_of(prepared, "user_update_saga", {"uid": "123", "email": "new@example.com", "number": 2})
    assert events[-1]["status"] == "completed"
    assert events[-1]["result"] == {"before": "old@example.com", "now": "new@example.com"}
    assert rows(prepared, "users_db", "users") == [{"uid": "123", "email": "new@example.com"}]
    assert [row["msg"] for row in rows(prepared, "audit_db", "log")] == ["the first", "User 123 updated"]


async def test_the_first_is_taken_back_when_the_second_fails(prepared: System) -> None:
    before = prepared.resources.databases.open("users_db").head().seq
    events = await events_of(prepared, "user_update_saga", {"uid": "123", "email": "new@example.com", "number": 1})
    assert events[-1]["status"] == "compensated"
    assert events[-1]["error"]["code"] == "record_exists"
    assert events[-1]["compensated"] == ["update"]
    assert rows(prepared, "users_db", "users") == [USER]
    assert prepared.resources.databases.open("users_db").head().seq == before + 2
    assert [event["status"] for event in events if event["type"] == "compensation"] == ["completed"]


async def test_nothing_is_taken_back_when_the_first_fails(prepared: System) -> None:
    events = await events_of(prepared, "user_update_saga", {"uid": "124", "email": "new@example.com", "number": 2})
    assert events[-1]["status"] == "failed"
    assert events[-1]["error"]["code"] == "unknown_user"
    assert len(rows(prepared, "audit_db", "log")) == 1


async def test_a_cancelled_run_is_taken_back_too(prepared: System) -> None:
    saga = json.loads((SCRIPTS / "user_update_saga.json").read_text(encoding="utf-8"))
    saga["steps"].insert(1, {"type": "wait", "name": "rest", "duration": "1h"})
    prepared.resources.library.save(saga)
    handle = await prepared.start("user_update_saga", {"uid": "123", "email": "new@example.com", "number": 2})
    async for event in watch_run(prepared.client, handle.id):
        if event.get("path") == "update":
            break
    assert rows(prepared, "users_db", "users") != [USER]
    await handle.cancel()
    events = [event async for event in watch_run(prepared.client, handle.id)]
    assert events[-1]["status"] == "compensated"
    assert events[-1]["error"]["code"] == "canceled"
    assert rows(prepared, "users_db", "users") == [USER]
    description = await handle.describe()
    assert description.status is not None
    assert description.status.name == "CANCELED"


async def test_what_cannot_be_taken_back_is_told(prepared: System, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody removes the user before the compensation: it fails five times, and the run says so."""
    monkeypatch.setattr(sagas, "_PAUSE", 0.001)
    save = prepared.resources.library.save
    save({"name": "remove", "database": "users_db", "steps": [
        {"type": "command", "name": "gone", "command": "delete", "args": {"store": "users", "key": "123"}}]})  # fmt: skip
    saga = json.loads((SCRIPTS / "user_update_saga.json").read_text(encoding="utf-8"))
    saga["steps"].insert(1, {"type": "script", "name": "remove", "script_name": "remove"})
    save(saga)
    events = await events_of(prepared, "user_update_saga", {"uid": "123", "email": "new@example.com", "number": 1})
    assert events[-1]["status"] == "compensation_failed"
    assert events[-1]["error"]["code"] == "record_exists"
    (failed,) = events[-1]["compensation_failures"]
    assert (failed["step"], failed["error"]["code"]) == ("update", "unknown_user")
    retried = [event for event in events if event["type"] == "compensation"]
    assert [event["status"] for event in retried] == ["retrying"] * 4 + ["failed"]


async def test_the_compensations_of_a_child_run_pass_to_its_caller(prepared: System) -> None:
    save = prepared.resources.library.save
    save({"name": "rename", "database": "users_db", "steps": [
        {"type": "command", "name": "change", "command": "update", "args": {"store": "users", "key": "123", "values": {"name": "Ann"}},
         "compensate": {"type": "command", "name": "back", "command": "update", "args": {"store": "users", "key": "123", "values": {"name": "nobody: {{ error.code }}"}}}}]})  # fmt: skip
    save({"name": "middle", "steps": [{"type": "script", "name": "deep", "script_name": "rename", "is_async": True}]})
    save({"name": "outer", "database": "audit_db", "steps": [
        {"type": "command", "name": "log", "command": "add", "args": {"store": "log", "record": {"number": 7}}},
        {"type": "script", "name": "child", "script_name": "middle"},
        {"type": "fail", "name": "stop", "code": "stopped", "message": "no"}]})  # fmt: skip
    events = await events_of(prepared, "outer")
    assert events[-1]["status"] == "compensated"
    assert events[-1]["compensated"] == ["child/deep/change"]
    assert rows(prepared, "users_db", "users") == [{**USER, "name": "nobody: stopped"}]
    assert len(rows(prepared, "audit_db", "log")) == 1


async def test_a_compensated_run_fails_for_whoever_waits(prepared: System) -> None:
    handle = await prepared.start("user_update_saga", {"uid": "123", "email": "new@example.com", "number": 1})
    with pytest.raises(WorkflowFailureError) as raised:
        await handle.result()
    assert raised.value.cause.type == "record_exists"  # type: ignore[union-attr]
