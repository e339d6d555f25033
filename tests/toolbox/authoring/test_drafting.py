"""Drafts in a session: every edit is one revision with its card, or nothing; steps are reached wherever they stand."""

from typing import Any

import pytest

from script.errors import ScriptInvalid
from tests.toolbox.authoring.conftest import Talk, access_with
from toolbox import Drafts
from toolbox.errors import Forbidden, InvalidArguments, NoDraft, NoSession, NothingToUndo, ToolError

SAY = {"type": "say", "name": "greet", "message": "hello"}
NESTED: list[dict[str, Any]] = [
    {"type": "fetch", "name": "items", "resource": "items", "variable": "rows"},
    {"type": "if", "name": "any", "condition": "size(rows) > 0", "then": [{"type": "loop", "name": "each", "list": "rows", "iterator": "row", "steps": [
        {"type": "say", "name": "one", "message": "{{ row.id }}"}]}]},
    {"type": "return", "value": "{{ size(rows) }}"},
]  # fmt: skip


def begun(talk: Talk, steps: list[dict[str, Any]] | None = None) -> Talk:
    talk.call("create_script", name="stock", database="shop", steps=NESTED if steps is None else steps)
    return talk


def names(steps: list[dict[str, Any]]) -> list[Any]:
    return [step.get("name", step["type"]) for step in steps]


def test_a_draft_is_begun_opened_and_told(talk: Talk) -> None:
    told = talk.call(
        "create_script", name="stock", description="Counts.", parameters=["at"], database="shop", steps=[SAY]
    )
    assert (told["name"], told["revision"], told["problems"]) == ("stock", 1, [])
    assert talk.session.draft == told["draft"]
    assert talk.script == {
        "name": "stock",
        "description": "Counts.",
        "parameters": ["at"],
        "database": "shop",
        "steps": [SAY],
    }
    card = talk.records("draft")[-1]
    assert card["diff"]["text"] == told["diff"] and card["diff"]["changes"][0]["kind"] == "added"
    shown = talk.call("show_draft")
    assert shown["script"] == talk.script and "hello" in shown["outline"]
    with pytest.raises(InvalidArguments, match="draft of stock already"):
        talk.call("create_script", name="stock")


def test_a_saved_script_is_opened_as_a_draft_of_its_version(talk: Talk) -> None:
    saved = talk.resources.library.save({"name": "greet", "steps": [SAY]})
    with pytest.raises(InvalidArguments, match="script greet already"):
        talk.call("create_script", name="greet")
    told = talk.call("open_draft", script="greet")
    assert (told["problems"], told["diff"]) == ([], ["nothing changed"])
    assert talk.call("show_draft")["base"] == saved.hash
    other = talk.call("create_script", name="other")
    assert talk.call("open_draft", script="greet")["draft"] == told["draft"] != other["draft"]
    listed = talk.call("list_drafts")
    assert {row["name"] for row in listed["drafts"]} == {"greet", "other"} and listed["open"] == told["draft"]
    first = talk.call("list_drafts", limit=1)
    assert first["drafts"] + talk.call("list_drafts", after=first["next"])["drafts"] == listed["drafts"]


def test_without_a_draft_or_a_session_it_is_said(talk: Talk) -> None:
    for tool, args in (
        ("show_draft", {}),
        ("save_step", {"step": SAY}),
        ("undo", {}),
        ("diff_script", {}),
        ("publish_script", {}),
    ):
        with pytest.raises(NoDraft, match="no draft is open"):
            talk.call(tool, **args)
    made = begun(talk).session.draft
    assert made is not None
    Drafts(talk.resources.databases, talk.resources.library).delete(made, None)
    with pytest.raises(NoDraft, match="has been deleted"):
        talk.call("show_draft")
    work = talk.conversations.change(talk.id, lambda work: talk.context(work))
    with pytest.raises(NoSession):
        talk.resources.registry.get("undo").call_sync(type(work)(**{**work.__dict__, "session": None}), {})


def test_steps_are_added_inserted_changed_moved_and_removed(talk: Talk) -> None:
    begun(talk, [])
    talk.call("save_step", step=SAY)
    talk.call("save_step", step={"type": "return", "value": 1}, script="stock")
    told = talk.call("insert_step", position=0, step={"type": "set", "name": "n", "variable": "n", "value": 1})
    assert names(talk.script["steps"]) == ["n", "greet", "return"]
    assert told["diff"] == ["step 'n' (set) is new, at the beginning"]
    talk.call("update_step", step="greet", changes={"message": "bye", "when": "n > 0"})
    talk.call("update_step", step=1, changes={}, remove=["when"])
    talk.call("update_step", step="return_3", changes={"value": {"a": {"b": 1}}})
    talk.call("update_step", step="/steps/2", changes={"/value/a/b": 2})
    assert talk.script["steps"][1:] == [{**SAY, "message": "bye"}, {"type": "return", "value": {"a": {"b": 2}}}]
    talk.call("reorder_steps", order=["greet", 0, "/steps/2"])
    assert names(talk.script["steps"]) == ["greet", "n", "return"]
    talk.call("move_step", step="return_3", position=0)
    talk.call("delete_step", step="n")
    assert names(talk.script["steps"]) == ["return", "greet"]


