"""Rows of a store: one by its key, or page by page in key order.

A page's cursor holds the version that the listing began with, so the pages fit together whatever is written in between. If that
version is not kept any more, the listing cannot go on: `version_not_found`, begin again.

A key in a path is text: `/rows/00001`. Text that is a JSON array is a composite key: `/rows/["00001","1997-01-12",1]`. If no
record has the text as its key and it is a JSON number, true, false or null, that value is sought.
"""

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Response

import query
from gateway.cursors import going_on
from gateway.data.databases import open_database
from gateway.problems import ApiError
from gateway.services import Here

router = APIRouter(prefix="/v1/databases/{database}/stores/{store}/rows", tags=["rows"])


@router.get("")
def list_rows(
    here: Here,
    database: str,
    store: str,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    cursor: str | None = None,
) -> dict[str, Any]:
    """Rows in key order."""
    about = f"rows/{database}/{store}"
    opened = open_database(here, database, store)
    position = here.cursors.open(about, cursor) if cursor is not None else None
    version = position[0] if position else opened.head().seq
    after = bytes.fromhex(position[1]) if position else None
    with going_on(cursor):
        rows, following = query.select_page(opened.snapshot(version), {"store": store}, after=after, limit=limit)
    sealed = here.cursors.seal(about, [version, following.hex()]) if following is not None else None
    return {"data": rows, "version": version, "has_more": sealed is not None, "next_cursor": sealed}


@router.get("/{key:path}", response_model=dict[str, Any])
def get_row(here: Here, database: str, store: str, key: str) -> Response:
    """The record of a key."""
    opened = query.open_store(open_database(here, database, store).snapshot(), store)
    for candidate in key_candidates(key):
        found = opened.get(candidate)
        if found is not None:
            return Response(orjson.dumps(found), media_type="application/json")
    raise ApiError("record_not_found", f"{store} has no record with the key {key}")


def key_candidates(text: str) -> list[Any]:
    """The keys that a text may mean, the likeliest first."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return [text]
    if isinstance(value, list):
        return [value]
    return [text] if isinstance(value, dict) else [text, value]
