"""Searching runs in Temporal's visibility store, page by page.

Several installations may share a Temporal namespace: each sees the runs of its own task queue only. Every value of a query is quoted here;
one that could end its quotes is refused, since no name, and nothing else that is looked for, holds such a character.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from temporalio.client import WorkflowExecution

from gateway.problems import ApiError
from gateway.services import Services
from gateway.times import seconds_of
from script.wire import FOR_APPROVAL, WORKFLOW_TYPE

STATES: Final[dict[str, str]] = {
    "running": "Running",
    "completed": "Completed",
    "failed": "Failed",
    "canceled": "Canceled",
    "terminated": "Terminated",
    "timed_out": "TimedOut",
}
"""State of a run -> Temporal's name for it in a visibility query."""

_NAMED: Final = {
    "script": "SopScript",
    "trigger": "SopTrigger",
    "database": "SopDatabase",
}


@dataclass(frozen=True)
class Search:
    """What runs are looked for; None is any. `since` and `until` are times (ISO 8601 with a time zone): runs that began then, the one
    included and the other not."""

    script: str | None = None
    state: str | None = None
    outcome: str | None = None
    trigger: str | None = None
    database: str | None = None
    since: str | None = None
    until: str | None = None
    waiting: bool = False

    def clauses(self) -> list[str]:
        """The conditions of a visibility query. Raises ApiError `invalid_field`."""
        found = [
            f"{attribute} = {quoted(value, f'?{name}')}"
            for name, attribute in _NAMED.items()
            if (value := getattr(self, name)) is not None
        ]
        if self.outcome == "completed":  # such runs have no SopOutcome
            found.append(f"ExecutionStatus = '{STATES['completed']}'")
        elif self.outcome is not None:
            found.append(f"SopOutcome = {quoted(self.outcome, '?outcome')}")
        if self.state is not None:
            found.append(f"ExecutionStatus = '{STATES[self.state]}'")
        if self.waiting:
            found += [f"SopWaiting = '{FOR_APPROVAL}'", "ExecutionStatus = 'Running'"]
        for sign, moment, pointer in ((">=", self.since, "?since"), ("<", self.until, "?until")):
            if moment is not None:
                found.append(f"StartTime {sign} '{_utc(moment, pointer)}'")
        return found


async def search(
    here: Services, wanted: Search, *, limit: int, cursor: str | None
) -> tuple[list[WorkflowExecution], Mapping[str, Any]]:
    """A page of runs, and what a listing says about its pages: the open ones, newest first, then the ended ones, the last ended first."""
    about = f"runs/{wanted}"
    token = bytes.fromhex(here.cursors.open(about, cursor)) if cursor is not None else None
    page = here.client.list_workflows(_query(here, wanted), page_size=limit, next_page_token=token)
    await page.fetch_next_page()
    following = page.next_page_token
    told = {
        "has_more": bool(following),
        "next_cursor": here.cursors.seal(about, following.hex()) if following else None,
    }
    return list(page.current_page or []), told


def _query(here: Services, wanted: Search) -> str:
    fixed = [f"WorkflowType = '{WORKFLOW_TYPE}'", f"TaskQueue = {quoted(here.task_queue, '')}"]
    return " AND ".join([*fixed, *wanted.clauses()])


def quoted(text: str, pointer: str) -> str:
    """A string of a visibility query. Raises ApiError for one that might end its quotes."""
    if not text.isprintable() or any(char in text for char in "'\"\\`"):
        raise ApiError("invalid_field", f"{text!r} is no name", pointer=pointer, hint="names hold no quotes")
    return f"'{text}'"


def _utc(text: str, pointer: str) -> str:
    try:
        moment = datetime.fromtimestamp(seconds_of(text, pointer), UTC)
    except (OverflowError, ValueError):
        raise ApiError("invalid_field", f"{text!r} is no time", pointer=pointer) from None
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
