"""aggregate against a plain Python oracle, against SQLite, and against itself with budgets of any size."""

import gc
import sqlite3
import tracemalloc
from collections.abc import Iterator, Mapping
from fractions import Fraction
from functools import cmp_to_key
from math import isclose
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from query.aggregates.aggregate import OPERATIONS, aggregate, check_aggregate, fields_used
from query.errors import InvalidKeyValue, InvalidQuery, QueryError, UnknownOperator
from query.filters.predicates import compile_filter, equal
from tests.query.test_sorting import compare, open_files, values

numbers = st.one_of(
    st.integers(-4, 4),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0.1, 0.2, 1e16, -1e16, 1.0, 2.0**53, 2**53 + 1, 1e308, -1e308, 1.7e308, 5e-324, -0.0]),
)
small = st.one_of(
    st.none(), st.booleans(), st.integers(0, 2), st.sampled_from([1.0, "x", "", [1], [True], {"a": 1}, {"a": 1.0}])
)
rows = st.lists(
    st.fixed_dictionaries(
        {"g": small, "n": st.one_of(st.none(), numbers)},
        optional={"h": small, "v": values, "o": st.fixed_dictionaries({}, optional={"n": numbers, "g": small})},
    ),
    max_size=25,
)
EVERYTHING: dict[str, Any] = {
    "rows": "count",
    "some": {"op": "count", "value": "v"},
    "few": {"op": "count", "where": {"g": 1}},
    "sum": {"op": "sum", "value": "n"},
    "avg": {"op": "avg", "value": "n"},
    "inner": {"op": "sum", "value": "o.n", "where": {"n": {"$gt": 0}}},
    "least": {"op": "min", "value": "v"},
    "most": {"op": "max", "value": "v"},
    "high": {"op": "max", "value": "n"},
    "kinds": {"op": "distinct", "value": "v"},
    "kind_count": {"op": "count_distinct", "value": "v"},
    "hs": {"op": "distinct", "value": "h"},
}
groupings = st.sampled_from([[], ["g"], ["h", "g"], ["o.g AS g2"], ["g", "o.g", "h"]])


def run(found: list[dict[str, Any]], wanted: Mapping[str, Any], group_by: list[str], **options: Any) -> Any:
    """The result as JSON text, so that 1, 1.0 and true differ, and so do the names' orders; or the error."""
    try:
        return msgspec.json.encode(list(aggregate(iter(found), values=wanted, group_by=group_by, **options)))
    except QueryError as error:
        return error.to_dict()


def at(row: Any, path: str) -> Any:
    for name in path.split("."):
        row = row.get(name) if isinstance(row, dict) else None
    return row


def oracle(found: list[dict[str, Any]], entry: Any) -> Any:
    """One value over the rows of one group, the slow way."""
    entry = {"op": entry} if isinstance(entry, str) else entry
    matches = compile_filter(entry.get("where")) or (lambda row: True)
    held = [at(row, entry["value"]) if "value" in entry else row for row in found if matches(row)]
    held = [value for value in held if value is not None]
    if entry["op"] == "count":
        return len(held)
    if entry["op"] in ("sum", "avg"):
        total = sum(map(Fraction, held), Fraction(0))
        if entry["op"] == "avg":
            return float(total / len(held)) if held else None
        return float(total) if float in map(type, held) else int(total)
    if entry["op"] in ("min", "max"):
        better = -1 if entry["op"] == "min" else 1
        best = held[0] if held else None
        for value in held:
            best = value if compare(value, best) * better > 0 else best
        return best
    different: list[Any] = []
    for value in held:
        if not any(equal(value, other) for other in different):
            different.append(value)
    different.sort(key=cmp_to_key(compare))
    return different if entry["op"] == "distinct" else len(different)


def oracle_rows(found: list[dict[str, Any]], wanted: Mapping[str, Any], group_by: list[str]) -> list[dict[str, Any]]:
    fields = [(text.split()[-1], text.split()[0]) for text in group_by]
    groups: list[tuple[list[Any], list[dict[str, Any]]]] = [] if fields else [([], [])]
    for row in found:
        key = [at(row, path) for _, path in fields]
        for other, members in groups:
            if equal(key, other):
                members.append(row)
                break
        else:
            groups.append((key, [row]))
    groups.sort(key=cmp_to_key(lambda left, right: compare(left[0], right[0])))
    return [
        {name: value for (name, _), value in zip(fields, key, strict=True)}
        | {name: oracle(members, entry) for name, entry in wanted.items()}
        for key, members in groups
    ]


