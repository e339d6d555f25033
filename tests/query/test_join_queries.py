"""What a join may say, what is refused and where, what is pushed down, which method is chosen, and other databases."""

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from btree import Database, MemoryPager, Transaction
from query import InvalidQuery, QueryError, create_index, create_store
from query.joins import Joined, join
from query.stores.catalog import View

USERS = {
    "type": "object",
    "properties": {"id": {"type": "integer"}, "name": {"type": "string"}, "age": {"type": "integer"}},
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def view() -> Iterator[View]:
    def fill(transaction: Transaction) -> None:
        users = create_store(transaction, "users", primary_key=["id"], schema=USERS)
        for number in range(200):
            users.add({"id": number, "name": f"user {number}", "age": number % 50})
        orders = create_store(transaction, "orders", primary_key=["number"])
        for number in range(1000):
            orders.add({"number": number, "user": number % 150, "item": number % 7, "total": number % 90})
        create_index(transaction, "orders", ["user"])
        items = create_store(transaction, "items", primary_key=["shop", "id"])
        for number in range(14):
            items.add({"shop": number // 7, "id": number % 7, "title": f"item {number}"})

    with Database(MemoryPager("join queries")) as database:
        database.transact(fill)
        yield database.snapshot()


def ask(view: View, **query: Any) -> Joined:
    return join(view, **{"left": "users", "right": "orders", "on": {"id": "user"}, **query})


CHAIN = {"left": {"store": "orders", "as": "o"}, "right": {"store": "users", "as": "u"}, "on": {"user": "id"}}

WRONG = [
    ({"type": "iner"}, "/type", "'inner'"),
    ({"type": "outer"}, "/type", "'full'"),
    ({"type": None}, "/type", "one of"),
    ({"left": "user"}, "/left", "'users'"),
    ({"left": {"store": "user"}}, "/left", "'users'"),
    ({"left": {"stor": "users"}}, "/left/stor", "'store'"),
    ({"left": {"as": "u"}}, "/left/store", None),
    ({"left": 7}, "/left", "write"),
    ({"left": {"store": "users", "database": "other"}}, "/left/database", "right"),
    ({"left": {"store": "users", "as": "a.b"}}, "/left/as", "letters"),
    ({"left": {"store": "users", "as": "right"}}, "/right", '"as"'),
    ({"left": {"store": "users", "filter": {"nam": 1}}}, "/left/filter/nam", "name"),
    ({"left": {"store": "users", "filter": {"name": {"$near": 1}}}}, "/left/filter/name/$near", None),
    ({"left": {"store": "users", "filter": []}}, "/left/filter", None),
    ({"left": {"store": "users", "key": [1, 2]}}, "/left/key", None),
    ({"right": {"store": "users", "database": "other"}}, "/right/database", "leave database out"),
    ({"right": CHAIN}, "/right", "left side"),
    ({"on": {"idd": "user"}}, "/on/idd", "'id'"),
    ({"on": ["user"]}, "/on/0", "one of"),
    ({"on": {}}, "/on", "write"),
    ({"on": 5}, "/on", "write"),
    ({"on": {"id": "a..b"}}, "/on/id", None),
    ({"on": ["id", "id"]}, "/on", None),
    ({"right": "users", "on": {"id": "idd"}}, "/on/id", "'id'"),
    ({"filter": {"lft.id": 1}}, "/filter/lft.id", "left"),
    ({"filter": {"left.nme": 1}}, "/filter/left.nme", "'name'"),
    ({"filter": {"$or": [{"right.x": 1}, {"left.nme": 1}]}}, "/filter/$or/1/left.nme", "'name'"),
    ({"filter": {"left.id": {"$gtt": 1}}}, "/filter/left.id/$gtt", "$gt"),
    ({"filter": 3}, "/filter", None),
    ({"type": "semi", "filter": {"right.item": 1}}, "/filter/right.item", None),
    ({"type": "anti", "fields": ["right.item"]}, "/fields/0", "one of: left"),
    ({"fields": ["left.nme"]}, "/fields/0", "'name'"),
    ({"fields": ["name"]}, "/fields/0", "side.field"),
    ({"fields": ["left.*"]}, "/fields/0", "write left"),
    ({"fields": []}, "/fields", None),
    ({"order_by": "left.nme"}, "/order_by", "'name'"),
    ({"order_by": ["left.id", "id"]}, "/order_by/1", "side.field"),
    ({"limit": -1}, "/limit", None),
    ({"method": "nested"}, "/method", "one of"),
    ({"method": "lookup", "type": "full"}, "/method", "inner, left, semi or anti"),
    ({"method": "merge", "on": {"age": "total"}}, "/method", "join fields"),
    ({"left": CHAIN, "on": ["id"]}, "/on", '"o.field"'),
    ({"left": CHAIN, "on": {"o": "id"}}, "/on/o", "o.field"),
    ({"left": CHAIN, "on": {"x.id": "id"}}, "/on/x.id", "one of: o, u"),
    ({"left": CHAIN, "on": {"u.idd": "id"}}, "/on/u.idd", "'id'"),
    ({"left": {**CHAIN, "as": "x"}, "on": {"o.item": "id"}}, "/left/as", "own names"),
    ({"left": {**CHAIN, "type": "lefft"}, "on": {"o.item": "id"}}, "/left/type", "'left'"),
    ({"left": {**CHAIN, "on": {"user": "idd"}}, "on": {"o.item": "id"}}, "/left/on/user", "'id'"),
    ({"left": {**CHAIN, "filter": {"x.a": 1}}, "on": {"o.item": "id"}}, "/left/filter/x.a", "o"),
    ({"left": CHAIN, "right": {"store": "items", "as": "u"}, "on": {"o.item": "id"}}, "/right", '"as"'),
    ({"left": {"left": "users", "on": "id"}, "on": {"o.item": "id"}}, "/left", None),
]


@pytest.mark.parametrize(("query", "pointer", "hint"), WRONG, ids=lambda part: str(part)[:50])
def test_what_is_wrong_is_refused_at_its_place(
    view: View, query: dict[str, Any], pointer: str, hint: str | None
) -> None:
    with pytest.raises(QueryError) as caught:
        ask(view, **query)
    assert caught.value.pointer == pointer
    if hint is not None:
        assert hint in (caught.value.hint or "")


PUSHED = [
    ("inner", {"left.age": {"$gt": 3}, "right.item": 2}, "inner", {"age": {"$gt": 3}}, {"item": 2}, {}),
    ("left", {"left.age": 3, "right.item": None}, "left", {"age": 3}, {}, {"right.item": None}),
    ("left", {"right.item": {"$gt": 2}}, "inner", {}, {"item": {"$gt": 2}}, {}),
    ("left", {"right": None}, "anti", {}, {}, {}),
    ("full", {"right": None}, "full", {}, {}, {"right": None}),
    ("full", {"right.item": 1}, "right", {}, {"item": 1}, {}),
    ("full", {"left.age": 1, "right.item": 1}, "inner", {"age": 1}, {"item": 1}, {}),
    ("right", {"left.age": {"$ne": 1}}, "right", {}, {}, {"left.age": {"$ne": 1}}),
    ("right", {"left.age": 1}, "inner", {"age": 1}, {}, {}),
    ("inner", {"$or": [{"left.age": 1}, {"right.item": 1}]}, "inner", {}, {}, "same"),
    ("inner", {"$or": [{"left.age": 1}, {"left.id": 1}]}, "inner", {"$or": [{"age": 1}, {"id": 1}]}, {}, {}),
    ("semi", {"$not": {"left.age": 1}}, "semi", {"$not": {"age": 1}}, {}, {}),
]


@pytest.mark.parametrize(("kind", "where", "done_as", "left", "right", "rest"), PUSHED)
def test_conditions_are_tested_before_joining(
    view: View, kind: str, where: dict[str, Any], done_as: str, left: Any, right: Any, rest: Any
) -> None:
    plan = ask(view, type=kind, filter=where).plan
    equal = lambda found, wanted: _explicit(found) == _explicit(wanted)  # noqa: E731
    assert plan["done_as"] == done_as
    assert equal(plan["pushed_left"], left)
    assert equal(plan["pushed_right"], right)
    assert equal(plan["residual"], where if rest == "same" else rest)


def _explicit(query: dict[str, Any]) -> dict[str, Any]:
    return (
        {
            name: value if name.startswith("$") or isinstance(value, dict) else {"$eq": value}
            for name, value in query.items()
        }
        | {name: [_explicit(part) for part in value] for name, value in query.items() if name in ("$or", "$and")}
        | {name: _explicit(value) for name, value in query.items() if name == "$not"}
    )


def test_users_without_orders(view: View) -> None:
    expected = [{"id": number, "name": f"user {number}", "age": number % 50} for number in range(150, 200)]
    assert [row["left"] for row in ask(view, type="anti", order_by="left.id")] == expected
    rows = list(ask(view, type="left", filter={"right": None}, order_by="left.id"))
    assert rows == [{"left": row, "right": None} for row in expected]


def test_the_cheapest_method_is_chosen(view: View) -> None:
    assert ask(view, left="users", right={"store": "users", "as": "other"}, on="id").plan["method"] == "merge"
    assert ask(view, left={"store": "users", "key": 5}).plan["method"] == "lookup"
    assert ask(view, right="orders", on={"age": "total"}).plan["method"] == "hash"
    looked_up = ask(view, left={"store": "users", "key": 5})
    assert looked_up.count() == 7
    assert looked_up.plan["right"] | {"rows_read": 0} == {
        "access": "lookup", "index": "user", "fields": ["user"], "conditions": {}, "residual": {},
        "lookups": 1, "rows_read": 0,
    }  # fmt: skip
    assert ask(view, left={"store": "users", "key": 5}, indexes=False).plan["method"] == "hash"


def test_a_condition_before_the_join_field_makes_a_path(view: View) -> None:
    """The key of items is shop, id: with the shop fixed, it leads to items by their id."""
    right = {"store": "items", "filter": {"shop": 1}}
    for method in ("lookup", "merge", "hash"):
        if method == "merge":
            rows = list(join(view, left={"store": "items", "filter": {"shop": 0}}, right=right, on="id", method=method))
            assert [(row["left"]["title"], row["right"]["title"]) for row in rows] == [
                (f"item {number}", f"item {number + 7}") for number in range(7)
            ]
            continue
        joined = join(view, left="orders", right=right, on={"item": "id"}, method=method, order_by="left.number")
        assert [row["right"]["title"] for row in joined] == [f"item {number % 7 + 7}" for number in range(1000)]


def test_order_of_the_left_path_needs_no_sort(view: View) -> None:
    assert (
        ask(view, type="left", left={"store": "users", "filter": {"id": {"$lt": 9}}}, order_by="left.id").plan["sort"]
        == []
    )
    backwards = ask(view, method="lookup", order_by="left.id desc", limit=3)
    assert backwards.plan["sort"] == []
    assert [row["left"]["id"] for row in backwards] == [149, 149, 149]
    assert ask(view, order_by="right.total").plan["sort"] == ["right.total asc"]


@pytest.mark.parametrize("method", ["merge", "lookup", "hash"])
@pytest.mark.parametrize("kind", ["inner", "left", "semi", "anti"])
def test_rows_come_in_the_order_asked_for(view: View, method: str, kind: str) -> None:
    for order, backwards in (("left.number", False), ("left.number desc", True)):
        query: dict[str, Any] = {"left": "orders", "right": "users", "on": {"number": "id"}, "type": kind}
        numbers = [row["left"]["number"] for row in ask(view, **query, method=method, order_by=order)]
        assert numbers == sorted(numbers, reverse=backwards)
        assert len(numbers) == {"inner": 200, "left": 1000, "semi": 200, "anti": 800}[kind]


def test_fields(view: View) -> None:
    joined = ask(view, fields=["left.name", "right.total AS total", "right"], order_by="right.number", limit=2)
    expected = [
        {"left.name": f"user {at}", "total": at, "right": {"number": at, "user": at, "item": at, "total": at}}
        for at in (0, 1)
    ]
    assert list(joined) == expected
    assert joined.columns == ["left.name", "total", "right"]
    assert orjson.loads(b"[" + b",\n".join(joined.json_chunks()) + b"]") == expected
    outer = ask(view, type="left", fields=["left.id", "right.total"], filter={"left.id": 199})
    assert list(outer) == [{"left.id": 199, "right.total": None}]


def test_a_chain_with_conditions_at_every_place(view: View) -> None:
    joined = join(
        view,
        left={**CHAIN, "type": "left", "filter": {"u.age": {"$lt": 2}}},
        right={"store": "items", "as": "i", "filter": {"shop": 0}},
        on={"o.item": "id"},
        filter={"o.total": {"$gte": 80}, "i.title": "item 3"},
        order_by=["u.id", "o.number"],
        fields=["o.number", "u.name AS user", "i.title AS title"],
    )
    expected = [
        {"o.number": number, "user": f"user {number % 150}", "title": "item 3"}
        for number in range(1000)
        if number % 150 % 50 < 2 and number % 90 >= 80 and number % 7 == 3
    ]
    expected.sort(key=lambda row: (int(row["user"].split()[1]), row["o.number"]))
    assert expected
    assert list(joined) == expected
    plan = joined.plan
    assert plan["left"]["method"] in ("merge", "lookup", "hash")
    assert plan["left"]["pushed_left"] == {"total": {"$gte": 80}}
    assert plan["residual"] == {}


FIRST = {"store": "users", "as": "a", "filter": {"id": {"$lt": 6}}}
BY_USER = {"left": FIRST, "right": {"store": "orders", "as": "b"}, "on": {"id": "user"}}
LAST = {"store": "users", "as": "c", "filter": {"id": {"$gte": 2}}}


@pytest.mark.parametrize("kind", ["inner", "left", "right", "full", "semi", "anti"])
@pytest.mark.parametrize(
    ("inner", "name"), [("inner", "a.id"), ("inner", "b.user"), ("left", "a.id"), ("semi", "a.id")]
)
def test_joined_rows_in_the_order_of_the_next_join_are_merged(view: View, inner: str, name: str, kind: str) -> None:
    query: dict[str, Any] = {"left": {**BY_USER, "type": inner}, "right": LAST, "on": {name: "id"}, "type": kind}
    joined = join(view, **query, method="merge")
    assert joined.plan["method"] == "merge"
    assert joined.plan["left"]["method"] in ("merge", "lookup")
    rows, others = list(joined), list(join(view, **query, method="hash"))
    assert rows
    assert sorted(map(orjson.dumps, rows)) == sorted(map(orjson.dumps, others))
    if kind in ("inner", "left", "semi"):
        numbers = [row["a"]["id"] for row in rows]
        assert numbers == sorted(numbers)


def test_a_chain_of_merges(view: View) -> None:
    inner = {"left": {"store": "users", "as": "a"}, "right": {"store": "orders", "as": "b"}, "on": {"id": "number"}}
    chain = {"left": inner, "right": LAST, "on": {"b.number": "id"}}
    joined = join(view, left=chain, right={"store": "users", "as": "d"}, on={"c.id": "id"})
    assert [row["a"]["id"] for row in joined if row["a"] == row["c"] == row["d"]] == list(range(2, 200))
    plan = joined.plan
    assert [plan["method"], plan["left"]["method"], plan["left"]["left"]["method"]] == ["merge"] * 3
    assert plan["rows_returned"] == 198
    assert plan["right"]["rows_read"] <= 200


@pytest.mark.parametrize(
    ("inner", "on"),
    [
        ({"type": "left"}, {"b.user": "id"}),  # null where there is no order
        ({"type": "full"}, {"a.id": "id"}),
        ({}, {"b.number": "id"}),
        ({}, {"a.age": "id"}),
        (
            {"left": {"store": "orders", "as": "a"}, "right": {"store": "users", "as": "b"}, "on": {"item": "age"}},
            {"a.user": "id"},
        ),
    ],
)
def test_joined_rows_in_another_order_are_not_merged(view: View, inner: dict[str, Any], on: dict[str, str]) -> None:
    query: dict[str, Any] = {"left": {**BY_USER, **inner}, "right": LAST, "on": on}
    assert join(view, **query).plan["method"] != "merge"
    with pytest.raises(InvalidQuery) as caught:
        join(view, **query, method="merge")
    assert "in that order" in (caught.value.hint or "")


def test_another_database_on_the_right(view: View) -> None:
    with Database(MemoryPager("the other one")) as other:

        def fill(transaction: Transaction) -> None:
            store = create_store(transaction, "orders", primary_key=["user"])
            for number in range(3):
                store.add({"user": number, "of": "another"})

        other.transact(fill)
        asked: list[str] = []

        def views(name: str) -> View:
            asked.append(name)
            return other.snapshot()

        for method in ("merge", "lookup", "hash"):
            right = {"store": "orders", "database": "archive"}
            rows = list(ask(view, right=right, views=views, method=method))
            assert [(row["left"]["id"], row["right"]["of"]) for row in rows] == [(at, "another") for at in range(3)]
        assert set(asked) == {"archive"}

        def refused(name: str) -> View:
            raise InvalidQuery(f"there is no database {name}")

        with pytest.raises(InvalidQuery) as caught:
            ask(view, right={"store": "orders", "database": "archive"}, views=refused)
        assert caught.value.pointer == "/right/database"


def test_semi_and_anti_joins_are_taken_page_by_page(view: View) -> None:
    for kind in ("semi", "anti"):
        for method in ("merge", "lookup"):
            query: dict[str, Any] = {
                "right": "users",
                "left": "orders",
                "on": {"number": "id"},
                "type": kind,
                "method": method,
            }
            whole = list(ask(view, **query).pairs())
            assert ask(view, **query).in_key_order
            assert list(ask(view, **query).pairs(whole[10][0])) == whole[11:]
    inner = ask(view)
    assert not inner.in_key_order
    with pytest.raises(InvalidQuery):
        list(inner.pairs(b"\x01"))


def test_a_join_in_a_transaction_sees_its_writes(view: View) -> None:
    with Database(MemoryPager("writes")) as database:
        transaction = database.begin("t")
        for name in ("users", "orders"):
            store = create_store(transaction, name, primary_key=["id"])
            for number in range(300):
                store.add({"id": number, "user": number})
        for method in ("merge", "lookup", "hash"):
            assert ask(transaction, on="id", method=method).count() == 300
        transaction.rollback()
