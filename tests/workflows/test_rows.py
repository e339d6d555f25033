"""Tools over many rows, in scripts on a real server: actions, joins, aggregates, indexes."""

from typing import Any

import pytest

from query import check_indexes, select
from script.errors import ScriptInvalid
from tests.conftest import System

ITEMS = [{"id": number, "price": number * 10, "kind": "ab"[number % 2]} for number in range(1, 21)]
ORDERS = [{"id": number, "item": number % 7 + 1, "count": number} for number in range(30)]


def shop(system: System) -> None:
    system.store("shop", "items", ["id"], ITEMS)
    system.store("shop", "orders", ["id"], ORDERS)


def command(name: str, tool: str, args: dict[str, Any]) -> dict[str, Any]:
    return {"type": "command", "name": name, "command": tool, "args": args, "output_variable": name}


async def test_an_update_of_what_a_query_finds(system: System) -> None:
    shop(system)
    cheap = {"store": "items", "filter": {"price": {"$lte": 50}}, "action": "update",
             "update_values": {"price": "{{ row.price * factor }}", "$inc": {"version": 1}}}  # fmt: skip
    events = await system.run(
        {"name": "raise_prices", "parameters": ["factor"], "database": "shop", "steps": [
            command("indexed", "create_index", {"store": "items", "fields": ["price"]}),
            command("seen", "select", {**cheap, "dry_run": True}),
            command("raised", "select", {**cheap, "expect": "{{ seen.token }}", "max_affected": 5}),
            {"type": "return", "value": {"seen": "{{ seen }}", "raised": "{{ raised }}"}}]},
        {"factor": 3},
    )  # fmt: skip
    result = events[-1]["result"]
    assert result["raised"] == {"matched": 5, "updated": 5}
    assert result["seen"]["count"] == 5
    assert result["seen"]["rows"][0] == {"before": ITEMS[0], "after": {**ITEMS[0], "price": 30, "version": 1}}
    view = system.resources.databases.open("shop").snapshot()
    assert [row["price"] for row in select(view, "items", limit=6)] == [30, 60, 90, 120, 150, 60]
    assert check_indexes(view, "items") == []


async def test_a_refused_action_changes_nothing_and_says_why(system: System) -> None:
    shop(system)
    events = await system.run(
        {"name": "too_many", "database": "shop", "steps": [
            command("gone", "select", {"store": "items", "action": "delete", "max_affected": 19})]},
    )  # fmt: skip
    assert events[-1]["status"] == "failed"
    assert events[-1]["error"]["code"] == "too_many_rows"
    assert select(system.resources.databases.open("shop").snapshot(), "items").count() == 20


async def test_joins_and_aggregates(system: System) -> None:
    shop(system)
    system.store("people", "buyers", ["id"], [{"id": 1, "name": "ann"}])
    events = await system.run(
        {"name": "analysis", "database": "shop", "steps": [
            command("lonely", "aggregate", {"values": {"items": "count"}, "join": {
                "left": "items", "right": "orders", "on": {"id": "item"}, "type": "anti"}}),
            command("sold", "join", {"left": "items", "right": "orders", "on": {"id": "item"}, "filter": {"right.count": {"$gte": 28}},
                                     "fields": ["left.id", "right.count AS n"], "order_by": "right.count"}),
            command("kinds", "aggregate", {"store": "items", "group_by": ["kind"], "values": {
                "n": "count", "most": {"op": "max", "value": "price"}}, "order_by": "-kind"}),
            command("bought", "join", {"left": "orders", "right": {"store": "buyers", "database": "people"}, "on": {"id": "id"}, "fields": ["right.name"]}),
            command("plan", "explain", {"store": "items", "filter": {"id": {"$gt": 5}}, "run": True}),
            command("gone", "join", {"left": "items", "right": "orders", "on": {"id": "item"}, "type": "anti", "action": "delete_left"}),
            {"type": "return", "value": "{{ [lonely, sold, kinds, bought, gone] }}"}]},
    )  # fmt: skip
    assert events[-1]["result"] == [
        [{"items": 13}],
        [{"left.id": 1, "n": 28}, {"left.id": 2, "n": 29}],
        [{"kind": "b", "n": 10, "most": 190}, {"kind": "a", "n": 10, "most": 200}],
        [{"right.name": "ann"}],
        {"deleted": 13},
    ]
    plan = next(event["result"] for event in events if event.get("name") == "plan" and "result" in event)
    assert (plan["access"], plan["rows_examined"], plan["residual"]) == ("range", 15, {})
    assert select(system.resources.databases.open("shop").snapshot(), "items").count() == 7


