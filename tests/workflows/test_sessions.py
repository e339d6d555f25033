"""Sessions on a real Temporal server: one message after the other, stopped, limited, moved to another worker, and never heard twice."""

import asyncio
import sys
import threading
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from temporal_server import TemporalServer
from temporalio import activity
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import Client, WorkflowHandle
from temporalio.worker import Replayer, Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

import workflows.authoring
from activities import Activities, Resources
from agent import Message, ModelRefused, ModelUnavailable
from gateway.runs.watch import watch_run
from script.session_wire import (
    ACT_ACTIVITY,
    CLOSE_SIGNAL,
    MESSAGE_SIGNAL,
    SESSION_WORKFLOW,
    STOP_SIGNAL,
    Approval,
    SessionInput,
    SessionMessage,
    workflow_id,
)
from script.wire import WORKFLOW_TYPE, RunInput
from tests.authoring.conftest import PEOPLE
from tests.authoring.harness import ME, Actor, Talk, rows_of, with_rows
from toolbox.authoring.conversations import now_utc
from toolbox.authoring.state import Limits
from worker import PASSED_THROUGH, THREADS, create_resources, create_worker, with_schedules

Record = dict[str, Any]
MAIL: Record = {
    "type": "command",
    "name": "mail",
    "command": "send_email",
    "args": {"to": "a@example.com", "subject": "s", "body": "b"},
}


@dataclass
class Sessions:
    """A worker, and people who talk."""

    client: Client
    resources: Resources
    queue: str
    authors: pytest.MonkeyPatch
    release: threading.Event = field(default_factory=threading.Event)
    hung: threading.Event = field(default_factory=threading.Event)

    def author(self, *lines: Any) -> Actor:
        assert isinstance(self.resources.model, Actor)
        self.resources.model.says(*lines)
        self.authors.setattr("activities.authoring.thinking.author.think", self.resources.model.think)
        return self.resources.model

    def hangs(self, messages: Sequence[Message]) -> str:
        """A model that does not answer before it is released."""
        self.hung.set()
        assert self.release.wait(20)
        return "Too late."

    async def send(self, talk: Talk, text: str = "", approval: Approval | None = None, key: str | None = None) -> str:
        """Say something; its key."""
        message = SessionMessage(key or uuid.uuid4().hex, text, ME.to_json(), now_utc(), approval)
        await self.client.start_workflow(
            SESSION_WORKFLOW,
            SessionInput(talk.session_id),
            id=workflow_id(talk.session_id),
            task_queue=self.queue,
            start_signal=MESSAGE_SIGNAL,
            start_signal_args=[message],
        )
        return message.key

    async def ended(self, talk: Talk, key: str) -> Record:
        """The end of a message's turn."""
        return await until(lambda: next((turn for turn in talk.records("turn") if turn["message"] == key), None))

    async def say(self, talk: Talk, text: str = "", approval: Approval | None = None) -> Record:
        return await self.ended(talk, await self.send(talk, text, approval))

    def handle(self, talk: Talk) -> WorkflowHandle[Any, Any]:
        return self.client.get_workflow_handle(workflow_id(talk.session_id))

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[Worker]:
        activities = Activities(self.resources)
        with ThreadPoolExecutor(THREADS) as threads:
            async with create_worker(self.client, self.queue, activities, threads) as made:
                yield made
        activities.close()


async def until(check: Callable[[], Any | Awaitable[Any]]) -> Any:
    """What `check` gives when it gives something."""
    for _ in range(6_000):
        if found := check():
            return found
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come true in time")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def place(client: Client, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Resources, Path]]:
    folder = tmp_path_factory.mktemp("sessions")
    made = create_resources(folder, model=Actor())
    yield made, folder
    made.databases.close()


@pytest_asyncio.fixture(loop_scope="session")
async def alone(
    client: Client, place: tuple[Resources, Path], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Sessions]:
    """Nobody works yet. The store `people` of the database `d...` is new."""
    queue = f"sessions-{uuid.uuid4().hex[:8]}"
    made = Sessions(client, with_schedules(place[0], client, queue), queue, monkeypatch)
    yield made
    made.release.set()


@pytest_asyncio.fixture(loop_scope="session")
async def sessions(alone: Sessions) -> AsyncIterator[Sessions]:
    async with alone.worker():
        yield alone
        alone.release.set()


def begin(sessions: Sessions, **fields: Any) -> tuple[Talk, str]:
    """A session over a database of its own."""
    database = f"d{uuid.uuid4().hex[:8]}"
    with_rows(sessions.resources, database, "people", [dict(row) for row in PEOPLE])
    return Talk.begin(sessions.resources, database=database, **fields), database


