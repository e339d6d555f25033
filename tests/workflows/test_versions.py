"""Recorded runs are replayed by this interpreter, and folded to the events that they told: a change that breaks running workflows, or
the stories of those that have ended, fails here. How they are recorded, and when: `recorded.py`."""

import json
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from activities.payloads import create_data_converter
from gateway.runs.watch import Fold
from script.machine import machine, transactions
from tests.workflows.recorded import FOLDER, KINDS
from worker import PASSED_THROUGH
from workflows import ScriptWorkflow

FILES = sorted(FOLDER.glob("*.json"))


def recorded(path: Path) -> tuple[dict[str, Any], list[WorkflowHistory]]:
    found = json.loads(path.read_text(encoding="utf-8"))
    return found, [WorkflowHistory.from_json(found["run_id"], history) for history in found["histories"]]


async def replay(history: WorkflowHistory) -> None:
    restrictions = SandboxRestrictions.default.with_passthrough_modules(*PASSED_THROUGH)
    replayer = Replayer(
        workflows=[ScriptWorkflow],
        data_converter=create_data_converter(None),
        workflow_runner=SandboxedWorkflowRunner(restrictions=restrictions),
    )
    await replayer.replay_workflow(history)


def test_every_kind_is_recorded() -> None:
    assert {path.stem for path in FILES} >= set(KINDS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
async def test_recorded_runs_replay(path: Path) -> None:
    _, histories = recorded(path)
    for history in histories:
        await replay(history)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
async def test_recorded_runs_tell_the_same_events(path: Path) -> None:
    found, histories = recorded(path)
    fold, told = Fold(create_data_converter(None), found["run_id"]), []
    for history in histories:
        for event in history.events:
            told += await fold.add(event)
    assert told == found["events"]


def test_the_recordings_show_what_they_are_named_for() -> None:
    """A recorded conflict has a rerun, a moved run several executions, and so on: otherwise they prove nothing."""
    stories = {path.stem: recorded(path) for path in FILES}
    events = {name: found["events"] for name, (found, _) in stories.items()}
    assert any(event["status"] == "rerun" for event in events["conflict"])
    assert len(stories["continue_as_new"][1]) > 2
    assert [event["status"] for event in events["batch"]].count("running") == 3
    assert events["saga"][-1]["status"] == events["cancel"][-1]["status"] == "compensated"
    assert sum(event["status"] == "retrying" for event in events["timeout"]) == 1
    assert events["approval"][-1]["result"] == "fine"
    history = [event.event_type for event in stories["children"][1][0].events]
    begun = EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED
    given_up = history.index(EventType.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED)
    heard = history.index(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED)
    assert begun in history[:given_up]
    assert begun in history[heard:], "it was not given up before all of its children had begun"
    undone = [event for event in events["children"] if event.get("name") == "undone"]
    assert len(undone) == history.count(EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED) > 0
    kinds = {event.event_type for event in stories["pure"][1][0].events}
    assert EventType.EVENT_TYPE_TIMER_FIRED in kinds  # it yields
    assert EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED not in kinds


async def test_a_changed_interpreter_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof of the proof: other fuel changes where a run yields, another name of effects what it asks for."""
    _, (pure,) = recorded(FOLDER / "pure.json")
    with monkeypatch.context() as patch:
        patch.setattr(machine.Machine.step, "__defaults__", (machine.FUEL // 4,))
        with pytest.raises(Exception, match=r"TMPRL1100|[Nn]ondeterminism"):
            await replay(pure)
    _, (transaction,) = recorded(FOLDER / "transaction.json")
    with monkeypatch.context() as patch:
        patch.setattr(transactions, "effect_id", lambda machine, key: f"{key}~")
        with pytest.raises(Exception, match=r"TMPRL1100|[Nn]ondeterminism"):
            await replay(transaction)
