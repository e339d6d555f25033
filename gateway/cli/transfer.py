"""Files up and down, in pieces, with a progress bar on a terminal.

A download goes to FILE.partial, is checked against the length and the digest that the gateway told, made durable, and gets its
name only then: a file of that name is always whole.
"""

import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

import httpx2
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from gateway.cli.failures import CONFLICT, RUN_FAILED, USAGE, CommandFailed
from gateway.digests import digest_text

_PIECE: Final = 256 * 1024


def pieces(opened: BinaryIO, size: int, label: str) -> Iterator[bytes]:
    """A file, piece by piece."""
    with _progress(label, size) as (progress, task):
        while piece := opened.read(_PIECE):
            yield piece
            progress.update(task, advance=len(piece))


def check_free(file: Path) -> None:
    """Ends the command if there is a file of that name."""
    if file.exists():
        raise CommandFailed(CONFLICT, f"error: {file} is there already", "hint: choose another name, or remove it")


def save(answer: httpx2.Response, file: Path, label: str) -> int:
    """Write an answer's body to a new file; its length. Ends the command if it did not arrive whole."""
    partial = file.with_name(file.name + ".partial")
    try:
        with partial.open("wb") as target:
            size = _write(answer, target, label)
            target.flush()
            os.fsync(target.fileno())
        check_free(file)
        partial.rename(file)
    except OSError as error:
        raise CommandFailed(USAGE, f"error: {file}: {error.strerror or error}") from None
    finally:
        partial.unlink(missing_ok=True)
    return size


def _write(answer: httpx2.Response, target: BinaryIO, label: str) -> int:
    told, size, digest = int(answer.headers["content-length"]), 0, hashlib.sha256()
    with _progress(label, told) as (progress, task):
        for piece in answer.iter_raw():
            target.write(piece)
            digest.update(piece)
            size += len(piece)
            progress.update(task, advance=len(piece))
    if size != told or digest_text(digest.digest()) != answer.headers.get("repr-digest"):
        raise CommandFailed(RUN_FAILED, f"error: what arrived is not what was sent ({size} bytes)", "hint: try again")
    return size


@contextmanager
def _progress(label: str, total: int) -> Iterator[tuple[Progress, Any]]:
    columns = (TextColumn(label), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as progress:
        yield progress, progress.add_task(label, total=total)
