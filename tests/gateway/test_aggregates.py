"""Aggregates over HTTP and on the command line: over a store and over a join, in every format, with the places of what is wrong."""

import csv
import io
import json
from typing import Any

import httpx2
import pytest

from btree import Database
from query import AggregateQuery, Query, create_store, export
from tests.gateway.conftest import Gateway, Sop, eventually, problem_of

ORDERS = "/v1/databases/shop/stores/orders"
CITIES = ["Oslo", "=Rome", None]
SUMS: dict[str, Any] = {"n": "count", "total": {"op": "sum", "value": "amount"}}


def fill(gateway: Gateway, count: int = 60) -> Database:
    """Orders by ten people, half of whom are known."""

    def work(transaction: Any) -> None:
        orders = create_store(transaction, "orders", primary_key=["id"])
        for number in range(count):
            orders.add({"id": number, "who": number % 10, "city": CITIES[number % 3], "amount": number})
        people = create_store(transaction, "people", primary_key=["id"])
        for number in range(5):
            people.add({"id": number, "name": f"p{number}"})

    database = gateway.services.databases.ensure("shop")
    database.transact(work)
    return database


async def test_groups_in_every_format(gateway: Gateway, live: httpx2.AsyncClient) -> None:
    database = fill(gateway)
    body = {"values": SUMS, "group_by": ["city"], "filter": {"id": {"$lt": 30}}}
    expected = [
        {"city": None, "n": 10, "total": 155},
        {"city": "=Rome", "n": 10, "total": 145},
        {"city": "Oslo", "n": 10, "total": 135},
    ]
    answer = await live.post(f"{ORDERS}:aggregate?end=true", json=body)
    assert [json.loads(line) for line in answer.text.splitlines()] == [*expected, {"end": {"rows": 3}}]
    assert answer.headers["database-version"] == str(database.head().seq)
    assert (
        await live.post(f"{ORDERS}:aggregate", json=body, headers={"Accept": "application/json"})
    ).json() == expected
    written = (await live.post(f"{ORDERS}:aggregate", json=body, headers={"Accept": "text/csv"})).text
    assert list(csv.reader(io.StringIO(written, newline=""))) == [
        ["city", "n", "total"], ["", "10", "155"], ["'=Rome", "10", "145"], ["Oslo", "10", "135"]]  # fmt: skip
    best = {**body, "order_by": "-total", "limit": 1, "offset": 1}
    assert (await live.post(f"{ORDERS}:aggregate?format=json", json=best)).json() == expected[1:2]
    all_of_it = {"values": SUMS, "key": 7}
    assert (await live.post(f"{ORDERS}:aggregate?format=json", json=all_of_it)).json() == [{"n": 1, "total": 7}]
    none = {"values": SUMS, "group_by": ["city"], "filter": {"id": -1}}
    assert (await live.post(f"{ORDERS}:aggregate?format=csv", json=none)).text == "city,n,total\r\n"


async def test_over_a_join(gateway: Gateway) -> None:
    fill(gateway)
    joined: dict[str, Any] = {"right": "people", "on": {"who": "id"}, "type": "left"}
    body: dict[str, Any] = {
        "values": {"n": "count"},
        "group_by": ["right.name AS name"],
        "join": joined,
        "order_by": ["-n"],
    }
    rows = (await gateway.http.post(f"{ORDERS}:aggregate?format=json", json=body)).json()
    assert rows == [{"name": None, "n": 30}, *({"name": f"p{number}", "n": 6} for number in range(5))]
    narrow = {**joined, "left": {"as": "o", "filter": {"id": {"$lt": 20}}}, "filter": {"right.name": "p1"}}
    total = {"values": {"n": {"op": "sum", "value": "o.amount"}}, "join": narrow}
    assert (await gateway.http.post(f"{ORDERS}:aggregate", json=total)).json() == {"n": 1 + 11}


async def test_an_old_version_and_many_groups(gateway: Gateway, live: httpx2.AsyncClient) -> None:
    database = fill(gateway, 20_000)
    before = database.head().seq
    database.transact(lambda view: create_store(view, "more", primary_key=["id"]))
    body = {"values": {"n": "count"}, "group_by": ["id"], "version": before}
    answer = await live.post(f"{ORDERS}:aggregate?end=true", json=body)
    *rows, end = [json.loads(line) for line in answer.text.splitlines()]
    assert rows == [{"id": number, "n": 1} for number in range(20_000)]
    assert end == {"end": {"rows": 20_000}}
    assert answer.headers["database-version"] == str(before)
    await eventually(lambda: database.pins() == [])


