"""Importing records: NDJSON and CSV, in chunks, with a report of what was rejected.

Each chunk is one transaction. A line that is no record, or lacks a key field, is rejected with its line number and
reason; all others are stored. Importing the same file again replaces the same records: an import is repeatable.
"""

import csv
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from itertools import islice
from typing import Any, Final

import orjson

from btree import Database, Transaction
from query.errors import InvalidRecord, QueryError
from query.stores import open_store

CHUNK: Final = 10_000
MAX_REPORTED: Final = 1_000


@dataclass
class ImportReport:
    """How an import went: records stored, lines rejected (the first thousand in detail)."""

    imported: int = 0
    rejected_count: int = 0
    rejected: list[dict[str, Any]] = field(default_factory=list)

    def reject(self, line: int, code: str, message: str) -> None:
        self.rejected_count += 1
        if len(self.rejected) < MAX_REPORTED:
            self.rejected.append({"line": line, "code": code, "message": message})


Parsed = tuple[int, Any, QueryError | None]


def import_ndjson(database: Database, store: str, lines: Iterable[bytes]) -> ImportReport:
    """Import one JSON object a line; blank lines are passed over."""
    return _import(database, store, _ndjson(lines))


def import_csv(
    database: Database, store: str, lines: Iterable[str], *, types: Mapping[str, str] | None = None
) -> ImportReport:
    """Import CSV with a header. `types` gives a column's type: string (default), integer, number, boolean or date.

    An empty cell of a typed column is null. Raises InvalidRecord for a header that lacks a typed column, or repeats one.
    """
    return _import(database, store, _csv(lines, dict(types or {})))


def _import(database: Database, store: str, parsed: Iterator[Parsed]) -> ImportReport:
    report = ImportReport()
    open_store(database.snapshot(), store)
    while chunk := list(islice(parsed, CHUNK)):
        stored, rejected = database.transact(lambda transaction, chunk=chunk: _store(transaction, store, chunk))  # type: ignore[misc]
        report.imported += stored
        for line, error in rejected:
            report.reject(line, error.code, error.message)
    return report


def _store(transaction: Transaction, name: str, chunk: list[Parsed]) -> tuple[int, list[tuple[int, QueryError]]]:
    store = open_store(transaction, name)
    rejected: list[tuple[int, QueryError]] = []
    for line, record, problem in chunk:
        if problem is not None:
            rejected.append((line, problem))
            continue
        try:
            store.upsert(record)
        except QueryError as error:
            rejected.append((line, error))
    return len(chunk) - len(rejected), rejected


def _ndjson(lines: Iterable[bytes]) -> Iterator[Parsed]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield number, orjson.loads(line), None
        except orjson.JSONDecodeError as error:
            yield number, None, InvalidRecord(f"the line is no JSON: {error}")


def _csv(lines: Iterable[str], types: dict[str, str]) -> Iterator[Parsed]:
    unknown = {kind for kind in types.values() if kind not in _CONVERT}
    if unknown:
        raise InvalidRecord(f"there is no column type {min(unknown)!r}", hint=f"the types are: {', '.join(_CONVERT)}")
    reader = csv.reader(lines, strict=True)
    try:
        header = next(reader)
    except StopIteration:
        raise InvalidRecord("the file is empty: a CSV file begins with its header") from None
    if len(set(header)) != len(header) or set(types) - set(header):
        raise InvalidRecord(f"the header is {', '.join(header)}: names stand once, and every typed column is there")
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield reader.line_num, None, InvalidRecord(f"the line is no CSV: {error}")
            continue
        if row:
            yield _csv_row(reader.line_num, header, row, types)


def _csv_row(line: int, header: list[str], row: list[str], types: Mapping[str, str]) -> Parsed:
    if len(row) != len(header):
        return line, None, InvalidRecord(f"the line has {len(row)} columns, the header {len(header)}")
    record: dict[str, Any] = {}
    for name, text in zip(header, row, strict=True):
        kind = types.get(name, "string")
        try:
            record[name] = None if text == "" and kind != "string" else _CONVERT[kind](text)
        except (ValueError, KeyError):
            return line, None, InvalidRecord(f"{name}: {text!r} is no {kind}")
    return line, record, None


def _integer(text: str) -> int:
    if "_" in text or not -(1 << 63) <= int(text) < 1 << 63:
        raise ValueError(text)
    return int(text)


def _number(text: str) -> float:
    if "_" in text or not math.isfinite(float(text)):
        raise ValueError(text)
    return float(text)


def _date(text: str) -> str:
    return date.fromisoformat(text).isoformat()


_CONVERT: Final[dict[str, Any]] = {
    "string": str,
    "integer": _integer,
    "number": _number,
    "boolean": {"true": True, "false": False, "1": True, "0": False}.__getitem__,
    "date": _date,
}
