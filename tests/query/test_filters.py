"""Filters: what each operator means, against both evaluators; what is refused, with its place; values and their order."""

import functools
import itertools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from query.errors import InvalidQuery, QueryError, UnknownOperator
from query.filters.pages import page_filter
from query.filters.predicates import (
    MISSING,
    OPERATORS,
    compile_filter,
    compile_test,
    equal,
    filter_fields,
    follow,
    is_operators,
)
from query.filters.regexes import compile_regex
from query.values.keycode import encode
from query.values.values import sort_key

BIG = 2**53 + 1


def answer(query: Mapping[str, Any], record: Mapping[str, Any]) -> bool:
    """What both evaluators say."""
    predicate, page = compile_filter(query), page_filter(query)
    if predicate is None or page is None:
        assert predicate is None and page is None
        return True
    said = predicate(record)
    assert type(said) is bool
    assert page.match(orjson.dumps(record)) is said
    return said


# Examples of the MongoDB manual (its pages on $eq, $gt, $in, ... and on queries of embedded documents and arrays), in its order.
ITEM = {"_id": 1, "item": {"name": "ab", "code": "123"}, "qty": 15, "tags": ["A", "B", "C"]}
SURVEY = {
    "_id": 2,
    "results": [{"product": "abc", "score": 8}, {"product": "xyz", "score": 7}],
    "scores": [75, 88, 89],
    "price": None,
}
MONGODB = [
    ({"qty": {"$eq": 15}}, ITEM, True),
    ({"item.name": {"$eq": "ab"}}, ITEM, True),
    ({"tags": {"$eq": ["A", "B", "C"]}}, ITEM, True),
    ({"qty": {"$gt": 15}}, ITEM, False),
    ({"qty": {"$gte": 15}}, ITEM, True),
    ({"qty": {"$lt": 20}}, ITEM, True),
    ({"qty": {"$lte": 14}}, ITEM, False),
    ({"qty": {"$lte": 15}}, ITEM, True),
    ({"qty": {"$in": [5, 15]}}, ITEM, True),
    ({"qty": {"$ne": 20}}, ITEM, True),
    ({"qty": {"$nin": [5, 15]}}, ITEM, False),
    ({"nothing": {"$nin": [5, 15]}}, ITEM, True),
    ({"nothing": {"$ne": 20}}, ITEM, True),
    ({"qty": {"$exists": True, "$nin": [5, 20]}}, ITEM, True),
    ({"nothing": {"$exists": False}}, ITEM, True),
    ({"price": {"$exists": True}}, SURVEY, True),
    ({"price": None}, SURVEY, True),
    ({"nothing": None}, SURVEY, True),
    ({"qty": {"$not": {"$gt": 15}}}, ITEM, True),
    ({"nothing": {"$not": {"$gt": 15}}}, ITEM, True),
    ({"$and": [{"qty": {"$ne": 1}}, {"qty": {"$exists": True}}]}, ITEM, True),
    ({"$and": [{"qty": {"$ne": 1}}, {"qty": {"$exists": False}}]}, ITEM, False),
    ({"$or": [{"qty": {"$lt": 10}}, {"tags": ["A", "B", "C"]}]}, ITEM, True),
    ({"$or": [{"qty": {"$lt": 10}}, {"_id": 2}]}, ITEM, False),
    ({"item.name": {"$regex": "^A", "$options": "i"}}, ITEM, True),
    ({"item.name": {"$regex": "^A"}}, ITEM, False),
    ({"scores": {"$elemMatch": {"$gte": 80, "$lt": 85}}}, SURVEY, False),
    ({"scores": {"$elemMatch": {"$gte": 80, "$lt": 89}}}, SURVEY, True),
    ({"results": {"$elemMatch": {"product": "xyz", "score": {"$gte": 8}}}}, SURVEY, False),
    ({"results": {"$elemMatch": {"product": "abc", "score": {"$gte": 8}}}}, SURVEY, True),
    ({"results.0.score": 8}, SURVEY, True),
    ({"results.1.score": {"$lt": 8}}, SURVEY, True),
    ({"results.2.score": {"$exists": True}}, SURVEY, False),
    ({"item": {"name": "ab", "code": "123"}}, ITEM, True),
    ({"item": {"name": "ab"}}, ITEM, False),
]

