"""Streams and exports: bytes that read back as the same rows, in pieces, closed in any case, of one version."""

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

import orjson
import pyarrow.ipc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from btree import Busy, Database, DiskFull, ReadOnly, Tree, VersionNotFound
from query import (
    FORMATS,
    InvalidQuery,
    InvalidRecord,
    Query,
    Store,
    StoreNotFound,
    create_store,
    export,
    open_store,
)
from query.transfer.exports import LEASE, column_names
from query.transfer.readers import read_csv
from query.transfer.streams import FIRST, PIECE, columns_of, csv_rows, json_array, ndjson, unguarded

TEXT = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(
    ["=1", "'=1", "''+", "-5", "@", "\t", "\r", "|x", "a,\nb", 'q"q', "\u2028", "", "'", " =", "\ufeff", "\x00"]
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
RECORDS = st.lists(st.dictionaries(TEXT, VALUES, max_size=4), max_size=20)


def chunks(records: list[dict[str, Any]], size: int) -> Iterator[bytes]:
    """As a selection gives them."""
    for start in range(0, len(records), size):
        yield b",\n".join(map(orjson.dumps, records[start : start + size]))


@settings(deadline=None)
@given(RECORDS, st.integers(1, 7))
def test_json_and_ndjson_read_back_as_the_same_rows(records: list[dict[str, Any]], size: int) -> None:
    array = b"".join(json_array(chunks(records, size)))
    assert json.loads(array) == records
    assert array[-2:] == b"]\n"
    lines = b"".join(ndjson(chunks(records, size), end=True)).split(b"\n")
    assert lines.pop() == b""
    assert json.loads(lines.pop()) == {"end": {"rows": len(records)}}
    assert lines == [orjson.dumps(record) for record in records]
    assert b"".join(ndjson(chunks(records, size))) == b"".join(line + b"\n" for line in lines)


@settings(deadline=None)
@given(st.lists(st.fixed_dictionaries({"a": TEXT | st.none(), "b,\n": TEXT | st.none(), "=c": VALUES}), max_size=20))
def test_csv_reads_back_as_the_same_rows(records: list[dict[str, Any]]) -> None:
    for record in records:  # a column has one type: this one is JSON
        if isinstance(record["=c"], str):
            record["=c"] = [record["=c"]]
    text = b"".join(csv_rows(records, ["a", "b,\n", "=c"])).decode()
    lines = io.StringIO(text, newline="\n")
    found = list(read_csv(lines, {"a": "string?", "b,\n": "string?", "=c": "json"}, unguard=True))
    assert [line.error for line in found] == [None] * len(records)
    assert [line.record for line in found] == records
    assert [type(line.record["=c"]) for line in found] == [type(record["=c"]) for record in records]


@settings(deadline=None)
@given(st.lists(st.lists(TEXT, min_size=3, max_size=3), max_size=20))
def test_csv_is_what_other_readers_read_and_no_cell_is_a_formula(rows: list[list[str]]) -> None:
    records = [dict(zip("abc", row, strict=True)) for row in rows]
    plain = b"".join(csv_rows(records, list("abc"), guard=False)).decode()
    assert list(csv.reader(io.StringIO(plain, newline=""), strict=True)) == [list("abc"), *rows]
    guarded = b"".join(csv_rows(records, list("abc"))).decode()
    _, *cells = csv.reader(io.StringIO(guarded, newline=""), strict=True)
    assert not [cell for row in cells for cell in row if cell and cell[0] in "=+-@|\t\r"]
    assert [[unguarded(cell) for cell in row] for row in cells] == rows


def test_csv_cells() -> None:
    record = {"n": -5, "x": -0.5, "yes": True, "no": False, "none": None, "list": [1], "text": "-5", "empty": ""}
    header, row = b"".join(csv_rows([record], [*record, "absent"])).decode().split("\r\n")[:2]
    assert header == "n,x,yes,no,none,list,text,empty,absent"
    assert row == '-5,-0.5,true,false,,[1],\'-5,"",'
    assert b"".join(csv_rows([{"a": None}, {"a": ""}], ["a"])) == b'a\r\n""\r\n""\r\n'


NULLS = ["\\N", "NULL", "NA", "null", "-", "n/a", "=x", "'"]


@st.composite
def sparse(draw: st.DrawFn) -> tuple[str, list[dict[str, Any]]]:
    """A text for null, and records that lack fields, have null in them, or that very text."""
    null = draw(st.sampled_from(NULLS))
    text = st.none() | st.sampled_from([null, "'" + null, null + " ", "", '"']) | TEXT
    number = st.none() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    listed = st.none() | st.lists(st.sampled_from([null, None]), max_size=2)
    optional = {"t": text, "n": number, "b": st.none() | st.booleans(), "j": listed}
    rows = st.fixed_dictionaries({"id": st.integers(0, 9)}, optional=optional)  # type: ignore[arg-type]
    return null, draw(st.lists(rows, max_size=20))


@settings(deadline=None)
@given(sparse(), st.booleans())
def test_with_a_text_for_null_what_is_missing_stays_missing(
    found: tuple[str, list[dict[str, Any]]], guard: bool
) -> None:
    null, records = found
    text = b"".join(csv_rows(records, ["id", "t", "n", "b", "j"], guard=guard, null=null)).decode()
    types = {"id": "integer", "t": "string?", "n": "number", "b": "boolean", "j": "json"}
    lines = list(read_csv(io.StringIO(text, newline="\n"), types, unguard=guard, null=null, empty="missing"))
    assert [line.error for line in lines] == [None] * len(records)
    assert [line.record for line in lines] == records


def test_csv_with_a_text_for_null() -> None:
    records = [{"id": 1, "a": None}, {"id": 2, "a": ""}, {"id": 3}, {"id": 4, "a": "NULL"}]
    assert b"".join(csv_rows(records, ["id", "a"], null="NULL")) == b'id,a\r\n1,NULL\r\n2,""\r\n3,\r\n4,"NULL"\r\n'
    assert b"".join(csv_rows(records, ["id", "a"])) == b'id,a\r\n1,\r\n2,""\r\n3,\r\n4,NULL\r\n'
    assert b"".join(csv_rows([{"a": None}, {}], ["a"], null="NULL")) == b'a\r\nNULL\r\n""\r\n'


@pytest.mark.parametrize(
    "null", ["a,b", '"', '"NA"', "a\nb", "\r", "0", "-1", "1e3", "true", "false", "[]", "{}", "[1]", " 5 "]
)
def test_texts_that_cannot_mean_null(null: str) -> None:
    with pytest.raises(InvalidQuery) as raised:
        csv_rows([], ["a"], null=null)
    assert raised.value.pointer == "/null"


def test_the_columns_of_csv() -> None:
    rows = [{"b": 1, "id": 1}, {"id": 2, "c": 1}, {"id": 3, "d": 1}]
    columns, records = columns_of(iter(rows), ["id"], sample=2)
    assert (columns, list(records)) == (["id", "b", "c"], rows)
    with pytest.raises(InvalidRecord, match="row 3 has a field 'd'") as raised:
        list(csv_rows(rows, columns))
    assert raised.value.hint and "`fields`" in raised.value.hint
    assert columns_of([], ["id"])[0] == ["id"]
    assert column_names(["a", "b.c", "d AS e"]) == ["a", "b.c", "e"]
    assert column_names(None) is column_names(["*"]) is column_names(["a.*"]) is None


def test_the_first_piece_comes_early_and_the_others_are_large() -> None:
    read = 0

    def source() -> Iterator[bytes]:
        nonlocal read
        for number in range(1000):
            read += 1
            yield orjson.dumps({"id": number, "text": "x" * 990})

    for make in (json_array, ndjson):
        read = 0
        stream = make(source())
        first = next(stream)
        assert FIRST <= len(first) < FIRST + 1100 and read <= 5
        second, *others, _ = stream
        assert all(PIECE <= len(piece) < PIECE + 1100 for piece in (second, *others))


def test_closing_a_stream_closes_its_source() -> None:
    for make in (json_array, ndjson):
        source = (b'{"a":"' + b"x" * FIRST + b'"}' for _ in iter(int, 1))
        stream = make(source)
        next(stream)
        assert next(source, None) is not None
        stream.close()
        assert next(source, None) is None
    records = ({"a": "x" * FIRST} for _ in iter(int, 1))
    columns, all_of_them = columns_of(records, sample=3)
    stream = csv_rows(all_of_them, columns)
    next(stream)
    assert next(records, None) is not None
    stream.close()
    assert next(records, None) is None


def empty(store: Store) -> None:
    assert isinstance(store.tree, Tree)
    store.tree.delete_range()


@pytest.fixture
def items(database: Database) -> Database:
    def fill(transaction: Any) -> None:
        store = create_store(transaction, "items", primary_key=["id"])
        for number in range(5000):
            store.add({"id": number, "text": "x" * 50})

    database.transact(fill)
    return database


@pytest.mark.parametrize("form", FORMATS)
def test_an_export_is_of_one_version_whatever_happens(items: Database, form: Any) -> None:
    items.sweep(retention_seconds=0)
    with export(items, Query("items"), form) as rows:
        expected = rows.version
        taken = iter(rows)
        got = next(taken)
        items.transact(lambda transaction: empty(open_store(transaction, "items")))
        assert items.sweep(retention_seconds=0).pages == 0
        assert [pin.version for pin in items.pins()] == [expected]
        got += b"".join(taken)
    assert items.pins() == []
    if form == "csv":
        ids = [int(row["id"]) for row in csv.DictReader(io.StringIO(got.decode(), newline=""))]
    elif form == "arrow":
        with pyarrow.ipc.open_stream(got) as reader:
            ids = reader.read_all().column("id").to_pylist()
    else:
        ids = [row["id"] for row in (json.loads(got) if form == "json" else map(json.loads, got.splitlines()))]
    assert ids == list(range(5000))
    assert items.sweep(retention_seconds=0).pages > 0


def test_a_small_export_pins_nothing(items: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise AssertionError("it was pinned")

    monkeypatch.setattr(Database, "pin", refused)
    with export(items, Query("items", limit=3), "ndjson", end=True) as rows:
        assert rows.whole
        assert [json.loads(line) for line in b"".join(rows).splitlines()][-1] == {"end": {"rows": 3}}
    with pytest.raises(AssertionError):
        export(items, Query("items"), "ndjson")


def test_a_pin_is_renewed_while_pieces_are_taken(items: Database) -> None:
    now = [0.0]
    with export(items, Query("items"), "ndjson", clock=lambda: now[0]) as rows:
        taken = iter(rows)
        next(taken)
        (first,) = items.pins()
        items.pin(first.version, pin_id=first.id, lease_seconds=1)  # as if most of it had passed
        next(taken)
        assert items.pins()[0].lease_until < first.lease_until
        now[0] += LEASE / 2
        next(taken)
        next(taken, None)
        (renewed,) = items.pins()
        assert renewed.id == first.id and renewed.lease_until >= first.lease_until


def test_an_export_that_is_given_up_leaves_nothing(items: Database) -> None:
    rows = export(items, Query("items"), "json")
    assert len(items.pins()) == 1
    next(iter(rows))
    rows.close()
    rows.close()
    assert items.pins() == []


@pytest.mark.parametrize("error", [Busy, DiskFull, ReadOnly])
def test_rows_come_also_where_nothing_can_be_written(
    items: Database, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise error("no")

    rows = export(items, Query("items"), "ndjson")
    monkeypatch.setattr(Database, "unpin", refused)
    rows.close()
    assert len(items.pins()) == 1  # until its lease ends
    monkeypatch.setattr(Database, "pin", refused)
    with export(items, Query("items"), "ndjson") as rows:
        assert b"".join(rows).count(b"\n") == 5000
    with export(items, Query("items"), "ndjson") as rows:
        taken = iter(rows)
        next(taken)
        items.cache.budget = 1
        items.transact(lambda transaction: empty(open_store(transaction, "items")))
        monkeypatch.undo()
        for pin in items.pins():
            items.unpin(pin.id)
        items.sweep(retention_seconds=0)
        with pytest.raises(VersionNotFound):
            b"".join(taken)


def test_exports_that_are_refused(items: Database) -> None:
    for query, form, more, error in (
        (Query("none"), "json", {}, StoreNotFound),
        (Query("items", limit=-1), "json", {}, InvalidQuery),
        (Query("items"), "xml", {}, InvalidQuery),
        (Query("items"), "csv", {"end": True}, InvalidQuery),
    ):
        with pytest.raises(error):
            export(items, query, form, **more)  # type: ignore[arg-type]
    assert items.pins() == []
