"""Stand-ins satisfy their schema, or are null and say so."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import stand_in
from script.json_schemas import violation


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (None, "(the model was not asked)"),
        ({"type": "string"}, ""),
        ({"type": "string", "minLength": 3}, "xxx"),
        ({"type": "string", "format": "date"}, "2000-01-01"),
        ({"type": "integer", "minimum": 5}, 5),
        ({"type": "integer", "exclusiveMinimum": 5}, 6),
        ({"type": "number", "maximum": -2}, -2),
        ({"type": ["boolean", "null"]}, False),
        ({"enum": ["low", "high"]}, "low"),
        ({"type": "array", "items": {"const": 1}, "minItems": 2}, [1, 1]),
        ({"anyOf": [{"type": "null"}, {"type": "string"}]}, None),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"type": "boolean"}}}, False),
        ({"type": "object", "properties": {"a": {"type": "integer"}, "b": {}}, "required": ["a"]}, {"a": 0}),
        ({"properties": {"a": {"default": 7}}, "required": ["a"]}, {"a": 7}),
    ],
)
def test_the_simplest_value(schema: Any, value: Any) -> None:
    assert stand_in(schema)[0] == value
    assert "null stands for" not in stand_in(schema)[1]


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "pattern": "^[0-9]{3}$"},
        {"type": "integer", "multipleOf": 7, "minimum": 3},
        {"type": "array", "items": {"type": "integer"}, "minItems": 2, "uniqueItems": True},
        {"not": {}},
        {"$ref": "#"},
        {"$ref": "#/$defs/gone"},
    ],
)
def test_where_no_simple_value_satisfies_the_schema_it_is_null_and_says_so(schema: Any) -> None:
    value, notice = stand_in(schema)
    assert value is None
    assert ("null stands for its answer" in notice) == (violation(schema, None) is not None)


SIMPLE = st.sampled_from(
    [{"type": "string"}, {"type": "integer", "minimum": 3}, {"type": "number"}, {"type": "boolean"}, {"enum": [2, 1]}]
)
NESTED = st.recursive(
    SIMPLE,
    lambda inner: (
        st.builds(lambda s, n: {"type": "array", "items": s, "minItems": n}, inner, st.integers(0, 3))
        | st.builds(
            lambda s: {"type": "object", "properties": s, "required": sorted(s), "additionalProperties": False},
            st.dictionaries(st.sampled_from("abc"), inner),
        )
    ),
    max_leaves=8,
)


@settings(deadline=None)
@given(NESTED)
def test_simple_schemas_have_a_stand_in(schema: dict[str, Any]) -> None:
    value, notice = stand_in(schema)
    assert violation(schema, value) is None
    assert "the simplest value" in notice
