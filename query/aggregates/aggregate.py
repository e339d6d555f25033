"""aggregate: values computed over rows, for all of them or for each group.

    values      {name: {op, value, where}}, or {name: "count"}
    group_by    ["field", "a.b", "a.b AS name"]

    op          count | sum | avg | min | max | distinct | count_distinct    what they mean: `reducers`
    value       the field, dotted; count can do without
    where       a filter: only rows that match are counted into this value

A result row has the group's fields and then the values. Rows come in the order of the group's fields (`values`), null first. A missing
field is null: rows without it are one group. Without group_by there is one row, also when nothing came in.

Memory is bounded by the budget, beyond it groups and different values go to disk (`groups`); the results are the same to the last
bit. The one thing that must fit in memory is a result row, so `distinct` is for lists that can be shown.
"""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec

from query.aggregates.groups import Table, compile_key
from query.aggregates.reducers import Average, Count, Distinct, Extreme, Reducer, Step, Sum
from query.errors import InvalidQuery, did_you_mean, point
from query.filters.predicates import Predicate, compile_filter
from query.selects.rows import RowsQuery, check_window
from query.sorting.sorting import OrderItem, compile_sort_key, parse_order, sorted_rows
from query.stores.store import Record, decode_record
from query.values.paths import compile_path, parse_path

BUDGET: Final = 64 << 20
OPERATIONS: Final = ("count", "sum", "avg", "min", "max", "distinct", "count_distinct")
_MEMBERS: Final = ("op", "value", "where")
_CHUNK: Final = 256
_ALIASES: Final = {
    "average": "avg",
    "mean": "avg",
    "minimum": "min",
    "maximum": "max",
    "total": "sum",
    "unique": "distinct",
}


@dataclass(frozen=True)
class _Value:
    name: str
    pointer: str
    op: str
    path: tuple[str, ...] | None
    where: Mapping[str, Any] | None
    predicate: Predicate | None

    def reducer(self) -> Reducer:
        read = compile_path(self.path) if self.path else None
        if self.op == "count" or read is None:
            return Count(read)
        if self.op in ("sum", "avg"):
            kind = Sum if self.op == "sum" else Average
            return kind(read, self.name, ".".join(self.path or ()), self.pointer)
        if self.op in ("min", "max"):
            return Extreme(read, largest=self.op == "max")
        return Distinct(read, listed=self.op == "distinct")


@dataclass(frozen=True)
class _Field:
    name: str
    path: tuple[str, ...]


def aggregate(
    rows: Iterable[Record],
    *,
    values: Mapping[str, Any],
    group_by: Sequence[str] = (),
    budget_bytes: int = BUDGET,
    folder: Path | None = None,
) -> Iterator[Record]:
    """The result rows; the first is there when all of `rows` were read.

    Raises InvalidQuery, UnknownOperator at once for what is wrong with the query, and while iterating for what cannot be reduced:
    InvalidQuery for a sum of what is no number or of more than 64 bits, InvalidKeyValue for what is no JSON value.
    Takes about `budget_bytes` of memory, and the rest on disk in `folder`; closing the iterator gives both back.
    """
    wanted, fields = _parse(values, group_by)
    return _run(rows, wanted, fields, budget_bytes, folder)


def aggregate_rows(
    rows: RowsQuery,
    *,
    values: Mapping[str, Any],
    group_by: Sequence[str] = (),
    order_by: str | Sequence[str] | None = None,
    limit: int | None = None,
    offset: int = 0,
    budget_bytes: int = BUDGET,
) -> "Aggregated":
    """The same over the rows of a query, of which only the fields that are needed are decoded; in another order than that of the groups,
    if wanted (by a group's field or a value). Raises InvalidQuery at once."""
    wanted, fields = _parse(values, group_by)
    order = parse_order(order_by)
    columns = _columns(wanted, fields)
    for at, item in enumerate(order):
        if item.path[0] not in columns:
            hint = _did_you_mean(item.name, columns, "the columns are")
            pointer = "/order_by" if isinstance(order_by, str) else f"/order_by/{at}"
            raise InvalidQuery(f"the result has no column {item.name!r}", pointer=pointer, hint=hint)
    limit, offset = check_window(limit, offset)
    found = _run(rows.partial(fields_used(values, group_by)), wanted, fields, budget_bytes, None)
    return Aggregated(found, columns, order, limit, offset)


class Aggregated:
    """The groups of a query, once: iterate them for records, or take them as JSON chunks. `columns` are the names of their fields.

    The first one is there when all rows were read; closing the iterator gives memory and disk back.
    """

    def __init__(
        self,
        groups: Generator[Record, None, None],
        columns: list[str],
        order: tuple[OrderItem, ...],
        limit: int | None,
        offset: int,
    ) -> None:
        self.columns = columns
        self._groups = groups
        self._order = order
        self._offset = offset
        self._end = None if limit is None else offset + limit

    def __iter__(self) -> Iterator[Record]:
        if self._order:
            return map(decode_record, self._sorted())
        return islice(self._groups, self._offset, self._end)

    def json_chunks(self) -> Iterator[bytes]:
        """The groups as JSON texts divided by `,\\n`, many at a time. Between chunks the caller puts the divider."""
        with closing(self._groups):
            texts = self._sorted() if self._order else map(msgspec.json.encode, iter(self))
            while some := list(islice(texts, _CHUNK)):
                yield b",\n".join(some)

    def _sorted(self) -> Iterator[bytes]:
        key_of = compile_sort_key(self._order)
        keyed = ((key_of(row), msgspec.json.encode(row)) for row in self._groups)
        with closing(sorted_rows(keyed, limit=self._end)) as ordered:
            for _, text in islice(ordered, self._offset, None):
                yield text


