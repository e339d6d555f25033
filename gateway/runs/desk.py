"""Runs for the tools of sessions: asked for in a worker's thread, started by the loop that has the connection to Temporal."""

import asyncio
import hashlib
from dataclasses import dataclass, field
from typing import Any, Final

from temporalio.client import Client
from temporalio.service import RPCError

from gateway.operations.metrics import Metrics
from gateway.problems import ApiError, translate
from gateway.runs.starting import RunRequest, start_run
from toolbox import Registry, ScriptLibrary, ToolError
from toolbox.access import Access

PATIENCE: Final = 60.0
"""Seconds to wait for Temporal; then the step fails, and may be tried again."""


@dataclass(frozen=True)
class Starting:
    """What starting a run takes."""

    client: Client
    registry: Registry
    library: ScriptLibrary
    task_queue: str
    metrics: Metrics = field(default_factory=Metrics)


class RunDesk:
    """The `toolbox.authoring.desk.RunDesk` of a worker. Called in another thread than the loop's."""

    def __init__(self, here: Starting, loop: asyncio.AbstractEventLoop) -> None:
        self._here = here
        self._loop = loop

    def start(
        self, script: str, version: str | None, arguments: dict[str, Any], mocks: list[str], key: str, access: Access
    ) -> dict[str, Any]:
        """{run_id, script, version}; the same key is the same run. Raises ToolError for every refusal, with its code."""
        programs = self._here.library.closure(script, version)
        request = RunRequest(arguments=arguments, version=programs[0].hash, mocks=mocks)
        run_id = f"run-{hashlib.sha256(key.encode()).hexdigest()[:24]}"
        work = start_run(self._here, script, request, run_id, access=access, trigger="session")
        asked = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            handle = asked.result(PATIENCE).handle
        except TimeoutError:
            asked.cancel()
            raise refusal(ApiError("temporal_unavailable", "Temporal does not answer", retryable=True)) from None
        except (ApiError, RPCError) as error:
            raise refusal(translate(error)) from error
        return {"run_id": handle.id, "script": script, "version": programs[0].hash}


def refusal(error: ApiError) -> ToolError:
    """What a tool says of a request that was refused."""
    place = error.errors[0] if error.errors else {}
    found = ToolError(error.message, pointer=place.get("pointer"), hint=error.hint or place.get("hint"))
    found.code, found.retryable = error.code, error.retryable
    return found