@settings(max_examples=400, deadline=None)
@given(rows, groupings, st.sampled_from([0, 3_000, 10_000, 1 << 20]))
def test_as_the_oracle_does_whatever_the_budget(found: list[dict[str, Any]], group_by: list[str], budget: int) -> None:
    result = run(found, EVERYTHING, group_by, budget_bytes=budget)
    try:
        wanted = oracle_rows(found, EVERYTHING, group_by)
        fits = all(
            -(2**63) <= row[name] < 2**64 or isinstance(row[name], float) for row in wanted for name in ("sum", "inner")
        )
    except OverflowError:
        fits = False
    if fits:
        assert result == msgspec.json.encode(wanted)
    else:
        assert result["code"] == "invalid_query" and result["pointer"] in ("/values/sum/value", "/values/inner/value")


@settings(max_examples=300, deadline=None)
@given(st.lists(numbers, max_size=120), st.randoms(use_true_random=False))
def test_sums_do_not_depend_on_the_order(found: list[Any], random: Random) -> None:
    wanted = {"s": {"op": "sum", "value": "n"}, "a": {"op": "avg", "value": "n"}}
    result = run([{"n": number} for number in found], wanted, [])
    random.shuffle(found)
    assert run([{"n": number} for number in found], wanted, [], budget_bytes=2_000) == result


@pytest.mark.parametrize(
    ("found", "total"),
    [
        ([0.1] * 10, 1.0), ([1e16, 1.0, -1e16], 1.0), ([1e308] * 40 + [-1e308] * 40 + [0.5], 0.5), ([2**64 - 1, -1, 1], 2**64 - 1),
        ([2**63, 2**63, -(2**63)], 2**63), ([], 0), ([None], 0), ([1, 2.0], 3.0), ([0.0], 0.0), ([2**53 + 1, 0.0], 2.0**53), ([-0.0], 0.0),
    ],
)  # fmt: skip
def test_sums_are_exact(found: list[Any], total: Any) -> None:
    (row,) = aggregate([{"n": number} for number in found], values={"s": {"op": "sum", "value": "n"}})
    assert repr(row["s"]) == repr(total)


@pytest.mark.parametrize(
    "found",
    [[2**64 - 1, 1], [-(2**63), -1], [1.7e308, 1.7e308], [1e308] * 40, [float("nan")] * 20, [float("inf"), 1.0]],
)
def test_a_sum_that_no_json_number_holds_is_an_error(found: list[Any]) -> None:
    for budget in (0, 1 << 20):
        result = run([{"n": number} for number in found], {"s/t": {"op": "sum", "value": "n"}}, [], budget_bytes=budget)
        assert result["code"] == "invalid_query" and result["pointer"] == "/values/s~1t/value"


def test_an_average_is_rounded_once() -> None:
    found = [0.1, 0.2, 0.2]
    (row,) = aggregate([{"n": number} for number in found], values={"a": {"op": "avg", "value": "n"}})
    assert row["a"] == float(sum(map(Fraction, found)) / 3) != sum(found) / 3


@pytest.mark.parametrize("budget", [0, 1 << 20])
@pytest.mark.parametrize("found", [[1, 1.0, 1], [1.0, 1, 1.0], [[1.0], [1], [1]], [{"a": 1.0}, {"a": 1}]])
def test_the_first_of_equal_values_is_shown(found: list[Any], budget: int) -> None:
    wanted = {"d": {"op": "distinct", "value": "g"}, "l": {"op": "min", "value": "g"}, "m": {"op": "max", "value": "g"}}
    first = found[0]
    assert run([{"g": value} for value in found], wanted, ["g"], budget_bytes=budget) == msgspec.json.encode(
        [{"g": first, "d": [first], "l": first, "m": first}]
    )


def test_an_average_of_numbers_too_large_to_add() -> None:
    (row,) = aggregate([{"n": 1.7e308}] * 3, values={"a": {"op": "avg", "value": "n"}})
    assert row == {"a": 1.7e308}