async def test_a_conversation_with_calls_and_approvals(sessions: Sessions) -> None:
    talk, database = begin(sessions)
    sessions.author(
        ("Let me look.", [("select", {"store": "people", "filter": {"team": "dev"}})]),
        ("I delete them.", [("select", {"store": "people", "filter": {"team": "dev"}, "action": "delete"})]),
        "As you like.",
        ("", [("delete", {"store": "people", "key": 1})]),
        "Ann is gone.",
    )
    assert (await sessions.say(talk, "Delete dev"))["status"] == "waiting"
    first = talk.session.pending[0].id
    details = ""
    while "waits for the person" not in details:  # the end is in the log a moment before the workflow hears of it
        shown = await sessions.handle(talk).query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
        details = shown.current_details
    assert details.splitlines()[0] == "**Delete dev**"
    assert (await sessions.say(talk, approval=Approval(first, False, "no")))["status"] == "completed"
    assert rows_of(sessions.resources, database, "people") == PEOPLE
    assert (await sessions.say(talk, "Then Ann"))["status"] == "waiting"
    second = talk.session.pending[0].id
    assert (await sessions.say(talk, approval=Approval(second, True)))["status"] == "completed"
    assert [row["id"] for row in rows_of(sessions.resources, database, "people")] == [2, 3]
    seqs = [record["seq"] for record in talk.records()]
    assert seqs == list(range(1, len(seqs) + 1))
    history = await sessions.handle(talk).fetch_history()
    summaries = {
        event.user_metadata.summary.data
        for event in history.events
        if event.activity_task_scheduled_event_attributes.activity_type.name == ACT_ACTIVITY
    }
    assert summaries == {b'"select"', b'"delete"'}
    runner = SandboxedWorkflowRunner(restrictions=SandboxRestrictions.default.with_passthrough_modules(*PASSED_THROUGH))
    replayer = Replayer(
        workflows=[workflows.authoring.SessionWorkflow],
        workflow_runner=runner,
        data_converter=sessions.client.data_converter,
    )
    await replayer.replay_workflow(history)


async def test_stop_ends_the_turn_at_once_while_the_model_hangs(sessions: Sessions) -> None:
    talk, _ = begin(sessions)
    sessions.author(sessions.hangs, "Here I am.")
    key = await sessions.send(talk, "hello")
    await until(sessions.hung.is_set)
    await sessions.handle(talk).signal(STOP_SIGNAL)
    assert (await sessions.ended(talk, key))["status"] == "canceled"
    assert not sessions.release.is_set()
    assert (await sessions.say(talk, "again"))["status"] == "completed"
    sessions.release.set()
    await sessions.say(talk, "/nothing")
    assert [record["text"] for record in talk.records("text")] == ["Here I am."]


async def test_the_time_of_a_turn_is_limited(sessions: Sessions) -> None:
    talk, _ = begin(sessions, limits=Limits(seconds=1))
    sessions.author(sessions.hangs)
    ended = await sessions.say(talk, "hello")
    assert (ended["status"], ended["error"]["code"]) == ("limited", "limit_seconds")
    assert talk.records("notice")[-1]["code"] == "limit_seconds"


async def test_a_message_that_is_sent_twice_is_heard_once(sessions: Sessions) -> None:
    talk, _ = begin(sessions)
    author = sessions.author("Once.", "Other.")
    await sessions.send(talk, "hello", key="same")
    await sessions.send(talk, "hello", key="same")
    await sessions.say(talk, "other")
    assert [record["text"] for record in talk.records("user")] == ["hello", "other"]
    assert len(author.seen) == 2
    assert [turn["status"] for turn in talk.records("turn")] == ["completed", "completed"]


async def test_what_fails_for_good_ends_the_turn_and_the_session_goes_on(sessions: Sessions) -> None:
    talk, _ = begin(sessions)
    sessions.author(ModelRefused("the key is wrong"), ModelUnavailable("busy"), "Now.")
    ended = await sessions.say(talk, "hello")
    assert (ended["status"], ended["error"]["code"]) == ("failed", "model_refused")
    assert (await sessions.say(talk, "again"))["status"] == "completed"


async def test_a_turn_goes_on_with_another_worker(alone: Sessions) -> None:
    talk, _ = begin(alone)
    asked, loop = asyncio.Event(), asyncio.get_running_loop()

    def calls(messages: Sequence[Message]) -> Any:
        loop.call_soon_threadsafe(asked.set)
        activity.wait_for_worker_shutdown_sync(timedelta(seconds=20))
        return "", [("get", {"store": "people", "key": 1})]

    alone.author(calls, "Ann.")
    async with alone.worker():
        key = await alone.send(talk, "Who is 1?")
        await asked.wait()
    assert talk.session.turn_status == "running"
    async with alone.worker():
        assert (await alone.ended(talk, key))["status"] == "completed"
    assert talk.types() == ["user", "tool_call", "tool_result", "text", "turn"]


async def test_a_turn_goes_on_when_its_worker_is_killed(
    alone: Sessions, temporal: TemporalServer, place: tuple[Resources, Path]
) -> None:
    """What the model had said until then is taken back, and it is asked again."""
    talk, _ = begin(alone)
    arguments = (sys.executable, "-m", "tests.workflows.dying_worker", temporal.address, alone.queue, str(place[1]))
    worker = await asyncio.create_subprocess_exec(*arguments)
    key = await alone.send(talk, "hello")
    await until(lambda: talk.records("text_delta"))
    worker.kill()
    await worker.wait()
    alone.author("Here I am.")
    async with alone.worker():
        assert (await alone.ended(talk, key))["status"] == "completed"
    assert talk.types() == ["user", "text_restarted", "text", "turn"]


