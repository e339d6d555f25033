"""Rows as a stream of bytes: a JSON array, NDJSON or CSV, in pieces and in constant memory.

    Selection.json_chunks() -> json_array | ndjson -> pieces        records -> csv_rows -> pieces

A chunk is one or more JSON texts divided by `,\\n`. No JSON text has a raw line break, so `,\\n` is a divider wherever it stands, and
NDJSON is one replacement a chunk. Nothing is parsed.

Pieces: the first has at least FIRST bytes, the others at least PIECE, but for the last: the first rows are on their way early, and a first
piece below FIRST is all there is. Closing one of these generators closes what it reads from.

CSV is RFC 4180: a header, commas, CRLF, quotes where they are needed. A cell is the text itself, a number, `true`, `false`, or JSON for
lists and objects. Null is an empty cell and empty text is `""`; both are read back by the importer (type `string?`). A field that is not
there is an empty cell too, unless null has a text of its own (`null`, as `\\N` or `NULL`): then null is that text, an empty cell is a
field that is not there, and text that happens to be the same is put in quotes. The importer takes it back with the same text and
`empty="missing"`.

Spreadsheets take text that begins with = + - @ | tab or CR for a formula. The guard puts an apostrophe before such text, and before
such text that has apostrophes in front already, so that `unguarded` is its exact inverse. Numbers are left alone.
"""

import re
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from typing import Any, Final

import orjson

from query.errors import InvalidQuery, InvalidRecord
from query.values.values import MISSING

PIECE: Final = 64 * 1024
"""Bytes from which a piece is handed on."""
FIRST: Final = 4 * 1024
"""The same for the first piece."""
SAMPLE: Final = 1000
"""Rows that are looked at for the columns of CSV, where nothing else says them."""

Stream = Generator[bytes, None, None]

_DIVIDER: Final = b",\n"
_ROWS: Final = 100
_QUOTED: Final = re.compile('[",\r\n]')
_FORMULA: Final = re.compile("'*[=+\\-@|\t\r]")
_GUARDED: Final = re.compile("'+[=+\\-@|\t\r]")


def json_array(chunks: Iterable[bytes]) -> Stream:
    """One JSON array, a row a line. It is whole if it ends in `]`."""
    return gathered(_json_array(chunks))


def ndjson(chunks: Iterable[bytes], *, end: bool = False) -> Stream:
    """A row a line. With `end`, one more line says that this is all, and how much: `{"end": {"rows": 3}}`."""
    return gathered(_ndjson(chunks, end))


def csv_rows(
    records: Iterable[Mapping[str, Any]], columns: Sequence[str], *, guard: bool = True, null: str = ""
) -> Stream:
    """CSV of some columns; a field that a record does not have is an empty cell, and so is null unless it has a text.

    Raises InvalidQuery at once for a `null` that could be another value, and InvalidRecord for a record with a field that is no column:
    nothing is left out without a word.
    """
    return gathered(_csv(records, list(columns), guard, null_text(null)))


def null_text(text: str, pointer: str = "/null") -> str:
    """The text that null is written as. Raises InvalidQuery for one that needs quotes, or that is how another value is written."""
    hint = "null is a word such as NULL, or \\N"
    if _QUOTED.search(text):
        raise InvalidQuery(f"no cell is {text!r} without quotes", pointer=pointer, hint=hint)
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
    if value is not None:
        raise InvalidQuery(f"{text!r} is how a value is written that is not null", pointer=pointer, hint=hint)
    return text


def columns_of(
    records: Iterable[Mapping[str, Any]], first: Sequence[str] = (), sample: int = SAMPLE
) -> tuple[list[str], Iterator[Mapping[str, Any]]]:
    """The columns of records: `first`, then the other fields of the first `sample` records as they appear; and all records."""
    rows = iter(records)
    seen = list(islice(rows, sample))
    found = dict.fromkeys(chain(first, *seen))
    return list(found), _closing(chain(seen, rows), rows)


def unguarded(text: str) -> str:
    """The text that was guarded."""
    return text[1:] if _GUARDED.match(text) else text


def _json_array(chunks: Iterable[bytes]) -> Iterator[bytes]:
    yield b"["
    divider = b"\n"
    with closed(chunks):
        for chunk in filter(None, chunks):
            yield divider
            yield chunk
            divider = _DIVIDER
    yield b"\n]\n"


def _ndjson(chunks: Iterable[bytes], end: bool) -> Iterator[bytes]:
    rows = 0
    runs = _runs(chunks)
    with closed(runs):
        for run in runs:
            lines = run.split(_DIVIDER)  # and joined again: that takes half the time of one replacement
            rows += len(lines)
            lines.append(b"")
            yield b"\n".join(lines)
    if end:
        yield b'{"end":{"rows":%d}}\n' % rows


def _runs(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The chunks as fewer and larger ones, none of them empty."""
    held: list[bytes] = []
    size, least = 0, FIRST
    with closed(chunks):
        for chunk in filter(None, chunks):
            held.append(chunk)
            size += len(chunk)
            if size >= least:
                yield _DIVIDER.join(held)
                held.clear()
                size, least = 0, PIECE
    if held:
        yield _DIVIDER.join(held)


def _csv(records: Iterable[Mapping[str, Any]], columns: list[str], guard: bool, null: str) -> Iterator[bytes]:
    known = set(columns)
    lines = [_line(columns, guard, "")]
    with closed(records):
        for number, record in enumerate(records, 1):
            if not record.keys() <= known:
                raise no_column(number, record, known)
            lines.append(_line([record.get(name, MISSING) for name in columns], guard, null))
            if len(lines) >= _ROWS:
                yield "".join(lines).encode()
                lines.clear()
    yield "".join(lines).encode()


def no_column(number: int, record: Mapping[str, Any], known: set[str], kind: str = "CSV") -> InvalidRecord:
    """The error of a record with a field that is no column."""
    extra = next(name for name in record if name not in known)
    return InvalidRecord(
        f"row {number} has a field {extra!r}, which is no column of this {kind}",
        hint=f"say with `fields` which columns the {kind} has, or take ndjson or json, which need none",
    )


def _line(values: Sequence[Any], guard: bool, null: str) -> str:
    cells = [_cell(value, guard, null) for value in values]
    if cells == [""]:  # one empty cell: the line may not be blank, which is no row; so here it reads as empty text
        return '""\r\n'
    return ",".join(cells) + "\r\n"


def _cell(value: Any, guard: bool, null: str) -> str:
    if isinstance(value, str):
        text = _quoted("'" + value if guard and _FORMULA.match(value) else value)
        return f'"{text}"' if text == null or not text else text
    if value is None:
        return null
    if value is MISSING:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    return _quoted(orjson.dumps(value).decode())


def _quoted(text: str) -> str:
    """The text, in quotes where it needs them."""
    return '"' + text.replace('"', '""') + '"' if _QUOTED.search(text) else text


def gathered(parts: Iterator[bytes]) -> Stream:
    """The parts in pieces of a size worth sending."""
    held: list[bytes] = []
    size, least = 0, FIRST
    with closed(parts):
        for part in parts:
            held.append(part)
            size += len(part)
            if size >= least:
                yield b"".join(held)
                held.clear()
                size, least = 0, PIECE
    if held:
        yield b"".join(held)


def _closing(rows: Iterator[Any], source: Iterable[Any]) -> Iterator[Any]:
    with closed(source):
        yield from rows


@contextmanager
def closed(source: Iterable[Any]) -> Iterator[None]:
    """Close a generator at the end, however it comes; other iterables have nothing to close."""
    try:
        yield
    finally:
        if isinstance(source, Generator):
            source.close()
