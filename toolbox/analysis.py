"""Tools over many rows: joins, aggregates, and how they are read."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import WithJsonSchema

import query
from query import View
from script.compiler.deferred import ROW_TEMPLATES
from toolbox.context import ToolContext
from toolbox.data import check_guards, evaluation, reading, writing
from toolbox.errors import UnreachableDatabase
from toolbox.references import rows_or_reference
from toolbox.tool import tool

JoinedValues = Annotated[
    dict[str, Any] | None,
    WithJsonSchema(
        {"anyOf": [{"type": "object"}, {"type": "null"}], "default": None, ROW_TEMPLATES: ["left", "right"]}
    ),
]
"""Values that may be templates over the two rows."""

_JOIN: Final = ("left", "right", "on", "type", "filter")


@tool(effect="read", writes_with="action")
def join(
    ctx: ToolContext,
    left: str | dict[str, Any],
    right: str | dict[str, Any],
    on: str | list[str] | dict[str, str],
    type: str = "inner",
    filter: dict[str, Any] | None = None,
    fields: list[str] | None = None,
    order_by: str | list[str] | None = None,
    limit: int | None = None,
    offset: int = 0,
    action: str | None = None,
    update_values: JoinedValues = None,
    dry_run: bool = False,
    max_affected: int | None = None,
    expect: str | None = None,
) -> Any:
    """Rows of two stores that belong together: {left: record, right: record}; null where an outer join has no partner. A list, or a
    reference to the rows where they are many.

    A side is a store, or {store, as, filter, key}; the right one may have a database of its own, the left one may be a join again.
    on is {left field: right field}, or fields that both have. type is inner, left, right, full, semi or anti ("users with no orders").
    filter, fields and order_by name fields as left.name, right.amount. action delete_left or update_left changes the left rows, each
    once; update_values may be templates over both ({{ right.amount }}). dry_run, expect and max_affected are as with select.
    """
    view = reading(ctx)
    query.check_action(action, update_values, of=("delete_left", "update_left"))
    check_guards(action, dry_run=dry_run, max_affected=max_affected, expect=expect)

    views = _views(ctx)

    def joined(shown: list[str] | None) -> query.Joined:
        return query.join(
            view,
            left=left,
            right=right,
            on=on,
            type=type,
            filter=filter,
            fields=shown,
            order_by=order_by,
            limit=limit,
            offset=offset,
            views=views,
        )

    if action is None:
        return rows_or_reference(ctx, joined(fields))
    if fields is not None:
        raise query.InvalidQuery("an action takes no fields", pointer="/fields")
    store, name = joined(None).left_store()
    todo = query.BulkAction(
        writing(ctx, store),
        lambda: joined(None),
        update_values,
        left=name,
        names=joined(None).spec.names,
        context=evaluation(ctx),
    )
    return {"dry_run": True, **todo.preview()} if dry_run else todo.run(max_affected=max_affected, expect=expect)


@tool(effect="read")
def aggregate(
    ctx: ToolContext,
    values: dict[str, Any],
    store: str | None = None,
    join: dict[str, Any] | None = None,
    group_by: list[str] | None = None,
    filter: dict[str, Any] | None = None,
    order_by: str | list[str] | None = None,
    limit: int | None = None,
) -> Any:
    """Values computed over rows of a store, or of a join ({left, right, on, type, filter}); for all of them or for each group.

    values is {name: {op, value, where}} with op count, sum, avg, min, max, distinct or count_distinct, value the field, where a filter for
    this value alone; {name: "count"} counts rows. group_by is a list of fields (a.b, a AS x). Result rows have the group's
    fields and the values, in the order of the group's fields, or in that of order_by: a list, or a reference to them where they are many.
    """
    rows = _source(ctx, store, join, filter)
    found = query.aggregate_rows(rows, values=values, group_by=group_by or (), order_by=order_by, limit=limit)
    return rows_or_reference(ctx, found)


@tool(effect="read")
def explain(
    ctx: ToolContext,
    store: str | None = None,
    join: dict[str, Any] | None = None,
    filter: dict[str, Any] | None = None,
    key: Any = None,
    fields: list[str] | None = None,
    order_by: str | list[str] | None = None,
    limit: int | None = None,
    offset: int = 0,
    run: bool = False,
) -> dict[str, Any]:
    """How a select, or a join ({left, right, on, type, filter}), would read: by which key or index, its bounds, what is tested for each
    row, whether it sorts.

    With run, it is read (and nothing of it kept): pages read, rows examined, rows returned.
    """
    rows = _source(ctx, store, join, filter, key=key, fields=fields, order_by=order_by, limit=limit, offset=offset)
    if run:
        for _ in rows.json_chunks():
            pass
    return rows.plan


def _source(
    ctx: ToolContext,
    store: str | None,
    joined: dict[str, Any] | None,
    where: dict[str, Any] | None,
    *,
    key: Any = None,
    **more: Any,
) -> query.Selection | query.Joined:
    """A select or a join. Raises InvalidQuery."""
    view = reading(ctx)
    if (store is None) == (joined is None):
        raise query.InvalidQuery("give a store or a join", pointer="/store")
    if store is not None:
        return query.select(view, store, filter=where, key=key, **more)
    assert joined is not None
    if key is not None:
        raise query.InvalidQuery("a key is for a store", pointer="/key", hint="give it to a side: {store, key}")
    return _join_of(ctx, view, joined, where, more)


def _join_of(
    ctx: ToolContext, view: View, joined: Mapping[str, Any], where: dict[str, Any] | None, more: Mapping[str, Any]
) -> query.Joined:
    unknown = [name for name in joined if name not in _JOIN]
    missing = [name for name in ("left", "right", "on") if name not in joined]
    if unknown or missing:
        found = f"no {missing[0]!r}" if missing else f"a member {unknown[0]!r}"
        raise query.InvalidQuery(f"the join has {found}", pointer="/join", hint=f"its members are: {', '.join(_JOIN)}")
    if where is not None and joined.get("filter") is not None:
        raise query.InvalidQuery("the filter stands twice", pointer="/filter", hint="leave out one of them")
    parts = {**joined, "filter": where if where is not None else joined.get("filter")}
    inside = [name for name in _JOIN if name != "filter" or where is None]
    with query.placed("/join", of=inside):
        return query.join(view, **parts, **more, views=_views(ctx))


def _views(ctx: ToolContext) -> query.Views:
    """The other databases that the script names, each as it is when it is first asked for."""
    opened: dict[str, View] = {}

    def view_of(name: str) -> View:
        if name not in ctx.scope:
            raise UnreachableDatabase(f"the script does not name the database {name!r}", pointer="/right/database")
        if name not in opened:
            opened[name] = ctx.databases.open(name).snapshot()
        return opened[name]

    return view_of


TOOLS: Final = (join, aggregate, explain)
