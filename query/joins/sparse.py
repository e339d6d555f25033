"""Stretches where one side of a merge has few rows and the other very many between them: the few rows' join keys are looked up there.

Only the pages that may have one of the keys are read, many at a time. Of the side with many rows the path has to be its primary key, so
that a join key is a record's key. It goes on for as long as the side with few rows stays as sparse.
"""

from collections.abc import Iterator
from typing import Final

from query.joins.columns import TEXTS, JoinedRows
from query.joins.matching import Matcher
from query.joins.paths import JoinPath
from query.joins.readers import Reader
from query.joins.sides import Side, null_places

SPARSE: Final = 8
"""Where one side has so many times the rows of the other, matches are searched for one by one."""
_BATCH: Final = 256
"""About so many join keys are looked up at once."""


class Lookups:
    """Looking up the rows of one side in the other. `keys` counts the join keys."""

    def __init__(self, matcher: Matcher, count: int) -> None:
        self._matcher = matcher
        self._count = count
        self.keys = 0

    def right_rows(self, left: Reader, right: Side, path: JoinPath) -> Iterator[JoinedRows]:
        """What the left rows from here on make of the right ones."""
        for keys, joins, texts in self._batches(left, path):
            one = dict(zip(*path.some(joins), strict=True))
            right.rows += len(one)
            yield from self._matcher.match(keys, texts, joins, one, None)

    def left_rows(self, right: Reader, left: Side, path: JoinPath) -> Iterator[JoinedRows]:
        """What the left rows make that have a join key of the right rows from here on. inner, semi; each right row's is its own."""
        matcher = self._matcher
        for _, joins, texts in self._batches(right, path, texts=not matcher.only_left):
            right.pass_over(joins[-1])  # semi: rows with this join key may go on in the next part
            wanted = dict.fromkeys(joins)
            for at in null_places(joins, self._count):
                wanted.pop(joins[at], None)
            found, lefts = path.some(list(wanted))
            left.rows += len(found)
            keys = [path.base + join for join in found] if path.base else found
            if matcher.only_left:
                yield from matcher.left_rows(keys, lefts)
            else:
                text_of = dict(zip(joins, texts, strict=True))
                yield from matcher.pairs(keys, lefts, [text_of[join] for join in found])

    def _batches(
        self, few: Reader, path: JoinPath, *, texts: bool = True
    ) -> Iterator[tuple[list[bytes], list[bytes], list[bytes]]]:
        """Keys, join keys and texts of the side with few rows: one part at first, then several at a time."""
        wanted = 1
        while wanted == 1 or (few.there and sparse(few, path)):
            keys, joins, found, size = list[bytes](), list[bytes](), list[bytes](), 0
            while few.there and len(joins) < wanted and size < TEXTS:
                part, at = few.part, few.at
                keys += part.keys[at:]
                joins += few.joins[at:]
                if texts:
                    found += part.texts[at:]
                    size += sum(map(len, part.texts[at:]))
                few.load()
            wanted = _BATCH
            self.keys += len(joins)
            yield keys, joins, found


def sparse(few: Reader, path: JoinPath) -> bool:
    """Whether the path has very many rows between the first and the last row that is left of a part."""
    joins = few.joins
    return path.between(joins[few.at], joins[-1]) > SPARSE * (len(joins) - few.at)
