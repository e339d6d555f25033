"""Dry runs tell what was seen, short enough to be read; what is approved is bound to the very text."""

from dataclasses import replace
from typing import Any

import orjson
import pytest

from activities.authoring.rehearsal import LocalRehearsal
from query import open_store
from tests.authoring.harness import Runs
from tests.toolbox.authoring.conftest import Talk, access_with
from tests.toolbox.authoring.test_drafting import NESTED, SAY
from toolbox import Drafts
from toolbox.errors import DraftInvalid, Forbidden, ToolError, ToolNotConfigured, UnknownTool


def event(path: str, **more: Any) -> dict[str, Any]:
    return {"seq": 1, "type": "set", "status": "completed", "path": path, "iteration": [], **more}


EVENTS: list[dict[str, Any]] = [
    {"seq": 1, "type": "run", "status": "started"},
    event("rows", type="fetch", rows={"count": 12, "ref": {"store": "items"}}),
    event(
        "old",
        type="if",
        result={"expression": "days > 60", "values": {"days": 94}, "substituted": "94 > 60", "condition": True},
    ),
    event("mail", type="command", result={"status": "dry_run"}, notice="not sent"),
    event("bad", status="failed", error={"code": "x", "message": "no"}, iteration=[3]),
]


class Rehearsed:
    """A rehearsal that notes what it was asked for."""

    def __init__(self, events: list[dict[str, Any]], **more: Any) -> None:
        self.asked: list[Any] = []
        self.answer = {
            "status": "completed",
            "result": {"is_risk": True},
            "events": events,
            "events_left_out": 0,
            "duration_ms": 3.5,
            **more,
        }

    def __call__(
        self, script: dict[str, Any], arguments: dict[str, Any], *, mocks: dict[str, Any], access: Any
    ) -> dict[str, Any]:
        self.asked.append((script, arguments, mocks, access.key_id))
        return self.answer


def test_a_dry_run_shows_each_step_and_what_conditions_saw(talk: Talk) -> None:
    rehearsed = Rehearsed(EVENTS)
    talk.services["rehearse"] = rehearsed
    talk.call("create_script", name="stock", database="shop", steps=NESTED)
    talk.call("mock_tool", tool="send_email", result={"sent": True})
    told = talk.call("dry_run", arguments={"customer": "john_doe"})
    assert rehearsed.asked == [(talk.script, {"customer": "john_doe"}, {"send_email": {"sent": True}}, "k1")]
    assert told["result"] == {"is_risk": True}
    assert told["steps"] == [
        {"step": "rows", "type": "fetch", "status": "completed", "rows": {"count": 12}},
        {"step": "old", "type": "if", "status": "completed",
         "condition": {"expression": "days > 60", "values": {"days": 94}, "substituted": "94 > 60", "result": True}},
        {"step": "mail", "type": "command", "status": "completed", "value": {"status": "dry_run"}, "notice": "not sent"},
        {"step": "bad", "type": "set", "status": "failed", "iteration": [3], "error": {"code": "x", "message": "no"}},
    ]  # fmt: skip
    card = talk.records("trace")[-1]
    assert (card["steps"], card["result"], card["arguments"]) == (
        told["steps"],
        told["result"],
        {"customer": "john_doe"},
    )


def test_a_long_dry_run_is_cut_and_says_so(talk: Talk) -> None:
    seen = {"expression": "x > 1", "values": {"x": "y" * 500}, "substituted": f"{'y' * 500} > 1", "condition": False}
    error = {"code": "bad", "message": "no", "details": ["z" * 500]}
    many = [event(f"s{number}", result="x" * 3000) for number in range(500)]
    many[1:3] = [event("if", result=seen), event("bad", error=error)]
    talk.services["rehearse"] = Rehearsed(many, result=["y" * 100] * 1000, events_left_out=70)
    talk.call("create_script", name="stock", steps=[SAY])
    told = talk.call("dry_run")
    assert len(orjson.dumps(told)) < 24_000
    assert told["left_out"] == "530 more steps"
    assert [told["steps"][0]["step"], told["steps"][-1]["step"]] == ["s0", "s499"]
    assert told["steps"][0]["value"].endswith("… (text, 3002 characters)")
    assert "list of 1000" in told["result"]
    assert told["steps"][1]["condition"]["result"] is False and set(told["steps"][1]["condition"]) == {
        "substituted",
        "result",
    }
    assert told["steps"][2]["error"] == {"code": "bad", "message": "no"}
    assert talk.records("trace")[-1]["left_out"] == "270 more steps"


