"""Null comes before everything else in comparisons, and nothing else changes by that."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from script.errors import EvaluationError, ScriptError
from script.expressions.expressions import Expression, compile_expression
from script.expressions.functions import EvaluationContext

CONTEXT = EvaluationContext(datetime(2026, 1, 5, tzinfo=UTC), "run/step")
SIGNS = ["<", "<=", ">", ">="]
ONE = (
    st.booleans() | st.integers(-3, 3) | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text("aé😀\0", max_size=3)
)
VALUES = ONE | st.lists(ONE, max_size=2) | st.dictionaries(st.sampled_from("ab"), ONE, max_size=2)
DATES = st.sampled_from(["2026-01-05", "2026-01-06", "2024-02-29"])
SOURCES = [
    "a {} b", "!(a {} b) || a == b", "[a, b].filter(x, x {} b)", "[a, b].exists(x, a {} x) ? 'yes' : 'no'", "{{'k': a {} b}}.k",
    "date(d) {} date(e)", "(date(d) - date(e)) {} duration('1h')", "d {} e && e {} d", "size([a].map(x, x {} b))", "bytes(d) {} bytes(e)",
]  # fmt: skip


def value(source: str, **variables: Any) -> Any:
    return compile_expression(source).evaluate(variables, CONTEXT)


class Twin(Expression):
    """An expression that is evaluated as if it had met a null."""

    def __init__(self, source: str) -> None:
        super().__init__(source)
        self._direct = None
        self._compiled = self._null_first


def outcome(kind: type[Expression], source: str, variables: dict[str, Any]) -> Any:
    try:
        return repr(kind(source).evaluate(variables, CONTEXT))
    except ScriptError as error:
        return error.code


@settings(deadline=None, max_examples=400)
@given(st.sampled_from(SOURCES), st.sampled_from(SIGNS), VALUES, VALUES, DATES, DATES)
def test_without_a_null_both_ways_agree(source: str, sign: str, a: Any, b: Any, d: str, e: str) -> None:
    text = source.format(sign, sign)
    variables = {"a": a, "b": b, "d": d, "e": e}
    assert outcome(Twin, text, variables) == outcome(Expression, text, variables)


@given(VALUES, st.sampled_from(SIGNS))
def test_null_is_first(found: Any, sign: str) -> None:
    before = {"<": True, "<=": True, ">": False, ">=": False}[sign]
    assert value(f"a {sign} b", a=None, b=found) is before
    assert value(f"b {sign} a", a=None, b=found) is not before
    assert value(f"a {sign} a", a=None) is (sign in ("<=", ">="))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("rows.filter(r, r.n < 5).map(r, r.n)", [1, None]),
        ("rows.all(r, r.n >= no)", True),
        ("no < 1 && text < 'b'", True),
        ("text > 'a' && no < 1", True),
        ("no < 1 || rows[5].n > 1", True),
        ("coalesce(no, 7) > 3 ? uuid() : ''", value("uuid()")),
        ("no < 1 ? uuid() : ''", value("uuid()")),
        ("no < null", False),
        ("'_<_' > text ? no < 1 : '_<_' != text", True),
    ],
)
def test_null_within(source: str, expected: Any) -> None:
    assert value(source, rows=[{"n": 1}, {"n": None}, {"n": 7}], no=None, text="a\0b") == expected


@pytest.mark.parametrize(
    "source", ["no < 1 && n < 'a'", "n < 'a' && no < 1", "no < 1 && n + no > 1", "no < 1 && l < l"]
)
def test_what_cannot_be_compared_is_an_error_still(source: str) -> None:
    with pytest.raises(EvaluationError) as raised:
        value(source, no=None, n=1, l=[1])
    assert raised.value.code == "type_mismatch"
