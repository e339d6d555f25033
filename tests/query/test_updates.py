"""Updates: the documented semantics line by line, what is refused, and laws that hold for any record."""

import copy
import re
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from query.actions.updates import OPERATORS, compile_update
from query.errors import InvalidQuery, QueryError, UnknownOperator, UpdateFailed

PAGE = (Path(__file__).parents[2] / "docs" / "updates.md").read_text(encoding="utf-8")
CASES = [
    orjson.loads(line) for block in re.findall(r"```ndjson\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()
]

names = st.sampled_from(["a", "b", "c", "d"])
scalars = st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.floats(-9, 9), st.text("xy{}$.", max_size=3))
values = st.recursive(
    scalars.filter(lambda value: not (isinstance(value, str) and "{{" in value)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)
records = st.dictionaries(names, values, max_size=4)
places = st.lists(st.sampled_from(["a", "b", "c", "0", "1"]), min_size=1, max_size=3).map(".".join)
small = st.integers(-(2**31), 2**31)


def exactly(value: Any) -> str:
    """A text that tells 1, 1.0 and true apart, and 0.0 from -0.0."""
    return repr(value)


def at(record: Any, path: str) -> Any:
    for part in path.split("."):
        record = record[int(part)] if isinstance(record, list) else record[part]
    return record


@pytest.mark.parametrize("case", [case for case in CASES if "gives" in case], ids=lambda case: str(case["update"]))
def test_the_documented_semantics(case: dict[str, Any]) -> None:
    before = copy.deepcopy(case["record"])
    found = compile_update(case["update"]).apply(case["record"])
    assert found == case["gives"]
    assert exactly(sorted(found.items())) == exactly(sorted(case["gives"].items()))
    assert case["record"] == before


@pytest.mark.parametrize("case", [case for case in CASES if "fails" in case], ids=lambda case: str(case["update"]))
def test_the_documented_failures(case: dict[str, Any]) -> None:
    before = copy.deepcopy(case["record"])
    with pytest.raises(UpdateFailed) as caught:
        compile_update(case["update"]).apply(case["record"])
    assert (caught.value.code, caught.value.pointer) == ("update_failed", case["fails"])
    assert caught.value.details["at"].startswith("/update_values/")
    assert case["record"] == before


def test_every_operator_is_documented_and_tried() -> None:
    assert [name for name in OPERATORS if f"`{name}`" not in PAGE] == []
    for outcome in ("gives", "fails"):
        tried = {name for case in CASES if outcome in case for name in case["update"]}
        assert set(OPERATORS) - tried == (set() if outcome == "gives" else {"$set", "$unset"})


@pytest.mark.parametrize(
    ("update", "error", "pointer", "told"),
    [
        ({}, InvalidQuery, "", "empty"),
        ([], InvalidQuery, "", "object"),
        ({"$inc": {}}, InvalidQuery, "/$inc", "object of fields"),
        ({"$inc": 5}, InvalidQuery, "/$inc", "object of fields"),
        ({"$unset": []}, InvalidQuery, "/$unset", "list of fields"),
        ({"$unset": {"a": False}}, InvalidQuery, "/$unset/a", "true"),
        ({"$unset": [1]}, InvalidQuery, "/$unset/0", "field name"),
        ({"$inc": {"a": "x"}}, InvalidQuery, "/$inc/a", "number"),
        ({"$inc": {"a": None}}, InvalidQuery, "/$inc/a", "number"),
        ({"$mul": {"a": True}}, InvalidQuery, "/$mul/a", "number"),
        ({"$push": {"a": {"$each": 1}}}, InvalidQuery, "/$push/a/$each", "list"),
        ({"$push": {"a": {"$each": [1], "$slice": 2}}}, InvalidQuery, "/$push/a", "nothing beside"),
        ({"$incc": {"a": 1}}, UnknownOperator, "/$incc", "did you mean $inc?"),
        ({"$inc ": {"a": 1}}, UnknownOperator, "/$inc ", "did you mean $inc?"),
        ({"$min": {"a": 1}}, UnknownOperator, "/$min", "{{ min(row.price, 5) }}"),
        ({"$bit": {"a": 1}}, UnknownOperator, "/$bit", "the operators are: $set"),
        ({"a": {"$inc": 1}}, InvalidQuery, "/a/$inc", "outermost"),
        ({"a": [{"$set": 1}]}, InvalidQuery, "/a/0/$set", "outermost"),
        ({"": 1}, InvalidQuery, "/", "field name"),
        ({"a..b": 1}, InvalidQuery, "/a..b", "empty part"),
        ({"a.": 1}, InvalidQuery, "/a.", "empty part"),
        ({"a.$[]": 1}, InvalidQuery, "/a.$[]", "begin with $"),
        ({"{{ row.a }}": 1}, InvalidQuery, "/{{ row.a }}", "never in a name"),
        ({"a": 1, "$set": {"a": 2}}, InvalidQuery, "/$set/a", "conflict"),
        ({"a": 1, "a.b": 2}, InvalidQuery, "/a.b", "conflict"),
        ({"a.b.c": 1, "a-b": 1, "$inc": {"a": 2}}, InvalidQuery, "/a.b.c", "conflict"),
        ({"$unset": ["a.b"], "$push": {"a.b.c": 1}}, InvalidQuery, "/$push/a.b.c", "conflict"),
        ({"$unset": ["a", "a"]}, InvalidQuery, "/$unset/1", "conflict"),
        ({"a/b~c": 1, "a/b~c.d": 1}, InvalidQuery, "/a~1b~0c.d", "conflict"),
        ({"a": float("nan")}, InvalidQuery, "/a", "no JSON"),
        ({"a": [float("inf")]}, InvalidQuery, "/a/0", "no JSON"),
        ({"a": 2**64}, InvalidQuery, "/a", "no JSON"),
        ({"a": "\ud800"}, InvalidQuery, "/a", "no JSON"),
        ({"a": {1: 2}}, InvalidQuery, "/a", "no JSON"),
        ({"a": {1, 2}}, InvalidQuery, "/a", "no JSON"),
        ({1: 2}, InvalidQuery, "/1", "field name"),
    ],
    ids=repr,
)
def test_what_is_wrong_is_told_before_any_record(update: Any, error: type[QueryError], pointer: str, told: str) -> None:
    with pytest.raises(error) as caught:
        compile_update(update)
    assert type(caught.value) is error
    assert caught.value.pointer == "/update_values" + pointer
    assert told in f"{caught.value.message} {caught.value.hint}"


def test_nesting_without_end_is_refused() -> None:
    deep: Any = 1
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(InvalidQuery, match="no JSON"):
        compile_update({"a": deep})


@pytest.mark.parametrize(
    "update", [{"stauts": 1}, {"$inc": {"stauts.x": 1}}, {"$unset": ["stauts"]}, {"$push": {"stauts": 1}}]
)
def test_a_field_that_a_closed_schema_has_not(update: dict[str, Any]) -> None:
    with pytest.raises(InvalidQuery) as caught:
        compile_update(update, fields={"status", "id"})
    assert caught.value.hint == "did you mean 'status'?"
    assert compile_update({"status.x": 1}, fields={"status", "id"}).fields == {"status"}


def test_what_an_update_may_change_is_known() -> None:
    update = compile_update({"a": 1, "b.c": 2, "$unset": ["d.e"], "$push": {"f": "{{ row.g }}"}})
    assert (update.constant, update.literal, sorted(update.fields)) == (False, False, ["a", "b", "d", "f"])
    assert compile_update({"a": 1, "$inc": {"b": 1}}).constant
    assert not compile_update({"a": 1, "$inc": {"b": 1}}).literal
    assert compile_update({"a": 1, "$set": {"b": [{}]}}).literal
    assert not compile_update({"a.b": 1}).literal


def test_a_failure_names_its_place_in_the_update_too() -> None:
    with pytest.raises(UpdateFailed) as caught:
        compile_update({"$inc": {"a/b.c": 1}}, pointer="/args/update_values").apply({"a/b": {"c": "x"}})
    assert caught.value.to_dict() == {
        "code": "update_failed",
        "message": "$inc of a/b.c: the value is text, not a number",
        "retryable": False,
        "pointer": "/a~1b/c",
        "details": {"at": "/args/update_values/$inc/a~1b.c"},
    }


def test_an_update_is_not_changed_by_its_caller_afterwards() -> None:
    update_values: dict[str, Any] = {"a": {"b": [1]}}
    update = compile_update(update_values)
    update_values["a"]["b"].append(2)
    assert update.apply({}) == {"a": {"b": [1]}}


@settings(deadline=None)
@given(records, values, st.data())
def test_literals_once_are_literals_twice_and_the_rest_stays(record: Any, value: Any, data: st.DataObject) -> None:
    path = data.draw(places)
    update = compile_update({path: value})
    before = copy.deepcopy(record)
    try:
        once = update.apply(record)
    except UpdateFailed:
        assert record == before and "." in path
        return
    assert record == before
    assert exactly(update.apply(once)) == exactly(once)
    assert {name: part for name, part in once.items() if name not in update.fields} == {
        name: part for name, part in record.items() if name not in update.fields
    }
    assert exactly(at(once, path)) == exactly(value)


@settings(deadline=None)
@given(records, small, small, places)
def test_adding_twice_is_adding_the_sum(record: Any, one: int, other: int, path: str) -> None:
    def add(target: Any, amount: int) -> Any:
        return compile_update({"$inc": {path: amount}}).apply(target)

    try:
        whole = add(record, one + other)
    except UpdateFailed:
        with pytest.raises(UpdateFailed):
            add(record, one)
        return
    twice = add(add(record, one), other)
    if isinstance(at(whole, path), int):
        assert exactly(twice) == exactly(whole)
    else:
        assert at(twice, path) == pytest.approx(at(whole, path))


@settings(deadline=None)
@given(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1), st.sampled_from(["$inc", "$mul"]))
def test_whole_numbers_are_exact_or_refused(value: int, operand: int, operator: str) -> None:
    right = value + operand if operator == "$inc" else value * operand
    update = compile_update({operator: {"n": operand}})
    if -(2**63) <= right < 2**63:
        assert exactly(update.apply({"n": value})) == exactly({"n": right})
    else:
        with pytest.raises(UpdateFailed, match="64 bits"):
            update.apply({"n": value})


