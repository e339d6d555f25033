"""The log of a session as messages: calls stay with their results, decisions are told, and a budget is kept."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.author.fencing import Fence
from agent.author.history import told
from agent.protocol import Message
from agent.tokens import tokens_of
from tests.agent.author.logs import Log

PLENTY = 10**9


def messages(log: Log, budget: int = PLENTY) -> list[Message]:
    return told(log.records, Fence(), budget)


def check_pairs(found: list[Message]) -> None:
    """Each call has its result directly behind it, and each result its call."""
    at = 0
    while at < len(found):
        behind = found[at + 1 : at + 1 + len(found[at].calls)]
        assert [message.call for message in behind] == [call.id for call in found[at].calls]
        assert all(message.role == "tool" for message in behind)
        assert found[at].role != "tool"
        at += 1 + len(behind)


def test_a_turn_with_calls() -> None:
    log = Log().person("Show the people")
    log.say("text_delta", text="I lo").say("text", text="I look.", model="m", usage={})
    log.calls("a", "select", store="people").calls("b", "select", store="pets")
    log.gives("a", "select", [{"name": "Ada"}]).say("card", card="problems", problems=[])
    log.gives("b", "select", None, status="failed", error={"code": "unknown_store"})
    log.say("text", text="Ada.", model="m", usage={}).say("turn", status="completed")
    found = messages(log)
    assert [message.role for message in found] == ["user", "assistant", "tool", "tool", "assistant"]
    assert [(call.id, call.tool, call.arguments) for call in found[1].calls] == [
        ("a", "select", {"store": "people"}),
        ("b", "select", {"store": "pets"}),
    ]
    assert '[{"name":"Ada"}]' in found[2].content
    assert found[3].content.startswith("[failed]\n<data")
    assert '"code":"unknown_store"' in found[3].content
    check_pairs(found)


def test_calls_without_text_and_one_after_the_other() -> None:
    log = Log().person("Go")
    for call in "ab":
        log.calls(call, "get").gives(call, "get", 1)
    found = messages(log)
    assert [message.role for message in found] == ["user", "assistant", "tool", "assistant", "tool"]
    check_pairs(found)


def test_what_waits_and_what_was_decided() -> None:
    log = Log().person("Publish it")
    log.say("text", text="It waits for you.").calls("a", "publish_script", name="x")
    log.say("card", card="approval", approval="ap1", what="Publish x")
    log.gives("a", "publish_script", {"approval": "ap1"}, status="waiting").say("turn", status="waiting")
    log.turn += 1
    log.say("user", approval="ap1", approved=True, comment="go on").say(
        "card", card="decision", approval="ap1", approved=True
    ).gives("a", "publish_script", {"version": "v1"})
    found = messages(log)
    assert [message.role for message in found] == ["user", "assistant", "tool", "user", "user", "user"]
    assert found[2].content.startswith("[waiting]")
    assert "The person sees this approval" in found[3].content
    assert found[4].content.startswith("[The person approved this:]\n<data")
    assert "Publish x" in found[4].content
    assert "go on" in found[4].content
    assert "The result of the earlier call, publish_script" in found[5].content
    check_pairs(found)
    lost = Log().person("Go").calls("a", "send_email")
    assert "waits for the person's decision, or was not performed" in messages(lost)[-1].content
    typed = Log().person("/approve ap1").say("card", card="decision", approval="ap1", approved=True)
    assert "The person sees this decision" in messages(typed)[-1].content
    refused = Log().person("x").say("user", approval="ap2", approved=False, comment="")
    assert messages(refused)[-1].content == "[The person refused this:]\nwhat waited"


def test_what_the_person_did_themselves_and_how_turns_ended() -> None:
    log = (
        Log().person("/select store=people").calls("p", "select", by="person", store="people").gives("p", "select", [1])
    )
    log.say("turn", status="completed")
    log.person("Go").say("text", text="I").say("turn", status="canceled", error={"message": "stopped"})
    log.say("notice", text="The schedule failed")
    found = [message.content for message in messages(log)]
    assert found[1].startswith("[The person called select themselves:]")
    assert found[2].startswith("[The result of what the person called, select:]")
    assert "[The turn ended: canceled.]" in found[5]
    assert "The schedule failed" in found[6]
    assert {message.role for message in messages(log)} == {"user", "assistant"}


def test_names_that_a_model_made_up_are_told_as_endpoints_take_them_and_rows_by_their_number() -> None:
    log = (
        Log()
        .person("Go")
        .calls("a", "db.select all!")
        .gives("a", "db.select all!", None, "failed", error={"code": "unknown_tool"})
    )
    log.calls("b", "").gives("b", "", None, rows={"count": 5_000, "ref": {"seal": "x"}})
    found = messages(log)
    assert [call.tool for message in found for call in message.calls] == ["db_select_all_", "_"]
    assert '{"rows":{"count":5000,"shown":"to the person"}}' in found[-1].content


def long_log(turns: int, rows: int) -> Log:
    log = Log()
    for turn in range(turns):
        log.person(f"question {turn}").say("text", text=f"answer {turn}")
        log.calls(f"c{turn}", "select", store="x" * 20).gives(f"c{turn}", "select", [{"n": "y" * 50}] * rows)
    return log


def test_older_turns_are_shortened_then_left_out_and_the_last_stays() -> None:
    log = long_log(10, 60)
    whole = messages(log)
    size = sum(tokens_of(message) for message in whole)
    some = messages(log, size * 2 // 3)
    assert len(some) == len(whole), "shortening was enough"
    assert "left out" in some[2].content
    assert some[-1].content.replace(some[-1].content[6:30], "") == whole[-1].content.replace(
        whole[-1].content[6:30], ""
    )
    few = messages(log, 1_500)
    assert (
        few[0].content
        == f"[Earlier parts of this conversation are left out: {len(whole) - len(few) + 1} messages. Draft and catalog are as they are now.]"
    )
    assert few[-3].content == "question 9"
    for found in (whole, some, few):
        check_pairs(found)


def test_a_long_turn_is_shortened_from_its_beginning_and_its_question_stays() -> None:
    log = Log().person("The question")
    for number in range(30):
        log.calls(f"c{number}", "select").gives(f"c{number}", "select", ["z" * 100] * 30)
    found = messages(log, 3_000)
    assert found[0].content.startswith("[Earlier parts")
    assert found[1].content == "The question"
    assert sum(tokens_of(message) for message in found) < 3_500
    assert found[-1].content.count("z" * 100) == 30
    check_pairs(found)


def test_what_came_last_is_told_in_short_when_it_is_too_much() -> None:
    log = Log().person("Go")
    for number in range(20):
        log.calls(f"c{number}", "select")
    for number in range(20):
        log.gives(f"c{number}", "select", ["z" * 100] * 60)
    found = messages(log, 4_000)
    assert sum(tokens_of(message) for message in found) < 4_000
    assert len(found) == 22
    check_pairs(found)


STEPS = st.lists(
    st.sampled_from(["person", "text", "call", "by person", "result", "late", "card", "approval", "turn", "notice"]),
    max_size=30,
)


@given(STEPS, st.integers(0, 2_000))
@settings(deadline=None, max_examples=200)
def test_whatever_happened_calls_and_results_stay_together(steps: list[str], budget: int) -> None:
    log = Log()
    open_calls: list[str] = []
    for number, step in enumerate(steps):
        if step == "person":
            log.person(f"p{number}")
        elif step == "text":
            log.say("text", text=f"t{number}")
        elif step in ("call", "by person"):
            open_calls.append(f"c{number}")
            log.calls(f"c{number}", "select", by="model" if step == "call" else "person", text="w" * 600)
        elif step in ("result", "late") and open_calls:
            call = open_calls.pop(0 if step == "late" else -1)
            log.gives(call, "select", ["r" * 30] * number)
        elif step == "approval":
            log.turn += 1
            log.say("user", approval="x", approved=True, comment="")
        elif step in ("card", "turn", "notice"):
            fields: dict[str, Any] = (
                {"card": "run"} if step == "card" else {"status": "failed"} if step == "turn" else {"text": "n"}
            )
            log.say(step, **fields)
    found = messages(log, budget)
    check_pairs(found)
    asked = [record for record in log.records if record["type"] == "user" and record["turn"] == log.turn]
    if asked and "text" in asked[-1] and log.records[-1]["turn"] == log.turn:
        assert any(message.content == asked[-1]["text"] for message in found)
