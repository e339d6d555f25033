"""Looking at runs: one, described; or a page of them, from Temporal's visibility store.

Several installations may share a Temporal namespace: each sees the runs of its own task queue only.

A run's state is Temporal's word for it, in our words. The output of a finished run, or its error, comes with the
description, so that a client that does not stream needs one request only.
"""

from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

from temporalio.client import Client, WorkflowExecution, WorkflowExecutionStatus, WorkflowFailureError
from temporalio.common import SearchAttributeKey
from temporalio.service import RPCError, RPCStatusCode

from gateway.problems import ApiError
from gateway.services import Services
from script.wire import WORKFLOW_TYPE, RunInput, RunOutput, failure
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
STATES: Final[dict[str, str]] = {
    "running": "Running",
    "completed": "Completed",
    "failed": "Failed",
    "canceled": "Canceled",
    "terminated": "Terminated",
    "timed_out": "TimedOut",
}
"""State of a run -> Temporal's name for it in a visibility query."""

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


async def describe_run(here: Services, run_id: str) -> dict[str, Any]:
    """A run: state, script, version, arguments, times, output or error, a link to Temporal."""
    found = await require_run(here, run_id)
    handle = here.client.get_workflow_handle(run_id, run_id=found.run_id, result_type=RunOutput)
    start = await _start(here.client, run_id, found.run_id)
    told = {
        **head(found),
        "version": start.version or _attribute(found, "SopVersion"),
        "arguments": start.arguments,
        "dry_run": start.dry_run,
        "mocks": start.mocks,
        "temporal": _link(here, found),
    }
    if told["state"] == "running":
        return told
    try:
        output: RunOutput = await handle.result(follow_runs=False)
        return {**told, "output": output.value}
    except WorkflowFailureError as error:
        return {**told, "error": _ENDED.get(told["state"]) or outcome_of_failure(error.cause).error}


async def _start(client: Client, run_id: str, execution: str) -> RunInput:
    async for event in client.get_workflow_handle(run_id, run_id=execution).fetch_history_events(page_size=1):
        payloads = event.workflow_execution_started_event_attributes.input.payloads
        found: RunInput = (await client.data_converter.decode(payloads, [RunInput]))[0]
        return found
    raise ApiError("run_not_found", f"the run {run_id!r} has no history")


def head(found: WorkflowExecution) -> dict[str, Any]:
    """What a list tells about a run."""
    return {
        "id": found.id,
        "state": _STATES.get(found.status, "unknown") if found.status else "unknown",
        "script": _attribute(found, "SopScript"),
        "version": _attribute(found, "SopVersion"),
        "trigger": _attribute(found, "SopTrigger"),
        "outcome": _attribute(found, "SopOutcome"),
        "started_at": _time(found.start_time),
        "ended_at": _time(found.close_time),
    }


async def list_runs(
    here: Services, *, script: str | None, state: str | None, limit: int, cursor: str | None
) -> dict[str, Any]:
    """A page of runs: the open ones, newest first, then the ended ones, the last ended first."""
    about = f"runs/{script}/{state}"
    token = bytes.fromhex(here.cursors.open(about, cursor)) if cursor is not None else None
    clauses = [f"WorkflowType = '{WORKFLOW_TYPE}'", f"TaskQueue = {_quoted(here.task_queue)}"]
    if script is not None:
        clauses.append(f"SopScript = {_quoted(script)}")
    if state is not None:
        clauses.append(f"ExecutionStatus = '{STATES[state]}'")
    page = here.client.list_workflows(" AND ".join(clauses), page_size=limit, next_page_token=token)
    await page.fetch_next_page()
    following = page.next_page_token
    return {
        "data": [head(found) for found in page.current_page or []],
        "has_more": bool(following),
        "next_cursor": here.cursors.seal(about, following.hex()) if following else None,
    }


def _quoted(text: str) -> str:
    """A string of a visibility query. Names hold no quotes; what does is refused."""
    if "'" in text or "\\" in text:
        raise ApiError("invalid_field", f"{text!r} is no name of a script", pointer="?script")
    return f"'{text}'"


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
