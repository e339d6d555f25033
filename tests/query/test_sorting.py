"""Sorting: keys against a reference comparison, rows against sorted(), in memory and on disk alike."""

import gc
import tracemalloc
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from query.errors import InvalidKeyValue, InvalidQuery
from query.filters.predicates import equal
from query.sorting import spill
from query.sorting.sorting import OrderItem, parse_order, sort_key, sorted_rows
from query.sorting.spill import Spill
from query.values import keycode
from query.values.boxes import Boxed, box, encode_value

numbers = st.one_of(
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-3, 3),
    st.sampled_from(
        [
            2**53,
            2**53 + 1,
            2.0**53,
            2.0**63,
            2**63,
            2**64 - 1,
            2.0**64,
            -0.0,
            0.0,
            5e-324,
            -5e-324,
            1.0,
            0.5,
            1 - 2**53,
            -(2**53),
            -(2**53) - 1,
            1.7976931348623157e308,
            -1.7976931348623157e308,
        ]
    ),
)
scalars = st.one_of(
    st.none(), st.booleans(), numbers, st.text(max_size=3), st.sampled_from(["a\x00", "a\x00b", "\uffff", "\U00010000"])
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["a", "b", ""]), inner, max_size=2)
    ),
    max_leaves=5,
)


def rank(value: Any) -> int:
    if isinstance(value, bool):
        return 1 + value
    return next(place for kind, place in RANKS if isinstance(value, kind))


RANKS = ((type(None), 0), (int | float, 3), (str, 4), (list, 5), (dict, 6))


def compare(left: Any, right: Any) -> int:
    """The language's order of values, written down once more: below zero, zero or above."""
    if rank(left) != rank(right):
        return rank(left) - rank(right)
    if isinstance(left, list):
        for one, two in zip(left, right, strict=False):
            if found := compare(one, two):
                return found
        return len(left) - len(right)
    if isinstance(left, dict):
        return compare(
            [part for item in sorted(left.items()) for part in item],
            [part for item in sorted(right.items()) for part in item],
        )
    return 0 if left is None or left == right else -1 if left < right else 1


def sign(number: int) -> int:
    return (number > 0) - (number < 0)


def order_of(left: Any, right: Any) -> int:
    return (left > right) - (left < right)


@settings(max_examples=1500, deadline=None)
@given(values, values)
def test_encodings_sort_as_the_values_do(left: Any, right: Any) -> None:
    one, two = encode_value(left), encode_value(right)
    assert order_of(one, two) == sign(compare(left, right))
    assert (one == two) == equal(left, right)
    assert (box(left) == box(right)) == equal(left, right)
    assert one == two or not one.startswith(two), "no encoding is the beginning of another"


@settings(max_examples=1000, deadline=None)
@given(st.recursive(scalars, lambda inner: st.lists(inner, max_size=3), max_leaves=4))
def test_what_keys_take_is_written_as_in_keys(value: Any) -> None:
    assert encode_value(value) == keycode.encode([value])


@settings(max_examples=1000, deadline=None)
@given(
    st.lists(st.fixed_dictionaries({}, optional={"a": values, "b": values}), min_size=2, max_size=2),
    st.permutations(["a", "b"]),
    st.lists(st.booleans(), min_size=2, max_size=2),
)
def test_sort_keys_compare_the_fields_one_by_one(
    records: list[dict[str, Any]], names: list[str], down: list[bool]
) -> None:
    order = tuple(OrderItem(name, descending) for name, descending in zip(names, down, strict=True))
    wanted = 0
    for item in order:
        found = sign(compare(records[0].get(item.name), records[1].get(item.name)))
        wanted = wanted or (-found if item.descending else found)
    assert order_of(sort_key(records[0], order), sort_key(records[1], order)) == wanted


def test_dotted_paths_enter_objects_only() -> None:
    order = parse_order("a.b")
    assert sort_key({"a": {"b": 1}}, order) == encode_value(1)
    for record in ({}, {"a": None}, {"a": [1]}, {"a": {"c": 1}}, {"a.b": 1}):
        assert sort_key(record, order) == encode_value(None)


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), 2**64, -(2**63) - 1, "\ud800", b"x", [b"x"], {"a": float("nan")}]
)
def test_what_is_no_json_value_has_no_place(value: Any) -> None:
    with pytest.raises(InvalidKeyValue):
        encode_value(value)
    if isinstance(value, list | dict):
        with pytest.raises(InvalidKeyValue):
            Boxed(value)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (None, []), ("", []), ([], []),
        ("a", [("a", False)]), ("-a", [("a", True)]), (" a  DESC ", [("a", True)]), ("a asc", [("a", False)]),
        (["a.b desc", "-c", "d"], [("a.b", True), ("c", True), ("d", False)]),
    ],
)  # fmt: skip
def test_the_forms_of_an_order(text: Any, wanted: list[tuple[str, bool]]) -> None:
    assert [(item.name, item.descending) for item in parse_order(text)] == wanted


