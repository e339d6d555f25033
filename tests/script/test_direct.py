"""Expressions that are not left to the runtime give what it gives."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from script.errors import ScriptError
from script.expressions.direct import UNSURE, direct
from script.expressions.expressions import Expression, compile_expression
from script.expressions.functions import EvaluationContext

CONTEXT = EvaluationContext(datetime(2026, 1, 5, tzinfo=UTC), "run/step")
SIGNS = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
WHOLE = st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3) | st.sampled_from([2**53, 2**53 + 1, -(2**53) - 1])
FLOATS = st.floats(allow_nan=False) | st.sampled_from([0.1, 1.0, 2.5, float(2**53)])
DATES = st.sampled_from(["2026-01-05", "2024-02-29", "2026-01-05T23:59:59-05:00", "2026", "", "no"])
ONE = st.none() | st.booleans() | WHOLE | FLOATS | st.text("aé😀", max_size=3) | DATES
FIELDS = st.dictionaries(st.sampled_from(["d", "n"]), ONE, max_size=2)
VALUES = ONE | st.lists(ONE, max_size=3) | st.lists(WHOLE | FLOATS, max_size=3) | FIELDS | st.lists(FIELDS, max_size=3)
LITERALS = WHOLE.map(str) | st.sampled_from(
    ["0", "1.0", "2.5", "-0.0", "9007199254740992.0", "1e3", "null", "true", "'a'", '"é"', "''", "3"]
)
SOURCES = st.sampled_from(
    ["x", "y.x", "size(x)", "len( y.x )", "size(y)", "sum(x)", "avg(x)", "sum(x.map(o, o.n))", "avg(y.x.map(x, x.n))", "x[0]", "x[size(x) - 1].d",
     "x[i + 1]", "x[i]", "days_between(x, '2026-01-05')", "days_between(d, x)", "days_between(x[size(x) - 1].d, d)", "size(x.map(o, o))", "x.map(o, o.n)"]
)  # fmt: skip


class Asked(Expression):
    """An expression that the runtime evaluates."""

    def __init__(self, source: str) -> None:
        super().__init__(source)
        self._direct = None


def outcome(kind: type[Expression], source: str, variables: dict[str, Any]) -> Any:
    try:
        found = kind(source).evaluate(variables, CONTEXT)
    except ScriptError as error:
        return error.to_dict()
    return type(found), found


@settings(deadline=None, max_examples=600)
@given(SOURCES, st.none() | st.tuples(SIGNS, LITERALS), VALUES, st.integers(-1, 2), DATES)
def test_the_runtime_gives_the_same(
    source: str, compared: tuple[str, str] | None, value: Any, index: int, day: str
) -> None:
    text = source if compared is None else f"{source} {compared[0]} {compared[1]}"
    for variables in ({"x": value, "y": {"x": value}, "i": index, "d": day}, {"y": value, "i": 0}):
        assert outcome(Expression, text, variables) == outcome(Asked, text, variables)


@pytest.mark.parametrize(
    ("source", "variables", "expected"),
    [
        ("days > 60", {"days": 61}, True),
        ("days > 60", {"days": 60.5}, True),
        (" a.b<=-1.5 ", {"a": {"b": -1}}, False),
        ("size(orders) == 0", {"orders": []}, True),
        ("len( name )>2", {"name": "é😀"}, False),
        ("status != 'open'", {"status": "paid"}, True),
        ("sum(orders.map(o, o.total))", {"orders": [{"total": 0.1}] * 10}, 1.0),
        ("sum(orders.map(o, o.total)) >= 3", {"orders": [{"total": 1}, {"total": None}, {"total": 2}]}, True),
        ("avg(prices)", {"prices": [1, 2]}, 1.5),
        ("days_between(orders[size(orders) - 1].date, as_of)", {"orders": [{"date": "2026-01-01"}], "as_of": "2026-01-05"}, 4),
        ("orders[i + 1].id", {"orders": [{"id": 1}, {"id": 2}], "i": 0}, 2),
    ],
)  # fmt: skip
def test_what_is_evaluated_here(source: str, variables: dict[str, Any], expected: Any) -> None:
    evaluate = direct(source)
    assert evaluate is not None
    assert evaluate(variables) == expected
    assert compile_expression(source).evaluate(variables, CONTEXT) == expected


@pytest.mark.parametrize(
    ("source", "variables"),
    [
        ("days > 60", {"days": None}),
        ("days > 60", {"days": True}),
        ("days > 60", {}),
        ("days > 60", {"days": 1 << 60}),
        ("status == 'open'", {"status": 1}),
        ("size(rows) > 1", {"rows": {"$rows": {"count": 5}}}),
        ("orders[i]", {"orders": [1, 2], "i": -1}),
        ("orders[0]", {"orders": []}),
        ("sum(prices)", {"prices": [1, True]}),
        ("sum(prices)", {"prices": [1 << 53, 1]}),
        ("avg(prices)", {"prices": []}),
        ("days_between(a, b)", {"a": "x", "b": "2026-01-05"}),
        ("orders.map(o, o)", {"orders": [1]}),
        ("sum(orders.map(o, o.n))", {"orders": [{"n": 1}] * 10_000}),
    ],
)
def test_what_the_runtime_is_asked(source: str, variables: dict[str, Any]) -> None:
    evaluate = direct(source)
    assert evaluate is not None
    with pytest.raises(UNSURE):
        evaluate(variables)


@pytest.mark.parametrize(
    "source",
    ["a > b", "a > 1 && b", "a + 1 > 2", "a < 'x'", "a == 'x\\n'", "a == 99999999999999999", "null == 1", "a == true",
     ".a == 1", "a == 01", "a == 1u", "!(a == 1)", "size(a == 1)", "a == 1 // no", "a.size()", "a.map(o, o + 1)", "a.map(o, p)", "a.filter(o, o)",
     "now()", "a[1", "a[-1]", "a['x']", "r'x' == a", "1 + 2", "sum([1])", "(a)", "", "size(" * 3000 + "a" + ")" * 3000],
)  # fmt: skip
def test_what_is_left_to_the_runtime(source: str) -> None:
    assert direct(source) is None


def test_rows_are_counted_by_the_runtime() -> None:
    rows = {"$rows": {"database": "d", "version": 1, "store": "s", "query": {}, "count": 23570}}
    assert compile_expression("size(rows) > 23569").evaluate({"rows": rows}, CONTEXT) is True