# Where the answer is another than MongoDB's, as docs/filters.md says.
DIFFERENT = [
    ({"tags": "A"}, ITEM, False),
    ({"tags": {"$in": ["A"]}}, ITEM, False),
    ({"tags": {"$ne": "A"}}, ITEM, True),
    ({"scores": {"$gt": 80}}, SURVEY, False),
    ({"results.score": 8}, SURVEY, False),
    ({"item": {"code": "123", "name": "ab"}}, ITEM, True),
    ({"item.name": {"$regex": "b$"}}, {"item": {"name": "ab\n"}}, False),
]

OURS = [
    ({}, {}, True),
    ({"a": {"$contains": "b"}}, {"a": "abc"}, True),
    ({"a": {"$contains": "B"}}, {"a": "abc"}, False),
    ({"a": {"$contains": ""}}, {"a": ""}, True),
    ({"a": {"$contains": "b"}}, {"a": ["b"]}, True),
    ({"a": {"$contains": "b"}}, {"a": ["abc"]}, False),
    ({"a": {"$contains": "b"}}, {"a": {"b": 1}}, False),
    ({"a": {"$contains": "b"}}, {}, False),
    ({"a": {"$contains": 1}}, {"a": [True, 1.0]}, True),
    ({"a": {"$contains": 1}}, {"a": [True]}, False),
    ({"a": {"$contains": 1}}, {"a": "1"}, False),
    ({"a": {"$contains": None}}, {"a": [None]}, True),
    ({"a": {"$contains": {"x": [1]}}}, {"a": [{"x": [1.0]}]}, True),
    ({"a": {"$starts_with": "ab"}}, {"a": "abc"}, True),
    ({"a": {"$starts_with": "ab"}}, {"a": ["abc"]}, False),
    ({"a": {"$starts_with": ""}}, {"a": None}, False),
    ({"a": {"$between": [1, 3]}}, {"a": 1}, True),
    ({"a": {"$between": [1, 3]}}, {"a": 3.0}, True),
    ({"a": {"$between": [1, 3]}}, {"a": 3.1}, False),
    ({"a": {"$between": [3, 1]}}, {"a": 2}, False),
    ({"a": {"$between": ["b", "c"]}}, {"a": "bz"}, True),
    ({"a": {"$between": [0, 3]}}, {"a": True}, False),
    ({"a": 1}, {"a": True}, False),
    ({"a": True}, {"a": 1}, False),
    ({"a": 0}, {"a": False}, False),
    ({"a": True}, {"a": True}, True),
    ({"a": 1}, {"a": 1.0}, True),
    ({"a": 1}, {"a": "1"}, False),
    ({"a": float(2**53)}, {"a": BIG}, False),
    ({"a": BIG}, {"a": float(2**53)}, False),
    ({"a": {"$in": [float(2**53)]}}, {"a": BIG}, False),
    ({"a": {"$gt": float(2**53)}}, {"a": BIG}, True),
    ({"a": {"$lt": BIG}}, {"a": float(2**53)}, True),
    ({"a": {"$lte": -BIG}}, {"a": -float(2**53)}, False),
    ({"a": {"$in": [1, None]}}, {"a": True}, False),
    ({"a": {"$in": [1, True]}}, {"a": True}, True),
    ({"a": {"$in": [1, None]}}, {}, True),
    ({"a": {"$in": []}}, {}, False),
    ({"a": {"$nin": []}}, {}, True),
    ({"a": {"$nin": [None]}}, {}, False),
    ({"a": {"$in": [[1], {"x": 1}]}}, {"a": {"x": 1.0}}, True),
    ({"a": {"$in": ["x"]}}, {"a": ["x"]}, False),
    ({"a": {"$ne": None}}, {}, False),
    ({"a": {"$eq": None}}, {}, True),
    ({"a": {"$exists": True}}, {"a": None}, True),
    ({"a": {"$exists": False}}, {"a": None}, False),
    *(({"a": {name: 5}}, record, False) for name in ("$gt", "$gte", "$lt", "$lte") for record in (
        {}, {"a": None}, {"a": "5"}, {"a": True}, {"a": [5]}, {"a": [4, 6]}, {"a": {"a": 5}},
    )),
    ({"a": {"$gt": False}}, {"a": True}, True),
    ({"a": {"$gte": False}}, {"a": 0}, False),
    ({"a": {"$lt": "b"}}, {"a": "a"}, True),
    ({"a": {"$lt": "\uffff"}}, {"a": "\U00010000"}, False),
    ({"a": {"$gt": 1, "$lt": 3}}, {"a": 3}, False),
    ({"a": {}}, {"a": {}}, True),
    ({"a": {}}, {"a": []}, False),
    ({"a": {}}, {}, False),
    ({"a": {"x": None}}, {"a": {}}, False),
    ({"a": {"$eq": {"$x": 1}}}, {"a": {"$x": 1}}, True),
    ({"a": {"y": 1, "x": [True]}}, {"a": {"x": [True], "y": 1.0}}, True),
    ({"a": {"y": 1, "x": [True]}}, {"a": {"x": [1], "y": 1.0}}, False),
    ({"a": {"$not": 1}}, {}, True),
    ({"a": {"$not": {"$not": {"$gt": 1}}}}, {"a": 2}, True),
    ({"$not": {}}, {}, False),
    ({"$not": {"a": 1, "b": 2}}, {"a": 1, "b": 3}, True),
    ({"$and": [{}]}, {}, True),
    ({"$or": [{"a": 1}, {}]}, {}, True),
    ({"a.0": 1}, {"a": [1]}, True),
    ({"a.0": 1}, {"a": {"0": 1}}, True),
    ({"a.00": 1}, {"a": [1]}, False),
    ({"a.-1": 1}, {"a": [1]}, False),
    ({"a.²": 1}, {"a": [1, 1, 1]}, False),
    ({"a." + "9" * 5000: None}, {"a": [1]}, True),
    ({"a.1.b": 1}, {"a": [0, {"b": 1}]}, True),
    ({"a.b": None}, {"a": 1}, True),
    ({"a.b": {"$exists": True}}, {"a": {"b": None}}, True),
    ({"a.b": 1}, {"a.b": 1}, False),
    ({"a": {"$regex": "^(a+)+$"}}, {"a": "a" * 5000 + "b"}, False),
    ({"a": {"$regex": ""}}, {"a": ""}, True),
    ({"a": {"$regex": "1"}}, {"a": 1}, False),
    ({"a": {"$regex": "1"}}, {"a": ["1"]}, False),
    ({"a": {"$regex": "é.z", "$options": "is"}}, {"a": "xÉ\nZ"}, True),
    ({"a": {"$regex": "é.z", "$options": "i"}}, {"a": "xÉ\nZ"}, False),
    ({"a": {"$regex": "^b$", "$options": "m"}}, {"a": "a\nb\nc"}, True),
    ({"a": {"$regex": "^b$"}}, {"a": "a\nb\nc"}, False),
    ({"a": {"$options": "i", "$regex": "B", "$ne": "b"}}, {"a": "ab"}, True),
    ({"a": {"$elemMatch": {"$not": {"$gt": 1}}}}, {"a": [2, "x"]}, True),
    ({"a": {"$elemMatch": {"$exists": True}}}, {"a": []}, False),
    ({"a": {"$elemMatch": {"x": None}}}, {"a": [1, [], "x"]}, False),
    ({"a": {"$elemMatch": {"x": None}}}, {"a": [{}]}, True),
    ({"a": {"$elemMatch": {"$or": [{"x": 1}, {"y": 2}]}}}, {"a": [{"y": 2}]}, True),
    ({"a": {"$elemMatch": {"$elemMatch": {"$eq": 1}}}}, {"a": [[0], [1]]}, True),
    ({"a": {"$elemMatch": {"$eq": 1}}}, {"a": 1}, False),
    ({'a"\\\n': 1}, {'a"\\\n': 1}, True),
    ({"\u00e9": 1, "\U0001f600": None}, {"\u00e9": 1}, True),
]  # fmt: skip


