"""Runs without a limit on their length: they go on in new executions, and neither their events nor what they wait for is cut.

The server here suggests to continue as new after few events. SOP_LONG_TESTS=1 takes 100,000 steps, and a server as the product has it.
"""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import pytest_asyncio
from temporal_server import TemporalServer
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle

from activities import Activities
from activities.payloads import create_data_converter
from gateway.runs.watch import Fold, watch_run
from script import wire
from script.machine import machine as machine_module
from script.wire import Decision, RunInput
from tests.conftest import System
from tests.workflows.test_order import workflow_worker
from toolbox import builtin_registry, tool
from worker import THREADS, create_resources, create_worker

LONG = os.environ.get("SOP_LONG_TESTS") == "1"
SUGGESTED = 150
STEPS = 100_000 if LONG else 900


@tool(effect="pure")
def light(n: int) -> int:
    """As good as nothing."""
    return n


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def short(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    """A worker on a server that suggests to continue as new every few steps."""
    flags = ("--dynamic-config-value", f"limit.historyCount.suggestContinueAsNew={SUGGESTED}")
    folder = tmp_path_factory.mktemp("long")
    server = TemporalServer(folder, flags=() if LONG else flags)
    server.start()
    client = await Client.connect(server.address, data_converter=create_data_converter(None))
    registry = builtin_registry()
    registry.register(light)
    resources = create_resources(folder, registry=registry)
    activities = Activities(resources)
    with ThreadPoolExecutor(THREADS) as threads:
        async with create_worker(client, "long", activities, threads):
            yield System(client, resources, "long", folder)
    activities.close()
    resources.databases.close()
    server.stop()
    await asyncio.sleep(0.3)


@dataclass
class Followed:
    """A run's events, as its history was folded, and the number of events of each execution's history."""

    events: list[dict[str, Any]] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    moves: list[int] = field(default_factory=list)
    """With how many effects that were waited for each new execution began."""

    @property
    def result(self) -> Any:
        return self.events[-1]["result"]


async def follow(client: Client, run_id: str) -> Followed:
    """Fold all executions of a run; the fold's machine has to be what each of them began with."""
    found, fold = Followed(), Fold(client.data_converter, run_id)
    description = await client.get_workflow_handle(run_id).describe()
    execution: str | None = description.raw_description.workflow_execution_info.first_run_id
    while execution is not None:
        found.lengths.append(0)
        fold.continued = None
        handle = client.get_workflow_handle(run_id, run_id=execution)
        async for event in handle.fetch_history_events(wait_new_event=True):
            found.events += await fold.add(event)
            found.lengths[-1] += 1
            if event.HasField("workflow_execution_started_event_attributes"):
                payloads = event.workflow_execution_started_event_attributes.input.payloads
                begun: RunInput = (await client.data_converter.decode(payloads, [RunInput]))[0]
                if begun.state is not None:
                    assert fold.machine is not None
                    assert fold.machine.state == begun.state
                    found.moves.append(len(begun.state["effects"]))
        execution = fold.continued
    assert [event["seq"] for event in found.events] == list(range(1, len(found.events) + 1))
    return found


def loop_of(count: int, name: str = "each") -> dict[str, Any]:
    """A loop of light steps."""
    return {"type": "loop", "name": name, "while": f"count_{name} < {count}", "iterator": "i", "steps": [
        {"type": "command", "name": "step", "command": "light", "args": {"n": f"{{{{ count_{name} + 1 }}}}"}, "output_variable": f"count_{name}"}]}  # fmt: skip


def zero(name: str = "each") -> dict[str, Any]:
    return {"type": "set", "variable": f"count_{name}", "value": 0}


async def start(system: System, steps: list[dict[str, Any]], **more: Any) -> WorkflowHandle[Any, Any]:
    name = f"long_{uuid.uuid4().hex[:8]}"
    system.resources.library.save({"name": name, "steps": steps, **more})
    return await system.start(name)


async def wait_for(system: System, handle: WorkflowHandle[Any, Any], moves: int) -> None:
    """Until a run is in its `moves`-th further execution."""
    seen: set[str] = set()
    while len(seen) <= moves:
        found = await system.client.get_workflow_handle(handle.id).describe()
        assert found.status == WorkflowExecutionStatus.RUNNING
        seen.add(found.run_id)
        await asyncio.sleep(0.02)


@pytest.mark.timeout(7200 if LONG else 120)
async def test_a_loop_of_any_length(short: System) -> None:
    handle = await start(short, [zero(), loop_of(STEPS), {"type": "return", "value": "{{ count_each }}"}])
    found = await follow(short.client, handle.id)
    assert found.result == STEPS
    assert sum(event["type"] == "command" for event in found.events) == STEPS
    bound = 4_200 if LONG else SUGGESTED + 20
    assert max(found.lengths) < bound
    assert len(found.lengths) > STEPS * 5 / bound
    told = [event async for event in watch_run(short.client, handle.id)]
    assert told == found.events


async def test_a_watcher_that_comes_back_reads_no_execution_before_its_place(short: System) -> None:
    handle = await start(short, [zero(), loop_of(100)])
    found = await follow(short.client, handle.id)
    assert len(found.lengths) > 3
    read: list[str | None] = []

    class Counting(Client):
        def get_workflow_handle(self, *arguments: Any, **named: Any) -> Any:
            read.append(named.get("run_id"))
            return super().get_workflow_handle(*arguments, **named)

    last = len(found.events) - 1
    counting = Counting(**short.client.config())
    assert [event async for event in watch_run(counting, handle.id, last)] == found.events[last:]
    assert len(set(read) - {None}) == 1
    read.clear()
    middle = len(found.events) // 2
    assert [event async for event in watch_run(counting, handle.id, middle)] == found.events[middle:]
    assert 1 < len(set(read) - {None}) < len(found.lengths)


async def test_what_is_waited_for_moves_along(short: System) -> None:
    """A timer, an approval and a time-out that began in the first execution, beside a loop through several."""
    handle = await start(
        short,
        [
            zero(),
            {"type": "wait", "name": "timer", "duration": "5s", "is_async": True},
            {"type": "wait", "name": "person", "approval": {"by": "ann", "prompt": "may it?"}, "is_async": True, "output_variable": "word"},
            {"type": "block", "name": "limited", "timeout": 8, "catch": [{"errors": ["timeout"], "steps": [
                {"type": "set", "variable": "why", "value": "{{ error.code }}"}]}], "steps": [loop_of(1_000_000)]},
            {"type": "return", "value": "{{ why + ' ' + word.comment }}"},
        ],
    )  # fmt: skip
    following = asyncio.create_task(follow(short.client, handle.id))
    await wait_for(short, handle, 1)
    decision = Decision("person", True, "ann", "2026-01-01T00:00:00.000+00:00", "fine")
    await handle.signal(wire.DECIDE_SIGNAL, decision)
    found = await following
    assert found.result == "timeout fine"
    assert len(found.lengths) > 2
    assert found.moves[0] == 3
    took = {event["name"]: event["duration_ms"] for event in found.events if event["type"] in ("wait", "block")}
    assert 5_000 <= took["timer"] < 8_000


async def test_signals_during_moves_are_heard(short: System) -> None:
    """A run that is paused and goes on again all the time, while it moves: nothing is lost, and the watch agrees."""
    handle = await start(
        short,
        [zero(), {"type": "wait", "name": "person", "approval": {"by": "ann", "prompt": "?"}, "is_async": True},
         loop_of(250), {"type": "return", "value": "{{ count_each }}"}],
    )  # fmt: skip
    following = asyncio.create_task(follow(short.client, handle.id))
    for _ in range(60):
        await handle.signal(wire.PAUSE_SIGNAL)
        await handle.signal(wire.GO_ON_SIGNAL)
    await handle.signal(wire.DECIDE_SIGNAL, Decision("person", True, "ann", "2026-01-01T00:00:00.000+00:00"))
    found = await following
    assert found.result == 250
    assert len(found.lengths) > 5


@pytest.mark.parametrize("moves", [1, 2, 3])
async def test_a_cancellation_that_meets_a_move_of_pure_steps(short: System, moves: int) -> None:
    """Pure steps move at their pauses, with timers only: what has come up to the same moment is heard before."""
    endless = {"type": "loop", "name": "each", "while": "true", "iterator": "i", "steps": [{"type": "set", "variable": "x", "value": "{{ i }}"}]}  # fmt: skip
    handle = await start(short, [endless])
    following = asyncio.create_task(follow(short.client, handle.id))
    await wait_for(short, handle, moves)
    for _ in range(20):
        await handle.signal(wire.GO_ON_SIGNAL)
    await handle.cancel()
    found = await following
    assert found.events[-1]["status"] == "canceled"
    assert (await handle.describe()).status == WorkflowExecutionStatus.CANCELED


@pytest.mark.parametrize("cancelling", [False, True])
async def test_a_cancellation_that_comes_with_signals_that_make_the_history_long(
    short: System, cancelling: bool
) -> None:
    """The SDK lets the workflow hear the signals of a task first, and a run that then continued as new would never hear the rest."""
    queue = f"late-{uuid.uuid4().hex[:8]}"
    steps = [
        {"type": "wait", "name": "person", "approval": {"by": "ann", "prompt": "?"}},
        {"type": "return", "value": "{{ 1 }}"},
    ]
    async with workflow_worker(short.client, queue):
        handle = await start(replace(short, task_queue=queue), steps)
        async for event in handle.fetch_history_events(wait_new_event=True):
            if event.HasField("workflow_task_completed_event_attributes"):
                break
    for _ in range(SUGGESTED):
        await handle.signal(wire.GO_ON_SIGNAL)
    decision = Decision("person", True, "ann", "2026-01-01T00:00:00.000+00:00")
    await (handle.cancel() if cancelling else handle.signal(wire.DECIDE_SIGNAL, decision))
    following = asyncio.create_task(follow(short.client, handle.id))
    async with workflow_worker(short.client, queue):
        found = await following
    assert found.events[-1]["status"] == ("canceled" if cancelling else "completed")
    assert found.events[-1].get("result") == (None if cancelling else 1)


async def test_a_cancelled_run_stays_to_end_as_canceled(short: System) -> None:
    handle = await start(
        short,
        [
            {"type": "command", "name": "done", "command": "light", "args": {"n": 1},
             "compensate": [zero("back"), loop_of(80, "back")]},
            {"type": "wait", "name": "ever", "duration": "1h"},
        ],
    )  # fmt: skip
    following = asyncio.create_task(follow(short.client, handle.id))
    await asyncio.sleep(0.5)
    await handle.cancel()
    found = await following
    assert len(found.lengths) == 1
    assert found.lengths[0] > 2 * SUGGESTED
    assert found.events[-1]["status"] == "compensated"
    assert (await handle.describe()).status == WorkflowExecutionStatus.CANCELED


async def test_side_by_side_work_moves_too(short: System) -> None:
    """Iterations side by side are never quiet by themselves: nothing more is begun until they are."""
    body = [{"type": "command", "name": f"step_{number}", "command": "light", "args": {"n": "{{ n + 0 }}"}, "output_variable": "r"} for number in range(3)]  # fmt: skip
    handle = await start(
        short,
        [{"type": "loop", "name": "wide", "list": str(list(range(120))), "iterator": "n", "concurrency": 8, "steps": body, "output_variable": "all"},
         {"type": "return", "value": "{{ sum(all) }}"}],
    )  # fmt: skip
    found = await follow(short.client, handle.id)
    assert found.result == sum(range(120))
    assert len(found.lengths) > 3
    assert max(found.lengths) < 2 * SUGGESTED


async def test_beside_a_child_run_nothing_is_held_back(short: System) -> None:
    """A child that waits for a person does not stop the steps beside it, however long the history grows."""
    short.store("shop", "items", ["id"])
    short.resources.library.save(
        {"name": "asks", "database": "shop", "steps": [
            {"type": "wait", "name": "person", "approval": {"by": "ann", "prompt": "?"}}]})  # fmt: skip
    handle = await start(
        short,
        [zero(), {"type": "script", "name": "child", "script_name": "asks", "script_args": {}, "is_async": True},
         loop_of(60), {"type": "say", "name": "ready", "message": "ready"}],
    )  # fmt: skip
    following = asyncio.create_task(follow(short.client, handle.id))
    async for event in watch_run(short.client, handle.id):
        if event.get("name") == "ready":
            break
    child = short.client.get_workflow_handle(f"{handle.id}/child")
    await child.signal(wire.DECIDE_SIGNAL, Decision("person", True, "ann", "2026-01-01T00:00:00.000+00:00"))
    found = await following
    assert found.events[-1]["status"] == "completed"


async def test_a_run_too_large_to_move_ends_in_order(short: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_module, "MAX_MOVED_BYTES", 5_000)
    monkeypatch.setattr(machine_module, "MAX_EVENTS", 300)
    handle = await start(
        short,
        [zero(), {"type": "set", "variable": "large", "value": "x" * 4_000},
         {"type": "command", "name": "done", "command": "light", "args": {"n": 1},
          "compensate": [{"type": "command", "name": "undone", "command": "light", "args": {"n": 2}}]},
         loop_of(1_000)],
    )  # fmt: skip
    found = await follow(short.client, handle.id)
    assert len(found.lengths) == 1
    assert found.events[-1]["error"]["code"] == "too_large"
    assert found.events[-1]["status"] == "compensated"
    assert 300 < found.lengths[0] < 340
