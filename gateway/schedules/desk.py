"""Schedules for the tools of scripts: asked for in a worker's thread, answered by the loop that has the connection to Temporal."""

import asyncio
import hashlib
from collections.abc import Coroutine
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from temporalio.service import RPCError

from gateway.problems import ApiError, translate
from gateway.runs.desk import PATIENCE, refusal
from gateway.schedules.requests import Backfill, ScheduleRequest
from gateway.schedules.scheduling import Schedules
from toolbox import InvalidArguments, ToolError

Model = TypeVar("Model", bound=BaseModel)
Value = TypeVar("Value")


class ScheduleDesk:
    """The `toolbox.context.ScheduleDesk` of a worker. Every method is called in another thread than the loop's."""

    def __init__(self, schedules: Schedules, loop: asyncio.AbstractEventLoop) -> None:
        self._schedules = schedules
        self._loop = loop

    def create(self, asked: dict[str, Any], key: str) -> dict[str, Any]:
        """A new schedule, or the one that the same key has made before."""
        body = _checked(ScheduleRequest, asked)
        if body.id is None:
            body = body.model_copy(update={"id": f"{body.script}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"})
        return self._wait(self._schedules.create(body, key))

    def preview(self, asked: dict[str, Any]) -> dict[str, Any]:
        """What a schedule would be, with its next times; nothing is made."""
        return self._wait(self._schedules.create(_checked(ScheduleRequest, {**asked, "dry_run": True})))

    def list(self) -> list[dict[str, Any]]:
        """All of them."""
        return self._wait(self._schedules.list())

    def pause(self, schedule_id: str, note: str, paused: bool) -> dict[str, Any]:
        """Start no more runs, or go on."""
        return self._wait(self._schedules.pause(schedule_id, note, paused=paused))

    def trigger(self, schedule_id: str, key: str) -> dict[str, Any]:
        """Run it now."""
        return self._wait(self._schedules.trigger(schedule_id, key))

    def backfill(self, schedule_id: str, asked: dict[str, Any], key: str) -> dict[str, Any]:
        """Run it for past times."""
        return self._wait(self._schedules.backfill(schedule_id, _checked(Backfill, asked), key))

    def delete(self, schedule_id: str) -> bool:
        """Remove it; whether it was there."""
        try:
            self._wait(self._schedules.delete(schedule_id))
        except ToolError as error:
            if error.code != "schedule_not_found":
                raise
            return False
        return True

    def _wait(self, work: Coroutine[Any, Any, Value]) -> Value:
        """The answer. Raises ToolError for every refusal, with its code."""
        asked = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return asked.result(PATIENCE)
        except TimeoutError:
            asked.cancel()
            raise refusal(ApiError("temporal_unavailable", "Temporal does not answer", retryable=True)) from None
        except (ApiError, RPCError) as error:
            raise refusal(translate(error)) from error


def _checked(model: type[Model], asked: dict[str, Any]) -> Model:
    try:
        return model.model_validate(asked)
    except ValidationError as error:
        first = error.errors()[0]
        pointer = "".join(f"/{part}" for part in first["loc"])
        raise InvalidArguments(f"{pointer}: {first['msg']}", pointer=pointer) from None
