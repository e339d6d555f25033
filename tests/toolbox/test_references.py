"""Rows as the result of a tool: a list where they are few, a reference to all of them, in their order, where they are many."""

from pathlib import Path
from typing import Any

import orjson
import pytest

import query
from activities import Resources
from query import create_store, open_store, reference_page
from tests.toolbox.test_tools import call
from toolbox.references import MAX_INLINE


def test_many_rows_are_a_reference(resources: Resources) -> None:
    database = resources.databases.open("shop")
    database.transact(lambda t: [open_store(t, "items").upsert({"id": n, "pad": "x" * 100}) for n in range(1000)])
    view = database.begin("t")
    found = call(resources, "select", {"store": "items", "filter": {"id": {"$gte": 500}}}, view=view)
    assert found["$rows"] == resources.databases.seals.sealed(
        {
            "database": "shop",
            "version": view.base,
            "store": "items",
            "count": 500,
            "query": {"filter": {"id": {"$gte": 500}}},
        }
    )
    database.transact(lambda t: open_store(t, "items").upsert({"id": 0, "pad": "x" * 40_000}))
    one = call(resources, "select", {"store": "items", "key": 0}, view=database.snapshot())
    assert (one["$rows"]["count"], one["$rows"]["query"]) == (1, {"key": 0})
    open_store(view, "items").delete(1)
    mine = call(resources, "select", {"store": "items"}, view=view)
    view.rollback()
    rows = everything(resources, mine)
    assert [row["id"] for row in rows] == [0, *range(2, 1000)]


def everything(resources: Resources, found: Any, limit: int = 37) -> list[dict[str, Any]]:
    """The rows of a reference, page by page."""
    (reference,) = found.values()
    rows: list[dict[str, Any]] = []
    after = None
    while True:
        page, after = reference_page(resources.databases, reference, after=after, limit=limit, done=len(rows))
        rows += page
        if after is None:
            assert len(rows) == reference["count"]
            return rows


def test_many_joined_sorted_and_grouped_rows_are_a_reference(resources: Resources, tmp_path: Path) -> None:
    database = resources.databases.open("shop")

    def fill(view: Any) -> None:
        orders = create_store(view, "orders", primary_key=["id"])
        for n in range(800):
            open_store(view, "items").upsert({"id": n, "kind": n % 7, "pad": "x" * 50})
            orders.add({"id": n, "item": 799 - n // 2, "pad": "y" * 50})

    database.transact(fill)
    view = database.snapshot()
    on = {"left": "orders", "right": "items", "on": {"item": "id"}}
    whole = list(query.join(view, **on))
    database.transact(lambda t: open_store(t, "items").upsert({"id": 0, "kind": "changed meanwhile"}))
    joined = call(resources, "join", on, view=view)
    assert joined["$rows"].keys() == {"database", "version", "count", "result", "seal"}
    assert (joined["$rows"]["database"], joined["$rows"]["version"], joined["$rows"]["count"]) == (
        "shop",
        view.seq,
        800,
    )
    assert everything(resources, joined) == whole
    ordered = call(resources, "select", {"store": "items", "order_by": "kind", "offset": 5, "limit": 700}, view=view)
    assert everything(resources, ordered) == list(query.select(view, "items", order_by="kind", offset=5, limit=700))
    backwards = call(resources, "select", {"store": "items", "order_by": ["-kind", "pad"]}, view=view)
    assert everything(resources, backwards) == list(query.select(view, "items", order_by=["-kind", "pad"]))
    sums = {"values": {"n": "count"}, "group_by": ["item", "id AS order", "pad"], "store": "orders"}
    groups = call(resources, "aggregate", sums, view=view)
    assert len(everything(resources, groups)) == 800
    few = call(resources, "join", {**on, "limit": 2}, view=view)
    assert few == whole[:2]
    assert len(list((tmp_path / "databases" / ".results").iterdir())) == 4


@pytest.mark.parametrize(
    ("args", "pointer"),
    [
        ({"join": {"left": "items", "right": "itmes", "on": "id"}}, "/join/right"),
        ({"join": {"left": "items", "right": "items", "on": "id", "type": "iner"}}, "/join/type"),
        ({"join": {"left": "items", "right": {"store": "items", "as": "r"}, "on": "id", "filter": {"x.a": 1}}}, "/join/filter/x.a"),
        ({"join": {"left": "items", "right": {"store": "items", "as": "r"}, "on": "id"}, "filter": {"x.a": 1}}, "/filter/x.a"),
        ({"join": {"left": "items", "right": {"store": "items", "as": "r"}, "on": "id"}, "order_by": ["x.a"]}, "/order_by/0"),
        ({"join": {"left": "items", "right": {"store": "items", "as": "r"}, "on": "id"}, "limit": -1}, "/limit"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_join_has_its_place(resources: Resources, args: dict[str, Any], pointer: str) -> None:
    with pytest.raises(query.QueryError) as raised:
        call(resources, "explain", args, view=resources.databases.open("shop").snapshot())
    assert raised.value.pointer == pointer


def test_up_to_32_kib_rows_are_a_list(resources: Resources) -> None:
    """The border: a list is never larger, and rows are never fewer."""
    database = resources.databases.open("shop")
    database.transact(lambda t: [open_store(t, "items").upsert({"id": n, "pad": "x" * 80}) for n in range(600)])
    view = database.snapshot()
    for order in ("id", "pad"):
        for limit in (1, 300, 310, 311, 312, 313, 314, 315, 316, 317, 318, 319, 320, 330, 600):
            found = call(resources, "select", {"store": "items", "order_by": order, "limit": limit}, view=view)
            rows = found if isinstance(found, list) else everything(resources, found)
            assert rows == list(query.select(view, "items", order_by=order, limit=limit))
            size = len(orjson.dumps(rows))
            assert size <= MAX_INLINE if isinstance(found, list) else size + len(rows) > MAX_INLINE
