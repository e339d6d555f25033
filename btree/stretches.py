"""Cutting some values out of the run of a leaf, without making the others.

The run has the values behind each other, divided by two bytes; the leaf knows where each of them ends. Values that are neighbours in
the run and are both wanted are cut out together, with the divider between them.
"""

from array import array
from collections.abc import Sequence
from typing import Final

_DIVIDER: Final = b",\n"


def cut_out(data: bytes, ends_at: int, count: int, run: int, indexes: Sequence[int]) -> bytes:
    """The run of the values at some places (at least one, in rising order) of the `count` that a leaf has.

    `ends_at` is where the leaf's bytes say, in u32 numbers, where each value ends, counted from `run`.
    """
    ends = array("i", data[ends_at : ends_at + 4 * count])
    ends.append(-len(_DIVIDER))  # and this is the one before the first
    behind = run + len(_DIVIDER)
    first = following = indexes[0]
    parts: list[bytes] = []
    for index in indexes:
        if index != following:
            parts.append(data[behind + ends[first - 1] : run + ends[following - 1]])
            first = index
        following = index + 1
    parts.append(data[behind + ends[first - 1] : run + ends[following - 1]])
    return _DIVIDER.join(parts)
