"""Left rows against a table of right rows: what each type of join makes of them.

A *table* leads from join keys to right texts: to one (`dict[bytes, bytes]`), or to lists of them. The three methods differ in how they
come by tables; what is done with them is the same, and is here. Join keys are bytes (`sides`); one that has a null
in it is written so that no table has it.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import compress, repeat
from operator import not_
from typing import Final

from query.joins.columns import NULL, ROWS, JoinedRows, Shape, stretches

One = Mapping[bytes, bytes]
Many = Mapping[bytes, list[bytes]]
_NO_ROWS: Final[list[bytes]] = []


def table_of(joins: Sequence[bytes], texts: Sequence[bytes]) -> tuple[One | None, Many | None]:
    """The table of some right rows: of single texts where no join key comes twice, otherwise of lists."""
    table = dict(zip(joins, texts, strict=True))
    if len(table) == len(joins):
        return table, None
    lists: dict[bytes, list[bytes]] = {join: [] for join in table}
    for join, text in zip(joins, texts, strict=True):
        lists[join].append(text)
    return None, lists


class Matcher:
    """What one type of join makes of rows."""

    def __init__(self, kind: str, shape: Shape, *, with_right: bool | None = None) -> None:
        self.shape = shape
        self.only_left = kind in ("semi", "anti")
        """Whether right rows are not looked at, but for their join keys."""
        self._with_right = not self.only_left if with_right is None else with_right
        """Whether the rows have a right member: also an anti join's can, which then is null."""
        self._wanted = kind != "anti"
        self.keeps_left = kind in ("left", "full")
        """Whether left rows without a right one come too."""
        self.keeps_right = kind in ("right", "full")
        self.passes_left = kind in ("left", "full", "anti")
        """Whether a left row that matches nothing makes a row."""

    def pairs(self, keys: Sequence[bytes], left: Sequence[bytes], right: Sequence[bytes]) -> Iterator[JoinedRows]:
        """Left and right texts that belong together, one by one."""
        return stretches(self.shape, keys, left, right)

    def left_rows(self, keys: Sequence[bytes], left: Sequence[bytes]) -> Iterator[JoinedRows]:
        """Left rows by themselves: with no right row, or without its member."""
        right = [NULL] * len(left) if self._with_right else None
        return stretches(self.shape, keys, left, right)

    def right_rows(self, right: Sequence[bytes]) -> Iterator[JoinedRows]:
        """Right rows that no left one matches."""
        count = len(right)
        return stretches(self.shape, [b""] * count, [self.shape.left_null] * count, right)

    def rows_in(
        self, keys: Sequence[bytes], left: Sequence[bytes], joins: Sequence[bytes], known: Collection[bytes]
    ) -> Iterator[JoinedRows]:
        """semi and anti: the left rows whose join key is known, or is not."""
        inside = map(known.__contains__, joins)
        chosen = list(inside if self._wanted else map(not_, inside))
        yield from self.left_rows(list(compress(keys, chosen)), list(compress(left, chosen)))

    def match(
        self,
        keys: Sequence[bytes],
        left: Sequence[bytes],
        joins: Sequence[bytes],
        one: One | None,
        many: Many | None,
    ) -> Iterator[JoinedRows]:
        """The rows that left rows make with a table, in the order of the left rows."""
        if self.only_left:
            table = one if one is not None else many
            yield from self.rows_in(keys, left, joins, table or ())
        elif one is not None:
            yield from self._match_one(keys, left, joins, one)
        elif many is not None:
            yield from self._match_many(keys, left, joins, many)

    def _match_one(
        self, keys: Sequence[bytes], left: Sequence[bytes], joins: Sequence[bytes], table: One
    ) -> Iterator[JoinedRows]:
        if self.keeps_left:
            yield from self.pairs(keys, left, list(map(table.get, joins, repeat(NULL))))
            return
        found = list(map(table.get, joins))
        if all(found):  # no text is empty
            yield from self.pairs(keys, left, found)  # type: ignore[arg-type]
            return
        texts = [text for text in found if text is not None]
        if texts:
            yield from self.pairs(list(compress(keys, found)), list(compress(left, found)), texts)

    def _match_many(
        self, keys: Sequence[bytes], left: Sequence[bytes], joins: Sequence[bytes], table: Many
    ) -> Iterator[JoinedRows]:
        missing = [NULL] if self.keeps_left else _NO_ROWS
        some_keys: list[bytes] = []
        lefts: list[bytes] = []
        rights: list[bytes] = []
        for key, text, join in zip(keys, left, joins, strict=True):
            group = table.get(join, missing)
            for at in range(0, len(group), ROWS):
                part = group[at : at + ROWS]
                some_keys += [key] * len(part)
                lefts += [text] * len(part)
                rights += part
                if len(lefts) >= ROWS:
                    yield from self.pairs(some_keys, lefts, rights)
                    some_keys, lefts, rights = [], [], []
        yield from self.pairs(some_keys, lefts, rights)
