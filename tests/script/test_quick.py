"""Quick ways give what the slow ones give: schemas against the whole validator, member paths against CEL."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from script.errors import EvaluationError
from script.expressions.expressions import Expression
from script.expressions.functions import EvaluationContext
from script.quick_schema import quick_check

SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.0, 1.0, 2.5]) | st.text(max_size=2)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
)
TYPES = ["string", "boolean", "integer", "number", "object", "array", "null"]
SIMPLE = st.fixed_dictionaries(
    {"type": st.sampled_from(TYPES)},
    optional={"minLength": st.integers(0, 2), "description": st.just("x"), "enum": st.just(["a"])},
)


def objects(part: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {"type": st.just("object")},
        optional={
            "properties": st.dictionaries(st.sampled_from("abc"), part, max_size=3),
            "required": st.lists(st.sampled_from("abc"), max_size=2, unique=True),
            "additionalProperties": st.booleans() | part,
        },
    )


SCHEMAS = st.recursive(SIMPLE, objects, max_leaves=5)


@settings(max_examples=400, deadline=None)
@given(SCHEMAS, VALUES)
def test_what_a_quick_check_lets_pass_is_valid(schema: dict[str, Any], value: Any) -> None:
    check = quick_check(schema)
    if check is not None and check(value):
        assert Draft202012Validator(schema).is_valid(value)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string", "minLength": 1, "description": "x"}, "a"),
        ({"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"], "additionalProperties": False}, {"a": True}),
        ({"type": "number"}, 2.5),
    ],
)  # fmt: skip
def test_common_schemas_are_checked_quickly(schema: dict[str, Any], value: Any) -> None:
    check = quick_check(schema)
    assert check is not None
    assert check(value)


CONTEXT = EvaluationContext(datetime(2026, 1, 5, tzinfo=UTC), "seed")


@settings(max_examples=300, deadline=None)
@given(VALUES, st.sampled_from(["a", "a.b", " .a.b ", "a.b.c", "b", "true", "a.size()"]))
def test_a_member_path_gives_what_its_evaluation_gives(value: Any, source: str) -> None:
    quick, slow = Expression(source), Expression(source)
    slow._path = ()
    assert outcome(quick, {"a": value}) == outcome(slow, {"a": value})


def outcome(expression: Expression, variables: dict[str, Any]) -> Any:
    try:
        found = expression.evaluate(variables, CONTEXT)
    except EvaluationError as error:
        return error.to_dict()
    return type(found), found
