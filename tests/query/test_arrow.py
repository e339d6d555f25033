"""Rows as Arrow: types that are promised or fit, JSON text for the rest, nothing changed to fit, an end mark only behind the whole."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.ipc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from btree import Database
from query import Query, create_store, export
from query.errors import InvalidQuery, InvalidRecord
from query.transfer import arrow
from query.transfer.arrow import END_MARK, arrow_rows, declared_types, sampled_types

Rows = list[dict[str, Any]]


def stream(rows: Iterable[dict[str, Any]], *first: str, **more: Any) -> bytes:
    types, records = sampled_types(rows, first, **more)
    return b"".join(arrow_rows(records, types))


def types_of(body: bytes) -> dict[str, str]:
    with pyarrow.ipc.open_stream(body) as reader:
        return {field.name: str(field.type) for field in reader.schema}


def rows_of(body: bytes) -> Rows:
    """The rows of a whole stream; JSON text as what it says."""
    assert body.endswith(END_MARK)
    with pyarrow.ipc.open_stream(body) as reader:
        texts = {field.name for field in reader.schema if str(field.type).startswith("extension<arrow.json")}
        return [
            {name: json.loads(value) if name in texts and value is not None else value for name, value in row.items()}
            for row in reader.read_all().to_pylist()
        ]


def test_types_are_those_that_all_values_fit() -> None:
    rows: Rows = [
        {"n": 1, "x": 1, "b": True, "s": "a", "l": [1], "o": {"a": None}, "m": 1, "none": None, "big": 2**63, "fine": 2**53 + 1},
        {"n": 1 - 2**63, "x": 0.5, "b": None, "s": "", "l": None, "o": {}, "m": "1", "late": 2, "big": 1, "fine": 0.5},
    ]  # fmt: skip
    body = stream(rows)
    kinds = {name: kind.removeprefix("extension<").removesuffix(">") for name, kind in types_of(body).items()}
    assert kinds == {
        "n": "int64", "x": "double", "b": "bool", "s": "string", "l": "arrow.json", "o": "arrow.json", "m": "arrow.json",
        "none": "arrow.json", "big": "arrow.json", "fine": "arrow.json", "late": "int64",
    }  # fmt: skip
    assert rows_of(body) == [{**dict.fromkeys(kinds), **row} for row in rows]


VALUES = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
TREES = (
    VALUES
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.lists(VALUES)
    | st.dictionaries(st.text("ab"), VALUES)
)


@settings(deadline=None)
@given(
    st.lists(st.dictionaries(st.sampled_from(["a", "b", "c", ""]), TREES.filter(lambda v: v is not None), min_size=1))
)
def test_no_value_is_changed(rows: Rows) -> None:
    texts = [{name: json.dumps(value) for name, value in row.items() if value is not None} for row in rows]
    found = rows_of(stream([json.loads(json.dumps(row)) for row in rows]))
    again = [{name: value for name, value in row.items() if value is not None} for row in found]
    assert [{name: json.loads(text) for name, text in row.items()} for row in texts] == again


@pytest.mark.parametrize(
    ("late", "told"),
    [
        ({"n": "1"}, '"1"'),
        ({"n": 1.5}, "1.5"),
        ({"n": True}, "true"),
        ({"n": 2**63}, str(2**63)),
        ({"x": 2**53 + 1}, str(2**53 + 1)),
        ({"x": False}, "false"),
        ({"s": 1}, "1"),
        ({"s": ["a"]}, '["a"]'),
        ({"other": 1}, "'other'"),
    ],
)
def test_what_does_not_fit_later_ends_the_stream_without_its_mark(late: dict[str, Any], told: str) -> None:
    rows = [*({"n": n, "x": n / 2, "s": "a"} for n in range(2_500)), late]
    pieces = []
    types, records = sampled_types(rows)
    with pytest.raises(InvalidRecord) as raised:
        pieces.extend(arrow_rows(records, types))
    assert told in raised.value.message and "row 2501" in raised.value.message
    body = b"".join(pieces)
    assert END_MARK not in body
    (name,) = late
    as_json = stream(rows, as_json=[name])
    assert rows_of(as_json)[-1][name] == late[name]
    assert types_of(as_json)[name].startswith("extension<arrow.json")


def test_a_stores_schema_promises_types(tmp_path: Path) -> None:
    schema = {
        "type": "object",
        "properties": {"id": {"type": "integer"}, "price": {"type": ["number", "null"]}, "tags": {"type": "array"},
                       "code": {"type": ["string", "integer"]}, "never": {"type": "boolean"}, "any": {}},
    }  # fmt: skip
    assert declared_types(schema) == {"id": "int64", "price": "float64", "tags": "json", "never": "bool"}
    assert declared_types(None) == {}
    with Database.open(tmp_path / "a.db", create=True) as database:

        def fill(transaction: Any) -> None:
            store = create_store(transaction, "things", primary_key=["id"], schema=schema)
            for number in range(1_500):
                store.add(
                    {"id": number, "price": number} if number < 1_200 else {"id": number, "price": 0.5, "never": True}
                )

        database.transact(fill)

        def exported(**asked: Any) -> bytes:
            with export(database, Query("things", **asked), "arrow") as pieces:
                return b"".join(pieces)

        body = exported()
        assert types_of(body) == {"id": "int64", "price": "double", "tags": "extension<arrow.json>", "never": "bool"}
        rows = rows_of(body)
        assert (rows[0], rows[-1]["price"], rows[-1]["never"], len(rows)) == (
            {"id": 0, "price": 0.0, "tags": None, "never": None}, 0.5, True, 1_500)  # fmt: skip
        assert types_of(exported(fields=["price AS p", "id"])) == {"p": "double", "id": "int64"}
        assert rows_of(exported(filter={"id": -1})) == []
        with pytest.raises(InvalidQuery, match="no column 'idd'"):
            export(database, Query("things", fields=["id"]), "arrow", as_json=["idd"])
        with pytest.raises(InvalidQuery):
            export(database, Query("things"), "csv", as_json=["id"])


def test_batches_are_made_as_they_are_taken() -> None:
    made = 0

    def rows() -> Iterator[dict[str, Any]]:
        nonlocal made
        for number in range(100_000):
            made += 1
            yield {"id": number, "text": "x" * 50}

    pieces = arrow_rows(*reversed(sampled_types(rows())))
    next(pieces)
    assert made <= 2 * arrow.BATCH
    next(pieces)
    assert made < 10 * arrow.BATCH
    pieces.close()


def test_batches_of_long_rows_have_fewer_rows() -> None:
    body = stream([{"id": number, "text": "x" * 20_000} for number in range(3_000)])
    with pyarrow.ipc.open_stream(body) as reader:
        sizes = [batch.num_rows for batch in reader]
    assert sizes[0] == arrow.BATCH and sum(sizes) == 3_000
    assert max(sizes[1:]) * 20_000 <= arrow.BATCH_BYTES


def test_rows_without_columns_are_refused() -> None:
    with pytest.raises(InvalidRecord):
        stream([{}])
    assert rows_of(stream([])) == []


def test_without_pyarrow_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow, "find_spec", lambda name: None)
    with pytest.raises(InvalidQuery) as raised:
        arrow_rows([], {})
    assert "sop-temporal[arrow]" in str(raised.value.hint)
