"""Rows as an Arrow IPC stream: record batches of at most BATCH rows, and about BATCH_BYTES, in constant memory. It needs pyarrow (the
extra `arrow`).

An Arrow stream tells at its beginning what types its columns have, and cannot take it back. So a column is

    int64, float64, bool, string    where that is promised by the store's schema, or else fits all rows that were looked at
    JSON text (arrow.json)          otherwise: lists, objects, values of several kinds, integers that fit in neither type, nulls only; and
                                    wherever whoever asks wants it (`as_json`)

Null, and a field that is not there, is null in all of them. Integers go into a column of fractions only where float64 has them exactly. No
value is ever changed to fit: one that comes later and does not fit (a text in a column of integers, a field that is no column) is an
error, which ends the stream before its end mark.
"""

import importlib
import io
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from itertools import islice
from typing import Any, Final

import orjson

from query.errors import InvalidQuery, InvalidRecord, did_you_mean
from query.transfer.streams import SAMPLE, Stream, closed, gathered, no_column

BATCH: Final = 1000
BATCH_BYTES: Final = 1 << 20
END_MARK: Final = b"\xff\xff\xff\xff\x00\x00\x00\x00"
JSON: Final = "json"
ALL: Final = "*"

_NULL: Final = type(None)
_INT64: Final = 1 << 63
_EXACT: Final = 1 << 53
_FITTING: Final[dict[str, frozenset[type]]] = {
    "int64": frozenset({int, _NULL}),
    "float64": frozenset({int, float, _NULL}),
    "bool": frozenset({bool, _NULL}),
    "string": frozenset({str, _NULL}),
}
_DECLARED: Final = {"integer": "int64", "number": "float64", "boolean": "bool", "string": "string"}

Types = dict[str, str]
"""The columns in order, with their types: int64, float64, bool, string or json."""
Record = Mapping[str, Any]


def installed() -> bool:
    """Whether pyarrow is there."""
    return find_spec("pyarrow") is not None


def arrow_rows(records: Iterable[Record], types: Types) -> Stream:
    """The stream. Raises InvalidQuery if pyarrow is missing; InvalidRecord for a record that does not fit."""
    if not installed():
        hint = "pip install 'sop-temporal[arrow]'; or take ndjson, json or csv"
        raise InvalidQuery("the format arrow needs pyarrow, which is not installed", pointer="/format", hint=hint)
    return gathered(_written(records, types))


def declared_types(schema: Mapping[str, Any] | None) -> Types:
    """The types of the columns that a store's schema promises: its properties that have one type, besides null."""
    found: Types = {}
    for name, told in (schema or {}).get("properties", {}).items():
        kinds = told.get("type") if isinstance(told, Mapping) else None
        kinds = {kinds} if isinstance(kinds, str) else set(kinds or ())
        kind = kinds - {"null"}
        if len(kind) == 1:
            found[name] = _DECLARED.get(kind.pop(), JSON)
    return found


class Seen:
    """What values rows have in their columns, and so the types of these; `first` are columns that are there in any case."""

    def __init__(
        self, first: Iterable[str] = (), *, declared: Types | None = None, as_json: Collection[str] = ()
    ) -> None:
        self._declared = declared or {}
        self._as_json = as_json
        self._kinds: dict[str, set[type]] = {name: set() for name in first}
        self._largest: dict[str, int] = {}

    def add(self, record: Record) -> None:
        """Look at a row."""
        for name, value in record.items():
            kind = type(value)
            if name in self._kinds:
                self._kinds[name].add(kind)
            else:
                self._kinds[name] = {kind}
            if kind is int:
                self._largest[name] = max(self._largest.get(name, 0), abs(value))

    def types(self) -> Types:
        """The types of all columns."""
        return {name: self._type(name, kinds) for name, kinds in self._kinds.items()}

    def _type(self, name: str, kinds: set[type]) -> str:
        if ALL in self._as_json or name in self._as_json:
            return JSON
        if name in self._declared:
            return self._declared[name]
        fits = [] if kinds <= {_NULL} else [kind for kind, known in _FITTING.items() if kinds <= known]
        largest = self._largest.get(name, 0)
        most = {"int64": _INT64 - 1, "float64": _EXACT}
        return next((kind for kind in fits[:1] if largest <= most.get(kind, largest)), JSON)


