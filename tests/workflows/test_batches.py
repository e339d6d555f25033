"""Batches on a real server: failures, chunks side by side, signals, and a history that is folded into the same events."""

import asyncio
from typing import Any

import pytest

from gateway.runs.watch import watch_run
from query import select
from script import wire
from script.wire import Concurrency
from tests.conftest import System

COUNT = 600


def store(system: System) -> None:
    system.store("shop", "items", ["id"], [{"id": n, "price": n % 89, "pad": "x" * 100} for n in range(COUNT)])
    system.store("shop", "seen", ["id"])


def batch(**more: Any) -> dict[str, Any]:
    return {"name": "batch", "database": "shop", "steps": [
        {"type": "fetch", "name": "all", "resource": "items", "variable": "items"},
        {"type": "loop", "name": "each", "list": "items", "iterator": "item", "index": "at", "batch_size": 20, "output_variable": "r",
         "reduce": {"total": {"op": "sum", "value": "item.price"}, "first": {"op": "collect", "value": "item.id", "limit": 4}},
         "steps": [
            {"type": "command", "name": "note", "command": "add", "args": {"store": "seen", "record": {"id": "{{ item.id }}", "at": "{{ at }}"}}},
            {"type": "fail", "name": "bad", "when": "item.id % 100 == 1", "code": "bad", "message": "{{ item.id }} is bad"}],
         "tolerate_failures": "2%", **more},
        {"type": "return", "value": "{{ r }}"}]}  # fmt: skip


def rows(system: System, name: str) -> list[dict[str, Any]]:
    return list(select(system.resources.databases.open("shop").snapshot(), name))


GOOD = [n for n in range(COUNT) if n % 100 != 1]
RESULT = {"processed": COUNT, "failed": 6, "reduced": {"total": sum(n % 89 for n in GOOD), "first": GOOD[:4]}}


def check_left(system: System) -> None:
    """Every element was done once, with the ordinal of its place in the whole."""
    assert rows(system, "seen") == [{"id": n, "at": n} for n in GOOD]
    assert [(row["ordinal"], row["key"], row["code"]) for row in rows(system, "_batch_failures")] == [
        (n, n, "bad") for n in range(1, COUNT, 100)
    ]


@pytest.mark.parametrize("concurrency", [1, 4])
async def test_failed_elements_are_in_the_ledger_and_the_rest_is_done(system: System, concurrency: int) -> None:
    store(system)
    events = await system.run(batch(concurrency=concurrency))
    assert events[-1]["result"] == RESULT
    check_left(system)
    progress = [event["result"] for event in events if event["type"] == "progress"]
    assert [told["chunk"] for told in progress] == list(range(1, COUNT // 20 + 1))
    assert (progress[-1]["processed"], progress[-1]["failed"], progress[-1]["eta_seconds"]) == (COUNT, 6, 0)
    assert all(told["rate"] > 0 for told in progress if told["rate"] is not None)


async def test_too_many_failures_end_the_batch(system: System) -> None:
    store(system)
    events = await system.run(batch(concurrency=3, tolerate_failures=2))
    assert events[-1]["error"]["code"] == "too_many_failures"
    assert 3 <= len(rows(system, "_batch_failures")) <= 6
    assert {row["id"] for row in rows(system, "seen")} <= set(GOOD)


async def test_a_batch_is_paused_goes_on_and_takes_more_at_once(system: System) -> None:
    """Signals between chunks; the events that are folded from the history are without a gap, and the result is the same."""
    store(system)
    system.resources.library.save(batch())
    handle = await system.start("batch")
    events = []
    async for event in watch_run(system.client, handle.id):
        events.append(event)
        chunk = event["result"]["chunk"] if event["type"] == "progress" else None
        if chunk == 2:
            await handle.signal(wire.PAUSE_SIGNAL)
            await handle.signal(wire.CONCURRENCY_SIGNAL, Concurrency("each", 4))
            await handle.signal(wire.GO_ON_SIGNAL)
        if chunk == 12:
            await handle.signal(wire.CONCURRENCY_SIGNAL, Concurrency("each", 2))
    assert events[-1]["result"] == RESULT
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    check_left(system)


async def test_a_paused_batch_stands_still(system: System) -> None:
    store(system)
    system.resources.library.save(batch())
    handle = await system.start("batch")
    told = 0
    events = watch_run(system.client, handle.id)
    async for event in events:
        if event["type"] == "progress":
            break
    await handle.signal(wire.PAUSE_SIGNAL)

    async def finished() -> None:
        await handle.result()

    running = asyncio.create_task(finished())
    await asyncio.wait([running], timeout=1)
    assert not running.done()
    told = len(rows(system, "seen"))
    await asyncio.wait([running], timeout=0.5)
    assert len(rows(system, "seen")) == told < len(GOOD)
    await handle.signal(wire.GO_ON_SIGNAL)
    await running
    check_left(system)


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_a_long_batch_goes_on_in_new_executions(
    system: System, monkeypatch: pytest.MonkeyPatch, concurrency: int
) -> None:
    from temporalio import workflow

    monkeypatch.setattr(
        workflow.Info, "is_continue_as_new_suggested", lambda info: info.get_current_history_length() > 60
    )
    store(system)
    mail = {"type": "command", "name": "mail", "when": "item.id % 40 == 0", "command": "send_email",
            "args": {"to": "a@example.com", "subject": "no. {{ item.id }}", "body": "x"}}  # fmt: skip
    script = batch(concurrency=concurrency)
    script["steps"][1]["steps"].append(mail)
    events = await system.run(script, mocks=["send_email"])
    assert events[-1]["result"] == RESULT
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    check_left(system)
    description = await system.client.get_workflow_handle(events[0]["run_id"]).describe()
    assert description.raw_description.workflow_execution_info.first_run_id != description.run_id