async def test_a_long_session_continues_as_new_with_what_it_has_not_heard(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workflows.authoring, "LONG", 10)
    talk, _ = begin(sessions)
    sessions.author(*[f"Answer {number}." for number in range(4)])
    await sessions.send(talk, "0")
    first = (await sessions.handle(talk).describe()).run_id
    keys = [await sessions.send(talk, str(number)) for number in range(1, 4)]
    await sessions.ended(talk, keys[-1])
    assert (await sessions.handle(talk).describe()).run_id != first
    assert [record["text"] for record in talk.records("user")] == ["0", "1", "2", "3"]
    assert [record["text"] for record in talk.records("text")] == [f"Answer {number}." for number in range(4)]


async def test_a_long_session_that_is_closed_ends(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workflows.authoring, "LONG", 10)
    talk, _ = begin(sessions)
    sessions.author("Answer.")
    await sessions.ended(talk, await sessions.send(talk, "0"))
    await sessions.handle(talk).signal(CLOSE_SIGNAL)
    await asyncio.wait_for(sessions.handle(talk).result(), 30)


async def test_closing_ends_the_turn_and_the_workflow(sessions: Sessions) -> None:
    talk, _ = begin(sessions)
    sessions.author(sessions.hangs)
    key = await sessions.send(talk, "hello")
    await until(sessions.hung.is_set)
    await sessions.handle(talk).signal(CLOSE_SIGNAL)
    assert (await sessions.ended(talk, key))["status"] == "canceled"
    await sessions.handle(talk).result()


async def test_a_run_without_an_ask_step_calls_no_model(sessions: Sessions) -> None:
    _, database = begin(sessions)
    model = sessions.author()
    asked = len(model.requests), len(model.conversations)
    name = f"plain_{database}"
    steps = [
        {"type": "command", "name": "look", "command": "select", "args": {"store": "people"}, "variable": "people"},
        {"type": "return", "value": "{{ size(people) }}"},
    ]
    sessions.resources.library.save({"name": name, "database": database, "steps": steps})
    programs = [program.to_json() for program in sessions.resources.library.closure(name)]
    handle = await sessions.client.start_workflow(
        WORKFLOW_TYPE,
        RunInput(name, programs[0]["hash"], programs=programs),
        id=f"run-{uuid.uuid4().hex}",
        task_queue=sessions.queue,
    )
    events = [event async for event in watch_run(sessions.client, handle.id)]
    assert (events[-1]["status"], events[-1]["result"]) == ("completed", 3)
    assert (len(model.requests), len(model.conversations)) == asked


async def test_a_schedule_is_shown_with_its_times_before_it_is_made(sessions: Sessions) -> None:
    talk, database = begin(sessions, mocks={"send_email": None})
    name = f"weekly_{database}"
    sessions.resources.library.save({"name": name, "database": database, "steps": [MAIL]})
    wanted = {
        "script": name,
        "id": name,
        "calendar": {"days": ["monday"], "at": "09:00"},
        "time_zone": "America/New_York",
    }
    sessions.author(("Every Monday at 9.", [("schedule_script", wanted)]), "It is made.")
    assert (await sessions.say(talk, "Schedule it every Monday at 9 AM in New York"))["status"] == "waiting"
    (card,) = talk.cards("approval")
    version = sessions.resources.library.get(name).hash
    assert (card["preview"]["version"], card["preview"]["mocks"]) == (version, ["send_email"])
    assert all(moment["local"][11:16] == "09:00" for moment in card["preview"]["next_runs"])
    desk = sessions.resources.services.schedules
    assert desk is not None
    assert name not in {schedule["id"] for schedule in await asyncio.to_thread(desk.list)}
    approval = Approval(talk.session.pending[0].id, True)
    assert (await sessions.say(talk, approval=approval))["status"] == "completed"
    (made,) = talk.cards("schedule")
    assert (made["id"], made["version"], made["mocks"]) == (name, version, ["send_email"])
    assert made["next_runs"] == card["preview"]["next_runs"]
    assert await asyncio.to_thread(desk.delete, name)


async def test_a_run_is_started_once_and_with_what_is_mocked(sessions: Sessions) -> None:
    talk, database = begin(sessions, mocks={"send_email": None})
    name = f"mailing_{database}"
    sessions.resources.library.save({"name": name, "database": database, "steps": [MAIL]})
    assert (await sessions.say(talk, f"/run {name}"))["status"] == "completed"
    (card,) = talk.cards("run")
    events = [event async for event in watch_run(sessions.client, card["run_id"])]
    assert events[-1]["status"] == "completed"
    assert next(event for event in events if event.get("name") == "mail")["result"]["status"] == "mocked"
