"""Exports: the rows of a select, of a join or of an aggregate out of one version, as bytes, for as long as somebody takes them.

    with export(database, Query("orders", filter={...}), "ndjson") as rows:
        for piece in rows: ...

The first piece is made at once, so that whatever is wrong is raised before anything is sent. If that piece is not all, the version is
pinned before the second one is made, and the pin is renewed as pieces are taken: whatever is written, swept or compacted meanwhile, the
rows are those of one version. A small answer writes nothing. Who takes nothing for LEASE seconds loses the pin, and may find the version
gone (`version_not_found`): no client keeps a version for ever by standing still.

A pin is a small write. Where that cannot be (a full disk, a file that is only read, a writer that does not let go) the rows come all the
same: what is not pinned is kept for a while, and a page that was given back is an error and never a wrong row.

An Export is read by one thread at a time. Closing it closes the scan and gives the pin back.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Literal

from btree import Busy, Database, DiskFull, ReadOnly
from query.aggregates.aggregate import Aggregated, aggregate_rows
from query.errors import InvalidQuery, placed
from query.joins import Views, join
from query.selects.rows import RowsQuery
from query.selects.select import select
from query.stores.store import View, open_store
from query.transfer.arrow import Types, arrow_rows, declared_types, sampled_types
from query.transfer.streams import FIRST, Stream, columns_of, csv_rows, json_array, ndjson, null_text

Format = Literal["json", "ndjson", "csv", "arrow"]
FORMATS: Final = ("json", "ndjson", "csv", "arrow")
LEASE: Final = 3600.0
"""Seconds for which a version stays pinned after a piece was taken."""
RETRY: Final = 60.0
"""Seconds after which a pin that could not be written is tried again."""
_NO_WRITING: Final = (Busy, DiskFull, ReadOnly)


@dataclass(frozen=True)
class Query:
    """What `select` takes, as a value."""

    store: str
    filter: Any = None
    key: Any = None
    fields: Sequence[str] | None = None
    order_by: str | Sequence[str] | None = None
    limit: int | None = None
    offset: int = 0

    def rows(self, view: View, views: Views | None) -> RowsQuery:
        """The rows in a view. Raises QueryError."""
        return select(
            view,
            self.store,
            filter=self.filter,
            key=self.key,
            fields=self.fields,
            order_by=self.order_by,
            limit=self.limit,
            offset=self.offset,
        )

    def first_columns(self, view: View) -> Sequence[str]:
        """The columns that come first where only the rows tell which there are."""
        return open_store(view, self.store).info.primary_key if self.fields is None else ()

    def declared_types(self, view: View) -> Types:
        """The types of columns that the store's schema promises."""
        promised = declared_types(open_store(view, self.store).info.schema)
        if self.fields is None:
            return promised
        named = [(field.split()[0], field.split()[-1]) for field in self.fields if field.split()]
        return {column: promised[source] for source, column in named if source in promised}


@dataclass(frozen=True)
class JoinQuery:
    """What `join` takes, as a value."""

    left: Any
    right: Any
    on: Any
    type: str = "inner"
    filter: Any = None
    fields: Sequence[str] | None = None
    order_by: str | Sequence[str] | None = None
    limit: int | None = None
    offset: int = 0

    def rows(self, view: View, views: Views | None) -> RowsQuery:
        """The rows in a view; `views` gives those of other databases. Raises QueryError."""
        return join(
            view,
            left=self.left,
            right=self.right,
            on=self.on,
            type=self.type,
            filter=self.filter,
            fields=self.fields,
            order_by=self.order_by,
            limit=self.limit,
            offset=self.offset,
            views=views,
        )

    def first_columns(self, view: View) -> Sequence[str]:
        return ()


@dataclass(frozen=True)
class AggregateQuery:
    """What `aggregate_rows` takes, as a value. `at` is where the source stands in what was asked for: errors in it have that place."""

    source: Query | JoinQuery
    values: Any
    group_by: Sequence[str] = ()
    order_by: str | Sequence[str] | None = None
    limit: int | None = None
    offset: int = 0
    at: str = ""

    def rows(self, view: View, views: Views | None) -> Aggregated:
        """The groups in a view. Raises QueryError."""
        with placed(self.at):
            rows = self.source.rows(view, views)
        return aggregate_rows(
            rows,
            values=self.values,
            group_by=self.group_by,
            order_by=self.order_by,
            limit=self.limit,
            offset=self.offset,
        )

    def first_columns(self, view: View) -> Sequence[str]:
        return ()


