"""One record, written by its key.

    POST   /v1/databases/{db}/stores/{store}/rows          a new record; 409 if there is one with its key
    PUT    /v1/databases/{db}/stores/{store}/rows/{key}    the whole record, new or in the place of the one that is there
    PATCH  /v1/databases/{db}/stores/{store}/rows/{key}    other values for some of its fields; a changed key moves it
    DELETE /v1/databases/{db}/stores/{store}/rows/{key}    remove it

A record's entity tag is a keyed hash of its text; reading it gives the tag. With If-Match a change is made to the record that was read,
or not at all (412); with `If-None-Match: *` a PUT only makes a new one. Without them the last one wins, as in any store.
What is answered names the key and not the record: who may write need not be able to read. `rows` has how a key stands in a path.

With `?dry_run=true` all of this is tried, its conditions too, and nothing is kept: 200 with `{dry_run: true, key, outcome}`, or the
refusal.
"""

from typing import Annotated, Any, Final
from urllib.parse import quote

import orjson
from fastapi import APIRouter, Body, Header, Request, Response
from fastapi.responses import JSONResponse

import query
from btree import Transaction
from gateway.data.databases import writable_database
from gateway.data.rows import key_candidates, not_found, tag_of
from gateway.data.trials import Given, written
from gateway.preconditions import is_meant, is_unchanged
from gateway.problems import ApiError
from gateway.services import Here, Services

router = APIRouter(prefix="/v1/databases/{database}/stores/{store}/rows", tags=["rows"])

Record = Annotated[dict[str, Any], Body(description="a JSON object")]
IfMatch = Annotated[
    str | None, Header(alias="If-Match", description="the ETag of the record that is meant; * for any that is there")
]
_TOLD: Final = {"dry_run": True}
_TRIED: Final[dict[int | str, dict[str, Any]]] = {200: {"description": "what a dry run would have done"}}
IfNoneMatch = Annotated[str | None, Header(alias="If-None-Match", description="*: only if there is no record yet")]


@router.post("", status_code=201, responses=_TRIED)
def add_row(
    here: Here,
    database: str,
    store: str,
    body: Record,
    request: Request,
    response: Response,
    given: Given,
) -> dict[str, Any]:
    """Add a new record: `{key, outcome: "added"}`, `Location` and `ETag`."""

    def work(transaction: Transaction) -> list[Any]:
        opened = query.open_store(transaction, store)
        opened.add(body)
        return _key(opened, body)

    key = written(request, writable_database(here, database, store), work, dry_run=given.dry_run)
    if given.dry_run:
        return _tried(response, key, "added")
    response.headers["Location"] = f"/v1/databases/{database}/stores/{store}/rows/{_in_path(key)}"
    response.headers["ETag"] = tag_of(here, body)
    return {"key": key, "outcome": "added"}