@pytest.mark.parametrize(
    ("body", "code", "pointer"),
    [
        ({"values": {"n": "cuont"}}, "invalid_query", "/values/n/op"),
        ({"values": {"n": {"op": "sum"}}}, "invalid_query", "/values/n/value"),
        ({"values": {"n": {"op": "sum", "value": "city"}}}, "invalid_query", "/values/n/value"),
        ({"values": {}, "group_by": []}, "invalid_query", "/values"),
        ({"values": {"n": "count"}, "filter": {"a": {"$gtt": 1}}}, "unknown_operator", "/filter/a/$gtt"),
        ({"values": {"n": {"op": "count", "where": {"a": {"$gtt": 1}}}}}, "unknown_operator", "/values/n/where/a/$gtt"),
        ({"values": {"n": "count"}, "order_by": ["m"]}, "invalid_query", "/order_by/0"),
        ({"values": {"n": "count"}, "order_by": "m"}, "invalid_query", "/order_by"),
        ({"values": {"n": "count"}, "group_by": ["a b"]}, "invalid_query", "/group_by/0"),
        ({"values": {"n": "count"}, "limit": -1}, "invalid_request", "/limit"),
        ({"values": {"n": "count"}, "fields": ["a"]}, "invalid_request", "/fields"),
        ({"values": {"n": "count"}, "join": {"right": "peple", "on": "id"}}, "store_not_found", "/join/right"),
        ({"values": {"n": "count"}, "join": {"right": "people", "on": "id", "limit": 1}}, "invalid_request", "/join/limit"),
        ({"values": {"n": "count"}, "join": {"right": "people", "on": "id", "type": "iner"}}, "invalid_query", "/join/type"),
        ({"values": {"n": "count"}, "join": {"right": "people", "on": "id", "filter": {"x.a": 1}}}, "invalid_query", "/join/filter/x.a"),
        ({"values": {"n": "count"}, "join": {"right": "people", "on": "id", "left": {"store": "x"}}}, "invalid_field", "/join/left/store"),
        ({"values": {"n": "count"}, "filter": {"a": 1}, "join": {"right": "people", "on": "id"}}, "invalid_field", "/filter"),
        ({"values": {"n": "count"}, "key": 1, "join": {"right": "people", "on": "id"}}, "invalid_field", "/key"),
    ],
)  # fmt: skip
async def test_what_is_wrong_has_its_place(gateway: Gateway, body: dict[str, Any], code: str, pointer: str) -> None:
    fill(gateway)
    answer = await gateway.http.post(f"{ORDERS}:aggregate", json=body)
    told = problem_of(answer, answer.status_code, code)
    assert answer.status_code in (404, 422)
    assert [place["pointer"] for place in told["errors"]] == [pointer]


async def test_what_is_not_there_or_not_open(gateway: Gateway) -> None:
    fill(gateway)
    body: dict[str, Any] = {"values": {"n": "count"}}
    problem_of(await gateway.http.post("/v1/databases/shop/stores/order:aggregate", json=body), 404, "store_not_found")
    problem_of(await gateway.http.post(f"{ORDERS}:aggregate", json={**body, "version": 99}), 404, "version_not_found")
    closed = await gateway.http.post("/v1/databases/system/stores/_keys:aggregate", json=body)
    problem_of(closed, 403, "reserved_database")
    other = {**body, "join": {"right": {"store": "_keys", "database": "system"}, "on": "id"}}
    problem_of(await gateway.http.post(f"{ORDERS}:aggregate", json=other), 403, "reserved_database")
    headers = {"Accept": "image/png"}
    problem_of(await gateway.http.post(f"{ORDERS}:aggregate", json=body, headers=headers), 406, "not_acceptable")


def test_an_aggregate_that_is_not_taken_to_its_end_gives_everything_back(gateway: Gateway) -> None:
    database = fill(gateway, 20_000)
    asked = AggregateQuery(Query("orders"), {"n": "count"}, ["id"], order_by="-id")
    with export(database, asked, "ndjson") as groups:
        pieces = iter(groups)
        assert next(pieces).startswith(b'{"id":19999,"n":1}\n')
        assert len(database.pins()) == 1
    assert database.pins() == []


async def test_sop_data_aggregate(gateway: Gateway, sop: Sop) -> None:
    fill(gateway)
    words = ("data", "aggregate", "shop/orders", "--value", "n=count", "--value", "total=sum:amount")
    table = await sop(*words, "--by", "city", "--order-by", "-total", "--where", '{"id": {"$lt": 30}}')
    assert [line.split() for line in table.out.splitlines()] == [
        ["CITY", "N", "TOTAL"], ["10", "155"], ["=Rome", "10", "145"], ["Oslo", "10", "135"]]  # fmt: skip
    whole = await sop(*words, "-o", "json")
    assert (whole.code, whole.json) == (0, [{"n": 60, "total": 1770}])
    some = await sop(*words, "--by", "city AS c", "--limit", "1", "--offset", "1", "-o", "csv", "--no-guard")
    assert some.out == "c,n,total\r\n=Rome,20,590\r\n"
    part = ("--value", 'late={"op": "count", "where": {"id": {"$gte": 50}}}')
    assert (await sop("data", "aggregate", "shop/orders", *part, "-o", "ndjson")).out == '{"late":10}\n'
    join = ("--join", "people", "--on", "who=id", "--by", "right.name", "--value", "n=count", "-o", "ndjson")
    joined = await sop("data", "aggregate", "shop/orders", *join, "--type", "left", "--where", '{"right": null}')
    assert (joined.code, joined.out) == (0, '{"right.name":null,"n":30}\n')


@pytest.mark.parametrize(
    "words",
    [
        ("--value", "n"), ("--value", "=count"), ("--value", "n={"), ("--value", "n=sum"), (), ("--value", "n=count", "--join", "people"),
        ("--value", "n=count", "--type", "left"), ("--value", "n=count", "--value", "n=sum:id"), ("--value", "n=count", "--by", ""),
        ("--value", "n=count", "--by", "", "-o", "csv"), ("--value", "n=count", "--where", "[]"),
    ],
)  # fmt: skip
async def test_command_lines_that_mean_nothing(gateway: Gateway, sop: Sop, words: tuple[str, ...]) -> None:
    fill(gateway)
    found = await sop("data", "aggregate", "shop/orders", *words)
    assert (found.code, found.out) == (2, ""), found
    assert found.err.startswith("error: ")
