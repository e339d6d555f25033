"""The two sides of a join as they are read: rows a stretch at a time, each with its *join key*.

A join key is the encoding (`keycode`) of the values that the rows are joined by, so that equal values have equal keys
whatever their type, and keys sort as values do. Where these values are a part of the key by which the rows are read, the
join key is cut out of it and no record is decoded (`Cut`); otherwise the fields are decoded, and nothing else of the
record (`Decoded`).

A join key that has a null in it matches nothing. The left side marks such keys with a byte ff behind them: no other
key has that form, and they keep their place in the order, behind all rows of a path that have that null.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Any, Final, Literal, Protocol

import msgspec

from btree import LeafSlice
from query.filters.pages import PageFilter, page_filter
from query.joins.pages import Pages, lines, put_together
from query.selects.access import Slice, slices
from query.selects.plan import Plan
from query.stores.store import Store
from query.values import keycode
from query.values.members import attributes_of, is_plain, member_struct
from query.values.values import MISSING, follow

NULL_KEY: Final = b"\x01"
"""The join key of a single null."""
_MARK: Final = b"\xff"


class Part:
    """A stretch of rows that passed the side's filter: keys of the path, join keys, and texts. Each is made when it is asked for."""

    __slots__ = ("_chosen", "_joins", "_keys", "_lines", "_make_joins", "_packed", "_slice", "_texts", "count")

    def __init__(self, source: Slice, chosen: list[int] | None, make_joins: "JoinKeys") -> None:
        self._slice = source
        self._chosen = chosen
        self._make_joins = make_joins
        self._keys: Sequence[bytes] | None = None
        self._joins: list[bytes] | None = None
        self._texts: Sequence[bytes] | None = None
        self._lines: list[bytes] | None = None
        self._packed: tuple[int, bytes] | Literal[False] | None = False
        self.count = source.count if chosen is None else len(chosen)

    @property
    def keys(self) -> Sequence[bytes]:
        if self._keys is None:
            keys = self._slice.keys
            self._keys = keys if self._chosen is None else [keys[index] for index in self._chosen]
        return self._keys

    @property
    def joins(self) -> list[bytes]:
        if self._joins is None:
            self._joins = self._make_joins(self._slice, self.keys, self._chosen)
        return self._joins

    def packed_joins(self) -> tuple[int, bytes] | None:
        """The join keys one behind the other, and how long each is, if the path's keys are join keys and stand so in their page."""
        if self._packed is False:
            source, known = self._slice, self._chosen is None and self._make_joins.whole
            self._packed = source.packed_keys() if known and isinstance(source, LeafSlice | Pages) else None
        return self._packed

    def text(self, index: int) -> bytes:
        """One of these texts, without making the others."""
        if self._texts is not None:
            return self._texts[index]
        return self._slice.value(index if self._chosen is None else self._chosen[index])

    @property
    def texts(self) -> Sequence[bytes]:
        """The rows as JSON texts."""
        if self._texts is None:
            texts = self._slice.values()
            self._texts = texts if self._chosen is None else [texts[index] for index in self._chosen]
        return self._texts

    @property
    def lines(self) -> list[bytes]:
        """The texts of pages, each with a comma behind it."""
        if self._lines is None:
            assert isinstance(self._slice, LeafSlice | Pages)
            self._lines = lines(self._slice)
        return self._lines


class JoinKeys(Protocol):
    """How join keys are come by. `whole`: they are the path's keys."""

    @property
    def whole(self) -> bool: ...

    def __call__(self, part: Slice, keys: Sequence[bytes], chosen: list[int] | None) -> list[bytes]:
        """Those of the chosen rows of a slice (None: all), whose keys are given."""
        ...


class Cut:
    """Join keys that are a part of the path's keys: `count` values from behind the first `start` bytes."""

    def __init__(self, start: int, count: int, *, to_end: bool) -> None:
        self._start, self._count, self._to_end = start, count, to_end
        self.whole = to_end and not start

    def __call__(self, part: Slice, keys: Sequence[bytes], chosen: list[int] | None) -> list[bytes]:
        start, count = self._start, self._count
        if self._to_end:
            if start:
                return [key[start:] for key in keys]
            return keys if isinstance(keys, list) else list(keys)
        skip = keycode.skip
        if count == 1 and not start:
            if min(keys)[0] == 16 == max(keys)[0]:  # numbers, of 11 bytes each
                return [key[:11] for key in keys]
            if min(keys)[0] == 32 == max(keys)[0]:  # texts, which end at the first two zero bytes
                return [key[: key.index(b"\x00\x00", 1) + 2] for key in keys]
        return [key[start : skip(key, count, start)] for key in keys]


