"""Page filters against filters of records: random filters, random records, in any writing of their JSON."""

import json
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from query.errors import InvalidQuery
from query.filters.needles import needles
from query.filters.pages import page_filter, values_at
from query.filters.predicates import compile_filter
from query.filters.tree import parse_filter

NAMES = ("a", "b", "é", 'q"\\')
PATHS = (*NAMES, "a", "a", "b", "a.b", "a.0", "a.1.b", 'q"\\.a', "x y")
SCALARS: list[Any] = [
    None, True, False, 0, 1, 1.0, -1, 0.5, 2**53, 2**53 + 1, float(2**53), 2**63 - 1, -(2**63), 1e300, -0.0,
    "", "a", "ab", "b", "é", "\U0001f600", "\n", 'a"b\\', "\uffff", "\x00",
]  # fmt: skip
COMMON: list[Any] = [0, 1, 1.0, True, None, "a", "ab"]
COMPOUND: list[Any] = [
    [], {}, ["a"], [1], [True], [None], [1, "ab"], {"b": 1}, {"b": True}, {"b": "a", "a": [1.0]}, ["x", {"b": 1}], [["a"]],
]  # fmt: skip
TEXTS = [value for value in SCALARS if isinstance(value, str)]
NUMBERS = [value for value in SCALARS if type(value) in (int, float)]

common, texts, numbers = st.sampled_from(COMMON), st.sampled_from(TEXTS), st.sampled_from(NUMBERS)
values = common | st.sampled_from(SCALARS) | st.sampled_from(COMPOUND)
anything = st.recursive(
    values | st.text(max_size=3) | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=4,
)
records = st.dictionaries(st.sampled_from(NAMES), anything) | st.dictionaries(st.text(max_size=2), anything)
EVERY: list[dict[str, Any]] = [
    {},
    *({name: value} for name in NAMES for value in (*SCALARS, *COMPOUND)),
    *({"a": one, "b": two} for one in COMMON for two in COMMON),
    *({"a": {"b": value}, 'q"\\': {"a": value}} for value in SCALARS),
    *({"a": [value, {"b": value}], "b": [{"b": value}]} for value in SCALARS),
]
ordered = common.filter(lambda value: value is not None) | texts | numbers


def one_of_named(choices: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.one_of([st.fixed_dictionaries({name: operand}) for name, operand in choices.items()])


simple = one_of_named(
    {
        "$eq": values,
        "$ne": values,
        "$gt": ordered,
        "$gte": ordered,
        "$lt": ordered,
        "$lte": ordered,
        "$in": st.lists(values, max_size=4) | st.lists(texts, max_size=3),
        "$nin": st.lists(values, max_size=4) | st.lists(texts, max_size=3),
        "$between": st.lists(numbers, min_size=2, max_size=2).map(sorted) | st.lists(texts, min_size=2, max_size=2),
        "$exists": st.booleans(),
        "$starts_with": texts,
        "$contains": values,
        "$regex": st.sampled_from(["a", "^a", "b$", "[^a]", "é|b", ""]),
    }
)
conditions = st.recursive(
    simple,
    lambda inner: st.one_of(
        st.tuples(inner, simple).map(lambda two: {**two[0], **two[1]}),
        one_of_named({"$not": inner | values, "$elemMatch": inner | st.dictionaries(st.just("b"), inner, min_size=1)}),
    ),
    max_leaves=3,
)
numeric = st.recursive(
    one_of_named(
        {
            **dict.fromkeys(["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"], numbers),
            **dict.fromkeys(["$in", "$nin"], st.lists(numbers, max_size=3)),
            "$between": st.lists(numbers, min_size=2, max_size=2).map(sorted),
        }
    ),
    lambda inner: one_of_named({"$not": inner}) | st.tuples(inner, inner).map(lambda two: {**two[0], **two[1]}),
    max_leaves=3,
)
paths = st.sampled_from(PATHS)
fields = st.one_of(
    st.dictionaries(paths, conditions | values, min_size=1, max_size=2),
    st.dictionaries(paths, numeric, min_size=1, max_size=2),
)
filters = st.recursive(
    fields,
    lambda inner: st.one_of(
        one_of_named({name: st.lists(inner, min_size=1, max_size=3) for name in ("$and", "$or")}),
        one_of_named({"$not": inner}),
        st.tuples(inner, fields).map(lambda two: {**two[0], **two[1]}),
    ),
    max_leaves=4,
)


PLAIN: list[dict[str, Any]] = [
    {"a": 1}, {"b": 0.5}, {"a": 2**53 - 1, "b": 2**53}, {"a": 2**63 - 1, "b": -(2**63)}, {}, {"a": -0.0}, {"é": 1, "b": 1e300},
]  # fmt: skip
"""Rows of numbers: what a filter that compares numbers hopes for."""


def written(rows: list[dict[str, Any]], ascii_only: bool) -> list[bytes]:
    return [json.dumps(row).encode() if ascii_only else orjson.dumps(row) for row in rows]


@settings(deadline=None, max_examples=500)
@given(filters, st.lists(records, max_size=3), st.booleans())
def test_a_page_filter_is_the_filter(query: dict[str, Any], more: list[dict[str, Any]], ascii_only: bool) -> None:
    try:
        predicate = compile_filter(query)
    except InvalidQuery as error:
        with pytest.raises(type(error)) as raised:
            page_filter(query)
        assert raised.value.to_dict() == error.to_dict()
        event("refused")
        return
    page = page_filter(query)
    assert predicate is not None and page is not None
    for rows in (PLAIN, *([row] for row in (*PLAIN, *EVERY, *more)), [*EVERY, *more]):
        texts = written(rows, ascii_only)
        run = b",\n".join(texts)
        expected = [index for index, row in enumerate(rows) if predicate(row)]
        assert page.matches(run) == expected, rows
        assert page.keep(run) == (len(expected), b",\n".join(texts[index] for index in expected))
        if len(rows) == 1:
            assert page.match(run) is bool(expected)
    event("some match" if 0 < len(expected) < len(rows) else "all or none match")


def test_no_filter_is_none() -> None:
    assert page_filter(None) is None and page_filter({}) is None


def test_a_run_of_nothing() -> None:
    page = page_filter({"a": None})
    assert page is not None and page.matches(b"") == [] and page.keep(b"") == (0, b"")


def test_all_of_a_run_is_the_run_itself() -> None:
    page = page_filter({"a": {"$gt": 0}})
    run = b'{"a":1},\n{"a":2}'
    assert page is not None and page.keep(run)[1] is run


def test_values_by_their_places() -> None:
    run = b'{"a":1},\n{"a":2},\n{"a":3}'
    for indexes in ([], [0], [1], [2], [0, 1], [0, 2], [1, 2], [0, 1, 2]):
        assert values_at(run, indexes) == b",\n".join(b'{"a":%d}' % (index + 1) for index in indexes)


def test_pages_of_other_things_than_numbers_are_filtered_for_ever() -> None:
    page = page_filter({"a": {"$gte": 2}})
    assert page is not None
    for _ in range(3):
        for _ in range(10):
            assert page.matches(b'{"a":3},\n{"a":null},\n{"a":true},\n{"a":"3"},\n{},\n{"a":2}') == [0, 5]
        assert page.matches(b'{"a":1},\n{"a":2.5},\n{}') == [1]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"a": "paid"}, (b'"paid"',)),
        ({"a.b": {"$starts_with": "p"}}, (b'"p',)),
        ({"a": {"$contains": "p"}}, (b"p",)),
        ({"a": {"$in": ["x", "y"]}}, (b'"x"', b'"y"')),
        ({"a": {"$in": ["x", "y", "z"]}}, None),
        ({"a": {"$in": ["x", 1]}}, None),
        ({"a": {"$ne": "x"}}, None),
        ({"a": {"$starts_with": ""}}, None),
        ({"a": {"$contains": ""}}, None),
        ({"a": 'say "x"'}, (b"\\",)),
        ({"a": "x\n"}, (b"\\",)),
        ({"a": "\ud800"}, (b"\\",)),
        ({"a": "é"}, ('"é"'.encode(),)),
        ({"a": 1, "b": {"$in": ["xxxxx", "yyyyy"]}, "c": "x", "d": "xy"}, (b'"xy"',)),
        ({"$or": [{"a": "x"}, {"b": "y", "c": 1}]}, (b'"x"', b'"y"')),
        ({"$or": [{"a": "x"}, {"b": 1}]}, None),
        ({"$not": {"a": "x"}}, None),
        ({"a": {"$elemMatch": {"b": "x"}}}, (b'"x"',)),
    ],
)
def test_what_every_match_contains(query: dict[str, Any], expected: tuple[bytes, ...] | None) -> None:
    assert needles(parse_filter(query, "/filter")) == expected


