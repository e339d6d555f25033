"""Random programs on a real Temporal server: activities answer late, in any order, fail, conflict, or hang until they are given up; runs are
cancelled and approvals decided at any moment; and the worker keeps no workflow, so that each workflow task replays the run from its
beginning.

The events that were folded live, those folded from the finished history, and those that the machine told inside of the workflow are the same.
"""

import asyncio
import contextlib
import json
import time
import uuid
from collections import defaultdict
from random import Random
from typing import Any

from temporalio import activity, workflow
from temporalio.api.enums.v1 import EventType, WorkflowTaskFailedCause
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowHandle
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from gateway.runs.watch import Fold
from script import wire
from script.machine.machine import Machine
from script.wire import WORKFLOW_TYPE, Decision, Outcome, RunInput
from tests.script.machine_driver import EFFECTS, compile_all, event_line
from tests.script.random_programs import scripts
from workflows import ScriptWorkflow

ACTIVITIES = [
    *EFFECTS,
    wire.COMMIT_ACTIVITY,
    wire.ROLLBACK_ACTIVITY,
    wire.RESTORE_ACTIVITY,
    wire.CHUNK_ACTIVITY,
    wire.DISPATCH_ACTIVITY,
    wire.ASK_ACTIVITY,
]
TOLD: dict[str, list[str]] = defaultdict(list)
"""What the machines inside of the workflows told, by run: of the last time that it was replayed."""
MACHINES: dict[str, Machine] = {}
"""The machines inside of the workflows, by run."""


@workflow.defn(name=WORKFLOW_TYPE, sandboxed=False)
class Telling(ScriptWorkflow):
    """The workflow, telling a test its events."""

    @workflow.run
    async def run(self, start: RunInput) -> wire.RunOutput:
        return await super().run(start)

    async def _machine(self) -> Machine:
        machine = await super()._machine()
        machine.trace = True
        told: list[str] = []
        TOLD[workflow.info().workflow_id] = told
        MACHINES[workflow.info().workflow_id] = machine
        drain = machine.drain

        def telling() -> list[dict[str, Any]]:
            events = drain()
            told.extend(map(line, events))
            return events

        machine.drain = telling  # type: ignore[method-assign]
        return machine

    async def _drive(self, machine: Machine) -> Any:
        done = await super()._drive(machine)
        machine.drain()
        return done


def line(event: dict[str, Any]) -> str:
    """An event as one line, with its times."""
    return f"{event_line(event)} {event['started_at']} {event['duration_ms']}"


class Answers:
    """What activities do, as `random` says."""

    def __init__(self, seed: int) -> None:
        self.random = random = Random(seed)
        self.failing = random.choice([0, 0.05, 0.2])
        self.conflicting = random.choice([0, 0.1, 0.3])
        self.hanging = random.choice([0, 0, 0.1])
        self.slow = random.choice([0, 0.01, 0.05])

    async def __call__(self, call: dict[str, Any]) -> Outcome:
        random = self.random
        info = activity.info()
        if random.random() < self.hanging and info.activity_type in EFFECTS:
            for _ in range(20):
                activity.heartbeat()
                await asyncio.sleep(0.05)
        await asyncio.sleep(random.random() * self.slow)
        if random.random() < self.failing and info.activity_type != wire.ROLLBACK_ACTIVITY:
            raise _error("failed")
        if call.get("transaction") and random.random() < self.conflicting:
            raise _error("conflict")
        at = wire_now()
        if info.activity_type == wire.CHUNK_ACTIVITY:
            items = call["items"]
            return Outcome(
                {
                    "processed": len(items),
                    "failed": 0,
                    "after": None,
                    "done": len(items) < call["size"],
                    "stopped": False,
                    "reduced": defaultdict(dict, {"n": {"count": 1, "value": 1}, "all": {"count": 1, "value": [1]}}),
                    "outbox": 0,
                },
                None,
                at,
            )
        return Outcome([1, 2] if info.activity_type == "select" else 3, None, at)


def wire_now() -> str:
    moment = activity.info().started_time
    return moment.isoformat(timespec="milliseconds")


def _error(code: str) -> ApplicationError:
    details = {"code": code, "message": code, "retryable": False}
    return ApplicationError(code, details, type=code, non_retryable=True)


