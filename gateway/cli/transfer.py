"""Files up and down, in pieces, with a progress bar on a terminal; and how long other work goes on.

What is downloaded goes to FILE.partial, is made durable, and gets its name only when it is whole: a file of that name is always whole. A
backup is whole if it has the length and the digest that the gateway told; for rows see `rows`.
"""

import gzip
import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, cast

from gateway.cli.failures import CONFLICT, RUN_FAILED, USAGE, CommandFailed
from gateway.cli.options import options
from gateway.digests import digest_text

if TYPE_CHECKING:
    import httpx2
    from rich.progress import Progress, ProgressColumn

_PIECE: Final = 256 * 1024


def pieces(opened: BinaryIO, size: int, label: str) -> Iterator[bytes]:
    """A file, piece by piece."""
    with progress_bar(label, size) as (progress, task):
        while piece := opened.read(_PIECE):
            yield piece
            progress.update(task, advance=len(piece))


def check_free(file: Path) -> None:
    """Ends the command if there is a file of that name."""
    if file.exists():
        raise CommandFailed(CONFLICT, f"error: {file} is there already", "hint: choose another name, or remove it")


@contextmanager
def new_file(file: Path) -> Iterator[BinaryIO]:
    """A new file to write, which gets its name when the block ends well; packed if the name ends in .gz."""
    partial = file.with_name(file.name + ".partial")
    try:
        with partial.open("wb") as target:
            if file.suffix == ".gz":
                with gzip.GzipFile(fileobj=target, mode="wb", filename="", mtime=0) as packed:
                    yield cast(BinaryIO, packed)
            else:
                yield target
            target.flush()
            os.fsync(target.fileno())
        check_free(file)
        partial.rename(file)
    except OSError as error:
        raise CommandFailed(USAGE, f"error: {file}: {error.strerror or error}") from None
    finally:
        partial.unlink(missing_ok=True)


def save(answer: "httpx2.Response", file: Path, label: str) -> int:
    """Write an answer's body to a new file; its length. Ends the command if it did not arrive whole."""
    with new_file(file) as target:
        return _write(answer, target, label)


def _write(answer: "httpx2.Response", target: BinaryIO, label: str) -> int:
    told, size, digest = int(answer.headers["content-length"]), 0, hashlib.sha256()
    with progress_bar(label, told) as (progress, task):
        for piece in answer.iter_raw():
            target.write(piece)
            digest.update(piece)
            size += len(piece)
            progress.update(task, advance=len(piece))
    if size != told or digest_text(digest.digest()) != answer.headers.get("repr-digest"):
        raise CommandFailed(RUN_FAILED, f"error: what arrived is not what was sent ({size} bytes)", "hint: try again")
    return size


@contextmanager
def progress_bar(label: str, total: int | None, shown: bool = True) -> Iterator[tuple["Progress", Any]]:
    """A bar on stderr, if that is a terminal; without a total it only counts."""
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = [TextColumn(label), BarColumn(), DownloadColumn(), TransferSpeedColumn()]
    with _progress(*columns, *([TimeRemainingColumn()] if total else []), shown=shown) as progress:
        yield progress, progress.add_task(label, total=total)


@contextmanager
def waiting(label: str) -> Iterator[None]:
    """On a terminal, how long something has been going on of which nobody tells how far it is."""
    from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

    with _progress(SpinnerColumn(), TextColumn(label), TimeElapsedColumn()) as progress:
        progress.add_task(label, total=None)
        yield


def _progress(*columns: "ProgressColumn", shown: bool = True) -> "Progress":
    from rich.console import Console
    from rich.progress import Progress

    hidden = not shown or options().quiet or not sys.stderr.isatty()
    console = Console(stderr=True, no_color=options().no_color or None)
    return Progress(*columns, console=console, disable=hidden, transient=True)
