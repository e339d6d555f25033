"""The steps of a run that have ended so far, page by page: what the stream of its events told of them, without waiting for more.

A step that was run several times (in a loop, or again after a conflict) is there as often, each with its iteration. The cursor is the
sequence number of the last one, which is the same whenever the run is read: pages fit together while the run goes on.
"""

from contextlib import aclosing
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query

from gateway.runs.looking import require_run
from gateway.runs.watch import watch_run
from gateway.services import Here

router = APIRouter(prefix="/v1/runs", tags=["runs"])
_NO_STEPS: Final = ("run", "warning", "compensation")
_UNDER_WAY: Final = ("started", "running", "retrying")


@router.get("/{run_id:path}/steps")
async def list_steps(
    here: Here,
    run_id: str,
    step: Annotated[str | None, Query(description="only those of this path: `each/check`")] = None,
    status: Annotated[str | None, Query(description="completed, failed, skipped, canceled, ...")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    cursor: str | None = None,
) -> dict[str, Any]:
    """The steps that have ended, in the order of their ends."""
    about = f"steps/{run_id}/{step}/{status}"
    after: int = here.cursors.open(about, cursor) if cursor is not None else 0
    await require_run(here, run_id)
    found: list[dict[str, Any]] = []
    async with aclosing(watch_run(here.client, run_id, after, wait=False)) as events:
        async for event in events:
            if _is_step(event) and step in (None, event["path"]) and status in (None, event["status"]):
                found.append(event)
            if len(found) > limit:
                break
    page, more = found[:limit], len(found) > limit
    return {
        "data": page,
        "has_more": more,
        "next_cursor": here.cursors.seal(about, page[-1]["seq"]) if more else None,
    }


def _is_step(event: dict[str, Any]) -> bool:
    return event["type"] not in _NO_STEPS and event["status"] not in _UNDER_WAY and "path" in event
