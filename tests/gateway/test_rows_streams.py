"""Rows out and in on real sockets: formats, what a cut looks like, clients that go away, round trips, the command line."""

import asyncio
import csv
import gzip
import io
import json
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.requests import Request

from btree import Database, Tree
from gateway.data.exports import RowsResponse, negotiated
from gateway.problems import ApiError
from query import Query, Selection, Store, create_store, export, open_store
from tests.gateway.conftest import Gateway, Sop, authorization, eventually, problem_of

SHOP = "/v1/databases/shop"
ITEMS = f"{SHOP}/stores/items"
NDJSON = {"Content-Type": "application/x-ndjson"}
STREAM = {**NDJSON, "Accept": "application/x-ndjson"}
NASTY: list[dict[str, Any]] = [
    {"id": "1", "text": 'a "quoted" b, and\r\nlines\n', "n": 2**63 - 1, "x": 0.1, "ok": True, "list": [1, {"a": None}]},
    {"id": "2", "text": "=1+1", "n": -(2**53) - 1, "x": 1e300, "ok": False, "list": []},
    {"id": "3", "text": "'=x\u2028\u2029\x85\x0b", "n": 2**64 - 1, "x": -1e-300, "ok": None, "list": None},
    {"id": "4", "text": "", "n": 0, "x": 5e-324, "ok": None, "list": ["\t,"]},
    {"id": "5", "text": None, "n": None, "x": None, "ok": None, "list": {"=a": "ü😀"}},
    {"id": "-6", "text": "@|\t", "n": 7, "x": 2.0, "ok": True, "list": ["a\\", '"']},
]
TYPES = "text=string?,n=integer,x=number,ok=boolean,list=json"


def fill(gateway: Gateway, records: list[dict[str, Any]]) -> Database:
    """A database `shop` with a store `items` of these records."""

    def work(transaction: Any) -> None:
        store = create_store(transaction, "items", primary_key=["id"])
        for record in records:
            store.add(record)

    database = gateway.services.databases.ensure("shop")
    database.transact(work)
    return database


def many(count: int, width: int = 60) -> list[dict[str, Any]]:
    return [{"id": number, "text": f"{number:06}" + "x" * width} for number in range(count)]


def empty(store: Store) -> None:
    assert isinstance(store.tree, Tree)
    store.tree.delete_range()


def stored(database: Database, store: str = "items") -> list[dict[str, Any]]:
    view = open_store(database.snapshot(), store)
    return [json.loads(value) for _, value in view.tree.scan()]


async def test_every_format_has_all_rows_of_one_version(gateway: Gateway, live: httpx2.AsyncClient) -> None:
    records = many(50_000)
    database = fill(gateway, records)
    version = str(database.head().seq)
    bodies = {}
    for form, kind in (("ndjson", "application/x-ndjson"), ("json", "application/json"), ("csv", "text/csv")):
        answer = await live.get(f"{ITEMS}/rows:export", headers={"Accept": kind})
        assert answer.headers["content-type"].partition(";")[0] == kind
        assert (answer.headers["database-version"], answer.headers["vary"]) == (version, "Accept")
        assert answer.headers["content-disposition"] == f'attachment; filename="shop-items.{form}"'
        assert "content-length" not in answer.headers
        assert (await live.get(f"{ITEMS}/rows:export?format={form}")).content == answer.content
        bodies[form] = answer.text
    assert [json.loads(line) for line in bodies["ndjson"].splitlines()] == records
    assert json.loads(bodies["json"]) == records
    rows = list(csv.DictReader(io.StringIO(bodies["csv"], newline="")))
    assert [{**row, "id": int(row["id"])} for row in rows] == records
    await eventually(lambda: database.pins() == [])


