"""Runs of every kind, recorded: their Temporal histories and their events stand in `histories/`, and every later release has to replay them.

    PYTHONPATH=temporal-dev python -m tests.workflows.recorded

That is allowed as long as no release has been made whose runs they stand for. For a released interpreter a history is never recorded
again: a change that does not replay it needs a patch marker or a worker version of its own (docs/architecture/versions.md). New
kinds are added at any time: only what is missing is recorded, unless `--all` is given.
"""

import argparse
import asyncio
import json
import os
import re
import sys
import tempfile
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from temporal_server import TemporalServer
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHandle

from activities import Activities
from activities.payloads import create_data_converter
from gateway.runs.watch import Fold
from query import open_store
from script import wire
from script.wire import Decision
from tests.conftest import System
from worker import THREADS, create_resources, create_worker

FOLDER = Path(__file__).parent / "histories"
SUGGESTED = 100
"""The server that records suggests to continue as new after so many events."""

Act = Callable[[System, WorkflowHandle[Any, Any]], Awaitable[None]]


async def nothing(system: System, handle: WorkflowHandle[Any, Any]) -> None:
    """Let the run be."""


async def decide(system: System, handle: WorkflowHandle[Any, Any]) -> None:
    await asyncio.sleep(0.5)
    await handle.signal(wire.DECIDE_SIGNAL, Decision("ask", True, "ann", "2026-01-01T00:00:00.000+00:00", "fine"))


async def cancel_at_once(system: System, handle: WorkflowHandle[Any, Any]) -> None:
    """Cancel a run when it has asked for its child runs, and before they have all begun."""
    async for event in handle.fetch_history_events(wait_new_event=True):
        if event.event_type == EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED:
            await handle.cancel()
            return


async def pause_and_cancel(system: System, handle: WorkflowHandle[Any, Any]) -> None:
    await asyncio.sleep(0.5)
    await handle.signal(wire.PAUSE_SIGNAL)
    await handle.signal(wire.GO_ON_SIGNAL)
    await handle.cancel()


async def interfere(system: System, handle: WorkflowHandle[Any, Any]) -> None:
    """Change the row that the run has read, before it commits."""
    await asyncio.sleep(0.5)
    system.resources.databases.open("shop").transact(
        lambda transaction: open_store(transaction, "items").update(1, {"n": 100})
    )


@dataclass(frozen=True)
class Kind:
    """A kind of run: its scripts, the called ones first, and what happens to it."""

    scripts: list[dict[str, Any]]
    act: Act = nothing
    arguments: dict[str, Any] = field(default_factory=dict)


def command(name: str, tool: str, args: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "command", "name": name, "command": tool, "args": args, **more}


def describe(name: str, **more: Any) -> dict[str, Any]:
    """A step with an effect that is neither in a transaction nor outside."""
    return command(name, "describe_tool", {"name": "get"}, **more)


def put(name: str, record: dict[str, Any], **more: Any) -> dict[str, Any]:
    return command(name, "add", {"store": "items", "record": record}, **more)


