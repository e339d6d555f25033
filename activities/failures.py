"""Errors at the border: from the exceptions of the layers below to the one error shape that scripts see.

    BTreeError, QueryError, ToolError, ScriptError    carry code, message, hint and retryable themselves
    ChunkFailed, TransactionLost                      of this layer
    anything else                                     a defect of ours: retried by Temporal, told with its type

`ApplicationError` is made only here. A `conflict` or `transaction_lost` is not retried by Temporal: the machine runs the
transaction again from its beginning instead.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio.exceptions import ApplicationError

from activities.errors import ChunkFailed, TransactionLost
from btree import BTreeError
from query import QueryError
from script.errors import ScriptError
from script.machine.transactions import RERUN
from toolbox import ToolError


def error_of(error: BaseException) -> dict[str, Any] | None:
    """The error {code, message, retryable, ...} of an exception of ours; None for any other."""
    if isinstance(error, ChunkFailed):
        return error.error
    if isinstance(error, TransactionLost):
        return {"code": "transaction_lost", "message": str(error), "retryable": True}
    if isinstance(error, BTreeError | QueryError | ToolError | ScriptError):
        return dict(error.to_dict())
    return None


def application_error(error: BaseException) -> ApplicationError:
    """What an activity raises. Its first detail is the whole error with the time."""
    found = error_of(error)
    if found is None:
        found = {"code": "internal", "message": f"{type(error).__name__}: {error}", "retryable": True}
    retried = bool(found.get("retryable")) and found["code"] not in RERUN
    detail = {**found, "at": timestamp()}
    pause = (found.get("details") or {}).get("retry_after")
    delay = timedelta(seconds=pause) if pause else None
    return ApplicationError(
        found["message"], detail, type=found["code"], non_retryable=not retried, next_retry_delay=delay
    )


def timestamp() -> str:
    """Now, as outcomes carry it: ISO 8601, UTC, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
