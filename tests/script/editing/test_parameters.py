"""Values become parameters wherever they are literals; any JSON value is a template that gives just it."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from script.checker.checker import check_script
from script.compiler.compiler import compile_script
from script.editing import literal, parameterize
from script.environment import StaticEnvironment, ToolSignature
from script.errors import PatchFailed
from script.expressions.functions import EvaluationContext
from script.expressions.templates import compile_template
from script.machine.effects import Waiting
from script.machine.machine import Machine
from script.source.loading import load_script

CHARACTERS = st.characters(exclude_categories=["Cs"])
TEXT = st.text(CHARACTERS) | st.text("{} \"'\\\n\t.uidx#") | st.sampled_from(["{{", " {{ ", "{{.uid}}", "{{ x }}", "{{{", "}}", "{{{{}}}}", "\n{{\t", "{{ eq .a 1 }}"])  # fmt: skip
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=12
)
CONTEXT = EvaluationContext("2026-01-05T09:00:00.000+00:00", "")
TOOLS = {"send": ToolSignature({"type": "object", "properties": {}, "additionalProperties": True}, "external")}


def sent(script: dict[str, Any], arguments: dict[str, Any] | None = None) -> Any:
    """What the first command of a script is called with."""
    program = compile_script(load_script(script).script, TOOLS)
    machine = Machine.start(
        {program.hash: program},
        program.hash,
        run_id="r",
        key_id="r",
        clock="2026-01-05T09:00:00.000+00:00",
        arguments=arguments or {},
    )
    asked = machine.step(1000)
    assert isinstance(asked, Waiting), asked
    return asked.start[0].call["args"]


@settings(deadline=None, max_examples=150)
@given(VALUES)
def test_any_value_is_a_literal(value: Any) -> None:
    assert compile_template(literal(value)).render({}, CONTEXT) == value


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(TEXT, VALUES, max_size=3))
def test_a_step_with_literals_is_called_with_just_them(args: dict[str, Any]) -> None:
    assert sent({"name": "s", "steps": [{"type": "command", "command": "send", "args": literal(args)}]}) == args


SCRIPT: dict[str, Any] = {
    "name": "risk",
    "description": "Looks at john_doe.",
    "steps": [
        {"type": "fetch", "name": "john_doe", "resource": "orders", "filter": {"customer": "john_doe", "total": {"$gt": 500}}, "variable": "orders", "limit": 60},
        {"type": "if", "name": "old", "condition": "days_since(orders[0].at) > 60 && orders[0].customer != 'john_doe'", "then": [
            {"type": "loop", "list": "orders", "iterator": "order", "steps": [
                {"type": "say", "when": "{{ order.total >= 500.0 }}", "message": "Dear john_doe, {{ order.days > 60 ? \"john_doe\" : \"x\" }} 60 1600 60.5"}]}]},
        {"type": "command", "command": "send", "args": {"deep": [{"to": "john_doe@example.com", "n": 60, "is": True, "t": "60", "b": " john_doe "}]},
         "catch": [{"errors": ["*"], "steps": [{"type": "fail", "message": "john_doe"}]}]},
    ],
}  # fmt: skip


def test_values_become_parameters_in_the_whole_tree() -> None:
    made, found = parameterize(SCRIPT, {"who": "john_doe", "days": 60, "least": 500})
    fetch, old, send = made["steps"]
    assert (fetch["name"], made["description"]) == ("john_doe", "Looks at john_doe.")
    assert (fetch["filter"], fetch["limit"]) == (
        {"customer": "{{ who }}", "total": {"$gt": "{{ least }}"}},
        "{{ days }}",
    )
    assert old["condition"] == "days_since(orders[0].at) > days && orders[0].customer != who"
    said = old["then"][0]["steps"][0]
    assert said["when"] == "{{ order.total >= least }}"
    assert said["message"] == 'Dear {{ who }}, {{ order.days > days ? who : "x" }} {{ days }} 1600 60.5'
    assert send["args"]["deep"] == [
        {"to": "{{ who }}@example.com", "n": "{{ days }}", "is": True, "t": "{{ string(days) }}", "b": '{{ " " + string(who) + " " }}'}
    ]  # fmt: skip
    assert send["catch"][0]["steps"][0]["message"] == "{{ who }}"
    assert made["parameters"] == [{"name": "who", "type": "string"}, {"name": "days", "type": "number"}, {"name": "least", "type": "number"}]  # fmt: skip
    assert {(each.parameter, each.pointer) for each in found} >= {
        ("days", "/steps/1/condition"), ("who", "/steps/1/condition"), ("who", "/steps/2/args/deep/0/to"), ("least", "/steps/0/filter/total/$gt")
    }  # fmt: skip
    assert all(each.before != each.after for each in found)
    problems = check_script(load_script(made).script, StaticEnvironment(known_tools=TOOLS))
    assert [problem for problem in problems if problem.severity == "error"] == []


def test_longer_values_come_first_and_what_is_nowhere_is_no_parameter() -> None:
    script = {
        "name": "s",
        "parameters": ["city"],
        "steps": [{"type": "say", "message": "York and New York, {{ city }}"}],
    }
    made, _ = parameterize(script, {"old": "York", "city": "New York", "other": "Berlin"})
    assert made["steps"][0]["message"] == "{{ old }} and {{ city }}, {{ city }}"
    assert made["parameters"] == ["city", {"name": "old", "type": "string"}]


@pytest.mark.parametrize("values", [{"order": 1}, {"a b": 1}, {"x": ""}, {"x": None}])
def test_what_cannot_be_a_parameter(values: dict[str, Any]) -> None:
    with pytest.raises(PatchFailed):
        parameterize(SCRIPT, values)


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(TEXT, VALUES, max_size=3), LEAVES.filter(lambda value: value not in ("", None)))
def test_the_value_for_the_parameter_gives_the_call_that_it_was_made_of(args: dict[str, Any], value: Any) -> None:
    """Whatever is replaced: with the same value the call is the same."""
    script = {"name": "s", "steps": [{"type": "command", "command": "send", "args": literal({**args, "it": value})}]}
    made, found = parameterize(script, {"value_": value})
    assert found or "{{" in str(value)
    assert sent(made, {"value_": value} if found else {}) == {**args, "it": value}
