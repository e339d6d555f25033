"""Secondary indexes: a bijection with the rows whatever is written, and the same answers with and without them."""

import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from btree import Conflict, Database, MemoryPager, Transaction
from query import (
    IndexExists,
    IndexNotFound,
    InvalidName,
    InvalidRecord,
    Record,
    UniqueViolation,
    build_index,
    check_indexes,
    create_index,
    create_store,
    describe_store,
    drop_index,
    drop_store,
    open_store,
    restore_store,
    select,
)
from query.values.keycode import encode_any

plain = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([0.5, 1.0, 2**63, -2.5, "", "x", "xy", "x\x00y", [], [1], [1, "x"], {"a": 1}, {"a": 1.0, "b": []}]),
)
records = st.lists(
    st.fixed_dictionaries(
        {"id": st.integers(0, 30)},
        optional={"a": plain, "b": plain, "d": st.fixed_dictionaries({}, optional={"e": plain})},
    ),
    max_size=40,
)
INDEXES = [["a"], ["b", "a"], ["d.e"], ["a", "d.e", "b"]]
operands = plain.filter(lambda value: not isinstance(value, dict))
ordered = st.one_of(st.integers(-3, 3), st.sampled_from([0.5, "x", "xy", True]))
conditions = st.one_of(
    plain,
    st.dictionaries(st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), ordered, min_size=1, max_size=2),
    st.dictionaries(st.sampled_from(["$eq", "$ne"]), operands, min_size=1),
    st.fixed_dictionaries({"$in": st.lists(plain, max_size=4)}),
    st.fixed_dictionaries({"$between": st.tuples(st.integers(-3, 0), st.integers(0, 3)).map(list)}),
    st.fixed_dictionaries({"$exists": st.booleans()}),
    st.fixed_dictionaries({"$starts_with": st.sampled_from(["", "x"])}),
)
flat = st.dictionaries(st.sampled_from(["a", "b", "d.e", "id"]), conditions, max_size=3)
filters = st.one_of(
    flat,
    st.fixed_dictionaries({"$and": st.lists(flat.filter(bool), min_size=1, max_size=3)}),
    st.tuples(flat, st.lists(flat.filter(bool), min_size=1, max_size=2)).map(lambda two: {**two[0], "$or": two[1]}),
)
orders = st.sampled_from(
    [None, "id", "-id", ["a", "id"], ["-a", "-id"], ["b desc", "a asc", "id"], ["d.e", "id"], ["b", "a", "id"]]
)


def memory() -> Database:
    return Database(MemoryPager(f"indexes-{threading.get_ident()}-{id(object())}"))


def filled(database: Database, rows: list[Record], indexes: list[list[str]], *, first: bool) -> None:
    """A store with the rows, indexed before (`first`) or behind the writing."""

    def work(view: Transaction) -> None:
        store = create_store(view, "s", primary_key=["id"])
        if first:
            for fields in indexes:
                create_index(view, "s", fields)
            store = open_store(view, "s")
        for row in rows:
            store.upsert(row)
        if not first:
            for fields in indexes:
                create_index(view, "s", fields)

    database.transact(work)


@settings(max_examples=250, deadline=None)
@given(
    records,
    filters,
    orders,
    st.lists(st.sampled_from(INDEXES), unique_by=tuple, max_size=4),
    st.none() | st.integers(0, 6),
    st.integers(0, 3),
    st.booleans(),
)
def test_the_same_rows_with_and_without_indexes(
    rows: list[Record],
    query: dict[str, Any],
    order: Any,
    indexes: list[list[str]],
    limit: int | None,
    offset: int,
    first: bool,
) -> None:
    with memory() as database:
        filled(database, rows, indexes, first=first)
        view = database.snapshot()
        assert check_indexes(view, "s") == []
        found = list(select(view, "s", filter=query, order_by=order))
        plain_rows = list(select(view, "s", filter=query, order_by=order, indexes=False))
        if order is None:
            found.sort(key=lambda row: row["id"])
            plain_rows.sort(key=lambda row: row["id"])
        assert found == plain_rows
        if order is not None:
            some = list(select(view, "s", filter=query, order_by=order, limit=limit, offset=offset))
            assert some == plain_rows[offset : None if limit is None else offset + limit]
        counted = select(view, "s", filter=query, limit=limit, offset=offset).count()
        assert counted == len(plain_rows[offset : None if limit is None else offset + limit])
        assert database.check().problems == []


