"""The golden files of the machine on a real Temporal server: the same events as on the local machine, watched through the history.

Every activity answers from the file's table, when its turn comes: in the order in which the local run answered its effects. Runs of
called scripts are real child workflows.
"""

import asyncio
import json
import re
import uuid
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from temporalio import activity
from temporalio.client import Client, WorkflowHandle
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from gateway.runs.watch import Fold
from script import wire
from script.machine.state import MAIN
from script.wire import WORKFLOW_TYPE, Decision, Outcome, RunInput
from tests.script.machine_driver import EFFECTS, Table, compile_all, drive, event_line, start
from worker import PASSED_THROUGH
from workflows import ScriptWorkflow

FOLDER = Path(__file__).parent.parent / "script" / "golden" / "machine"
LOCAL = {"compensation_fails": "its pauses take too long"}
ACTIVITIES = [
    *EFFECTS,
    wire.COMMIT_ACTIVITY,
    wire.ROLLBACK_ACTIVITY,
    wire.RESTORE_ACTIVITY,
    wire.PARTITION_ACTIVITY,
    wire.CHUNK_ACTIVITY,
    wire.DISPATCH_ACTIVITY,
    wire.ASK_ACTIVITY,
]


class Turns:
    """Answers the effects of one run from a table, one after the other."""

    def __init__(self, run_id: str, table: Table, order: list[str]) -> None:
        self.run_id = run_id
        self._table, self._order = table, order
        self._released: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._cancelling = False
        self._seen: set[str] = set()

    async def answer(self, name: str) -> Outcome:
        await self._released[name].wait()
        return self._outcome(name)

    def _outcome(self, name: str) -> Outcome:
        known = self._table.outcomes[name]
        outcome = known.pop(0) if known else Outcome()
        if outcome.error is not None:
            raise ApplicationError(
                outcome.error["message"], outcome.error, type=outcome.error["code"], non_retryable=True
            )
        return outcome

    def of_child(self, key: str) -> Outcome:
        """The only step of a child run gives what the table has for the child."""
        return self._outcome(key)

    async def advance(self, fold: Fold, handle: WorkflowHandle[Any, Any]) -> None:
        """Let the next effect end, once the one before has been heard."""
        machine = fold.machine
        self._seen.update(machine.state["effects"] if machine is not None else ())
        while self._order and machine is not None and machine.state["done"] is None:
            name = self._order[0]
            effect = machine.state["effects"].get(name)
            if name == self._table.cancel_at:
                if not self._cancelling and effect is not None:
                    self._cancelling = True
                    await handle.cancel()
                if not machine.state["fibers"][MAIN].get("cancelled"):
                    return
                self._table.cancel_at = None
                if effect is None or effect["kind"] in ("sleep", "approval"):
                    self._order.pop(0)
                    continue
            released = self._released[name]
            if effect is None and name in self._seen:
                self._order.pop(0)
                continue
            if effect is None or released.is_set():
                return
            released.set()
            if effect["kind"] == "approval":
                value = self._outcome(name).value
                await handle.signal(wire.DECIDE_SIGNAL, Decision(effect=name, **value))


def fake_activities(turns: Turns) -> list[Any]:
    def define(name: str) -> Any:
        async def perform(call: dict[str, Any]) -> Outcome:
            info = activity.info()
            assert info.workflow_id is not None
            if info.workflow_id == turns.run_id:
                return await turns.answer(info.activity_id)
            if name in EFFECTS:
                return turns.of_child(info.workflow_id.removeprefix(f"{turns.run_id}/"))
            return Outcome()

        return activity.defn(name=name)(perform)

    return [define(name) for name in ACTIVITIES]


def comparable(line: str) -> str:
    """Without what differs rightly: which step of a child run failed, when a dry run gave an approval, and how quick a batch is."""
    line = re.sub(r'"(rate|eta_seconds)":[^,}]*,?', "", line)
    return re.sub(r',"step":"[^"]*"|"at":"[^"]*",(?="by":"dry_run")', "", line)


def local(path: Path) -> tuple[dict[str, Any], Table, list[str], list[str]]:
    """The programs, a fresh table, the order of the answers and the events of the local run."""
    parts = path.read_text(encoding="utf-8").split("\n---\n")
    scripts = parts[0].split("\n===\n")
    scripts[0] = "\n".join(line for line in scripts[0].splitlines() if not line.startswith("#"))
    programs = compile_all(scripts)
    table = Table(parts[1].splitlines())
    lines, _ = drive(start(programs, table), table)
    events = [line for line in lines if not line.startswith("    ")]
    return programs, Table(parts[1].splitlines()), table.answered, events


@pytest.mark.parametrize(
    "path", sorted(path for path in FOLDER.glob("*.txt") if path.stem not in LOCAL), ids=lambda path: path.stem
)
async def test_the_same_events_on_a_real_server(path: Path, client: Client) -> None:
    programs, table, order, expected = local(path)
    run_id = f"golden-{path.stem}-{uuid.uuid4().hex[:6]}"
    turns = Turns(run_id, table, order)
    compiled = [program.to_json() for program in programs.values()]
    state = start(programs, table).state | {"seq": 0} if table.settings["failed_again"] else None
    begin = RunInput(
        state=json.loads(json.dumps(state)),
        rerun={"of": "old", "from": "each", "elements": "failed"} if state else None,
        script=compiled[0]["name"],
        version=compiled[0]["hash"],
        arguments=table.settings["arguments"],
        dry_run=table.settings["dry_run"],
        programs=json.loads(json.dumps(compiled)),
    )
    restrictions = SandboxRestrictions.default.with_passthrough_modules(*PASSED_THROUGH)
    async with Worker(
        client,
        task_queue=run_id,
        workflows=[ScriptWorkflow],
        activities=fake_activities(turns),
        workflow_runner=SandboxedWorkflowRunner(restrictions=restrictions),
    ):
        handle = await client.start_workflow(WORKFLOW_TYPE, begin, id=run_id, task_queue=run_id)
        fold, told = Fold(client.data_converter, run_id), []
        async for event in handle.fetch_history_events(wait_new_event=True):
            told += await fold.add(event)
            await turns.advance(fold, handle)
    assert [comparable(event_line(event)) for event in told] == [comparable(line) for line in expected]