def sampled_types(
    records: Iterable[Record],
    first: Sequence[str] = (),
    *,
    declared: Types | None = None,
    as_json: Collection[str] = (),
    complete: bool = False,
) -> tuple[Types, Iterator[Record]]:
    """The types of columns, by the first SAMPLE of the records; and all records. `complete`: the `first` are all columns.

    Raises InvalidQuery for an `as_json` that is no column then; otherwise it is one, whether or not it is among the first.
    """
    if complete:
        check_as_json(as_json, first)
    named = first if complete else [*first, *(declared or ()), *(name for name in as_json if name != ALL)]
    seen = Seen(named, declared=declared, as_json=as_json)
    rows = iter(records)
    some = list(islice(rows, SAMPLE))
    for record in some:
        seen.add(record)
    return seen.types(), _all(some, rows)


def check_as_json(as_json: Collection[str], columns: Collection[str], pointer: str = "/as_json") -> None:
    """Raises InvalidQuery for a name that is no column."""
    for name in as_json:
        if name not in columns and name != ALL:
            hint = did_you_mean(name, columns, "the columns are")
            raise InvalidQuery(f"there is no column {name!r}", pointer=pointer, hint=hint)


def _all(some: list[Record], rows: Iterator[Record]) -> Iterator[Record]:
    with closed(rows):
        yield from some
        some.clear()
        yield from rows


class _Sink(io.RawIOBase):
    """Where Arrow writes to: what was written since it was taken last."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._at = 0

    def writable(self) -> bool:
        return True

    def write(self, part: Any) -> int:
        data = bytes(part)
        self._parts.append(data)
        self._at += len(data)
        return len(data)

    def tell(self) -> int:
        return self._at

    def take(self) -> bytes:
        taken = b"".join(self._parts)
        self._parts.clear()
        return taken


def _written(records: Iterable[Record], types: Types) -> Iterator[bytes]:
    arrow: Any = importlib.import_module("pyarrow")
    kinds = {
        "int64": arrow.int64(),
        "float64": arrow.float64(),
        "bool": arrow.bool_(),
        "string": arrow.string(),
        JSON: arrow.json_(arrow.string()),
    }
    schema = arrow.schema([arrow.field(name, kinds[kind]) for name, kind in types.items()])
    sink = _Sink()
    rows, done, most = iter(records), 0, BATCH
    with closed(records), arrow.ipc.new_stream(sink, schema) as writer:
        while some := list(islice(rows, most)):
            _check(some, done, types)
            columns = [_column(arrow, some, done, name, kind, kinds[kind]) for name, kind in types.items()]
            writer.write_batch(arrow.record_batch(columns, schema=schema))
            done += len(some)
            piece = sink.take()
            most = max(1, min(BATCH, len(some) * BATCH_BYTES // len(piece)))
            yield piece
    yield sink.take()


def _check(some: list[Record], done: int, types: Types) -> None:
    """All fields are columns, and there is one at least: Arrow has no rows without columns."""
    known = types.keys()
    for number, record in enumerate(some, done + 1):
        if not record.keys() <= known:
            raise no_column(number, record, set(known), "Arrow stream")
    if not types:
        raise InvalidRecord("rows without any field are not to be had as arrow", hint="take ndjson or json")


def _column(arrow: Any, some: list[Record], done: int, name: str, kind: str, type_: Any) -> Any:
    values = [record.get(name) for record in some]
    if kind == JSON:
        texts = [None if value is None else orjson.dumps(value).decode() for value in values]
        return arrow.array(texts, type=type_)
    fitting = _FITTING[kind]
    if not set(map(type, values)) <= fitting:
        at = next(at for at, value in enumerate(values) if type(value) not in fitting)
        raise _misfit(done + at + 1, name, kind, values[at])
    try:
        return arrow.array(values, type=type_)
    except (ValueError, OverflowError) as error:
        at = next(at for at, value in enumerate(values) if not _fits(value, kind))
        raise _misfit(done + at + 1, name, kind, values[at]) from error


def _fits(value: Any, kind: str) -> bool:
    """Whether an integer is in the range of a column's type."""
    if type(value) is not int:
        return True
    return -_INT64 <= value < _INT64 if kind == "int64" else abs(value) <= _EXACT


def _misfit(row: int, name: str, kind: str, value: Any) -> InvalidRecord:
    text = orjson.dumps(value).decode()
    text = text if len(text) <= 60 else text[:57] + "..."
    hint = f"ask again with as_json={name}; or take ndjson or json, which have no types"
    return InvalidRecord(
        f"row {row} has {text} in {name!r}, which is a column of {kind} in this Arrow stream", hint=hint
    )
