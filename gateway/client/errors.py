"""What goes wrong between a program and the gateway, as exceptions: each with a stable code, what is wrong, and what to do.

GatewayError
  NotConfigured      no key, a profile that is none, a file of keys that others can read
  Unreachable        no gateway answers there
  TimedOut           it did not answer in time
  CutShort           a stream ended before its end; what came is not all
  RunFailed          a run ended, and not well
  Refused            the gateway's own answer (RFC 9457)
    InvalidRequest     400, 413, 415, 422, ...: something is wrong with the request
    NotAuthenticated   401: the key is missing or not valid
    NotAllowed         403
    NotFound           404
    Conflict           409, 412, 428: it exists already, has ended, or was changed meanwhile
    TooMany            429: later
    GatewayFailed      500 and above
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final


class GatewayError(Exception):
    """`code` is stable, `message` for people; `hint` says what to do; `pointer` is the place that is wrong (a JSON Pointer into the body,
    or `?name`); `retryable` says whether the same request may succeed later."""

    def __init__(
        self, code: str, message: str, *, hint: str | None = None, pointer: str | None = None, retryable: bool = False
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.pointer = pointer
        self.retryable = retryable

    def __str__(self) -> str:
        return f"{self.message} [{self.code}]" + (f" ({self.hint})" if self.hint else "")


class NotConfigured(GatewayError):
    """Where the gateway is, or with which key, cannot be told."""


class Unreachable(GatewayError):
    """No gateway answers there."""


class TimedOut(GatewayError):
    """It did not answer in time; whether it did what was asked is not known."""


class CutShort(GatewayError):
    """A stream ended before its end."""


@dataclass(frozen=True)
class ErrorPlace:
    """One place of a request that is wrong."""

    pointer: str
    detail: str
    code: str
    hint: str | None


class Refused(GatewayError):
    """The gateway's answer is a problem: `problem` as it came, its `status`, all `places` that are wrong, the `request_id` of its log."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status = status
        self.problem = problem
        self.places = tuple(
            ErrorPlace(
                found.get("pointer") or "", found.get("detail", ""), found.get("code", "unknown"), found.get("hint")
            )
            for found in problem.get("errors", [])
        )
        self.request_id: str | None = problem.get("request_id")
        super().__init__(
            problem.get("code", "unknown"),
            problem.get("detail", f"status {status}"),
            hint=problem.get("hint"),
            pointer=self.places[0].pointer if self.places else None,
            retryable=problem.get("retryable", False),
        )


class InvalidRequest(Refused):
    """Something is wrong with the request itself."""


class NotAuthenticated(Refused):
    """The key is missing or not valid."""


class NotAllowed(Refused):
    """The key is not for this."""


class NotFound(Refused):
    """There is no such thing."""


class Conflict(Refused):
    """It exists already, has ended, was changed meanwhile, or the idempotency key means another run."""


class TooMany(Refused):
    """Too many requests for now."""


class GatewayFailed(Refused):
    """The gateway failed, or something behind it does not answer."""


_KINDS: Final[Mapping[int, type[Refused]]] = {
    401: NotAuthenticated,
    403: NotAllowed,
    404: NotFound,
    409: Conflict,
    412: Conflict,
    428: Conflict,
    429: TooMany,
}


def refused(status: int, problem: Mapping[str, Any]) -> Refused:
    """The exception of a problem."""
    kind = _KINDS.get(status, GatewayFailed if status >= 500 else InvalidRequest)
    return (Conflict if problem.get("code") == "idempotency_mismatch" else kind)(status, problem)


class RunFailed(GatewayError):
    """A run ended, and not well: its `state` (failed, canceled), and the step that failed."""

    def __init__(self, run_id: str, state: str, error: Mapping[str, Any] | None) -> None:
        told = error or {}
        self.run_id = run_id
        self.state = state
        self.step: str | None = told.get("step")
        super().__init__(
            told.get("code", state),
            told.get("message") or told.get("detail") or f"the run {run_id} was {state}",
            hint=told.get("hint"),
        )
