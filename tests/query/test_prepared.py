"""Prepared plans are the plans that are made from the beginning, and nothing that was kept is served where it does not belong."""

import itertools
import threading
from collections.abc import Iterator
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from btree import Conflict, Database, MemoryPager, Transaction
from query import (
    InvalidQuery,
    StoreNotFound,
    UnknownOperator,
    create_index,
    create_store,
    drop_index,
    drop_store,
    open_store,
    select,
    select_page,
)
from query.errors import QueryError
from query.filters.conditions import conjuncts
from query.filters.pages import page_filter
from query.joins.paths import join_paths
from query.selects.plan import plan_select
from query.selects.prepared import prepared_for, shape_of

_NUMBERS = itertools.count()
INDEXES = [["a"], ["b", "a"], ["d.e"], ["a", "id"]]
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1, 3),
    st.sampled_from(
        [0.0, -0.0, 1.0, 2.5, float("nan"), float("inf"), 2**63, 2**64, -(2**70), "", "1", "x", "x\x00", "\ud800"]
    ),
)
equalities = st.one_of(scalars, scalars.map(lambda value: {"$eq": value}))
queries = st.dictionaries(st.sampled_from(["a", "b", "d.e", "id", "key", "c"]), equalities, max_size=4)
orders = st.sampled_from(
    [None, "", [], "id", "-id", ["a", "id"], ["-a", "-id"], ["b desc", "a asc"], ["d.e", "id"], "c"]
)


def memory() -> Database:
    return Database(MemoryPager(f"prepared-{next(_NUMBERS)}"))