AnyQuery = Query | JoinQuery | AggregateQuery


class Export:
    """The pieces of an export, once. `version` is the one that is read; `whole` says that the first piece is all."""

    def __init__(self, database: Database, version: int, pieces: Stream, clock: Callable[[], float]) -> None:
        self._database = database
        self._pieces = pieces
        self._clock = clock
        self._pin: str | None = None
        self._due = -math.inf
        self.version = version
        self.first = self._next() or b""
        self.whole = len(self.first) < FIRST
        if not self.whole:
            try:
                self._keep()
            except BaseException:
                self.close()
                raise

    def __iter__(self) -> Iterator[bytes]:
        yield self.first
        while (piece := self._next()) is not None:
            yield piece
            self._keep()

    def __enter__(self) -> "Export":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the scan and let the version go."""
        self._pieces.close()
        if self._pin is not None:
            pin, self._pin = self._pin, None
            with suppress(*_NO_WRITING):  # its lease ends it then
                self._database.unpin(pin)

    def _next(self) -> bytes | None:
        return next(self._pieces, None)

    def _keep(self) -> None:
        """Pin the version, or renew its pin, when it is time."""
        now = self._clock()
        if now < self._due:
            return
        try:
            self._pin = self._database.pin(self.version, pin_id=self._pin, lease_seconds=LEASE).id
            self._due = now + LEASE / 4
        except _NO_WRITING:
            self._due = now + RETRY


def export(
    database: Database,
    query: AnyQuery,
    format: Format,
    *,
    version: int | None = None,
    views: Views | None = None,
    guard: bool = True,
    null: str = "",
    end: bool = False,
    as_json: Sequence[str] = (),
    clock: Callable[[], float] = time.monotonic,
) -> Export:
    """Begin an export of a version, the newest by default; close it in any case.

    `views` gives the views of other databases, for joins; `guard` and `null` are for CSV, `end` for NDJSON (see `streams`), `as_json` for
    Arrow (see `arrow`).
    Raises QueryError, and BTreeError (VersionNotFound, ...).
    """
    if format not in FORMATS:
        raise InvalidQuery(f"there is no format {format!r}", pointer="/format", hint=f"they are: {', '.join(FORMATS)}")
    if end and format != "ndjson":
        raise InvalidQuery(f"{format} has no line that tells its end", pointer="/end", hint="take it with ndjson")
    if null and format != "csv":
        raise InvalidQuery(f"{format} has a null of its own", pointer="/null", hint="a text for null is for csv")
    if as_json and format != "arrow":
        raise InvalidQuery(f"{format} has no types", pointer="/as_json", hint="it is for arrow")
    null_text(null)
    view = database.snapshot(version)
    rows = query.rows(view, views)
    return Export(database, view.seq, _stream(rows, query, view, format, guard, null, end, as_json), clock)


def _stream(
    rows: RowsQuery | Aggregated,
    query: AnyQuery,
    view: View,
    format: Format,
    guard: bool,
    null: str,
    end: bool,
    as_json: Sequence[str],
) -> Stream:
    if format == "json":
        return json_array(rows.json_chunks())
    if format == "ndjson":
        return ndjson(rows.json_chunks(), end=end)
    if format == "arrow":
        known = rows.columns is not None
        first = rows.columns if rows.columns is not None else query.first_columns(view)
        declared = query.declared_types(view) if isinstance(query, Query) else {}
        types, records = sampled_types(iter(rows), first, declared=declared, as_json=as_json, complete=known)
        return arrow_rows(records, types)
    if rows.columns is not None:
        return csv_rows(iter(rows), rows.columns, guard=guard, null=null)
    columns, records = columns_of(iter(rows), query.first_columns(view))
    return csv_rows(records, columns, guard=guard, null=null)


def column_names(fields: Sequence[str] | None) -> list[str] | None:
    """The columns that a projection's fields make (`a`, `a.b`, `a AS x`); None where only the rows can tell (all fields, wildcards)."""
    if fields is None or isinstance(fields, str) or any(field.endswith("*") for field in fields):
        return None
    return [field.split()[-1] for field in fields]
