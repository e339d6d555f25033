"""The audit log over HTTP: who changed what, and who was refused (`access.audit`)."""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query

from gateway.problems import ApiError
from gateway.services import Here
from gateway.times import seconds_of

router = APIRouter(prefix="/v1/audit", tags=["keys"])


@router.get("")
def list_entries(
    here: Here,
    key: Annotated[str | None, Query(description="only entries of the key with this id")] = None,
    since: Annotated[str | None, Query(description="from this time on, as 2026-11-21T08:30:00Z")] = None,
    until: Annotated[str | None, Query(description="before this time")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    cursor: str | None = None,
) -> dict[str, Any]:
    """The audit log, newest first."""
    about = f"audit/{key}/{since}/{until}"
    after = here.cursors.open(about, cursor) if cursor is not None else None
    begin, end = _moment(since, "?since"), _moment(until, "?until")
    rows, following = here.notes.entries(limit=limit, after=after, key=key, since=begin, until=end)
    sealed = here.cursors.seal(about, following) if following is not None else None
    return {"data": rows, "has_more": sealed is not None, "next_cursor": sealed}


def _moment(text: str | None, pointer: str) -> datetime | None:
    if text is None:
        return None
    try:
        return datetime.fromtimestamp(seconds_of(text, pointer), UTC)
    except (OverflowError, ValueError, OSError):
        raise ApiError("invalid_field", f"{text!r} is no time", pointer=pointer) from None
