"""The worker's log of its steps: a line for each that failed, and at debug level for each that went well.

What a step failed with is told by its code only: messages have people's data in them, and are in the run's events, where a key is needed.
A defect of ours is told
with its traceback. The SDK would log each failure with its traceback and the whole of its message (`quiet_sdk`).
"""

import logging
from time import perf_counter
from typing import Any, Final

from temporalio.exceptions import ApplicationError, CancelledError
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

_log = logging.getLogger("worker.steps")
_DEFECT: Final = "internal"


def quiet_sdk() -> None:
    """Leave what the SDK tells of failed activities to this log."""
    logging.getLogger("temporalio.activity").setLevel(logging.ERROR)


class StepLog(Interceptor):
    """To be given to a worker."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _Logged(super().intercept_activity(next))


class _Logged(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        began = perf_counter()
        try:
            done = await super().execute_activity(input)
        except BaseException as error:
            cancelled = isinstance(error, CancelledError) or not isinstance(error, Exception)
            code = error.type if isinstance(error, ApplicationError) else type(error).__name__
            level = logging.INFO if cancelled else logging.WARNING
            _log.log(level, "step failed", extra={"code": code, "ms": _ms(began)}, exc_info=code == _DEFECT)
            raise
        _log.debug("step done", extra={"ms": _ms(began)})
        return done


def _ms(began: float) -> float:
    return round((perf_counter() - began) * 1000, 1)