@pytest.mark.parametrize(("query", "record", "expected"), [*MONGODB, *DIFFERENT, *OURS])
def test_what_a_filter_means(query: dict[str, Any], record: dict[str, Any], expected: bool) -> None:
    assert answer(query, record) is expected
    if query:
        assert answer({"$not": query}, record) is not expected


def test_the_table_has_every_operator_matching_and_not() -> None:
    for operator in OPERATORS:
        seen = {expected for query, _, expected in [*MONGODB, *DIFFERENT, *OURS] if f'"{operator}"' in repr_json(query)}
        assert seen == {True, False}, operator


def repr_json(query: Any) -> str:
    return orjson.dumps(query).decode()


@pytest.mark.parametrize(
    ("query", "error", "pointer", "hint"),
    [
        (5, InvalidQuery, "/filter", None),
        ([], InvalidQuery, "/filter", None),
        ({"a": {"$gtt": 5}}, UnknownOperator, "/filter/a/$gtt", "did you mean $gt"),
        ({"a": {"$startsWith": "x"}}, UnknownOperator, "/filter/a/$startsWith", "$starts_with"),
        ({"a": {"$zzz": 1}}, UnknownOperator, "/filter/a/$zzz", "the operators are: $eq"),
        ({"$nor": [{"a": 1}]}, UnknownOperator, "/filter/$nor", '{"$not": {"$or"'),
        ({"a": {"$all": [1]}}, UnknownOperator, "/filter/a/$all", "$contains"),
        ({"a": {"$like": "x%"}}, UnknownOperator, "/filter/a/$like", "$regex"),
        ({"$gt": 5}, UnknownOperator, "/filter/$gt", '{"field": {"$gt"'),
        ({"a": {"$or": [1]}}, UnknownOperator, "/filter/a/$or", "outside of the field"),
        ({"$where": "1"}, UnknownOperator, "/filter/$where", None),
        ({"a": {"$gt": 1, "x": 2}}, InvalidQuery, "/filter/a/x", "outer.inner"),
        ({"a": {"x": 1, "$gt": 2}}, InvalidQuery, "/filter/a/x", None),
        ({"a": {"$gt": None}}, InvalidQuery, "/filter/a/$gt", "$exists"),
        ({"a": {"$lte": [1]}}, InvalidQuery, "/filter/a/$lte", None),
        ({"a": {"$lt": {}}}, InvalidQuery, "/filter/a/$lt", None),
        ({"a": {"$gte": float("nan")}}, InvalidQuery, "/filter/a/$gte", None),
        ({"a": float("inf")}, InvalidQuery, "/filter/a", None),
        ({"a": [1, {"b": b"x"}]}, InvalidQuery, "/filter/a/1/b", None),
        ({"a": (1,)}, InvalidQuery, "/filter/a", None),
        ({"a": {1: 2}}, InvalidQuery, "/filter/a/1", None),
        ({1: 2}, InvalidQuery, "/filter/1", None),
        ({"a": {"$eq": MISSING}}, InvalidQuery, "/filter/a/$eq", None),
        ({"a": {"$in": 5}}, InvalidQuery, "/filter/a/$in", None),
        ({"a": {"$nin": "x"}}, InvalidQuery, "/filter/a/$nin", None),
        ({"a": {"$in": [1, {"x": {2}}]}}, InvalidQuery, "/filter/a/$in/1/x", None),
        ({"a": {"$between": [1]}}, InvalidQuery, "/filter/a/$between", None),
        ({"a": {"$between": [1, "x"]}}, InvalidQuery, "/filter/a/$between", None),
        ({"a": {"$between": [None, None]}}, InvalidQuery, "/filter/a/$between", None),
        ({"a": {"$between": 5}}, InvalidQuery, "/filter/a/$between", None),
        ({"a": {"$exists": 1}}, InvalidQuery, "/filter/a/$exists", None),
        ({"a": {"$starts_with": 1}}, InvalidQuery, "/filter/a/$starts_with", None),
        ({"a": {"$contains": {1}}}, InvalidQuery, "/filter/a/$contains", None),
        ({"a": {"$regex": 1}}, InvalidQuery, "/filter/a/$regex", None),
        ({"a": {"$regex": "("}}, InvalidQuery, "/filter/a/$regex", "RE2"),
        ({"a": {"$regex": r"(a)\1"}}, InvalidQuery, "/filter/a/$regex", "back-references"),
        ({"a": {"$regex": "(?=a)"}}, InvalidQuery, "/filter/a/$regex", "look-around"),
        ({"a": {"$regex": "((a{1000}){1000}){1000}"}}, InvalidQuery, "/filter/a/$regex", None),
        ({"a": {"$regex": "\ud800"}}, InvalidQuery, "/filter/a/$regex", None),
        ({"a": {"$regex": "a", "$options": "x"}}, InvalidQuery, "/filter/a/$options", None),
        ({"a": {"$regex": "a", "$options": 1}}, InvalidQuery, "/filter/a/$options", None),
        ({"a": {"$options": "i"}}, InvalidQuery, "/filter/a/$options", None),
        ({"a": {"$elemMatch": 1}}, InvalidQuery, "/filter/a/$elemMatch", None),
        ({"a": {"$elemMatch": {}}}, InvalidQuery, "/filter/a/$elemMatch", None),
        ({"a": {"$elemMatch": {"$gt": 1, "x": 1}}}, InvalidQuery, "/filter/a/$elemMatch/x", None),
        ({"a": {"$elemMatch": {"x": {"$gtt": 1}}}}, UnknownOperator, "/filter/a/$elemMatch/x/$gtt", "$gt"),
        ({"$and": []}, InvalidQuery, "/filter/$and", None),
        ({"$or": {"a": 1}}, InvalidQuery, "/filter/$or", None),
        ({"$or": [{"a": 1}, 5]}, InvalidQuery, "/filter/$or/1", None),
        ({"$not": 5}, InvalidQuery, "/filter/$not", None),
        ({"$and": [{"a/b~": {"$gtt": 1}}]}, UnknownOperator, "/filter/$and/0/a~1b~0/$gtt", None),
        ({"a..b": 1}, InvalidQuery, "/filter/a..b", None),
        ({"": 1}, InvalidQuery, "/filter/", None),
        ({"a.": 1}, InvalidQuery, "/filter/a.", None),
    ],
)
def test_what_is_refused_with_its_place(query: Any, error: type[QueryError], pointer: str, hint: str | None) -> None:
    for compiled in (compile_filter, page_filter):
        with pytest.raises(error) as raised:
            compiled(query)
        assert raised.value.pointer == pointer
        assert raised.value.message
        if hint is not None:
            assert raised.value.hint is not None and hint in raised.value.hint


