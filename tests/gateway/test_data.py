"""Databases, stores, rows and imports over HTTP."""

import gzip
import itertools
import json
import zlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cursors import Cursors
from gateway.data.bodies import lines, text_lines, unpacked
from gateway.data.imports import column_types
from gateway.data.rows import key_candidates
from gateway.problems import ApiError
from query import StoreInfo, open_store
from tests.gateway.conftest import Gateway, problem_of

NDJSON = {"Content-Type": "application/x-ndjson"}
CSV = {"Content-Type": "text/csv"}


async def make(http: httpx2.AsyncClient, key: list[str] | None = None) -> str:
    """A database `shop` with a store `items`; the path of its rows."""
    assert (await http.post("/v1/databases", json={"name": "shop"})).status_code == 201
    made = await http.post("/v1/databases/shop/stores", json={"name": "items", "primary_key": key or ["id"]})
    assert (made.status_code, made.headers["location"]) == (201, "/v1/databases/shop/stores/items")
    return "/v1/databases/shop/stores/items/rows"


async def test_databases_and_stores(gateway: Gateway) -> None:
    http = gateway.http
    rows = await make(http)
    await http.post(f"{rows}:import", content=b'{"id": 2, "n": "b"}\n{"id": 1, "n": null}\n', headers=NDJSON)
    assert (await http.get("/v1/databases")).json() == {"data": [{"name": "shop"}]}
    store = {"name": "items", "primary_key": ["id"], "description": "", "count": 2}
    assert (await http.get("/v1/databases/shop/stores")).json() == {"data": [store]}
    shown = (await http.get("/v1/databases/shop")).json()
    assert (shown["name"], shown["stores"]) == ("shop", [store])
    described = (await http.get("/v1/databases/shop/stores/items")).json()
    assert (described["first_key"], described["last_key"], described["count"]) == ([1], [2], 2)
    assert described["inferred_schema"]["properties"]["n"]["type"] == ["null", "string"]


async def test_what_is_there_already_and_what_is_not(gateway: Gateway) -> None:
    http = gateway.http
    rows = await make(http)
    problem_of(await http.post("/v1/databases", json={"name": "shop"}), 409, "database_exists")
    problem_of(
        await http.post("/v1/databases/shop/stores", json={"name": "items", "primary_key": ["id"]}), 409, "store_exists"
    )
    missing = problem_of(await http.get("/v1/databases/shp/stores"), 404, "database_not_found")
    assert missing["hint"] == "did you mean 'shop'?"
    problem_of(await http.get("/v1/databases/shop/stores/item"), 404, "store_not_found")
    problem_of(await http.get(f"{rows}/1"), 404, "record_not_found")
    problem_of(
        await http.post("/v1/databases/shop/stores/x/rows:import", content=b"{}", headers=NDJSON),
        404,
        "store_not_found",
    )


async def test_a_dry_run_of_an_import(gateway: Gateway) -> None:
    """The whole report, and nothing kept: no row, no version, no entry of the audit log; also where the body is cut."""
    rows = await make(gateway.http)
    database = gateway.services.databases.open("shop")
    head = database.head().seq
    entries = (await gateway.http.get("/v1/audit")).json()["data"]
    body = b'{"id": 1}\n{"id": 1}\nx\n'
    dry = {"dry_run": "true", "mode": "insert"}
    told = (await gateway.http.post(f"{rows}:import", content=body, headers=NDJSON, params=dry)).json()
    assert (told["dry_run"], told["imported"], [line["line"] for line in told["rejected"]]) == (True, 1, [2, 3])
    lines = await gateway.http.post(
        f"{rows}:import", content=body, headers=NDJSON | {"Accept": NDJSON["Content-Type"]}, params=dry
    )
    *_, last = map(json.loads, lines.text.splitlines())
    assert {**last["report"], "seconds": 0} == {**told, "seconds": 0}
    cut = await gateway.http.post(f"{rows}:import", json=[{"id": 1}], params=dry, headers={"Content-Encoding": "gzip"})
    assert "0 records were stored before" in problem_of(cut, 422, "damaged_gzip")["detail"]
    assert (database.head().seq, database.open_transactions()) == (head, [])
    assert (await gateway.http.get("/v1/audit")).json()["data"] == entries
    real = (await gateway.http.post(f"{rows}:import", content=body, headers=NDJSON, params={"mode": "insert"})).json()
    assert {"dry_run": True, **real, "seconds": 0} == {**told, "seconds": 0}


