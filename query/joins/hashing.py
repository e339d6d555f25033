"""Hash join: the right rows become a table in memory, and the left rows stream past it.

If the left side is estimated to be small, its join keys are read first, and only the right rows that have one of them are kept; the
others match nothing and are passed on or over at once.

A table of more than `budget_bytes` is not made in memory (a *grace* hash join): both sides are divided into partitions on disk by
their join keys (`partitions`), and joined partition by partition. A partition that is too large is divided again. Where that does not help,
because there is one join key or too few, it is done in blocks: as many right rows as fit, and all left rows for each such block.

In memory the rows come in the order of the left side, and right rows that match nothing behind them. With partitions there is no order.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, repeat
from typing import Final

from query.joins.columns import JoinedRows
from query.joins.matching import Many, Matcher, One
from query.joins.partitions import LEVELS, ROW, Partitions, Row
from query.joins.sides import Part, Side, mark_nulls, null_places

KEYS: Final = 20_000
"""A left side of so many rows at most has its join keys read first."""


class Table:
    """Right texts by join key. `lists` once a join key came twice; `size` are its bytes in memory, about."""

    def __init__(self, *, only_keys: bool = False) -> None:
        self._only_keys = only_keys
        self.one: dict[bytes, bytes] = {}
        self.lists: dict[bytes, list[bytes]] | None = None
        self.size = 0

    def add(self, joins: Sequence[bytes], texts: Sequence[bytes]) -> None:
        """Take rows in; with `only_keys`, their join keys once each."""
        if self._only_keys:
            joins = [join for join in dict.fromkeys(joins) if join not in self.one]
            texts = [b""] * len(joins)
        self.size += sum(map(len, joins)) + sum(map(len, texts)) + ROW * len(joins)
        if self.lists is None:
            if len(set(joins)) == len(joins) and self.one.keys().isdisjoint(joins):
                self.one.update(zip(joins, texts, strict=True))
                return
            self.lists = {join: [text] for join, text in self.one.items()}
            self.one = {}
        lists = self.lists
        for join, text in zip(joins, texts, strict=True):
            if join in lists:
                lists[join].append(text)
            else:
                lists[join] = [text]

    @property
    def tables(self) -> tuple[One | None, Many | None]:
        """The table of texts, or that of lists."""
        return (self.one, None) if self.lists is None else (None, self.lists)

    def rows(self) -> Iterator[Row]:
        """All rows; they have no keys of a path here."""
        if self.lists is None:
            return ((join, b"", text) for join, text in self.one.items())
        return ((join, b"", text) for join, texts in self.lists.items() for text in texts)

    def take(self) -> Iterator[Row]:
        """All rows, which are given away."""
        rows = self.rows()
        self.one, self.lists, self.size = {}, None, 0
        return rows

    def without(self, seen: set[bytes]) -> Iterator[list[bytes]]:
        """The texts of the join keys that were not seen, many at a time."""
        texts: list[bytes] = []
        for join, _, text in self.rows():
            if join not in seen:
                texts.append(text)
                if len(texts) == 256:
                    yield texts
                    texts = []
        if texts:
            yield texts


class HashJoin:
    """A hash join while it runs. `count` are the join fields, `partitions` how many were joined from disk."""

    def __init__(
        self, left: Side, right: Side, matcher: Matcher, *, count: int, budget_bytes: int, left_is_small: bool
    ) -> None:
        self._left = left
        self._right = right
        self._matcher = matcher
        self._count = count
        self._budget = budget_bytes
        self._left_is_small = left_is_small
        self.partitions = 0

    def rows(self) -> Iterator[JoinedRows]:
        """The joined rows."""
        wanted = self._left_keys() if self._left_is_small else None
        table = Table(only_keys=self._matcher.only_left)
        rest = self._right.parts()
        for part in rest:
            joins, texts, others = self._split(part.joins, part.texts, wanted)
            if others and self._matcher.keeps_right:
                yield from self._matcher.right_rows(others)
            if joins:
                table.add(joins, texts)
            if table.size > self._budget:
                yield from self._on_disk(table, rest, wanted)
                return
        yield from self._stream(table)

    def _left_keys(self) -> set[bytes] | None:
        """The join keys of the left side; None if they are many after all."""
        found: set[bytes] = set()
        size = 0
        for part in self._left.parts():
            found.update(part.joins)
            size += sum(map(len, part.joins)) + ROW * len(part.joins)
            if len(found) > 2 * KEYS or size > self._budget:
                return None
        return found

    def _split(
        self, joins: Sequence[bytes], texts: Sequence[bytes], wanted: set[bytes] | None
    ) -> tuple[Sequence[bytes], Sequence[bytes], list[bytes]]:
        """The right rows that may match, and the texts of those that cannot: a null in the join key, or no left row."""
        nulls = set(null_places(joins, self._count))
        if wanted is None and not nulls:
            return joins, texts, []
        may = [at not in nulls and (wanted is None or join in wanted) for at, join in enumerate(joins)]
        return (
            [join for join, chosen in zip(joins, may, strict=True) if chosen],
            [text for text, chosen in zip(texts, may, strict=True) if chosen],
            [text for text, chosen in zip(texts, may, strict=True) if not chosen],
        )

    def _stream(self, table: Table) -> Iterator[JoinedRows]:
        matcher, seen = self._matcher, set[bytes]()
        one, many = table.tables
        for part in self._left.parts():
            joins = mark_nulls(part.joins, self._count)
            yield from matcher.match(part.keys, part.texts, joins, one, many)
            if matcher.keeps_right:
                seen.update(joins)
        if matcher.keeps_right:
            for texts in table.without(seen):
                yield from matcher.right_rows(texts)

    # --- on disk ---

    def _on_disk(self, table: Table, rest: Iterable[Part], wanted: set[bytes] | None) -> Iterator[JoinedRows]:
        """Divide both sides, and join the partitions."""
        matcher = self._matcher
        with Partitions(self._budget, 0) as right, Partitions(self._budget, 0) as left:
            right.fill(table.take())
            for part in rest:
                joins, texts, others = self._split(part.joins, part.texts, wanted)
                if others and matcher.keeps_right:
                    yield from matcher.right_rows(others)
                right.fill(zip(joins, repeat(b""), repeat(b"") if matcher.only_left else texts))
            right.flush()
            for part in self._left.parts():
                yield from self._divide_left(part, left)
            left.flush()
            yield from self._each(left, right, 0)

    def _divide_left(self, part: Part, left: Partitions) -> Iterator[JoinedRows]:
        """Write left rows to their partitions, but for those that match nothing."""
        nulls = set(null_places(part.joins, self._count))
        rows = zip(part.joins, part.keys, part.texts, strict=True)
        left.fill(row for at, row in enumerate(rows) if at not in nulls)
        if nulls and self._matcher.passes_left:
            places = sorted(nulls)
            yield from self._matcher.left_rows([part.keys[at] for at in places], [part.texts[at] for at in places])

    def _each(self, left: Partitions, right: Partitions, level: int) -> Iterator[JoinedRows]:
        for number, part in enumerate(right.parts):
            if part.size <= self._budget:
                yield from self._in_memory(left, right, number)
            elif part.single or level + 1 == LEVELS:
                yield from self._in_blocks(left, right, number)
            else:
                with Partitions(self._budget, level + 1) as rights, Partitions(self._budget, level + 1) as lefts:
                    rights.fill(chain.from_iterable(right.rows(number)))
                    rights.flush()
                    lefts.fill(chain.from_iterable(left.rows(number)))
                    lefts.flush()
                    yield from self._each(lefts, rights, level + 1)

    def _in_memory(self, left: Partitions, right: Partitions, number: int) -> Iterator[JoinedRows]:
        table, seen = Table(only_keys=self._matcher.only_left), set[bytes]()
        self.partitions += 1
        for rows in right.rows(number):
            table.add([join for join, _, _ in rows], [text for _, _, text in rows])
        for rows in left.rows(number):
            yield from self._match(rows, table, self._matcher)
            if self._matcher.keeps_right:
                seen.update(join for join, _, _ in rows)
        if self._matcher.keeps_right:
            for texts in table.without(seen):
                yield from self._matcher.right_rows(texts)

    def _in_blocks(self, left: Partitions, right: Partitions, number: int) -> Iterator[JoinedRows]:
        """A partition of few join keys and many rows: only the keys are kept."""
        matcher = self._matcher
        self.partitions += 1
        right_keys = {join for rows in right.rows(number) for join, _, _ in rows}
        if not matcher.only_left:
            pairs = Matcher("inner", matcher.shape)
            for table in self._blocks(right.rows(number)):
                for rows in left.rows(number):
                    yield from self._match(rows, table, pairs)
        if matcher.passes_left or matcher.only_left:
            known = Table(only_keys=True)
            known.add(list(right_keys), [])
            for rows in left.rows(number):
                some = rows if matcher.only_left else [row for row in rows if row[0] not in right_keys]
                yield from self._match(some, known, matcher)
        if matcher.keeps_right:
            left_keys = {join for rows in left.rows(number) for join, _, _ in rows}
            for rows in right.rows(number):
                yield from matcher.right_rows([text for join, _, text in rows if join not in left_keys])

    def _blocks(self, source: Iterable[list[Row]]) -> Iterator[Table]:
        table = Table()
        for rows in source:
            table.add([join for join, _, _ in rows], [text for _, _, text in rows])
            if table.size > self._budget:
                yield table
                table = Table()
        if table.size:
            yield table

    def _match(self, rows: list[Row], table: Table, matcher: Matcher) -> Iterator[JoinedRows]:
        if rows:
            joins, keys, texts = zip(*rows, strict=True)
            yield from matcher.match(keys, texts, joins, *table.tables)
