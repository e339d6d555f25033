"""Rows as Arrow over HTTP, beside the other forms; and what reads the streams elsewhere: pyarrow and DuckDB."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import duckdb
import httpx2
import pyarrow
import pyarrow.csv
import pyarrow.ipc
import pyarrow.json
import pytest

from gateway.results import negotiation
from query import create_store, open_store
from query.transfer.arrow import END_MARK
from tests.gateway.conftest import Gateway, Sop, eventually, problem_of
from tests.gateway.event_stream import events
from tests.gateway.test_results import command, ran, returned
from tests.gateway.test_rows_streams import ITEMS, fill, many, names

ARROW = "application/vnd.apache.arrow.stream"
Rows = list[dict[str, Any]]


def table_of(body: bytes) -> pyarrow.Table:
    assert body.endswith(END_MARK)
    with pyarrow.ipc.open_stream(body) as reader:
        return reader.read_all()


RESULT: Rows = [
    {"id": 1, "name": "=one", "price": 1.5, "ok": True},
    {"id": 2, "name": 'two, "2"\n', "price": 2.0, "ok": False},
    {"id": 3, "name": "ü😀", "price": 5e-324, "ok": None},
]


@pytest.mark.parametrize("kind", ["a list", "a reference", "written down"])
async def test_the_same_run_has_the_same_rows_in_all_five_forms(
    gateway: Gateway, live: httpx2.AsyncClient, kind: str
) -> None:
    if kind == "a list":
        path = await ran(gateway, [returned(RESULT)])
    else:
        copies: Rows = [{**row, "id": 3 * n + row["id"], "at": 3 * n + row["id"]} for n in range(400) for row in RESULT]
        fill(gateway, copies)
        order = {"order_by": "-at"} if kind == "written down" else {}
        rows = command("rows", "select", store="items", **order)
        path = await ran(gateway, [rows, returned("{{ rows }}")], database="shop")
    bodies = {}
    for form, media_type in {"ndjson": "application/x-ndjson", "sse": "text/event-stream", "json": "application/json",
                             "csv": "text/csv", "arrow": ARROW}.items():  # fmt: skip
        answer = await live.get(path, headers={"Accept": media_type})
        assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (200, media_type)
        assert (await live.get(f"{path}?format={form}")).content == answer.content
        bodies[form] = answer
    records = [json.loads(line) for line in bodies["ndjson"].content.splitlines()]
    assert records == bodies["json"].json() == [json.loads(event.data) for event in events(bodies["sse"].content)]
    table = table_of(bodies["arrow"].content).to_pylist()
    if kind == "a list":
        assert records[-1]["result"] == table == RESULT
    else:
        expected = copies[::-1] if kind == "written down" else copies
        assert ("result" in records[-1]["rows"]["ref"]) == (kind == "written down")
        assert table == expected
    texts = list(csv.DictReader(io.StringIO((await live.get(f"{path}?format=csv&guard=false")).text, newline="")))
    assert [(int(row["id"]), row["name"], float(row["price"]), row["ok"]) for row in texts] == [
        (row["id"], row["name"], row["price"], {True: "true", False: "false", None: ""}[row["ok"]]) for row in table
    ]
    assert bodies["arrow"].headers["row-count"] == bodies["csv"].headers["row-count"] == str(len(table))
    called = await live.post("/v1/call/made?format=arrow", json={})
    assert table_of(called.content).to_pylist() == table
    wrong = problem_of(await live.get(f"{path}?format=arrow&as_json=nmae"), 422, "invalid_query")
    assert wrong["errors"][0] == {**wrong["errors"][0], "pointer": "?as_json", "hint": "did you mean 'name'?"}
    texts = table_of((await live.get(f"{path}?format=arrow&as_json=*")).content).to_pylist()
    assert [{name: value and json.loads(value) for name, value in row.items()} for row in texts] == table


async def test_a_select_as_arrow(gateway: Gateway, live: httpx2.AsyncClient) -> None:
    database = fill(gateway, many(20_000))
    answer = await live.post(f"{ITEMS}:select?format=arrow", json={"order_by": "-id"})
    assert (answer.headers["content-type"], answer.headers["vary"]) == (ARROW, "Accept")
    assert table_of(answer.content).to_pylist() == many(20_000)[::-1]
    exported = await live.get(f"{ITEMS}/rows:export", headers={"Accept": ARROW})
    assert exported.headers["content-disposition"] == 'attachment; filename="shop-items.arrow"'
    assert table_of(exported.content).num_rows == 20_000
    summed = await live.post(f"{ITEMS}:aggregate?format=arrow", json={"values": {"n": "count"}})
    assert table_of(summed.content).to_pylist() == [{"n": 20_000}]
    wrong = await live.post(f"{ITEMS}:select?format=arrow&as_json=txt", json={"fields": ["id", "text"]})
    assert problem_of(wrong, 422, "invalid_query")["errors"][0]["pointer"] == "?as_json"
    for bad in ("csv&as_json=id", "arrow&end=true", "arrow&null=x"):
        problem_of(await live.post(f"{ITEMS}:select?format={bad}", json={}), 422, "invalid_query")
    await eventually(lambda: database.pins() == [])


async def test_a_value_that_does_not_fit_cuts_the_stream(gateway: Gateway, live: httpx2.AsyncClient) -> None:
    fill(gateway, [*many(5_000), {"id": 9_999, "text": ["late"]}])
    got = b""
    with pytest.raises(httpx2.RemoteProtocolError):
        async with live.stream("GET", f"{ITEMS}/rows:export?format=arrow") as answer:
            async for piece in answer.aiter_bytes():
                got += piece
    assert got and END_MARK not in got
    whole = table_of((await live.get(f"{ITEMS}/rows:export?format=arrow&as_json=text")).content)
    assert json.loads(whole.to_pylist()[-1]["text"]) == ["late"]


async def test_without_pyarrow_nothing_is_begun(
    gateway: Gateway, live: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(gateway, many(3))
    path = await ran(gateway, [returned(RESULT)])
    monkeypatch.setattr(negotiation, "installed", lambda: False)
    for answer in (
        await live.get(f"{ITEMS}/rows:export?format=arrow"),
        await live.get(f"{path}?format=arrow"),
        await live.post("/v1/call/made?format=arrow", json={}, headers={"Idempotency-Key": "none"}),
    ):
        assert "sop-temporal[arrow]" in problem_of(answer, 406, "not_acceptable")["hint"]
    problem_of(await live.get("/v1/runs/none"), 404, "run_not_found")


async def test_pyarrow_and_duckdb_read_the_streams(gateway: Gateway, live: httpx2.AsyncClient, tmp_path: Path) -> None:
    def work(transaction: Any) -> None:
        store = create_store(transaction, "orders", primary_key=["id"])
        for number in range(3_000):
            store.add({"id": number, "city": ("Rome", "Oslo")[number % 2], "total": number / 4, "tags": [number]})

    gateway.services.databases.ensure("shop").transact(work)
    address = "/v1/databases/shop/stores/orders/rows:export"
    saved = {}
    for form in ("ndjson", "json", "csv", "arrow"):
        saved[form] = tmp_path / f"orders.{form}"
        saved[form].write_bytes((await live.get(f"{address}?format={form}")).content)
    asked = "SELECT city, count(*), sum(total) FROM {} GROUP BY city ORDER BY city"
    expected = [("Oslo", 1500, 562_500.0), ("Rome", 1500, 562_125.0)]
    with duckdb.connect(config={"autoinstall_known_extensions": False}) as connection:
        for form, source in (
            ("ndjson", "read_json_auto('{}')"),
            ("json", "read_json_auto('{}')"),
            ("csv", "read_csv('{}')"),
        ):
            assert connection.execute(asked.format(source.format(saved[form]))).fetchall() == expected, form
        with pyarrow.ipc.open_stream(str(saved["arrow"])) as reader:
            orders = reader.read_all()
            connection.register("orders", orders)
            assert connection.execute(asked.format("orders")).fetchall() == expected
            first = "SELECT CAST(tags AS JSON)->>'$[0]' FROM orders WHERE id = 7"
            assert connection.execute(first).fetchone() == ("7",)
    lines = pyarrow.json.read_json(str(saved["ndjson"]))
    assert lines.column("total").to_pylist() == orders.column("total").to_pylist()
    assert pyarrow.csv.read_csv(str(saved["csv"])).column("city").to_pylist() == orders.column("city").to_pylist()


async def test_the_records_of_a_run_through_a_pipe_into_duckdb(gateway: Gateway, live: httpx2.AsyncClient) -> None:
    path = await ran(gateway, [returned(RESULT)])
    body = (await live.get(path)).content
    with duckdb.connect(config={"autoinstall_known_extensions": False}) as connection:
        records = pyarrow.json.read_json(io.BytesIO(body))
        connection.register("records", records)
        found = connection.execute("SELECT seq, type, status FROM records ORDER BY seq").fetchall()
    assert found == [(r["seq"], r["type"], r["status"]) for r in map(json.loads, body.splitlines())]


async def test_sop_data_export_as_arrow(gateway: Gateway, sop: Sop, tmp_path: Path) -> None:
    fill(gateway, many(2_500))
    file = tmp_path / "items.arrow"
    assert (await sop("data", "export", "shop/items", "--file", str(file))).code == 0
    assert table_of(file.read_bytes()).to_pylist() == many(2_500)
    fill_late(gateway)
    late = await sop("data", "export", "shop/items", "-o", "arrow", "--file", str(tmp_path / "late.arrow"))
    assert late.code == 2 and "'text'" in late.err and "--as-json text" in late.err
    again = ("data", "export", "shop/items", "--as-json", "text", "--file", str(tmp_path / "again.arrow"))
    assert (await sop(*again)).code == 0
    assert {name for name in names(tmp_path) if ".arrow" in name} == {"items.arrow", "again.arrow"}
    assert (await sop("data", "export", "shop/items", "-o", "csv", "--as-json", "text")).code == 2


def fill_late(gateway: Gateway) -> None:
    database = gateway.services.databases.ensure("shop")
    database.transact(lambda transaction: open_store(transaction, "items").upsert({"id": 9_999, "text": 1}))
