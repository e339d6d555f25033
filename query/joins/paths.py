"""Paths of a store that lead to rows by their join fields.

A path (the primary key, or an index) serves a join if the join fields stand next to each other in it, in any order, and everything
before them is fixed to one value by the side's filter. Then all rows with one join key are one stretch of the path, `base` + join
key, and the rows of the path come in the order of their join keys.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from query.filters.conditions import POINTS, Conjunct, points, together
from query.filters.pages import PageFilter, page_filter
from query.joins.sides import Cut, Decoded, JoinKeys
from query.selects.access import slices
from query.selects.plan import Plan, Range, plan_path
from query.stores.indexes import Index
from query.stores.store import Store

_BESIDE = b"\xff"


@dataclass(frozen=True)
class JoinPath:
    """A path with join fields. `fields` are these in the order of the path; `base` are the bytes before them."""

    store: Store
    index: Index | None
    fields: tuple[str, ...]
    base: bytes
    conditions: tuple[Conjunct, ...]
    rest: tuple[Conjunct, ...]
    unique: bool
    """Whether no two rows have the same join key (unless a null is in it)."""
    exact: bool
    """Whether the path ends with the join fields and is the primary key: base + join key is a record's key."""

    @cached_property
    def plan(self) -> Plan:
        """The plan that reads the side along this path."""
        return plan_path(self.store, self.index, list(self.conditions))

    @property
    def joins(self) -> JoinKeys:
        """How the join keys are cut out of the path's keys."""
        return Cut(len(self.base), len(self.fields), to_end=self.exact)

    @cached_property
    def _filter(self) -> PageFilter | None:
        return page_filter(together(self.rest))

    def stretch(self, join: bytes) -> Range:
        """Where the rows with a join key are."""
        start = self.base + join
        return start, start + _BESIDE

    def rows(self, join: bytes) -> Iterator[Sequence[bytes]]:
        """The texts of the rows with a join key, many at a time."""
        plan = Plan(self.index, (self.stretch(join),), (), {}, False, (), "", 0.0)
        for part in slices(self.store, plan):
            texts = part.values()
            if self._filter is None:
                yield texts
            elif chosen := self._filter.matches(part.values_json):
                yield texts if len(chosen) == part.count else [texts[index] for index in chosen]

    def between(self, first: bytes, last: bytes) -> float:
        """About how many rows of an exact path have join keys from one to another, before the filter."""
        tree = self.store.tree
        return tree.share(self.base + first, self.base + last) * tree.length

    def some(self, joins: Sequence[bytes]) -> tuple[list[bytes], list[bytes]]:
        """Of an exact path: those of some join keys, which are in order, that have a row, and its text."""
        base = self.base
        found = self.store.tree.get_many([base + join for join in joins] if base else joins)
        if None in found:
            joins = [join for join, text in zip(joins, found, strict=True) if text is not None]
        texts = [text for text in found if text is not None]
        if self._filter is None or not texts:
            return list(joins), texts
        chosen = self._filter.matches(b",\n".join(texts))
        return [joins[at] for at in chosen], [texts[at] for at in chosen]


def join_paths(
    store: Store, conditions: Sequence[Conjunct], fields: Collection[str], *, indexes: bool
) -> list[JoinPath]:
    """The paths of a store that serve a join by these fields."""
    found = []
    wanted = set(fields)
    if len(wanted) < len(fields):
        return []  # a field that two others have to be equal to
    for index in (None, *(store.ready_indexes if indexes else ())):
        names = store.info.primary_key if index is None else list(index.info.fields)
        if index is None and any("." in name for name in names):
            continue  # a key field is a name, and a join field a path
        path = _path(store, index, names, conditions, wanted)
        if path is not None:
            found.append(path)
    return found


def _path(
    store: Store, index: Index | None, names: Sequence[str], conditions: Sequence[Conjunct], wanted: set[str]
) -> JoinPath | None:
    base = b""
    used: list[Conjunct] = []
    for at, name in enumerate(names):
        fields = tuple(names[at : at + len(wanted)])
        if set(fields) == wanted:
            end = at + len(fields) == len(names)
            unique = end and (index is None or index.info.unique)
            rest = tuple(part for part in conditions if not any(part is one for one in used))  # true == 1 to Python
            return JoinPath(store, index, fields, base, tuple(conditions), rest, unique, end and index is None)
        fixed = next((part for part in conditions if part.field == name and _single(part) is not None), None)
        if fixed is None:
            return None
        used.append(fixed)
        base += _single(fixed) or b""
    return None


def _single(part: Conjunct) -> bytes | None:
    """The only value that a condition allows, encoded."""
    values = points(part) if part.operator in POINTS else None
    return values[0] if values is not None and len(values) == 1 else None


def decoded(fields: Sequence[str]) -> Decoded:
    """Join keys of the values of fields or dotted paths."""
    return Decoded([tuple(field.split(".")) for field in fields])
