"""Scripts on a real Temporal server, through the real worker, over real databases."""

import asyncio
import threading
import uuid
from typing import Any

import pytest
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError

from gateway.runs.watch import watch_run
from query import open_store, select
from script.wire import WORKFLOW_TYPE, RunInput, RunOutput
from tests.conftest import System
from toolbox import SmtpSettings
from toolbox.errors import ScriptNotFound


def statuses(events: list[dict[str, Any]]) -> list[str]:
    return [f"{event['type']} {event.get('path', '')} {event['status']}".replace("  ", " ") for event in events]


async def test_pure_steps_run_without_any_activity(system: System) -> None:
    events = await system.run(
        {"name": "pure", "parameters": ["n"], "steps": [
            {"type": "loop", "list": "[1, 2, 3]", "iterator": "i", "output_variable": "all", "steps": [
                {"type": "set", "variable": "x", "value": "{{ i * n }}"}]},
            {"type": "return", "value": "{{ sum(all) }}"}]},
        {"n": 7},
    )  # fmt: skip
    assert events[-1]["status"] == "completed"
    assert events[-1]["result"] == 42
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    history = await system.client.get_workflow_handle(events[0]["run_id"]).fetch_history()
    assert not [event for event in history.events if event.HasField("activity_task_scheduled_event_attributes")]


async def test_data_steps_share_a_transaction_that_commits_at_the_end(system: System) -> None:
    system.store("shop", "items", ["id"], [{"id": 1, "n": 10}])
    before = system.resources.databases.open("shop").head().seq
    events = await system.run(
        {"name": "move", "database": "shop", "steps": [
            {"type": "command", "name": "read", "command": "get", "args": {"store": "items", "key": 1}, "output_variable": "item"},
            {"type": "command", "name": "write", "command": "update", "args": {"store": "items", "key": 1, "values": {"n": "{{ item.n + 1 }}"}}},
            {"type": "command", "name": "more", "command": "add", "args": {"store": "items", "record": {"id": 2, "n": 0}}},
            {"type": "fetch", "name": "all", "source": "btree", "resource": "items", "variable": "rows"},
            {"type": "return", "value": "{{ rows }}"}]},
    )  # fmt: skip
    assert events[-1]["result"] == [{"id": 1, "n": 11}, {"id": 2, "n": 0}]
    database = system.resources.databases.open("shop")
    assert database.head().seq == before + 1
    assert list(select(database.snapshot(), "items")) == events[-1]["result"]
    assert database.check().ok


async def test_activities_are_named_after_their_tools_and_steps(system: System) -> None:
    system.store("shop", "items", ["id"])
    events = await system.run(
        {"name": "named", "database": "shop", "steps": [
            {"type": "command", "name": "put it in", "command": "add", "args": {"store": "items", "record": {"id": 1}}}]},
    )  # fmt: skip
    history = await system.client.get_workflow_handle(events[0]["run_id"]).fetch_history()
    scheduled = [event for event in history.events if event.HasField("activity_task_scheduled_event_attributes")]
    found = [
        (
            event.activity_task_scheduled_event_attributes.activity_type.name,
            event.activity_task_scheduled_event_attributes.activity_id,
            event.user_metadata.summary.data,
        )
        for event in scheduled
    ]
    assert found == [("add", "put it in", b'"put it in"'), ("commit_transaction", "commit", b'"commit"')]


async def test_a_failed_run_rolls_back_and_names_its_step(system: System) -> None:
    system.store("shop", "items", ["id"], [{"id": 1}])
    system.resources.library.save(
        {"name": "broken", "database": "shop", "steps": [
            {"type": "command", "name": "good", "command": "add", "args": {"store": "items", "record": {"id": 2}}},
            {"type": "command", "name": "bad", "command": "add", "args": {"store": "items", "record": {"id": 1}}}]},
    )  # fmt: skip
    handle = await system.start("broken")
    with pytest.raises(WorkflowFailureError) as raised:
        await handle.result()
    assert raised.value.cause.type == "record_exists"  # type: ignore[union-attr]
    events = [event async for event in watch_run(system.client, handle.id)]
    assert statuses(events)[-2:] == ["command bad failed", "run failed"]
    assert events[-1]["error"]["step"] == "bad"
    database = system.resources.databases.open("shop")
    assert open_store(database.snapshot(), "items").count() == 1
    assert not database.open_transactions()


