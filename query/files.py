"""Files beside the databases: their errors as those of the engine, and names that stay after a power loss."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from btree import DiskFull, StorageError


@contextmanager
def storage_errors(what: str) -> Iterator[None]:
    """What the operating system refuses as DiskFull or StorageError; `what` says what could not be done."""
    try:
        yield
    except OSError as error:
        message = f"{what}: {error.strerror or error}"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(message, hint="make room, then try again") from error
        raise StorageError(message, hint="look at the disk, and the permissions of the data directory") from error


def make_durable(folder: Path) -> None:
    """Write down which names a folder has."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