class Decoded:
    """Join keys of the values at some paths of the records."""

    whole: Final = False

    def __init__(self, paths: Sequence[tuple[str, ...]]) -> None:
        roots = list(dict.fromkeys(path[0] for path in paths))
        self._decode: Callable[[bytes], list[Any]]
        if all(map(is_plain, roots)):
            attributes = attributes_of(roots)
            row = member_struct(attributes, (Any, None))
            self._decode = msgspec.json.Decoder(list[row]).decode  # type: ignore[valid-type]
            self._columns = [_attribute(attributes[path[0]], path[1:]) for path in paths]
        else:  # a name that stands in JSON otherwise than it is
            self._decode = msgspec.json.Decoder(list[dict[str, Any]]).decode
            self._columns = [_member(path) for path in paths]

    def __call__(self, part: Slice, keys: Sequence[bytes], chosen: list[int] | None) -> list[bytes]:
        rows = self._decode(b"[%b]" % part.values_json)
        if chosen is not None:
            rows = [rows[index] for index in chosen]
        columns = [keycode.encode_many(column(rows)) for column in self._columns]
        if len(columns) == 1:
            return columns[0]
        return [b"".join(values) for values in zip(*columns, strict=True)]


def _attribute(name: str, path: Sequence[str]) -> Callable[[list[Any]], list[Any]]:
    if not path:
        get = attrgetter(name)
        return lambda rows: list(map(get, rows))
    return lambda rows: [_there(follow(getattr(row, name), path)) for row in rows]


def _member(path: Sequence[str]) -> Callable[[list[Any]], list[Any]]:
    return lambda rows: [_there(follow(row, path)) for row in rows]


def _there(value: Any) -> Any:
    return None if value is MISSING else value


class Side(Protocol):
    """A side while it is read. `pages` and `rows` count what was read of it."""

    pages: int
    rows: int

    def parts(self, since: bytes | None = None, after: bytes | None = None) -> Iterator[Part]:
        """Its rows; from the join key `since` on, where the path has them in that order; or from behind the key `after`."""
        ...


class StoreSide:
    """A side that is a store, read by a plan."""

    def __init__(self, store: Store, plan: Plan, joins: JoinKeys, base: bytes = b"") -> None:
        self.store = store
        self.plan = plan
        self._joins = joins
        self._base = base
        self._filter: PageFilter | None = page_filter(plan.residual)
        self.pages = 0
        self.rows = 0

    def parts(self, since: bytes | None = None, after: bytes | None = None) -> Iterator[Part]:
        plan = self.plan if since is None else self._from(since)
        for part, pages in put_together(slices(self.store, plan, after)):
            self.pages += pages
            self.rows += part.count
            chosen = None
            if self._filter is not None:
                chosen = self._filter.matches(part.values_json)
                if not chosen:
                    continue
                if len(chosen) == part.count:
                    chosen = None
            yield Part(part, chosen, self._joins)

    def _from(self, since: bytes) -> Plan:
        start = self._base + since
        left = [(lower, upper) for lower, upper in self.plan.ranges if upper is None or upper > start]
        return replace(
            self.plan,
            ranges=tuple((start if lower is None or lower < start else lower, upper) for lower, upper in left),
        )


def null_places(joins: Sequence[bytes], count: int) -> list[int]:
    """Where join keys of `count` values have a null in them."""
    if count == 1:  # by itself, a null is one byte
        return [at for at, join in enumerate(joins) if join == NULL_KEY] if NULL_KEY in joins else []
    return [at for at, join in enumerate(joins) if NULL_KEY in join and _has_null(join, count)]


def mark_nulls(joins: list[bytes], count: int) -> list[bytes]:
    """The join keys of left rows: those with a null are marked, so that they are equal to no right one."""
    places = null_places(joins, count)
    if places:
        joins = list(joins)
        for at in places:
            joins[at] += _MARK
    return joins


def _has_null(join: bytes, count: int) -> bool:
    at = 0
    for _ in range(count):
        if join[at : at + 1] == NULL_KEY:
            return True
        at = keycode.skip(join, 1, at)
    return False
