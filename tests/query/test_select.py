"""select against a plain Python oracle: any filter, any order, any page, with and without a usable key."""

import tempfile
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from btree import Database, MemoryPager, Transaction
from query import (
    InvalidQuery,
    RecordExists,
    RecordNotFound,
    StoreNotFound,
    UnknownOperator,
    create_store,
    describe_store,
    import_csv,
    import_ndjson,
    join,
    list_stores,
    open_store,
    select,
    select_page,
)
from query.errors import InvalidKeyValue, InvalidRecord, QueryError, StoreExists
from query.values.keycode import encode

FIELDS = ("a", "b", "c", "d.e")
plain = st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from([0.5, 1.0, -2.5, "", "x", "xy", "y"]))
records = st.lists(
    st.fixed_dictionaries(
        {"a": plain, "b": st.integers(0, 4)},
        optional={"c": plain, "d": st.fixed_dictionaries({}, optional={"e": plain})},
    ),
    max_size=40,
)
ordered = st.one_of(st.integers(-3, 3), st.sampled_from([0.5, "x", "xy", True]))
conditions = st.one_of(
    plain,
    st.dictionaries(st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), ordered, min_size=1, max_size=2),
    st.dictionaries(st.sampled_from(["$eq", "$ne"]), plain, min_size=1),
    st.fixed_dictionaries({"$in": st.lists(plain, max_size=3)}),
    st.fixed_dictionaries({"$between": st.tuples(st.integers(-3, 0), st.integers(0, 3)).map(list)}),
    st.fixed_dictionaries({"$exists": st.booleans()}),
    st.fixed_dictionaries({"$starts_with": st.sampled_from(["", "x"])}),
)
filters = st.recursive(
    st.dictionaries(st.sampled_from(FIELDS), conditions, max_size=3),
    lambda inner: st.one_of(
        st.fixed_dictionaries({"$and": st.lists(inner, min_size=1, max_size=2)}),
        st.fixed_dictionaries({"$or": st.lists(inner, min_size=1, max_size=2)}),
        st.fixed_dictionaries({"$not": inner}),
    ),
    max_leaves=4,
)
ABSENT = object()


def field(record: Any, path: str) -> Any:
    for name in path.split("."):
        if not isinstance(record, Mapping) or name not in record:
            return ABSENT
        record = record[name]
    return record


def kind(value: Any) -> str:
    return "bool" if isinstance(value, bool) else "number" if isinstance(value, int | float) else type(value).__name__


def same(left: Any, right: Any) -> bool:
    left, right = (None if value is ABSENT else value for value in (left, right))
    return kind(left) == kind(right) and left == right


def holds(value: Any, condition: Any) -> bool:
    """One field's condition, written as the documentation says it."""
    if not isinstance(condition, Mapping):
        return same(value, condition)
    for name, operand in condition.items():
        comparable = value is not ABSENT and kind(value) == kind(operand) and value is not None
        answers = {
            "$eq": lambda operand=operand: same(value, operand),
            "$ne": lambda operand=operand: not same(value, operand),
            "$gt": lambda operand=operand, c=comparable: c and value > operand,
            "$gte": lambda operand=operand, c=comparable: c and value >= operand,
            "$lt": lambda operand=operand, c=comparable: c and value < operand,
            "$lte": lambda operand=operand, c=comparable: c and value <= operand,
            "$in": lambda operand=operand: any(same(value, element) for element in operand),
            "$between": lambda operand=operand: (
                kind(value) == "number" and value is not ABSENT and operand[0] <= value <= operand[1]
            ),
            "$exists": lambda operand=operand: (value is not ABSENT) == operand,
            "$starts_with": lambda operand=operand: isinstance(value, str) and value.startswith(operand),
        }
        if not answers[name]():
            return False
    return True


def matches(record: Any, query: Mapping[str, Any]) -> bool:
    for name, condition in query.items():
        if name == "$and":
            ok = all(matches(record, part) for part in condition)
        elif name == "$or":
            ok = any(matches(record, part) for part in condition)
        elif name == "$not":
            ok = not matches(record, condition)
        else:
            ok = holds(field(record, name), condition)
        if not ok:
            return False
    return True


