"""Catalog tools: databases, stores and indexes."""

from typing import Any, Final

import query
from btree import Transaction
from toolbox.context import ToolContext
from toolbox.data import reading, writing
from toolbox.errors import NoDatabase, ReservedStore
from toolbox.tool import tool


@tool(effect="read")
def list_databases(ctx: ToolContext) -> list[str]:
    """The databases that the script may use."""
    return sorted(ctx.scope & set(ctx.databases.names()))


@tool(effect="read")
def list_stores(ctx: ToolContext) -> list[dict[str, Any]]:
    """The stores of the step's database, with their keys."""
    return [info.to_dict() for info in query.list_stores(reading(ctx))]


@tool(effect="read")
def describe_store(ctx: ToolContext, store: str) -> dict[str, Any]:
    """A store's key, count, first and last key, indexes and relations, and its schema: as declared, or inferred from 1000 records."""
    return query.describe_store(reading(ctx), store)


@tool(effect="write")
def create_store(
    ctx: ToolContext,
    name: str,
    primary_key: list[str],
    description: str = "",
    schema: dict[str, Any] | None = None,
    relations: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Create a store with its primary key: the names of one or more fields that every record has.

    schema is a JSON Schema that every record has to satisfy; relations tell which fields lead to which other store: {fields, store, to}.
    """
    view = reading(ctx)
    if name.startswith("_"):
        raise ReservedStore(f"names with _ in front, such as {name}, are the system's own", pointer="/name")
    if not isinstance(view, Transaction):
        raise NoDatabase("the step has no transaction to write in")
    made = query.create_store(
        view, name, primary_key=primary_key, description=description, schema=schema, relations=relations or ()
    )
    return made.info.to_dict()


@tool(effect="write", needs_approval=True)
def drop_store(ctx: ToolContext, store: str) -> dict[str, Any]:
    """Remove a store with all of its records."""
    count = writing(ctx, store).count()
    assert isinstance(ctx.view, Transaction)
    query.drop_store(ctx.view, store)
    return {"dropped": store, "records": count}


@tool(effect="write")
def create_index(
    ctx: ToolContext, store: str, fields: list[str], name: str | None = None, unique: bool = False
) -> dict[str, Any]:
    """Create an index on fields (dotted paths) of a store: conditions and orders on them are sought instead of scanned.

    With unique, no two records have the same values (records where all of them are null may).
    """
    opened = writing(ctx, store)
    assert isinstance(opened.view, Transaction)
    made = query.create_index(opened.view, store, fields, name=name, unique=unique)
    return {"index": made.name, "fields": list(made.fields), "unique": made.unique, "records": opened.count()}


@tool(effect="write")
def drop_index(ctx: ToolContext, store: str, index: str) -> dict[str, Any]:
    """Remove an index of a store."""
    opened = writing(ctx, store)
    assert isinstance(opened.view, Transaction)
    query.drop_index(opened.view, store, index)
    return {"dropped": index}


TOOLS: Final = (list_databases, list_stores, describe_store, create_store, drop_store, create_index, drop_index)