async def test_a_join_reaches_no_database_that_the_script_does_not_name(system: System) -> None:
    shop(system)
    system.store("people", "buyers", ["id"], [])
    events = await system.run(
        {"name": "sneaky", "parameters": ["where"], "database": "shop", "steps": [
            command("all", "join", {"left": "items", "right": {"store": "buyers", "database": "{{ where }}"}, "on": {"id": "id"}})]},
        {"where": "people"},
    )  # fmt: skip
    assert events[-1]["error"]["code"] == "unreachable_database"


async def test_a_variable_with_the_name_of_the_row_is_refused(system: System) -> None:
    shop(system)
    with pytest.raises(ScriptInvalid) as raised:
        await system.run(
            {"name": "mixed_up", "database": "shop", "steps": [
                {"type": "set", "variable": "row", "value": 1},
                command("all", "select", {"store": "items", "action": "update", "update_values": {"price": "{{ row.price }}"}})]},
        )  # fmt: skip
    assert [(problem.code, problem.pointer) for problem in raised.value.problems] == [
        ("ambiguous_name", "/steps/1/args/update_values")
    ]


async def test_many_joined_rows_go_into_later_steps_and_into_a_batch(system: System) -> None:
    """A join of more than 32 KiB: counted, handed to another script, and gone through in chunks, each row once and in its order."""
    system.store("shop", "items", ["id"], [{"id": n, "price": n % 97, "pad": "x" * 60} for n in range(900)])
    system.store("shop", "orders", ["id"], [{"id": n, "item": 899 - n, "pad": "y" * 60} for n in range(900)])
    system.store("shop", "seen", ["order"])
    system.resources.library.save(
        {"name": "counted", "parameters": ["rows"], "steps": [{"type": "return", "value": "{{ size(rows) }}"}]}
    )
    joined = {"left": "orders", "right": "items", "on": {"item": "id"}, "filter": {"right.price": {"$lt": 90}},
              "order_by": ["right.price", "-left.id"]}  # fmt: skip
    events = await system.run(
        {"name": "over_a_join", "database": "shop", "steps": [
            command("pairs", "join", joined),
            {"type": "script", "name": "count", "script_name": "counted", "script_args": {"rows": "{{ pairs }}"}, "output_variable": "n"},
            {"type": "loop", "name": "each", "list": "pairs", "iterator": "pair", "index": "at", "batch_size": 100, "output_variable": "done",
             "reduce": {"total": {"op": "sum", "value": "pair.right.price"}, "last": {"op": "collect", "value": "pair.left.id", "where": "at % 100 == 99"}},
             "steps": [
                command("sorted", "select", {"store": "items", "order_by": "pad"}),
                {"type": "command", "name": "note", "command": "add", "args": {"store": "seen", "record": {
                    "order": "{{ pair.left.id }}", "at": "{{ at }}", "price": "{{ pair.right.price }}", "items": "{{ size(sorted) }}"}}}]},
            {"type": "return", "value": {"n": "{{ n }}", "size": "{{ size(pairs) }}", "done": "{{ done }}"}}]},
    )  # fmt: skip
    expected = sorted(
        ((899 - n) % 97, -n) for n in range(900) if (899 - n) % 97 < 90
    )  # the price of the order's item, then the order downwards
    result = events[-1].get("result")
    assert result == {
        "n": len(expected),
        "size": len(expected),
        "done": {
            "processed": len(expected),
            "failed": 0,
            "reduced": {
                "total": sum(price for price, _ in expected),
                "last": [-order for _, order in expected][99::100],
            },
        },
    }, events[-1]
    rows = next(event["rows"] for event in events if event.get("name") == "pairs" and "rows" in event)
    assert rows["count"] == len(expected)
    seen = sorted(select(system.resources.databases.open("shop").snapshot(), "seen"), key=lambda row: row["at"])
    assert [(row["price"], -row["order"]) for row in seen] == expected
    assert {row["items"] for row in seen} == {900}
    left = list((system.data_dir / "databases" / ".results").iterdir())
    assert [path.stem for path in left] == [rows["ref"]["result"]]  # what the body's selects wrote down is given back


async def test_rows_that_are_gone_end_a_batch_with_an_error(system: System) -> None:
    shop(system)
    seals = system.resources.databases.seals
    forged = {"$rows": seals.sealed({"database": "shop", "version": 1, "count": 3, "result": "0" * 32})}
    script = {"name": "forged", "database": "shop", "parameters": ["rows"], "steps": [
        {"type": "loop", "name": "each", "list": "rows", "iterator": "row", "steps": [{"type": "say", "message": "{{ row }}"}]}]}  # fmt: skip
    events = await system.run(script, {"rows": forged})
    assert (events[-1]["status"], events[-1]["error"]["code"]) == ("failed", "result_not_found")
    system.resources.databases.ensure("system")
    forged["$rows"] = seals.sealed({"database": "system", "version": 1, "count": 1, "store": "_keys", "query": {}})
    events = await system.run(script, {"rows": forged})
    assert (events[-1]["status"], events[-1]["error"]["code"]) == ("failed", "invalid_query")