@pytest.mark.parametrize(
    ("text", "pointer"),
    [
        (7, "/order_by"), ({"a": 1}, "/order_by"), ([7], "/order_by/0"), (["a", " "], "/order_by/1"), ("a down", "/order_by"),
        ("a desc, b", "/order_by"), (["a", "a desc"], "/order_by/1"), ("-a desc", "/order_by"), ("a..b", "/order_by"), ("-", "/order_by"),
    ],
)  # fmt: skip
def test_what_is_no_order(text: Any, pointer: str) -> None:
    with pytest.raises(InvalidQuery) as caught:
        parse_order(text)
    assert caught.value.pointer == pointer


def test_the_caller_says_where_the_order_stands() -> None:
    with pytest.raises(InvalidQuery) as caught:
        parse_order(["a up"], "/left/order_by")
    assert caught.value.pointer == "/left/order_by/0"


keys = st.lists(st.binary(max_size=2), max_size=80)


@settings(max_examples=300, deadline=None)
@given(keys, st.one_of(st.none(), st.integers(0, 90)), st.sampled_from([1, 700, 2000, 10_000, 1 << 20]))
def test_rows_come_sorted_and_equal_ones_as_they_came(found: list[bytes], limit: int | None, budget: int) -> None:
    rows = [(key, str(place).encode()) for place, key in enumerate(found)]
    wanted = sorted(rows, key=lambda row: row[0])[:limit]
    assert list(sorted_rows(iter(rows), limit=limit, budget_bytes=budget)) == wanted


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from([b"a", b"b", b"c"]), max_size=6), max_size=15),
    st.integers(2, 5),
    st.sampled_from([0, 80_000, 120_000, 1 << 20]),
)
def test_merging_many_runs_is_stable(parts: list[list[bytes]], fan_in: int, budget: int) -> None:
    runs = [
        [(key, b"%d/%d" % (index, place)) for place, key in enumerate(sorted(part))] for index, part in enumerate(parts)
    ]
    with pytest.MonkeyPatch.context() as patch, Spill(budget) as written:
        patch.setattr(spill, "FAN_IN", fan_in)
        for run in runs:
            written.write(run)
        merged = list(written.merged())
        assert written.run_count <= max(fan_in, 1)
    assert merged == sorted((row for run in runs for row in run), key=lambda row: row[0])


def test_more_runs_than_are_merged_at_once() -> None:
    keys = list(range(1000))
    Random(1).shuffle(keys)
    rows = [(key.to_bytes(2, "big"), b"%d" % key) for key in keys]
    assert list(sorted_rows(rows, budget_bytes=1000)) == sorted(rows)


@pytest.mark.parametrize("size", [0, 1, 70_000, 3_000_000])
def test_rows_larger_than_the_budget_survive(size: int) -> None:
    rows = [(bytes([key]) * size, bytes([key]) * (size + 1)) for key in (2, 1, 2, 0)]
    assert list(sorted_rows(rows, budget_bytes=10_000)) == sorted(rows, key=lambda row: row[0])


def random_rows(count: int) -> Iterator[tuple[bytes, bytes]]:
    random = Random(5)
    for place in range(count):
        yield encode_value(random.randrange(count)), msgspec.json.encode({"place": place, "text": "some text in here"})


@pytest.mark.parametrize("limit", [None, 10, 20_000])
def test_memory_stays_within_the_budget(limit: int | None, tmp_path: Path) -> None:
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        last, count = b"", 0
        for key, _ in sorted_rows(random_rows(100_000), limit=limit, budget_bytes=1 << 20, folder=tmp_path):
            assert last <= key
            last, count = key, count + 1
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == (limit or 100_000)
    assert peak - before < 1.1 * (1 << 20)


def open_files() -> int:
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else 0


def test_a_sort_that_is_left_early_leaves_nothing(tmp_path: Path) -> None:
    before = open_files()
    rows = sorted_rows(random_rows(5_000), budget_bytes=10_000, folder=tmp_path)
    assert len(list(islice(rows, 3))) == 3
    if before:
        assert open_files() == before + 1, "one file, however many runs"
    assert list(tmp_path.iterdir()) == [], "a file without a name"
    rows.close()  # type: ignore[attr-defined]
    assert open_files() == before


def test_rows_that_fail_leave_nothing() -> None:
    def failing() -> Iterator[tuple[bytes, bytes]]:
        yield from random_rows(1_000)
        raise ZeroDivisionError

    before = open_files()
    with pytest.raises(ZeroDivisionError):
        next(sorted_rows(failing(), budget_bytes=10_000))
    assert open_files() == before


def test_a_small_limit_never_touches_the_disk(tmp_path: Path) -> None:
    missing = tmp_path / "not there"
    rows = list(sorted_rows(random_rows(20_000), limit=50, budget_bytes=200_000, folder=missing))
    assert [key for key, _ in rows] == sorted(key for key, _ in random_rows(20_000))[:50]
    with pytest.raises(FileNotFoundError):
        next(sorted_rows(random_rows(20_000), budget_bytes=200_000, folder=missing))


def test_a_limit_of_nothing_reads_nothing() -> None:
    def unread() -> Iterator[tuple[bytes, bytes]]:
        raise AssertionError("read")
        yield

    assert list(sorted_rows(unread(), limit=0)) == []


def test_a_file_that_was_cut_is_noticed(tmp_path: Path) -> None:
    with Spill(0, tmp_path) as written:
        written.write([(b"a", b"1"), (b"b", b"2")])
        written._file.truncate(20)
        with pytest.raises(OSError, match="shorter"):
            list(written.merged())
