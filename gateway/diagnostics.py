"""GET /v1/diagnostics: what `sop doctor` asks a gateway for besides /readyz."""

import os
import platform
import shutil
import statistics
import time
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Final

from fastapi import APIRouter, Request

from gateway.access import access_of
from gateway.product import product_version
from gateway.services import Here

router = APIRouter(prefix="/v1", tags=["health"])

_TIMES: Final = 5
_BLOCK: Final = b"\0" * 4096


@router.get("/diagnostics")
def diagnostics(here: Here, request: Request) -> dict[str, Any]:
    """The gateway's version and clock, whose key this is, the data directory's disk: its room, and how long 4 KiB take to be durable."""
    room = shutil.disk_usage(here.data_dir)
    return {
        "version": product_version(),
        "python": platform.python_version(),
        "time": datetime.now(UTC).isoformat(),
        "key": {"id": request.state.key_id, "name": access_of(request).name},
        "task_queue": here.task_queue,
        "disk": {"free_bytes": room.free, "total_bytes": room.total, "fsync_ms": fsync_milliseconds(here.data_dir)},
    }


def fsync_milliseconds(folder: Path) -> float | None:
    """How long it takes to make 4 KiB durable there (the median of a few times); None if nothing can be written."""
    taken = []
    try:
        with TemporaryFile(dir=folder, buffering=0) as opened:
            for _ in range(_TIMES):
                opened.write(_BLOCK)
                began = time.perf_counter()
                os.fsync(opened.fileno())
                taken.append(time.perf_counter() - began)
    except OSError:
        return None
    return round(statistics.median(taken) * 1000, 3)