def fill(view: Transaction, indexes: list[list[str]], unique: bool = False) -> None:
    store = create_store(view, "s", primary_key=["id", "key"])
    values = [None, False, True, 0, 1, 2.5, "1", "x", ""]
    for number in range(400):
        at = number % 40
        a, b = values[at] if at < 9 else f"v{at}", values[number // 9 % 9]
        store.add({"id": number % 7, "key": number, "a": a, "b": b, "d": {"e": number if unique else a}, "c": number})
    for fields in indexes:
        create_index(view, "s", fields, unique=unique and fields == ["d.e"])


@pytest.fixture
def database() -> Iterator[Database]:
    with memory() as opened:
        opened.transact(lambda view: fill(view, [["a"]]))
        yield opened
        assert opened.check().problems == []


@pytest.fixture(scope="module")
def stores() -> Iterator[dict[Any, Database]]:
    """Databases with the same rows, and other indexes each."""
    made = {}
    for count, unique in itertools.product(range(len(INDEXES) + 1), (False, True)):
        made[count, unique] = memory()
        made[count, unique].transact(lambda view, count=count, unique=unique: fill(view, INDEXES[:count], unique))
    yield made
    for opened in made.values():
        opened.close()


def planned(view: Any, query: Any, order: Any, limit: int | None, indexes: bool) -> Any:
    store = open_store(view, "s")
    try:
        plan = plan_select(store, query, order, limit, indexes=indexes)
    except QueryError as error:
        return error.code, error.message, error.pointer, error.hint
    return plan.to_dict(), plan.ranges, plan.cost, plan.rows, plan.wanted, plan.used, plan.sort


@settings(max_examples=400, deadline=None)
@given(queries, orders, st.none() | st.integers(0, 5), st.booleans(), st.integers(0, len(INDEXES)), st.booleans())
def test_a_prepared_plan_is_the_plan_from_the_beginning(
    stores: dict[Any, Database], query: Any, order: Any, limit: int | None, indexes: bool, count: int, unique: bool
) -> None:
    """Whatever is no `dict` is planned from the beginning."""
    transaction = stores[count, unique].begin(f"t{next(_NUMBERS)}")
    for view in (stores[count, unique].snapshot(), transaction):
        expected = repr(planned(view, MappingProxyType(query), order, limit, indexes))
        assert [repr(planned(view, query, order, limit, indexes)) for _ in range(2)] == [expected, expected]
    transaction.rollback()


def test_there_are_prepared_plans(database: Database) -> None:
    """The test above would pass without any."""
    store = open_store(database.snapshot(), "s")
    for query, order, there in [
        ({"a": 1, "b": "x"}, None, True),
        ({"id": {"$eq": 1}}, "-id", True),
        ({}, ["a", "id"], True),
        ({"a": {"$lt": 1}}, None, False),
        ({"a": [1]}, None, False),
        ({"a": {"$eq": 1, "$ne": 2}}, None, False),
    ]:
        plan_select(store, query, order)
        shape = shape_of(query, order)
        assert (shape is not None and prepared_for(store, shape) is not None) == there


@pytest.mark.parametrize("indexes", [True, False])
def test_values_of_other_types_are_not_taken_for_each_other(database: Database, indexes: bool) -> None:
    view = database.snapshot()
    for field in ("a", "b"):
        for value in (1, True, 1.0, "1", 0, False, None, "", 1, True):
            same = [
                row
                for row in select(view, "s")
                if row[field] == value and isinstance(row[field], bool) == isinstance(value, bool)
            ]
            found = list(select(view, "s", filter={field: value, "c": {"$gte": 0}}, indexes=indexes))
            assert sorted(row["key"] for row in found) == sorted(row["key"] for row in same)
            found = list(select(view, "s", filter={field: value}, indexes=indexes))
            assert sorted(row["key"] for row in found) == sorted(row["key"] for row in same) != []


def test_true_and_1_are_two_conditions(database: Database) -> None:
    assert list(select(database.snapshot(), "s", filter={"a": 1, "$and": [{"a": True}]})) == []
    assert list(select(database.snapshot(), "s", filter={"a": True, "$and": [{"a": 1}]})) == []


def test_true_and_1_are_two_conditions_of_a_join_too(database: Database) -> None:
    database.transact(lambda view: create_index(view, "s", ["a", "key"]))
    store = open_store(database.snapshot(), "s")
    conditions = list(conjuncts({"a": 1, "$and": [{"a": True}, {"b": "x"}]}))
    (path,) = join_paths(store, conditions, ["key"], indexes=True)
    assert path.rest == tuple(conditions[1:])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_shape_that_is_known_does_not_hide_what_is_wrong(database: Database, value: float) -> None:
    view = database.snapshot()
    assert select(view, "s", filter={"a": 1.0}).count() > 0
    for _ in range(2):
        with pytest.raises(InvalidQuery, match="not a JSON value"):
            select(view, "s", filter={"a": value})
        with pytest.raises(UnknownOperator):
            select(view, "s", filter={"$a": 1})
        with pytest.raises(InvalidQuery, match="is text"):
            select(view, "s", filter={1: 1})  # type: ignore[dict-item]
        with pytest.raises(InvalidQuery):
            select(view, "s", filter={"a": 1}, order_by="a sideways")


def test_a_closed_schema_is_its_own_declaration(database: Database) -> None:
    schema = {"type": "object", "properties": {"id": {"type": "integer"}}, "additionalProperties": False}
    database.transact(lambda view: create_store(view, "closed", primary_key=["id"], schema=schema))
    database.transact(lambda view: create_store(view, "open", primary_key=["id"]))
    view = database.snapshot()
    for _ in range(2):
        assert list(select(view, "open", filter={"a": 1})) == []
        with pytest.raises(InvalidQuery, match="no field 'a'"):
            select(view, "closed", filter={"a": 1})
        with pytest.raises(InvalidQuery, match="no field 'a'"):
            select(view, "closed", filter={"id": 1}, order_by="a")
        assert list(select(view, "closed", filter={"id": 1})) == []


def test_every_version_has_its_own_indexes_and_rows(database: Database) -> None:
    def plan(view: Any) -> Any:
        return select(view, "s", filter={"a": "x"}).plan["index"]

    first = database.snapshot()
    assert (plan(first), plan(first)) == ("a", "a")
    transaction = database.begin("t")
    assert plan(transaction) == "a"
    drop_index(transaction, "s", "a")
    assert plan(transaction) is None
    open_store(transaction, "s").add({"id": 100, "key": 0, "a": "x"})
    before = select(first, "s", filter={"a": "x"}).count()
    assert select(transaction, "s", filter={"a": "x"}).count() == before + 1
    assert plan(database.snapshot()) == "a"
    transaction.commit()
    second = database.snapshot()
    assert (plan(first), plan(second)) == ("a", None)
    assert select(second, "s", filter={"a": "x"}).count() == before + 1
    assert select(first, "s", filter={"a": "x"}).count() == before
    database.transact(lambda view: drop_store(view, "s"))
    with pytest.raises(StoreNotFound):
        open_store(database.snapshot(), "s")
    assert open_store(second, "s").count() == 401
    database.transact(lambda view: create_store(view, "s", primary_key=["a"]))
    last = select(database.snapshot(), "s", filter={"a": "x"})
    assert (last.plan["access"], last.count()) == ("key", 0)
    with pytest.raises(QueryError, match="snapshot"):
        open_store(second, "s").add({"id": 1, "key": 1000})


def test_two_databases_keep_apart(database: Database) -> None:
    with memory() as other:
        other.transact(lambda view: fill(view, []))
        other.transact(lambda view: open_store(view, "s").add({"id": 50, "key": 50, "a": "x"}))
        for _ in range(2):
            one = select(database.snapshot(), "s", filter={"a": "x"})
            two = select(other.snapshot(), "s", filter={"a": "x"})
            assert (one.plan["index"], two.plan["index"]) == ("a", None)
            assert two.count() == one.count() + 1


def test_what_is_kept_is_bounded(database: Database) -> None:
    store = open_store(database.snapshot(), "s")
    for number in range(1000):
        plan_select(store, {f"field {number}": 1}, None)
        assert len(store.info.prepared) <= 128
    assert len(store.info.prepared) > 0
    shape = shape_of({"f" * 2000: 1}, None)
    assert shape is not None
    plan_select(store, {"f" * 2000: 1}, None)
    assert prepared_for(store, shape) is None


def writer_and_reader(database: Database, query: Any, change: Any, *, saved: bool) -> None:
    """A reader that writes something of its own, and `change` by somebody else meanwhile. Raises Conflict."""
    reader = database.begin(f"reader{next(_NUMBERS)}")
    for _ in range(2):  # the second time with notes of its own
        list(select(reader, "s", filter=query))
        if saved:
            reader.save()
    open_store(reader, "s").add({"id": 1000, "key": next(_NUMBERS)})
    database.transact(change)
    try:
        reader.commit()
    except Conflict:
        reader.rollback()
        raise


def upsert(**row: Any) -> Any:
    return lambda view: open_store(view, "s").upsert(row)


@pytest.mark.parametrize("saved", [False, True])
@pytest.mark.parametrize(
    ("query", "change", "conflicts"),
    [
        ({"a": "x"}, upsert(id=0, key=7, a="x", new=1), True),
        ({"a": "x"}, upsert(id=500, key=500, a="x"), True),
        ({"a": "x"}, upsert(id=500, key=500, a="y"), False),
        ({"a": "x"}, upsert(id=6, key=6, a="1", new=1), False),
        ({"id": 0, "key": 7}, upsert(id=0, key=7, a="x", new=1), True),
        ({"id": 0, "key": 8}, upsert(id=0, key=8, a="x"), True),
        ({"id": 0, "key": 7}, upsert(id=0, key=14, a="x", new=1), False),
        ({"id": 0, "key": {"$in": [7, 9]}}, upsert(id=0, key=9, a="x"), True),
        ({"id": 0, "key": {"$in": [7, 9]}}, upsert(id=0, key=8, a="x"), False),
        ({"a": "x"}, lambda view: create_index(view, "s", ["b"]), True),
    ],
)
def test_a_transaction_notes_what_it_selects(
    database: Database, query: Any, change: Any, conflicts: bool, saved: bool
) -> None:
    if conflicts:
        with pytest.raises(Conflict):
            writer_and_reader(database, query, change, saved=saved)
    else:
        writer_and_reader(database, query, change, saved=saved)


@pytest.mark.parametrize("place", ["first", "middle"])
def test_a_transaction_notes_no_more_than_it_took(database: Database, place: str) -> None:
    """Of a stretch of an index of which it took one row: what comes before is a conflict, what comes behind is none."""
    reader = database.begin("reader")
    assert len(list(select(reader, "s", filter={"a": "x"}, limit=1))) == 1
    open_store(reader, "s").add({"id": 1000, "key": 1000})
    database.transact(upsert(id=-1 if place == "first" else 3, key=0, a="x"))
    if place == "first":
        with pytest.raises(Conflict):
            reader.commit()
        reader.rollback()
    else:
        reader.commit()


@pytest.mark.parametrize("order", [None, ["-id", "-key"]])
def test_many_keys(database: Database, order: Any) -> None:
    """More than are read at once, some of which are not there; all, a few, and page by page."""
    database.transact(lambda view: create_store(view, "keys", primary_key=["id"]))

    def work(view: Transaction) -> None:
        for number in range(0, 2000, 2):
            open_store(view, "keys").add({"id": number})

    database.transact(work)
    order = order and "-id"
    query = {"id": {"$in": [*range(900, -1, -1), "x", None, 1998]}}
    expected = [*range(0, 901, 2), 1998][:: -1 if order else 1]
    view = database.snapshot()
    found = select(view, "keys", filter=query, order_by=order)
    assert [row["id"] for row in found] == expected
    assert (found.plan["access"], found.plan["rows_examined"]) == ("key", len(expected))
    few = select(view, "keys", filter=query, order_by=order, limit=3, offset=2)
    assert [row["id"] for row in few] == expected[2:5]
    assert few.plan["rows_examined"] <= 5
    paged: list[int] = []
    after = None
    for _ in range(100):
        rows, after = select_page(view, {"store": "keys", "filter": query, "order_by": order}, after=after, limit=50)
        paged += [row["id"] for row in rows]
        if after is None:
            break
    assert paged == expected
    transaction = database.begin("t")
    open_store(transaction, "keys").add({"id": 1})
    assert select(transaction, "keys", filter=query, order_by=order).count() == len(expected) + 1


def test_a_filter_that_is_kept_keeps_to_its_values() -> None:
    run = b'{"a":1},\n{"a":true},\n{"a":1.0},\n{"a":"1"},\n{"a":null},\n{"a":0}'
    for few, _ in itertools.product((True, False), range(2)):
        for value, places in [(1, [0, 2]), (True, [1]), (1.0, [0, 2]), ("1", [3]), (None, [4]), (0, [5]), (-0.0, [5])]:
            kept = page_filter({"a": value}, few=few)
            assert kept is not None
            assert kept.matches(run) == places
        with pytest.raises(InvalidQuery, match="not a JSON value") as raised:
            page_filter({"a": float("nan")}, "/here", few=few)
        assert raised.value.pointer == "/here/a"
        with pytest.raises(InvalidQuery, match="no field 'a'"):
            page_filter({"a": 1}, fields={"b"}, few=few)


def test_a_filter_that_is_kept_does_not_learn_from_others_rows() -> None:
    """One that met texts too often expects no more numbers; the next with the same words does."""
    one, other = (page_filter({"amount": {"$lt": 3}}) for _ in range(2))
    assert one is not None
    assert other is not None
    for _ in range(20):
        assert one.matches(b'{"amount":"x"},\n{"amount":1}') == [1]
    assert one._hoped is None
    assert other._hoped is not None
    another = page_filter({"amount": {"$lt": 3}})
    assert another is not None
    assert another._hoped is not None


def test_threads_share_what_is_kept(database: Database) -> None:
    expected = {value: select(database.snapshot(), "s", filter={"a": value}).count() for value in ("x", "1", None)}
    wrong: list[Any] = []

    def work(number: int) -> None:
        view = database.snapshot()
        for turn in range(300):
            value = ("x", "1", None)[(turn + number) % 3]
            query = {"a": value, f"f{turn % 150}": None}
            rows = list(select(view, "s", filter=query))
            if len(rows) != expected[value] or any(row["a"] != value for row in rows):
                wrong.append(rows)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("where", [None, {}, {"b": 1}, {"b": {"$gte": 0}}])
def test_an_index_that_serves_nothing_is_not_read(database: Database, where: Any) -> None:
    """Of uncommitted rows that are not in the pages of the index yet, it would look like an empty one."""
    transaction = database.begin("uncommitted")
    store = create_store(transaction, "fresh", primary_key=["id"])
    create_index(transaction, "fresh", ["a"])
    for number in range(20):
        store.add({"id": number, "a": -number, "b": 1})
    assert len(list(select(transaction, "fresh", order_by="id"))) == 20
    rows = select(transaction, "fresh", filter=where)
    assert rows.plan["access"] == "scan"
    assert [row["id"] for row in rows] == list(range(20))
    transaction.rollback()