@settings(deadline=None)
@given(records, places)
def test_what_is_removed_is_gone_and_removing_never_fails(record: Any, path: str) -> None:
    before = copy.deepcopy(record)
    update = compile_update({"$unset": [path]})
    once = update.apply(record)
    assert record == before
    assert update.apply(once) == once
    if "." not in path:
        assert once == {name: value for name, value in record.items() if name != path}


@settings(deadline=None)
@given(records, st.lists(values, max_size=3), values)
def test_pushing_each_is_pushing_one_by_one(record: Any, elements: list[Any], value: Any) -> None:
    assume(not (isinstance(record.get("a", []), dict | str | int | float) or record.get("a", []) is None))
    whole = compile_update({"$push": {"a": {"$each": [*elements, value]}}}).apply(record)
    for element in [*elements, value]:
        record = compile_update({"$push": {"a": element}}).apply(record)
    assert record == whole


@settings(deadline=None)
@given(records, st.dictionaries(names, values, min_size=1, max_size=3))
def test_names_are_set(record: Any, wanted: dict[str, Any]) -> None:
    update = {name: {"$literal": value} for name, value in wanted.items()}
    assert compile_update(wanted).apply(record) == compile_update(update).apply(record) == record | wanted
    assert compile_update({"$set": wanted}).apply(record) == record | wanted
