"""Matches of stretches with few rows on one side, searched for one by one: only of rows that match texts are made."""

from bisect import bisect_left
from collections.abc import Iterator

from query.joins.columns import NULL, TEXTS, JoinedRows
from query.joins.matching import Matcher
from query.joins.readers import Reader


class Singles:
    """Rows of stretches with few matches, collected: a match is searched for by itself, and only its left text is made."""

    def __init__(self, matcher: Matcher) -> None:
        self._matcher = matcher
        self._keys: list[bytes] = []
        self._left: list[bytes] = []
        self._right: list[bytes] = []
        self._size = 0
        self._wanted = 1

    @property
    def enough(self) -> bool:
        """Whether there are so many that they should be passed on: few at first."""
        return len(self._keys) >= self._wanted or self._size > TEXTS

    def add(self, left: Reader, left_end: int, right: Reader, right_end: int) -> None:
        """The matches of some right rows, each of which has another join key, or whose number does not matter."""
        joins, at, part = left.joins, left.at, left.part
        before = None
        others = right.joins
        for index in range(right.at, right_end):
            join = others[index]
            if join == before:
                continue
            before = join
            at = bisect_left(joins, join, at, left_end)
            while at < left_end and joins[at] == join:
                text = part.text(at)
                self._keys.append(part.keys[at])
                self._left.append(text)
                self._size += len(text)
                if not self._matcher.only_left:
                    other = right.part.text(index)
                    self._right.append(other)
                    self._size += len(other)
                at += 1

    def add_left(self, left: Reader, left_end: int, right: Reader, right_end: int) -> None:
        """What some left rows make of right rows that are unique, or whose number does not matter."""
        matcher, part = self._matcher, left.part
        joins, at, wanted = right.joins, right.at, left.joins
        for index in range(left.at, left_end):
            join = wanted[index]
            at = bisect_left(joins, join, at, right_end)
            met = at < right_end and joins[at] == join
            if matcher.only_left:
                if met == matcher.passes_left:
                    continue
            elif met or matcher.passes_left:
                other = right.part.text(at) if met else NULL
                self._right.append(other)
                self._size += len(other)
            else:
                continue
            text = part.text(index)
            self._keys.append(part.keys[index])
            self._left.append(text)
            self._size += len(text)

    def rows(self) -> Iterator[JoinedRows]:
        """What was collected."""
        if self._keys:
            keys, left, right = self._keys, self._left, self._right
            self._keys, self._left, self._right, self._size = [], [], [], 0
            self._wanted = min(256, self._wanted * 8)
            if self._matcher.only_left:
                yield from self._matcher.left_rows(keys, left)
            else:
                yield from self._matcher.pairs(keys, left, right)
