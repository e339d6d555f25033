"""Joins against a nested loop in plain Python and against SQLite: every type, method and budget, on random stores."""

import json
import sqlite3
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from btree import Database, MemoryPager, Snapshot
from query import InvalidQuery, create_index, create_store
from query.filters.predicates import compile_filter
from query.joins import METHODS, TYPES, Joined, join, lookup, merge
from query.values.values import MISSING, follow
from script.equality import equal

Record = dict[str, Any]

few = st.one_of(st.none(), st.booleans(), st.sampled_from([0, 1, 1.0, 2, 2.5, -1, "", "a", "a\x00b", [1], [None], "é"]))
plain = st.integers(0, 3)


def rows_of(key: st.SearchStrategy[Any], value: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Record]]:
    row = st.fixed_dictionaries(
        {"k": key, "n": st.integers(0, 3)},
        optional={
            "v": value,
            "w": value,
            "d": st.fixed_dictionaries({}, optional={"e": value}),
            "pad": st.just("x" * 700),
        },
    )
    return st.lists(row, max_size=40)


stores = st.one_of(rows_of(few, few), rows_of(plain, plain), rows_of(st.integers(0, 60), st.integers(0, 60)))
ons = st.sampled_from(
    [
        {"k": "k"},
        {"k": "k", "n": "n"},
        {"n": "n", "k": "k"},
        {"v": "v"},
        {"v": "k"},
        {"k": "v"},
        {"d.e": "v"},
        {"v": "d.e", "k": "w"},
        {"w": "w", "v": "v"},
        {"n": "n"},
        {"n": "k"},
        {"v": "v", "w": "v"},
    ]
)


@contextmanager
def database_of(**stores: tuple[Sequence[str], list[Record]]) -> Iterator[Snapshot]:
    """A database with these stores (key, records) and an index on v and on (w, v) of each."""
    with Database(MemoryPager(uuid.uuid4().hex)) as database:

        def fill(transaction: Any) -> None:
            for name, (key, rows) in stores.items():
                store = create_store(transaction, name, primary_key=key)
                for row in rows:
                    store.upsert(row)

                create_index(transaction, name, ["v"])
                create_index(transaction, name, ["w", "v"])

        database.transact(fill)
        yield database.snapshot()
        assert database.check().ok


def kept(key: Sequence[str], rows: list[Record]) -> list[Record]:
    """The last row of each key, as upserting leaves them."""
    found: list[Record] = []
    for row in rows:
        found = [other for other in found if not all(equal(other[name], row[name]) for name in key)]
        found.append(row)
    return found


def value(row: Any, path: str) -> Any:
    found = follow(row, path.split("."))
    return None if found is MISSING else found


def nested_loop(
    left: list[Record],
    right: list[Record],
    on: Mapping[str, str],
    kind: str,
    names: tuple[str, str] = ("left", "right"),
) -> list[Record]:
    """What the documentation says, in the plainest way."""
    one, other = names
    met: set[int] = set()
    rows: list[Record] = []
    for row in left:
        matches = [
            at
            for at, candidate in enumerate(right)
            if all(value(row, a) is not None and equal(value(row, a), value(candidate, b)) for a, b in on.items())
        ]
        met.update(matches)
        if kind in ("semi", "anti"):
            rows += [{one: row}] if bool(matches) == (kind == "semi") else []
            continue
        rows += [{one: row, other: right[at]} for at in matches]
        if not matches and kind in ("left", "full"):
            rows.append({one: row, other: None})
    if kind in ("right", "full"):
        rows += [{one: None, other: row} for at, row in enumerate(right) if at not in met]
    return rows


def bag(rows: Any) -> Counter[bytes]:
    return Counter(orjson.dumps(row, option=orjson.OPT_SORT_KEYS) for row in rows)


