"""Room on the disk, and the last sweep: what goes wrong slowly.

Workers sweep and the gateway tells, in other processes: the time of the last sweep is that of a file in the data directory.
"""

import shutil
from contextlib import suppress
from pathlib import Path
from typing import Final

MARK: Final = ".swept"
LATE: Final = 10
"""So many times the pause between two sweeps, and at least `LATE_SECONDS`, and a sweep is late."""
LATE_SECONDS: Final = 900.0


def mark_swept(data_dir: Path) -> None:
    """Note that all databases were swept just now."""
    with suppress(OSError):  # of a full disk others tell
        (data_dir / MARK).touch()


def swept_at(data_dir: Path) -> float | None:
    """When the databases were last swept, in seconds since 1970; None if that is not known."""
    try:
        return (data_dir / MARK).stat().st_mtime
    except OSError:
        return None


def free_bytes(data_dir: Path) -> int:
    """The room that is left to us on the disk of the data directory. Raises OSError."""
    return shutil.disk_usage(data_dir).free


def late_sweep(data_dir: Path, sweep_seconds: float, now: float) -> str | None:
    """What is wrong with the sweeps, if anything is."""
    last = swept_at(data_dir)
    if last is None or now - last <= max(LATE * sweep_seconds, LATE_SECONDS):
        return None
    return f"the databases were last swept {now - last:.0f} seconds ago: no worker of this data directory sweeps"