def test_steps_inside_of_blocks_are_reached(talk: Talk) -> None:
    begun(talk)
    talk.call("save_step", step=SAY, within="each")
    talk.call("insert_step", position=0, step={**SAY, "name": "none"}, within="any", part="else")
    talk.call("save_step", step={**SAY, "name": "caught"}, within="/steps/0", part="catch")
    talk.call("save_step", step={**SAY, "name": "again"}, within="/steps/0/catch/0/steps")
    talk.call("save_step", step={**SAY, "name": "always"}, within=0, part="finally")
    talk.call("save_step", step={**SAY, "name": "failed"}, part="on_failure")
    script = talk.script
    assert names(script["steps"][1]["then"][0]["steps"]) == ["one", "greet"]
    assert names(script["steps"][1]["else"]) == ["none"] and names(script["on_failure"]) == ["failed"]
    assert names(script["steps"][0]["catch"][0]["steps"]) == ["caught", "again"] and names(
        script["steps"][0]["finally"]
    ) == ["always"]
    talk.call("move_step", step="one", position=0, within="any", part="else")
    talk.call("update_step", step="one", changes={"message": "gone"})
    talk.call("delete_step", step="none")
    assert talk.script["steps"][1]["else"] == [{"type": "say", "name": "one", "message": "gone"}]
    with pytest.raises(InvalidArguments, match="into itself"):
        talk.call("move_step", step="any", within="each")
    talk.call("update_step", step="greet", changes={"compensate": SAY | {"name": "back"}})
    talk.call("save_step", step={**SAY, "name": "more"}, within="greet", part="compensate")
    assert names(talk.script["steps"][1]["then"][0]["steps"][0]["compensate"]) == ["back", "more"]


@pytest.mark.parametrize(
    ("tool", "args", "message", "hint"),
    [
        ("delete_step", {"step": "eech"}, "no step 'eech'", "did you mean 'each'?"),
        ("delete_step", {"step": 9}, "no step 9, counted from 0", "the steps are"),
        ("insert_step", {"position": 4, "step": SAY}, "no position 4, counted from 0", "0 to 3"),
        ("insert_step", {"position": -1, "step": SAY}, "no position -1", "0 to 3"),
        ("save_step", {"step": SAY, "within": "items"}, "no steps of its own", "catch"),
        ("save_step", {"step": SAY, "within": "any", "part": "steps"}, "no part 'steps'", "then, else"),
        ("save_step", {"step": SAY, "part": "then"}, "the script has no part", "which step"),
        ("save_step", {"step": SAY, "within": "/steps/0/catch/0/steps"}, "no step '/steps/0/catch", "the steps are"),
        ("save_step", {"step": SAY, "within": "/steps/7/then"}, "no step '/steps/7/then'", "the steps are"),
        ("save_step", {"step": SAY, "script": "other"}, "is that of stock", "open_draft"),
        ("update_step", {"step": "each", "changes": {}, "remove": ["when"]}, "no 'when'", "iterator"),
        ("reorder_steps", {"order": ["items", "any"]}, "each of the 3", "names or positions"),
        ("set_fields", {"fields": {}, "remove": ["database2"]}, "no 'database2'", "steps"),
        ("parameterize_script", {"values": {"rows": "x"}}, "a variable of the script", "another name"),
    ],
)
def test_what_cannot_be_done_is_said_and_changes_nothing(
    talk: Talk, tool: str, args: dict[str, Any], message: str, hint: str
) -> None:
    before = begun(talk).script, len(talk.records())
    with pytest.raises(InvalidArguments, match=message) as raised:
        talk.call(tool, **args)
    assert hint in (raised.value.hint or "")
    assert (talk.script, len(talk.records())) == before


def test_of_two_steps_of_one_name_none_is_meant(talk: Talk) -> None:
    begun(talk, [SAY, SAY])
    with pytest.raises(InvalidArguments, match="more than one") as raised:
        talk.call("delete_step", step="greet")
    assert "/steps/0, /steps/1" in (raised.value.hint or "")
    talk.call("delete_step", step="/steps/1")
    assert talk.script["steps"] == [SAY]


def test_fields_of_the_script_are_set_and_removed(talk: Talk) -> None:
    begun(talk)
    talk.call(
        "set_fields", fields={"description": "Counts.", "output_schema": {"type": "integer"}, "parameters": ["a"]}
    )
    talk.call("set_fields", fields={"steps": [SAY]}, remove=["output_schema", "parameters"])
    assert talk.script == {"name": "stock", "database": "shop", "description": "Counts.", "steps": [SAY]}


