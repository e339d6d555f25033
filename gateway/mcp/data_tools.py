"""Tools for data: which databases and stores there are, and rows of them."""

from typing import Annotated, Any, Final

import orjson
from pydantic import Field

from gateway.client.transport import part
from gateway.data.queries import AggregateRequest, JoinRequest, SelectRequest
from gateway.mcp.paging import DEFAULT_ROWS, MOST_ROWS, page
from gateway.mcp.tools import Arguments, BuiltIn, Call, by_name

Database = Annotated[str, Field(description="a database; list_databases tells which there are")]
Store = Annotated[str, Field(description="a store of the database; list_stores tells which there are")]
Cursor = Annotated[str | None, Field(description="next_cursor of the page before, with the same other arguments")]
Limit = Annotated[int, Field(ge=1, le=MOST_ROWS, description="rows of one answer")]


class NoArguments(Arguments):
    """Nothing."""


class OfDatabase(Arguments):
    """A database."""

    database: Database


class OfStore(OfDatabase):
    """A store."""

    store: Store


class OfRow(OfStore):
    """A record."""

    key: Any = Field(description='the primary key: "00001", or for a key of several fields ["00001", 1]')


class Select(SelectRequest):
    """A select. The limit is that of a page."""

    database: Database
    store: Store
    limit: Limit = DEFAULT_ROWS
    cursor: Cursor = None


class Join(JoinRequest):
    """A join. The limit is that of a page."""

    database: Database
    store: Annotated[str, Field(description="the store on the left")]
    limit: Limit = DEFAULT_ROWS
    cursor: Cursor = None


class Aggregate(AggregateRequest):
    """An aggregate. The limit is that of a page."""

    database: Database
    store: Store
    limit: Limit = DEFAULT_ROWS
    cursor: Cursor = None


async def list_databases(call: Call, given: NoArguments) -> dict[str, Any]:
    """List the databases that you may read."""
    return {"databases": (await call.api.get("/v1/databases"))["data"]}


async def list_stores(call: Call, given: OfDatabase) -> dict[str, Any]:
    """List the stores (tables) of a database, with their primary keys, indexes and numbers of rows."""
    return {"stores": (await call.api.get(f"/v1/databases/{part(given.database)}/stores"))["data"]}


async def describe_store(call: Call, given: OfStore) -> dict[str, Any]:
    """Describe a store: primary key, indexes, number of rows, first and last key, and the fields of a sample of its rows.
    Look here before you write a filter."""
    found: dict[str, Any] = await call.api.get(_path(given.database, given.store))
    return found


async def get_row(call: Call, given: OfRow) -> dict[str, Any]:
    """Get one record by its primary key."""
    key = given.key if isinstance(given.key, str) else orjson.dumps(given.key).decode()
    return {"row": await call.api.get(f"{_path(given.database, given.store)}/rows/{part(key)}")}


async def select_rows(call: Call, given: Select) -> dict[str, Any]:
    """Select rows of a store. A filter is {"age": {"$gt": 25}, "city": "Bern"}; operators are $eq $ne $gt $gte $lt $lte $between
    $in $nin $exists $regex $starts_with $contains $elemMatch $and $or $not. order_by is a field, or -field for descending. Name the
    fields that you need. If has_more is true, call again with next_cursor. To count or to sum up use aggregate_rows."""
    return await _page(call, given, ":select")


async def join_rows(call: Call, given: Join) -> dict[str, Any]:
    """Join the rows of a store (left) with those of another (right) where fields are equal: on is {left field: right field}.
    Joined rows have their fields under left.name and right.name, or under the names of `as`."""
    return await _page(call, given, ":join")


async def aggregate_rows(call: Call, given: Aggregate) -> dict[str, Any]:
    """Compute values over all rows that fit a filter, or for each group: values is {"orders": "count", "total": {"op": "sum", "value":
    "amount"}} with count, sum, avg, min, max and others."""
    return await _page(call, given, ":aggregate")


async def _page(call: Call, given: Select | Join | Aggregate, verb: str) -> dict[str, Any]:
    query = given.model_dump(exclude={"database", "store", "limit", "cursor"}, exclude_unset=True)
    path = _path(given.database, given.store) + verb
    return await page(call.api, path, query, limit=given.limit, cursor=given.cursor)


def _path(database: str, store: str) -> str:
    return f"/v1/databases/{part(database)}/stores/{part(store)}"


_SOME: Final = "data:?:read"
TOOLS: Final = by_name(
    [
        BuiltIn("list_databases", "List databases", _SOME, NoArguments, list_databases),
        BuiltIn("list_stores", "List stores", _SOME, OfDatabase, list_stores),
        BuiltIn("describe_store", "Describe a store", _SOME, OfStore, describe_store),
        BuiltIn("get_row", "Get a row", _SOME, OfRow, get_row),
        BuiltIn("select_rows", "Select rows", _SOME, Select, select_rows),
        BuiltIn("join_rows", "Join rows", _SOME, Join, join_rows),
        BuiltIn("aggregate_rows", "Aggregate rows", _SOME, Aggregate, aggregate_rows),
    ]
)
