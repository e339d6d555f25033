"""Merges of stores of many pages: pages that are alike on both sides, partly alike, with gaps, and sides of very different sizes."""

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from btree import Conflict, Database, MemoryPager, Snapshot
from query import create_index, create_store, open_store
from query.joins import TYPES, join
from query.joins.readers import Reader
from query.stores.catalog import rows_tree
from query.values.keycode import encode

Key = Any
Row = dict[str, Any]


@contextmanager
def stores_of(**stores: Sequence[tuple[Key, Row]]) -> Iterator[Snapshot]:
    """Stores with these keys of k (in order) and rows."""
    with Database(MemoryPager(uuid.uuid4().hex)) as database:
        load(database, **stores)
        yield database.snapshot()


def load(database: Database, **stores: Sequence[tuple[Key, Row]]) -> None:
    """Make stores with these keys of k (in order) and rows."""

    def fill(transaction: Any) -> None:
        for name, rows in stores.items():
            create_store(transaction, name, primary_key=["k"])
            pairs = ((encode([key]), orjson.dumps({"k": key, **row})) for key, row in rows)
            transaction.tree(rows_tree(name)).load(pairs)

    database.transact(fill)


def expected_of(left: list[Row], right: list[Row], kind: str) -> list[Row]:
    """What a join by k gives, in the order of the left rows; right ones that match nothing come last."""
    found = {row["k"]: row for row in right if row["k"] is not None}
    rows: list[Row] = []
    for row in left:
        other = found.get(row["k"])
        if kind in ("semi", "anti"):
            rows += [{"left": row}] if (other is not None) == (kind == "semi") else []
        elif other is not None or kind in ("left", "full"):
            rows.append({"left": row, "right": other})
    if kind in ("right", "full"):
        known = {row["k"] for row in left if row["k"] is not None}
        rows += [{"left": None, "right": row} for row in right if row["k"] not in known or row["k"] is None]
    return rows


def in_order(rows: list[Row]) -> list[bytes]:
    return sorted(orjson.dumps(row) for row in rows)


def check(view: Snapshot, left: list[Row], right: list[Row]) -> None:
    """Every type by merging: as records, as JSON, as a count, and the keys."""
    for kind in TYPES:
        expected = expected_of(left, right, kind)
        query: dict[str, Any] = {"left": "l", "right": "r", "on": "k", "type": kind, "method": "merge"}
        joined = join(view, **query)
        chunks = b",\n".join(joined.json_chunks())
        found = orjson.loads(b"[%b]" % chunks)
        assert len(found) == len(chunks.split(b",\n")) if chunks else not found
        assert joined.returned == join(view, **query).count() == len(expected)
        if kind in ("right", "full"):
            assert in_order(found) == in_order(expected), kind
        else:
            assert found == expected, kind
        pairs = list(join(view, **query).pairs())
        assert [row for _, row in pairs] == found
        assert [key for key, _ in pairs] == [encode([row["left"]["k"]]) if row["left"] else b"" for row in found]


runs = st.lists(
    st.tuples(st.integers(0, 900), st.integers(1, 500), st.sampled_from([1, 1, 1, 2, 7, 60])), min_size=1, max_size=4
)


def numbers_of(some: list[tuple[int, int, int]]) -> list[int]:
    return sorted({number for start, length, step in some for number in range(start, start + length, step)})


@settings(max_examples=20, deadline=None)
@given(runs, runs, st.sampled_from([0, 30, 200]), st.sampled_from(["numbers", "floats", "texts", "odd texts"]))
def test_stretches_that_are_alike_and_gaps(
    left: list[tuple[int, int, int]], right: list[tuple[int, int, int]], pad: int, kind: str
) -> None:
    """Keys of one length and of several; 1 and 1.0; pages that end at other rows."""
    key = {
        "numbers": lambda number: number,
        "floats": float,
        "texts": lambda number: f"key {number:05d}",
        "odd texts": lambda number: f"{number:04d}" + "\x00é" * (number % 3),
    }[kind]
    lefts = [(number if kind == "floats" else key(number), {"a": number % 3}) for number in numbers_of(left)]
    rights = [(key(number), {"b": "x" * pad + str(number)}) for number in numbers_of(right)]
    with stores_of(l=lefts, r=rights) as view:
        check(view, [{"k": k, **row} for k, row in lefts], [{"k": k, **row} for k, row in rights])


MIXED: list[Key] = [None, False, True, *range(-5, 700), *(f"{at:03d}" for at in range(300)), [None], [1]]