def possible(view: Snapshot, **query: Any) -> Iterator[Joined]:
    """The join by every method that can do it, with and without indexes, in memory and on disk."""
    yield join(view, **query)
    for method in METHODS:
        for indexes in (True, False):
            with suppress(InvalidQuery):
                yield join(view, **query, method=method, indexes=indexes)
    for budget in (1, 300, 2000):
        yield join(view, **query, method="hash", budget_bytes=budget)


@settings(max_examples=80, deadline=None)
@given(
    stores,
    stores,
    st.sampled_from([["k"], ["k", "n"], ["n", "k"]]),
    st.sampled_from([["k"], ["k", "n"], ["n", "k"]]),
    ons,
)
def test_every_way_to_join_is_the_nested_loop(
    left: list[Record], right: list[Record], left_key: list[str], right_key: list[str], on: dict[str, str]
) -> None:
    with database_of(a=(left_key, left), b=(right_key, right)) as view:
        left, right = kept(left_key, left), kept(right_key, right)
        for kind in TYPES:
            expected = bag(nested_loop(left, right, on, kind))
            for joined in possible(view, left="a", right="b", on=on, type=kind):
                assert bag(joined) == expected, (kind, joined.plan)
                assert joined.count() == expected.total()
                chunks = b",\n".join(joined.json_chunks())
                assert bag(orjson.loads(b"[%b]" % chunks)) == expected


projections = st.lists(
    st.sampled_from(["left.k", "left.v AS x", "right.v", "right.n AS 100%", "right.d.e", "left", "right", "left.d"]),
    min_size=1,
    max_size=4,
    unique=True,
)


@settings(max_examples=40, deadline=None)
@given(stores, stores, st.sampled_from(TYPES), projections)
def test_fields_are_those_of_the_whole_rows(
    left: list[Record], right: list[Record], kind: str, fields: list[str]
) -> None:
    if kind in ("semi", "anti"):
        fields = [field for field in fields if field.startswith("left")] or ["left"]
    with database_of(a=(["k"], left), b=(["k", "n"], right)) as view:
        wanted = [(field.split(" AS ")[-1], field.split(" ")[0]) for field in fields]
        query: dict[str, Any] = {"left": "a", "right": "b", "on": "k", "type": kind}
        expected = [{name: value(row, path) for name, path in wanted} for row in join(view, **query)]
        joined = join(view, **query, fields=fields)
        assert list(joined) == expected
        assert list(map(list, joined)) == list(map(list, expected))
        assert orjson.loads(b"[%b]" % b",\n".join(joined.json_chunks())) == expected


conditions = st.sampled_from(
    [
        {"left.n": {"$gt": 1}},
        {"right.n": {"$lt": 2}},
        {"right": None},
        {"left": None},
        {"right.v": None},
        {"left.v": {"$ne": 1}},
        {"right.v": {"$exists": True}},
        {"right": {"$ne": None}},
        {"$or": [{"left.n": 0}, {"right.n": 1}]},
        {"$or": [{"left.n": 0}, {"left.v": "a"}]},
        {"$not": {"right.w": {"$in": [1, None]}}},
        {"$and": [{"left.k": 1}, {"right.n": {"$gte": 1}}]},
        {"left.v": {"$regex": "a"}, "right.n": {"$in": [0, 3]}},
        {"right.d.e": {"$not": {"$eq": 1}}},
        {"left.k": 2, "left.n": {"$between": [0, 2]}},
    ]
)
side_filters = st.none() | st.sampled_from(
    [{"n": {"$gt": 0}}, {"k": 1}, {"v": None}, {"n": 1}, {"k": {"$in": [0, 1, 2]}}]
)