def test_what_is_wrong_is_neither_tried_nor_published(talk: Talk) -> None:
    talk.services["rehearse"] = Rehearsed([])
    talk.call("create_script", name="stock", steps=[{"type": "command", "command": "selekt"}])
    for tool in ("dry_run", "publish_script"):
        with pytest.raises(DraftInvalid, match="1 error: there is no tool 'selekt'") as raised:
            talk.call(tool)
        assert raised.value.details["problems"][0]["pointer"] == "/steps/0/command"
    with pytest.raises(DraftInvalid):
        talk.bound("publish_script")


def test_a_saved_script_can_be_tried_and_a_stub_mocks_all_that_is_outside(talk: Talk) -> None:
    rehearsed = Rehearsed([])
    talk.services["rehearse"] = rehearsed
    saved = talk.resources.library.save({"name": "greet", "steps": [SAY]})
    talk.change(lambda session: setattr(session, "stub", True))
    assert talk.call("dry_run", script="greet")["version"] == saved.hash
    assert set(rehearsed.asked[0][2]) >= {"send_email", "http_request"} and "select" not in rehearsed.asked[0][2]
    talk.services["rehearse"] = None
    with pytest.raises(ToolNotConfigured):
        talk.call("dry_run", script="greet")


def test_publishing_is_bound_to_the_text_and_one_commit_with_the_session(talk: Talk) -> None:
    talk.call("create_script", name="stock", database="shop", steps=NESTED)
    bound = talk.bound("publish_script")
    assert bound.what == "Publish stock as it stands in revision 1 of the draft: a version of it never changes."
    assert bound.shown["script"] == talk.script
    talk.call("set_fields", fields={"description": "x"})
    other = talk.bound("publish_script")
    assert other.hash != bound.hash
    talk.call("undo")
    assert talk.bound("publish_script").hash == bound.hash
    told = talk.once("p1", "publish_script")
    assert talk.resources.library.get("stock").hash == told["version"] and told["number"] == 1
    assert talk.once("p1", "publish_script") == told
    assert talk.call("show_draft")["base"] == told["version"]
    assert [record["code"] for record in talk.records() if record["type"] == "notice"] == ["published"]


def test_a_publication_that_cannot_be_kept_is_none(talk: Talk) -> None:
    talk.call("create_script", name="stock", steps=[SAY])

    def fail(work: Any) -> None:
        talk.resources.registry.get("publish_script").call_sync(talk.context(work), {})
        raise RuntimeError

    with pytest.raises(RuntimeError):
        talk.conversations.change(talk.id, fail)
    assert talk.resources.library.scripts() == [] and talk.call("show_draft")["base"] is None


def test_only_what_one_may_do_is_published(talk: Talk) -> None:
    steps = [{"type": "command", "command": "send_email", "args": {"to": "a@example.com", "subject": "s", "body": "b"}}]
    talk.call("create_script", name="stock", steps=steps)
    talk.access = access_with("scripts:write")
    with pytest.raises(Forbidden, match="tools:send_email"):
        talk.bound("publish_script")
    with pytest.raises(Forbidden, match="tools:send_email"):
        talk.call("publish_script")


def test_a_run_is_bound_to_version_arguments_and_mocks(talk: Talk) -> None:
    saved = talk.resources.library.save({"name": "greet", "parameters": ["who"], "steps": [SAY]})
    runs = Runs()
    talk.services["runs"] = runs
    bound = talk.bound("run_script", name="greet", arguments={"who": "john"})
    assert bound.what == f'Run greet (version {saved.hash[:12]}) with {{"who":"john"}}.'
    assert bound.shown["version"] == saved.hash
    assert talk.bound("run_script", name="greet", arguments={"who": "jane"}).hash != bound.hash
    talk.call("mock_tool", tool="send_email")
    assert talk.bound("run_script", name="greet", arguments={"who": "john"}).hash != bound.hash
    talk.call("unmock_tool", tool="send_email")
    assert talk.bound("run_script", name="greet", arguments={"who": "john"}).hash == bound.hash
    talk.resources.library.save({"name": "greet", "parameters": ["who"], "steps": [SAY, {**SAY, "name": "again"}]})
    assert talk.bound("run_script", name="greet", arguments={"who": "john"}).hash != bound.hash
    talk.call("run_script", name="greet", arguments={"who": "john"}, mocks=["send_email"], version=1)
    assert runs.started == [("greet", saved.hash, {"who": "john"}, ["send_email"], f"{talk.id}/call")]
    assert talk.records("run")[-1]["run_id"] == "run-1"
    with pytest.raises(UnknownTool):
        talk.bound("run_script", name="greet", mocks=["nope"])
    talk.access = access_with("scripts:write")
    with pytest.raises(Forbidden, match="scripts:run:greet"):
        talk.call("run_script", name="greet")


