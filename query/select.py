"""select: rows of a store, lazily.

The plan says which stretch of the key to read; pages are read one at a time, rows are decoded only where they are tested or
projected, and nothing is kept but for a sort. A select without residual filter, projection, limit or sort hands its pages'
runs of JSON out as they are.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

import orjson

from query import keycode
from query.errors import InvalidQuery, TooManyRows
from query.filters import MISSING, follow
from query.plan import plan_select
from query.stores import Record, Store, View, decode_record, open_store

MAX_SORT: Final = 100_000
_CHUNK: Final = 256


def select(
    view: View,
    store: str,
    *,
    filter: Mapping[str, Any] | None = None,
    key: Any = None,
    fields: Sequence[str] | None = None,
    order_by: str | Sequence[str] | None = None,
    limit: int | None = None,
    offset: int = 0,
) -> "Selection":
    """Rows of a store.

    Raises QueryError before the first row for whatever is wrong with the query.
    """
    opened = open_store(view, store)
    return Selection(opened, _query(opened, filter, key), fields, order_by, limit, offset)


def _query(store: Store, where: Mapping[str, Any] | None, key: Any) -> dict[str, Any]:
    """The filter with the key as equalities."""
    conditions = dict(where or {})
    if key is None:
        return conditions
    values = keycode.decode(store.encode_key(key))
    for field, value in zip(store.info.primary_key, values, strict=True):
        if field in conditions:
            raise InvalidQuery(f"{field} is in the key and in the filter", pointer=f"/filter/{field}")
        conditions[field] = {"$eq": value}
    return conditions


class Selection:
    """The rows of a select: iterate them once, or take them as JSON chunks. Counts what it reads."""

    def __init__(
        self,
        store: Store,
        where: Mapping[str, Any],
        fields: Sequence[str] | None,
        order_by: str | Sequence[str] | None,
        limit: int | None,
        offset: int,
    ) -> None:
        for name, number in (("limit", limit), ("offset", offset)):
            if number is not None and (not isinstance(number, int) or isinstance(number, bool) or number < 0):
                raise InvalidQuery(f"{name} is a whole number from 0, not {number!r}", pointer=f"/{name}")
        self.store = store
        self._plan = plan_select(store.info.primary_key, where, order_by)
        self._projection = compile_projection(fields)
        self._limit = limit
        self._offset = offset
        self.examined = 0
        self.returned = 0

    @property
    def plan(self) -> dict[str, Any]:
        """The plan, and what was read so far."""
        return {**self._plan.to_dict(), "rows_examined": self.examined, "rows_returned": self.returned}

    @property
    def in_key_order(self) -> bool:
        """Whether the rows come in key order (or its reverse), and so can be taken page by page."""
        return not self._plan.sort

    def __iter__(self) -> Iterator[Record]:
        for _, record in self.pairs():
            yield record

    def pairs(self, after: bytes | None = None) -> Iterator[tuple[bytes, Record]]:
        """Key bytes and projected records; from behind the key `after`, if given (and then without offset)."""
        matches = self._sorted() if self._plan.sort else self._matches(after)
        start = 0 if after is not None else self._offset
        stop = None if self._limit is None else start + self._limit
        for key, record in islice(matches, start, stop):
            self.returned += 1
            yield key, self._projection(record) if self._projection else record

    def json_chunks(self) -> Iterator[bytes]:
        """The rows as JSON texts divided by `,\\n`, many at a time. Between chunks the caller puts the divider."""
        plain = not (self._plan.predicate or self._projection or self._plan.sort or self._plan.reverse or self._offset)
        if plain and self._limit is None:
            for part in self.store.tree.leaves(self._plan.lower, self._plan.upper):
                self.examined += part.count
                self.returned += part.count
                yield part.values_json
            return
        rows = iter(self)
        while chunk := list(islice(rows, _CHUNK)):
            yield b",\n".join(map(orjson.dumps, chunk))

    def count(self) -> int:
        """How many rows there are, within limit and offset."""
        plan = self._plan
        if plan.predicate is None:
            whole = plan.lower is None
            total = (
                self.store.count()
                if whole
                else sum(part.count for part in self.store.tree.leaves(plan.lower, plan.upper))
            )
        else:
            total = sum(1 for _ in self._matches(None))
        total = max(0, total - self._offset)
        return total if self._limit is None else min(total, self._limit)

    def _matches(self, after: bytes | None) -> Iterator[tuple[bytes, Record]]:
        plan = self._plan
        lower, upper = plan.lower, plan.upper
        if after is not None and plan.reverse:
            upper = after if upper is None else min(upper, after)
        elif after is not None:
            lower = after + b"\x00" if lower is None else max(lower, after + b"\x00")
        for key, value in self.store.tree.scan(lower, upper, reverse=plan.reverse):
            self.examined += 1
            record: Record = decode_record(value)
            if plan.predicate is None or plan.predicate(record):
                yield key, record

    def _sorted(self) -> Iterator[tuple[bytes, Record]]:
        rows = list(islice(self._matches(None), MAX_SORT + 1))
        if len(rows) > MAX_SORT:
            raise TooManyRows(
                f"sorting more than {MAX_SORT} rows is not supported", hint="order by the primary key, or filter first"
            )
        for name, descending in reversed(self._plan.sort):
            path = name.split(".")
            rows.sort(key=lambda row, path=path: _sort_key(row[1], path), reverse=descending)  # type: ignore[misc]
        return iter(rows)


def _sort_key(record: Record, path: list[str]) -> bytes:
    value = follow(record, path)
    return keycode.encode([None if value is MISSING or isinstance(value, dict) else value])


def compile_projection(fields: Sequence[str] | None) -> Any:
    """A function from a record to its wanted fields (`a`, `a.b`, `a AS x`); missing ones are null. None: all fields."""
    if fields is None or list(fields) == ["*"]:
        return None
    if isinstance(fields, str) or not all(isinstance(field, str) and field.strip() for field in fields):
        raise InvalidQuery("fields is a list of field names", pointer="/fields")
    wanted: list[tuple[str, list[str]]] = []
    for field in fields:
        words = field.split()
        if len(words) == 3 and words[1].lower() == "as":
            wanted.append((words[2], words[0].split(".")))
        elif len(words) == 1:
            wanted.append((field, field.split(".")))
        else:
            raise InvalidQuery(f"{field!r} is no field; write name, or name AS alias", pointer="/fields")

    def project(record: Record) -> Record:
        found = ((alias, follow(record, path)) for alias, path in wanted)
        return {alias: None if value is MISSING else value for alias, value in found}

    return project


def select_page(
    view: View, query: Mapping[str, Any], *, after: bytes | None, limit: int, done: int = 0
) -> tuple[list[Record], bytes | None]:
    """One page of a row reference's query: at most `limit` records behind the key `after`, and where the next page goes on.

    `done` rows were read by the pages before; a query's own limit counts them. Raises InvalidQuery for an order that is not
    the key's.
    """
    parts = {name: query.get(name) for name in ("filter", "key", "fields", "order_by")}
    selection = select(view, query["store"], **parts, offset=query.get("offset") or 0)
    if not selection.in_key_order:
        raise InvalidQuery(
            "rows are paged in key order only", pointer="/order_by", hint="order by the primary key, or leave it out"
        )
    size = limit if query.get("limit") is None else min(limit, query["limit"] - done)
    more = query.get("limit") is None or query["limit"] - done > limit
    rows = list(islice(selection.pairs(after), size + 1))
    following = rows[size - 1][0] if more and len(rows) > size else None
    return [record for _, record in rows[:size]], following
