"""Reading lines of a file as records, each with its number and what is wrong with it.

JSON is read exactly: whole numbers of any size stay whole (a store refuses those beyond 64 bits; nothing is rounded), numbers that are too
large for a double are refused, text has to be UTF-8.

CSV cells are text until a column's type says otherwise. An empty cell of a typed column is null, and so is one of `string?`, unless it
is written `""`. A file may have a text of its own for null (`NA`, `\\N`): such a cell is then as good as an empty one, and `"NA"` in a
column of `string?` is text. With `empty="missing"` an empty cell is not null but a field that the
record does not have. The number of a record of several lines is that of its first.

A record with a cell that is too large is rejected whole: reading goes on behind the end of its quotes, however many lines on that is.
"""

import csv
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date
from typing import Any, Final, Literal, NamedTuple

import msgspec

from query.errors import InvalidRecord
from query.transfer.elements import BOM
from query.transfer.streams import unguarded
from query.values.values import MISSING

MAX_CELL: Final = 16 * 1024 * 1024
"""Characters of a CSV cell: a larger one would not fit into a store. The csv module's own limit is 128 Ki, for the whole process."""

Empty = Literal["null", "missing"]
"""What an empty cell of a column with a type is."""

decode: Final = msgspec.json.Decoder().decode


class Line(NamedTuple):
    """A line: its number, its text as it stood there, and its record, or what is wrong."""

    number: int
    source: bytes | tuple[str, ...]
    record: Any = None
    error: InvalidRecord | None = None

    @property
    def size(self) -> int:
        """Bytes or characters, about."""
        return len(self.source) if isinstance(self.source, bytes) else sum(map(len, self.source))

    def text(self) -> str:
        """The text, without the line's end; what is not UTF-8 is marked."""
        if isinstance(self.source, bytes):
            return self.source.rstrip(b"\r\n").decode(errors="backslashreplace")
        return "".join(self.source).rstrip("\r\n")


def read_json(texts: Iterable[bytes], *, blank: bool = True) -> Iterator[Line]:
    """One JSON text each; blank ones are passed over if `blank`, though they are counted."""
    for number, text in enumerate(texts, 1):
        source = text.removeprefix(BOM) if number == 1 else text
        if blank and not source.strip():
            continue
        try:
            yield Line(number, source, decode(source))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            yield Line(number, source, error=InvalidRecord(f"the line is no JSON: {_reason(error)}"))


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return str(error).removeprefix("JSON is malformed: ")


def read_csv(
    lines: Iterable[str], types: dict[str, str], *, unguard: bool = False, null: str = "", empty: Empty = "null"
) -> Iterator[Line]:
    """CSV with a header; `null` is the text that stands for null, besides the empty one, unless that is a field that is `missing`.

    Raises InvalidRecord for an unknown type, for a header that lacks a typed column or repeats one, and for a `null` that no cell can be.
    """
    unknown = [kind for kind in types.values() if kind not in TYPES]
    if unknown:
        raise InvalidRecord(f"there is no column type {unknown[0]!r}", hint=f"the types are: {', '.join(TYPES)}")
    if _CELL.fullmatch(null) is None or null.startswith('"'):
        raise InvalidRecord(
            f"no cell is {_shown(null)} without quotes", hint="null is a word such as NA", pointer="/null"
        )
    if empty not in ("null", "missing"):
        raise InvalidRecord(
            f"an empty cell cannot be {empty!r}", hint="it is null, or the field is missing", pointer="/empty"
        )
    csv.field_size_limit(MAX_CELL)
    taken: list[str] = []
    source = _noted(lines, taken)
    reader = csv.reader(source, strict=True)
    try:
        header = next(reader)
    except StopIteration:
        raise InvalidRecord("the file is empty: a CSV file begins with its header") from None
    except csv.Error as error:
        raise InvalidRecord(f"the header is no CSV: {error}") from None
    columns = _Columns([unguarded(name) for name in header] if unguard else header, types, unguard, null, empty)
    passed = 0
    while True:
        taken.clear()
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            number, begun = reader.line_num + passed - len(taken) + 1, tuple(taken)
            more, told = _pass_over(begun, source, taken) if _TOO_LARGE in str(error) else (0, "")
            passed += more
            yield Line(number, begun, error=InvalidRecord(f"the line is no CSV: {error}{told}"))
            continue
        if row:
            yield columns.line(reader.line_num + passed - len(taken) + 1, row, tuple(taken))