@settings(max_examples=80, deadline=None)
@given(stores, stores, ons, conditions, side_filters, side_filters, st.sampled_from([["k", "n"], ["n", "k"]]))
def test_filters_before_and_behind_the_join(
    left: list[Record],
    right: list[Record],
    on: dict[str, str],
    condition: dict[str, Any],
    left_filter: dict[str, Any] | None,
    right_filter: dict[str, Any] | None,
    key: list[str],
) -> None:
    with database_of(a=(key, left), b=(key, right)) as view:
        lefts = [row for row in kept(key, left) if (test := compile_filter(left_filter)) is None or test(row)]
        rights = [row for row in kept(key, right) if (test := compile_filter(right_filter)) is None or test(row)]
        for kind in TYPES:
            if kind in ("semi", "anti") and "right" in json.dumps(condition):
                continue
            test = compile_filter(condition)
            assert test is not None
            expected = bag(row for row in nested_loop(lefts, rights, on, kind) if test(row))
            sides = {"left": {"store": "a", "filter": left_filter}, "right": {"store": "b", "filter": right_filter}}
            for joined in possible(view, **sides, on=on, type=kind, filter=condition):
                assert bag(joined) == expected, (kind, joined.plan)
                assert joined.count() == expected.total()


@settings(max_examples=40, deadline=None)
@given(
    stores,
    stores,
    st.sampled_from([{"k": "k"}, {"v": "k"}, {"n": "n"}]),
    st.sampled_from(TYPES),
    st.sampled_from([["left.k"], ["left.k desc"], ["left.k", "left.n"], ["left.v"], ["-left.n", "left.k"]]),
    st.integers(0, 3),
    st.none() | st.integers(0, 12),
)
def test_order_and_window(
    left: list[Record],
    right: list[Record],
    on: dict[str, str],
    kind: str,
    order: list[str],
    offset: int,
    limit: int | None,
) -> None:
    from query.sorting.sorting import parse_order, sort_key

    with database_of(a=(["k", "n"], left), b=(["k"], right)) as view:
        for joined in possible(view, left="a", right="b", on=on, type=kind, order_by=order):
            rows = list(joined)
            keys = [sort_key(row, parse_order(order)) for row in rows]
            assert keys == sorted(keys), joined.plan
            some = list(join(view, left="a", right="b", on=on, type=kind, order_by=order, limit=limit, offset=offset))
            assert [sort_key(row, parse_order(order)) for row in some] == keys[offset:][:limit]
            assert not bag(some) - bag(rows)


@settings(max_examples=40, deadline=None)
@given(
    stores,
    stores,
    stores,
    st.sampled_from(TYPES),
    st.sampled_from(TYPES),
    st.sampled_from([{"k": "k"}, {"v": "v"}]),
    st.sampled_from([{"k": "k", "a.n": "n"}, {"k": "k"}, {"k": "v"}, {"v": "k"}, {"v": "v"}]),
    st.sampled_from([["n", "k"], ["k"], ["k", "n"]]),
)
def test_chains(
    first: list[Record],
    second: list[Record],
    third: list[Record],
    one: str,
    two: str,
    on: dict[str, str],
    behind: dict[str, str],
    key: list[str],
) -> None:
    with database_of(a=(["k"], first), b=(["k", "n"], second), c=(key, third)) as view:
        inner = nested_loop(kept(["k"], first), kept(["k", "n"], second), on, one, ("a", "b"))
        names = ["a"] if one in ("semi", "anti") else ["a", "b"]
        last = {name if "." in name else f"{names[-1]}.{name}": other for name, other in behind.items()}
        rows = nested_loop(inner, kept(key, third), last, two, ("left", "c"))
        expected = bag(
            {**(row["left"] or dict.fromkeys(names)), **({"c": row["c"]} if "c" in row else {})} for row in rows
        )
        chain = {"left": {"store": "a", "as": "a"}, "right": {"store": "b", "as": "b"}, "on": on, "type": one}
        for joined in possible(view, left=chain, right={"store": "c", "as": "c"}, on=last, type=two):
            assert bag(joined) == expected, joined.plan
        test = compile_filter({"a.n": {"$gt": 0}})
        assert test is not None
        filtered = join(
            view, left=chain, right={"store": "c", "as": "c"}, on=last, type=two, filter={"a.n": {"$gt": 0}}
        )
        assert bag(filtered) == Counter({text: n for text, n in expected.items() if test(orjson.loads(text))})


