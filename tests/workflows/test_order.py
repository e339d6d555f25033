"""What has come up to one workflow task is heard in one order, by the workflow and by who folds its history: here with no worker for
workflows while it comes."""

import asyncio
import json
import uuid
from typing import Any

import pytest
from temporalio import activity
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.exceptions import ApplicationError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from gateway.runs.watch import Fold, watch_run
from script.compiler.compiler import compile_script
from script.source.ast import Script
from script.wire import DECIDE_SIGNAL, WORKFLOW_TYPE, Decision, Outcome, RunInput
from tests.script.machine_driver import compile_all
from tests.workflows.test_random import TOLD, Telling, line, worker
from worker import PASSED_THROUGH
from workflows import ScriptWorkflow

STEPS: list[dict[str, Any]] = [
    {"type": "command", "name": "step", "command": "light", "args": {}, "catch": [
        {"errors": ["broken"], "steps": [{"type": "set", "name": "mended", "variable": "x", "value": 1}]}]},
    {"type": "say", "name": "behind", "message": "behind"},
]  # fmt: skip


def workflow_worker(client: Client, queue: str) -> Worker:
    restrictions = SandboxRestrictions.default.with_passthrough_modules(*PASSED_THROUGH)
    runner = SandboxedWorkflowRunner(restrictions=restrictions)
    return Worker(client, task_queue=queue, workflows=[ScriptWorkflow], workflow_runner=runner)


async def test_a_cancellation_is_heard_before_a_failure_that_came_first(client: Client) -> None:
    queue = f"order-{uuid.uuid4().hex[:8]}"
    begun, released = asyncio.Event(), asyncio.Event()

    @activity.defn(name="light")
    async def light(call: dict[str, Any]) -> None:
        begun.set()
        await released.wait()
        raise ApplicationError("broken", {"code": "broken", "message": "broken"}, type="broken", non_retryable=True)

    programs = [
        compile_script(Script.model_validate({"name": "order", "steps": STEPS}), {"light": "pure"})
        .with_calls({})
        .to_json()
    ]
    async with Worker(client, task_queue=queue, activities=[light]):
        async with workflow_worker(client, queue):
            start = RunInput(script="order", version=programs[0]["hash"], programs=programs)
            handle = await client.start_workflow(WORKFLOW_TYPE, start, id=queue, task_queue=queue)
            await begun.wait()
        released.set()
        async for event in handle.fetch_history_events(wait_new_event=True):
            if event.HasField("activity_task_failed_event_attributes"):
                break
        await handle.cancel()
        watching = asyncio.create_task(_events(client, queue))
        async with workflow_worker(client, queue):
            events = await watching
    assert (await handle.describe()).status == WorkflowExecutionStatus.CANCELED
    told = [(event["type"], event["status"]) for event in events]
    assert told == [("run", "started"), ("command", "canceled"), ("run", "canceled")]


async def _events(client: Client, run_id: str) -> list[dict[str, Any]]:
    return [event async for event in watch_run(client, run_id)]


@pytest.mark.parametrize("large", [0, 60_000])
async def test_what_is_begun_and_given_up_in_one_task_is_told_in_one_order(client: Client, large: int) -> None:
    """A decision and a cancellation come up together: children, activities and a loop are begun, and given up at once.

    Large calls are begun in several workflow tasks.
    """
    text = {"text": "{{ x }}"}
    called = {"name": "called", "steps": [{"type": "command", "name": "step", "command": "light", "args": {}}]}
    child = {"type": "script", "script_name": "called"}
    calling = {
        "name": "calling",
        "steps": [
            {"type": "set", "name": "long", "variable": "x", "value": "x" * large},
            {"type": "wait", "name": "asked", "approval": {"by": "someone", "prompt": "go on?"}},
            {"name": "looped", "type": "loop", "list": "[1, 2, 3]", "iterator": "n", "concurrency": 3, "is_async": True,
             "steps": [{**child, "name": "within"}]},
            {**child, "name": "first", "is_async": True},
            {"type": "command", "name": "alone", "command": "light", "args": text, "is_async": True},
            {**child, "name": "second", "is_async": True},
            {"type": "command", "name": "more", "command": "light", "args": text, "is_async": True},
            {"name": "many", "type": "loop", "list": json.dumps([*range(40)]), "iterator": "n", "concurrency": 40, "is_async": True,
             "steps": [{"type": "command", "name": "most", "command": "light", "args": text}]},
        ],
    }  # fmt: skip
    queue = f"vanished-{uuid.uuid4().hex[:8]}"
    compiled = [program.to_json() for program in compile_all([calling, called]).values()]
    start = RunInput(script="calling", version=compiled[0]["hash"], programs=compiled)
    fold = Fold(client.data_converter, queue)
    async with worker(client, queue, 0):
        handle = await client.start_workflow(WORKFLOW_TYPE, start, id=queue, task_queue=queue)
        async for event in handle.fetch_history_events(wait_new_event=True):
            await fold.add(event)
            if fold.machine is not None and fold.machine.state["effects"]:
                break
    (asked,) = fold.machine.state["effects"] if fold.machine is not None else ()
    await handle.signal(DECIDE_SIGNAL, Decision(asked, True, "someone", "2026-01-01T00:00:00+00:00", ""))
    await handle.cancel()
    again, folded = Fold(client.data_converter, queue), []
    async with worker(client, queue, 0):
        async for event in handle.fetch_history_events(wait_new_event=True):
            folded += map(line, await again.add(event))
    assert TOLD[queue] == folded
    assert "canceled" in folded[-1]


async def test_a_hundred_large_calls_and_results_at_once(client: Client) -> None:
    """Twelve megabytes of history, read again at each workflow task, for the worker keeps no workflow."""
    queue = f"large-{uuid.uuid4().hex[:8]}"

    @activity.defn(name="light")
    async def light(call: dict[str, Any]) -> Outcome:
        return Outcome(call["args"]["text"], None, "2026-01-01T00:00:00+00:00")

    each = {
        "type": "command",
        "name": "each",
        "command": "light",
        "args": {"text": "{{ x }}"},
        "output_variable": "got",
    }
    source = {"name": "large", "steps": [
        {"type": "set", "name": "long", "variable": "x", "value": "x" * 60_000},
        {"name": "all", "type": "loop", "list": json.dumps([*range(100)]), "iterator": "n", "concurrency": 100, "steps": [each]},
        {"type": "return", "name": "back", "value": "{{ size(x) }}"}]}  # fmt: skip
    compiled = [program.to_json() for program in compile_all([source]).values()]
    start = RunInput(script="large", version=compiled[0]["hash"], programs=compiled)
    async with Worker(
        client,
        task_queue=queue,
        workflows=[Telling],
        activities=[light],
        max_cached_workflows=0,
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        handle = await client.start_workflow(WORKFLOW_TYPE, start, id=queue, task_queue=queue)
        assert (await handle.result())["value"] == 60_000
        events = await _events(client, queue)
    assert [len(event["result"]) for event in events if event["type"] == "command"] == [60_000] * 100
