"""The times of schedules, as Temporal's server counts them: nothing here knows what a calendar means.

The server tells the due times between two moments behind the first one, up to a thousand at once. Our ranges include both ends.
"""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Final

from temporalio.api.workflowservice.v1 import ListScheduleMatchingTimesRequest
from temporalio.client import Client, Schedule, ScheduleDescription
from temporalio.common import SearchAttributeKey

from script.wire import SCHEDULED_FOR

_SECOND: Final = timedelta(seconds=1)
_SCHEDULED: Final = SearchAttributeKey.for_datetime(SCHEDULED_FOR)
MOST: Final = 1000
"""The server's own limit for one answer."""


def exclusive(moment: datetime) -> datetime:
    """The start of a range that shall include `moment`, for a server that leaves the start out, and for one that does not.

    Due times are whole seconds: a start just before one includes it, whichever the server does with starts.
    """
    whole = moment.replace(microsecond=0)
    if whole != moment:
        whole += _SECOND
    return whole - timedelta(milliseconds=1)


async def due_times(client: Client, schedule_id: str, start: datetime, end: datetime) -> AsyncIterator[datetime]:
    """The times from `start` to `end`, both included, at which a schedule is due: paused or not, whatever was started."""
    after = exclusive(start)
    while after < end:
        request = ListScheduleMatchingTimesRequest(namespace=client.namespace, schedule_id=schedule_id)
        request.start_time.FromDatetime(after.astimezone(UTC))
        request.end_time.FromDatetime(end.astimezone(UTC))
        found = (await client.workflow_service.list_schedule_matching_times(request)).start_time
        for moment in found:
            after = moment.ToDatetime(UTC)
            yield after
        if len(found) < MOST:
            return


async def preview(client: Client, preview_id: str, schedule: Schedule) -> ScheduleDescription:
    """What the server makes of a schedule, without having it: it is created paused under another id, described and removed.

    Raises RPCError for what the server refuses.
    """
    paused = schedule.state.paused
    schedule.state.paused = True
    handle = await client.create_schedule(preview_id, schedule)
    try:
        found = await handle.describe()
    finally:
        await handle.delete()
    found.schedule.state.paused = schedule.state.paused = paused
    return found


async def runs_by_time(client: Client, schedule_id: str, start: datetime, end: datetime) -> dict[datetime, str]:
    """The runs that a schedule started for times from `start` to `end`, by the time that they were started for."""
    query = f"TemporalScheduledById = '{schedule_id}' AND {SCHEDULED_FOR} >= '{_text(start)}' AND {SCHEDULED_FOR} <= '{_text(end)}'"
    found = {}
    async for run in client.list_workflows(query):
        moment = run.typed_search_attributes.get(_SCHEDULED)
        if moment is not None:
            found[moment] = run.id
    return found


def match_runs(due: list[datetime], runs: dict[datetime, str], jitter: timedelta) -> dict[datetime, str]:
    """The runs of due times, in order: with jitter a due time is later than the one that its run is named after, by less than that."""
    left, found = dict(runs), {}
    for moment in due:
        named = max((name for name in left if moment - jitter <= name <= moment), default=None)
        if named is not None:
            found[moment] = left.pop(named)
    return found


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
