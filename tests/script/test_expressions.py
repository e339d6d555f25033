"""Expressions and templates: values, functions, errors that say what is wrong, and nothing that escapes."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from script.errors import EvaluationError, ExpressionSyntaxError, ScriptError
from script.expressions.expressions import compile_expression
from script.expressions.functions import EvaluationContext
from script.expressions.templates import compile_template

CONTEXT = EvaluationContext(datetime(2026, 1, 5, 9, 30, tzinfo=UTC), "run/step")
ROWS = {"$rows": {"database": "d", "version": 1, "store": "s", "query": {}, "count": 23570}}


def value(source: str, **variables: Any) -> Any:
    return compile_expression(source).evaluate(variables, CONTEXT)


@pytest.mark.parametrize(
    ("source", "variables", "expected"),
    [
        ("a + 1.5", {"a": 1}, 2.5),
        ("1 + 2", {}, 3),
        ("7 / 2", {}, 3),
        ("7 / 2.0", {}, 3.5),
        ("a * b - 1", {"a": 2, "b": 2.5}, 4.0),
        ("a > 2.5", {"a": 3}, True),
        ("a == 1.0", {"a": 1}, True),
        (".uid == 'x'", {"uid": "x"}, True),
        ("a.b.c", {"a": {"b": {"c": [1, None]}}}, [1, None]),
        ("'a' in m", {"m": {"a": 1}}, True),
        ("orders.map(o, o.total * 2)", {"orders": [{"total": 1}, {"total": 2.5}]}, [2, 5.0]),
        ("sum(orders.map(o, o.total))", {"orders": [{"total": 0.1}] * 10}, 1.0),
        ("sum([])", {}, 0),
        ("avg([1, 2])", {}, 1.5),
        ("avg([])", {}, None),
        ("min([3, null, 2])", {}, 2),
        ("max(3, 2)", {}, 3),
        ("round(2.5)", {}, 3),
        ("round(-2.5)", {}, -3),
        ("round(2.345, 2)", {}, 2.35),
        ("abs(-3.5)", {}, 3.5),
        ("len('abc') + size([1])", {}, 4),
        ("json({'a': [1, null]})", {}, '{"a":[1,null]}'),
        ("parse_json(s).a[1]", {"s": '{"a": [1, 2]}'}, 2),
        ("coalesce(a, 5)", {"a": None}, 5),
        ("today()", {}, "2026-01-05"),
        ("now()", {}, "2026-01-05T09:30:00.000+00:00"),
        ("date('2025-01-01') < now()", {}, True),
        ("scheduled_at()", {}, None),
        ("coalesce(scheduled_at(), string(now()))", {}, "2026-01-05T09:30:00Z"),
        ("days_since('2025-12-25')", {}, 11),
        ("days_between('1998-03-23', as_of)", {"as_of": "1998-07-01"}, 100),
        ("'1998-03-23' < '1998-07-01'", {}, True),
        ("hash('x')", {}, "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"),
        ("{'is_risk': a > 3, 'reason': 'x' + string(a)}", {"a": 4}, {"is_risk": True, "reason": "x4"}),
        ("'a,b'.split(',')", {}, ["a", "b"]),
        ("has(a.x) ? a.x : 'none'", {"a": {}}, "none"),
        ("size(rows) > 2 && len(rows) == 23570", {"rows": ROWS}, True),
        ("rows", {"rows": ROWS}, ROWS),
    ],
)
def test_values(source: str, variables: dict[str, Any], expected: Any) -> None:
    assert value(source, **variables) == expected


@pytest.mark.parametrize(
    ("source", "variables", "code", "variable"),
    [
        ("customr + 1", {"customer": 1}, "missing_variable", "customr"),
        ("a.totl", {"a": {"total": 1}}, "missing_field", "totl"),
        ("a.n + 1", {"a": {"n": None}}, "type_mismatch", "a.n"),
        ("a + 1", {"a": "x"}, "type_mismatch", None),
        ("a / 0", {"a": 1}, "divide_by_zero", None),
        ("a * 4", {"a": 1 << 62}, "overflow", None),
        ("rows.map(r, r)", {"rows": ROWS}, "row_reference", "rows"),
        ("rows[0]", {"rows": ROWS}, "row_reference", "rows"),
        ("1.0 / 0.0", {}, "bad_value", None),
        ("days_since('soon')", {}, "evaluation_failed", None),
        ("parse_json('{')", {}, "evaluation_failed", None),
    ],
)
def test_errors_say_what_is_wrong(source: str, variables: dict[str, Any], code: str, variable: str | None) -> None:
    with pytest.raises(EvaluationError) as raised:
        value(source, **variables)
    assert (raised.value.code, raised.value.variable) == (code, variable)
    assert source in raised.value.message


@pytest.mark.parametrize(
    "source", ["", "a +", "foo(1)", "a b", "{{ a }}", "'", "x" * 10_001, "(" * 500 + "1" + ")" * 500]
)
def test_what_does_not_parse(source: str) -> None:
    with pytest.raises(ExpressionSyntaxError):
        compile_expression(source)


@pytest.mark.parametrize(
    "source",
    [
        "a.__class__",
        "a.__init__.__globals__",
        "__import__('os')",
        "open('/etc/passwd')",
        "().__class__",
        "lambda: 1",
        "getattr(a, 'x')",
        "a['__class__']",
    ],
)
def test_nothing_of_python_is_reachable(source: str) -> None:
    with pytest.raises(ScriptError):
        value(source, a={"x": 1})


def test_a_bomb_ends_soon() -> None:
    bomb = "[1,2,3,4,5,6,7,8,9,10]"
    for name in "abcdefgh":
        bomb = f"[1,2,3,4,5,6,7,8,9,10].map({name}, {bomb})"
    with pytest.raises(EvaluationError) as raised:
        value(f"size({bomb}) > 0")
    assert raised.value.code == "budget"


def test_ids_are_the_same_again_and_differ_in_one_step() -> None:
    both = value("[uuid(), uuid()]")
    assert both == value("[uuid(), uuid()]")
    assert both[0] != both[1]
    other = compile_expression("uuid()").evaluate({}, EvaluationContext(CONTEXT.now, "run/other"))
    assert other not in both


def test_what_an_expression_reads() -> None:
    names = compile_expression(
        "orders.all(o, o.total > limit.low) && size(items) > 0 && 'text' != kind && .uid == 'a.b'"
    ).names
    assert names == {"orders", "limit", "items", "kind", "uid"}


def test_what_a_condition_saw() -> None:
    seen = compile_expression("days_since_last > 60 && total.spend > 500 && size(orders) == 2").describe(
        {"days_since_last": 94, "total": {"spend": 1200}, "orders": [1, 2]}
    )
    assert seen["substituted"] == "94 > 60 && 1200 > 500 && 2 == 2"
    assert seen["values"] == {"days_since_last": 94, "total.spend": 1200, "orders": [1, 2]}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("Hello {{ name }}, you are {{age}}!", "Hello ann, you are 7!"),
        ("{{ age }}", 7),
        ("  {{ tags }}  ", ["x"]),
        ("tags: {{ tags }}", 'tags: ["x"]'),
        ("{{ '}}' + name }}", "}}ann"),
        ("{{ {'n': {'m': age}} }}", {"n": {"m": 7}}),
        ({"a": ["{{ age }}", {"b": "{{ name }}"}], "c": None}, {"a": [7, {"b": "ann"}], "c": None}),
        ("plain } text { with {single} braces", "plain } text { with {single} braces"),
        ("{{ none }}", None),
    ],
)
def test_templates(template: Any, expected: Any) -> None:
    variables = {"name": "ann", "age": 7, "tags": ["x"], "none": None}
    assert compile_template(template).render(variables, CONTEXT) == expected


def test_an_open_template_is_an_error_with_its_place() -> None:
    with pytest.raises(ExpressionSyntaxError) as raised:
        compile_template("Hello {{ name")
    assert raised.value.position == 6


def test_a_missing_variable_is_never_empty_text() -> None:
    with pytest.raises(EvaluationError):
        compile_template("Hello {{ name }}").render({}, CONTEXT)


@given(st.text())
def test_any_text_is_a_template_or_a_clear_error(text: str) -> None:
    try:
        rendered = compile_template(text).render({}, CONTEXT)
    except ScriptError:
        return
    if "{{" not in text:
        assert rendered == text


@given(st.text(alphabet="ab.()[]{}'\"+-<>=&|!,: 1\\/?"))
def test_any_text_is_an_expression_or_a_clear_error(text: str) -> None:
    try:
        value(text, a=1, b={"a": [1]})
    except ScriptError:
        return


def test_the_time_that_a_run_was_scheduled_for() -> None:
    context = EvaluationContext(CONTEXT.now, "run/step", "2026-01-04T02:30:00.000+00:00")
    for source, value in (
        ("scheduled_at()", "2026-01-04T02:30:00.000+00:00"),
        ("date(scheduled_at()) < now()", True),
        ("days_since(scheduled_at())", 1),
        ("scheduled_at() == null", False),
    ):
        assert compile_expression(source).evaluate({}, context) == value


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x", "a\0b"),
        ("x + 'c'", "a\0bc"),
        ("size(x)", 3),
        ("x == 'a\\u0000b'", True),
        ("x < 'a\\u0000c' && x > 'a'", True),
        ("{'k': [x]}", {"k": ["a\0b"]}),
        ("nested.k[0].l + '!'", "a\0b!"),
        ("nested.k.map(e, size(e.l))", [3]),
        ("{x: 1}", {"a\0b": 1}),
        ("{x: 1}['a\\u0000b']", 1),
        ("'a\\u0000b'", "a\0b"),
        ("'a\0b'", "a\0b"),
        ("hash(x) == hash('a\\u0000b')", True),
        ("coalesce(x, '') + 'c'", "a\0bc"),
        ("coalesce([x], null)", ["a\0b"]),
        ("max('a', x)", "a\0b"),
        ("min([x, 'b'])", "a\0b"),
        ("json(x)", '"a\\u0000b"'),
        ("parse_json(json({'k': x})).k", "a\0b"),
        ("string(coalesce(b'a\\000b', null))", "a\0b"),
        ("x.replace('a', 'z') + x.split('b')[0]", "z\0ba\0"),
    ],
)
def test_a_text_with_a_nul_is_whole_everywhere(source: str, expected: Any) -> None:
    assert value(source, x="a\0b", nested={"k": [{"l": "a\0b"}]}) == expected


@pytest.mark.parametrize(
    ("source", "variable"), [("x", "x"), ("size(x.k) + 0", "x"), ("parse_json(json({'a\\u0000b': 1}))", None)]
)
def test_a_name_with_a_nul_is_refused(source: str, variable: str | None) -> None:
    with pytest.raises(
        EvaluationError, match="'a\\\\x00b', and expressions take no names with the character NUL"
    ) as got:
        value(source, x={"k": [{"a\0b": 1}]})
    assert (got.value.code, got.value.variable) == ("bad_value", variable)


_TEXTS = st.text("\0a\\u0", max_size=6)


@given(
    st.recursive(
        _TEXTS | st.integers(-5, 5) | st.none(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab\\u0", max_size=3), inner, max_size=3),
        max_leaves=6,
    )
)
def test_what_goes_in_comes_out(given_value: Any) -> None:
    assert value("[x]", x=given_value) == [given_value]
    assert value("[coalesce(x, x)]", x=given_value) == [given_value]


def test_the_fields_of_an_object_come_in_the_same_order_in_every_process() -> None:
    names = list("hgfedcba")
    given_value = {name: dict.fromkeys(names, 0) for name in names}
    assert list(value("x", x=given_value)) == sorted(names)
    assert list(value("[x]", x=given_value)[0]["a"]) == sorted(names)
    assert value("json({'b': 1, 'c': {'e': 2, 'd': 3}, 'a': 4})") == '{"a":4,"b":1,"c":{"d":3,"e":2}}'