def _pass_over(begun: Iterable[str], source: Iterator[str], taken: list[str]) -> tuple[int, str]:
    """Read a record that was given up in a cell to its end, a line at a time; how many lines those are, and what to tell of them."""
    inside = False
    for line in begun:
        inside = _stays_open(line, inside)
    count = 0
    while inside:
        taken.clear()
        line = next(source, "")
        if not line:
            return (
                count,
                f"; its quotes are not closed: all {count} lines behind were passed over, to the end of the file",
            )
        inside = _stays_open(line, inside)
        count += 1
    return count, f"; the {count} lines behind that belong to the record were passed over" if count else ""


def _stays_open(line: str, inside: bool) -> bool:
    """Whether a quoted cell is open at the end of a line; `inside` tells whether one was at its beginning."""
    at = 0
    while True:
        if inside:
            closing = _CLOSING.match(line, at)
            if closing is None:
                return True
            at = closing.end()
        comma = line.find(",", at)
        if not inside and line.startswith('"', at):
            inside, at = True, at + 1
        elif comma < 0:
            return False
        else:
            inside, at = False, comma + 1


def _noted(lines: Iterable[str], taken: list[str]) -> Iterator[str]:
    for line in lines:
        taken.append(line)
        yield line


class _Columns:
    """The header, and how the cells under it become values."""

    def __init__(self, names: list[str], types: Mapping[str, str], unguard: bool, null: str, empty: Empty) -> None:
        if len(set(names)) != len(names) or set(types) - set(names):
            told = ", ".join(names)
            raise InvalidRecord(f"the header is {told}: names stand once, and every typed column is there")
        self._names = names
        self._kinds = [types.get(name, "string") for name in names]
        self._unguard = unguard
        self._null = null
        self._empty = None if empty == "null" else MISSING

    def line(self, number: int, row: list[str], source: tuple[str, ...]) -> Line:
        if len(row) != len(self._names):
            error = InvalidRecord(f"the line has {len(row)} columns, the header {len(self._names)}")
            return Line(number, source, error=error)
        record: dict[str, Any] = {}
        for index, (name, kind, text) in enumerate(zip(self._names, self._kinds, row, strict=True)):
            try:
                value = self._value(kind, text, index, source)
            except (ValueError, KeyError, msgspec.MsgspecError, RecursionError):
                return Line(number, source, error=InvalidRecord(f"{name}: {_shown(text)} is no {kind}"))
            if value is not MISSING:
                record[name] = value
        return Line(number, source, record)

    def _value(self, kind: str, text: str, index: int, source: tuple[str, ...]) -> Any:
        if (text == "" or text == self._null) and kind != "string":
            written = _cells("".join(source))[index] if kind == "string?" else ""
            if not written.startswith('"'):
                return self._empty if text == "" else None
        return TYPES[kind](unguarded(text) if self._unguard and kind in _TEXTS else text)


_TEXTS: Final = frozenset({"string", "string?"})
_WHOLE: Final = re.compile("[+-]?[0-9]+")
_EXACT: Final = float(1 << 53)
_TOO_LARGE: Final = "field larger than field limit"
_CLOSING: Final = re.compile('[^"]*+(?:""[^"]*+)*+"')
_CELL: Final = re.compile(r'"(?:[^"]|"")*+"|[^,\r\n]*+')


def _cells(text: str) -> list[str]:
    """The cells of one record as they are written."""
    found, at = [], 0
    while True:
        match = _CELL.match(text, at)
        assert match is not None
        found.append(match[0])
        at = match.end()
        if text[at : at + 1] != ",":
            return found
        at += 1


def _shown(text: str) -> str:
    return repr(text) if len(text) <= 100 else f"{text[:100]!r} and {len(text) - 100} characters more"


def _integer(text: str) -> int:
    if "_" in text or not -(1 << 63) <= int(text) < 1 << 64:
        raise ValueError(text)
    return int(text)


def _number(text: str) -> int | float:
    value = float(text)
    if "_" in text or not math.isfinite(value):
        raise ValueError(text)
    if abs(value) >= _EXACT and _WHOLE.fullmatch(text):  # a double might round it
        return _integer(text)
    return value


def _date(text: str) -> str:
    return date.fromisoformat(text).isoformat()


def _json(text: str) -> Any:
    return decode(text)


TYPES: Final[dict[str, Callable[[str], Any]]] = {
    "string": str,
    "string?": str,
    "integer": _integer,
    "number": _number,
    "boolean": {"true": True, "false": False, "1": True, "0": False}.__getitem__,
    "date": _date,
    "json": _json,
}
"""The types of CSV columns."""