@pytest.mark.parametrize("without", [set(), {3, 400}, {0}, {1, 2}, set(range(100, 600))])
def test_keys_of_all_types_and_a_null_that_matches_nothing(without: set[int]) -> None:
    lefts = [(key, {"a": at}) for at, key in enumerate(MIXED)]
    rights = [(key, {"b": "y" * (at % 40)}) for at, key in enumerate(MIXED) if at not in without]
    rows = [{"k": orjson.dumps(key).decode(), **row} for key, row in lefts]
    others = [{"k": orjson.dumps(key).decode(), **row} for key, row in rights]
    matching = {row["k"] for row in rows} & {row["k"] for row in others} - {"null"}
    with stores_of(l=lefts, r=rights) as view:
        for kind, count in (
            ("inner", len(matching)),
            ("semi", len(matching)),
            ("left", len(rows)),
            ("anti", len(rows) - len(matching)),
            ("right", len(others)),
            ("full", len(rows) + len(others) - len(matching)),
        ):
            merged = list(join(view, left="l", right="r", on="k", type=kind, method="merge"))
            assert len(merged) == count
            assert in_order(merged) == in_order(list(join(view, left="l", right="r", on="k", type=kind, method="hash")))


def test_booleans_and_a_null_have_keys_of_one_byte() -> None:
    """A page with nothing but these looks alike on both sides; the nulls do not match."""
    rows: list[tuple[Key, Row]] = [(None, {}), (False, {}), (True, {})]
    with stores_of(l=rows, r=rows) as view:
        found = [row["left"]["k"] for row in join(view, left="l", right="r", on="k", method="merge")]
        assert found == [False, True]
        (row,) = join(view, left="l", right="r", on="k", type="anti", method="merge")
        assert row == {"left": {"k": None}}
        whole = join(view, left="l", right="r", on="k", type="full", method="merge")
        full = [(row["left"], row["right"]) for row in whole]
        assert len(full) == 4
        assert ({"k": None}, None) in full
        assert (None, {"k": None}) in full


def test_large_rows_and_small_ones() -> None:
    lefts = [(at, {"a": "z" * (9000 if 100 < at < 130 else 20)}) for at in range(2000)]
    rights = [(at, {"b": "z" * (5000 if at % 50 == 0 else 3)}) for at in range(2000)]
    with stores_of(l=lefts, r=rights) as view:
        check(view, [{"k": k, **row} for k, row in lefts], [{"k": k, **row} for k, row in rights])


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.integers(-50, 6100), max_size=60, unique=True).map(sorted),
    st.lists(st.tuples(st.integers(0, 6000), st.integers(1, 40)), max_size=2),
)
def test_few_rows_among_many(some: list[int], dense: list[tuple[int, int]]) -> None:
    """Sparse rows with stretches between them where every key is there."""
    numbers = sorted({*some, *(number for start, length in dense for number in range(start, start + length))})
    few: list[tuple[Key, Row]] = [(at, {"f": at}) for at in numbers]
    with stores_of(l=MANY, r=few) as view:
        check(view, [{"k": k, **row} for k, row in MANY], [{"k": k, **row} for k, row in few])
    with stores_of(l=few, r=MANY) as view:
        check(view, [{"k": k, **row} for k, row in few], [{"k": k, **row} for k, row in MANY])


MANY: list[tuple[Key, Row]] = [(at, {"m": "m" * 20}) for at in range(6000) if at % 11]


def test_few_rows_are_looked_up_and_a_dense_stretch_is_read() -> None:
    few: list[tuple[Key, Row]] = [(at, {}) for at in [*range(1, 3000, 150), *range(3001, 4000), *range(4100, 6000, 90)]]
    with stores_of(l=MANY, r=few) as view:
        joined = join(view, left="l", right="r", on="k", method="merge")
        assert [row["left"]["k"] for row in joined] == [key for key, _ in few if key % 11]
        plan = joined.plan
        assert 20 <= plan["lookups"] <= len(few)
        assert plan["left"]["rows_read"] < 4000


@pytest.mark.parametrize("kind", ["inner", "semi", "left", "anti"])
def test_looked_up_rows_pass_the_filter_of_their_side(kind: str) -> None:
    few: list[tuple[Key, Row]] = [(at, {"f": at % 2}) for at in range(0, 6000, 170)]
    rows: list[tuple[Key, Row]] = [(at, {"n": at % 4, "m": "m" * 20}) for at in range(6000)]
    with stores_of(few=few, many=rows) as view:
        for left, right in (("few", "many"), ("many", "few")):
            sides = {
                name: {"store": name, "filter": {"n": {"$lte": 1}, "k": {"$lt": 5000}} if name == "many" else {"f": 0}}
                for name in ("few", "many")
            }
            query: dict[str, Any] = {"left": sides[left], "right": sides[right], "on": "k", "type": kind}
            merged = list(join(view, **query, method="merge"))
            assert in_order(merged) == in_order(list(join(view, **query, method="hash")))
            assert merged