def test_errors_are_told_and_counted_until_an_edit_without_any(talk: Talk) -> None:
    begun(talk)
    for count in (1, 2):
        told = talk.call("save_step", step={"type": "command", "command": "selekt"})
        assert talk.session.failed_edits == count
        assert {problem.get("hint") for problem in told["problems"]} >= {"did you mean 'select'?"}
    card = talk.records("problems")[-1]
    assert [problem["pointer"] for problem in card["problems"]] == ["/steps/3/command", "/steps/4/command"]
    talk.call("delete_step", step=4)
    assert talk.session.failed_edits == 3
    talk.call("delete_step", step=3)
    assert talk.session.failed_edits == 0 and len(talk.records("problems")) == 3


def test_undo_goes_further_back_each_time(talk: Talk) -> None:
    begun(talk, [])
    texts = [talk.script]
    for number in range(4):
        talk.call("save_step", step={**SAY, "name": f"s{number}"})
        texts.append(talk.script)
    for expected in (3, 2):
        talk.call("undo")
        assert talk.script == texts[expected]
    talk.call("save_step", step=SAY)
    for expected in (2, 1, 0):
        talk.call("undo")
        assert talk.script == texts[expected]
    with pytest.raises(NothingToUndo):
        talk.call("undo")
    assert talk.call("show_draft")["revision"] == 11


def test_differences_are_from_the_base_or_a_revision(talk: Talk) -> None:
    talk.resources.library.save({"name": "greet", "steps": [SAY]})
    talk.call("open_draft", script="greet")
    talk.call("update_step", step="greet", changes={"message": "bye"})
    talk.call("update_step", step="greet", changes={"message": "goodbye"})
    assert talk.call("diff_script")["text"] == ['step \'greet\' (say): message is "goodbye", and was "hello"']
    assert talk.call("diff_script", since=2)["text"] == ['step \'greet\' (say): message is "goodbye", and was "bye"']
    with pytest.raises(ToolError, match="no revision 9"):
        talk.call("diff_script", since=9)


def test_what_is_done_once_is_not_done_again(talk: Talk) -> None:
    begun(talk)
    first = talk.once("c1", "save_step", step=SAY)
    seen = talk.script, len(talk.records()), talk.session.seq
    assert talk.once("c1", "save_step", step=SAY) == first
    assert (talk.script, len(talk.records()), talk.session.seq) == seen


def test_what_no_draft_can_be_is_refused_and_leaves_no_trace(talk: Talk) -> None:
    before = begun(talk).script, talk.session
    with pytest.raises(ScriptInvalid):
        talk.call("set_fields", fields={"name": "a b"})
    assert (talk.script, talk.session) == before


def test_only_who_may_write_the_script_may_touch_its_draft(talk: Talk) -> None:
    made = begun(talk).session.draft
    talk.access = access_with("scripts:write:other,scripts:read,data:shop:read")
    for tool, args in (("show_draft", {}), ("undo", {}), ("save_step", {"step": SAY}), ("open_draft", {"script": "stock"}), ("create_script", {"name": "x"}),
                       ("delete_draft", {"draft": made}), ("publish_script", {})):  # fmt: skip
        with pytest.raises(Forbidden):
            talk.call(tool, **args)
    assert talk.call("list_drafts")["drafts"] == []


def test_a_draft_that_names_a_database_takes_the_right_to_read_it(talk: Talk) -> None:
    begun(talk, [])
    talk.access = access_with("scripts:write,scripts:read")
    with pytest.raises(Forbidden, match="data:shop:read"):
        talk.call("save_step", step=SAY)
    with pytest.raises(Forbidden, match="data:shop:read"):
        talk.call("show_draft")


def test_a_draft_is_deleted_by_who_has_seen_it(talk: Talk) -> None:
    made = begun(talk).session.draft
    bound = talk.bound("delete_draft")
    assert bound.what == "Delete the draft of stock with its 1 revisions; versions that were published stay."
    talk.call("save_step", step=SAY)
    assert talk.bound("delete_draft").hash != bound.hash
    assert talk.call("delete_draft", draft="stock") == {"deleted": made, "name": "stock"}
    assert talk.session.draft is None and talk.call("list_drafts")["drafts"] == []


def test_a_script_is_told_drawn_and_reviewed(talk: Talk) -> None:
    begun(talk)
    assert "items" in talk.call("outline_script")["outline"]
    assert talk.call("draw_script")["picture"].startswith("flowchart")
    assert talk.call("draw_script", format="svg")["picture"].startswith("<svg")
    talk.resources.library.save(
        {
            "name": "mail",
            "steps": [
                {
                    "type": "command",
                    "command": "send_email",
                    "args": {"to": "a@example.com", "subject": "s", "body": "b"},
                }
            ],
        }
    )
    talk.call("save_step", step={"type": "script", "script_name": "mail"})
    reviewed = talk.call("review_script", name="stock")
    assert reviewed["name"] == "stock" and "send_email" in str(reviewed)
    assert talk.call("outline_script", name="mail")["name"] == "mail"
    talk.access = access_with("scripts:write,data:shop:read")
    assert "send_email" not in str(talk.call("review_script"))
    with pytest.raises(Forbidden):
        talk.call("outline_script", name="mail")
    talk.access = access_with("scripts:write")
    with pytest.raises(Forbidden, match="data:shop:read"):
        talk.call("review_script")