def nested(levels: int, wrap: Any, query: Any) -> Any:
    return functools.reduce(lambda inner, _: wrap(inner), range(levels), query)


@pytest.mark.parametrize(
    ("wrap", "inner", "levels"),
    [
        (lambda inner: {"$not": inner}, {"a": 1}, 100),
        (lambda inner: {"$and": [inner]}, {"a": 1}, 50),
        (lambda inner: {"$or": [{"b": 1}, inner]}, {"a": 1}, 50),
        (lambda inner: {"a": {"$elemMatch": inner}}, {"a": 1}, 50),
    ],
)
def test_nesting_has_a_limit_and_works_up_to_it(wrap: Any, inner: Any, levels: int) -> None:
    answer(nested(levels, wrap, inner), {"a": 1})
    for depth in (levels + 1, 100_000):
        for compiled in (compile_filter, page_filter, filter_fields):
            with pytest.raises(InvalidQuery, match="at most 100 deep") as raised:
                compiled(nested(depth, wrap, inner))
            assert (raised.value.pointer or "").count("/") == 102


def test_nested_values_and_conditions_have_the_same_limit() -> None:
    deep = nested(100, lambda inner: [inner], 1)
    assert answer({"a": deep}, {"a": deep})
    assert not answer({"a": nested(98, lambda inner: {"$not": inner}, {"$gt": 1})}, {"a": 1})
    for query in ({"a": [deep]}, {"a": nested(100, lambda inner: {"$not": inner}, {"$gt": 1})}):
        with pytest.raises(InvalidQuery, match="at most 100 deep"):
            compile_filter(query)
    with pytest.raises(InvalidQuery, match="at most 100 deep"):
        compile_test([[deep]], "/x")


