"""Blocks and scripts on another database, on a real Temporal server, over real databases."""

from typing import Any

import pytest

from query import select
from tests.conftest import System

BODY: list[dict[str, Any]] = [
    {"type": "command", "name": "put", "command": "add", "args": {"store": "moves", "record": {"id": 1}}},
    {"type": "fetch", "name": "see", "source": "btree", "resource": "moves", "variable": "seen"}]  # fmt: skip


def rows(system: System, database: str, store: str) -> list[dict[str, Any]]:
    return list(select(system.resources.databases.open(database).snapshot(), store))


@pytest.mark.parametrize("dry_run", [False, True])
async def test_a_block_commits_by_itself_whatever_becomes_of_the_run(system: System, dry_run: bool) -> None:
    system.store("shop", "items", ["id"])
    system.store("ledger", "moves", ["id"])
    events = await system.run(
        {"name": "moving", "database": "shop", "steps": [
            {"type": "command", "name": "one", "command": "add", "args": {"store": "items", "record": {"id": 1}}},
            {"type": "block", "name": "there", "database": "ledger", "steps": BODY},
            {"type": "say", "message": "{{ size(seen) }}"},
            {"type": "fail", "code": "broken", "message": "no"}]},
        dry_run=dry_run,
    )  # fmt: skip
    assert events[-1]["error"]["code"] == "broken"
    assert next(event["result"] for event in events if event["type"] == "say") == "1"
    assert rows(system, "shop", "items") == []
    assert rows(system, "ledger", "moves") == ([] if dry_run else [{"id": 1}])


async def test_what_a_block_committed_is_compensated(system: System) -> None:
    system.store("ledger", "moves", ["id"])
    events = await system.run(
        {"name": "undone", "steps": [
            {"type": "block", "name": "there", "database": "ledger", "steps": [
                {**BODY[0], "compensate": {"type": "command", "name": "take", "command": "delete", "args": {"store": "moves", "key": 1}}}]},
            {"type": "fail", "code": "broken", "message": "no"}]},
    )  # fmt: skip
    assert events[-1]["status"] == "compensated"
    assert rows(system, "ledger", "moves") == []


async def test_a_script_is_run_on_the_database_of_its_step(system: System) -> None:
    for name in ("north", "south"):
        system.store(name, "moves", ["id"])
    system.resources.library.save({"name": "put_in", "steps": [BODY[0]]})
    events = await system.run(
        {"name": "both", "database": "north", "steps": [
            {"type": "script", "name": "here", "script_name": "put_in"},
            {"type": "script", "name": "there", "script_name": "put_in", "database": "south"}]},
    )  # fmt: skip
    assert events[-1]["status"] == "completed"
    assert rows(system, "north", "moves") == rows(system, "south", "moves") == [{"id": 1}]
