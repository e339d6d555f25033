"""Rows of a store: one by its key, or page by page in key order.

A page's cursor holds the version that the listing began with, so the pages fit together whatever is written in between. If that
version is not kept any more, the listing cannot go on: `version_not_found`, begin again.

A key in a path is text: `/rows/00001`. Text that is a JSON array is a composite key: `/rows/["00001","1997-01-12",1]`. If no
record has the text as its key and it is a JSON number, true, false or null, that value is sought.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Request, Response

import query
from gateway.cursors import going_on
from gateway.data.databases import open_database
from gateway.preconditions import NOT_MODIFIED, IfNoneMatch, not_modified, tag
from gateway.problems import ApiError
from gateway.services import Here, Services

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


@router.get("/{key:path}", response_model=dict[str, Any], responses=NOT_MODIFIED)
def get_row(
    here: Here, request: Request, database: str, store: str, key: str, if_none_match: IfNoneMatch = None
) -> Response:
    """The record of a key, with its `ETag`; 304 if it is still the one of `If-None-Match`."""
    opened = query.open_store(open_database(here, database, store).snapshot(), store)
    for candidate in key_candidates(key, opened.info):
        found = opened.get(candidate)
        if found is not None:
            tag = tag_of(here, found)
            content = orjson.dumps(found)
            return not_modified(request, tag) or Response(content, 200, {"ETag": tag}, "application/json")
    raise not_found(store, key)


def not_found(store: str, key: str) -> ApiError:
    """The refusal for a key that no record has."""
    return ApiError("record_not_found", f"{store} has no record with the key {key}")


def tag_of(here: Services, record: Mapping[str, Any]) -> str:
    """A record's strong entity tag: a keyed hash of its text, by which who may not read it cannot guess it."""
    return tag(here.cursors.digest(orjson.dumps(record, option=orjson.OPT_SORT_KEYS)))


def key_candidates(text: str, info: query.StoreInfo) -> list[Any]:
    """The keys that a text may mean, the likeliest first."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return [text]
    if isinstance(value, list) and len(info.primary_key) > 1:
        return [value]
    return [text] if isinstance(value, dict) else [text, value]