def test_a_filter_is_a_copy_of_what_was_given() -> None:
    wanted = [1]
    query = {"a": wanted, "b": {"$in": wanted}}
    predicate = compile_filter(query)
    wanted.append(2)
    assert predicate is not None and predicate({"a": [1], "b": 1}) and not predicate({"a": [1, 2], "b": 2})


def test_the_fields_of_a_closed_schema() -> None:
    fields = ["customer", "total", "items"]
    allowed: list[dict[str, Any]] = [
        {"customer": 1},
        {"items.0.sku": 1},
        {"items": {"$elemMatch": {"sku": 1}}},
        {"$not": {"total": 1}},
        {},
    ]
    for query in allowed:
        compile_filter(query, fields=fields)
        page_filter(query, fields=fields)
    refused: list[tuple[dict[str, Any], str, str]] = [
        ({"custmer": 1}, "/filter/custmer", "did you mean 'customer'?"),
        ({"$and": [{"total": 1}, {"$not": {"totals.x": 1}}]}, "/filter/$and/1/$not/totals.x", "did you mean 'total'?"),
        ({"zzz": None}, "/filter/zzz", "its fields are: customer, items, total"),
    ]
    for query, pointer, hint in refused:
        for compiled in (compile_filter, page_filter):
            with pytest.raises(InvalidQuery) as raised:
                compiled(query, fields=fields)
            assert (raised.value.pointer, raised.value.hint) == (pointer, hint)
        compile_filter(query)


