"""Recording: what was done, with the very arguments, and nothing of what only looked around."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.script.editing.test_parameters import TEXT, VALUES, sent
from tests.toolbox.authoring.conftest import Talk
from toolbox import builtin_registry
from toolbox.authoring import Recording, Session, ToolCall
from toolbox.authoring.recorder import record_call, record_words
from toolbox.errors import InvalidArguments, NotRecording, RecordingExists

REGISTRY = builtin_registry()
DEEP = {
    "store": "items",
    "filter": {"$or": [{"n": {"$gt": 5}}, {"tags": {"$elemMatch": {"a": [1, None, "{{ x }}"]}}}]},
    "fields": ["id"],
}


def did(talk: Talk, tool: str, args: dict[str, Any] | None = None, **more: Any) -> bool:
    """A call has been performed, as the activities note it."""

    def work(session: Session) -> bool:
        fields = {"status": "done", **more}
        call = ToolCall(f"c{len(session.calls)}", fields.pop("turn", session.turn), tool, args or {}, "model", **fields)
        session.note(call)
        return record_call(session, call, REGISTRY.get(tool))

    done: bool = talk.change(work)
    return done


def test_what_is_done_becomes_a_draft(talk: Talk) -> None:
    talk.call("start_recording", name="cleanup")
    assert did(talk, "select", DEEP)
    assert did(talk, "select", {"store": "items", "action": "update", "update_values": {"n": "{{ row.n + 1 }}"}})
    assert did(talk, "send_email", {"to": "a@example.com", "subject": "{{ hi }}", "body": "b"})
    assert did(talk, "get", {"store": "other", "key": 1}, database="archive")
    told = talk.call("stop_recording")
    assert (told["recorded"], told["status"], talk.session.recording) == (4, "stopped", None)
    assert talk.script == {
        "name": "cleanup",
        "database": "shop",
        "steps": [
            {"type": "command", "name": "select", "command": "select",
             "args": {**DEEP, "filter": {"$or": [{"n": {"$gt": 5}}, {"tags": {"$elemMatch": {"a": [1, None, '{{ "{{" }} x }}']}}}]}}},
            {"type": "command", "name": "select_2", "command": "select",
             "args": {"store": "items", "action": "update", "update_values": {"n": "{{ row.n + 1 }}"}}},
            {"type": "command", "name": "send_email", "command": "send_email", "args": {"to": "a@example.com", "subject": '{{ "{{" }} hi }}', "body": "b"}},
            {"type": "command", "name": "get", "command": "get", "args": {"store": "other", "key": 1}, "database": "archive"},
        ],
    }  # fmt: skip
    assert [problem for problem in talk.call("show_draft")["problems"] if problem["code"] != "unknown_database"] == []
    assert [card["status"] for card in talk.records("recording")] == ["started", "stopped"]


@pytest.mark.parametrize(
    ("tool", "args", "more"),
    [
        ("select", {"store": "items"}, {"status": "failed"}),
        ("select", {"store": "items"}, {"status": "waiting"}),
        ("select", {"store": "items", "action": "delete", "dry_run": True}, {}),
        ("list_stores", {}, {}),
        ("describe_store", {"store": "items"}, {}),
        ("explain", {"store": "items"}, {}),
        ("get_script_details", {"name": "x"}, {}),
        ("list_scripts", {}, {}),
        ("dry_run", {}, {}),
        ("save_step", {"step": {}}, {}),
        ("ask_person", {"question": "?"}, {}),
    ],
)
def test_noise_is_left_out(talk: Talk, tool: str, args: dict[str, Any], more: dict[str, Any]) -> None:
    talk.call("start_recording", name="cleanup")
    assert not did(talk, tool, args, **more)
    assert talk.call("stop_recording")["recorded"] == 0
    assert talk.session.draft is None
    with pytest.raises(InvalidArguments, match="no call"):
        talk.call("refactor_last_interaction", name="x")


def test_a_recording_pauses_and_goes_on(talk: Talk) -> None:
    assert not did(talk, "get", {"store": "items", "key": 0})
    talk.call("start_recording", name="cleanup")
    did(talk, "get", {"store": "items", "key": 1})
    talk.call("pause_recording")
    assert not did(talk, "get", {"store": "items", "key": 2})
    talk.call("resume_recording")
    did(talk, "get", {"store": "items", "key": 3})
    talk.call("stop_recording")
    assert [step["args"]["key"] for step in talk.script["steps"]] == [1, 3]
    for tool in ("pause_recording", "resume_recording", "stop_recording"):
        with pytest.raises(NotRecording):
            talk.call(tool)


def test_words_are_recorded_where_they_are_asked_for(talk: Talk) -> None:
    talk.call("start_recording", name="talked", ask=True)
    for text, taken in (("Who has {{ n }} > 5?", True), ("/list", False), ("  ", False), ("Delete them.", True)):
        assert talk.change(lambda session, text=text: record_words(session, text)) is taken
    assert not did(talk, "get", {"store": "items", "key": 1})
    talk.call("stop_recording")
    assert talk.script["steps"] == [
        {"type": "ask", "name": "ask", "prompt": 'Who has {{ "{{" }} n }} > 5?'},
        {"type": "ask", "name": "ask_2", "prompt": "Delete them."},
    ]
    talk.call("start_recording", name="compiled")
    assert not talk.change(lambda session: record_words(session, "hello"))


def test_a_name_that_is_taken_takes_force(talk: Talk) -> None:
    made = talk.call("create_script", name="cleanup")["draft"]
    with pytest.raises(InvalidArguments, match="draft of cleanup already"):
        talk.call("start_recording", name="cleanup")
    talk.call("start_recording", name="cleanup", force=True)
    with pytest.raises(RecordingExists, match="cleanup is being recorded"):
        talk.call("start_recording", name="other")
    did(talk, "get", {"store": "items", "key": 1})
    told = talk.call("stop_recording")
    assert (told["draft"], told["revision"]) == (made, 2)


def test_what_does_not_fit_into_a_script_is_said(talk: Talk) -> None:
    talk.call("start_recording", name="large")
    assert did(talk, "add", {"store": "items", "record": {"id": 1, "text": "x" * 200_000}})
    assert not did(talk, "add", {"store": "items", "record": {"id": 2, "text": "x" * 100_000}})
    told = talk.call("stop_recording")
    assert (told["recorded"], told["left_out"]) == (1, 1)


def test_the_last_call_is_told_whole(talk: Talk) -> None:
    with pytest.raises(InvalidArguments, match="no tool has been called"):
        talk.call("last_tool")
    did(talk, "select", DEEP, status="failed", error={"code": "x"})
    did(talk, "last_tool")
    told = talk.call("last_tool")
    assert (told["tool"], told["args"], told["status"], told["error"]) == ("select", DEEP, "failed", {"code": "x"})


def test_the_last_call_becomes_a_step(talk: Talk) -> None:
    talk.call("create_script", name="stock", steps=[{"type": "block", "name": "all", "steps": []}])
    did(talk, "get", {"store": "items", "key": 1})
    did(talk, "get", {"store": "items", "key": "{{"})
    did(talk, "select", {}, status="failed")
    did(talk, "list_stores")
    talk.call("save_last_step")
    talk.call("save_last_step", position=0, within="all")
    assert talk.script["database"] == "shop"
    assert talk.script["steps"][1] == {
        "type": "command",
        "name": "get",
        "command": "get",
        "args": {"store": "items", "key": '{{ "{{" }}'},
    }
    assert talk.script["steps"][0]["steps"][0]["name"] == "get_2"


def test_the_last_message_becomes_a_script_or_a_block(talk: Talk) -> None:
    did(talk, "get", {"store": "items", "key": 1}, turn=1)
    did(talk, "get", {"store": "items", "key": 2}, turn=2)
    did(talk, "describe_store", {"store": "items"}, turn=2)
    did(talk, "coupon_code", {}, turn=2)
    talk.call("refactor_last_interaction", name="again")
    assert talk.script["name"] == "again"
    assert [(step["name"], step["args"]) for step in talk.script["steps"]] == [
        ("get", {"store": "items", "key": 2}),
        ("coupon_code", {}),
    ]
    talk.call("refactor_last_interaction", name="both", into="block", calls=3)
    block = talk.script["steps"][2]
    assert (block["type"], block["name"], [step["name"] for step in block["steps"]]) == (
        "block",
        "both",
        ["get_2", "get_3", "coupon_code_2"],
    )
    with pytest.raises(InvalidArguments, match="draft of again already"):
        talk.call("refactor_last_interaction", name="again")
    assert [problem for problem in talk.call("show_draft")["problems"] if problem["severity"] == "error"] == []


TOOLS = ("http_request", "add", "select", "send_email")


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(TOOLS), st.dictionaries(TEXT, VALUES, max_size=3)), min_size=1, max_size=3))
def test_the_recorded_arguments_are_those_of_the_calls(calls: list[tuple[str, dict[str, Any]]]) -> None:
    session = Session("s", "k1", "", "", recording=Recording("all"))
    asked = [ToolCall("c", 1, tool, args, "model", "done") for tool, args in calls if args.get("dry_run") is not True]
    assert all(record_call(session, call, REGISTRY.get(call.tool)) for call in asked)
    assert session.recording is not None
    steps = Session.from_json(session.to_json()).recording.steps  # type: ignore[union-attr]
    assert len({step["name"] for step in steps}) == len(asked)
    for call, step in zip(asked, steps, strict=True):
        assert step["command"] == call.tool
        assert sent({"name": "s", "steps": [{**step, "command": "send"}]}) == call.args