# --- SQLite as the judge ---

SQL = {
    "inner": "SELECT l.t, r.t FROM l JOIN r ON l.v = r.v",
    "left": "SELECT l.t, r.t FROM l LEFT JOIN r ON l.v = r.v",
    "right": "SELECT l.t, r.t FROM l RIGHT JOIN r ON l.v = r.v",
    "full": "SELECT l.t, r.t FROM l FULL JOIN r ON l.v = r.v",
    "semi": "SELECT l.t FROM l WHERE EXISTS (SELECT 1 FROM r WHERE l.v = r.v)",
    "anti": "SELECT l.t FROM l WHERE NOT EXISTS (SELECT 1 FROM r WHERE l.v = r.v)",
}
sql_values = st.one_of(st.none(), st.integers(0, 9), st.sampled_from([1.0, 2.5, "a", "b", ""]))
sql_rows = st.lists(st.fixed_dictionaries({"v": sql_values}), max_size=60).map(
    lambda rows: [{**row, "k": at} for at, row in enumerate(rows)]
)


@settings(max_examples=40, deadline=None)
@given(sql_rows, sql_rows)
def test_sqlite_gives_the_same(left: list[Record], right: list[Record]) -> None:
    connection = sqlite3.connect(":memory:")
    for name, rows in (("l", left), ("r", right)):
        connection.execute(f"CREATE TABLE {name} (v, t)")
        connection.executemany(f"INSERT INTO {name} VALUES (?, ?)", [(row["v"], json.dumps(row)) for row in rows])
    with database_of(a=(["k"], left), b=(["k"], right)) as view:
        for kind in TYPES:
            found = connection.execute(SQL[kind]).fetchall()
            names = ("left", "right")[: 1 if kind in ("semi", "anti") else 2]
            expected = bag(dict(zip(names, (text and json.loads(text) for text in row), strict=True)) for row in found)
            for joined in possible(view, left="a", right="b", on="v", type=kind):
                assert bag(joined) == expected, (kind, joined.plan)
    connection.close()


# --- many pages ---


@pytest.fixture(scope="module")
def pages() -> Iterator[Snapshot]:
    """Stores of many pages: 6,000 users; orders of every seventh, some with many; a few visits far from each other."""
    users = [{"k": at, "n": at % 4, "name": f"user {at}", "pad": "u" * 50} for at in range(6000)]
    orders = [{"k": user, "n": n, "v": n % 5} for user in range(0, 6500, 7) for n in range(1 + user % 5)]
    orders += [{"k": 700, "n": n, "pad": "x" * 60} for n in range(10, 3000)]
    visits = [{"k": k, "n": 0} for k in (-5, 3, 2999, 3000, 5999, 7000)]
    with database_of(users=(["k"], users), orders=(["k", "n"], orders), visits=(["k"], visits)) as view:
        yield view


def all_of(view: Snapshot, store: str) -> list[Record]:
    return [orjson.loads(text) for _, text in view.tree(f"rows/{store}").scan()]


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize(
    "sides", [("users", "orders"), ("orders", "users"), ("users", "visits"), ("visits", "users"), ("orders", "visits")]
)
def test_stores_of_many_pages(pages: Snapshot, kind: str, sides: tuple[str, str]) -> None:
    left, right = (all_of(pages, name) for name in sides)
    by_key: dict[int, list[Record]] = {}
    for row in right:
        by_key.setdefault(row["k"], []).append(row)
    lefts = {row["k"] for row in left}
    expected: list[Record] = []
    for row in left:
        found = by_key.get(row["k"], [])
        if kind in ("semi", "anti"):
            expected += [{"left": row}] if bool(found) == (kind == "semi") else []
        else:
            expected += [{"left": row, "right": other} for other in found]
            expected += [{"left": row, "right": None}] if not found and kind in ("left", "full") else []
    if kind in ("right", "full"):
        expected += [{"left": None, "right": row} for row in right if row["k"] not in lefts]
    for joined in possible(pages, left=sides[0], right=sides[1], on="k", type=kind):
        assert bag(joined) == bag(expected), joined.plan


