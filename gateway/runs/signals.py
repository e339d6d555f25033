"""Sending a signal to a run."""

from typing import Any

from temporalio.service import RPCError, RPCStatusCode

from gateway.problems import ApiError
from gateway.services import Services


async def send(here: Services, run_id: str, signal: str, *told: Any) -> None:
    """Tell a run something. Raises ApiError `run_closed`."""
    try:
        await here.client.get_workflow_handle(run_id).signal(signal, args=told)
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            raise closed(run_id) from None
        raise


def closed(run_id: str) -> ApiError:
    """The refusal for a run that has ended."""
    return ApiError("run_closed", f"the run {run_id!r} has ended already")
