"""Seeds, the long form, and where the files of these tests go: memory, if the machine has a file system there."""

import os
import random
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

SHARED_MEMORY = Path("/dev/shm")


def long_form() -> bool:
    """Whether every point is wanted and not a sample."""
    return os.environ.get("SOP_LONG_TESTS") == "1"


def test_seed(default: int | None = None) -> int:
    """The seed of this run: SOP_TEST_SEED, or `default`, or a new one."""
    given = os.environ.get("SOP_TEST_SEED")
    if given:
        return int(given)
    return default if default is not None else random.SystemRandom().randrange(1 << 30)


test_seed.__test__ = False  # type: ignore[attr-defined]


@contextmanager
def fast_folder(fallback: Path) -> Iterator[Path]:
    """A folder in memory, or `fallback`; gone afterwards in any case."""
    base = SHARED_MEMORY if SHARED_MEMORY.is_dir() and os.access(SHARED_MEMORY, os.W_OK) else fallback
    folder = Path(tempfile.mkdtemp(prefix="btree-faults-", dir=base))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sampled(points: Sequence[T], count: int, rng: random.Random) -> list[T]:
    """All of the points in the long form; otherwise one of each of `count` equal stretches."""
    if long_form() or len(points) <= count:
        return list(points)
    edges = [len(points) * part // count for part in range(count + 1)]
    return [points[rng.randrange(start, stop)] for start, stop in pairwise(edges)]
