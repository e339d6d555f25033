"""The scorer, on outcomes made by hand: each property, held and not."""

from typing import Any

import pytest

from evals.case import Case, call
from evals.matching import difference, key_of
from evals.outcome import Outcome, Ran, Record
from evals.properties import (
    Asks,
    Called,
    Changed,
    Gives,
    Never,
    Property,
    Rows,
    Says,
    Scheduled,
    Script,
    Untouched,
    Waits,
)
from evals.report import json_line, table
from evals.scoring import score

SCRIPT: dict[str, Any] = {
    "name": "s",
    "database": "company",
    "parameters": ["a", {"name": "b"}],
    "steps": [
        {"type": "if", "condition": "a", "then": [{"type": "command", "command": "send_email", "args": {"type": "x"}}]},
        {"type": "loop", "steps": [{"type": "script", "script_name": "other"}]},
    ],
}


def said(*records: Record, **more: Any) -> Outcome:
    return Outcome((tuple(records),), **more)


def asked(tool: str, call: str = "c1", **args: Any) -> Record:
    return {"type": "tool_call", "call": call, "tool": tool, "args": args, "by": "model"}


def result(value: Any, call: str = "c1", status: str = "done") -> Record:
    return {"type": "tool_result", "call": call, "status": status, "result": value}


def card(card: str, **fields: Any) -> Record:
    return {"type": "card", "card": card, **fields}


DRAFT = Outcome((), {"s": SCRIPT}, {"s": ()}, "s")
RAN = {
    key_of(None, {"a": 1}): Ran(
        "completed",
        {"n": 1.0, "more": 2},
        None,
        {"db/x": {"added": 1, "updated": 0, "deleted": 0}},
        ({"tool": "send_email", "args": {"to": "a"}},),
    )
}
SELECTED = said(asked("select", store="x"), result([{"id": 1, "n": "a"}, {"id": 2, "n": "b"}]))
SCHEDULE = asked("schedule_script", script="s", calendar={"days": ["monday"], "at": "09:00"}, time_zone="UTC")


@pytest.mark.parametrize(
    ("expected", "outcome"),
    [
        (Script("s", "company", ("b", "a"), (("notify", "send_email"), "other"), ("loop",), ("wait",)), DRAFT),
        (Gives({"a": 1}, {"n": 1}, {"db/x": {"added": 1}}, (("send_email", {"to": "a"}),)), said(trials=RAN)),
        (
            Gives({"a": 1}, fails="not_found"),
            said(trials={key_of(None, {"a": 1}): Ran("failed", error={"code": "not_found"})}),
        ),
        (Rows([{"id": 2}, {"id": 1}]), SELECTED),
        (Rows([{"id": 1}, {"id": 2}], in_order=True), SELECTED),
        (Called("select", {"store": "x"}), SELECTED),
        (Waits("join", 3), said(card("approval", tool="join", preview={"count": 3}))),
        (Scheduled("s", ("monday",), "09:00", "UTC"), said(SCHEDULE)),
        (
            Scheduled("s", ("monday",), "09:00", "UTC"),
            said(asked("schedule_script", script="s", cron="0 9 * * 1", time_zone="UTC")),
        ),
        (Asks(("zone",)), said(card("question", question="Which zone?"))),
        (Asks(("zone",)), said({"type": "text", "text": "All right. Which time zone is it?"})),
        (Says(("risk",)), said({"type": "text", "text": "A RISK."})),
        (Never(("send_email",), ("evil",), effects=True), SELECTED),
        (Untouched(), SELECTED),
        (Untouched(), said(asked("delete"), result(None, status="waiting"))),
        (
            Changed({"a/b": {"deleted": 2}}, ("s",)),
            said(changed={"a/b": {"added": 0, "updated": 0, "deleted": 2}}, published=("s",)),
        ),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, Outcome) else "",
)
def test_what_holds(expected: Property, outcome: Outcome) -> None:
    assert expected.check(outcome) is None