@pytest.mark.parametrize("name", ["../x", "a/b", "", "A", "x" * 64, "..", "a\0b", "con.db"])
async def test_names_that_are_none(gateway: Gateway, name: str) -> None:
    problem_of(await gateway.http.post("/v1/databases", json={"name": name}), 422, "invalid_name")
    made = {path.name.partition(".")[0] for path in (gateway.services.data_dir / "databases").iterdir()}
    assert made == {"system"}


async def test_the_systems_own_is_closed(gateway: Gateway) -> None:
    http = gateway.http
    await make(http)
    for path in ("/v1/databases/system/stores", "/v1/databases/system/stores/_keys",
                 "/v1/databases/system/stores/_keys/rows", "/v1/databases/system/stores/_versions/rows/x"):  # fmt: skip
        problem_of(await http.get(path), 403, "reserved_database")
    problem_of(await http.post("/v1/databases", json={"name": "system"}), 403, "reserved_database")
    problem_of(
        await http.post("/v1/databases/shop/stores", json={"name": "_x", "primary_key": ["id"]}), 403, "reserved_store"
    )
    for store, database, code in (("_outbox", "shop", "reserved_store"), ("x", "system", "reserved_database")):
        path = f"/v1/databases/{database}/stores/{store}/rows:import"
        problem_of(await http.post(path, content=b"{}", headers=NDJSON), 403, code)
    problem_of(await http.get("/v1/databases/system/stores/_outbox/rows"), 404, "store_not_found")


async def test_rows_by_key(gateway: Gateway) -> None:
    rows = await make(gateway.http)
    records: list[dict[str, Any]] = [{"id": key} for key in ("00001", 7, "7", "a/b c?", True, "[x", 1.5, "ключ")]
    body = "\n".join(json.dumps(record) for record in records)
    report = (await gateway.http.post(f"{rows}:import", content=body, headers=NDJSON)).json()
    assert (report["imported"], report["rejected"]) == (8, [])
    for key, found in (("00001", "00001"), ("7", "7"), ("a%2Fb%20c%3F", "a/b c?"), ("true", True), ("[x", "[x"),
                       ("1.5", 1.5), ("%D0%BA%D0%BB%D1%8E%D1%87", "ключ")):  # fmt: skip
        answer = await gateway.http.get(f"{rows}/{key}")
        assert answer.json() == {"id": found}, key


async def test_rows_by_a_composite_key(gateway: Gateway) -> None:
    rows = await make(gateway.http, ["customer", "n"])
    await gateway.http.post(f"{rows}:import", content=b'{"customer": "a", "n": 1, "x": 9}', headers=NDJSON)
    assert (await gateway.http.get(f'{rows}/["a",1]')).json()["x"] == 9
    problem_of(await gateway.http.get(f'{rows}/["a"]'), 422, "invalid_key")
    problem_of(await gateway.http.get(f"{rows}/a"), 422, "invalid_key")


def test_what_a_key_in_a_path_may_mean() -> None:
    one, two = StoreInfo("one", ["a"]), StoreInfo("two", ["a", "b"])
    assert [key_candidates(text, one) for text in ("a", "7", "[1]", '{"a":1}', "null")] == [
        ["a"], ["7", 7], ["[1]", [1]], ['{"a":1}'], ["null", None]]  # fmt: skip
    assert key_candidates('[1,"a"]', two) == [[1, "a"]]