def test_a_call_without_a_sentence_of_its_own_is_bound_to_its_arguments(talk: Talk) -> None:
    args = {"to": "a@example.com", "subject": "s", "body": "b" * 500}
    bound = talk.bound("send_email", **args)
    assert bound.what.startswith('Call send_email with {"to":"a@example.com"') and bound.what.endswith("….")
    assert bound.shown["args"] == args and talk.bound("send_email", **args).hash == bound.hash
    assert talk.bound("send_email", **(args | {"body": "c"})).hash != bound.hash


def test_somebody_elses_edit_meanwhile_is_not_lost(talk: Talk) -> None:
    """The draft is changed by the API while a tool edits it: the edit is made again, of what there is by then."""
    made = talk.call("create_script", name="stock", steps=[SAY])["draft"]
    drafts = Drafts(talk.resources.databases, talk.resources.library)
    tries = []

    def work(found: Any) -> Any:
        done = talk.resources.registry.get("save_step").call_sync(
            talk.context(found), {"step": {**SAY, "name": f"mine{len(tries)}"}}
        )
        if not tries:
            drafts.change(made, None, lambda script: {**script, "description": "theirs"}, author="ben")
        tries.append(done["revision"])
        return done

    talk.conversations.once(talk.id, "c1", work)
    assert tries == [2, 3]
    assert talk.script["description"] == "theirs" and [step["name"] for step in talk.script["steps"]] == [
        "greet",
        "mine1",
    ]
    assert len(talk.records("draft")) == 2


def test_questions_end_the_turn(talk: Talk) -> None:
    told = talk.call("ask_person", question="Which time zone?", options=["UTC", "Europe/Berlin"])
    assert told == {"asked": "Which time zone?", "ends_turn": True}
    assert talk.records("question")[-1]["options"] == ["UTC", "Europe/Berlin"]


def test_the_systems_stores_are_as_they_were_after_a_failed_tool(talk: Talk) -> None:
    before = replace(talk.session)
    with pytest.raises(ToolError):
        talk.call("open_draft", script="nothing")
    assert talk.session == before
    view = talk.resources.databases.open("system").snapshot()
    assert open_store(view, "_drafts").count() == 0


def test_the_draft_is_tried_for_real_and_nothing_of_it_stays(talk: Talk) -> None:
    """Real reads, a write that is dropped, a stand-in; the condition with both sides."""
    talk.services["rehearse"] = LocalRehearsal(talk.resources)
    talk.call("mock_tool", tool="email_service", result={"sent": True})
    talk.call("create_script", name="risk", database="shop", parameters=["least"], steps=[
        {"type": "fetch", "name": "items", "resource": "items", "variable": "items"},
        {"type": "if", "name": "many", "condition": "items[0].n > least", "then": [
            {"type": "command", "name": "mark", "command": "update", "args": {"store": "items", "key": 1, "values": {"n": 0}}},
            {"type": "command", "name": "mail", "command": "email_service", "args": {"to": "a"}, "variable": "sent"}]},
        {"type": "return", "value": {"sent": "{{ sent.sent }}"}},
    ])  # fmt: skip
    database = talk.resources.databases.open("shop")
    before = database.head()
    told = talk.call("dry_run", arguments={"least": 5})
    assert (told["status"], told["result"]) == ("completed", {"sent": True})
    steps = {step["step"]: step for step in told["steps"]}
    assert (steps["many"]["condition"]["expression"], steps["many"]["condition"]["result"]) == (
        "items[0].n > least",
        True,
    )
    assert "> 5" in steps["many"]["condition"]["substituted"]
    assert steps["many/mark"]["value"]["n"] == 0 and steps["many/mail"]["value"] == {"sent": True}
    assert database.head() == before
    assert open_store(database.snapshot(), "items").get(1) == {"id": 1, "n": 10}


def test_what_a_draft_was_not_made_of_is_not_replaced_unseen(talk: Talk) -> None:
    talk.call("create_script", name="hi", steps=[{"type": "say", "message": "mine"}])
    first = talk.bound("publish_script")
    assert "takes the place" not in first.what
    talk.resources.library.save({"name": "hi", "steps": [{"type": "say", "message": "theirs"}]})
    second = talk.bound("publish_script")
    assert second.hash != first.hash
    assert second.what.endswith(" It takes the place of version 1, which the draft was not made of.")
    talk.call("publish_script")
    assert "takes the place" not in talk.bound("publish_script").what
