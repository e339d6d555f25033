"""Merge join: both sides in the order of their join keys, page against page, in one synchronized pass.

Each side has one loaded part. Everything up to the smaller of the two last join keys is there on both sides, and is matched at
once; then the side that is used up loads its next part. A side whose part lies before the other's goes on to the next one,
and where that happens again and again, it *jumps*: it is opened anew at the other's join key, by a descent in its tree. A side whose rows
count also unmatched is never jumped over.

The rows with the last join key may go on in the next part. Where a side has no join key twice they cannot; otherwise they are a
*group*: the right rows of the group are collected, and every left row of it meets them all. A group of more than `GROUP` rows is not kept
but read again for each left row, which costs no more than the rows that it makes.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Final

from query.joins.columns import NULL, TEXTS, JoinedRows
from query.joins.matching import Matcher, table_of
from query.joins.paths import JoinPath
from query.joins.sides import NULL_KEY, Part, StoreSide, mark_nulls

GROUP: Final = 1024
_SPARSE: Final = 8
"""Where one side has so many times the rows of the other, matches are searched for one by one."""
_PATIENCE: Final = 3
"""After so many parts without a chance of a match a side jumps."""


class _Reader:
    """A side with its loaded part: `joins[at:]` is not used yet. `joins` is empty at the end."""

    def __init__(
        self, side: StoreSide, *, count: int = 0, since: bytes | None = None, after: bytes | None = None
    ) -> None:
        self._side = side
        self._parts = side.parts(since, after)
        self._nulls = count
        self._waited = 0
        self.jumps = 0
        self.part: Part
        self.joins: list[bytes] = []
        self.at = 0
        self.load()

    def load(self) -> None:
        """The next part."""
        part = next(self._parts, None)
        self.at = 0
        if part is None:
            self.joins = []
            return
        self.part = part
        joins = self.joins = part.joins
        if self._nulls and (self._nulls > 1 or joins[0] <= NULL_KEY):  # in order: a single null comes first
            self.joins = mark_nulls(joins, self._nulls)

    def advance(self, at: int) -> None:
        """Go on to a place in the part, or to the next part if that is its end."""
        self._waited = 0
        self.at = at
        if at == len(self.joins):
            self.load()

    def wait_for(self, join: bytes, *, jump: bool) -> None:
        """Leave the part, which lies before a join key of the other side."""
        self._waited += 1
        if jump and self._waited > _PATIENCE:
            self._waited = 0
            self.jumps += 1
            self._parts = self._side.parts(join)
        self.load()


class _Singles:
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

    def add(self, left: _Reader, left_end: int, right: _Reader, right_end: int) -> None:
        """The matches of some right rows, each of which has another join key, or whose number does not matter."""
        joins, at, part = left.joins, left.at, left.part
        before = None
        for index in range(right.at, right_end):
            join = right.joins[index]
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

    def add_left(self, left: _Reader, left_end: int, right: _Reader, right_end: int) -> None:
        """What some left rows make of right rows that are unique, or whose number does not matter."""
        matcher, part = self._matcher, left.part
        joins, at = right.joins, right.at
        for index in range(left.at, left_end):
            join = left.joins[index]
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


class Merge:
    """A merge join while it runs."""

    def __init__(
        self, left: StoreSide, right: StoreSide, path: JoinPath, matcher: Matcher, *, count: int, unique_left: bool
    ) -> None:
        self._left_side, self._right_side = left, right
        self._path = path
        self._matcher = matcher
        self._count = count
        self._unique_right = path.unique or matcher.only_left
        self._unique = unique_left and self._unique_right
        self._few_left = not matcher.keeps_right and self._unique_right
        self._few_right = self._few_left and not matcher.passes_left
        self._singles = _Singles(matcher)
        self._readers: tuple[_Reader, _Reader] | None = None

    @property
    def jumps(self) -> int:
        """How often a side was opened anew further on."""
        return sum(reader.jumps for reader in self._readers or ())

    def rows(self, after: bytes | None = None) -> Iterator[JoinedRows]:
        """The joined rows in the order of the left path."""
        matcher = self._matcher
        left = _Reader(self._left_side, count=self._count, after=after)
        right = _Reader(self._right_side, since=left.joins[0] if left.joins and not matcher.keeps_right else None)
        self._readers = left, right
        while left.joins and right.joins:
            if left.joins[-1] < right.joins[right.at]:
                if matcher.passes_left:
                    yield from self._singles.rows()
                    yield from self._left_rows(left, len(left.joins))
                left.wait_for(right.joins[right.at], jump=not matcher.passes_left)
            elif right.joins[-1] < left.joins[left.at]:
                if matcher.keeps_right:
                    yield from matcher.right_rows(right.part.texts[right.at :])
                right.wait_for(left.joins[left.at], jump=not matcher.keeps_right)
            else:
                yield from self._overlap(left, right)
        yield from self._singles.rows()
        while left.joins and matcher.passes_left:
            yield from self._left_rows(left, len(left.joins))
            left.load()
        while right.joins and matcher.keeps_right:
            yield from matcher.right_rows(right.part.texts[right.at :])
            right.load()

    def _left_rows(self, left: _Reader, end: int) -> Iterator[JoinedRows]:
        part, at = left.part, left.at
        yield from self._matcher.left_rows(part.keys[at:end], part.texts[at:end])

    def _overlap(self, left: _Reader, right: _Reader) -> Iterator[JoinedRows]:
        """What both sides have up to the smaller of their last join keys."""
        last = min(left.joins[-1], right.joins[-1])
        left_end = bisect_right(left.joins, last, left.at)
        right_end = bisect_right(right.joins, last, right.at)
        group = (
            not self._unique
            and left_end > left.at
            and right_end > right.at
            and left.joins[left_end - 1] == last == right.joins[right_end - 1]
        )
        if group:
            left_end = bisect_left(left.joins, last, left.at, left_end)
            right_end = bisect_left(right.joins, last, right.at, right_end)
        lefts, rights = left_end - left.at, right_end - right.at
        few_right = self._few_right and rights * _SPARSE < lefts
        if few_right or (self._few_left and lefts * _SPARSE < rights):
            add = self._singles.add if few_right else self._singles.add_left
            add(left, left_end, right, right_end)
            if self._singles.enough:
                yield from self._singles.rows()
        else:
            yield from self._singles.rows()
            yield from self._match(left, left_end, right, right_end)
        left.advance(left_end)
        right.advance(right_end)
        if group:
            yield from self._singles.rows()
            yield from self._group(left, right, last)

    def _match(self, left: _Reader, left_end: int, right: _Reader, right_end: int) -> Iterator[JoinedRows]:
        """The stretches up to two places, which have all rows of their join keys."""
        matcher, part, at = self._matcher, left.part, left.at
        joins, others = left.joins[at:left_end], right.joins[right.at : right_end]
        if not others:
            if joins and matcher.passes_left:
                yield from self._left_rows(left, left_end)
            return
        if not joins:
            if matcher.keeps_right:
                yield from matcher.right_rows(right.part.texts[right.at : right_end])
            return
        if matcher.only_left:
            yield from matcher.rows_in(part.keys[at:left_end], part.texts[at:left_end], joins, set(others))
            return
        texts = right.part.texts[right.at : right_end]
        if joins == others and (self._unique or len(set(joins)) == len(joins)):
            yield JoinedRows(matcher.shape, part.keys[at:left_end], part.texts[at:left_end], texts)
            return
        one, many = table_of(others, texts)
        yield from matcher.match(part.keys[at:left_end], part.texts[at:left_end], joins, one, many)
        if matcher.keeps_right:
            known = set(joins)
            yield from matcher.right_rows([text for join, text in zip(others, texts, strict=True) if join not in known])

    def _group(self, left: _Reader, right: _Reader, join: bytes) -> Iterator[JoinedRows]:
        """Both sides stand on the first row with this join key: every left row meets every right one."""
        matcher = self._matcher
        found: list[bytes] | None = []
        while right.joins and right.joins[right.at] == join:
            end = bisect_right(right.joins, join, right.at)
            if found is not None and not matcher.only_left:
                found += right.part.texts[right.at : end]
                if len(found) > GROUP:
                    found = None
            last = self._unique_right and not matcher.only_left
            right.advance(end)
            if last:
                break
        while left.joins and left.joins[left.at] == join:
            part, at = left.part, left.at
            end = bisect_right(left.joins, join, at)
            keys, texts = part.keys[at:end], part.texts[at:end]
            if found is not None:
                yield from matcher.match(keys, texts, [join] * (end - at), None, {join: found})
            else:
                for key, text in zip(keys, texts, strict=True):
                    for rows in self._path.rows(join):
                        yield from matcher.pairs([key] * len(rows), [text] * len(rows), rows)
            left.advance(end)
