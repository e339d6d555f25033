"""Imports: JSON arrays cut anywhere, modes, limits, and reports that leave no line out."""

import csv
import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import query.transfer.elements
import query.transfer.imports
import query.transfer.readers
from btree import Conflict, Database
from query import (
    ImportOptions,
    ImportReport,
    InvalidQuery,
    InvalidRecord,
    Reject,
    import_csv,
    import_json,
    import_ndjson,
)
from query.stores.builds import create_index
from query.stores.store import create_store, decode_record, drop_store, open_store
from query.transfer.elements import elements
from query.transfer.readers import read_csv, read_json

TEXT = st.text(max_size=8) | st.sampled_from(['"', "\\", '\\"', "[", "]}", ",", "\u2028"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
CUTS = st.lists(st.integers(0, 10_000), max_size=8)
LARGE = 1 << 20


def cut(data: bytes, places: list[int]) -> Iterator[bytes]:
    """The data in pieces, cut at the places."""
    edges = [0, *sorted({place % (len(data) + 1) for place in places}), len(data)]
    return (data[start:stop] for start, stop in itertools.pairwise(edges))


@settings(deadline=None)
@given(st.lists(VALUES, max_size=5), CUTS, st.sampled_from([None, 2]), st.booleans())
def test_elements_do_not_depend_on_where_the_text_is_cut(
    values: list[Any], places: list[int], indent: int | None, mark: bool
) -> None:
    text = (b"\xef\xbb\xbf" if mark else b"") + b" \n" + json.dumps(values, indent=indent).encode() + b"\r\n"
    found = list(elements(cut(text, places), largest=LARGE))
    assert [json.loads(element) for element in found] == values
    for shorter in (text.rstrip()[:-1], text.rstrip()[: len(text) // 2]):
        with pytest.raises(InvalidRecord):
            list(elements(cut(shorter, places), largest=LARGE))
    with pytest.raises(InvalidRecord):
        list(elements(cut(text + b"1", places), largest=LARGE))


@pytest.mark.parametrize(
    "text", [b"", b" ", b"{}", b'"x"', b"[", b"[1", b'["', b"[1}", b"[]]", b"[] []", b'[{"a":1]', b"\xef\xbb"]
)
def test_what_is_no_array(text: bytes) -> None:
    for places in ([], list(range(len(text)))):
        with pytest.raises(InvalidRecord):
            list(elements(cut(text, places), largest=LARGE))


def test_an_element_that_is_no_json_does_not_hide_the_next() -> None:
    text = b'[{"a": tru}, 1 2, , {"b": [}}, {"c": "]"}, ]'
    assert list(elements([text], largest=LARGE)) == [b'{"a": tru}', b"1 2", b"", b'{"b": [}}', b'{"c": "]"}', b""]
    assert [line.error is None for line in read_json(elements([text], largest=LARGE), blank=False)] == [
        False, False, False, False, True, False]  # fmt: skip


def test_an_element_that_is_too_large() -> None:
    endless = itertools.chain([b'[1, "'], itertools.repeat(b"x" * 1000))
    found = elements(endless, largest=10_000)
    assert next(found) == b"1"
    with pytest.raises(InvalidRecord, match="more than 10000 bytes"):
        next(found)


def test_a_long_string_in_small_pieces_is_not_searched_over_and_over(monkeypatch: pytest.MonkeyPatch) -> None:
    searched = 0
    real = query.transfer.elements._AMONG

    class Pattern:
        def match(self, held: bytes, at: int) -> Any:
            nonlocal searched
            searched += len(held) - at
            return real.match(held, at)

    monkeypatch.setattr(query.transfer.elements, "_AMONG", Pattern())
    pieces = [b'["', *[b"x" * 100] * 20_000, b'"]']
    (element,) = elements(pieces, largest=LARGE * 16)
    assert len(element) == 2_000_002
    assert searched < 4 * len(element)


@pytest.fixture
def store(database: Database) -> Database:
    database.transact(lambda transaction: create_store(transaction, "s", primary_key=["id"]))
    return database


def stored(database: Database) -> list[Any]:
    return [decode_record(value) for _, value in open_store(database.snapshot(), "s").tree.scan()]


def test_modes(store: Database) -> None:
    assert import_ndjson(store, "s", [b'{"id": 1, "v": 1}']).imported == 1
    rejects: list[Reject] = []
    lines = [b'{"id": 1, "v": 2}', b'{"id": 2}', b'{"id": 2, "v": 3}']
    report = import_ndjson(store, "s", lines, ImportOptions(mode="insert", rejects=rejects.append))
    assert (report.imported, report.rejected_count) == (1, 2)
    assert [(reject.line, reject.code, reject.text) for reject in rejects] == [
        (1, "record_exists", '{"id": 1, "v": 2}'), (3, "record_exists", '{"id": 2, "v": 3}')]  # fmt: skip
    assert stored(store) == [{"id": 1, "v": 1}, {"id": 2}]
    assert import_ndjson(store, "s", lines).imported == 3
    assert stored(store) == [{"id": 1, "v": 2}, {"id": 2, "v": 3}]
    for options in ({"mode": "replace"}, {"max_rejects": -1}):
        with pytest.raises(InvalidQuery):
            ImportOptions(**options)


RECORDS = st.lists(st.tuples(st.integers(0, 12), st.sampled_from(["a", "b", "", None, 7])), max_size=40)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(RECORDS, RECORDS, st.sampled_from(["insert", "upsert"]), st.none() | st.integers(0, 6))
def test_a_dry_run_tells_what_the_import_tells_and_keeps_nothing(
    store: Database, before: list[Any], records: list[Any], mode: Any, most: int | None
) -> None:
    """Chunks are small, so that lines meet those of earlier chunks: keys that are there already, and values that may be there once."""
    store.transact(lambda t: drop_store(t, "s"))
    store.transact(lambda t: create_store(t, "s", primary_key=["id"]))
    store.transact(lambda t: create_index(t, "s", ["v"], unique=True))
    import_ndjson(store, "s", as_lines(before))
    was, head = stored(store), store.head().seq
    found: dict[bool, tuple[Any, list[Reject], list[tuple[int, int]]]] = {}
    with pytest.MonkeyPatch.context() as small:
        small.setattr(query.transfer.imports, "CHUNK", 3)
        for dry_run in (True, False):
            rejects: list[Reject] = []
            progress: list[tuple[int, int]] = []
            options = ImportOptions(
                mode, most, lambda told, to=progress: to.append((told.imported, told.rejected_count)),
                rejects.append, dry_run=dry_run,
            )  # fmt: skip
            report = import_ndjson(store, "s", as_lines(records), options)
            found[dry_run] = (report, rejects, progress)
            if dry_run:
                assert (stored(store), store.head().seq, store.open_transactions()) == (was, head, [])
    assert found[True] == found[False]


def as_lines(records: list[Any]) -> list[bytes]:
    return [json.dumps({"id": key, "v": value}).encode() for key, value in records]


def test_a_dry_run_that_breaks_off_leaves_no_transaction(store: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query.transfer.imports, "CHUNK", 1)
    with pytest.raises(InvalidRecord):
        import_json(store, "s", [b'[{"id": 1}, {"id": 2}'], ImportOptions(dry_run=True))
    assert (stored(store), store.open_transactions()) == ([], [])


def test_every_kind_of_line_that_does_not_fit_is_rejected_alone(store: Database) -> None:
    lines = [
        b'\xef\xbb\xbf{"id": 0}\r',
        b"",
        b'{"id": "' + b"x" * 2000 + b'"}',
        b'{"id": 2, "n": 18446744073709551616}',
        b'{"id": 3, "n": 1e400}',
        b'{"id": 4, "t": "\\ud800"}',
        b'{"id": 5, "t": "\xff"}',
        b'{"id": 6, "t": NaN}',
        b'{"id": {}}',
        b'{"id": 7, "a": ' + b"[" * 300 + b"]" * 300 + b"}",
        b"[" * 5000,
        b'{"id": 8, "n": 18446744073709551615}',
    ]
    rejects: list[Reject] = []
    report = import_ndjson(store, "s", lines, ImportOptions(rejects=rejects.append))
    assert [reject.line for reject in rejects] == [3, 4, 5, 6, 7, 8, 9, 10, 11]
    assert {reject.code for reject in rejects} == {"key_too_large", "invalid_record", "invalid_key"}
    assert [reject.text for reject in rejects[1:3]] == [lines[3].decode(), lines[4].decode()]
    assert rejects[4].text == '{"id": 5, "t": "\\xff"}'
    assert (report.imported, stored(store)) == (2, [{"id": 0}, {"id": 8, "n": 2**64 - 1}])


def test_the_report_has_a_thousand_and_the_rejects_all(store: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query.transfer.imports, "CHUNK", 500)
    rejects: list[Reject] = []
    told: list[tuple[int, int]] = []

    def progress(report: ImportReport) -> None:
        told.append((report.imported, report.rejected_count))

    lines = (b'{"id": %d}' % n if n % 2 else b"?%d" % n for n in range(5000))
    report = import_ndjson(store, "s", lines, ImportOptions(rejects=rejects.append, progress=progress))
    assert (report.imported, report.rejected_count, len(report.rejected)) == (2500, 2500, 1000)
    assert [(reject.line, reject.text) for reject in rejects] == [(n + 1, f"?{n}") for n in range(0, 5000, 2)]
    assert told == [(n * 250, n * 250) for n in range(1, 11)]
    long = import_ndjson(store, "s", [b'"' + b"x" * 5000 + b'"'])
    assert len(long.rejected[0]["message"]) < 1100 and "characters" in long.rejected[0]["message"]


def test_stopping_at_one_too_many(store: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query.transfer.imports, "CHUNK", 10)
    taken = 0

    def lines() -> Iterator[bytes]:
        nonlocal taken
        for taken in range(1, 1000):
            yield b"?" if taken in (5, 25, 26) else b'{"id": %d}' % taken

    rejects: list[Reject] = []
    report = import_ndjson(store, "s", lines(), ImportOptions(max_rejects=1, rejects=rejects.append))
    assert (report.imported, report.rejected_count, report.stopped, taken) == (19, 2, True, 30)
    assert [reject.line for reject in rejects] == [5, 25]
    assert [row["id"] for row in stored(store)] == [n for n in range(1, 21) if n != 5]
    whole = import_ndjson(store, "s", lines(), ImportOptions(max_rejects=3))
    assert (whole.imported, whole.rejected_count, whole.stopped) == (996, 3, False)


def test_a_conflict_tells_no_reject_twice(store: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Database.transact

    def twice(self: Database, work: Any, **more: Any) -> Any:
        def in_vain(transaction: Any) -> None:
            work(transaction)
            raise Conflict("again")

        with pytest.raises(Conflict):
            real(self, in_vain, attempts=1, **more)
        return real(self, work, **more)

    monkeypatch.setattr(Database, "transact", twice)
    rejects: list[Reject] = []
    report = import_ndjson(store, "s", [b"?", b'{"id": 1}'], ImportOptions(rejects=rejects.append))
    assert (report.imported, report.rejected_count, len(rejects)) == (1, 1, 1)


def test_chunks_are_bounded_in_bytes(store: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query.transfer.imports, "CHUNK_BYTES", 1000)
    told: list[int] = []
    lines = [b'{"id": %d, "t": "%s"}' % (n, b"x" * 400) for n in range(9)]
    import_ndjson(store, "s", lines, ImportOptions(progress=lambda report: told.append(report.imported)))
    assert told == [3, 6, 9]


def test_a_text_that_breaks_off_keeps_the_counts(store: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query.transfer.imports, "CHUNK", 10)
    report = ImportReport()
    text = b"[" + b",".join(b'{"id": %d}' % n for n in range(25))
    with pytest.raises(InvalidRecord, match="not closed"):
        import_json(store, "s", [text], ImportOptions(report=report))
    assert (report.imported, len(stored(store))) == (20, 20)


def test_elements_are_numbered_from_one(store: Database) -> None:
    report = import_json(store, "s", [b'[{"id": 1}, 5, {"id": 2}, {"no": 1}]'])
    assert (report.imported, [found["line"] for found in report.rejected]) == (2, [2, 4])


def test_csv_lines_types_and_texts(store: Database) -> None:
    text = (
        "id,t,n,j\n"
        '1,"a\nb",,"{""x"": [1]}"\n'  # lines 2 and 3
        '2,"x"y,1,1\n'
        "3,x,9223372036854775808,tru\n"
        '4,"",-1,null\n'
        "5,,+7,\n"
        '6,"two\nlines",x,1\n'  # lines 8 and 9
        "7\n"
        "\n"
        '8,"' + "x" * 200_000 + '",1,1\n'
        '9,"open'
    )
    rejects: list[Reject] = []
    types = {"id": "integer", "t": "string?", "n": "integer", "j": "json"}
    report = import_csv(store, "s", text.splitlines(keepends=True), ImportOptions(rejects=rejects.append), types=types)
    assert [(reject.line, reject.text[:12]) for reject in rejects] == [
        (4, '2,"x"y,1,1'), (5, "3,x,92233720"), (8, '6,"two\nlines'), (10, "7"), (13, '9,"open')]  # fmt: skip
    assert rejects[2].text == '6,"two\nlines",x,1'
    assert report.imported == 4
    rows = {row["id"]: row for row in stored(store)}
    assert rows[1] == {"id": 1, "t": "a\nb", "n": None, "j": {"x": [1]}}
    assert (rows[4]["t"], rows[4]["j"], rows[5]["t"], rows[5]["n"], rows[5]["j"]) == ("", None, None, 7, None)
    assert len(rows[8]["t"]) == 200_000


def test_the_guard_is_taken_from_text_only() -> None:
    text = ["'=id,n,t\n", "'=1,'-5,'=x\n"]
    (line,) = read_csv(text, {"=id": "string", "n": "string"}, unguard=True)
    assert line.record == {"=id": "=1", "n": "-5", "t": "=x"}
    (line,) = read_csv(text, {"n": "integer"}, unguard=True)
    assert line.error is not None and "'-5" in line.error.message
    (line,) = read_csv(text, {})
    assert line.record == {"'=id": "'=1", "n": "'-5", "t": "'=x"}


def test_a_text_that_stands_for_null() -> None:
    text = ["id,n,o,s,d\n", "NA,NA,NA,NA,NA\n", '1,"NA","NA","NA",\n', "na,,,,2026-01-01\n", "x,NA ,NAN,s,NA\n"]
    types = {"n": "integer", "o": "string?", "d": "date"}
    first, second, third, fourth = read_csv(text, types, null="NA")
    assert first.record == {"id": "NA", "n": None, "o": None, "s": "NA", "d": None}
    assert second.record == {"id": "1", "n": None, "o": "NA", "s": "NA", "d": None}
    assert third.record == {"id": "na", "n": None, "o": None, "s": "", "d": "2026-01-01"}
    assert fourth.error is not None and "'NA '" in fourth.error.message
    (plain, *_) = read_csv(text, {"o": "string?"})
    assert plain.record["o"] == "NA"


@pytest.mark.parametrize("null", ['"NA"', '"', "N,A", "N\nA", "NA\r"])
def test_a_text_for_null_that_no_cell_can_be(null: str) -> None:
    with pytest.raises(InvalidRecord) as raised:
        list(read_csv(["a\n"], {}, null=null))
    assert raised.value.pointer == "/null"


def test_empty_cells_as_missing_fields() -> None:
    text = ["id,n,o,s\n", "1,,,\n", '2,"","",""\n', "3,NA,NA,NA\n"]
    types = {"n": "integer", "o": "string?"}
    first, second, third = read_csv(text, types, null="NA", empty="missing")
    assert first.record == {"id": "1", "s": ""}
    assert second.record == {"id": "2", "o": "", "s": ""}
    assert third.record == {"id": "3", "n": None, "o": None, "s": "NA"}
    with pytest.raises(InvalidRecord) as raised:
        list(read_csv(text, types, empty="absent"))  # type: ignore[arg-type]
    assert raised.value.pointer == "/empty"


def test_csv_that_is_refused_as_a_whole() -> None:
    for text, types in (
        (["a,a\n"], {}),
        (["a\n"], {"b": "integer"}),
        (["a\n"], {"a": "int"}),
        ([], {}),
        (['"a"b\n'], {}),
    ):
        with pytest.raises(InvalidRecord):
            list(read_csv(text, types))


@pytest.fixture
def small_cells(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Cells of CSV have at most 8 characters."""
    monkeypatch.setattr(query.transfer.readers, "MAX_CELL", 8)
    limit = csv.field_size_limit()
    yield
    csv.field_size_limit(limit)


CELLS = st.text('ab",\n', max_size=24)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(CELLS, CELLS), max_size=6))
def test_a_record_with_too_large_a_cell_is_rejected_and_no_other(
    small_cells: None, rows: list[tuple[str, str]]
) -> None:
    text, expected, line = "a,b\n", [], 2
    for row in rows:
        record = ",".join('"' + cell.replace('"', '""') + '"' for cell in row) + "\n"
        large = any(len(cell) > 8 for cell in row)
        expected.append((line, None if large else {"a": row[0], "b": row[1]}))
        text, line = text + record, line + record.count("\n")
    found = list(read_csv(text.splitlines(keepends=True), {}))
    assert [(each.number, each.record) for each in found] == expected
    assert all((each.record is None) == (each.error is not None) for each in found)


def test_what_is_passed_over_is_told_and_not_kept(small_cells: None) -> None:
    text = ["a,b\n", '1,"123456789\n', 'x""\n', 'y,",z\n', "2,3\n", '4,"56789012\n', "5,6\n"]
    read = read_csv(iter(text), {"a": "integer"})
    first, second, third = read
    assert (first.number, first.source) == (2, ('1,"123456789\n',))
    assert first.error is not None and first.error.message.endswith(
        "(8); the 2 lines behind that belong to the record were passed over"
    )
    assert (second.number, second.record) == (5, {"a": 2, "b": "3"})
    assert (third.number, third.source) == (6, ('4,"56789012\n',))
    assert third.error is not None and third.error.message.endswith(
        "(8); its quotes are not closed: all 1 lines behind were passed over, to the end of the file"
    )