def check_aggregate(values: Mapping[str, Any], group_by: Sequence[str] = ()) -> None:
    """Raises InvalidQuery, UnknownOperator, UnsupportedOperator for what is no query."""
    _parse(values, group_by)


def fields_used(values: Mapping[str, Any], group_by: Sequence[str] = ()) -> set[str]:
    """The fields of a record that the query reads; none where it only counts rows. Raises as `check_aggregate`."""
    wanted, fields = _parse(values, group_by)
    used = {field.path[0] for field in fields}
    for value in wanted:
        used |= _filter_fields(value.where or {})
        if value.path:
            used.add(value.path[0])
    return used


def _run(
    rows: Iterable[Record], wanted: list[_Value], fields: list[_Field], budget: int, folder: Path | None
) -> Generator[Record, None, None]:
    reducers = [value.reducer() for value in wanted]
    table = Table(reducers, budget, folder)
    if not fields:
        table.add(())
    names = [field.path[0] for field in fields] if all(len(field.path) == 1 for field in fields) else None
    key_of = compile_key([compile_path(field.path) for field in fields], names)
    steps = [
        _only_where(value.predicate, reducer.step(place, table.meter))
        for place, (value, reducer) in enumerate(zip(wanted, reducers, strict=True))
    ]
    columns = _columns(wanted, fields)
    try:
        table.fill(rows, key_of, steps)
        for key, results in table.results():
            yield dict(zip(columns, key + results, strict=True))
    finally:
        table.close()


def _columns(wanted: list[_Value], fields: list[_Field]) -> list[str]:
    return [field.name for field in fields] + [value.name for value in wanted]


def _only_where(predicate: Predicate | None, step: Step) -> Step:
    if predicate is None:
        return step

    def guarded(states: list[Any], row: Mapping[str, Any]) -> None:
        if predicate(row):
            step(states, row)

    return guarded


def _parse(values: Any, group_by: Any) -> tuple[list[_Value], list[_Field]]:
    if not isinstance(values, Mapping):
        hint = 'write {"name": {"op": "sum", "value": "field"}}'
        raise InvalidQuery(f"values is an object, not {values!r}", pointer="/values", hint=hint)
    if isinstance(group_by, str) or not isinstance(group_by, Sequence):
        raise InvalidQuery(f"group_by is a list of fields, not {group_by!r}", pointer="/group_by")
    fields: list[_Field] = []
    for index, text in enumerate(group_by):
        field = _parse_field(text, f"/group_by/{index}")
        if field.name in [earlier.name for earlier in fields]:
            hint = "give one of them another name: field AS name"
            raise InvalidQuery(f"two columns are named {field.name!r}", pointer=f"/group_by/{index}", hint=hint)
        fields.append(field)
    if not values and not fields:
        raise InvalidQuery("there is nothing to compute", pointer="/values", hint="give values, group_by, or both")
    wanted = [_parse_value(name, entry) for name, entry in values.items()]
    for value in wanted:
        if value.name in [field.name for field in fields]:
            hint = "rename it, or the group's field: field AS name"
            raise InvalidQuery(f"two columns are named {value.name!r}", pointer=value.pointer, hint=hint)
    return wanted, fields


def _parse_field(text: Any, pointer: str) -> _Field:
    words = text.split() if isinstance(text, str) else []
    if len(words) == 3 and words[1].lower() == "as":
        return _Field(words[2], parse_path(words[0], pointer))
    if len(words) == 1:
        return _Field(words[0], parse_path(words[0], pointer))
    raise InvalidQuery(f"{text!r} is no field; write name, or name AS alias", pointer=pointer)


def _parse_value(name: Any, entry: Any) -> _Value:
    if not isinstance(name, str) or not name:
        raise InvalidQuery(f"a value is named by text, not {name!r}", pointer="/values")
    pointer = point("/values", name)
    if isinstance(entry, str):
        entry = {"op": entry}
    if not isinstance(entry, Mapping):
        hint = 'write {"op": "sum", "value": "field"}'
        raise InvalidQuery(f"{name} is an object, not {entry!r}", pointer=pointer, hint=hint)
    for member in entry:
        if member not in _MEMBERS:
            hint = _did_you_mean(member, _MEMBERS, "the members are")
            raise InvalidQuery(f"{name} has no member {member!r}", pointer=point(pointer, member), hint=hint)
    op = _parse_op(entry.get("op"), f"{pointer}/op")
    path = None if entry.get("value") is None else parse_path(entry["value"], f"{pointer}/value")
    if path is None and op != "count":
        hint = f'write {{"op": "{op}", "value": "field"}}'
        raise InvalidQuery(f"{op} needs the field that it is about", pointer=f"{pointer}/value", hint=hint)
    where = entry.get("where")
    return _Value(name, pointer, op, path, where, compile_filter(where, f"{pointer}/where"))


def _parse_op(op: Any, pointer: str) -> str:
    if isinstance(op, str) and op in OPERATIONS:
        return op
    hint = _did_you_mean(op, OPERATIONS, "the operations are")
    raise InvalidQuery("op is missing" if op is None else f"there is no operation {op!r}", pointer=pointer, hint=hint)


def _did_you_mean(word: Any, known: Sequence[str], otherwise: str) -> str:
    meant = _ALIASES.get(word.lower(), word.lower()) if isinstance(word, str) else word
    return did_you_mean(meant, known, otherwise)


def _filter_fields(where: Mapping[str, Any]) -> set[str]:
    """The fields of a record that a filter reads."""
    used: set[str] = set()
    for name, condition in where.items():
        if not name.startswith("$"):
            used.add(name.split(".")[0])
            continue
        for part in condition if isinstance(condition, list) else [condition]:
            used |= _filter_fields(part)
    return used
