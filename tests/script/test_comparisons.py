"""Comparisons that are not left to the expression runtime say what it says."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from script.comparisons import comparison
from script.errors import ScriptError
from script.expressions import Expression, compile_expression
from script.functions import EvaluationContext

CONTEXT = EvaluationContext(datetime(2026, 1, 5, tzinfo=UTC), "run/step")
SIGNS = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
WHOLE = st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3) | st.sampled_from([2**53, 2**53 + 1, -(2**53) - 1])
VALUES = (
    st.none() | st.booleans() | WHOLE | st.floats(allow_nan=False) | st.sampled_from([1.0, 2.5, float(2**53)])
    | st.text("aé😀", max_size=3) | st.lists(st.integers(), max_size=3) | st.dictionaries(st.text("ab", max_size=1), st.none(), max_size=2)
)  # fmt: skip
LITERALS = (
    WHOLE.map(str) | st.sampled_from(["0", "1.0", "2.5", "-0.0", "9007199254740992.0", "1e3", "null", "true", "'a'", '"é"', "''"])
    | st.integers(0, 4).map(str)
)  # fmt: skip


class Asked(Expression):
    """An expression that the runtime evaluates."""

    def __init__(self, source: str) -> None:
        super().__init__(source)
        self._comparison = None


def outcome(kind: type[Expression], source: str, variables: dict[str, Any]) -> Any:
    try:
        return kind(source).evaluate(variables, CONTEXT)
    except ScriptError as error:
        return error.to_dict()


@settings(deadline=None, max_examples=400)
@given(st.sampled_from(["x", "y.x", "size(x)", "len( y.x )", "size(y)"]), SIGNS, LITERALS, VALUES)
def test_the_runtime_says_the_same(path: str, sign: str, literal: str, value: Any) -> None:
    source = f"{path} {sign} {literal}"
    for variables in ({"x": value, "y": {"x": value}}, {"y": value}):
        assert outcome(Expression, source, variables) == outcome(Asked, source, variables)


@pytest.mark.parametrize(
    ("source", "variables", "truth"),
    [
        ("days > 60", {"days": 61}, True),
        ("days > 60", {"days": 60.5}, True),
        (" a.b<=-1.5 ", {"a": {"b": -1}}, False),
        ("size(orders) == 0", {"orders": []}, True),
        ("len( name )>2", {"name": "é😀"}, False),
        ("status != 'open'", {"status": "paid"}, True),
        ("days > 60", {"days": None}, None),
        ("days > 60", {"days": True}, None),
        ("days > 60", {}, None),
        ("days > 60", {"days": 1 << 60}, None),
        ("status == 'open'", {"status": 1}, None),
        ("size(rows) > 1", {"rows": {"$rows": {"count": 5}}}, None),
    ],
)
def test_what_is_compared_here(source: str, variables: dict[str, Any], truth: bool | None) -> None:
    compare = comparison(source)
    assert compare is not None
    assert compare(variables) is truth


@pytest.mark.parametrize(
    "source",
    ["a", "a > b", "a > 1 && b", "a + 1 > 2", "size(a) == 'x'", "a < 'x'", "a == 'x\\n'", "a == 99999999999999999", "null == 1",
     "a == 'x\"y'", "a[0] == 1", ".a == 1", "a == 01", "a == 1u", "!(a == 1)", "size(a == 1)", "a == 1 // no"],
)  # fmt: skip
def test_what_is_left_to_the_runtime(source: str) -> None:
    assert comparison(source) is None


def test_rows_are_counted_by_the_runtime() -> None:
    rows = {"$rows": {"database": "d", "version": 1, "store": "s", "query": {}, "count": 23570}}
    assert compile_expression("size(rows) > 23569").evaluate({"rows": rows}, CONTEXT) is True
