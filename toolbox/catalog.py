"""Catalog tools: databases and stores."""

from dataclasses import asdict
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
    return [asdict(info) for info in query.list_stores(reading(ctx))]


@tool(effect="read")
def describe_store(ctx: ToolContext, store: str) -> dict[str, Any]:
    """A store's key, count, first and last key, and its fields as a sample of 100 records has them."""
    return query.describe_store(reading(ctx), store)


@tool(effect="write")
def create_store(ctx: ToolContext, name: str, primary_key: list[str], description: str = "") -> dict[str, Any]:
    """Create a store with its primary key: the names of one or more fields that every record has."""
    view = reading(ctx)
    if name.startswith("_"):
        raise ReservedStore(f"names with _ in front, such as {name}, are the system's own", pointer="/name")
    if not isinstance(view, Transaction):
        raise NoDatabase("the step has no transaction to write in")
    return asdict(query.create_store(view, name, primary_key=primary_key, description=description).info)


@tool(effect="write", needs_approval=True)
def drop_store(ctx: ToolContext, store: str) -> dict[str, Any]:
    """Remove a store with all of its records."""
    count = writing(ctx, store).count()
    assert isinstance(ctx.view, Transaction)
    query.drop_store(ctx.view, store)
    return {"dropped": store, "records": count}


TOOLS: Final = (list_databases, list_stores, describe_store, create_store, drop_store)
