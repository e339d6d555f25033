"""Rows that are equal in `order_by` have one order, by whatever plan: that of the primary key, in the direction of the order's last field."""

from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from btree import Database, MemoryPager, Transaction
from query import InvalidQuery, create_index, create_store, join, select
from query.joins.spec import METHODS
from query.selects import rows as select_rows
from query.selects.plan import plan_select
from query.sorting.sorting import sorted_rows
from query.stores.store import open_store

PATHS = [[], [["a"]], [["b"]], [["a", "b"]], [["a", "b"], ["b", "x"]], [["x"]], [["a", "y", "x"]]]
KEYS = [["x"], ["x", "y"], ["y", "x"]]
values = st.integers(0, 2)
records = st.lists(
    st.fixed_dictionaries({"x": st.integers(0, 12), "y": values}, optional={"a": st.none() | values, "b": values}),
    max_size=30,
)
orders = st.lists(
    st.tuples(st.sampled_from("abxy"), st.booleans()), min_size=1, max_size=3, unique_by=lambda item: item[0]
)
filters = st.fixed_dictionaries(
    {}, optional={"a": values | st.just({"$in": [0, 1]}), "b": values, "x": st.just({"$gte": 3})}
)


def ranked(value: Any) -> tuple[bool, Any]:
    return value is not None, value


def in_order(rows: list[Any], order: list[tuple[Any, bool]], keys: list[Any]) -> list[Any]:
    """Sorted by what `order` reads of a row, equal ones by the first of `keys` in the direction of the last, then by the others."""
    for read in reversed(keys[1:]):
        rows = sorted(rows, key=read)
    rows = sorted(rows, key=keys[0], reverse=order[-1][1])
    for read, descending in reversed(order):
        rows = sorted(rows, key=lambda row, read=read: ranked(read(row)), reverse=descending)
    return rows


def texts(order: list[tuple[str, bool]], side: str = "") -> list[str]:
    return [f"{side}{name} desc" if descending else f"{side}{name}" for name, descending in order]


def filled(name: str, stores: dict[str, tuple[list[str], list[list[str]], list[Any]]]) -> tuple[Database, Transaction]:
    """Half of the rows are committed, the other half are written and stand in the transaction."""
    database = Database(MemoryPager(name))

    def first(transaction: Transaction) -> None:
        for store, (key, paths, rows) in stores.items():
            create_store(transaction, store, primary_key=key)
            for path in paths:
                create_index(transaction, store, path)
            for row in rows[::2]:
                open_store(transaction, store).upsert(row)

    database.transact(first)
    transaction = database.begin("more", durable=False)
    for store, (_, _, rows) in stores.items():
        for row in rows[1::2]:
            open_store(transaction, store).upsert(row)
    return database, transaction


@settings(max_examples=150, deadline=None)
@given(
    records,
    st.sampled_from(KEYS),
    st.sampled_from(PATHS),
    orders,
    filters,
    st.none() | st.integers(0, 6),
    st.integers(0, 2),
    st.booleans(),
)
def test_a_limit_takes_the_same_rows_by_each_plan(
    rows: list[Any],
    key: list[str],
    paths: list[list[str]],
    order: list[tuple[str, bool]],
    where: dict[str, Any],
    limit: int | None,
    offset: int,
    spilled: bool,
) -> None:
    rows = list({tuple(row[name] for name in key): row for row in rows}.values())
    kept = [
        row
        for row in rows
        if row["x"] >= where.get("x", {"$gte": 0})["$gte"]
        and all(
            row.get(name) in wanted["$in"] if isinstance(wanted, dict) else row.get(name) == wanted
            for name, wanted in where.items()
            if name != "x"
        )
    ]
    readers = [(lambda row, name=name: row.get(name), descending) for name, descending in order]
    expected = in_order(kept, readers, [lambda row: tuple(row[name] for name in key)])[offset:]
    expected = expected if limit is None else expected[:limit]
    database, transaction = filled(f"ties{id(rows)}", {"s": (key, paths, rows)})
    query: dict[str, Any] = {"filter": where, "order_by": texts(order), "limit": limit, "offset": offset}
    with pytest.MonkeyPatch.context() as patch:
        if spilled:
            patch.setattr(select_rows, "sorted_rows", partial(sorted_rows, budget_bytes=600))
        for indexes in (True, False):
            assert list(select(transaction, "s", **query, indexes=indexes)) == expected
        transaction.commit()
        for indexes in (True, False):
            assert list(select(database.snapshot(), "s", **query, indexes=indexes)) == expected
    database.close()


@settings(max_examples=150, deadline=None)
@given(
    records,
    records,
    st.sampled_from(PATHS),
    st.sampled_from(PATHS),
    st.sampled_from(["inner", "left", "right", "full", "semi", "anti"]),
    orders,
    st.sampled_from([{"a": "b"}, {"x": "a"}, {"a": "x"}, {"x": "x"}]),
    st.none() | st.integers(0, 6),
)
def test_a_limit_takes_the_same_joined_rows_by_each_method(
    left: list[Any],
    right: list[Any],
    left_paths: list[list[str]],
    right_paths: list[list[str]],
    kind: str,
    order: list[tuple[str, bool]],
    on: dict[str, str],
    limit: int | None,
) -> None:
    left, right = ([*{row["x"]: row for row in rows}.values()] for rows in (left, right))
    database, transaction = filled(
        f"joined ties{id(left)}", {"left": (["x"], left_paths, left), "right": (["x"], right_paths, right)}
    )

    def of(row: Any, side: str, name: str) -> Any:
        return (row.get(side) or {}).get(name)

    query: dict[str, Any] = {"left": "left", "right": "right", "on": on, "type": kind}
    readers = [(lambda row, name=name: of(row, "left", name), descending) for name, descending in order]
    keys = [lambda row: ranked(of(row, "left", "x")), lambda row: ranked(of(row, "right", "x"))]
    expected = in_order(list(join(transaction, **query)), readers, keys)[:limit]
    for view in (transaction, None):
        if view is None:
            transaction.commit()
            view = database.snapshot()
        for method in (None, *METHODS):
            for indexes in (True, False):
                try:
                    found = join(
                        view,
                        **query,
                        order_by=texts(order, "left."),
                        limit=limit,
                        method=method,
                        indexes=indexes,
                        budget_bytes=2000,
                    )
                except InvalidQuery:
                    assert method in ("merge", "lookup")
                    continue
                assert list(found) == expected
    database.close()


SORTED = [
    ("a", ["a"], False, []),
    ("a desc", ["a"], True, []),
    ("a", ["a", "b"], False, ["a asc"]),  # equal ones would come by b
    (["a", "b"], ["a", "b"], False, []),
    ("x", None, False, []),
    ("x desc", None, True, []),
]


@pytest.mark.parametrize(("order", "path", "reverse", "sort"), SORTED)
def test_an_order_that_an_index_has_is_not_sorted(
    order: Any, path: list[str] | None, reverse: bool, sort: list[str]
) -> None:
    with Database(MemoryPager("ties of plans")) as database:

        def fill(transaction: Transaction) -> None:
            store = create_store(transaction, "s", primary_key=["x", "y"])
            for number in range(1000):
                store.add({"x": number, "y": 0, "a": number % 3, "b": number % 7})
            create_index(transaction, "s", ["a"] if path is None else path)

        database.transact(fill)
        plan = plan_select(open_store(database.snapshot(), "s"), None, order, 10)
        told = plan.to_dict()
        assert (told["sort"], plan.reverse) == (sort, reverse)
        assert (plan.index is not None) == (path is not None and not sort)
