"""CSV that tells null from a missing field, out and in, over HTTP and on the command line."""

from pathlib import Path
from typing import Any

from tests.gateway.conftest import Gateway, Sop, problem_of
from tests.gateway.test_rows_streams import ITEMS, NDJSON, SHOP, fill, stored

SPARSE: list[dict[str, Any]] = [
    {"id": "1", "t": None, "n": None}, {"id": "2", "t": "", "n": 5}, {"id": "3"}, {"id": "4", "t": "\\N"}, {"id": "5", "n": None},
]  # fmt: skip


async def test_null_and_missing_are_told_apart_in_csv(gateway: Gateway) -> None:
    http, database = gateway.http, fill(gateway, SPARSE)
    await http.post(f"{SHOP}/stores", json={"name": "again", "primary_key": ["id"]})
    exported = await http.get(f"{ITEMS}/rows:export", params={"format": "csv", "null": "\\N"})
    assert exported.text == 'id,t,n\r\n1,\\N,\\N\r\n2,"",5\r\n3,,\r\n4,"\\N",\r\n5,,\\N\r\n'
    selected = await http.post(f"{ITEMS}:select", params={"format": "csv", "null": "\\N"}, json={})
    assert selected.text == exported.text
    plain = (await http.get(f"{ITEMS}/rows:export?format=csv")).text
    assert plain == 'id,t,n\r\n1,,\r\n2,"",5\r\n3,,\r\n4,\\N,\r\n5,,\r\n'
    options = {"types": "t=string?,n=integer", "null": "\\N", "empty": "missing"}
    address, csv_body = f"{SHOP}/stores/again/rows:import", {"Content-Type": "text/csv"}
    report = await http.post(address, params=options, content=exported.content, headers=csv_body)
    assert (report.json()["imported"], report.json()["rejected"]) == (5, [])
    assert stored(database, "again") == stored(database) == SPARSE
    for params, pointer in (
        ({"format": "json", "null": "NULL"}, "?null"), ({"format": "csv", "null": "0"}, "?null"), ({"format": "csv", "null": "a,b"}, "?null"),
        ({"format": "csv", "end": "true"}, "?end")):  # fmt: skip
        for answer in (
            await http.post(f"{ITEMS}:select", params=params, json={}), await http.get(f"{ITEMS}/rows:export", params=params)):  # fmt: skip
            assert problem_of(answer, 422, "invalid_query")["errors"][0]["pointer"] == pointer
    problem_of(
        await http.post(address, params={"empty": "missing"}, content=b"{}", headers=NDJSON), 422, "invalid_field"
    )
    problem_of(
        await http.post(address, params={"empty": "gone"}, content=b"id\n", headers=csv_body), 422, "invalid_request"
    )


async def test_the_command_line_tells_null_and_missing_apart(sop: Sop, gateway: Gateway, tmp_path: Path) -> None:
    database = fill(gateway, SPARSE)
    file = tmp_path / "x.csv"
    assert (await sop("data", "export", "shop/items", "--file", str(file), "--null", "\\N")).code == 0
    assert file.read_bytes().decode() == 'id,t,n\r\n1,\\N,\\N\r\n2,"",5\r\n3,,\r\n4,"\\N",\r\n5,,\\N\r\n'
    words = ("--create", "--key", "id", "--types", "t=string?,n=integer", "--null", "\\N", "--empty", "missing")
    assert (await sop("data", "import", "shop/again", str(file), *words)).code == 0
    assert stored(database, "again") == SPARSE
    shown = await sop("data", "select", "shop/items", "--where", '{"id": "5"}', "-o", "csv", "--null", "NULL")
    assert shown.out == "id,n\r\n5,NULL\r\n"
    for words in (("--null", "NULL"), ("-o", "json", "--null", "NULL"), ("-o", "csv", "--null", "0")):
        found = await sop("data", "select", "shop/items", *words)
        assert (found.code, found.out) == (2, "") and "--null" in found.err
    other = tmp_path / "y.ndjson"
    assert (await sop("data", "export", "shop/items", "--file", str(other), "--null", "NULL")).code == 2
    assert not other.exists()
