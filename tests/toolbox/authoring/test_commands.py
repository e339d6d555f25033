"""Slash commands: approvals, time zones, completion, and what holds for any text and any tool."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.toolbox.authoring.setting import parameters, registry, session
from toolbox.authoring.commands import COMMANDS, Answer, Calls, Decision, is_command, parse, read_calendar, words
from toolbox.authoring.commands.helping import usage
from toolbox.authoring.commands.values import kinds
from toolbox.authoring.state import Pending
from toolbox.errors import InvalidArguments, ToolError

REGISTRY = registry()
PAGE = (Path(__file__).parents[3] / "docs" / "commands.md").read_text(encoding="utf-8")
PUBLISH = Pending("a3-1", "c1", "h1", "Publish check_churn_risk.", 1)
SCHEDULE = Pending("a4-10", "c2", "h2", "Schedule weekly_churn_prevention.", 2)


def calls(text: str, **more: Any) -> tuple[tuple[str, dict[str, Any]], ...]:
    found = parse(text, session(), REGISTRY, parameters=parameters, **more)
    assert isinstance(found, Calls)
    return found.calls


# --- any value of any tool


def values(schema: Any, root: Any) -> st.SearchStrategy[Any]:
    """Values of the types that a schema allows."""
    if isinstance(schema, dict) and schema.get("enum"):
        return st.sampled_from(schema["enum"])
    text = st.text(st.characters(codec="utf-8"))
    anything = st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**64 - 1)
        | st.floats(allow_nan=False, allow_infinity=False)
        | text,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
        max_leaves=5,
    )
    of_kind = {
        "string": text,
        "integer": st.integers(-(2**63), 2**64 - 1),
        "number": st.floats(allow_nan=False, allow_infinity=False),
        "boolean": st.booleans(),
        "null": st.none(),
        "object": st.dictionaries(text, anything, max_size=3),
    }
    variants = schema.get("anyOf", [schema]) if isinstance(schema, dict) else [schema]
    found: list[st.SearchStrategy[Any]] = []
    for variant in variants:
        allowed = kinds(variant, root)
        if "array" in allowed:
            found.append(st.lists(values(variant.get("items", {}), root), max_size=3))
        else:
            found += [of_kind[kind] for kind in sorted(allowed)] or [anything]
    return st.one_of(found)


@st.composite
def tool_calls(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """A tool that no command is named after, with arguments."""
    name = draw(st.sampled_from([name for name in REGISTRY.names() if name not in words()]))
    schema = REGISTRY.get(name).arguments_schema
    properties = schema.get("properties", {})
    needed = schema.get("required", [])
    taken = [each for each in properties if each in needed or draw(st.booleans())]
    return name, {each: draw(values(properties[each], schema)) for each in draw(st.permutations(taken))}


def written(value: Any, bare: bool) -> str:
    """A value as a person may write it: text in quotes or, where it can be, without."""
    if (
        bare
        and isinstance(value, str)
        and re.fullmatch(r"[A-Za-z@][\w@.]*", value)
        and value not in ("null", "true", "false")
    ):
        return value
    return json.dumps(value, ensure_ascii=False)


@settings(deadline=None, max_examples=100)
@given(tool_calls(), st.booleans())
def test_what_is_written_as_name_and_value_comes_back(call: tuple[str, dict[str, Any]], bare: bool) -> None:
    tool, args = call
    text = f"/{tool} " + "  ".join(f"{name}={written(value, bare)}" for name, value in args.items())
    try:
        REGISTRY.get(tool).checked(args)
    except InvalidArguments as invalid:  # the schema of a tool is not all that it looks at
        with pytest.raises(InvalidArguments) as refused:
            calls(text)
        assert refused.value.message == invalid.message
    else:
        assert calls(text) == ((tool, args),)
        assert calls(f"/{tool} {json.dumps(args)}") == ((tool, args),)


_PIECES = st.sampled_from(
    [
        *COMMANDS,
        *REGISTRY.names(),
        "=",
        "{",
        "}",
        '"',
        "'",
        "[",
        "]",
        "{{",
        "}}",
        "--",
        "every",
        "Monday",
        "at",
        "9",
        "in",
        "UTC",
        " ",
        "\\",
        "1e999",
        "“",
    ]
)


@settings(deadline=None, max_examples=200)
@given(st.lists(_PIECES | st.text(max_size=5), max_size=12).map("".join), st.booleans())
@example("[" * 100_000, False)
@example('select x filter={"a": ' + "[" * 100_000, False)
@example("select x key=" + "9" * 10_000, False)
@example("schedule x every " + "9" * 10_000 + " minutes", False)
@example('step {"prompt": "\\ud800"}', False)
@example("insert_step " + "9" * 10_000 + " x", False)
@example("update_step ² x=1", False)
def test_no_text_does_worse_than_a_tool_error(text: str, waiting: bool) -> None:
    try:
        parse(f"/{text}", session(*[PUBLISH] * waiting), REGISTRY, parameters=parameters)
    except ToolError as error:
        assert error.message


@settings(deadline=None)
@given(st.text())
def test_what_a_calendar_cannot_be_read_from_is_refused(text: str) -> None:
    with pytest.raises(InvalidArguments):
        read_calendar(f"every {text} at")


def test_a_command_may_have_several_lines() -> None:
    assert calls('/insert_step 1\n{"type": "say",\n "message": "Hello"}') == (
        ("insert_step", {"position": 0, "step": {"type": "say", "message": "Hello"}}),
    )
    assert calls("/update_step 'greet them'\n message=Hi") == (
        ("update_step", {"step": "greet them", "changes": {"message": "Hi"}}),
    )


def test_a_text_argument_keeps_its_zeros() -> None:
    assert calls("/run check_churn_risk customer_id=00042") == (
        ("run_script", {"name": "check_churn_risk", "arguments": {"customer_id": "00042"}}),
    )


# --- decisions


@pytest.mark.parametrize(
    ("text", "decision"),
    [
        ("/approve", Decision("a3-1", True)),
        ("/approve a3-1", Decision("a3-1", True)),
        ("/approve a3-1\nlooks\nright", Decision("a3-1", True, "looks\nright")),
        ("/approve a3-1 looks right", Decision("a3-1", True, "looks right")),
        ("/reject not before Friday", Decision("a3-1", False, "not before Friday")),
    ],
)
def test_a_decision_is_about_the_one_that_waits(text: str, decision: Decision) -> None:
    assert parse(text, session(PUBLISH), REGISTRY) == decision


def test_a_decision_names_one_of_several() -> None:
    assert parse("/approve a4-10", session(PUBLISH, SCHEDULE), REGISTRY) == Decision("a4-10", True)
    with pytest.raises(InvalidArguments, match="2 things wait") as several:
        parse("/approve", session(PUBLISH, SCHEDULE), REGISTRY)
    assert several.value.hint == (
        "/approve ID, of: a3-1: Publish check_churn_risk.; a4-10: Schedule weekly_churn_prevention."
    )


@pytest.mark.parametrize("gone", ["a4-1", "a4-10.2", "a9-9", "a4-100"])
@pytest.mark.parametrize("word", ["approve", "reject"])
def test_an_id_under_which_nothing_waits_decides_nothing(word: str, gone: str) -> None:
    with pytest.raises(InvalidArguments, match=f"nothing waits under the name {gone}") as refused:
        parse(f"/{word} {gone}", session(SCHEDULE), REGISTRY)
    assert refused.value.hint == f"/{word} ID, of: a4-10: Schedule weekly_churn_prevention."


def test_an_approval_that_is_stale_does_not_decide_about_what_stands_in_its_place() -> None:
    again = Pending("a3-1.2", "c1", "h3", "Publish check_churn_risk, as it is now.", 1)
    with pytest.raises(InvalidArguments, match=r"nothing waits under the name a3-1"):
        parse("/approve a3-1", session(again), REGISTRY)


# --- time zones


def test_the_time_zone_of_the_installation_is_taken_where_none_is_named() -> None:
    [(_, args)] = calls("/schedule tidy_up every Monday at 9 AM", time_zone="Europe/Madrid")
    assert args["time_zone"] == "Europe/Madrid"
    [(_, args)] = calls("/schedule tidy_up every Monday at 9 AM in New York", time_zone="Europe/Madrid")
    assert args["time_zone"] == "America/New_York"


# --- which messages are commands


@pytest.mark.parametrize(
    ("text", "command"), [("/list", True), ("  /list", True), ("last-tool", True), ("list", False), ("", False)]
)
def test_a_command_begins_with_a_slash(text: str, command: bool) -> None:
    assert is_command(text) is command


# --- the page, help and completion


def test_the_page_has_every_command_with_its_usage_and_examples() -> None:
    for command in COMMANDS.values():
        assert f"`{usage(command).replace('|', chr(92) + '|')}`" in PAGE, usage(command)
        for text in command.examples:
            assert f"`{text.replace('|', chr(92) + '|')}`" in PAGE, text


def test_the_page_has_no_other_commands() -> None:
    known = {*words(REGISTRY), "TOOL", "script", "macro"}
    for name in re.findall(r"`/([\w-]+)", PAGE):
        assert name.replace("-", "_") in known, name


@pytest.mark.parametrize("text", sorted({text for command in COMMANDS.values() for text in command.examples}))
def test_the_examples_are_understood(text: str) -> None:
    found = parse(text, session(PUBLISH), REGISTRY, parameters=parameters)
    assert isinstance(found, Answer | Decision) or len(found.calls) == 1


def test_help_has_every_command_and_completion_every_tool() -> None:
    found = parse("/help", session(), REGISTRY)
    assert isinstance(found, Answer)
    assert all(f"/{name} " in found.text for name in COMMANDS)
    assert {*COMMANDS, "play", *REGISTRY.names()} <= set(words(REGISTRY))
    assert "coupon_code" not in words()
    assert all(words(REGISTRY).values())
