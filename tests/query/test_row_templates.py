"""Templates over rows: values, names, errors, and the ids and times that they are given."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from query.actions.row_templates import TemplateScope, compile_value
from query.actions.updates import compile_update
from query.errors import InvalidQuery, UpdateFailed
from script.errors import EvaluationError
from script.expressions.functions import EvaluationContext

CONTEXT = EvaluationContext(datetime(2026, 1, 31, 12, tzinfo=UTC), "run-1/step")
SCOPE = TemplateScope()
JOIN = TemplateScope(row_names=("left", "right"))

values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.floats(-9, 9), st.text("x{}$ '\"", max_size=6)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("{{ row.price * 2 }}", 6),
        (" {{ row.price }} ", 3),
        ("{{ row.price * 0.5 }}", 1.5),
        ("{{ row.name }}", "Ann"),
        ("{{ row }}", {"price": 3, "name": "Ann", "tags": ["x"], "note": None}),
        ("{{ row.tags + ['y'] }}", ["x", "y"]),
        ("{{ {'n': row.price} }}", {"n": 3}),
        ("{{ row.note }}", None),
        ("{{ coalesce(row.note, 'none') }}", "none"),
        ("{{ row.name }}: {{ row.price }} {{ row.tags }} {{ row.note }}", 'Ann: 3 ["x"] null'),
        ("{{.row.price}}", 3),
        (
            {"a": ["{{ row.price }}", "plain", 1.0], "b": {"c": "{{ row.name }}"}},
            {"a": [3, "plain", 1.0], "b": {"c": "Ann"}},
        ),
        ({"$template": "{{ row.price * rate }}", "variables": {"rate": 2}}, 6),
        ([{"$template": "{{ who.name }} {{ row.name }}", "variables": {"who": {"name": "Bo"}}}], ["Bo Ann"]),
        ({"$template": "{{ braces }}", "variables": {"braces": "{{ row.x }}"}}, "{{ row.x }}"),
        ({"$template": "{{ row.name }}"}, "Ann"),
        ({"$template": "{{ size(big) }}", "variables": {"big": {"$rows": {"count": 7}}}}, 7),
        ({"a": {"$literal": {"$x": "{{"}}, "b": "{{ row.price }}"}, {"a": {"$x": "{{"}, "b": 3}),
    ],
    ids=repr,
)
def test_values(value: Any, expected: Any) -> None:
    row = {"price": 3, "name": "Ann", "tags": ["x"], "note": None}
    compiled = compile_value(value, SCOPE, "")
    assert not compiled.constant
    found = compiled.of({"row": row})
    assert (found, type(found)) == (expected, type(expected))
    assert row == {"price": 3, "name": "Ann", "tags": ["x"], "note": None}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("plain }}", "plain }}"),
        ({"$literal": "{{ row.a }}"}, "{{ row.a }}"),
        ({"$template": "no braces", "variables": {}}, "no braces"),
        ([{"$literal": {"$inc": 1}}, 2], [{"$inc": 1}, 2]),
    ],
    ids=repr,
)
def test_what_holds_no_template_is_a_literal(value: Any, expected: Any) -> None:
    compiled = compile_value(value, SCOPE, "")
    assert (compiled.constant, compiled.literal) == (True, expected)


@settings(deadline=None)
@given(values)
def test_any_value_can_be_kept_as_it_is(value: Any) -> None:
    compiled = compile_value({"$literal": value}, SCOPE, "")
    assert compiled.constant
    assert repr(compiled.of({})) == repr(value)


@settings(deadline=None)
@given(values)
def test_a_variable_stands_for_its_value_whatever_is_in_it(value: Any) -> None:
    compiled = compile_value({"a": {"$template": "{{ v }}", "variables": {"v": value}}}, SCOPE, "")
    assert compiled.of({"row": {}}) == {"a": value}


@pytest.mark.parametrize(
    ("value", "pointer", "told"),
    [
        ("{{ price * 2 }}", "", "a field is row.price"),
        ("{{ rwo.price }}", "", "did you mean row?"),
        (["x", {"a": "{{ other }}"}], "/1/a", "there is no 'other'"),
        ({"$template": "{{ row.a * rat }}", "variables": {"rate": 2}}, "/$template", "did you mean rate?"),
        ("{{ row.a", "", "not closed"),
        ("{{ row.a + }}", "", "row.a +"),
        ("{{ }}", "", "empty"),
        ("{{ nothing(row.a) }}", "", "nothing"),
        ({"$template": 5}, "/$template", "takes text"),
        ({"$template": "{{ row.a }}", "variables": []}, "/variables", "object of names"),
        ({"$template": "{{ row.a }}", "variables": {"row": 1}}, "/variables/row", "another name"),
        ({"$template": "{{ row.a }}", "variable": {}}, "", "does not go with variable"),
        ({"$template": "x", "$literal": "y"}, "", "nothing beside"),
        ({"$literal": 1, "b": 2}, "", "does not go with b"),
        ({"a": {"$inc": 1}}, "/a/$inc", "outermost"),
        ({"a/b": {"$x": 1}}, "/a~1b/$x", "outermost"),
        ("{{ now() }}", "", "no clock"),
        ({"$literal": float("nan")}, "/$literal", "no JSON"),
        ({"$template": "{{ v }}", "variables": {"v": float("inf")}}, "/variables/v", "no JSON"),
    ],
    ids=repr,
)
def test_what_is_wrong_is_told_before_any_row(value: Any, pointer: str, told: str) -> None:
    with pytest.raises(InvalidQuery) as caught:
        compile_value(value, SCOPE, "/v")
    assert caught.value.pointer == "/v" + pointer
    assert told in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.parametrize(
    ("value", "row", "code", "told"),
    [
        ("{{ row.a * 2 }}", {"a": None}, "type_mismatch", "`row.a * 2`: row.a is null"),
        ("{{ row.a * 2 }}", {"a": "x"}, "type_mismatch", "`row.a * 2`"),
        ("{{ row.a }}", {"b": 1}, "missing_field", "`row.a`: there is no field 'a'"),
        ("{{ 1 / row.a }}", {"a": 0}, "divide_by_zero", "`1 / row.a`"),
        ("{{ row.a + 1 }}", {"a": 2**63 - 1}, "overflow", "`row.a + 1`"),
        ("x {{ row.a }} {{ row.b }}", {"a": 1}, "missing_field", "`row.b`"),
        (
            {"$template": "{{ big }}", "variables": {"big": {"$rows": {"count": 7}}}},
            {},
            "row_reference",
            "not in memory",
        ),
    ],
    ids=repr,
)
def test_what_is_wrong_with_a_row_names_the_expression_and_the_place(
    value: Any, row: Any, code: str, told: str
) -> None:
    compiled = compile_value([value], SCOPE, "/v")
    with pytest.raises(EvaluationError) as caught:
        compiled.of({"row": row})
    place = "/v/0/$template" if isinstance(value, dict) else "/v/0"
    assert (caught.value.code, caught.value.pointer) == (code, place)
    assert told in caught.value.message
    with pytest.raises(UpdateFailed) as failed:
        compile_update({"f.g": [value]}).apply(row)
    assert failed.value.pointer == "/f/g"
    assert failed.value.details == {"at": place.replace("/v", "/update_values/f.g"), "cause": code}
    assert told in failed.value.message


def test_the_fields_of_a_closed_schema_are_known() -> None:
    scope = TemplateScope(fields={"price", "tags"})
    assert (
        compile_value("{{ row.price }} {{ row.tags.map(t, t.name) }}", scope, "").of(
            {"row": {"price": 1, "tags": [{"name": "x"}]}}
        )
        == '1 ["x"]'
    )
    with pytest.raises(InvalidQuery) as caught:
        compile_value("{{ row.pirce.x }}", scope, "/v")
    assert caught.value.hint == "did you mean 'price'?"
    with pytest.raises(InvalidQuery, match="pirce"):
        compile_update({"price": "{{ row.pirce }}"}, fields={"price"})


def test_a_join_has_two_rows() -> None:
    update = compile_update({"total": "{{ left.a + right.b }}"}, row_names=("left", "right"), fields={"a", "total"})
    rows = {"left": {"a": 1}, "right": {"b": 2}}
    assert update.apply(rows["left"], rows) == {"a": 1, "total": 3}
    with pytest.raises(InvalidQuery, match="have to be given"):
        update.apply(rows["left"])
    with pytest.raises(UpdateFailed):
        update.apply({"a": 1}, {"left": {"a": 1}, "right": None})
    with pytest.raises(InvalidQuery, match="there is no 'row'"):
        compile_value("{{ row.a }}", JOIN, "")
    assert compile_update({"$inc": {"a": 1}}, row_names=("left", "right")).apply({"a": 1}) == {"a": 2}


def test_rows_may_be_others_than_the_record() -> None:
    assert compile_update({"a": "{{ row.b }}"}).apply({"a": 1}, {"row": {"b": 5}}) == {"a": 5}


def test_the_time_is_that_of_the_context() -> None:
    update = compile_update({"day": "{{ today() }}", "age": "{{ days_since(row.born) }}"}, context=CONTEXT)
    assert update.apply({"born": "2026-01-01"}) == {"born": "2026-01-01", "day": "2026-01-31", "age": 30}


def test_ids_differ_by_row_and_place_and_step_and_come_again() -> None:
    update_values = {"one": "{{ uuid() }}", "other": ["{{ uuid() }}", "{{ uuid() }}"]}
    other_step = EvaluationContext(CONTEXT.now, "run-1/next")
    made = [
        compile_update(update_values, context=context).apply({"id": number})
        for context in (CONTEXT, other_step)
        for number in (1, 2)
    ]
    ids = [found for record in made for found in (record["one"], *record["other"])]
    assert len(set(ids)) == 12
    assert all(re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", found) for found in ids)
    assert compile_update(update_values, context=CONTEXT).apply({"id": 1}) == made[0]


def test_variables_are_taken_when_it_is_compiled() -> None:
    variables = {"items": [1]}
    compiled = compile_value({"$template": "{{ items }}", "variables": variables}, SCOPE, "")
    variables["items"].append(2)
    assert compiled.of({"row": {}}) == [1]
