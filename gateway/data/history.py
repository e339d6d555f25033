"""Looking back: the versions of a database, what changed in a store between two of them, and restoring a store.

A version is named by its number, or by a time: the version that was the newest then. Versions are kept for a day, or for as
long as something needs them; one that is gone is `version_not_found`.
"""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

import query
from btree import Database
from gateway.access import changes_nothing
from gateway.cursors import going_on
from gateway.data.databases import open_database, writable_database
from gateway.preferences import Limits, max_affected, too_many
from gateway.problems import ApiError
from gateway.services import Here
from gateway.times import iso, seconds_of

router = APIRouter(prefix="/v1/databases/{database}", tags=["history"])

Limit = Annotated[int, Query(ge=1, le=1000)]
VERSION = "the number of a version, or a time (ISO 8601 with a time zone)"


class RestoreRequest(BaseModel):
    """Which version a store is made of: `version` or `at`."""

    model_config = ConfigDict(extra="forbid")

    version: int | None = Field(default=None, ge=1, le=1 << 53, description="the number of a version")
    at: str | None = Field(default=None, description="a time: the version that was the newest then")
    dry_run: bool = Field(default=False, description="only count what would be changed")


@router.get("/versions")
def list_versions(here: Here, database: str, limit: Limit = 50, cursor: str | None = None) -> dict[str, Any]:
    """The versions that are kept, newest first."""
    about = f"versions/{database}"
    opened = open_database(here, database)
    before = here.cursors.open(about, cursor) if cursor is not None else None
    newer = opened.head().seq + 1 - before if before is not None else 0
    found = [
        version for version in opened.versions(newer + limit + 1) if before is None or version.seq < before
    ]  # at most `newer` versions are in front of the page
    page, more = found[:limit], len(found) > limit
    return {
        "data": [
            {"seq": version.seq, "committed_at": iso(version.committed_at), "transaction": version.transaction}
            for version in page
        ],
        "has_more": more,
        "next_cursor": here.cursors.seal(about, page[-1].seq) if more else None,
    }


@router.get("/stores/{store}/changes")
def list_changes(
    here: Here,
    database: str,
    store: str,
    old: Annotated[str, Query(alias="from", description=VERSION)],
    new: Annotated[str | None, Query(alias="to", description=f"{VERSION}; without it, the newest")] = None,
    limit: Limit = 50,
    cursor: str | None = None,
) -> dict[str, Any]:
    """What changed in a store between two versions, in key order: added, updated and deleted records."""
    about = f"changes/{database}/{store}/{old}/{new}"
    opened = open_database(here, database, store)
    with going_on(cursor):
        if cursor is not None:
            first, last, key = here.cursors.open(about, cursor)
        else:
            first, last = _version(opened, old, "?from"), _newest(opened, new)
            key = None
        after = bytes.fromhex(key) if key is not None else None
        found, following = query.changes_page(opened, store, first, last, after=after, limit=limit)
    return {
        "data": [asdict(change) for change in found],
        "from": first,
        "to": last,
        "has_more": following is not None,
        "next_cursor": here.cursors.seal(about, [first, last, following.hex()]) if following is not None else None,
    }


@router.post("/stores/{store}:restore")
def restore_store(
    here: Here,
    database: str,
    store: str,
    body: RestoreRequest,
    request: Request,
    response: Response,
    prefer: Limits = None,
) -> dict[str, Any]:
    """Make a store what it was in a version, as a new version, so that this can be taken back too."""
    limit, applied = max_affected(prefer)
    opened = writable_database(here, database, store)
    if body.version is not None and body.at is None:
        version = opened.version(body.version).seq
    elif body.at is not None and body.version is None:
        version = opened.version_at(seconds_of(body.at, "/at")).seq
    else:
        raise ApiError("invalid_field", "exactly one of version and at is needed", pointer="/version")
    if body.dry_run:
        changes_nothing(request)
    try:
        done = query.restore_store(opened, store, version, dry_run=body.dry_run, max_affected=limit)
    except query.TooManyRows:
        raise too_many(limit) from None
    response.headers.update(applied if not body.dry_run else {})
    return {"changed": done.changed, "version": done.version, "restored": version, "dry_run": body.dry_run}


def _newest(database: Database, text: str | None) -> int:
    return _version(database, text, "?to") if text is not None else database.head().seq


def _version(database: Database, text: str, pointer: str) -> int:
    """The number of a version that is named by its number or by a time. Raises ApiError, VersionNotFound."""
    if text.isascii() and text.isdigit() and len(text) <= 15:
        return database.version(int(text)).seq
    return database.version_at(seconds_of(text, pointer)).seq