@router.put("/{key:path}", responses={201: {"description": "it was new"}})
def put_row(
    here: Here,
    database: str,
    store: str,
    key: str,
    body: Record,
    request: Request,
    response: Response,
    given: Given,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> dict[str, Any]:
    """Write a whole record: `{key, outcome: "added" | "updated"}` and its `ETag`."""

    def work(transaction: Transaction) -> tuple[list[Any], str]:
        opened = query.open_store(transaction, store)
        own = _key(opened, body)
        if opened.encode_key(own) not in _encoded(opened, key):
            told = orjson.dumps(own[0] if len(own) == 1 else own).decode()
            raise ApiError(
                "invalid_record",
                f"the address has the key {key}, the record {told}",
                pointer=f"/{opened.info.primary_key[0]}",
                hint="PATCH changes the key of a record that is there",
            )
        _check(here, opened.get(own), if_match, if_none_match)
        return own, opened.upsert(body)

    own, outcome = written(request, writable_database(here, database, store), work, dry_run=given.dry_run)
    if given.dry_run:
        return _tried(response, own, outcome)
    response.status_code = 201 if outcome == "added" else 200
    response.headers["ETag"] = tag_of(here, body)
    return {"key": own, "outcome": outcome}


@router.patch("/{key:path}")
def patch_row(
    here: Here,
    database: str,
    store: str,
    key: str,
    body: Record,
    request: Request,
    response: Response,
    given: Given,
    if_match: IfMatch = None,
) -> dict[str, Any]:
    """Change fields of a record, the others stay: `{key, outcome: "updated"}` and its new `ETag`."""

    def work(transaction: Transaction) -> tuple[list[Any], str]:
        opened = query.open_store(transaction, store)
        found, current = _find(here, opened, key, if_match)
        _check(here, current, if_match, None)
        record = opened.update(found, body)
        return _key(opened, record), tag_of(here, record)

    own, tag = written(request, writable_database(here, database, store), work, dry_run=given.dry_run)
    if given.dry_run:
        return _tried(response, own, "updated")
    response.headers["ETag"] = tag
    return {"key": own, "outcome": "updated"}


@router.delete("/{key:path}", status_code=204, response_model=None, responses=_TRIED)
def delete_row(
    here: Here,
    database: str,
    store: str,
    key: str,
    request: Request,
    given: Given,
    if_match: IfMatch = None,
) -> Response:
    """Remove the record of a key."""

    def work(transaction: Transaction) -> list[Any]:
        opened = query.open_store(transaction, store)
        found, current = _find(here, opened, key, if_match)
        _check(here, current, if_match, None)
        opened.delete(found)
        return _key(opened, current)

    own = written(request, writable_database(here, database, store), work, dry_run=given.dry_run)
    return JSONResponse(_TOLD | {"key": own, "outcome": "deleted"}) if given.dry_run else Response(status_code=204)


def _tried(response: Response, key: list[Any], outcome: str) -> dict[str, Any]:
    response.status_code = 200
    return _TOLD | {"key": key, "outcome": outcome}


def _find(here: Services, opened: query.Store, key: str, if_match: str | None) -> tuple[Any, dict[str, Any]]:
    """The key that a text means here, and its record. Raises ApiError: 404, or 412 for who has seen a record."""
    for candidate in key_candidates(key, opened.info):
        record = opened.get(candidate)
        if record is not None:
            return candidate, dict(record)
    if if_match is not None:
        _check(here, None, if_match, None)
    raise not_found(opened.info.name, key)


def _check(here: Services, current: Any, if_match: str | None, if_none_match: str | None) -> None:
    """Raises ApiError 412 `precondition_failed`."""
    tag = tag_of(here, current) if current is not None else None
    if if_match is not None and not is_meant(if_match, tag):
        message = "the record is another one by now" if tag is not None else "there is no such record any more"
        raise _failed(message, "If-Match", "read it again, and send its ETag", tag)
    if if_none_match is not None and tag is not None and is_unchanged(if_none_match, tag):
        raise _failed("there is a record with this key", "If-None-Match", "without the header it is replaced", tag)


def _failed(message: str, pointer: str, hint: str, tag: str | None) -> ApiError:
    return ApiError("precondition_failed", message, pointer=pointer, hint=hint, more={"current": {"etag": tag}})


def _encoded(opened: query.Store, key: str) -> set[bytes]:
    found = set()
    for candidate in key_candidates(key, opened.info):
        try:
            found.add(opened.encode_key(candidate))
        except query.QueryError:
            continue  # a text that cannot be meant so
    return found


def _key(opened: query.Store, record: Any) -> list[Any]:
    """The values of a record's key fields. Raises InvalidRecord, InvalidKeyValue."""
    opened.key_of(record)
    return [record[field] for field in opened.info.primary_key]


def _in_path(key: list[Any]) -> str:
    single = key[0] if len(key) == 1 else key
    return quote(single if isinstance(single, str) else orjson.dumps(single).decode(), safe="")
