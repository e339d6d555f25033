"""Errors of performing effects."""

from typing import Any

from toolbox import ToolError


class TransactionLost(Exception):
    """The run's transaction is gone (its lease expired): it has to run again from its beginning."""


class WaitInBatch(ToolError):
    """The body of a batch waits for a person, or so long that its transaction should not be open meanwhile."""

    code = "wait_in_batch"


class ChunkFailed(Exception):
    """The body of a batch failed for one element; `error` is its error, with the element's position as `ordinal`."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error["message"])
        self.error = error
