"""Prepared plans: for a filter that only says which values some fields have, everything but the values is planned once.

What a plan looks like by each path (which fields make the prefix of its one stretch, the direction, the sort, what is left to test)
follows from the declaration of the store and from the *shape* of the query: the names of the fields in the order written, and the
order of the rows. No value is in a shape, so none can be taken for another one. What was prepared is kept with the declaration (a
`StoreInfo`, which is shared by all who read the same bytes of the catalog): another declaration has nothing prepared.

Only what was found right is prepared, so preparing never hides an error; and a value that cannot be a key (or that is no JSON) makes
no prepared plan. Then, and for all other filters, `plan` plans from the beginning. Both give the same plans.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any, Final, NamedTuple

from query.errors import InvalidKeyValue
from query.filters.conditions import Conjunct
from query.selects.weighing import Plan, Range, access_of, cost_of, direction, rows_of
from query.sorting.sorting import OrderItem
from query.stores.store import Store
from query.values.keycode import encode

_SCALARS: Final = frozenset({str, int, float, bool, NoneType})
_KEPT: Final = 128
"""So many shapes are kept for a declaration."""
_LARGE: Final = 1000
"""A shape with more characters is not kept."""
_ALL: Final[tuple[Range, ...]] = ((None, None),)


class Shape(NamedTuple):
    """What a query looks like, and the values of its fields."""

    key: tuple[tuple[str, ...], tuple[str, ...] | str | None]
    values: list[Any]


def shape_of(query_filter: Any, order_by: Any) -> Shape | None:
    """The shape of a query; None if its filter says something else than which scalar values some fields have."""
    if type(query_filter) is not dict:
        return None
    values = []
    for value in query_filter.values():
        if type(value) is dict and len(value) == 1:
            value = value.get("$eq", value)
        if type(value) not in _SCALARS:
            return None
        values.append(value)
    if order_by is not None and type(order_by) is not str:
        if type(order_by) is not list or not all(type(item) is str for item in order_by):
            return None
        order_by = tuple(order_by)
    return Shape((tuple(query_filter), order_by), values)


def prepared_for(store: Store, shape: Shape) -> "Prepared | None":
    """What was prepared for a shape."""
    found: Prepared | None = store.info.prepared.get(shape.key)
    return found


def prepare(store: Store, shape: Shape, order: tuple[OrderItem, ...]) -> None:
    """Prepare a shape whose names and order (as parsed) have been found right."""
    names, ordered = shape.key
    large = sum(map(len, names)) + sum(map(len, ordered or ())) > _LARGE
    if large or any(name.startswith("$") for name in names):
        return
    kept, info = store.info.prepared, store.info
    paths = [_path(None, info.primary_key, names, order, info.primary_key)]
    for number, index in enumerate(store.ready_indexes):
        path = _path(number, index.info.fields, names, order, info.primary_key)
        if path.prefix or (order and not path.sort):
            paths.append(path)
    if len(kept) >= _KEPT:
        kept.clear()
    kept[shape.key] = Prepared(names, paths[0], paths[1:])


@dataclass(slots=True, frozen=True)
class _Path:
    """A path for a shape. `prefix` and `rest` are places of values: what makes the stretch, and what is left to test."""

    number: int | None
    prefix: tuple[int, ...]
    rest: tuple[int, ...]
    exact: bool
    reverse: bool
    sort: tuple[OrderItem, ...]


def _path(
    number: int | None, fields: Sequence[str], names: tuple[str, ...], order: tuple[OrderItem, ...], key: Sequence[str]
) -> _Path:
    prefix: list[int] = []
    for field in fields:
        if field not in names:
            break
        prefix.append(names.index(field))
    rest = tuple(at for at in range(len(names)) if at not in prefix)
    path = [*fields, *(name for name in key if name not in fields)]
    reverse, sort = direction(path, len(prefix), order, key)
    return _Path(number, tuple(prefix), rest, len(prefix) == len(fields), reverse, sort)


class Prepared:
    """What was prepared for a shape: the paths, of which the values choose one."""

    __slots__ = ("_indexes", "_key", "_names")

    def __init__(self, names: tuple[str, ...], key: _Path, indexes: Sequence[_Path]) -> None:
        self._names = names
        self._key = key
        self._indexes = indexes

    def plan(self, store: Store, values: Sequence[Any], limit: int | None, *, indexes: bool) -> Plan | None:
        """The plan for some values; None where one of them cannot be a key."""
        try:
            keys = [encode((value,)) for value in values]
        except InvalidKeyValue:
            return None
        path, index = self._key, None
        ranges = _stretch(path, keys)
        rows = rows_of(store, None, ranges, exact=path.exact)
        cost = cost_of(None, rows, 1, limit, sort=bool(path.sort), rest=bool(path.rest))
        if indexes and not path.exact:
            for other in self._indexes:
                by = store.ready_indexes[other.number or 0]
                stretch = _stretch(other, keys)
                count = rows_of(store, by, stretch, exact=other.exact)
                price = cost_of(by, count, 1, limit, sort=bool(other.sort), rest=bool(other.rest))
                if price < cost:
                    path, index, ranges, rows, cost = other, by, stretch, count, price
        names = self._names
        used = tuple([Conjunct(names[at], "$eq", values[at]) for at in path.prefix])
        rest = {names[at]: {"$eq": values[at]} for at in path.rest}
        access = access_of(index, exact=path.exact, used=bool(used))
        return Plan(index, ranges, used, rest, path.reverse, path.sort, access, rows, limit, cost)


def _stretch(path: _Path, keys: Sequence[bytes]) -> tuple[Range, ...]:
    if not path.prefix:
        return _ALL
    start = b"".join([keys[at] for at in path.prefix])
    return ((start, start + b"\xff"),)
