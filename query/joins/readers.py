"""A side of a merge join with its loaded part, and what two sides have alike from where they stand."""

from bisect import bisect_right
from typing import Final

from query.joins.sides import NULL_KEY, Part, Side, mark_nulls

_PATIENCE: Final = 3
"""After so many parts without a chance of a match a side jumps."""


class Reader:
    """A side with its loaded part: the rows from `at` on are not used yet. At the end it is not `there`."""

    def __init__(self, side: Side, *, count: int = 0, since: bytes | None = None, after: bytes | None = None) -> None:
        self._side = side
        self._parts = side.parts(since, after)
        self._nulls = count
        self._waited = 0
        self._joins: list[bytes] | None = None
        self.jumps = 0
        self.part: Part
        self.there = True
        self.at = 0
        self.load()

    @property
    def joins(self) -> list[bytes]:
        """The join keys of the part, those with a null marked."""
        if self._joins is None:
            joins = self.part.joins
            if self._nulls and (self._nulls > 1 or joins[0] <= NULL_KEY):  # in order: a single null comes first
                joins = mark_nulls(joins, self._nulls)
            self._joins = joins
        return self._joins

    def load(self) -> None:
        """The next part."""
        part = next(self._parts, None)
        self.at = 0
        self._joins = None
        if part is None:
            self.there = False
        else:
            self.part = part

    def advance(self, at: int) -> None:
        """Go on to a place in the part, or to the next part if that is its end."""
        self._waited = 0
        self.at = at
        if at == self.part.count:
            self.load()

    def pass_over(self, join: bytes) -> None:
        """Go on behind the rows with this join key, if it stands on one."""
        while self.there and self.joins[self.at] == join:
            self.advance(bisect_right(self.joins, join, self.at))

    def wait_for(self, join: bytes, *, jump: bool) -> None:
        """Leave the part, which lies before a join key of the other side."""
        self._waited += 1
        if jump and self._waited > _PATIENCE:
            self.jumps += 1
            self.open_at(join)
        else:
            self.load()

    def open_at(self, join: bytes) -> None:
        """Go on at the first row with this join key, or behind where it would stand."""
        self._waited = 0
        self._parts = self._side.parts(join)
        self.load()


def alike(left: Reader, right: Reader) -> int:
    """How many rows from here on have the same join keys on both sides, to the end of a part; 0 if not all have.

    Of sides whose rows each have a join key of one value that no other has. Keys of one length are compared as they stand in the pages.
    """
    one, other = left.part.packed_joins(), right.part.packed_joins()
    if one is None or other is None:
        return 0
    width, joins = one
    wide, others = other
    if width != wide or width == len(NULL_KEY):
        return 0
    count = min(left.part.count - left.at, right.part.count - right.at)
    if left.at or len(joins) > count * width:
        joins = joins[left.at * width : (left.at + count) * width]
    if right.at or len(others) > count * width:
        others = others[right.at * width : (right.at + count) * width]
    return count if joins == others else 0