def script(name: str, steps: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {"name": name, "steps": steps, **more}


READ = command("read", "get", {"store": "items", "key": 1}, output_variable="item")
WRITE = command("write", "update", {"store": "items", "key": 1, "values": {"n": "{{ item.n + 1 }}"}})
KINDS: dict[str, Kind] = {
    "pure": Kind([script("pure", [
        {"type": "loop", "name": "each", "list": str(list(range(1050))), "iterator": "i", "output_variable": "all", "steps": [
            {"type": "set", "variable": "x", "value": "{{ i * n }}"}]},
        {"type": "if", "name": "large", "condition": "sum(all) > 10", "then": [{"type": "return", "name": "back", "value": "{{ sum(all) }}"}]}],
        parameters=["n"])], arguments={"n": 3}),
    "transaction": Kind([script("transaction", [READ, WRITE, put("more", {"id": 2, "n": "{{ item.n }}"}),
        {"type": "return", "value": "{{ item }}"}], database="shop")]),
    "failed": Kind([script("failed", [put("good", {"id": 2, "n": 0}), put("bad", {"id": 1, "n": 0})], database="shop")]),
    "conflict": Kind([script("conflict", [READ, {"type": "wait", "name": "meanwhile", "duration": "1s"}, WRITE,
        {"type": "return", "value": "{{ item.n }}"}], database="shop")], interfere),
    "saga": Kind([
        script("book", [put("note", {"id": "{{ id }}", "n": 0})], parameters=["id"], database="shop"),
        script("unbook", [command("gone", "delete", {"store": "items", "key": "{{ id }}"})], parameters=["id"], database="shop"),
        script("saga", [
            {"type": "script", "name": "book", "script_name": "book", "script_args": {"id": 7},
             "compensate": [{"type": "script", "name": "undo", "script_name": "unbook", "script_args": {"id": 7}}]},
            describe("tell", compensate=[describe("sorry")]),
            {"type": "fail", "name": "no", "code": "sold_out", "message": "no"}])]),
    "swarm": Kind([script("swarm", [
        describe("left", is_async=True, output_variable="a"), describe("right", is_async=True, output_variable="b"),
        {"type": "loop", "name": "wide", "list": "[1, 2, 3, 4, 5]", "iterator": "i", "concurrency": 3, "steps": [describe("step")]},
        {"type": "return", "value": "{{ a.name + b.name }}"}])]),
    "batch": Kind([script("batch", [
        {"type": "loop", "name": "each", "list": str(list(range(25))), "iterator": "n", "batch_size": 10, "output_variable": "r",
         "reduce": {"total": {"op": "sum", "value": "{{ n }}"}}, "steps": [put("row", {"id": "{{ 100 + n }}", "n": "{{ n }}"}),
            {**command("letter", "send_email", {"to": "a@example.com", "subject": "s", "body": "b"}), "when": "n == 3"}]},
        {"type": "return", "value": "{{ r.reduced.total }}"}], database="shop")]),
    "approval": Kind([script("approval", [
        {"type": "wait", "name": "ask", "approval": {"by": "ann", "prompt": "may it?"}, "timeout": 60, "output_variable": "word"},
        {"type": "return", "value": "{{ word.comment }}"}])], decide),
    "cancel": Kind([script("cancel", [
        describe("done", compensate=[describe("undone")]),
        {"type": "block", "name": "around", "steps": [{"type": "wait", "name": "ever", "duration": "1h"}], "finally": [describe("last")]}])],
        pause_and_cancel),
    "children": Kind([
        script("child", [describe("done", compensate=[describe("undone")])]),
        script("children", [{"type": "loop", "name": "each", "list": str(list(range(30))), "iterator": "n", "concurrency": 30, "steps": [
            {"type": "script", "name": "called", "script_name": "child", "is_async": True}]}])], cancel_at_once),
    "continue_as_new": Kind([script("continue_as_new", [
        {"type": "wait", "name": "beside", "duration": "1s", "is_async": True},
        {"type": "set", "variable": "n", "value": 0},
        {"type": "loop", "name": "each", "list": str(list(range(40))), "iterator": "i", "steps": [
            describe("step"), {"type": "set", "variable": "n", "value": "{{ n + i }}"}]},
        {"type": "return", "value": "{{ n }}"}])]),
    "timeout": Kind([script("timeout", [
        {"type": "block", "name": "slow", "timeout": 0.3, "retry": {"max_attempts": 2, "initial_interval": 0.1},
         "catch": [{"errors": ["timeout"], "steps": [{"type": "set", "variable": "why", "value": "{{ error.code }}"}]}],
         "steps": [{"type": "wait", "name": "ever", "duration": "1h"}]},
        {"type": "return", "value": "{{ why }}"}])]),
}  # fmt: skip


async def record(system: System, name: str, kind: Kind) -> dict[str, Any]:
    """Run it, and give {run_id, histories, events}: a history for each execution, oldest first."""
    for source in kind.scripts:
        system.resources.library.save(source)
    handle = await system.start(kind.scripts[-1]["name"], kind.arguments, id=f"recorded-{name}", mocks=["send_email"])
    await kind.act(system, handle)
    fold, histories, events = Fold(system.client.data_converter, handle.id), [], []
    description = await handle.describe()
    execution: str | None = description.raw_description.workflow_execution_info.first_run_id
    while execution is not None:
        fold.continued = None
        of_one = system.client.get_workflow_handle(handle.id, run_id=execution)
        async for event in of_one.fetch_history_events(wait_new_event=True):
            events += await fold.add(event)
        histories.append(without_places((await of_one.fetch_history()).to_json_dict()))
        execution = fold.continued
    return {"run_id": handle.id, "histories": histories, "events": events}


def without_places(value: Any, name: str = "") -> Any:
    """A history without what it says of the machine and the folder that it was recorded in."""
    if isinstance(value, list):
        return [without_places(element) for element in value]
    if isinstance(value, dict):
        return {key: without_places(found, key) for key, found in value.items()}
    place = name in ("identity", "stackTrace") or (name == "name" and re.fullmatch(r"\d+@.+-[0-9a-f]{32}", str(value)))
    return "" if place else value


async def main(everything: bool) -> None:
    """Record what is missing, or everything."""
    FOLDER.mkdir(exist_ok=True)
    flags = ("--dynamic-config-value", f"limit.historyCount.suggestContinueAsNew={SUGGESTED}")
    for name, kind in KINDS.items():
        path = FOLDER / f"{name}.json"
        if path.exists() and not everything:
            continue
        with tempfile.TemporaryDirectory(prefix="sop-recorded-") as folder, ThreadPoolExecutor(THREADS) as threads:
            server = TemporalServer(Path(folder), flags=flags)
            server.start()
            client = await Client.connect(server.address, data_converter=create_data_converter(None))
            resources = create_resources(Path(folder))
            activities = Activities(resources)
            async with create_worker(client, "recorded", activities, threads):
                system = System(client, resources, "recorded", Path(folder))
                system.store("shop", "items", ["id"], [{"id": 1, "n": 10}])
                found = await record(system, name, kind)
            activities.close()
            resources.databases.close()
            server.stop()
        path.write_text(json.dumps(found, separators=(",", ":"), sort_keys=True) + "\n", encoding="utf-8")
        last = found["events"][-1]
        print(f"{name}: {len(found['histories'])} executions, {len(found['events'])} events, {last['status']}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="also what was recorded before")
    asyncio.run(main(parser.parse_args().all))
    sys.stdout.flush()
    os._exit(0)
