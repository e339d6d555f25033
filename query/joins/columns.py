"""Joined rows as columns of texts: many rows at a time, made into JSON only when somebody asks for it.

A stretch of joined rows is a list of left texts and a list of right texts of the same length. Its run is one `join` of these
with the fixed texts between them; a row is never built by itself.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import orjson

NULL: Final = b"null"
_DIVIDER: Final = b",\n"
"""What is between the rows of a run, as in pages."""
ROWS: Final = 1024
"""At most so many rows are made at once where one row meets many."""
TEXTS: Final = 4 << 20
"""About so many bytes of texts are in a stretch at most, or one row."""


@dataclass(frozen=True)
class Shape:
    """The fixed texts of a joined row: before the left text, between, and behind the right one.

    `left_null` is the left text where there is no left row. In a chain the left texts are joined rows themselves, without their
    closing bracket.
    """

    start: bytes
    middle: bytes
    left_null: bytes = NULL

    @classmethod
    def of(cls, left: Sequence[str], right: str, *, chain: bool) -> "Shape":
        """The shape of rows with these names."""
        if not chain:
            return cls(b"{%b:" % orjson.dumps(left[0]), b",%b:" % orjson.dumps(right))
        nulls = orjson.dumps(dict.fromkeys(left))[:-1]
        return cls(b"", b",%b:" % orjson.dumps(right), nulls)

    @property
    def behind_lines(self) -> "Shape":
        """The same for left texts that have the comma behind them."""
        return replace(self, middle=self.middle[1:])


class JoinedRows:
    """A stretch of joined rows; `right` is None where the rows have no right member. `keys` may be given as what makes them."""

    __slots__ = ("_keys", "_left", "_right", "_shape", "count")

    def __init__(
        self,
        shape: Shape,
        keys: Sequence[bytes] | Callable[[], Sequence[bytes]],
        left: Sequence[bytes],
        right: Sequence[bytes] | None,
    ) -> None:
        self._shape = shape
        self._keys = keys
        self._left = left
        self._right = right
        self.count = len(left)

    @property
    def keys(self) -> Sequence[bytes]:
        if callable(self._keys):
            self._keys = self._keys()
        return self._keys

    @property
    def values_json(self) -> bytes:
        shape, count = self._shape, self.count
        if not count:
            return b""
        if self._right is None:
            return b"%b%b}" % (shape.start, (b"}" + _DIVIDER + shape.start).join(self._left))
        parts = [b"}" + _DIVIDER + shape.start, b"", shape.middle, b""] * count
        parts[0] = shape.start
        parts[1::4] = self._left
        parts[3::4] = self._right
        parts.append(b"}")
        return b"".join(parts)

    def values(self) -> Sequence[bytes]:
        return self.values_json.split(_DIVIDER) if self.count else []

    def value(self, index: int) -> bytes:
        shape = self._shape
        if self._right is None:
            return b"%b%b}" % (shape.start, self._left[index])
        return b"%b%b%b%b}" % (shape.start, self._left[index], shape.middle, self._right[index])


def stretches(
    shape: Shape, keys: Sequence[bytes], left: Sequence[bytes], right: Sequence[bytes] | None
) -> Iterator[JoinedRows]:
    """The rows, divided so that none is long: one side's texts may stand there many times."""
    count = len(left)
    if not count:
        return
    if right is not None and count > 1 and sum(map(len, left)) + sum(map(len, right)) > TEXTS:
        half = count // 2
        yield from stretches(shape, keys[:half], left[:half], right[:half])
        yield from stretches(shape, keys[half:], left[half:], right[half:])
        return
    yield JoinedRows(shape, keys, left, right)
