"""What has come up to one workflow task is heard in one order, by the workflow and by who folds its history: here with no worker for
workflows while it comes."""

import asyncio
import uuid
from typing import Any

from temporalio import activity
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from gateway.runs.watch import watch_run
from script.compiler.compiler import compile_script
from script.source.ast import Script
from script.wire import WORKFLOW_TYPE, RunInput
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
