"""Several pages as one slice: what is done once for each slice of a side is done less often.

Only pages of many rows are put together, and the first ones stay by themselves, for whoever wants only the first rows
or jumps on.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from btree import LeafSlice
from query.selects.access import Slice

_FIRST: Final = 4
_PAGES: Final = 8
SMALL: Final = 16
"""A page of fewer rows has large ones."""


class Pages:
    """Stretches of pages that follow each other."""

    __slots__ = ("_parts", "count")

    def __init__(self, parts: Sequence[LeafSlice]) -> None:
        self._parts = parts
        self.count = sum([part.count for part in parts])

    @property
    def keys(self) -> list[bytes]:
        return _chained([part.keys for part in self._parts])

    @property
    def values_json(self) -> bytes:
        return b",\n".join([part.values_json for part in self._parts])

    def values(self) -> list[bytes]:
        return _chained([part.values_json.rsplit(b",\n") for part in self._parts])

    def value(self, index: int) -> bytes:
        """One value, without making the others."""
        for part in self._parts:
            if index < part.count:
                return part.value(index)
            index -= part.count
        raise IndexError(index)

    def packed_keys(self) -> tuple[int, bytes] | None:
        """The keys one behind the other, and how long each is; None where that is not at hand."""
        found, width = [], None
        for part in self._parts:
            packed = part.packed_keys()
            if packed is None or width not in (None, packed[0]):
                return None
            width = packed[0]
            found.append(packed[1])
        return (width, b"".join(found)) if width is not None else None


def lines(part: LeafSlice | Pages) -> list[bytes]:
    """The values, each with a comma behind it: they are divided sooner so."""
    if isinstance(part, Pages):
        return _chained([lines(page) for page in part._parts])
    found = part.values_json.split(b"\n")
    found[-1] += b","
    return found


def _chained(lists: list[list[bytes]]) -> list[bytes]:
    found: list[bytes] = []
    for some in lists:
        found += some
    return found


def put_together(source: Iterator[Slice]) -> Iterator[tuple[Slice, int]]:
    """Slices, and of how many pages each is."""
    pages: list[LeafSlice] = []
    read = 0
    for part in source:
        read += 1
        if read > _FIRST and isinstance(part, LeafSlice) and part.count >= SMALL:
            pages.append(part)
            if len(pages) == _PAGES:
                yield Pages(pages), _PAGES
                pages = []
            continue
        if pages:
            yield Pages(pages), len(pages)
            pages = []
        yield part, 1
    if pages:
        yield Pages(pages), len(pages)
