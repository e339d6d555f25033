"""Health: /livez answers while the process can; /readyz says whether a run would get anywhere, with reasons if not."""

import asyncio
import time
from datetime import timedelta
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Final

from fastapi import APIRouter
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest

from gateway.operations.upkeep import free_bytes, late_sweep
from gateway.problems import ApiError, place
from gateway.services import Here, Services

router = APIRouter(tags=["health"])

PATIENCE: Final = timedelta(seconds=2)
POLLER_AGE: Final = 75
"""Seconds: a long poll of a living worker is at most a minute old."""


@router.get("/livez")
async def livez() -> dict[str, str]:
    """The process runs."""
    return {"status": "alive"}


@router.get("/readyz")
async def readyz(here: Here) -> dict[str, Any]:
    """Temporal answers, a worker polls, the data directory can be written and has room; `warnings` are of what is no reason yet."""
    temporal, worker, directory = await asyncio.gather(
        _temporal(here), missing_worker(here), asyncio.to_thread(_writable, here.data_dir, here.min_free_bytes)
    )
    checks = {"temporal": temporal, "worker": worker, "data_dir": directory}
    if here.stopping.is_set():
        checks["gateway"] = "it is stopping"
    wrong = [place(f"{name}_not_ready", text, f"/checks/{name}") for name, text in checks.items() if text]
    if wrong:
        raise ApiError("not_ready", "; ".join(found["detail"] for found in wrong), errors=wrong, retryable=True)
    late = await asyncio.to_thread(late_sweep, here.data_dir, here.sweep_seconds, time.time())
    return {"status": "ready", "checks": dict.fromkeys(checks, "ok"), "warnings": [late] if late else []}


async def _temporal(here: Services) -> str | None:
    try:
        healthy = await here.client.service_client.check_health(timeout=PATIENCE)
    except Exception as error:
        return f"Temporal does not answer ({type(error).__name__})"
    return None if healthy else "Temporal says that it is not serving"


async def missing_worker(here: Services) -> str | None:
    """Why nothing would be worked on now, if that is so."""
    request = DescribeTaskQueueRequest(
        namespace=here.client.namespace,
        task_queue=TaskQueue(name=here.task_queue),
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    )
    try:
        answer = await here.client.workflow_service.describe_task_queue(request, timeout=PATIENCE)
    except Exception as error:
        return f"Temporal does not tell about workers ({type(error).__name__})"
    ages = [time.time() - poller.last_access_time.seconds for poller in answer.pollers]
    return None if ages and min(ages) < POLLER_AGE else f"no worker polls the task queue {here.task_queue!r}"


def _writable(data_dir: Path, least: int) -> str | None:
    try:
        with NamedTemporaryFile(dir=data_dir, prefix=".ready-"):
            left = free_bytes(data_dir)
    except OSError as error:
        return f"the data directory cannot be written: {error.strerror}"
    return f"the disk of the data directory has {left} bytes left, less than {least}" if left < least else None
