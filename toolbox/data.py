"""Data tools: rows of the stores of the step's database, in the step's transaction. What goes over several is in `analysis`."""

from typing import Annotated, Any, Final

from pydantic import WithJsonSchema

import query
from btree import Transaction
from query import Store, View, open_store
from query import select as select_rows
from script.compiler.deferred import ROW_TEMPLATES
from script.expressions.functions import EvaluationContext
from toolbox.context import ToolContext
from toolbox.errors import NoDatabase, ReservedStore
from toolbox.references import rows_or_reference
from toolbox.tool import tool

RowValues = Annotated[
    dict[str, Any] | None,
    WithJsonSchema({"anyOf": [{"type": "object"}, {"type": "null"}], "default": None, ROW_TEMPLATES: ["row"]}),
]
"""Values that may be templates over the row."""


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
    if not isinstance(view, Transaction):
        raise NoDatabase("the step has no transaction to write in")
    return open_store(view, store)


def evaluation(ctx: ToolContext) -> EvaluationContext:
    """The clock and the seed of templates that a tool renders: the same whenever the step is tried again."""
    return EvaluationContext(ctx.now, ctx.idempotency_key, ctx.scheduled_at)


@tool(effect="read", writes_with="action")
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
    action: str | None = None,
    update_values: RowValues = None,
    dry_run: bool = False,
    max_affected: int | None = None,
    expect: str | None = None,
) -> Any:
    """Rows of a store: a list of records, or a reference to the rows where they are many. With an action: change these rows.

    filter takes MongoDB's words; the primary key and indexes are sought, not scanned. With single, the first row or null.
    action delete or update works on all the rows, and gives counts; update_values are new values of fields, templates over the row
    ({{ row.price * 2 }}), and $inc $mul $unset $push. dry_run only tells: the count, the first rows, and a token; expect takes
    that token, and nothing is changed if the rows are others by then. max_affected refuses to change more rows than that.
    """
    view = reading(ctx)
    wanted = {"filter": filter, "key": key, "fields": fields, "order_by": order_by, "limit": limit, "offset": offset}
    query.check_action(action, update_values, of=("delete", "update"))
    check_guards(action, dry_run=dry_run, max_affected=max_affected, expect=expect)
    if action is not None:
        if single or fields is not None:
            raise query.InvalidQuery(
                "an action takes no single and no fields", pointer="/fields" if fields else "/single"
            )
        again = {name: value for name, value in wanted.items() if name != "fields"}
        todo = query.BulkAction(
            writing(ctx, store),
            lambda: select_rows(view, store, **again),
            update_values,
            context=evaluation(ctx),
        )
        return {"dry_run": True, **todo.preview()} if dry_run else todo.run(max_affected=max_affected, expect=expect)
    selection = select_rows(view, store, **{**wanted, "limit": 1 if single else limit})
    if single:
        return next(iter(selection), None)
    if not selection.in_key_order or (isinstance(view, Transaction) and view.has_writes):
        return rows_or_reference(ctx, selection)
    given = {name: value for name, value in wanted.items() if value is not None and (name, value) != ("offset", 0)}
    return rows_or_reference(
        ctx, selection, lambda: {"store": store, "query": given, "count": select_rows(view, store, **wanted).count()}
    )


def check_guards(action: str | None, *, dry_run: bool, max_affected: int | None, expect: str | None) -> None:
    """Refuse guards without an action. Raises InvalidQuery."""
    for name, given in (
        ("dry_run", dry_run),
        ("max_affected", max_affected is not None),
        ("expect", expect is not None),
    ):
        if given and action is None:
            raise query.InvalidQuery(f"{name} belongs to an action", pointer=f"/{name}", hint="add the action")
    if max_affected is not None and max_affected < 0:
        raise query.InvalidQuery("max_affected is a whole number from 0", pointer="/max_affected")


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
    """Change the record of a key; gives the new record. values are new values of fields, and $inc $mul $unset $push."""
    opened = writing(ctx, store)
    change = query.compile_update(values, pointer="/values", fields=opened.fields, context=evaluation(ctx))
    return opened.change(key, change.apply)


@tool(effect="write")
def delete(ctx: ToolContext, store: str, key: Any) -> dict[str, Any]:
    """Remove the record of a key."""
    return {"deleted": int(writing(ctx, store).delete(key))}


TOOLS: Final = (select, get, add, upsert, update, delete)