MANY: list[dict[str, Any]] = [
    {"id": n, "n": n * 7919 % 1000, "t": "t" * (n % 40), "k": ("x", None, n)[n % 3]} for n in range(3000)
]
"""Rows on many pages."""


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([0, 1, 10, 500, 990, 1000]),
    st.sampled_from([{}, {"id": {"$gte": 700, "$lt": 2100}}, {"k": "x"}, {"id": {"$lt": 3}}]),
    st.none() | st.integers(0, 3000),
    st.sampled_from([0, 0, 1, 77]),
    st.booleans(),
)
def test_rows_of_many_pages_as_json(
    below: int, more: dict[str, Any], limit: int | None, offset: int, in_transaction: bool
) -> None:
    with Database(MemoryPager(f"many{id(more)}")) as database:
        transaction = database.begin("t", durable=False)
        store = create_store(transaction, "s", primary_key=["id"])
        for row in MANY:
            store.upsert(row)
        if not in_transaction:
            transaction.commit()
        view = transaction if in_transaction else database.snapshot()
        query = {"n": {"$lt": below}, **more}
        expected = [row for row in MANY if matches(row, query)][offset:]
        window = expected if limit is None else expected[:limit]
        selection = select(view, "s", filter=query, limit=limit, offset=offset)
        chunks = list(selection.json_chunks())
        assert all(chunks) and orjson.loads(b"[%b]" % b",\n".join(chunks)) == window
        assert selection.returned == len(window)
        if in_transaction:
            transaction.rollback()


@settings(max_examples=300, deadline=None)
@given(
    records,
    filters,
    st.sampled_from([["a", "b"], ["b", "a"], ["b"]]),
    st.booleans(),
    st.none() | st.integers(0, 5),
    st.integers(0, 3),
)
def test_select_is_the_oracle(
    rows: list[dict[str, Any]], query: dict[str, Any], key: list[str], backwards: bool, limit: int | None, offset: int
) -> None:
    database = Database(MemoryPager(f"select{id(rows)}"))
    transaction = database.begin("t")
    store = create_store(transaction, "s", primary_key=key)
    for row in rows:
        store.upsert(row)
    transaction.commit()
    by_key = {encode([row[name] for name in key]): row for row in rows}
    expected = [row for _, row in sorted(by_key.items(), reverse=backwards) if matches(row, query)]
    window = expected[offset:][:limit] if limit is not None else expected[offset:]
    view = database.snapshot()
    options: dict[str, Any] = {"filter": query, "order_by": [f"{name} desc" for name in key] if backwards else None}
    assert list(select(view, "s", **options, limit=limit, offset=offset)) == window
    assert select(view, "s", **options, limit=limit, offset=offset).count() == len(window)
    chunks = b",\n".join(select(view, "s", **options, limit=limit, offset=offset).json_chunks())
    assert orjson.loads(b"[" + chunks + b"]") == window
    paged: list[Any] = []
    after: bytes | None = None
    while True:
        page, after = select_page(
            view, {"store": "s", **options, "limit": limit, "offset": offset}, after=after, limit=2, done=len(paged)
        )
        paged += page
        if after is None:
            break
    assert paged == window
    database.close()


@settings(max_examples=100, deadline=None)
@given(
    records,
    st.lists(
        st.sampled_from(["a", "-a", "c desc", "b", "d.e"]),
        min_size=1,
        max_size=3,
        unique_by=lambda text: text.strip("-").split()[0],
    ),
)
def test_sorting_by_any_field(rows: list[dict[str, Any]], order: list[str]) -> None:
    database = Database(MemoryPager(f"sort{id(rows)}"))
    transaction = database.begin("t")
    store = create_store(transaction, "s", primary_key=["b", "a"])
    for row in rows:
        store.upsert(row)
    found = list(select(transaction, "s", order_by=order))
    for left, right in pairwise(found):
        assert compare(left, right, order) <= 0
    assert sorted(map(orjson.dumps, found)) == sorted(map(orjson.dumps, select(transaction, "s")))
    database.close()


def compare(left: Any, right: Any, order: list[str]) -> int:
    for item in order:
        name, descending = item.strip("-").split()[0], item.startswith("-") or item.endswith("desc")
        keys = [encode([None if (value := field(row, name)) is ABSENT else value]) for row in (left, right)]
        if keys[0] != keys[1]:
            return (1 if keys[0] > keys[1] else -1) * (-1 if descending else 1)
    return 0


@pytest.fixture
def orders(database: Database) -> Database:
    def fill(transaction: Transaction) -> None:
        store = create_store(transaction, "orders", primary_key=["customer", "day"])
        for number in range(2000):
            store.add({"customer": f"c{number % 100:03d}", "day": f"2026-01-{number // 100 + 1:02d}", "total": number})

    database.transact(fill)
    return database


