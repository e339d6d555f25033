"""Streams: the records of a run, each sent when it happens, in the form that was asked for (`results.streaming`).

The last record is the run's own end (`type` "run", `status` completed, failed, canceled; `records` is how many there are in all), or one
of type `error` with a problem in it. The end is told when the run has ended, not before: who then asks for the run finds it closed. A
stream without either was cut; the reader goes on with `?after=<last seq>`.
"""

import asyncio
import contextlib
from contextlib import aclosing
from typing import Any, cast

from temporalio.client import WorkflowFailureError

from gateway.access import Credential
from gateway.problems import ApiError
from gateway.results.asking import FormName
from gateway.results.streaming import NOTHING, Batches, Records, RecordStream, explained, in_batches, while_valid
from gateway.runs.looking import describe_run
from gateway.services import Services


def run_events(
    here: Services,
    run_id: str,
    after: int,
    *,
    request_id: str,
    form: FormName = "ndjson",
    headers: dict[str, str] | None = None,
    credential: Credential | None = None,
) -> RecordStream:
    """The records of a run that exists, from behind `after`, for as long as the credential is valid."""
    instance = f"/v1/runs/{run_id}/events"
    batches = while_valid(here.validity, credential, lambda ended: _batches(here, run_id, after, ended))
    told = explained(batches, after, {"run_id": run_id}, instance=instance, request_id=request_id)
    return RecordStream(told, form, {"Run-Id": run_id, **(headers or {})})


async def run_records(here: Services, run_id: str, after: int, ended: asyncio.Event | None = None) -> Records:
    """The records of a run behind `after`, to its end; NOTHING whenever there was none for so long that a stream shows that it is alive.

    Raises ApiError `gateway_stopping` if the gateway stops first, `not_authenticated` if the key has `ended`, and what watching raises.
    """
    async with aclosing(_batches(here, run_id, after, ended)) as batches:
        async for batch in batches:
            for record in batch or [NOTHING]:
                yield record


def _batches(here: Services, run_id: str, after: int, ended: asyncio.Event | None) -> Batches:
    return in_batches(_events(here, run_id, after), is_end, here.stopping, _stopping, ended=ended)


async def _events(here: Services, run_id: str, after: int) -> Records:
    """What the watch tells, but for the run's end, which is told when Temporal has closed the run, and as it did."""
    async with aclosing(cast(Records, here.watch(here.client, run_id, after))) as events:
        async for event in events:
            yield await _end(here, run_id, event) if is_end(event) else event


def is_end(event: dict[str, Any]) -> bool:
    """Whether an event is the run's last."""
    return bool(event["type"] == "run" and event["status"] != "started")


async def _end(here: Services, run_id: str, event: dict[str, Any]) -> dict[str, Any]:
    """The last record of a run, asked for once for all who watch it."""
    return await here.ends.get(run_id, lambda: _as_closed(here, run_id, event)) | {"records": event["seq"]}


async def _as_closed(here: Services, run_id: str, event: dict[str, Any]) -> dict[str, Any]:
    """The end of a run, true. A watch folds a run's program and so may know an end before it has happened; until then the
    run may still be canceled or terminated."""
    with contextlib.suppress(WorkflowFailureError):
        await here.client.get_workflow_handle(run_id).result()
    found = await describe_run(here, run_id)
    status = found["state"] if found["state"] in ("completed", "canceled") else "failed"
    if status == event["status"] and found["state"] not in ("terminated", "timed_out"):
        return event
    told = {name: value for name, value in event.items() if name not in ("result", "rows", "error")}
    return {**told, "status": status, "error": found.get("error")}


def _stopping() -> ApiError:
    return ApiError(
        "gateway_stopping",
        "the gateway stops; the run goes on",
        hint="read on with ?after=<last seq>",
        retryable=True,
    )