@pytest.mark.parametrize(
    ("value", "kind"), [("7", "text"), (True, "true or false"), ([1], "a list"), ({"a": 1}, "an object")]
)
def test_a_sum_takes_numbers_only(value: Any, kind: str) -> None:
    for op in ("sum", "avg"):
        result = run([{"o": {"n": 1}}, {"o": {"n": value}}], {"total": {"op": op, "value": "o.n"}}, [])
        assert result["pointer"] == "/values/total/value"
        assert "o.n" in result["message"] and kind in result["message"]
        assert result["details"] == {"field": "o.n", "type": kind}


@pytest.mark.parametrize(
    "entry", [{"op": "min", "value": "n"}, {"op": "max", "value": "n"}, {"op": "distinct", "value": "n"}]
)
@pytest.mark.parametrize("found", [[float("nan")], [1.0, float("nan")], [float("inf")]])
def test_what_is_no_json_number_is_an_error(entry: Any, found: list[float]) -> None:
    for budget in (0, 1 << 20):
        with pytest.raises(InvalidKeyValue):
            list(aggregate([{"n": number} for number in found], values={"v": entry}, budget_bytes=budget))


def test_no_rows() -> None:
    wanted = {
        name: entry
        for name, entry in EVERYTHING.items()
        if name in ("rows", "sum", "avg", "least", "most", "kinds", "kind_count")
    }
    assert list(aggregate([], values=wanted)) == [
        {"rows": 0, "sum": 0, "avg": None, "least": None, "most": None, "kinds": [], "kind_count": 0}
    ]
    assert list(aggregate([], values=wanted, group_by=["g"])) == []


def test_groups_without_values_are_the_different_ones() -> None:
    found = [{"g": 2}, {"g": True}, {}, {"g": 1.0}, {"g": 1}, {"g": None}, {"g": "a"}]
    assert msgspec.json.encode(list(aggregate(found, values={}, group_by=["g"]))) == (
        b'[{"g":null},{"g":true},{"g":1.0},{"g":2},{"g":"a"}]'
    )


@pytest.mark.parametrize(
    ("wanted", "group_by", "pointer", "hint"),
    [
        ({"n": {"op": "summ", "value": "a"}}, [], "/values/n/op", "did you mean 'sum'?"),
        ({"n": {"op": "average", "value": "a"}}, [], "/values/n/op", "did you mean 'avg'?"),
        ({"n": {"op": "collect", "value": "a"}}, [], "/values/n/op", "the operations are"),
        ({"n": {"op": ["sum"], "value": "a"}}, [], "/values/n/op", "the operations are"),
        ({"n": {"value": "a"}}, [], "/values/n/op", "the operations are"),
        ({"n": {"op": "sum"}}, [], "/values/n/value", "field"),
        ({"n": "sum"}, [], "/values/n/value", "field"),
        ({"n": {"op": "sum", "value": 7}}, [], "/values/n/value", None),
        ({"n": {"op": "sum", "value": "a..b"}}, [], "/values/n/value", None),
        ({"n": {"op": "sum", "value": "a", "filter": {}}}, [], "/values/n/filter", "the members are"),
        ({"n": {"op": "sum", "valeu": "a"}}, [], "/values/n/valeu", "did you mean 'value'?"),
        ({"n": {"op": "count", "where": {"a": {"$gtt": 1}}}}, [], "/values/n/where/a/$gtt", "did you mean"),
        ({"n": {"op": "count", "where": [1]}}, [], "/values/n/where", None),
        ({"n": 7}, [], "/values/n", "write"),
        ({"": "count"}, [], "/values", None),
        (["count"], [], "/values", "write"),
        ({}, [], "/values", "give"),
        ({"n": "count"}, "a", "/group_by", None),
        ({"n": "count"}, ["a", "b as"], "/group_by/1", None),
        ({"n": "count"}, [7], "/group_by/0", None),
        ({"n": "count"}, ["a", "b AS a"], "/group_by/1", "AS"),
        ({"n": "count"}, ["n"], "/values/n", "AS"),
        ({"n": "count"}, [".a"], "/group_by/0", None),
    ],
)  # fmt: skip
def test_what_is_no_query_is_refused_before_the_first_row(
    wanted: Any, group_by: Any, pointer: str, hint: str | None
) -> None:
    def unread() -> Iterator[dict[str, Any]]:
        raise AssertionError("read")
        yield

    for work in (
        lambda: aggregate(unread(), values=wanted, group_by=group_by),
        lambda: check_aggregate(wanted, group_by),
    ):
        with pytest.raises((InvalidQuery, UnknownOperator)) as caught:
            work()
        assert caught.value.pointer == pointer
        assert hint is None or hint in (caught.value.hint or "")