def activities(answers: Answers) -> list[Any]:
    def define(name: str) -> Any:
        async def perform(call: dict[str, Any]) -> Outcome:
            return await answers(call)

        return activity.defn(name=name)(perform)

    return [define(name) for name in ACTIVITIES]


async def disturb(random: Random, client: Client, handle: WorkflowHandle[Any, Any]) -> None:
    """Decide approvals, those of child runs too, pause, and perhaps cancel, until the run ends."""
    cancelling = random.choice([0, 0, 0.02, 0.1])
    pausing = random.choice([0, 0, 0.02])
    while True:
        await asyncio.sleep(random.random() * 0.05)
        for run_id, name in approvals(handle.id):
            if random.random() < 0.5:
                decision = Decision(name, random.random() < 0.7, "someone", "2026-01-01T00:00:00+00:00", "")
                with contextlib.suppress(RPCError):  # it has ended in the meantime
                    await client.get_workflow_handle(run_id).signal(wire.DECIDE_SIGNAL, decision)
        if random.random() < pausing:
            await handle.signal(wire.PAUSE_SIGNAL)
            await asyncio.sleep(random.random() * 0.05)
            await handle.signal(wire.GO_ON_SIGNAL)
        if random.random() < cancelling:
            await handle.cancel()


def approvals(run_id: str) -> list[tuple[str, str]]:
    """What a run and its child runs wait for a person for: runs and effects."""
    found = []
    for name, effect in MACHINES[run_id].state["effects"].items() if run_id in MACHINES else ():
        if effect["kind"] == "approval":
            found.append((run_id, name))
        elif effect["kind"] == "child":
            found += approvals(effect["call"]["run_id"])
    return found


def _check_task(event: HistoryEvent) -> None:
    """A workflow task fails only if something has come while the last one was under way."""
    if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED:
        failed = event.workflow_task_failed_event_attributes
        assert failed.cause == WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND, failed


def _first_difference(one: list[str], other: list[str]) -> str:
    """Where two stories part."""
    at = next((at for at, (here, there) in enumerate(zip(one, other, strict=False)) if here != there), None)
    return f"{one[at]}\n{other[at]}" if at is not None else f"{len(one)} and {len(other)} events"


async def run_one(client: Client, queue: str, seed: int) -> tuple[str, int]:
    """Run the programs of a seed, and compare what is told; gives how it ended, and in how many events."""
    programs = compile_all(scripts(Random(seed), 2))
    compiled = [program.to_json() for program in programs.values()]
    begin = RunInput(
        script=compiled[0]["name"],
        version=compiled[0]["hash"],
        arguments={},
        programs=json.loads(json.dumps(compiled)),
        dry_run=seed % 11 == 0,
    )
    run_id = f"random-{seed}-{uuid.uuid4().hex[:6]}"
    handle = await client.start_workflow(WORKFLOW_TYPE, begin, id=run_id, task_queue=queue)
    fold, live, history = Fold(client.data_converter, run_id), [], []
    disturbing = asyncio.create_task(disturb(Random(seed + 1), client, handle))
    try:
        async with asyncio.timeout(30):
            async for event in handle.fetch_history_events(wait_new_event=True):
                _check_task(event)
                history.append(event)
                live += map(line, await fold.add(event))
    finally:
        disturbing.cancel()
        if fold.machine is None or fold.machine.state["done"] is None:
            await handle.terminate()
    again, late = Fold(client.data_converter, run_id), []
    for event in history:
        late += map(line, await again.add(event))
    assert late == live
    assert TOLD[run_id] == live, _first_difference(TOLD[run_id], live)
    return live[-1].split()[2], len(live)


def worker(client: Client, queue: str, seed: int) -> Worker:
    return Worker(
        client,
        task_queue=queue,
        workflows=[Telling],
        activities=activities(Answers(seed)),
        max_cached_workflows=0,
        workflow_runner=UnsandboxedWorkflowRunner(),
    )


async def test_the_same_events_everywhere(client: Client) -> None:
    until, seed, ended = time.monotonic() + 15, 0, 0
    while time.monotonic() < until and ended < 60:
        queue = f"random-{uuid.uuid4().hex[:6]}"
        async with worker(client, queue, seed):
            found = await asyncio.gather(*(run_one(client, queue, seed + number) for number in range(6)))
        seed, ended = seed + 6, ended + len(found)
    assert ended >= 6