async def test_a_select_and_its_twin_as_an_address(gateway: Gateway, live: httpx2.AsyncClient) -> None:
    fill(gateway, many(300))
    where = {"id": {"$gte": 10, "$lt": 200}}
    asked: dict[str, Any] = {"filter": where, "fields": ["id", "text AS t"], "order_by": "-id", "limit": 3, "offset": 1}
    selected = await live.post(f"{ITEMS}:select?end=true", json=asked)
    rows = [json.loads(line) for line in selected.text.splitlines()]
    assert [row["id"] for row in rows[:-1]] == [198, 197, 196]
    assert rows[0].keys() == {"id", "t"} and rows[-1] == {"end": {"rows": 3}}
    address: dict[str, Any] = {
        "filter": json.dumps(where),
        "fields": "id,text AS t",
        "order_by": "-id",
        "limit": 3,
        "offset": 1,
    }
    exported = await live.get(f"{ITEMS}/rows:export", params={**address, "end": True})
    assert exported.content == selected.content
    assert "content-length" in exported.headers
    by_key = await live.post(f"{ITEMS}:select", json={"key": 7}, headers={"Accept": "application/json"})
    assert [row["id"] for row in by_key.json()] == [7]
    empty = {"filter": {"id": -1}}
    assert (await live.post(f"{ITEMS}:select?end=true", json=empty)).json() == {"end": {"rows": 0}}
    assert (await live.post(f"{ITEMS}:select?format=json", json=empty)).json() == []
    assert (
        await live.post(f"{ITEMS}:select?format=csv", json={**empty, "fields": ["id", "text AS t"]})
    ).text == "id,t\r\n"


async def test_an_old_version(gateway: Gateway) -> None:
    database = fill(gateway, [{"id": 1}])
    before = database.head().seq
    database.transact(lambda transaction: open_store(transaction, "items").upsert({"id": 2}))
    old = await gateway.http.get(f"{ITEMS}/rows:export?format=json&version={before}")
    assert (old.json(), old.headers["database-version"]) == ([{"id": 1}], str(before))
    problem_of(await gateway.http.post(f"{ITEMS}:select", json={"version": 99}), 404, "version_not_found")


async def test_what_is_wrong_is_a_problem_before_the_first_row(gateway: Gateway) -> None:
    http = gateway.http
    fill(gateway, many(10))
    wrong = problem_of(
        await http.post(f"{ITEMS}:select", json={"filter": {"id": {"$gtt": 1}}}), 422, "unknown_operator"
    )
    assert wrong["errors"][0]["pointer"] == "/filter/id/$gtt"
    by_address = await http.get(f"{ITEMS}/rows:export", params={"filter": '{"id": {"$gtt": 1}}'})
    assert problem_of(by_address, 422, "unknown_operator")["errors"][0]["pointer"] == "?filter/id/$gtt"
    problem_of(await http.get(f"{ITEMS}/rows:export", params={"filter": "{"}), 422, "invalid_field")
    unknown = problem_of(await http.get(f"{ITEMS}/rows:export?filtr=1"), 422, "invalid_request")
    assert (unknown["errors"][0]["code"], unknown["errors"][0]["pointer"]) == ("unknown_field", "?filtr")
    bad: Any
    for bad in ({"filtr": {}}, {"limit": -1}, {"limit": "3"}, {"offset": True}, {"fields": "id"}):
        problem_of(await http.post(f"{ITEMS}:select", json=bad), 422, "invalid_request")
    problem_of(await http.get(f"{ITEMS}/rows:export?format=xml"), 422, "invalid_request")
    problem_of(await http.get(f"{ITEMS}/rows:export?format=json&end=true"), 422, "invalid_query")
    problem_of(await http.get(f"{ITEMS}/rows:export", headers={"Accept": "image/png"}), 406, "not_acceptable")
    problem_of(await http.get(f"{SHOP}/stores/none/rows:export"), 404, "store_not_found")
    problem_of(await http.get("/v1/databases/system/stores/_keys/rows:export"), 403, "reserved_database")
    problem_of(await http.post("/v1/databases/system/stores/_keys:select", json={}), 403, "reserved_database")


