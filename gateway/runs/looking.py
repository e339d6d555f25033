"""Looking at a run.

A run's state is Temporal's word for it, in our words. The output of a finished run, or its error, comes with the
description, so that a client that does not stream needs one request only.

Where a running run is, and what it waits for, its worker tells, by a query: it has the machine at hand, costs no history and is never
behind the history. (A fold of the whole history here would tell the same, and read up to 50,000 events for it, or keep a machine
for each run that somebody once asked for.) Without a worker there is no answer, and the description says so.
"""

from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import quote

from temporalio.client import (
    Client,
    WorkflowExecution,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowQueryFailedError,
)
from temporalio.common import SearchAttributeKey
from temporalio.service import RPCError, RPCStatusCode

from gateway.problems import ApiError
from gateway.runs.signals import closed
from gateway.services import Services
from script.machine.events import told_rerun
from script.wire import STANDING_QUERY, WORKFLOW_TYPE, RunInput, RunOutput, failure
from workflows.failures import outcome_of_failure

_STATES: Final = {
    WorkflowExecutionStatus.RUNNING: "running",
    WorkflowExecutionStatus.CONTINUED_AS_NEW: "running",
    WorkflowExecutionStatus.COMPLETED: "completed",
    WorkflowExecutionStatus.FAILED: "failed",
    WorkflowExecutionStatus.CANCELED: "canceled",
    WorkflowExecutionStatus.TERMINATED: "terminated",
    WorkflowExecutionStatus.TIMED_OUT: "timed_out",
}
RERUN_MEMO: Final = "sop_rerun"
"""In the memo of a run that repeats another one: {of, from}."""

_PATIENCE: Final = timedelta(seconds=5)
"""For a worker that has just been started: the server waits two seconds for the one before, and the workflow is replayed."""
_SILENT: Final = (RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.FAILED_PRECONDITION, RPCStatusCode.CANCELLED)

_ENDED: Final = {
    "canceled": failure("canceled", "the run was canceled"),
    "terminated": failure("terminated", "the run was terminated"),
    "timed_out": failure("timeout", "the run was not finished in time"),
}


async def require_run(here: Services, run_id: str) -> WorkflowExecution:
    """The run. Raises ApiError `run_not_found`, also for workflows that are no runs, or runs of another installation."""
    try:
        found = await here.client.get_workflow_handle(run_id).describe()
    except RPCError as error:
        if error.status not in (RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT):
            raise
        found = None
    if found is None or found.workflow_type != WORKFLOW_TYPE or found.task_queue != here.task_queue:
        raise ApiError(
            "run_not_found",
            f"there is no run {run_id!r}",
            hint="runs are kept for Temporal's retention time after their end; GET /v1/runs lists them",
        )
    return found


async def require_running(here: Services, run_id: str) -> WorkflowExecution:
    """The run, which goes on. Raises ApiError `run_not_found`, `run_closed`."""
    found = await require_run(here, run_id)
    if found.close_time is not None:
        raise closed(run_id)
    return found


async def describe_run(here: Services, run_id: str) -> dict[str, Any]:
    """A run: state, script, version, arguments, times, where it is, output or error, a link to Temporal."""
    found = await require_run(here, run_id)
    handle = here.client.get_workflow_handle(run_id, run_id=found.run_id, result_type=RunOutput)
    start = await start_input(here.client, run_id, found.run_id)
    told = {
        **head(found),
        "version": start.version or _attribute(found, "SopVersion"),
        "arguments": start.arguments,
        "dry_run": start.dry_run,
        "mocks": start.mocks,
        "temporal": _link(here, found),
    }
    rerun = (await found.memo()).get(RERUN_MEMO)
    if rerun is not None:
        told |= told_rerun(rerun)
    if told["state"] == "running":
        where = await standing(here, run_id)
        paused = where.pop("paused") if where is not None else None
        return {**told, "paused": paused, "where": where}
    try:
        output: RunOutput = await handle.result(follow_runs=False)
        return {**told, "output": output.value}
    except WorkflowFailureError as error:
        return {**told, "error": _ENDED.get(told["state"]) or outcome_of_failure(error.cause).error}


async def standing(here: Services, run_id: str) -> dict[str, Any] | None:
    """How a running run stands (see `script.machine.standing`); None if no worker tells in time, or it is about to begin."""
    try:
        handle = here.client.get_workflow_handle(run_id)
        found: dict[str, Any] | None = await handle.query(STANDING_QUERY, rpc_timeout=_PATIENCE)
    except WorkflowQueryFailedError:
        return None
    except RPCError as error:
        if error.status not in _SILENT:
            raise
        return None
    return found


async def start_input(client: Client, run_id: str, execution: str) -> RunInput:
    async for event in client.get_workflow_handle(run_id, run_id=execution).fetch_history_events(page_size=1):
        payloads = event.workflow_execution_started_event_attributes.input.payloads
        found: RunInput = (await client.data_converter.decode(payloads, [RunInput]))[0]
        return found
    raise ApiError("run_not_found", f"the run {run_id!r} has no history")


def head(found: WorkflowExecution) -> dict[str, Any]:
    """What a list tells about a run."""
    state = _STATES.get(found.status, "unknown") if found.status else "unknown"
    return {
        "id": found.id,
        "state": state,
        "script": _attribute(found, "SopScript"),
        "version": _attribute(found, "SopVersion"),
        "trigger": _attribute(found, "SopTrigger"),
        "outcome": state if state == "completed" else _attribute(found, "SopOutcome"),
        "started_at": _time(found.start_time),
        "ended_at": _time(found.close_time),
    }


def _attribute(found: WorkflowExecution, name: str) -> str | None:
    return found.typed_search_attributes.get(SearchAttributeKey.for_keyword(name))


def _link(here: Services, found: WorkflowExecution) -> str | None:
    if here.temporal_ui is None:
        return None
    return (
        f"{here.temporal_ui.rstrip('/')}/namespaces/{quote(here.client.namespace, safe='')}"
        f"/workflows/{quote(found.id, safe='')}/{found.run_id}/history"
    )


def _time(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="milliseconds") if moment is not None else None