async def test_pages_fit_together_whatever_is_written_meanwhile(gateway: Gateway) -> None:
    http = gateway.http
    rows = await make(http)
    body = "\n".join(json.dumps({"id": n}) for n in range(0, 500, 2))
    await http.post(f"{rows}:import", content=body, headers=NDJSON)
    seen: list[int] = []
    cursor, number = None, 1
    while True:
        page = (await http.get(rows, params={"limit": 60, **({"cursor": cursor} if cursor else {})})).json()
        seen += [row["id"] for row in page["data"]]
        await http.post(f"{rows}:import", content=json.dumps({"id": number}), headers=NDJSON)
        cursor, number = page["next_cursor"], number + 100
        assert page["has_more"] is (cursor is not None)
        if cursor is None:
            break
        last = cursor
    assert seen == list(range(0, 500, 2))
    for bad in ("x", last[:-2], last + "A", last.swapcase()):
        problem_of(await http.get(rows, params={"cursor": bad}), 422, "invalid_cursor")
    await http.post("/v1/databases/shop/stores", json={"name": "other", "primary_key": ["id"]})
    other = await http.get("/v1/databases/shop/stores/other/rows", params={"cursor": last})
    problem_of(other, 422, "invalid_cursor")


def test_a_cursor_is_of_one_installation() -> None:
    sealed = Cursors(b"one").seal("rows", [1, "ff"])
    assert Cursors(b"one").open("rows", sealed) == [1, "ff"]
    with pytest.raises(ApiError):
        Cursors(b"two").open("rows", sealed)


async def test_importing_csv_with_types_and_rejects(gateway: Gateway) -> None:
    rows = await make(gateway.http)
    text = '\ufeffid,name,n,day\r\n00001,"Ann\nB",3,1997-01-02\r\n00002,Bob,x,1997-01-02\r\n00003,Cyd,,1997-13-02\r\n00004,Dee,,\r\n'
    answer = await gateway.http.post(f"{rows}:import?types=n=integer,day=date", content=text.encode(), headers=CSV)
    report = answer.json()
    assert (report["imported"], report["rejected_count"]) == (2, 2)
    assert [(found["line"], found["code"]) for found in report["rejected"]] == [
        (4, "invalid_record"),
        (5, "invalid_record"),
    ]
    assert (await gateway.http.get(f"{rows}/00001")).json() == {
        "id": "00001",
        "name": "Ann\nB",
        "n": 3,
        "day": "1997-01-02",
    }
    assert (await gateway.http.get(f"{rows}/00004")).json()["n"] is None


async def test_importing_csv_with_a_text_for_null(gateway: Gateway) -> None:
    rows = await make(gateway.http)
    address = f"{rows}:import?types=n=integer,t=string?&null=NA"
    answer = await gateway.http.post(address, content=b'id,n,t\nNA,NA,"NA"\n2,,NA\n', headers=CSV)
    assert answer.json()["imported"] == 2
    assert (await gateway.http.get(f"{rows}/NA")).json() == {"id": "NA", "n": None, "t": "NA"}
    assert (await gateway.http.get(f"{rows}/2")).json() == {"id": "2", "n": None, "t": None}
    problem_of(await gateway.http.post(address, content=b"{}", headers=NDJSON), 422, "invalid_field")


