"""Databases and stores: what there is, and making more.

The system database is closed, but for its outbox (`READABLE`): nobody reads its rows or writes to it. Who names it may look after it:
see how it is, check, compact and back it up (`open_for_upkeep`).
"""

from dataclasses import asdict
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

import query
from btree import Database
from gateway.access import about, access_of
from gateway.problems import ApiError
from gateway.services import Here, Services
from gateway.times import iso
from toolbox import ledger, outbox
from toolbox.access import Scope

router = APIRouter(prefix="/v1/databases", tags=["databases"])

READABLE: Final = frozenset({outbox.STORE, ledger.STORE})
"""Stores of the system's own that databases of users have: what is sent, and the elements of batches that failed."""


class DatabaseRequest(BaseModel):
    """A new database."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(description="lower-case letters, digits and _, beginning with a letter, at most 63")


class StoreRequest(BaseModel):
    """A new store."""

    model_config = ConfigDict(extra="forbid")

    name: str
    primary_key: list[str] = Field(description="one or more fields that every record has, in the order of the key")
    description: str = ""
    json_schema: dict[str, Any] | None = Field(
        default=None, alias="schema", description="a JSON Schema that every record has to satisfy"
    )
    relations: list[dict[str, Any]] = Field(
        default=[], description="which fields lead to which store: {fields, store, to}"
    )


class IndexRequest(BaseModel):
    """A new index."""

    model_config = ConfigDict(extra="forbid")

    fields: list[str] = Field(description="one or more fields, or dotted paths, in the order of the index")
    name: str | None = Field(default=None, description="by default made of the fields")
    unique: bool = Field(default=False, description="no two records have the same values (unless all are null)")


@router.get("")
def list_databases(here: Here, request: Request) -> dict[str, Any]:
    """The databases that the key may read."""
    access = access_of(request)
    return {"data": [{"name": name} for name in here.databases.names() if access.has(Scope("data", "read", name))]}


@router.post("", status_code=201)
def create_database(here: Here, request: Request, body: DatabaseRequest, response: Response) -> dict[str, Any]:
    """Create a database."""
    about(request, database=body.name)
    check_not_ours(body.name)
    access_of(request).require(Scope("data", "write", body.name))
    if body.name in here.databases.names():
        raise ApiError("database_exists", f"there is a database {body.name!r} already", pointer="/name")
    here.databases.create(body.name)
    response.headers["Location"] = f"/v1/databases/{body.name}"
    return {"name": body.name}


@router.get("/{database}")
def show_database(here: Here, database: str) -> dict[str, Any]:
    """A database with its version, its stores, and the room that it takes."""
    opened = open_for_upkeep(here, database)
    head = opened.head()
    return {
        "name": database,
        "version": head.seq,
        "committed_at": iso(head.committed_at),
        "stores": _stores(opened),
        "space": opened.info().to_dict(),
    }


@router.get("/{database}/stores")
def list_stores(here: Here, database: str) -> dict[str, Any]:
    """The stores of a database, with their keys and counts."""
    return {"data": _stores(open_database(here, database))}


@router.post("/{database}/stores", status_code=201)
def create_store(here: Here, database: str, body: StoreRequest, response: Response) -> dict[str, Any]:
    """Create a store."""
    if body.name.startswith("_"):
        raise ApiError("reserved_store", f"names with _ in front, such as {body.name}, are ours", pointer="/name")
    made = open_database(here, database).transact(
        lambda transaction: (
            query.create_store(
                transaction,
                body.name,
                primary_key=body.primary_key,
                description=body.description,
                schema=body.json_schema,
                relations=body.relations,
            ).info
        )
    )
    response.headers["Location"] = f"/v1/databases/{database}/stores/{body.name}"
    return {**made.to_dict(), "count": 0}


@router.get("/{database}/stores/{store}")
def show_store(here: Here, database: str, store: str) -> dict[str, Any]:
    """A store: its key, count, first and last key, and the fields of a sample."""
    return query.describe_store(open_database(here, database, store).snapshot(), store)


@router.post("/{database}/stores/{store}/indexes", status_code=201)
def create_index(here: Here, database: str, store: str, body: IndexRequest, response: Response) -> dict[str, Any]:
    """Build an index while others read and write; answers when it is ready."""
    opened = writable_database(here, database, store)
    made = query.build_index(opened, store, body.fields, name=body.name, unique=body.unique)
    response.headers["Location"] = f"/v1/databases/{database}/stores/{store}/indexes/{made.name}"
    return asdict(made)


@router.delete("/{database}/stores/{store}/indexes/{index}", status_code=204)
def drop_index(here: Here, database: str, store: str, index: str) -> None:
    """Remove an index."""
    writable_database(here, database, store).transact(lambda view: query.drop_index(view, store, index))


def open_database(here: Services, name: str, store: str | None = None) -> Database:
    """A database for reading. Raises ApiError for the system's own, QueryError for one that is not there."""
    if store not in READABLE:
        check_not_ours(name)
    return here.databases.open(name)


def open_for_upkeep(here: Services, name: str) -> Database:
    """Any database, for what reads no rows and writes none, the system's own too. Raises QueryError."""
    return here.databases.open(name)


def check_not_ours(name: str) -> None:
    """Raises ApiError for the system's own database."""
    if name == query.SYSTEM:
        raise ApiError("reserved_database", f"the database {name!r} is the system's own")


def check_no_system(view: query.View) -> None:
    """Raises ApiError where a database has stores as only the system's own has them."""
    ours = [
        store.name for store in query.list_stores(view) if store.name.startswith("_") and store.name not in READABLE
    ]
    if ours:
        message = f"this is a copy of the system's own database: it has the store {ours[0]}"
        hint = "with everything stopped, put it in its place in the data directory: databases/system.db"
        raise ApiError("reserved_database", message, hint=hint)


def writable_database(here: Services, name: str, store: str) -> Database:
    """The database of a store that clients may write."""
    if store.startswith("_"):
        raise ApiError("reserved_store", f"{store} is the system's own and cannot be written")
    return open_database(here, name)


def _stores(database: Database) -> list[dict[str, Any]]:
    view = database.snapshot()
    return [
        {**info.to_dict(), "count": query.open_store(view, info.name).count()}
        for info in query.list_stores(view)
        if not info.name.startswith("_") or info.name in READABLE
    ]
