"""Quick ways give what the slow ones give: schemas against the whole validator, member paths against CEL."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from script.errors import EvaluationError
from script.expressions.expressions import Expression
from script.expressions.functions import EvaluationContext
from script.json_schemas import violation
from script.schema_tests import compile_test

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
def test_a_compiled_schema_lets_pass_what_is_valid(schema: dict[str, Any], value: Any) -> None:
    validator = Draft202012Validator(schema)
    assert compile_test(validator)(value) == validator.is_valid(value) == (violation(schema, value) is None)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string", "minLength": 1, "description": "x"}, "a"),
        ({"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"], "additionalProperties": False}, {"a": True}),
        ({"type": "number"}, 2.5),
        ({"type": "array", "items": {"type": ["integer", "null"], "minimum": 1}}, [1, None]),
        ({"enum": ["a", 1]}, 1.0),
        ({"type": "string", "format": "date"}, "a day"),
    ],
)  # fmt: skip
def test_common_schemas_are_checked_quickly(schema: dict[str, Any], value: Any) -> None:
    alone = cast(Draft202012Validator, SimpleNamespace(schema=schema, format_checker=None))  # that can validate nothing
    assert compile_test(alone)(value)


INNER = {
    "$id": "http://localhost/inner",
    "$defs": {"t": {"type": "string"}},
    "properties": {"b": {"$ref": "#/$defs/t"}, "c": {"items": {"$ref": "#/$defs/t"}}},
}
OLDER = {"$schema": "http://json-schema.org/draft-07/schema#", "prefixItems": [{"type": "string"}]}


@pytest.mark.parametrize(
    ("schema", "value", "valid"),
    [
        ({"properties": {"a": INNER}, "$defs": {"t": {"type": "integer"}}}, {"a": {"b": "x", "c": ["y"]}}, True),
        ({"properties": {"a": INNER}, "$defs": {"t": {"type": "integer"}}}, {"a": {"b": 1}}, False),
        ({"items": {"items": INNER}, "$defs": {"t": {"type": "integer"}}}, [[{"c": [1]}]], False),
        ({"items": {"$ref": "inner"}, "$id": "http://localhost/outer", "$defs": {"i": INNER}}, [{"b": 1}], False),
        (OLDER, [1], False),
        ({"items": OLDER}, [[1]], True),
        ({"items": {**OLDER, "type": "array"}}, [1], False),
        ({"type": "object", "$schema": "https://json-schema.org/draft/2020-12/schema", "required": ["a"]}, [], False),
    ],
)  # fmt: skip
def test_schemas_inside_of_schemas(schema: dict[str, Any], value: Any, valid: bool) -> None:
    validator = Draft202012Validator(schema)
    assert compile_test(validator)(value) is validator.is_valid(value) is valid
    assert (violation(schema, value) is None) is valid


@pytest.mark.parametrize(
    ("schema", "value"),
    [({"type": "strng"}, 1), ({"type": "object", "properties": {"a": {"type": "strng"}}}, {"a": 1}), ({"properties": {"a": {"$ref": "#/$defs/b"}}}, {"a": 1})],
)  # fmt: skip
def test_what_is_wrong_with_a_schema_is_a_violation(schema: dict[str, Any], value: Any) -> None:
    assert "the schema" in (violation(schema, value) or "")


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