async def test_importing_gzip_in_pieces_more_than_the_body_limit(gateway: Gateway, live: httpx2.AsyncClient) -> None:
    rows = await make(gateway.http)
    text = b"".join(b'{"id": %d, "text": "%s"}\n' % (n, b"x" * 200) for n in range(20_000))
    assert len(text) > 2 * 1024 * 1024
    packed = gzip.compress(text[: len(text) // 2]) + gzip.compress(text[len(text) // 2 :])

    async def pieces(data: bytes, size: int) -> AsyncIterator[bytes]:
        for start in range(0, len(data), size):
            yield data[start : start + size]

    gzipped = {**NDJSON, "Content-Encoding": "gzip"}
    first = await live.post(f"{rows}:import", content=pieces(packed, 1000), headers=gzipped)
    assert (first.json()["imported"], first.json()["rejected"]) == (20_000, [])
    plain = await live.post(f"{rows}:import", content=pieces(text, 100_000), headers=NDJSON)
    assert plain.json()["imported"] == 20_000
    database = gateway.services.databases.open("shop")
    assert open_store(database.snapshot(), "items").count() == 20_000
    assert database.check().ok
    cut = await live.post(f"{rows}:import", content=packed[:-20], headers=gzipped)
    problem_of(cut, 422, "damaged_gzip")


async def test_imports_that_are_refused(gateway: Gateway) -> None:
    rows = await make(gateway.http)
    post = gateway.http.post
    problem_of(
        await post(f"{rows}:import", content=b"{}", headers={"Content-Type": "text/plain"}),
        415,
        "unsupported_media_type",
    )
    problem_of(
        await post(f"{rows}:import", content=b"{}", headers={**NDJSON, "Content-Encoding": "br"}),
        415,
        "unsupported_media_type",
    )
    problem_of(
        await post(f"{rows}:import", content=b"nope", headers={**NDJSON, "Content-Encoding": "gzip"}),
        422,
        "damaged_gzip",
    )
    problem_of(await post(f"{rows}:import?types=id", content=b"id\n1\n", headers=CSV), 422, "invalid_field")
    problem_of(await post(f"{rows}:import?types=id=int", content=b"id\n1\n", headers=CSV), 422, "invalid_record")
    problem_of(await post(f"{rows}:import?types=id=integer", content=b"{}", headers=NDJSON), 422, "invalid_field")
    problem_of(await post(f"{rows}:import", content=b"id\n\xff\n", headers=CSV), 422, "not_utf8")
    problem_of(await post(f"{rows}:import", content=b"", headers=CSV), 422, "invalid_record")
    empty = (await post(f"{rows}:import", content=b"\n\n", headers=NDJSON)).json()
    assert (empty["imported"], empty["rejected_count"]) == (0, 0)
    some = (await post(f"{rows}:import", content=b'{"id": 1}\n[1]\n{"x": 1}\n{', headers=NDJSON)).json()
    assert (some["imported"], [found["line"] for found in some["rejected"]]) == (1, [2, 3, 4])


def cut(data: bytes, places: list[int]) -> Iterator[bytes]:
    """The data in pieces, cut at the places."""
    edges = [0, *sorted({place % (len(data) + 1) for place in places}), len(data)]
    return (data[start:stop] for start, stop in itertools.pairwise(edges))


@given(st.text(), st.lists(st.integers(0, 10_000), max_size=6))
def test_lines_do_not_depend_on_where_the_body_is_cut(text: str, places: list[int]) -> None:
    data = text.encode()
    assert b"\n".join(lines(cut(data, places))) == data.removesuffix(b"\n")
    assert "".join(text_lines(cut(data, places))) == text.removeprefix("\ufeff")


@given(st.lists(st.binary(max_size=300), max_size=4), st.lists(st.integers(0, 10_000), max_size=6))
def test_gzip_members_do_not_depend_on_where_the_body_is_cut(members: list[bytes], places: list[int]) -> None:
    packed = b"".join(gzip.compress(member) for member in members)
    assert b"".join(unpacked(cut(packed, places), "gzip")) == b"".join(members)
    if packed:
        with pytest.raises(ApiError) as raised:
            list(unpacked(cut(packed[:-1], places), "gzip"))
        assert raised.value.code == "damaged_gzip"


def test_a_gzip_bomb_is_unpacked_a_piece_at_a_time() -> None:
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(64)) + packer.flush()
    assert max(map(len, unpacked(iter([bomb]), "gzip"))) <= 1 << 20
    with pytest.raises(ApiError, match="a line is at most"):
        list(lines(unpacked(iter([bomb]), "gzip")))


def test_column_types() -> None:
    assert column_types("a=integer, b=date") == {"a": "integer", "b": "date"}
    assert column_types(None) == column_types("") == {}
    for bad in ("a", "=integer", "a=,b=date"):
        with pytest.raises(ApiError):
            column_types(bad)
