"""From Temporal's exceptions to the error of an outcome.

An application error carries the whole error as its first detail; every other kind (a time-out, a terminated child) has a
code of ours and its text. The gateway does the same with the failures that it finds in a history (`gateway/runs/watch.py`),
through the same `wire.failure`.
"""

from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    ChildWorkflowError,
    TerminatedError,
    TimeoutError,
    WorkflowAlreadyStartedError,
    is_cancelled_exception,
)

from script.wire import GIVEN_UP, Outcome, failure


def timed_out() -> Outcome:
    """A step, or a child run, that did not answer in time."""
    return Outcome(None, failure("timeout", "the step did not answer in time"))


def child_not_started() -> Outcome:
    """A child run that could not be started: one of its id is there."""
    return Outcome(None, failure("child_not_started", "a child run with this id is there already"))


def outcome_of_failure(error: BaseException) -> Outcome:
    """The outcome of an effect that ended with `error`."""
    if is_cancelled_exception(error):
        return GIVEN_UP
    cause: BaseException = error
    while isinstance(cause, ActivityError | ChildWorkflowError) and cause.cause is not None:
        cause = cause.cause
    if isinstance(cause, ApplicationError):
        details = cause.details[0] if cause.details and isinstance(cause.details[0], dict) else None
        found = failure(cause.type or "failed", cause.message, details)
        return Outcome(None, found, found.get("at"))
    if isinstance(cause, TimeoutError):
        return timed_out()
    if isinstance(cause, WorkflowAlreadyStartedError):
        return child_not_started()
    if isinstance(cause, TerminatedError):
        return Outcome(None, failure("terminated", "the child run was terminated"))
    return Outcome(None, failure("failed", str(cause) or type(cause).__name__))
