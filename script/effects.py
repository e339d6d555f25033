"""What a machine says to its driver: an effect to perform, the end, or that others should have a turn."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Effect:
    """Something to be done outside. `kind` is call, child, commit, rollback, chunk, dispatch or sleep; `call` holds
    the fields of the matching wire dataclass (sleep: seconds)."""

    id: str
    kind: str
    call: dict[str, Any]


@dataclass(frozen=True)
class Done:
    """The end: status completed, failed or canceled (in a chunk: iterated or stopped), with a value or an error."""

    status: str
    value: Any = None
    error: dict[str, Any] | None = None


@dataclass(frozen=True)
class Yielded:
    """Fuel is used up: call `step` again after giving others a turn."""


class StepFailure(Exception):
    """A step failed with `error`; caught by the machine, never leaves it."""

    def __init__(self, code: str, message: str, **more: Any) -> None:
        super().__init__(message)
        self.error = {"code": code, "message": message, "retryable": False, **more}
