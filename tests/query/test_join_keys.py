"""Join keys: encoding many values at once, walking along keys, nulls, and rows as columns of texts."""

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from btree import Database, MemoryPager
from query import create_store
from query.errors import InvalidKeyValue
from query.joins import columns, hashing, join
from query.joins.columns import Shape, stretches
from query.joins.matching import Matcher
from query.joins.partitions import FAN_OUT, LEVELS, Partitions
from query.joins.sides import mark_nulls, null_places
from query.values import keycode

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.sampled_from(["", "\x00", "a\x00", "\x00\x00 ", "\x00 ", -0.0, 0, 2**53, 2**53 + 1]),
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab\x00"), inner, max_size=2)
)
alike = st.one_of(
    st.lists(st.text(st.characters(exclude_categories=["Cs"]))),
    st.lists(st.integers(0, 2**54) | st.floats(0, 1e300)),
    st.lists(values),
)


@settings(max_examples=300, deadline=None)
@given(alike)
def test_many_values_are_encoded_as_one_by_one(some: list[Any]) -> None:
    assert keycode.encode_many(some) == [keycode.encode_any(value) for value in some]


def test_what_is_no_text_is_refused_also_among_many() -> None:
    with pytest.raises(InvalidKeyValue):
        keycode.encode_many(["a", "\ud800"])


@settings(max_examples=300, deadline=None)
@given(st.lists(values, max_size=5), st.binary(max_size=3))
def test_walking_along_a_key(some: list[Any], before: bytes) -> None:
    parts = [keycode.encode_any(value) for value in some]
    key = before + b"".join(parts)
    for count in range(len(parts) + 1):
        assert keycode.skip(key, count, len(before)) == len(before) + sum(map(len, parts[:count]))


def test_what_is_no_key_cannot_be_walked() -> None:
    with pytest.raises(InvalidKeyValue):
        keycode.skip(b"\x77", 1)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(values, values), max_size=6), st.booleans())
def test_keys_with_a_null_are_found_and_keep_their_place(rows: list[tuple[Any, Any]], both: bool) -> None:
    chosen = [row if both else row[:1] for row in rows]
    joins = sorted(b"".join(keycode.encode_any(value) for value in row) for row in chosen)
    nulls = sorted(
        b"".join(keycode.encode_any(value) for value in row) for row in chosen if any(value is None for value in row)
    )
    count = 2 if both else 1
    assert [joins[at] for at in null_places(joins, count)] == nulls
    marked = mark_nulls(joins, count)
    assert marked == sorted(marked)
    assert not set(marked) & set(nulls)
    assert [join for join in marked if join in joins] == [join for join in joins if join not in nulls]


def test_a_stretch_holds_no_more_than_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "TEXTS", 100)
    shape = Shape.of(["a"], "b", chain=False)
    texts = [b'"%b"' % (b"x" * 30)] * 20
    parts = list(stretches(shape, [b""] * 20, texts, texts))
    assert sum(part.count for part in parts) == 20
    assert max(part.count for part in parts) == 1
    rows = orjson.loads(b"[" + b",".join(part.values_json for part in parts) + b"]")
    assert rows == [{"a": "x" * 30, "b": "x" * 30}] * 20


def test_one_row_that_meets_many_is_done_in_parts() -> None:
    matcher = Matcher("inner", Shape.of(["a"], "b", chain=False))
    group = [b"%d" % number for number in range(5000)]
    parts = list(matcher.match([b"k"], [b"0"], [b"j"], None, {b"j": group}))
    assert max(part.count for part in parts) <= 2 * columns.ROWS
    assert [text for part in parts for text in part.values()] == [b'{"a":0,"b":%b}' % text for text in group]


@pytest.mark.parametrize("chain", [True, False])
@pytest.mark.parametrize("right", [True, False])
def test_a_row_by_itself_is_that_of_the_run(chain: bool, right: bool) -> None:
    shape = Shape.of(["a"], "b", chain=chain)
    left = [b'{"a":1', b'{"a":2'] if chain else [b"1", b"2"]
    (part,) = stretches(shape, [b"", b""], left, [b"3", b"null"] if right else None)
    assert part.values() == part.values_json.split(b",\n") == [part.value(0), part.value(1)]
    assert orjson.loads(part.value(1)) == ({"a": 2, "b": None} if right else {"a": 2})


def rows_with(joins: list[bytes]) -> list[tuple[bytes, bytes, bytes]]:
    return [(join, b"key of " + join, b'"text"') for join in joins]


def test_partitions_give_back_what_they_took_and_each_level_divides_anew() -> None:
    joins = keycode.encode_many(list(range(5000)))
    with Partitions(10_000, 0) as first:
        first.fill(rows_with(joins))
        first.flush()
        found = [[row for rows in first.rows(number) for row in rows] for number in range(FAN_OUT)]
        assert sorted(row for rows in found for row in rows) == sorted(rows_with(joins))
        assert min(map(len, found)) > 50
        assert not any(part.single for part in first.parts)
        for level in range(1, LEVELS):
            with Partitions(10_000, level) as deeper:
                deeper.fill(found[3])
                deeper.flush()
                sizes = [sum(map(len, deeper.rows(number))) for number in range(FAN_OUT)]
                assert sum(sizes) == len(found[3])
                assert max(sizes) < len(found[3]) / 4


def test_a_partition_of_one_join_key_is_known() -> None:
    with Partitions(1000, 0) as partitions:
        partitions.fill(rows_with([b"a"] * 100))
        assert [part.single for part in partitions.parts] == [True] * FAN_OUT
        assert sum(part.size > 0 for part in partitions.parts) == 1


def test_a_partition_of_one_join_key_is_not_divided_again(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    class Counted(Partitions):
        def __init__(self, budget_bytes: int, level: int) -> None:
            made.append(level)
            super().__init__(budget_bytes, level)

    monkeypatch.setattr(hashing, "Partitions", Counted)
    with Database(MemoryPager("one key")) as database:
        transaction = database.begin("t")
        for name, count in (("a", 3), ("b", 500)):
            store = create_store(transaction, name, primary_key=["id"])
            for number in range(count):
                store.add({"id": number, "of": 1})
        assert join(transaction, left="a", right="b", on="of", method="hash", budget_bytes=2000).count() == 1500
        assert made == [0, 0]
        transaction.rollback()