def test_the_fields_that_a_query_reads() -> None:
    wanted = {
        "n": "count",
        "s": {
            "op": "sum",
            "value": "a.b",
            "where": {"c.d": 1, "$or": [{"e": 1}, {"$not": {"f": 2}}], "g": {"$not": {"$gt": 1}}},
        },
    }
    assert fields_used(wanted, ["h", "i.j AS k"]) == {"a", "c", "e", "f", "g", "h", "i"}
    assert fields_used({"n": "count"}) == set()


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.one_of(st.none(), st.sampled_from(["a", "b", "ä", "\U00010000", "\uffff"])),
            st.one_of(st.none(), st.integers(-3, 3), st.sampled_from([0.5, 1.0])),
            st.one_of(st.none(), st.integers(-(10**9), 10**9), st.floats(-1e6, 1e6)),
        ),
        max_size=60,
    ),
    st.sampled_from([0, 1 << 20]),
)
def test_as_sqlite_does(found: list[tuple[Any, ...]], budget: int) -> None:
    database = sqlite3.connect(":memory:")
    database.execute("create table t (g, h, n)")
    database.executemany("insert into t values (?, ?, ?)", found)
    wanted = {
        "rows": "count",
        "some": {"op": "count", "value": "n"},
        "positive": {"op": "count", "where": {"n": {"$gt": 0}}},
        "sum": {"op": "sum", "value": "n"},
        "avg": {"op": "avg", "value": "n"},
        "min": {"op": "min", "value": "n"},
        "max": {"op": "max", "value": "n"},
        "kinds": {"op": "count_distinct", "value": "n"},
    }
    columns = "count(*), count(n), count(*) filter (where n > 0), coalesce(sum(n), 0), avg(n), min(n), max(n), count(distinct n)"
    records = [{"g": g, "h": h, "n": n} for g, h, n in found]
    for names in ([], ["g"], ["h"], ["g", "h"]):
        listed = ", ".join(names)
        text = f"select {', '.join([*names, columns])} from t" + (
            f" group by {listed} order by {listed}" if names else ""
        )
        theirs = database.execute(text).fetchall()
        ours = [tuple(row.values()) for row in aggregate(records, values=wanted, group_by=names, budget_bytes=budget)]
        assert len(ours) == len(theirs)
        for one, two in zip(ours, theirs, strict=True):
            assert all(same(left, right) for left, right in zip(one, two, strict=True)), (one, two)
    database.close()


def same(left: Any, right: Any) -> bool:
    if isinstance(left, int | float) and isinstance(right, int | float):
        return isclose(left, right, rel_tol=1e-9, abs_tol=1e-6)
    return bool(left == right)


def many(count: int) -> Iterator[dict[str, Any]]:
    random = Random(3)
    for place in range(count):
        yield {
            "g": f"group {random.randrange(count)}",
            "h": place % 3,
            "n": random.random(),
            "t": f"text {random.randrange(count)}",
        }


@pytest.mark.parametrize(
    ("wanted", "group_by", "expected"),
    [
        ({"n": "count", "s": {"op": "avg", "value": "n"}, "m": {"op": "max", "value": "t"}}, ["g"], None),
        ({"n": {"op": "count_distinct", "value": "t"}}, [], 1),
        ({"n": {"op": "count_distinct", "value": "t"}, "l": {"op": "count_distinct", "value": "n"}}, ["h"], 3),
    ],
)
def test_memory_stays_within_the_budget(wanted: Any, group_by: list[str], expected: int | None, tmp_path: Path) -> None:
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        result = aggregate(many(20_000), values=wanted, group_by=group_by, budget_bytes=1 << 20, folder=tmp_path)
        count = sum(1 for _ in result)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == (expected or len({row["g"] for row in many(20_000)}))
    assert peak - before < 1.1 * (1 << 20)
    assert list(tmp_path.iterdir()) == []


def test_a_result_that_is_left_early_leaves_nothing() -> None:
    before = open_files()
    result = aggregate(many(3_000), values={"n": "count"}, group_by=["g"], budget_bytes=10_000)
    next(result)
    assert open_files() == (before and before + 1)
    result.close()  # type: ignore[attr-defined]
    assert open_files() == before


def test_every_operation_is_here() -> None:
    assert {entry["op"] for entry in EVERYTHING.values() if isinstance(entry, dict)} == set(OPERATIONS)