def test_a_page_without_the_needle_is_passed_over_unless_it_has_escapes() -> None:
    page = page_filter({"a": "paid"})
    assert page is not None
    assert page.matches(b"this is not JSON") == []
    assert page.keep(b'{"a":"open"}') == (0, b"")
    assert page.matches(b'{"b":"paid"},\n{"a":"\\u0070aid"}') == [1]
    assert page.matches(b'{"a":"\\u0070aid"}') == [0]


def test_a_field_twice_counts_as_its_last_in_both() -> None:
    page = page_filter({"a": 2})
    text = b'{"a":1,"a":2}'
    predicate = compile_filter({"a": 2})
    assert page is not None and predicate is not None
    assert page.match(text) is predicate(msgspec.json.decode(text)) is True


@pytest.mark.parametrize(
    "text", [b'{"\\u0061":2}', b'{ "a" : 2 }', b'{"b":{"a":1},"a":2e0}', b'{"b":"\\"a\\":1","a":2}']
)
def test_any_writing_of_a_record(text: bytes) -> None:
    page = page_filter({"a": 2})
    assert page is not None and page.matches(text + b",\n" + text) == [0, 1]


def test_wide_filters() -> None:
    many = 5000
    page = page_filter({"$and": [{f"f{number}": {"$ne": 1}} for number in range(many)]})
    assert page is not None and page.matches(b'{"f0":0},\n{"f4999":1}') == [0]
    page = page_filter({"$or": [{"a": number} for number in range(many)]})
    assert page is not None and page.matches(b'{"a":0},\n{"a":4999},\n{"a":5000}') == [0, 1]
    page = page_filter({"a": {"$in": list(range(many))}})
    assert page is not None and page.matches(b'{"a":0.0},\n{"a":4999},\n{"a":5000}') == [0, 1]


@pytest.mark.parametrize(
    "hostile",
    ["'", '"', "\\", "\n", "{x}", "%s", "c0", "row", "__class__", "f0", "__import__('os')", "\ud800", "x\x00y"],
)
def test_names_and_operands_are_data(hostile: str) -> None:
    page = page_filter({hostile.replace(".", ""): hostile})
    assert page is not None and page.matches(b'{"x":1}') == []
    if hostile != "\ud800":
        assert page.match(orjson.dumps({hostile: hostile}))


def test_what_is_no_record_is_the_decoders_error() -> None:
    page = page_filter({"a": 1})
    assert page is not None
    with pytest.raises(msgspec.DecodeError):
        page.matches(b'{"a":1')
