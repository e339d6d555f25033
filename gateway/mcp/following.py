"""A run, followed for a while: its progress is told, and its end, if it comes in time, is the answer.

A call waits at most so many seconds. Then it answers that the run goes on, with its id, and `get_run` asks again. A call that is
canceled, or whose client has gone, ends the waiting and not the run: `cancel_run` does that. So it is with every stream of the gateway,
and nobody has to know why a connection ended.

A run that was started here is read as it was started, by `POST /v1/call` under its idempotency key: that takes no other scope than
starting it. Others are read by `GET /v1/runs/{id}/events`.

A gateway that stops ends its calls at once, with an error that has the run's id: another gateway tells the rest. `sop mcp`, which goes on
when the gateway it talks with does not, asks again, as long as the call may wait.
"""

import time
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

import anyio
import orjson
from pydantic import Field

from gateway.client.errors import GatewayError, Refused, refused
from gateway.client.following import address
from gateway.client.transport import part
from gateway.mcp.api import Lines
from gateway.mcp.paging import DEFAULT_ROWS
from gateway.mcp.run_rows import some_rows
from gateway.mcp.tools import Call

PATIENCE: Final = 25.0
"""Seconds that a call waits if it does not say: many clients give up after a minute, or after thirty seconds."""
LONGEST: Final = 600.0
MAX_RESULT: Final = 32 * 1024
"""A result's JSON, in the answer."""
_PAUSE: Final = 0.25
Wait = Annotated[
    float, Field(ge=0, le=LONGEST, description="wait so many seconds for the end of the run before you get its id only")
]


@dataclass(frozen=True)
class Run:
    """A run, and how its result is read."""

    call: Call
    run_id: str
    method: str
    path: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, call: Call, run_id: str) -> "Run":
        """A run that there is."""
        return cls(call, run_id, "GET", address(run_id, "/events"))

    @classmethod
    def to_start(cls, call: Call, script: str, body: Mapping[str, Any], key: str) -> "Run":
        """A run that starts when it is opened first, and is found again afterwards."""
        options = {"json": body, "headers": {"Idempotency-Key": key}}
        return cls(call, key, "POST", f"/v1/call/{part(script)}", options)

    def open(self, **params: Any) -> AbstractAsyncContextManager[Lines]:
        """Its result, in a form. Raises GatewayError."""
        return self.call.api.lines(self.method, self.path, params=params, **self.options)


async def follow(run: Run, wait: float) -> dict[str, Any]:
    """How a run ended: {run_id, state, result or rows or error}; or, if that takes longer, {run_id, state: running, hint}."""
    end: Mapping[str, Any] | None = None
    deadline = time.monotonic() + wait
    after = 0
    while end is None:
        try:
            async with run.open(format="ndjson", after=after) as lines:  # now it has started, however short the wait is
                with anyio.move_on_after(deadline - time.monotonic()):
                    async for record in lines.records():
                        if record["type"] == "error":
                            raise refused(record["error"]["status"], record["error"])
                        after = record["seq"]
                        if record["type"] == "run" and record["status"] != "started":
                            end = record
                            break
                        await run.call.progress(after, _message(record))
        except GatewayError as error:
            if run.call.api.stopping():
                raise _stopped(run, error) from None
            if not error.retryable or time.monotonic() > deadline:
                raise
        if end is None:
            if time.monotonic() >= deadline:
                return _going_on(run)
            await anyio.sleep(_PAUSE)
    return await _told(run, end)


def _going_on(run: Run) -> dict[str, Any]:
    return {"run_id": run.run_id, "state": "running", "hint": _hint(run)}


def _stopped(run: Run, error: GatewayError) -> GatewayError:
    """What the gateway's end is to whoever waits for a run: nothing is waited for here any more, but by another gateway."""
    if not isinstance(error, Refused) or error.code != "gateway_stopping":
        return error
    return refused(error.status, {**error.problem, "hint": _hint(run), "run_id": run.run_id})


def _hint(run: Run) -> str:
    hint = f"the run goes on: get_run with run_id {run.run_id!r} tells how it stands, cancel_run stops it"
    if run.method == "POST":
        hint += "; start_run with the same arguments and this idempotency_key waits on"
    return hint


async def _told(run: Run, end: Mapping[str, Any]) -> dict[str, Any]:
    """The end of a run, as an answer."""
    found: dict[str, Any] = {"run_id": run.run_id, "state": end["status"]}
    if end["status"] != "completed":
        return {
            **found,
            "error": end.get("error") or {"code": end["status"], "message": f"the run was {end['status']}"},
        }
    if "rows" in end:
        async with run.open(format="csv", guard="false") as lines:
            return {**found, "rows": await some_rows(lines, DEFAULT_ROWS, 0)}
    size = len(orjson.dumps(end.get("result")))
    if size > MAX_RESULT:
        hint = f"the resource sop://runs/{part(run.run_id)} has it whole; if it is a list of objects, get_run_rows reads it in pages"
        return {**found, "result_bytes": size, "hint": hint}
    return {**found, "result": end.get("result")}


def _message(record: Mapping[str, Any]) -> str:
    if record["type"] == "run":
        return f"run {record['run_id']} of {record.get('script')}: {record['status']}"
    return f"{record.get('path') or record['type']}: {record['status']}"


__all__ = ["LONGEST", "PATIENCE", "Run", "Wait", "follow"]
