"""Lookup join: for each stretch of left rows, the right rows of their join keys are looked up by a path of the right store.

The join keys of a stretch are looked up once each and in order, so that neighbours find their page at hand. What is found is kept only
for the stretch; where that is more than `FOUND` rows or bytes, the stretch is done row by row and nothing is kept.
The rows come in the order of the left side.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from query.joins.columns import TEXTS, JoinedRows
from query.joins.matching import Many, Matcher, One
from query.joins.paths import JoinPath
from query.joins.sides import Part, Side, mark_nulls, null_places

FOUND: Final = 4096


class Lookup:
    """A lookup join while it runs. `rows_read` are right rows, `stretches` how often one was looked up."""

    def __init__(self, left: Side, path: JoinPath, matcher: Matcher) -> None:
        self._left = left
        self._path = path
        self._matcher = matcher
        self._count = len(path.fields)
        self.stretches = 0
        self.rows_read = 0

    def rows(self, after: bytes | None = None) -> Iterator[JoinedRows]:
        """The joined rows in the order of the left side."""
        matcher = self._matcher
        for part in self._left.parts(after=after):
            joins = mark_nulls(part.joins, self._count)
            table = self._found(part.joins)
            if table is None:
                yield from self._one_by_one(part, joins)
            else:
                yield from matcher.match(part.keys, part.texts, joins, *table)

    def _found(self, joins: Sequence[bytes]) -> tuple[One | None, Many | None] | None:
        """The table of the right rows with some join keys; None if they are too many."""
        wanted = sorted(set(joins))
        if places := null_places(wanted, self._count):
            nulls = {wanted[at] for at in places}
            wanted = [join for join in wanted if join not in nulls]
        self.stretches += len(wanted)
        if self._path.exact:
            one = dict(zip(*self._path.some(wanted), strict=True))
            self.rows_read += len(one)
            return one, None
        many: dict[bytes, list[bytes]] = {}
        rows = size = 0
        for join in wanted:
            group: list[bytes] = []
            for texts in self._path.rows(join):
                group += texts
                rows += len(texts)
                size += sum(map(len, texts))
                if rows > FOUND or size > TEXTS:
                    return None
                if self._matcher.only_left and group:
                    break
            if group:
                many[join] = group
        self.rows_read += rows
        return None, many

    def _one_by_one(self, part: Part, joins: Sequence[bytes]) -> Iterator[JoinedRows]:
        matcher = self._matcher
        for key, text, join in zip(part.keys, part.texts, joins, strict=True):
            met = False
            for texts in self._path.rows(join):
                met = True
                self.rows_read += len(texts)
                if matcher.only_left:
                    break
                yield from matcher.pairs([key] * len(texts), [text] * len(texts), texts)
            if matcher.only_left:
                yield from matcher.rows_in([key], [text], [join], {join} if met else ())
            elif not met and matcher.keeps_left:
                yield from matcher.left_rows([key], [text])