async def test_an_ignored_error_is_bound_and_the_run_goes_on(system: System) -> None:
    system.store("shop", "items", ["id"], [{"id": 1}])
    events = await system.run(
        {"name": "ignoring", "database": "shop", "steps": [
            {"type": "command", "name": "twice", "command": "add", "args": {"store": "items", "record": {"id": 1}}, "continue_on_error": True},
            {"type": "return", "value": "{{ error.code }}"}]},
    )  # fmt: skip
    assert events[-1]["result"] == "record_exists"


async def test_a_script_with_its_own_database_is_a_child_workflow(system: System) -> None:
    system.store("users", "users", ["id"], [{"id": "123", "n": 0}])
    system.store("audit", "log", ["id"])
    save = system.resources.library.save
    save({"name": "update_user", "database": "users", "parameters": ["uid"], "steps": [
        {"type": "command", "command": "update", "args": {"store": "users", "key": "{{.uid}}", "values": {"n": 1}}}]})  # fmt: skip
    save({"name": "log_audit", "database": "audit", "parameters": ["action"], "steps": [
        {"type": "command", "command": "add", "args": {"store": "log", "record": {"id": "{{ uuid() }}", "msg": "{{.action}}"}}}]})  # fmt: skip
    events = await system.run(
        {"name": "user_update_saga", "steps": [
            {"type": "script", "name": "first", "script_name": "update_user", "script_args": {"uid": "123"}},
            {"type": "script", "name": "second", "script_name": "log_audit", "script_args": {"action": "User 123 updated"}}]},
    )  # fmt: skip
    assert statuses(events) == ["run started", "script first completed", "script second completed", "run completed"]
    logged = list(select(system.resources.databases.open("audit").snapshot(), "log"))
    assert [row["msg"] for row in logged] == ["User 123 updated"]


async def test_a_dry_run_changes_nothing_and_shows_what_conditions_saw(system: System) -> None:
    system.store("shop", "items", ["id"], [{"id": 1, "n": 94}])
    database = system.resources.databases.open("shop")
    before = database.head()
    events = await system.run(
        {"name": "dry", "database": "shop", "steps": [
            {"type": "command", "command": "get", "args": {"store": "items", "key": 1}, "output_variable": "item"},
            {"type": "if", "name": "large", "condition": "item.n > 60", "then": [
                {"type": "command", "command": "delete", "args": {"store": "items", "key": 1}},
                {"type": "command", "command": "send_email", "args": {"to": "a@example.com", "subject": "s", "body": "b"}}]}]},
        dry_run=True,
    )  # fmt: skip
    assert events[-1]["status"] == "completed"
    condition = next(event for event in events if event["type"] == "if")
    assert condition["result"] == {
        "condition": True,
        "expression": "item.n > 60",
        "substituted": "94 > 60",
        "values": {"item.n": 94},
    }
    assert events[-1]["result"]["status"] == "dry_run"
    assert database.head() == before


async def test_a_conflict_runs_the_transaction_again(system: System) -> None:
    """Two runs read the same counter, and both add to it: nothing is lost."""
    system.store("shop", "items", ["id"], [{"id": 1, "n": 0}])
    script = {"name": "count", "database": "shop", "steps": [
        {"type": "command", "name": "read", "command": "get", "args": {"store": "items", "key": 1}, "output_variable": "item"},
        {"type": "command", "name": "write", "command": "update", "args": {"store": "items", "key": 1, "values": {"n": "{{ item.n + 1 }}"}}}]}  # fmt: skip
    system.resources.library.save(script)
    handles = [await system.start("count") for _ in range(3)]
    await asyncio.gather(*(handle.result() for handle in handles))
    row = open_store(system.resources.databases.open("shop").snapshot(), "items").get(1)
    assert row == {"id": 1, "n": 3}


async def test_cancelling_rolls_the_transaction_back(system: System) -> None:
    records = [{"id": number} for number in range(4000)]
    system.store("shop", "items", ["id"], records)
    system.resources.library.save(
        {"name": "long", "database": "shop", "steps": [
            {"type": "command", "name": "first", "command": "delete", "args": {"store": "items", "key": 0}},
            {"type": "loop", "name": "each", "list": str(list(range(300))), "iterator": "i", "steps": [
                {"type": "command", "name": "put", "command": "upsert", "args": {"store": "items", "record": {"id": "{{ i + 5000 }}"}}}]}]},
    )  # fmt: skip
    handle = await system.start("long")
    events = []
    async for event in watch_run(system.client, handle.id):
        events.append(event)
        if event.get("path") == "each/put" and event["iteration"] == [3]:
            await handle.cancel(reason="enough")
    assert events[-1]["status"] == "canceled"
    database = system.resources.databases.open("shop")
    assert open_store(database.snapshot(), "items").count() == 4000
    assert not database.open_transactions()


