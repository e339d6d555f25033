"""Data tools: rows of the stores of the step's database, in the step's transaction."""

from typing import Any, Final

import orjson

from btree import Transaction
from query import Record, Selection, Store, View, open_store
from query import select as select_rows
from script.wire import ROWS
from toolbox.context import ToolContext
from toolbox.errors import NoDatabase, ReservedStore, ResultTooLarge
from toolbox.tool import tool

MAX_INLINE: Final = 32 * 1024
"""Bytes of JSON up to which rows are given as a list; more are given as a row reference."""


def reading(ctx: ToolContext) -> View:
    """The step's view for reading. Raises NoDatabase."""
    if ctx.view is None:
        raise NoDatabase("the step has no database", hint='give the script, or the step, a "database"')
    return ctx.view


def writing(ctx: ToolContext, store: str) -> Store:
    """A store of the step's transaction for writing. Raises NoDatabase, ReservedStore."""
    view = reading(ctx)
    if store.startswith("_"):
        raise ReservedStore(f"{store} is the system's own and cannot be written", pointer="/store")
    return open_store(view, store)


@tool(effect="read")
def select(
    ctx: ToolContext,
    store: str,
    filter: dict[str, Any] | None = None,
    key: Any = None,
    fields: list[str] | None = None,
    order_by: str | list[str] | None = None,
    limit: int | None = None,
    offset: int = 0,
    single: bool = False,
) -> Any:
    """Rows of a store: a list of records, or a reference to the rows where they are many.

    filter takes MongoDB's words; the primary key and its prefixes are sought, not scanned. With single, the first row or null.
    """
    view = reading(ctx)
    query = {"filter": filter, "key": key, "fields": fields, "order_by": order_by, "limit": limit, "offset": offset}
    selection = select_rows(
        view,
        store,
        filter=filter,
        key=key,
        fields=fields,
        order_by=order_by,
        limit=1 if single else limit,
        offset=offset,
    )
    if single:
        return next(iter(selection), None)
    return _rows(ctx, view, store, selection, query)


def _rows(ctx: ToolContext, view: View, store: str, selection: Selection, query: dict[str, Any]) -> Any:
    records: list[Record] = []
    size = 2
    for record in selection:
        records.append(record)
        size += len(orjson.dumps(record)) + 1
        if size > MAX_INLINE:
            return _reference(ctx, view, store, selection, query)
    return records


def _reference(ctx: ToolContext, view: View, store: str, selection: Selection, query: dict[str, Any]) -> dict[str, Any]:
    if isinstance(view, Transaction) and view.has_writes:
        hint = "commit with manage_transaction first, or ask for fewer rows (filter, fields, limit)"
        raise ResultTooLarge(
            f"the rows are more than {MAX_INLINE} bytes, and the transaction has uncommitted writes", hint=hint
        )
    if not selection.in_key_order:
        raise ResultTooLarge(
            "so many rows can be given in key order only",
            pointer="/order_by",
            hint="leave order_by out, or limit the rows",
        )
    again = select_rows(view, store, **query)
    reference = {"database": ctx.database, "version": view.seq, "store": store, "count": again.count()}
    return {
        ROWS: {
            **reference,
            "query": {
                name: value for name, value in query.items() if value is not None and (name, value) != ("offset", 0)
            },
        }
    }


@tool(effect="read")
def get(ctx: ToolContext, store: str, key: Any) -> dict[str, Any] | None:
    """The record of a key (a value, a list of values, or an object of the key fields), or null."""
    return open_store(reading(ctx), store).get(key)


@tool(effect="write")
def add(ctx: ToolContext, store: str, record: dict[str, Any]) -> dict[str, Any]:
    """Insert a new record; a record with its key must not be there."""
    writing(ctx, store).add(record)
    return {"added": 1}


@tool(effect="write")
def upsert(ctx: ToolContext, store: str, record: dict[str, Any]) -> dict[str, Any]:
    """Insert a record, or replace the one with its key."""
    done = writing(ctx, store).upsert(record)
    return {"added": int(done == "added"), "updated": int(done == "updated")}


@tool(effect="write")
def update(ctx: ToolContext, store: str, key: Any, values: dict[str, Any]) -> dict[str, Any]:
    """Change fields of the record of a key; gives the new record."""
    return writing(ctx, store).update(key, values)


@tool(effect="write")
def delete(ctx: ToolContext, store: str, key: Any) -> dict[str, Any]:
    """Remove the record of a key."""
    return {"deleted": int(writing(ctx, store).delete(key))}


TOOLS: Final = (select, get, add, upsert, update, delete)