@pytest.mark.parametrize(
    ("query", "access", "examined", "returned"),
    [
        ({}, "scan", 2000, 2000),
        ({"customer": "c007"}, "range", 20, 20),
        ({"customer": "c007", "day": "2026-01-03"}, "key", 1, 1),
        ({"customer": "c007", "day": {"$gte": "2026-01-05", "$lt": "2026-01-08"}}, "range", 3, 3),
        ({"customer": {"$gte": "c098"}}, "range", 40, 40),
        ({"customer": {"$starts_with": "c00"}, "total": {"$lt": 5}}, "range", 200, 5),
        ({"day": "2026-01-03"}, "scan", 2000, 100),
        ({"customer": "c007", "total": 7}, "range", 20, 1),
        ({"customer": {"$gt": "c050", "$ne": "c060"}}, "range", 980, 960),
        ({"customer": 7}, "range", 0, 0),
    ],
)
def test_the_key_is_sought_and_reading_stops_at_the_bound(
    orders: Database, query: dict[str, Any], access: str, examined: int, returned: int
) -> None:
    found = select(orders.snapshot(), "orders", filter=query)
    assert len(list(found)) == returned
    assert found.plan["access"] == access
    assert found.plan["rows_examined"] == examined
    assert found.plan["rows_returned"] == returned


def test_a_limit_reads_no_more_than_it_needs(orders: Database) -> None:
    found = select(orders.snapshot(), "orders", order_by=["customer desc", "day desc"], limit=3)
    assert [row["total"] for row in found] == [1999, 1899, 1799]
    assert found.plan["rows_examined"] <= 4


@pytest.mark.parametrize("number", [2**63, 2**70, 10**400], ids=["64 bits", "70", "1300"])
@pytest.mark.parametrize("order", [None, "-total"])
def test_a_window_larger_than_any_store(orders: Database, order: str | None, number: int) -> None:
    view = orders.snapshot()
    whole = list(select(view, "orders", order_by=order))
    assert list(select(view, "orders", order_by=order, limit=number)) == whole
    assert list(select(view, "orders", order_by=order, limit=number, offset=number)) == []
    joined = join(view, left="orders", right="orders", on=["customer", "day"], limit=number)
    assert [row["left"] for row in joined] == list(select(view, "orders"))


@pytest.mark.parametrize("name", ["\x00", "a\x00b", 'q"', "back\\slash", "soft\xadhyphen", "\x7f"])
def test_fields_whose_names_json_writes_with_escapes(name: str) -> None:
    with Database(MemoryPager(f"names-{name!r}")) as database:
        database.transact(lambda view: create_store(view, "s", primary_key=["id"]).add({"id": 1, name: 2}))
        rows = select(database.snapshot(), "s", fields=[f"{name} AS x", "id"])
        assert orjson.loads(b"[%b]" % b",".join(rows.json_chunks())) == [{"x": 2, "id": 1}]
        assert list(rows) == [{"x": 2, "id": 1}]


def test_fields_and_aliases(orders: Database) -> None:
    row = next(iter(select(orders.snapshot(), "orders", fields=["total AS sum", "customer", "none"], limit=1)))
    assert row == {"sum": 0, "customer": "c000", "none": None}


@pytest.mark.parametrize(
    ("query", "error", "pointer"),
    [
        ({"total": {"$gtt": 5}}, UnknownOperator, "/filter/total/$gtt"),
        ({"$nor": []}, UnknownOperator, "/filter/$nor"),
        ({"total": {"$regex": "x("}}, InvalidQuery, "/filter/total/$regex"),
        ({"total": {"$in": 5}}, InvalidQuery, "/filter/total/$in"),
        ({"total": {"$gt": None}}, InvalidQuery, "/filter/total/$gt"),
        ({"total": {"$between": [1]}}, InvalidQuery, "/filter/total/$between"),
        ({"$or": []}, InvalidQuery, "/filter/$or"),
        ({"a": {"$exists": 1}}, InvalidQuery, "/filter/a/$exists"),
    ],
)
def test_a_wrong_filter_is_an_error_with_its_place(
    orders: Database, query: dict[str, Any], error: type[QueryError], pointer: str
) -> None:
    with pytest.raises(error) as raised:
        select(orders.snapshot(), "orders", filter=query)
    assert raised.value.pointer == pointer


def test_other_wrong_queries(orders: Database) -> None:
    view = orders.snapshot()
    for options in (
        {"limit": -1},
        {"offset": True},
        {"order_by": "total sideways"},
        {"fields": ["a b"]},
        {"key": "c001", "filter": {"customer": 1}},
        {"key": ["c"]},
    ):
        with pytest.raises(QueryError):
            select(view, "orders", **options)
    with pytest.raises(StoreNotFound) as raised:
        select(view, "ordrs")
    assert raised.value.hint == "did you mean 'orders'?"