@pytest.mark.parametrize("fails", [False, True])
async def test_a_run_that_is_cancelled_while_its_script_is_loaded(
    system: System, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    system.store("shop", "items", ["id"])
    library, asked, goes_on = system.resources.library, threading.Event(), threading.Event()
    library.save(
        {"name": "late", "database": "shop", "steps": [
            {"type": "command", "command": "add", "args": {"store": "items", "record": {"id": 1}}}]},
    )  # fmt: skip
    programs = library.closure("late")

    def slowly(*_: Any) -> Any:
        asked.set()
        assert goes_on.wait(20)
        if fails:
            raise ScriptNotFound("it was deleted")
        return programs

    monkeypatch.setattr(type(library), "closure", slowly)
    handle = await system.client.start_workflow(
        WORKFLOW_TYPE, RunInput(script="late"), id=f"late-{uuid.uuid4().hex[:8]}", task_queue=system.task_queue
    )
    assert await asyncio.to_thread(asked.wait, 20)
    await handle.cancel()
    async for event in handle.fetch_history_events(wait_new_event=True):
        if event.HasField("activity_task_cancel_requested_event_attributes"):
            break
    goes_on.set()
    events = [event async for event in watch_run(system.client, handle.id)]
    assert events[-1]["status"] == "canceled"
    assert (await handle.describe()).status == WorkflowExecutionStatus.CANCELED
    assert open_store(system.resources.databases.open("shop").snapshot(), "items").count() == 0
    assert not system.resources.databases.open("shop").open_transactions()


async def test_the_stream_is_the_same_live_later_and_in_parts(system: System) -> None:
    system.store("shop", "items", ["id"])
    live = await system.run(
        {"name": "story", "database": "shop", "steps": [
            {"type": "loop", "list": "[1, 2, 3]", "iterator": "i", "steps": [
                {"type": "command", "command": "add", "args": {"store": "items", "record": {"id": "{{ i }}"}}},
                {"type": "say", "message": "{{ i }} at {{ now() }}"}]}]},
    )  # fmt: skip
    later = [event async for event in watch_run(system.client, live[0]["run_id"])]
    assert later == live
    for after in range(len(live)):
        assert [event async for event in watch_run(system.client, live[0]["run_id"], after)] == live[after:]


async def test_a_batch_over_rows_runs_in_chunks_and_once(system: System) -> None:
    system.store(
        "shop", "people", ["id"], [{"id": n, "mail": f"p{n}@example.com", "pad": "x" * 80} for n in range(1000)]
    )
    events = await system.run(
        {"name": "mailing", "database": "shop", "steps": [
            {"type": "fetch", "name": "all", "source": "btree", "resource": "people", "variable": "people"},
            {"type": "loop", "name": "each", "list": "people", "iterator": "p", "batch_size": 200, "output_variable": "r",
             "reduce": {"even": {"op": "count", "where": "p.id % 2 == 0"}, "total": {"op": "sum", "value": "p.id"}}, "steps": [
                {"type": "if", "condition": "p.id % 10 == 0", "then": [
                    {"type": "command", "name": "mail", "command": "send_email", "args": {"to": "{{ p.mail }}", "subject": "s", "body": "b"}},
                    {"type": "command", "name": "mark", "command": "update", "args": {"store": "people", "key": "{{ p.id }}", "values": {"mailed": True}}}]}]},
            {"type": "return", "value": "{{ r }}"}]},
        mocks=["send_email"],
    )  # fmt: skip
    assert events[-1].get("result") == {"processed": 1000, "failed": 0, "reduced": {"even": 500, "total": 499500}}
    progress = [event["result"]["processed"] for event in events if event["type"] == "progress"]
    assert progress == [200, 400, 600, 800, 1000]
    view = system.resources.databases.open("shop").snapshot()
    assert open_store(view, "_outbox").count() == 100
    assert sum(1 for _ in select(view, "people", filter={"mailed": True})) == 100


async def test_a_failing_chunk_fails_the_run_and_keeps_the_chunks_before_it(system: System) -> None:
    system.store("shop", "people", ["id"], [{"id": n, "pad": "x" * 400} for n in range(300)])
    events = await system.run(
        {"name": "stumbling", "database": "shop", "steps": [
            {"type": "fetch", "name": "all", "source": "btree", "resource": "people", "variable": "people"},
            {"type": "loop", "name": "each", "list": "people", "iterator": "p", "batch_size": 100, "steps": [
                {"type": "command", "command": "update", "args": {"store": "people", "key": "{{ p.id }}", "values": {"seen": True}}},
                {"type": "if", "condition": "p.id == 150", "then": [{"type": "fail", "code": "odd_one", "message": "number {{ p.id }}"}]}]}]},
    )  # fmt: skip
    assert events[-1]["error"]["code"] == "odd_one"
    assert events[-1]["error"]["ordinal"] == 150
    view = system.resources.databases.open("shop").snapshot()
    assert sum(1 for _ in select(view, "people", filter={"seen": True})) == 100


async def test_nothing_is_told_that_no_worker_has_run(system: System) -> None:
    """A run that nobody picks up has only begun; terminated, it ends as failed, and never looks completed."""
    system.resources.library.save({"name": "pure", "steps": [{"type": "say", "message": "hello"}]})
    queue, system.task_queue = system.task_queue, "nobody-polls-this"
    handle = await system.start("pure")
    system.task_queue = queue
    events = []
    async for event in watch_run(system.client, handle.id):
        events.append(event)
        if event["status"] == "started":
            await handle.terminate("not wanted")
    assert [(event["type"], event["status"]) for event in events] == [("run", "started"), ("run", "failed")]
    assert events[-1]["error"]["code"] == "terminated"


async def test_a_run_that_has_grown_long_goes_on_in_a_new_execution(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Continue-as-new from the machine's state: the result, the transaction and the stream are those of one run."""
    system.store("shop", "items", ["id"])
    from temporalio import workflow

    monkeypatch.setattr(
        workflow.Info, "is_continue_as_new_suggested", lambda info: info.get_current_history_length() > 60
    )
    events = await system.run(
        {"name": "growing", "database": "shop", "steps": [
            {"type": "set", "variable": "total", "value": 0},
            {"type": "loop", "name": "each", "list": str(list(range(40))), "iterator": "i", "steps": [
                {"type": "command", "name": "put", "command": "add", "args": {"store": "items", "record": {"id": "{{ i }}"}}},
                {"type": "set", "variable": "total", "value": "{{ total + i }}"}]},
            {"type": "return", "value": "{{ total }}"}]},
    )  # fmt: skip
    assert events[-1]["result"] == sum(range(40))
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert len({event["started_at"] for event in events}) > 10
    description = await system.client.get_workflow_handle(events[0]["run_id"]).describe()
    assert description.raw_description.workflow_execution_info.first_run_id != description.run_id
    assert open_store(system.resources.databases.open("shop").snapshot(), "items").count() == 40


async def test_a_run_loads_its_programs_when_they_do_not_travel_with_it(system: System) -> None:
    """As a schedule starts it: by name, the latest version at the time of the run, with the stream the same."""
    save = system.resources.library.save
    save({"name": "helper", "parameters": ["x"], "steps": [{"type": "return", "value": "{{ x * 2 }}"}]})
    save({"name": "caller", "steps": [
        {"type": "script", "name": "call", "script_name": "helper", "script_args": {"x": 21}, "output_variable": "y"},
        {"type": "return", "value": "{{ y }}"}]})  # fmt: skip
    start = RunInput(script="caller", trigger="schedule")
    handle = await system.client.start_workflow(
        WORKFLOW_TYPE, start, id=f"caller-{uuid.uuid4().hex}", task_queue=system.task_queue, result_type=RunOutput
    )
    assert (await handle.result()).value == 42
    events = [event async for event in watch_run(system.client, handle.id)]
    assert statuses(events) == [
        "run started",
        "return call/return_1 completed",
        "script call completed",
        "return return_2 completed",
        "run completed",
    ]
    missing = await system.client.start_workflow(
        WORKFLOW_TYPE,
        RunInput(script="nobody"),
        id=f"nobody-{uuid.uuid4().hex}",
        task_queue=system.task_queue,
        result_type=RunOutput,
    )
    with pytest.raises(WorkflowFailureError) as raised:
        await missing.result()
    assert raised.value.cause.type == "script_not_found"  # type: ignore[union-attr]
    events = [event async for event in watch_run(system.client, missing.id)]
    assert [(event["type"], event["status"]) for event in events] == [("run", "failed")]


async def test_mail_of_a_batch_goes_out_after_its_chunk_and_once(system: System) -> None:
    """Real mail from the body of a batch: written to the outbox with the chunk, sent after its commit, marked as sent."""
    import socket

    from aiosmtpd.controller import Controller

    taken: list[str] = []

    class Server:
        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
            taken.append(envelope.rcpt_tos[0])
            return "250 OK"

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    controller = Controller(Server(), hostname="127.0.0.1", port=port)
    controller.start()
    try:
        object.__setattr__(system.resources.services, "smtp", SmtpSettings("127.0.0.1", port, "shop@example.com"))
        system.store("shop", "people", ["id"], [{"id": n, "mail": f"p{n}@example.com"} for n in range(25)])
        events = await system.run(
            {"name": "mailing", "database": "shop", "steps": [
                {"type": "fetch", "name": "all", "source": "btree", "resource": "people", "variable": "people"},
                {"type": "loop", "name": "each", "list": "people", "iterator": "p", "batch_size": 10, "steps": [
                    {"type": "command", "name": "mail", "command": "send_email", "args": {"to": "{{ p.mail }}", "subject": "s", "body": "b"}}]}]},
        )  # fmt: skip
    finally:
        controller.stop()
    assert events[-1]["status"] == "completed"
    assert sorted(taken) == sorted(f"p{n}@example.com" for n in range(25))
    rows = list(select(system.resources.databases.open("shop").snapshot(), "_outbox"))
    assert {row["status"] for row in rows} == {"sent"}
    assert len(rows) == 25


async def test_a_failed_update_in_a_batch_loses_no_record(system: System) -> None:
    """A tool that fails halfway leaves nothing of it in the chunk's transaction."""
    system.store("shop", "items", ["id"], [{"id": "a"}, {"id": "b"}])
    events = await system.run(
        {"name": "renaming", "database": "shop", "steps": [
            {"type": "loop", "name": "each", "list": "['a', 'b']", "iterator": "i", "batch_size": 5, "steps": [
                {"type": "command", "name": "rename", "command": "update", "continue_on_error": True,
                 "args": {"store": "items", "key": "{{ i }}", "values": {"id": "x" * 1100}}}]}]},
    )  # fmt: skip
    assert events[-1]["status"] == "completed"
    assert [row["id"] for row in select(system.resources.databases.open("shop").snapshot(), "items")] == ["a", "b"]


async def test_a_batch_keeps_the_versions_that_the_run_began_with(system: System) -> None:
    """A called script that is saved anew in the middle of a batch changes nothing for this run."""
    system.store("shop", "items", ["id"], [{"id": n} for n in range(60)])
    save = system.resources.library.save
    helper = {"name": "helper", "parameters": ["x"], "steps": [{"type": "return", "value": 1}]}
    save(helper)
    save({"name": "long_batch", "database": "shop", "steps": [
        {"type": "loop", "name": "each", "list": str(list(range(60))), "iterator": "n", "batch_size": 2, "output_variable": "r",
         "reduce": {"total": {"op": "sum", "value": "one"}}, "steps": [
            {"type": "script", "name": "call", "script_name": "helper", "script_args": {"x": "{{ n }}"}, "version": "latest", "output_variable": "one"}]},
        {"type": "return", "value": "{{ r.reduced.total }}"}]})  # fmt: skip
    handle = await system.start("long_batch")
    events = []
    async for event in watch_run(system.client, handle.id):
        events.append(event)
        if event["type"] == "progress" and event["result"]["chunk"] == 2:
            save({**helper, "steps": [{"type": "return", "value": 1000}]})
    assert events[-1]["result"] == 60


async def test_a_child_with_its_own_transaction_is_refused_in_a_batch(system: System) -> None:
    system.store("shop", "items", ["id"])
    system.resources.library.save(
        {"name": "own", "database": "shop", "parameters": ["n"], "steps": [{"type": "return", "value": 1}]}
    )
    events = await system.run(
        {"name": "outer", "database": "shop", "steps": [
            {"type": "loop", "name": "each", "list": "[1, 2]", "iterator": "n", "batch_size": 1, "steps": [
                {"type": "script", "name": "call", "script_name": "own", "script_args": {"n": "{{ n }}"}}]}]},
    )  # fmt: skip
    assert events[-1]["status"] == "failed"
    assert "inherit" in events[-1]["error"]["hint"]