def test_negotiation() -> None:
    accepted = {
        "*/*": "ndjson", "application/json": "json", "text/csv;q=0.9, application/json;q=0.1": "csv",
        "text/html,application/xhtml+xml,*/*;q=0.8": "ndjson", "application/jsonl": "ndjson", "text/*": "csv",
        "application/json, text/csv": "json", "APPLICATION/JSON": "json"}  # fmt: skip
    assert {accept: negotiated(accept) for accept in accepted} == accepted
    for bad in ("", "text/html", "text/csv;q=0", "application/json;q=x"):
        with pytest.raises(ApiError):
            negotiated(bad)


class Break:
    """Makes selections fail behind some chunks, or wait there for a gate; counts those that are open."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, after: int, error: Exception | None = None) -> None:
        self.open = 0
        self.made = 0
        self.gate = threading.Event()
        whole = Selection.json_chunks

        def chunks(selection: Selection) -> Iterator[bytes]:
            self.open += 1
            try:
                for number, chunk in enumerate(whole(selection)):
                    if number == after and error is not None:
                        raise error
                    self.made += 1
                    yield chunk
            finally:
                self.open -= 1

        monkeypatch.setattr(Selection, "json_chunks", chunks)


@pytest.mark.parametrize("form", ["ndjson", "json"])
async def test_an_error_in_the_middle_is_visible(
    gateway: Gateway, live: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    database = fill(gateway, many(20_000))
    Break(monkeypatch, after=40, error=RuntimeError("a secret"))
    got = b""
    with pytest.raises(httpx2.RemoteProtocolError):
        async with live.stream("GET", f"{ITEMS}/rows:export?format={form}") as answer:
            assert answer.status_code == 200
            async for piece in answer.aiter_bytes():
                got += piece
    assert got.startswith(b'{"id":0' if form == "ndjson" else b'[\n{"id":0')
    assert b"secret" not in got
    if form == "ndjson":
        *rows, last = got.splitlines()
        assert json.loads(last)["error"]["code"] == "internal_error"
        assert [json.loads(row)["id"] for row in rows] == list(range(len(rows)))
    else:
        assert b"]" not in got
    await eventually(lambda: database.pins() == [])


async def test_csv_never_leaves_a_field_out(gateway: Gateway, live: httpx2.AsyncClient) -> None:
    fill(gateway, [*many(1500), {"id": 9999, "text": "y", "more": 1}])
    with pytest.raises(httpx2.RemoteProtocolError):
        await live.get(f"{ITEMS}/rows:export?format=csv")
    named = await live.get(f"{ITEMS}/rows:export?format=csv&fields=id,more")
    assert named.text.splitlines()[-1] == "9999,1"


async def raw_request(url: str, key: str, path: str) -> socket.socket:
    """A request on a raw socket, whose answer has begun."""
    host, port = url.removeprefix("http://").split(":")
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.connect((host, int(port)))
    raw.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n".encode())
    raw.setblocking(False)
    got = b""
    while b"\r\n\r\n" not in got:
        got += await asyncio.wait_for(asyncio.get_running_loop().sock_recv(raw, 1024), 10)
    assert got.startswith(b"HTTP/1.1 200")
    return raw


async def test_a_client_that_reads_nothing_stops_the_scan_and_one_that_goes_ends_it(
    gateway: Gateway, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = fill(gateway, many(60_000, 1000))
    counted = Break(monkeypatch, after=-1)
    raw = await raw_request(url, gateway.key, f"{ITEMS}/rows:export")
    made = -1

    async def stalled() -> bool:
        nonlocal made
        before, made = made, counted.made
        await asyncio.sleep(0.2)
        return before == counted.made

    await eventually(stalled)
    leaves = 60_000 * 1040 // 8192
    assert 0 < counted.made < leaves / 2
    (pin,) = database.pins()
    assert (pin.version, counted.open) == (database.head().seq, 1)
    async with httpx2.AsyncClient(base_url=url, headers=authorization(gateway.key)) as http:
        assert (await http.get("/livez")).status_code == 200
        database.transact(lambda transaction: open_store(transaction, "items").delete(0))
        assert (await http.post(f"{SHOP}:compact", json={"retention_seconds": 0})).status_code == 200
    assert database.snapshot(pin.version).seq == pin.version
    raw.close()
    await eventually(lambda: counted.open == 0 and database.pins() == [])


async def test_a_client_that_has_gone_before_the_stream_begins(gateway: Gateway) -> None:
    database = fill(gateway, many(20_000))
    rows = export(database, Query("items"), "ndjson")
    assert len(database.pins()) == 1

    async def gone() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        await asyncio.sleep(0)

    scope: dict[str, Any] = {"type": "http", "asgi": {"spec_version": "2.3"}}
    await RowsResponse(gateway.services, rows, "ndjson", Request(scope), {})(scope, gone, send)
    assert database.pins() == []


async def test_what_is_read_stays_whatever_is_compacted(gateway: Gateway, url: str) -> None:
    database = fill(gateway, many(30_000, 300))
    database.sweep(retention_seconds=0)
    async with (
        httpx2.AsyncClient(base_url=url, headers=authorization(gateway.key)) as http,
        http.stream("GET", f"{ITEMS}/rows:export?end=true") as answer,
    ):
        pieces = answer.aiter_bytes()
        got = await anext(pieces)
        database.transact(lambda transaction: empty(open_store(transaction, "items")))
        assert database.sweep(retention_seconds=0).pages == 0
        got += b"".join([piece async for piece in pieces])
    *rows, end = got.splitlines()
    assert ([json.loads(row)["id"] for row in rows], json.loads(end)) == (
        list(range(30_000)),
        {"end": {"rows": 30_000}},
    )
    await eventually(lambda: database.pins() == [])


async def test_a_gateway_that_stops_ends_its_rows_with_an_error(gateway: Gateway, live: httpx2.AsyncClient) -> None:
    fill(gateway, many(100_000, 300))
    got = b""
    with pytest.raises(httpx2.RemoteProtocolError):
        async with live.stream("GET", f"{ITEMS}/rows:export") as answer:
            async for piece in answer.aiter_bytes():
                gateway.services.stopping.set()
                got += piece
    assert json.loads(got.splitlines()[-1])["error"]["code"] == "gateway_stopping"


async def test_round_trips(gateway: Gateway) -> None:
    http, database = gateway.http, fill(gateway, NASTY)
    more: Any
    for form, kind, more in (
        ("ndjson", "application/x-ndjson", {}),
        ("json", "application/json", {}),
        ("csv", "text/csv", {"types": TYPES, "unguard": True}),
    ):
        await http.post(f"{SHOP}/stores", json={"name": form, "primary_key": ["id"]})
        exported = (await http.get(f"{ITEMS}/rows:export?format={form}")).content
        for body, headers in ((exported, {}), (gzip.compress(exported), {"Content-Encoding": "gzip"})):
            answer = await http.post(
                f"{SHOP}/stores/{form}/rows:import",
                params=more,
                content=body,
                headers={**headers, "Content-Type": kind},
            )
            assert (answer.json()["imported"], answer.json()["rejected"]) == (len(NASTY), []), answer.text
        assert stored(database, form) == stored(database)
        again = await http.get(f"{SHOP}/stores/{form}/rows:export?format={form}")
        assert again.content == exported
    guarded = (await http.get(f"{ITEMS}/rows:export?format=csv")).text
    assert "'=1+1" in guarded and "''=x" in guarded and ",=1+1" not in guarded
    assert ",=1+1," in (await http.get(f"{ITEMS}/rows:export?format=csv&guard=false")).text


async def test_numbers_are_never_rounded_on_the_way_in(gateway: Gateway) -> None:
    database = fill(gateway, [])
    body = (
        b'{"id": 1, "n": 123456789012345678901234567890}\n{"id": 2, "n": 1e999}\n{"id": 3, "n": 18446744073709551615}\n'
    )
    report = (await gateway.http.post(f"{ITEMS}/rows:import", content=body, headers=NDJSON)).json()
    assert (report["imported"], [found["line"] for found in report["rejected"]]) == (1, [1, 2])
    table = b"id,n\n1,9007199254740993\n2,1.5\n3,99999999999999999999\n"
    typed = {"types": "id=integer,n=number"}
    report = (
        await gateway.http.post(
            f"{ITEMS}/rows:import", params=typed, content=table, headers={"Content-Type": "text/csv"}
        )
    ).json()
    assert [found["line"] for found in report["rejected"]] == [4]
    assert [(row["id"], row["n"]) for row in stored(database)] == [(1, 2**53 + 1), (2, 1.5), (3, 2**64 - 1)]


async def test_an_import_as_a_stream_tells_every_rejected_line(gateway: Gateway, live: httpx2.AsyncClient) -> None:
    fill(gateway, [])
    count, long = 30_000, b"x" * 1000  # more rejects than any buffer between the two sides can hold
    body = b"".join(
        b'{"id": %d}\n' % number if number % 3 else b'{"no": "%d\xe2\x80\xa8%s"}\n' % (number, long)
        for number in range(count)
    )
    answer = await live.post(f"{ITEMS}/rows:import", content=body, headers=STREAM)
    assert answer.headers["content-type"] == "application/x-ndjson"
    records = [json.loads(line) for line in answer.content.split(b"\n")[:-1]]
    rejects = [record["reject"] for record in records if "reject" in record]
    assert [reject["line"] for reject in rejects] == list(range(1, count + 1, 3))
    assert rejects[1] == {
        "line": 4,
        "code": "invalid_record",
        "message": rejects[1]["message"],
        "text": '{"no": "3\u2028' + long.decode() + '"}',
    }
    report = records[-1]["report"]
    assert (report["imported"], report["rejected_count"], len(report["rejected"])) == (20_000, 10_000, 1000)
    assert report["stopped"] is False
    progress = [record["progress"]["imported"] for record in records if "progress" in record]
    assert progress == sorted(progress) and progress


async def test_an_import_stops_when_asked(gateway: Gateway, live: httpx2.AsyncClient) -> None:
    database = fill(gateway, [{"id": 10_500}])
    body = "".join(json.dumps({"id": number}) + "\n" for number in range(10_000, 30_000))
    params: dict[str, Any] = {"mode": "insert", "max_rejects": 0}
    report = (await live.post(f"{ITEMS}/rows:import", params=params, content=body, headers=NDJSON)).json()
    assert (report["imported"], report["stopped"], len(stored(database))) == (0, True, 1)
    assert [(found["line"], found["code"]) for found in report["rejected"]] == [(501, "record_exists")]
    params["max_rejects"] = 1
    report = (await live.post(f"{ITEMS}/rows:import", params=params, content=body, headers=NDJSON)).json()
    assert (report["imported"], report["rejected_count"], report["stopped"]) == (19_999, 1, False)
    wrong = await live.post(f"{ITEMS}/rows:import", params={"mode": "replace"}, content=body, headers=NDJSON)
    problem_of(wrong, 422, "invalid_request")


async def test_an_import_that_cannot_be_read_to_its_end_tells_what_was_stored(
    gateway: Gateway, live: httpx2.AsyncClient
) -> None:
    database = fill(gateway, [])
    body = b"[" + b",".join(b'{"id": %d}' % number for number in range(25_000))
    kind = {"Content-Type": "application/json"}
    failed = problem_of(await live.post(f"{ITEMS}/rows:import", content=body, headers=kind), 422, "invalid_record")
    assert "20000 records were stored before" in failed["detail"] and len(stored(database)) == 20_000
    streamed = await live.post(f"{ITEMS}/rows:import", content=body, headers={**STREAM, **kind})
    assert json.loads(streamed.text.splitlines()[-1])["error"]["code"] == "invalid_record"
    early = await live.post(f"{ITEMS}/rows:import", content=b"{}", headers={**STREAM, **kind})
    problem_of(early, 422, "invalid_record")


BODIES = {
    "application/x-ndjson": b"".join(b'{"id": %d}\n' % number for number in range(30_000)),
    "application/json": b"[" + b",".join(b'{"id": %d}' % number for number in range(30_000)) + b"]",
    "text/csv": b"id\n" + b"".join(b"%d\n" % number for number in range(30_000)),
}


@pytest.mark.parametrize("kind", BODIES)
@pytest.mark.parametrize("tail", ["cut", "wrong"])
async def test_a_damaged_gzip_tells_what_was_stored_and_how_far_it_was_read(
    gateway: Gateway, live: httpx2.AsyncClient, kind: str, tail: str
) -> None:
    database = fill(gateway, [])
    headers = {"Content-Type": kind, "Content-Encoding": "gzip"}
    types = "?types=id=integer" if kind == "text/csv" else ""
    first, last = gzip.compress(BODIES[kind][:-1000]), gzip.compress(BODIES[kind][-1000:])
    damaged = first + (last[:-20] if tail == "cut" else last[:-8] + bytes(8))
    failed = problem_of(
        await live.post(f"{ITEMS}/rows:import{types}", content=damaged, headers=headers), 422, "damaged_gzip"
    )
    unit = "element" if kind == "application/json" else "line"
    told = re.search(
        rf"; (\d+) records were stored before, and {unit} (\d+) was the last that was read$", failed["detail"]
    )
    assert told is not None
    assert len(stored(database)) == int(told[1]) > 0
    assert int(told[1]) < int(told[2]) <= 30_001
    streamed = await live.post(f"{ITEMS}/rows:import{types}", content=damaged, headers={**headers, **STREAM, **headers})
    assert json.loads(streamed.text.splitlines()[-1])["error"]["detail"] == failed["detail"]


async def test_a_damaged_gzip_that_stored_nothing_tells_so(gateway: Gateway, live: httpx2.AsyncClient) -> None:
    database = fill(gateway, [])
    headers = {**NDJSON, "Content-Encoding": "gzip"}
    for content, told in (
        (gzip.compress(BODIES["text/csv"][:2] + b"\n1\n")[:-4], "and line 2 was the last that was read"),
        (b"no gzip", "and no line was read"),
    ):
        failed = problem_of(
            await live.post(f"{ITEMS}/rows:import", content=content, headers=headers), 422, "damaged_gzip"
        )
        assert failed["detail"].endswith(f"; 0 records were stored before, {told}")
    assert stored(database) == []


async def test_an_uploading_client_that_vanishes_frees_the_import(gateway: Gateway, url: str) -> None:
    database = fill(gateway, [])
    host, port = url.removeprefix("http://").split(":")
    for headers in (NDJSON, STREAM):
        with socket.create_connection((host, int(port))) as raw:
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            head = f"POST {ITEMS}/rows:import HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {gateway.key}\r\n"
            raw.sendall(f"{head}{lines}Content-Length: 1000000\r\n\r\n".encode() + b'{"id": 1}\n')
            await eventually(lambda: import_threads() > 0)
        await eventually(lambda: import_threads() == 0)
    assert stored(database) == []


def import_threads() -> int:
    """Threads that are inside of an import."""
    import sys

    def inside(frame: Any) -> bool:
        while frame is not None:
            if frame.f_code.co_name == "_reported":
                return True
            frame = frame.f_back
        return False

    return sum(map(inside, sys._current_frames().values()))


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


async def test_the_command_line_takes_rows_out_and_in(sop: Sop, gateway: Gateway, tmp_path: Path) -> None:
    database = fill(gateway, NASTY)
    for name, types in (
        ("a.ndjson", ()),
        ("a.json", ()),
        ("a.csv", ("--types", TYPES, "--unguard")),
        ("b.csv.gz", ("--types", TYPES, "--unguard")),
    ):
        file, store = tmp_path / name, name.replace(".", "_")
        assert (await sop("data", "export", "shop/items", "--file", str(file))).code == 0
        found = await sop("data", "import", f"shop/{store}", str(file), "--create", "--key", "id", *types, "-o", "json")
        assert (found.code, found.json["imported"]) == (0, len(NASTY)), found.err
        assert stored(database, store) == stored(database)
        assert (await sop("data", "export", "shop/items", "--file", str(file))).code == 5
    assert not [name for name in names(tmp_path) if name.endswith(".partial")]
    for form in ("json", "ndjson", "csv"):
        found = await sop("data", "export", "shop/items", "-o", form)
        served = await gateway.http.get(f"{ITEMS}/rows:export?format={form}")
        assert (found.code, found.out.encode()) == (0, served.content)
    table = await sop("data", "select", "shop/items", "--where", '{"ok": true}', "--fields", "id,n", "--order-by", "n")
    assert [line.split() for line in table.out.splitlines()] == [["ID", "N"], ["-6", "7"], ["1", str(2**63 - 1)]]
    some = await sop("data", "select", "shop/items", "--limit", "2", "--offset", "1", "-o", "ndjson")
    assert [json.loads(line)["id"] for line in some.out.split("\n")[:-1]] == ["1", "2"]
    for words, code in (
        (("--where", "{"), 2), (("--where", "[]"), 2), (("--order-by", "a b c"), 2), (("--version", "999"), 3)):  # fmt: skip
        found = await sop("data", "select", "shop/items", *words)
        assert (found.code, found.out) == (code, ""), found
        assert found.err


async def test_the_command_line_keeps_every_rejected_line(sop: Sop, gateway: Gateway, tmp_path: Path) -> None:
    fill(gateway, [{"id": 0}])
    file, kept = tmp_path / "x.ndjson", tmp_path / "rejects.ndjson"
    file.write_text(
        "".join(
            json.dumps({"id" if number % 2 else "n\u2028r": number}, ensure_ascii=False) + "\n"
            for number in range(3000)
        )
    )
    found = await sop("data", "import", "shop/items", str(file), "--rejects", str(kept))
    assert found.code == 1 and "1500 lines were rejected" in found.err
    rejects = [json.loads(line) for line in kept.read_text().split("\n")[:-1]]
    assert [(reject["line"], reject["text"]) for reject in rejects[:2]] == [
        (1, '{"n\u2028r": 0}'),
        (3, '{"n\u2028r": 2}'),
    ]
    assert len(rejects) == 1500
    assert (await sop("data", "import", "shop/items", str(file), "--rejects", str(kept))).code == 5
    stopped = await sop(
        "data", "import", "shop/items", str(file), "--mode", "insert", "--max-rejects", "3", "-o", "json"
    )
    assert (stopped.code, stopped.json["stopped"], stopped.json["rejected_count"]) == (1, True, 4)


async def test_the_command_line_never_takes_a_part_for_the_whole(
    sop: Sop, gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(gateway, [*many(20_000), {"id": 99_999, "more": 1}])
    late = await sop("data", "export", "shop/items", "-o", "csv", "--file", str(tmp_path / "x.csv"))
    assert late.code == 2 and "'more'" in late.err and "--fields" in late.err
    Break(monkeypatch, after=40, error=RuntimeError("boom"))
    for form in ("json", "csv", "ndjson"):
        found = await sop("data", "export", "shop/items", "-o", form, "--fields", "id,text")
        assert found.code == 7 and found.err.startswith("error: ") and found.out
        assert "]" not in found.out
    assert (await sop("data", "export", "shop/items", "--file", str(tmp_path / "y.ndjson"))).code == 7
    assert (await sop("data", "select", "shop/items")).out == ""
    assert not {"x.csv", "y.ndjson", "x.csv.partial", "y.ndjson.partial"} & names(tmp_path)


def test_what_tells_that_rows_are_whole() -> None:
    from gateway.cli.failures import CommandFailed
    from gateway.cli.rows import whole_rows

    class Answer:
        def __init__(self, *pieces: bytes, cut: bool = False) -> None:
            self.pieces, self.cut = pieces, cut

        def iter_bytes(self) -> Iterator[bytes]:
            yield from self.pieces
            if self.cut:
                raise httpx2.ReadError("cut")

    whole = Answer(b'{"a":1}\n{"a"', b':2}\n{"end":{"ro', b'ws":2}}\n')
    assert b"".join(whole_rows(whole)) == b'{"a":1}\n{"a":2}\n'  # type: ignore[arg-type]
    for answer in (
        Answer(), Answer(b'{"a":1}\n'), Answer(b'{"end":{"rows":1}}\n'), Answer(b'{"a":1}\n{"end":{"rows":1}}'),
        Answer(b'{"end":{"rows":0}}\n', cut=True), Answer(b'{"a":1}\n{"a":1}\n{"end":{"rows":1}}\n'),
        Answer(b'{"error":5}\n'), Answer(b"x")):  # fmt: skip
        with pytest.raises(CommandFailed) as raised:
            list(whole_rows(answer))  # type: ignore[arg-type]
        assert raised.value.exit_code == 1


JOINED = [
    {"left": {"id": 1, "who": "a"}, "right": {"id": "a", "city": "Rome"}},
    {"left": {"id": 2, "who": "b"}, "right": None},
]


def two_stores(gateway: Gateway) -> None:
    def work(transaction: Any) -> None:
        orders = create_store(transaction, "orders", primary_key=["id"])
        for row in JOINED:
            orders.add(row["left"])
        create_store(transaction, "people", primary_key=["id"]).add({"id": "a", "city": "Rome"})

    gateway.services.databases.ensure("shop").transact(work)


async def test_a_join_is_a_stream_like_a_select(gateway: Gateway) -> None:
    two_stores(gateway)
    address = f"{SHOP}/stores/orders:join"
    body: dict[str, Any] = {"right": "people", "on": {"who": "id"}, "type": "left"}
    answer = await gateway.http.post(address, json=body, params={"format": "json"})
    assert answer.json() == JOINED
    renamed = {**body, "left": {"as": "o"}, "fields": ["o.id AS number", "right.city"], "filter": {"right": None}}
    assert (await gateway.http.post(address, json=renamed)).text == '{"number":2,"right.city":null}\n'
    made = await gateway.http.post(f"{SHOP}/stores/orders/indexes", json={"fields": ["who"]})
    assert (made.status_code, made.json()["state"]) == (201, "ready")
    problem_of(await gateway.http.post(address, json={**body, "type": "iner"}), 422, "invalid_query")
    other = {**body, "right": {"store": "people", "database": "system"}}
    problem_of(await gateway.http.post(address, json=other), 403, "reserved_database")
    assert (await gateway.http.delete(made.headers["location"])).status_code == 204


async def test_sop_data_join(gateway: Gateway, sop: Sop) -> None:
    two_stores(gateway)
    done = await sop("data", "join", "shop/orders", "people", "--on", "who=id", "--type", "left", "-o", "json")
    assert (done.code, done.json) == (0, JOINED)
    missing = (
        "data",
        "join",
        "shop/orders",
        "people",
        "--on",
        "who=id",
        "--type",
        "anti",
        "--fields",
        "left.id",
        "-o",
        "csv",
    )
    assert (await sop(*missing)).out == "left.id\r\n2\r\n"