def test_a_group_that_is_read_again_for_each_left_row(pages: Snapshot) -> None:
    """700 has about 3,000 orders: joined with themselves, too many to keep."""
    left = {"store": "orders", "filter": {"k": 700, "n": {"$gte": 2990}}}
    for method in METHODS:
        joined = join(pages, left=left, right="orders", on={"k": "k"}, method=method, budget_bytes=50_000)
        assert joined.count() == 10 * 2991
        assert Counter(row["left"]["n"] for row in joined) == dict.fromkeys(range(2990, 3000), 2991)


@pytest.mark.parametrize("kind", TYPES)
def test_groups_that_are_never_kept(pages: Snapshot, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    query: dict[str, Any] = {"right": {"store": "orders", "filter": {"n": {"$gt": 0}}}, "on": "k", "type": kind}
    query["left"] = {"store": "orders", "filter": {"k": {"$gte": 650, "$lt": 750}, "n": {"$lt": 13}}}
    expected = bag(join(pages, **query, method="hash"))
    assert expected
    monkeypatch.setattr(merge, "GROUP", 2)
    monkeypatch.setattr(lookup, "FOUND", 2)
    for joined in possible(pages, **query):
        assert bag(joined) == expected, joined.plan


def test_a_merge_jumps_over_what_has_no_match(pages: Snapshot) -> None:
    """An order's user is the first field of its key, so that a visit's orders are a stretch."""
    joined = join(pages, left="orders", right="visits", on="k", method="merge")
    expected = [row for row in all_of(pages, "orders") if row["k"] in (-5, 3, 2999, 3000, 5999, 7000)]
    assert [row["left"] for row in joined] == expected
    plan = joined.plan
    assert plan["jumps"] >= 1
    assert plan["lookups"] == 0
    assert plan["left"]["rows_read"] < 4000
    everything = join(pages, left="orders", right="visits", on="k", type="left", method="merge")
    assert everything.count() == len(all_of(pages, "orders"))
    assert everything.plan["jumps"] == 0


def test_a_merge_looks_few_rows_up_among_many(pages: Snapshot) -> None:
    for kind in ("inner", "semi"):
        joined = join(pages, left="users", right="visits", on="k", type=kind, method="merge")
        assert [row["left"]["k"] for row in joined] == [3, 2999, 3000, 5999]
        plan = joined.plan
        assert plan["lookups"] == 5  # -5 lies before the first user
        assert plan["left"]["rows_read"] < 500
        backwards = join(pages, left="visits", right="users", on="k", type=kind, method="merge")
        assert [row["left"]["k"] for row in backwards] == [3, 2999, 3000, 5999]
    everything = join(pages, left="users", right="visits", on="k", type="left", method="merge")
    assert everything.count() == 6000
    assert everything.plan["lookups"] == 0
    with_all = join(pages, left="visits", right="users", on="k", type="left", method="merge")
    assert [row["right"] and row["right"]["k"] for row in with_all] == [None, 3, 2999, 3000, 5999, None]
    assert with_all.plan["lookups"] >= 5
    assert with_all.plan["right"]["rows_read"] < 500


def test_the_left_keys_of_a_join_lead_to_the_left_rows(pages: Snapshot) -> None:
    users = pages.tree("rows/users")
    for method in METHODS:
        for key, row in join(
            pages, left="users", right="orders", on="k", type="full", method=method if method != "lookup" else None
        ).pairs():
            assert (orjson.loads(users.get(key) or b"null") if key else None) == row["left"]


def test_a_limit_stops_reading(pages: Snapshot) -> None:
    for method in ("merge", "lookup"):
        joined = join(pages, left="users", right="orders", on="k", type="left", method=method, limit=3, offset=1)
        assert len(list(joined)) == 3
        assert joined.plan["left"]["rows_read"] < 1000