operations = st.lists(
    st.one_of(
        st.tuples(st.just("upsert"), st.integers(0, 8), plain, plain),
        st.tuples(st.just("delete"), st.integers(0, 8), st.none(), st.none()),
        st.tuples(st.just("update"), st.integers(0, 8), plain, plain),
        st.tuples(st.just("move"), st.integers(0, 8), st.integers(0, 8), st.none()),
    ),
    max_size=30,
)


@settings(max_examples=150, deadline=None)
@given(operations, st.booleans())
def test_every_write_keeps_the_bijection(steps: list[Any], unique: bool) -> None:
    model: dict[int, Record] = {}
    with memory() as database:

        def declare(view: Transaction) -> None:
            create_store(view, "s", primary_key=["id"])
            create_index(view, "s", ["a"], unique=unique)
            create_index(view, "s", ["b", "a"])

        database.transact(declare)

        def taken(key: int, value: Any) -> bool:
            return (
                unique
                and value is not None
                and any(other != key and same(row.get("a"), value) for other, row in model.items())
            )

        transaction = database.begin("writes")
        store = open_store(transaction, "s")
        for kind, key, first, second in steps:
            if kind == "delete":
                assert store.delete(key) == (model.pop(key, None) is not None)
                continue
            if kind == "upsert":
                row = {"id": key, "a": first, "b": second}
            elif key not in model:
                continue
            elif kind == "update":
                row = {**model[key], "a": first, "b": second}
            else:
                row = {**model[key], "id": first}
                if first != key and first in model:
                    continue
            try:
                if kind == "upsert":
                    store.upsert(row)
                else:
                    store.update(key, {name: row[name] for name in ("id", "a", "b") if name in row})
            except UniqueViolation:
                assert taken(key, row.get("a"))
                continue
            assert not taken(key, row.get("a"))
            if kind == "move":
                del model[key]
            model[row["id"]] = row
        transaction.commit()
        view = database.snapshot()
        assert check_indexes(view, "s") == []
        assert list(select(view, "s")) == [model[key] for key in sorted(model)]
        assert database.check().problems == []


def same(left: Any, right: Any) -> bool:
    return encode_any(left) == encode_any(right)


@pytest.fixture
def people(tmp_path: Path) -> Any:
    with Database.open(tmp_path / "people.db", create=True) as database:
        rows = [{"id": n, "mail": f"p{n}@x.org", "city": f"c{n % 40}", "age": n % 90} for n in range(4000)]
        filled(database, rows, [], first=True)
        yield database
        assert check_indexes(database.snapshot(), "s") == []
        assert database.check().problems == []


def test_an_index_is_used_where_it_saves_reading(people: Database) -> None:
    people.transact(lambda view: create_index(view, "s", ["city", "age"]))
    found = select(people.snapshot(), "s", filter={"city": "c7", "age": {"$gte": 20, "$lt": 40}})
    assert all(row["city"] == "c7" and 20 <= row["age"] < 40 for row in found)
    assert found.plan["access"] == "index"
    assert found.plan["residual"] == {}
    assert found.plan["rows_examined"] == found.plan["rows_returned"] > 0
    everything = select(people.snapshot(), "s", filter={"city": {"$gte": "a"}})
    assert everything.plan["access"] == "scan"
    first = select(people.snapshot(), "s", order_by=["-city", "-age"], limit=3)
    assert (first.plan["access"], first.plan["direction"], first.plan["sort"]) == ("index", "backward", [])
    assert [row["city"] for row in first] == ["c9"] * 3
    assert first.plan["rows_examined"] <= 4


def test_a_unique_index_refuses_duplicates_also_of_two_transactions(people: Database) -> None:
    people.transact(lambda view: create_index(view, "s", ["mail"], unique=True))
    with pytest.raises(UniqueViolation, match=r"mail .*\[5\].*'p5@x.org'"):
        people.transact(lambda view: open_store(view, "s").add({"id": 9999, "mail": "p5@x.org"}))
    with pytest.raises(UniqueViolation):
        people.transact(lambda view: create_index(view, "s", ["city"], unique=True))
    one, two = (people.begin(name, isolation="snapshot") for name in ("one", "two"))
    open_store(one, "s").add({"id": 10_001, "mail": "new@x.org"})
    open_store(two, "s").add({"id": 10_002, "mail": "new@x.org"})
    one.commit()
    with pytest.raises(Conflict):
        two.commit()