def test_records_by_key(database: Database) -> None:
    transaction = database.begin("t")
    store = create_store(transaction, "users", primary_key=["id"], description="people")
    store.add({"id": 1, "name": "ann"})
    with pytest.raises(RecordExists):
        store.add({"id": 1.0, "name": "bob"})
    assert store.upsert({"id": 2, "name": "bob"}) == "added"
    assert store.upsert({"id": 2, "name": "cyd"}) == "updated"
    assert store.update(2, {"name": "dan"}) == {"id": 2, "name": "dan"}
    assert store.update({"id": 2}, {"id": 3}) == {"id": 3, "name": "dan"}
    assert [store.get(key) for key in (2, [3], {"id": 1})] == [None, {"id": 3, "name": "dan"}, {"id": 1, "name": "ann"}]
    with pytest.raises(RecordExists):
        store.update(3, {"id": 1})
    with pytest.raises(RecordNotFound):
        store.update(9, {})
    with pytest.raises(InvalidRecord):
        store.add({"name": "no key"})
    with pytest.raises(InvalidKeyValue):
        store.get({"nr": 1})
    assert store.delete(1)
    assert not store.delete(1)
    assert store.count() == 1
    with pytest.raises(StoreExists):
        create_store(transaction, "users", primary_key=["id"])
    transaction.commit()
    view = database.snapshot()
    assert [info.name for info in list_stores(view)] == ["users"]
    described = describe_store(view, "users")
    assert described["count"] == 1
    assert described["first_key"] == [3]
    properties = described["inferred_schema"]["properties"]
    assert {name: found["type"] for name, found in properties.items()} == {"id": ["integer"], "name": ["string"]}
    with pytest.raises(InvalidRecord):
        open_store(view, "users").add({"id": 5})


def test_import_tells_every_rejected_line(database: Database) -> None:
    database.transact(lambda transaction: create_store(transaction, "s", primary_key=["id"]))
    report = import_ndjson(
        database, "s", [b'{"id": 1}\n', b"\n", b"{oops\n", b'{"no": 1}\n', b"[1]\n", b'{"id": 2, "x": "\xc3\xa9"}']
    )
    assert (report.imported, report.rejected_count) == (2, 3)
    assert [(entry["line"], entry["code"]) for entry in report.rejected] == [
        (3, "invalid_record"),
        (4, "invalid_record"),
        (5, "invalid_record"),
    ]
    strict = import_csv(
        database, "s", ["id,n\n", "7,nan\n", "7,1_0\n", "7_0,1\n"], types={"id": "integer", "n": "number"}
    )
    assert (strict.imported, strict.rejected_count) == (0, 3)
    text = 'id,n,on,day,name\n3,1.5,true,2026-01-05,"a ""b""\nc"\n4,x,true,2026-01-05,y\n5,,,,\n6,1\n'
    types = {"id": "integer", "n": "number", "on": "boolean", "day": "date"}
    report = import_csv(database, "s", text.splitlines(keepends=True), types=types)
    assert (report.imported, report.rejected_count) == (2, 2)
    assert [entry["line"] for entry in report.rejected] == [4, 6]
    store = open_store(database.snapshot(), "s")
    assert store.get(3) == {"id": 3, "n": 1.5, "on": True, "day": "2026-01-05", "name": 'a "b"\nc'}
    assert store.get(5) == {"id": 5, "n": None, "on": None, "day": None, "name": ""}
    for bad in ("", "id,id\n1,2\n"):
        with pytest.raises(InvalidRecord):
            import_csv(database, "s", bad.splitlines(keepends=True))
    with pytest.raises(InvalidRecord):
        import_csv(database, "s", ["id\n"], types={"nr": "integer"})


def test_databases_are_files_with_checked_names() -> None:
    from query import Databases, InvalidName, UnknownDatabase

    with tempfile.TemporaryDirectory() as folder:
        databases = Databases(Path(folder))
        databases.create("shop")
        databases.ensure("system")
        assert databases.names() == ["shop"]
        with pytest.raises(UnknownDatabase) as raised:
            databases.open("shp")
        assert raised.value.hint == "did you mean 'shop'?"
        for name in ("../x", "", "A", "a/b", "a\x00", "x" * 64, "1a", "."):
            with pytest.raises(InvalidName):
                databases.ensure(name)
        with pytest.raises(InvalidName):
            databases.create("shop")
        databases.close()