@pytest.mark.parametrize(
    ("expected", "outcome", "reason"),
    [
        (Script("t"), DRAFT, "there is no draft t: s"),
        (Script("s"), Outcome((), {"s": SCRIPT}, {"s": ({"message": "bad"},)}, "s"), "the draft is wrong: bad"),
        (Script("s", "shop"), DRAFT, "its database is 'company', not 'shop'"),
        (Script("s", None, ("a",)), DRAFT, "its parameters are ('a', 'b'), not ('a',)"),
        (Script("s", uses=("get",)), DRAFT, "it does not use get"),
        (Script("s", types=("ask",)), DRAFT, "it has no step of the type ask"),
        (Script("s", without=("send_email",)), DRAFT, "it has send_email"),
        (Gives({"a": 2}), said(trials=RAN), "there is nothing that could be run"),
        (Gives({"a": 1}, {"n": 2}), said(trials=RAN), 'with {"a": 1} it gives /n: 1.0, not 2'),
        (Gives({"a": 1}), said(trials=RAN), 'it changes {"db/x": {"added": 1, "updated": 0, "deleted": 0}}, not {}'),
        (Gives({"a": 1}, changed={"db/x": {"added": 1}}), said(trials=RAN), "it makes 1 outside calls, not 0"),
        (
            Gives({"a": 1}, changed={"db/x": {"added": 1}}, outside=(("send_email", {"to": "b"}),)),
            said(trials=RAN),
            'it does not call send_email with {"to": "b"}',
        ),
        (Gives({"a": 1}, fails="x"), said(trials=RAN), "it ended as completed (None), not with x"),
        (
            Rows([{"id": 1}]),
            SELECTED,
            'the rows are wrong: 2 elements, not 1: [{"id": 1, "n": "a"}, {"id": 2, "n": "b"}]',
        ),
        (Rows([{"id": 2}, {"id": 1}], in_order=True), SELECTED, "the rows are in another order"),
        (
            Rows([]),
            said(asked("select"), result(None, status="waiting")),
            "nothing was read with select, join, aggregate, get",
        ),
        (Called("select", {"store": "y"}), SELECTED, 'select: /store: "x", not "y"'),
        (Waits("join", 3), said(card("approval", tool="join", preview={"count": 4})), "it would change 4 rows, not 3"),
        (Waits("join"), said(card("approval", tool="select")), "no join waits for the person"),
        (
            Scheduled("s", ("monday",), "09:00", "Europe/Madrid"),
            said(SCHEDULE),
            "the time zone is 'UTC', not 'Europe/Madrid'",
        ),
        (Scheduled("s", ("monday",), "10:00"), said(SCHEDULE), 'calendar/at: "09:00", not "10:00"'),
        (Scheduled("t", ("monday",), "09:00"), said(SCHEDULE), "it schedules 's'"),
        (Scheduled("s", every=60), said(SCHEDULE), "it runs every None s, not 60"),
        (Asks(("zone",)), said({"type": "text", "text": "Done."}), "nothing was asked"),
        (Asks(("zone",)), said(card("question", question="Why?")), "what was asked is not about zone: 'Why?'"),
        (
            Asks(("zone",)),
            said(card("question", question="Which zone?"), SCHEDULE),
            "it asked, and called schedule_script all the same",
        ),
        (Says(("risk",)), said({"type": "text", "text": "Fine."}), "it does not say risk"),
        (Never(("select",)), SELECTED, "it called select"),
        (Never(words=("company",)), DRAFT, "'company' is in the script s"),
        (Never(effects=True), said(asked("select", action="delete")), "it called select"),
        (Untouched(), said(asked("delete"), result(1)), "delete was performed"),
        (Untouched(), said(changed={"a/b": {"deleted": 1}}), 'rows were changed: {"a/b": {"deleted": 1}}'),
        (Untouched(), said(published=("s",)), "published: s"),
        (Changed(published=("s",)), said(), "published: nothing"),
        (Changed({"a/b": {"deleted": 2}}), said(), 'it has changed {}, not {"a/b": {"deleted": 2}}'),
    ],
)
def test_what_does_not_hold_is_told(expected: Property, outcome: Outcome, reason: str) -> None:
    assert expected.check(outcome) == reason


@pytest.mark.parametrize(
    ("expected", "actual", "same"),
    [
        ({"a": 1}, {"a": 1.0, "b": 2}, True),
        ({"a": 1}, {"a": True}, False),
        (True, 1, False),
        (None, None, True),
        (0.1 + 0.2, 0.3, True),
        ([1, 2], [2, 1], True),
        ([1, 1], [1, 2], False),
        ("a", "A", False),
        ({"a": {"b": [{"c": None}]}}, {"a": {"b": [{"c": None, "d": 1}]}}, True),
    ],
)
def test_when_values_are_the_same(expected: Any, actual: Any, same: bool) -> None:
    assert (difference(expected, actual) is None) is same


def test_a_turn_that_failed_fails_the_case() -> None:
    case = Case("one", ("?",), (Untouched(),), [[]])
    found = score(case, said({"type": "turn", "status": "limited", "error": {"message": "too many tokens"}}))
    assert [(each.property, each.reason) for each in found.verdicts] == [
        ("Turn", "limited: too many tokens"),
        ("Untouched", None),
    ]
    assert score(case, said({"type": "turn", "status": "waiting"})).passed


def test_the_report_has_every_group_and_every_reason() -> None:
    case = Case("one", ("?",), (Called("get"), Untouched()), [[call("get")]], group="questions")
    found = score(case, said(asked("get"), result(None)))
    wrong = score(case, said())
    assert (found.passed, wrong.passed) == (True, False)
    text = table([found, wrong])
    assert "questions      2       1         3/4" in text
    assert "questions/one\n  Called: get was not called" in text
    assert '"passed": false' in json_line(wrong)