def test_the_fields_of_a_filter() -> None:
    query = {"a.b": 1, "$or": [{"c": {"$elemMatch": {"x": 1}}}, {"$not": {"d.0": {"$not": 1}}}], "e": {"f": 1}}
    assert filter_fields(query) == {"a", "c", "d", "e"}
    assert filter_fields({}) == filter_fields(None) == set()


def test_the_test_of_a_value() -> None:
    assert compile_test({"$gt": 1}, "/x")(2) and not compile_test({"$gt": 1}, "/x")(MISSING)
    assert compile_test(None, "/x")(MISSING)
    assert is_operators({"$gt": 1}) and not is_operators({"a": 1}) and not is_operators({}) and not is_operators("$gt")


def test_following_a_path() -> None:
    record = {"a": [{"b": None}], "0": 1}
    assert follow(record, ["a", "0", "b"]) is None
    assert follow(record, ["0"]) == 1
    for path in (["a", "1"], ["a", "b"], ["a", "0", "b", "c"], ["a", "0", "x"], ["a", "01"], ["a", ""]):
        assert follow(record, path) is MISSING


ORDERED: list[Any] = [
    None, False, True, -(2**63), -1.5, 0, 0.5, 1, float(2**53), BIG, 1e300, "", "a", "a\x00", "b", "é", "\uffff", "\U00010000",
    [], [None], [1], [1, 0], [2], [[]], {}, {"a": 1}, {"a": 1, "b": 0}, {"a": 2}, {"b": None},
]  # fmt: skip


def test_the_order_of_values() -> None:
    for one, two in itertools.pairwise(ORDERED):
        assert sort_key(one) < sort_key(two) and not equal(one, two)
    assert sort_key(MISSING) == sort_key(None) and sort_key(1) == sort_key(1.0) and equal(1, 1.0)
    assert sort_key({"a": 1, "b": 2}) == sort_key({"b": 2, "a": 1.0})


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(),
)
values = st.recursive(scalars | st.sampled_from(ORDERED[:-5]), lambda inner: st.lists(inner, max_size=3), max_leaves=5)


@settings(deadline=None)
@given(values, values)
def test_the_order_is_that_of_the_keys(left: Any, right: Any) -> None:
    assert (sort_key(left) < sort_key(right)) == (encode([left]) < encode([right]))
    assert (sort_key(left) == sort_key(right)) == equal(left, right)


@settings(deadline=None, max_examples=300)
@given(st.text("ab^$é#\n", max_size=4), st.text("ab^$é#\n", max_size=5))
def test_a_pattern_of_text_only_means_what_re2_says(pattern: str, text: str) -> None:
    simple = compile_regex(pattern, "", "/p", "/o")
    with_re2 = compile_regex(pattern, "s", "/p", "/o")  # the option changes nothing where there is no dot
    assert simple(text) is with_re2(text)


def test_a_text_that_is_no_unicode_has_matches_too() -> None:
    assert compile_regex("a.c|b+", "", "/p", "/o")("\ud800bb")


def test_every_operator_has_a_row_in_the_docs_with_an_example_that_uses_it() -> None:
    page = Path(__file__).parents[2].joinpath("docs", "filters.md").read_text(encoding="utf-8")
    rows = {
        row[0]: row for row in (re.findall("`([^`]+)`", line) for line in page.splitlines() if line.startswith("| `"))
    }
    assert set(rows) == set(OPERATORS)
    for operator, row in rows.items():
        example = next(part for part in row if part.startswith('{"') and "..." not in part)
        assert f'"{operator}"' in example
        compile_filter(orjson.loads(example))
    block = page.split("```json\n")[1].split("```")[0]
    assert compile_filter(orjson.loads(block)) is not None
