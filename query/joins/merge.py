"""Merge join: both sides in the order of their join keys, page against page, in one synchronized pass.

Each side has one loaded part. Everything up to the smaller of the two last join keys is there on both sides, and is matched at
once; then the side that is used up loads its next part. There are two quicker ways:

    alike     from where both sides stand the same join keys follow, each once: the pages' keys are compared as bytes, and the rows
              belong together one by one (`readers.alike`)
    sparse    a side has very many rows between two of the other: the join keys of the other are looked up there (`sparse`), or, where
              that is not possible, only texts that match are made (`singles`)

A side whose part lies before the other's goes on to the next one, and where that happens again and again, it *jumps*: it is opened anew at
the other's join key, by a descent in its tree. A side whose rows count also unmatched is never jumped over, and a left side that
is a join (`chains`) does not jump.

The rows with the last join key may go on in the next part. Where a side has no join key twice they cannot; otherwise they are a
*group*: the right rows of the group are collected, and every left row of it meets them all. A group of more than `GROUP` rows is not kept
but read again for each left row, which costs no more than the rows that it makes.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Final

from query.joins.columns import JoinedRows
from query.joins.matching import Matcher, table_of
from query.joins.pages import SMALL
from query.joins.paths import JoinPath
from query.joins.readers import Reader, alike
from query.joins.sides import Part, Side
from query.joins.singles import Singles
from query.joins.sparse import SPARSE, Lookups, sparse

GROUP: Final = 1024
_PAIRS: Final = 64
"""So many rows of stretches that are alike are passed on together at least; at first they go on as they come."""


class Merge:
    """A merge join while it runs. `count` are the join fields; a left side without a path is a join, and is read once from begin to end."""

    def __init__(
        self,
        left: Side,
        left_path: JoinPath | None,
        right: Side,
        right_path: JoinPath,
        matcher: Matcher,
        *,
        count: int,
    ) -> None:
        self._left_side, self._right_side = left, right
        self._left_path, self._right_path = left_path, right_path
        self._left_jumps = left_path is not None and not matcher.passes_left
        self._matcher = matcher
        self._count = count
        self._unique_right = right_path.unique or matcher.only_left
        self._unique = left_path is not None and left_path.unique and self._unique_right
        self._few_left = not matcher.keeps_right and self._unique_right
        self._few_right = self._few_left and not matcher.passes_left
        self._singles = Singles(matcher)
        self._lookups = Lookups(matcher, count)
        self._lines = matcher.shape.behind_lines
        self._wanted = 1
        self._readers: tuple[Reader, Reader] | None = None

    @property
    def counts(self) -> dict[str, int]:
        """How often a side was opened anew further on, and how many join keys of one side were looked up on the other."""
        return {"jumps": sum(reader.jumps for reader in self._readers or ()), "lookups": self._lookups.keys}

    def rows(self, after: bytes | None = None) -> Iterator[JoinedRows]:
        """The joined rows in the order of the left path."""
        matcher, by_page = self._matcher, self._unique and self._count == 1
        left = Reader(self._left_side, count=self._count, after=after)
        right = Reader(self._right_side, since=left.joins[0] if left.there and not matcher.keeps_right else None)
        self._readers = left, right
        while left.there and right.there:
            if by_page and (count := alike(left, right)):
                yield from self._singles.rows()
                yield from self._alike(left, right, count)
            elif left.joins[-1] < right.joins[right.at]:
                if matcher.passes_left:
                    yield from self._singles.rows()
                    yield from self._left_rows(left, left.part.count)
                left.wait_for(right.joins[right.at], jump=self._left_jumps)
            elif right.joins[-1] < left.joins[left.at]:
                if matcher.keeps_right:
                    yield from matcher.right_rows(right.part.texts[right.at :])
                right.wait_for(left.joins[left.at], jump=not matcher.keeps_right)
            else:
                yield from self._overlap(left, right)
        yield from self._singles.rows()
        while left.there and matcher.passes_left:
            yield from self._left_rows(left, left.part.count)
            left.load()
        while right.there and matcher.keeps_right:
            yield from matcher.right_rows(right.part.texts[right.at :])
            right.load()

    def _left_rows(self, left: Reader, end: int) -> Iterator[JoinedRows]:
        part, at = left.part, left.at
        yield from self._matcher.left_rows(part.keys[at:end], part.texts[at:end])

    def _alike(self, left: Reader, right: Reader, count: int) -> Iterator[JoinedRows]:
        """So many rows on both sides belong together one by one, and perhaps more behind them."""
        matcher = self._matcher
        if matcher.only_left:
            if not matcher.passes_left:
                yield from self._left_rows(left, left.at + count)
            left.advance(left.at + count)
            right.advance(right.at + count)
            return
        taken: list[tuple[Part, int, int]] = []
        lefts: list[bytes] = []
        rights: list[bytes] = []
        while count:
            part, at, end, other = left.part, left.at, left.at + count, right.at + count
            small = min(part.count, right.part.count) < SMALL
            taken.append((part, at, end))
            lefts += part.lines[at:end] if count < part.count else part.lines
            rights += right.part.texts[right.at : other] if count < right.part.count else right.part.texts
            left.advance(end)
            right.advance(other)
            full = small or len(lefts) >= self._wanted
            count = 0 if full or not (left.there and right.there) else alike(left, right)
        self._wanted = _PAIRS
        yield JoinedRows(
            self._lines, lambda: [key for part, at, end in taken for key in part.keys[at:end]], lefts, rights
        )

    def _overlap(self, left: Reader, right: Reader) -> Iterator[JoinedRows]:
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
        few_right = self._few_right and rights * SPARSE < lefts
        few_left = self._few_left and lefts * SPARSE < rights
        path = self._left_path if few_right else self._right_path if few_left else None
        if path is not None and path.exact and sparse(right if few_right else left, path):
            yield from self._singles.rows()
            yield from self._look_left(left, right, path) if few_right else self._look_right(left, right, path)
            return
        if few_right or few_left:
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

    def _look_left(self, left: Reader, right: Reader, path: JoinPath) -> Iterator[JoinedRows]:
        """There are many left rows for each right one."""
        right.at = bisect_left(right.joins, left.joins[left.at], right.at)  # those before have passed
        yield from self._lookups.left_rows(right, self._left_side, path)
        if right.there:
            left.open_at(right.joins[right.at])

    def _look_right(self, left: Reader, right: Reader, path: JoinPath) -> Iterator[JoinedRows]:
        """There are many right rows for each left one."""
        yield from self._lookups.right_rows(left, self._right_side, path)
        if left.there:
            right.open_at(left.joins[left.at])

    def _match(self, left: Reader, left_end: int, right: Reader, right_end: int) -> Iterator[JoinedRows]:
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

    def _group(self, left: Reader, right: Reader, join: bytes) -> Iterator[JoinedRows]:
        """Both sides stand on the first row with this join key: every left row meets every right one."""
        matcher = self._matcher
        found: list[bytes] | None = []
        while right.there and right.joins[right.at] == join:
            end = bisect_right(right.joins, join, right.at)
            if found is not None and not matcher.only_left:
                found += right.part.texts[right.at : end]
                if len(found) > GROUP:
                    found = None
            last = self._unique_right and not matcher.only_left
            right.advance(end)
            if last:
                break
        while left.there and left.joins[left.at] == join:
            part, at = left.part, left.at
            end = bisect_right(left.joins, join, at)
            keys, texts = part.keys[at:end], part.texts[at:end]
            if found is not None:
                yield from matcher.match(keys, texts, [join] * (end - at), None, {join: found})
            else:
                for key, text in zip(keys, texts, strict=True):
                    for rows in self._right_path.rows(join):
                        yield from matcher.pairs([key] * len(rows), [text] * len(rows), rows)
            left.advance(end)
