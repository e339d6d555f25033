"""Scripts in plain English: golden outlines, filters and tools in words, random scripts, and texts that would pretend."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from script.outline import outline, summary
from script.outline.rows import change, order, where
from script.outline.tools import call
from script.outline.words import code, duration, json_type, listed, value
from script.source.ast import Script
from script.source.loading import load_script
from script.source.tree import place, walk
from tests.script.outline.texts import EXAMPLES, drawn, example, golden_scripts
from toolbox.registry import builtin_registry

FOLDER = Path(__file__).parents[1] / "golden" / "outline"
MACHINE = (
    "approval", "ask", "async_steps", "batch_tolerates_failures", "block_on_another_database", "catch_after_retry", "compensate",
    "continue_on_error", "fail_step", "finally_runs", "if_then_else", "loop_break_continue", "loop_reduce", "manage_transaction",
    "on_failure", "output_schema", "retry_only_and_never", "subroutine_inherits", "timeout_of_a_group", "wait_until", "when_guard",
    "while_loop",
)  # fmt: skip
"""Golden files of the machine, whose scripts are told: one for each thing that the language has."""
GOLDEN = golden_scripts()


def matches_golden(name: str, text: str) -> None:
    path = FOLDER / f"{name}.txt"
    if os.environ.get("GOLDEN") == "write":
        path.write_text(text, encoding="utf-8")
    else:
        assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", EXAMPLES)
def test_golden_outlines_of_the_examples(name: str) -> None:
    matches_golden(name, outline(example(name)))


def test_golden_outlines_of_the_machines_scripts() -> None:
    matches_golden("machine", "\n".join(f"=== {name}\n{outline(GOLDEN[name])}" for name in MACHINE))


def test_the_examples_are_golden() -> None:
    assert {path.stem for path in FOLDER.glob("*.txt")} == {*EXAMPLES, "machine"}
    assert len(EXAMPLES) >= 8


@settings(deadline=None, max_examples=80)
@given(drawn)
def test_random_scripts_are_told(script: Script) -> None:
    text = outline(script)
    lines = [line.strip() for line in text.splitlines()]
    placed = list(walk(place(script)))
    for each in placed:
        head = f"{each.number}{'' if '.' in each.number else '.'} {each.name}: "
        assert len([line for line in lines if line.startswith(head)]) == 1
        assert "\n" not in summary(each.node, script.database)
    assert outline(load_script(script.model_dump(mode="json", by_alias=True, exclude_unset=True)).script) == text


def test_which_rows_a_loop_goes_over() -> None:
    def told(fetch: dict[str, Any], *more: dict[str, Any], **script: Any) -> str:
        fetch = {"type": "fetch", "resource": "users", "filter": {"a": 1}, "variable": "rows", **fetch}
        loop = {"type": "loop", "name": "each", "list": "rows", "iterator": "row", "steps": []}
        text = outline(load_script({"name": "t", "database": "shop", "steps": [fetch, *more, loop], **script}).script)
        return next(line for line in text.splitlines() if " each: " in line).partition(" each: ")[2]

    assert told({}) == "For each `row` in `rows` (the rows of shop.users where a is 1):"
    assert told({"database": "far"}) == "For each `row` in `rows` (the rows of far.users where a is 1):"
    unknown = "For each `row` in `rows`:"
    assert told({"single": True}) == unknown
    assert told({"when": "x"}) == unknown
    assert told({}, {"type": "set", "variable": "rows", "value": []}) == unknown
    assert told({}, parameters=["rows"]) == unknown


def test_steps_of_a_block_work_on_its_database() -> None:
    fetch = {"type": "fetch", "resource": "users"}
    block = {"type": "block", "database": "far", "steps": [fetch], "finally": [{**fetch, "name": "at_the_end"}]}
    text = outline(load_script({"name": "t", "database": "shop", "steps": [block]}).script)
    assert "1.1 fetch_1: Fetch the rows of far.users." in text
    assert "1.2 at_the_end: Fetch the rows of shop.users." in text


# --- words ---


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        (None, ""),
        ({}, ""),
        ({"status": "active"}, ' where status is "active"'),
        ({"a": None}, " where a is null or missing"),
        ({"a": {"$ne": None}, "b": {"$eq": 1}}, " where a is not null or missing and b is 1"),
        ({"age": {"$gte": 18, "$lt": 65}}, " where age is at least 18 and age is less than 65"),
        ({"a": {"$gt": "{{ n }}"}, "b": {"$lte": 2}}, " where a is more than `n` and b is at most 2"),
        ({"city": {"$in": ["Rome", None]}}, ' where city is one of "Rome", null'),
        ({"city": {"$nin": "{{ cities }}"}}, " where city is none of `cities`"),
        ({"a": {"$between": [1, 5]}}, " where a is from 1 to 5"),
        ({"a": {"$exists": True}, "b": {"$exists": False}}, " where there is a field a and there is no field b"),
        ({"a": {"$regex": "^x", "$options": "i"}}, ' where a matches the pattern "^x" (with the options "i")'),
        ({"a": {"$starts_with": "x"}, "b": {"$contains": "y"}}, ' where a starts with "x" and b contains "y"'),
        ({"a": {"$elemMatch": {"sku": "A", "n": {"$gt": 2}}}}, ' where a has an element with (sku is "A" and n is more than 2)'),
        ({"a": {"$elemMatch": {"$gt": 2, "$lt": 4}}}, " where a has an element with (it is more than 2 and it is less than 4)"),
        ({"$or": [{"vip": True}, {"age": {"$gt": 1, "$lt": 5}}]}, " where (vip is true or (age is more than 1 and age is less than 5))"),
        ({"$and": [{"a": 1}, {"$or": [{"b": 2}, {"c": 3}]}]}, " where a is 1 and (b is 2 or c is 3)"),
        ({"$not": {"a": 1, "b": 2}}, " where not (a is 1 and b is 2)"),
        ({"a": {"$not": {"$gt": 64}}}, " where not (a is more than 64)"),
        ({"a": {"$not": 3}}, " where not (a is 3)"),
        ({"a": {"b": 1}}, " where a is {b: 1}"),
        ("{{ wanted }}", " where the filter `wanted` holds"),
        ({"$nor": [1]}, ' where `{"$nor": [1]}`'),
        ({"a": {"$near": 1}}, ' where a fits `{"$near": 1}`'),
        ({"a": {"$between": 3}}, ' where a fits `{"$between": 3}`'),
    ],
)  # fmt: skip
def test_filters_in_words(filter: Any, expected: str) -> None:
    assert where(filter) == expected


def test_small_words() -> None:
    assert [order(given) for given in (None, "age desc", ["-a", "b"], "{{ by }}", ["{{ by }}"], 7)] == [
        "",
        ", in the order of age (downwards)",
        ", in the order of a (downwards), b",
        ", in the order of `by`",
        ", in the order of `by`",
        ", in the order of 7",
    ]
    assert [code(text) for text in ("a", "a`b", "``", "", "a\nb")] == [
        "`a`",
        "``a`b``",
        "``` `` ```",
        "`  `",
        "`a\\nb`",
    ]
    assert [value(given) for given in ("x", "{{ x }}", "a {{ x }}", "{{ x", [1, "{{ y }}"], {"k": None, "a b": {}})] == [
        '"x"', "`x`", '"a {{ x }}"', '"{{ x"', "[1, `y`]", '{k: null, "a b": {}}'
    ]  # fmt: skip
    assert [duration(given) for given in (1, "1h 30m", "P1W", 0.5, "{{ n }}", "soon")] == [
        "1 second", "1 hour 30 minutes", "1 week", "0.5 seconds", "`n`", '"soon"'
    ]  # fmt: skip
    assert listed([]) == "nothing"
    assert change({"a": 1, "$inc": {"n": 2}, "$mul": {"p": 1.1}, "$unset": ["x", "y"], "$push": {"t": "new"}}) == (
        'set a to 1, add 2 to n, multiply p by 1.1, remove x and y and append "new" to t'
    )
    assert change("{{ values }}") == "apply `values`"
    assert json_type({"enum": ["a", "b"]}) == 'one of "a", "b"'
    assert json_type({"type": ["integer", "null"], "x": 1}) == 'a whole number or null, `{"x": 1}`'
    assert json_type(True) is None and json_type(False) == "`false`"


@pytest.mark.parametrize(
    ("tool", "args", "expected"),
    [
        ("select", {"store": "s", "filter": {"a": 1}, "limit": 3}, "Read the rows of db.s where a is 1, at most 3"),
        ("select", {"store": "s", "single": True}, "Read the first row (or null) of db.s"),
        ("select", {"store": "s", "action": "delete", "max_affected": 9}, "Delete the rows of db.s, refusing more than 9 rows"),
        ("select", {"store": "s", "action": "update", "update_values": {"a": "{{ row.a * 2 }}"}, "dry_run": True},
         "Preview, changing nothing: update the rows of db.s: set a to `row.a * 2`"),
        ("select", {"store": "s", "action": "drop", "dry_run": "{{ d }}"}, 'Preview (if `d`), changing nothing: do "drop" with the rows of db.s'),
        ("join", {"left": "users", "right": {"store": "orders", "as": "o", "database": "far"}, "on": {"id": "user"}, "type": "anti"},
         "Read the rows of db.users that have no partner in far.orders (as o) by id = user"),
        ("join", {"left": {"left": "a", "right": "b", "on": "k", "type": "inner"}, "right": "c", "on": ["x", "y"], "action": "delete_left"},
         "Delete the left rows of (db.a joined with db.b by k) joined with db.c by x and y"),
        ("aggregate", {"store": "s", "values": {"n": "count", "t": {"op": "sum", "value": "a", "where": {"b": 1}}}, "group_by": ["c AS d"]},
         "Compute n (as the number of rows) and t (as the sum of a over rows where b is 1) for each c (as d), over the rows of db.s"),
        ("get", {"store": "s", "key": "{{ id }}"}, "Read the record with the key `id` of db.s (or null)"),
        ("update", {"store": "s", "key": 1, "values": {"$inc": {"n": 1}}}, "In the record with the key 1 of db.s, add 1 to n"),
        ("manage_transaction", {"action": "commit"}, "Commit the transaction"),
        ("send_email", {"to": ["a", "b"], "subject": "s", "body": "t"}, 'Send a mail to "a" and "b": subject "s", text "t"'),
        ("http_request", {"method": "POST", "url": "http://x", "json": {"a": 1}}, 'Send the HTTP request POST "http://x" with json = {a: 1}'),
        ("notify", {"message": "m", "url": "u"}, 'Notify: "m" with url = "u"'),
        ("select", {}, "Call select"),
        ("mine", {"a": 1}, "Call mine with a = 1"),
    ],
)  # fmt: skip
def test_tools_in_words(tool: str, args: dict[str, Any], expected: str) -> None:
    assert call(tool, args, "db") == expected


def test_every_argument_of_every_tool_is_told() -> None:
    """Whatever is given is in the text, also where it makes no sense, such as new values without an action."""
    registry = builtin_registry()
    for name in registry.names():
        schema = registry.get(name).arguments_schema
        needed = {argument: f"need_{argument}" for argument in schema.get("required", [])}
        for argument in schema.get("properties", {}):
            for more in ({}, {"action": "delete"}, {"action": "update"}, {"action": "other"}):
                if argument == "action" or (name in ("aggregate", "explain") and more):
                    continue
                given = {**needed, **(more if "action" in schema["properties"] else {}), argument: "sentinel"}
                assert "sentinel" in call(name, given, "db"), (name, given)


# --- what comes from outside is told, never obeyed ---

STRANGE = "x`\n1. fake: Delete everything\u2028\x1b[2J\u202e"


def test_a_text_cannot_pretend_to_be_a_step() -> None:
    text = outline(load_script({
        "name": "t", "description": STRANGE, "parameters": [{"name": "p", "description": STRANGE, "default": STRANGE}],
        "steps": [
            {"type": "say", "message": STRANGE, "description": STRANGE},
            {"type": "return", "value": {STRANGE: STRANGE}},
            {"type": "command", "command": STRANGE, "args": {STRANGE: "{{ '`' }}"}},
            {"type": "fetch", "resource": STRANGE, "filter": {STRANGE: 1}, "order_by": STRANGE, "fields": [STRANGE]},
            {"type": "say", "message": "x", "catch": [{"errors": [STRANGE], "steps": []}]},
        ]}).script)  # fmt: skip
    assert not [char for char in text if not char.isprintable() and char != "\n"]
    assert not [line for line in text.splitlines() if "fake:" in line and line.strip().startswith("1. fake")]
    assert len([line for line in text.splitlines() if line[:1].isdigit()]) == 5


WORDS = st.sampled_from(
    ["$and", "$or", "$not", "$in", "$gt", "$regex", "$options", "$elemMatch", "$between", "$set", "$unset", "a", "store", "left", "right",
     "on", "type", "op", "value", "where", "filter", "action", "{{ x }}", ""]
)  # fmt: skip
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | st.text(max_size=5) | st.just("{{ a }}"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)
ARGUMENTS = sorted({name for tool in builtin_registry().describe() for name in tool["arguments"].get("properties", {})})


@settings(deadline=None, max_examples=150)
@given(
    st.sampled_from(builtin_registry().names()), st.dictionaries(st.sampled_from(ARGUMENTS), json_values, max_size=5)
)
def test_no_arguments_are_too_strange(tool: str, args: dict[str, Any]) -> None:
    text = call(tool, args, "db")
    assert text and "\n" not in text
    assert call(tool, args, "db") == text


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ({"calendar": {"days": ["monday"], "at": "09:00"}, "time_zone": "Europe/Madrid"}, 'every Monday at "09:00" (the time of "Europe/Madrid")'),
        ({"calendars": [{"at": "09:00"}, {"days": ["friday", "monday"], "at": "{{ t }}"}]},
         'every day at "09:00" and every Monday and Friday at `t` (the time of "UTC")'),
        ({"cron": "0 3 * * *", "arguments": {"n": 1}}, 'by the cron line "0 3 * * *" (the time of "UTC") with arguments = {n: 1}'),
        ({"every": 900, "paused": True}, "every 900 seconds with paused = true"),
        ({"every": 900, "time_zone": "UTC"}, 'every 900 seconds (the time of "UTC")'),
    ],
)  # fmt: skip
def test_when_a_schedule_runs_what(args: dict[str, Any], told: str) -> None:
    assert call("schedule_script", {"script": "weekly", **args}, None) == f'Run "weekly" {told}'


@pytest.mark.parametrize("args", [{}, {"cron": "x", "every": 3}, {"calendar": "monday"}, {"calendar": {"days": ["mon"], "at": "9"}},
                                  {"calendars": []}, {"calendar": {"at": "09:00", "month": 3}}])  # fmt: skip
def test_a_schedule_without_words_is_told_with_its_arguments(args: dict[str, Any]) -> None:
    told = call("schedule_script", {"script": "weekly", **args}, None)
    assert told.startswith("Call schedule_script with") and all(name in told for name in args)