@pytest.mark.parametrize("isolation", ["serializable", "snapshot"])
def test_a_writer_that_does_not_know_the_index_conflicts_with_it(people: Database, isolation: str) -> None:
    writer = people.begin("writer", isolation=isolation)
    open_store(writer, "s").add({"id": 5000, "city": "late"})
    build_index(people, "s", ["city"])
    with pytest.raises(Conflict):
        writer.commit()


def test_building_online_while_others_write(people: Database) -> None:
    stop = threading.Event()
    written: list[int] = []

    def write() -> None:
        number = 6000
        while not stop.is_set():
            people.transact(
                lambda view, number=number: open_store(view, "s").upsert({"id": number, "city": "w"}), attempts=50
            )
            written.append(number)
            number += 1

    thread = threading.Thread(target=write)
    thread.start()
    try:
        told: list[tuple[int, int]] = []
        build_index(people, "s", ["city"], progress=lambda done, total: told.append((done, total)))
    finally:
        stop.set()
        thread.join()
    assert told[-1][0] >= 4000
    found = select(people.snapshot(), "s", filter={"city": "w"})
    assert sorted(row["id"] for row in found) == written
    (index,) = describe_store(people.snapshot(), "s")["indexes"]
    assert (index["state"], index["count"]) == ("ready", 4000 + len(written))


def test_an_index_that_cannot_be_built_is_gone(people: Database) -> None:
    with pytest.raises(UniqueViolation):
        build_index(people, "s", ["city"], unique=True)
    assert describe_store(people.snapshot(), "s")["indexes"] == []
    with pytest.raises(InvalidName):
        build_index(people, "s", ["city", "city"])
    with pytest.raises(IndexNotFound, match="cty"):
        people.transact(lambda view: (create_index(view, "s", ["city"]), drop_index(view, "s", "cty")))
    people.transact(lambda view: create_index(view, "s", ["city"]))
    with pytest.raises(IndexExists):
        build_index(people, "s", ["city"])
    with pytest.raises(InvalidRecord, match="cannot hold values that long"):
        people.transact(lambda view: open_store(view, "s").add({"id": -1, "city": "x" * 2000}))
    people.transact(lambda view: drop_index(view, "s", "city"))
    people.transact(lambda view: open_store(view, "s").add({"id": -1, "city": "x" * 2000}))


def test_restoring_a_store_restores_its_indexes(people: Database) -> None:
    people.transact(lambda view: create_index(view, "s", ["city"]))
    then = people.head().seq
    people.transact(lambda view: create_index(view, "s", ["age"]))
    people.transact(lambda view: [open_store(view, "s").delete(number) for number in range(0, 4000, 2)])
    people.transact(lambda view: drop_index(view, "s", "city"))
    restore_store(people, "s", then)
    view = people.snapshot()
    assert [index["name"] for index in describe_store(view, "s")["indexes"]] == ["city"]
    assert check_indexes(view, "s") == []
    assert select(view, "s", filter={"city": "c3"}).count() == 100


def test_dropping_a_store_drops_its_indexes(people: Database) -> None:
    people.transact(lambda view: create_index(view, "s", ["city"]))
    people.transact(lambda view: drop_store(view, "s"))
    assert [name for name in people.snapshot().trees() if "s" in name.split("/")] == []
    people.transact(lambda view: create_store(view, "s", primary_key=["id"]))


def test_a_store_that_is_opened_again_in_a_transaction_has_the_indexes_of_now() -> None:
    with Database(MemoryPager("opened again")) as database:
        database.transact(lambda t: create_store(t, "s", primary_key=["id"]))
        transaction = database.begin("t")
        assert not open_store(transaction, "s").indexes
        create_index(transaction, "s", ["a"], name="i")
        open_store(transaction, "s").add({"id": 1, "a": 7})
        first = open_store(transaction, "s").indexes[0].tree
        drop_index(transaction, "s", "i")
        create_index(transaction, "s", ["a"], name="i")
        open_store(transaction, "s").add({"id": 2, "a": 7})
        assert open_store(transaction, "s").indexes[0].tree is not first
        assert [row["id"] for row in select(transaction, "s", filter={"a": 7})] == [1, 2]
        drop_store(transaction, "s")
        create_store(transaction, "s", primary_key=["id"])
        assert open_store(transaction, "s").count() == 0
        transaction.savepoint("here")
        open_store(transaction, "s").add({"id": 3, "a": 7})
        transaction.rollback_to("here")
        assert open_store(transaction, "s").get(3) is None
        transaction.commit()
        assert not check_indexes(database.snapshot(), "s")
