"""What a machine says to its driver: what to do and what to give up, the end, or that others should have a turn."""

from dataclasses import dataclass, field
from typing import Any, Final

import orjson


@dataclass(frozen=True)
class Effect:
    """Something to be done outside. `kind` is call, child, commit, rollback, restore, partition, chunk, dispatch, sleep, timer or
    approval.

    `call` holds the fields of the matching wire dataclass (sleep and timer: seconds and until; approval: by, prompt).
    """

    id: str
    kind: str
    call: dict[str, Any]


@dataclass(frozen=True)
class Waiting:
    """Nothing goes on before an outcome comes. `start` are effects to begin now, `cancel` those to be given up.

    A timer or an approval that is given up has no outcome; all others end as soon as they can, and how they ended is an outcome.
    """

    start: list[Effect] = field(default_factory=list)
    cancel: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Done:
    """The end: status completed, failed, canceled, compensated or compensation_failed (in a chunk: iterated or stopped),
    with a value or an error."""

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


TIMERS: Final = ("sleep", "timer", "approval")
"""Kinds that leave nothing behind when they are given up."""

PORTION_BYTES: Final = 1 << 20
"""Of JSON, that a driver asks for at once: more than 4 MB in one workflow task would end a run."""


def portions(effects: list[Effect]) -> list[list[Effect]]:
    """Effects to be begun together: one portion after the other. A small number of effects is one portion."""
    found: list[list[Effect]] = [[]]
    size = 0
    for effect in effects:
        size += len(orjson.dumps(effect.call))
        if size > PORTION_BYTES and found[-1]:
            found.append([])
            size = len(orjson.dumps(effect.call))
        found[-1].append(effect)
    return found