@pytest.mark.parametrize("kind", ["semi", "anti"])
def test_reading_on_behind_a_key_within_looked_up_rows(kind: str) -> None:
    few: list[tuple[Key, Row]] = [(at, {}) for at in range(1, 6000, 170)]
    with stores_of(l=MANY, r=few) as view:
        query: dict[str, Any] = {"left": "l", "right": "r", "on": "k", "type": kind, "method": "merge"}
        whole = list(join(view, **query).pairs())
        for at in (0, 7, len(whole) - 2):
            assert list(join(view, **query).pairs(whole[at][0])) == whole[at + 1 :]


def test_a_key_that_was_looked_up_and_was_not_there_counts_as_read() -> None:
    few: list[tuple[Key, Row]] = [(at, {}) for at in range(0, 6000, 110)]  # none of them is among MANY
    with Database(MemoryPager(uuid.uuid4().hex)) as database:

        def fill(transaction: Any) -> None:
            for name, rows in (("l", MANY), ("r", few)):
                create_store(transaction, name, primary_key=["k"])
                pairs = ((encode([key]), orjson.dumps({"k": key, **row})) for key, row in rows)
                transaction.tree(rows_tree(name)).load(pairs)
            create_store(transaction, "found", primary_key=["k"])

        database.transact(fill)
        for added, conflicts in ((3299, False), (3300, True)):  # between two keys that were looked up, and one of them
            reader = database.begin(f"reader {added}")
            joined = join(reader, left="l", right="r", on="k", method="merge")
            number = joined.count()
            assert joined.plan["lookups"] > 0
            open_store(reader, "found").upsert({"k": added, "n": number})
            database.transact(lambda t, added=added: open_store(t, "l").upsert({"k": added}))  # type: ignore[misc]
            if conflicts:
                with pytest.raises(Conflict):
                    reader.commit()
            else:
                reader.commit()
        transaction = database.begin("own writes")
        open_store(transaction, "l").upsert({"k": 4400})
        again = join(transaction, left="l", right="r", on="k", method="merge")
        assert [row["left"] for row in again] == [{"k": 3300}, {"k": 4400}]
        transaction.rollback()


keys = st.lists(st.integers(0, 3000), max_size=80).map(sorted)


@settings(max_examples=30, deadline=None)
@given(keys, st.sampled_from([0, 100]))
def test_many_values_are_those_that_one_gets_one_by_one(wanted: list[int], pad: int) -> None:
    rows: list[tuple[Key, Row]] = [(at, {"p": "p" * pad}) for at in range(0, 2900, 3)]
    with stores_of(l=rows) as view:
        tree = view.tree(rows_tree("l"))
        some = [encode([key]) for key in wanted]
        assert tree.get_many(some) == [tree.get(key) for key in some]


def indexed(database: Database, name: str, keys: Sequence[Key]) -> None:
    """A store whose rows have these values in the indexed field k."""

    def fill(transaction: Any) -> None:
        store = create_store(transaction, name, primary_key=["id"])
        for number, key in enumerate(keys):
            store.add({"id": number, "k": key})
        create_index(transaction, name, ["k"])

    database.transact(fill)


def test_a_semi_join_gives_a_row_once_where_the_right_rows_of_a_key_are_on_two_pages() -> None:
    wanted = range(0, 20_000, 2000)
    with Database(MemoryPager(uuid.uuid4().hex)) as database:
        load(database, left=[(number, {}) for number in range(20_000)])
        indexed(database, "right", [key for key in wanted for _ in range(3)])
        joined = join(database.snapshot(), left="left", right="right", on="k", type="semi", method="merge")
        assert [row["left"]["k"] for row in joined] == list(wanted)
        assert joined.plan["lookups"] > 0


@pytest.mark.parametrize("kind", ["inner", "left", "semi", "anti"])
def test_a_side_jumps_over_its_nulls_and_not_back_to_them(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The left row with a null is waited for with very many right ones."""
    opened = count()

    def open_at(reader: Reader, join: bytes) -> None:
        assert next(opened) < 10, "it jumps for ever"
        jump(reader, join)

    jump = Reader.open_at
    monkeypatch.setattr(Reader, "open_at", open_at)
    with Database(MemoryPager(uuid.uuid4().hex)) as database:
        indexed(database, "left", [None, 1, 2])
        indexed(database, "right", [None] * 2000 + [2, 3])
        joined = join(database.snapshot(), left="left", right="right", on="k", type=kind, method="merge")
        expected = {"inner": [2], "semi": [2], "left": [None, 1, 2], "anti": [None, 1]}
        assert [row["left"]["k"] for row in joined] == expected[kind]
