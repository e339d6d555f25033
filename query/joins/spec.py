"""What a join may say: sides, join fields, type. Everything is checked here, before a page is read.

    side    "orders" | {store, as, filter, key, database} | {left, right, on, type, filter}: a join (on the left only)
    on      {left path: right path} | a field that both have | a list of such fields
    type    inner | left | right | full | semi | anti

A joined row has one member for each side, by the side's name: `left` and `right`, unless `as` says otherwise. The sides of a join within
a join keep their names, so a chain's rows are as flat as a single join's.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from query.errors import InvalidQuery, did_you_mean, point
from query.values.paths import parse_path

TYPES: Final = ("inner", "left", "right", "full", "semi", "anti")
METHODS: Final = ("merge", "lookup", "hash")
_NAME: Final = re.compile(r"\w[\w-]*")
_STORE: Final = ("store", "as", "filter", "key", "database")
_JOIN: Final = ("left", "right", "on", "type", "filter")
_INSTEAD: Final = {
    "outer": "full",
    "left_outer": "left",
    "right_outer": "right",
    "full_outer": "full",
    "cross": "inner",
}


@dataclass(frozen=True)
class StoreSpec:
    """A side that is a store. `pointer` is its place in the query."""

    store: str
    name: str
    filter: Mapping[str, Any] | None
    key: Any
    database: str | None
    pointer: str


@dataclass(frozen=True)
class JoinSpec:
    """A join. `on` has pairs of paths: one into the left row, one into the right record; `places` are theirs in the query."""

    left: "StoreSpec | JoinSpec"
    right: StoreSpec
    on: tuple[tuple[str, str], ...]
    type: str
    filter: Mapping[str, Any] | None = None
    pointer: str = ""
    places: tuple[str, ...] = ()

    @property
    def left_names(self) -> tuple[str, ...]:
        """The names of the sides that make the left row."""
        return self.left.names if isinstance(self.left, JoinSpec) else (self.left.name,)

    @property
    def names(self) -> tuple[str, ...]:
        """The members of a joined row: a semi join and an anti join give left rows only."""
        return self.left_names if self.type in ("semi", "anti") else (*self.left_names, self.right.name)


def parse_join(left: Any, right: Any, on: Any, type: Any, pointer: str = "", where: Any = None) -> JoinSpec:
    """A join as it is written, checked. Raises InvalidQuery with the place."""
    kind = _parse_type(type, f"{pointer}/type")
    left_side = _parse_left(left, f"{pointer}/left")
    if isinstance(right, Mapping) and "store" not in right and {"left", "right", "on"} & set(right):
        hint = "write the inner join as the left side"
        raise InvalidQuery("the right side is a store, not a join", pointer=f"{pointer}/right", hint=hint)
    right_side = _parse_store(right, "right", f"{pointer}/right")
    names = left_side.names if isinstance(left_side, JoinSpec) else (left_side.name,)
    if right_side.name in names:
        raise InvalidQuery(
            f"two sides would be called {right_side.name!r}",
            pointer=f"{pointer}/right",
            hint='give one another name: {"store": ..., "as": ...}',
        )
    pairs, places = _parse_on(on, names if isinstance(left_side, JoinSpec) else None, f"{pointer}/on")
    return JoinSpec(left_side, right_side, pairs, kind, where, pointer, places)


def _parse_type(given: Any, pointer: str) -> str:
    if isinstance(given, str) and given in TYPES:
        return given
    hint = nearest(given.lower(), TYPES, _INSTEAD) if isinstance(given, str) else f"one of {', '.join(TYPES)}"
    raise InvalidQuery(f"{given!r} is no type of join", pointer=pointer, hint=hint)


def _parse_left(given: Any, pointer: str) -> StoreSpec | JoinSpec:
    if not isinstance(given, Mapping) or "store" in given or not {"left", "right", "on"} & set(given):
        side = _parse_store(given, "left", pointer)
        if side.database is not None:
            raise InvalidQuery(
                "the left side is of this database",
                pointer=f"{pointer}/database",
                hint="another database can stand on the right",
            )
        return side
    hints = {"as": "the sides of a join within a join keep their own names: give those an as"}
    _check_members(given, _JOIN, pointer, hints)
    for name in ("left", "right", "on"):
        if name not in given:
            raise InvalidQuery(f"a join has left, right and on; {name} is missing", pointer=pointer)
    return parse_join(
        given["left"], given["right"], given["on"], given.get("type", "inner"), pointer, given.get("filter")
    )


def _parse_store(given: Any, name: str, pointer: str) -> StoreSpec:
    if isinstance(given, str) and given:
        return StoreSpec(given, name, None, None, None, pointer)
    if not isinstance(given, Mapping):
        hint = 'write "orders" or {"store": "orders", "as": "o", "filter": {...}}'
        raise InvalidQuery(f"a side is a store, not {given!r}", pointer=pointer, hint=hint)
    _check_members(given, _STORE, pointer, {})
    for member in ("store", "as", "database"):
        value = given.get(member)
        if (value is None and member != "store") or (isinstance(value, str) and value):
            continue
        raise InvalidQuery(f"{member} is a name, not {value!r}", pointer=f"{pointer}/{member}")
    name = given.get("as") or name
    if not _NAME.fullmatch(name):
        raise InvalidQuery(f"{name!r} cannot name a side", pointer=f"{pointer}/as", hint="take letters, digits and _")
    where = given.get("filter")
    if where is not None and not isinstance(where, Mapping):
        raise InvalidQuery(f"a filter is an object, not {where!r}", pointer=f"{pointer}/filter")
    return StoreSpec(given["store"], name, where, given.get("key"), given.get("database"), pointer)


def _check_members(given: Mapping[str, Any], known: Sequence[str], pointer: str, hints: Mapping[str, str]) -> None:
    for name in given:
        if name not in known:
            hint = hints.get(name) or nearest(str(name), known)
            raise InvalidQuery(f"a side has no {name!r}", pointer=point(pointer, name), hint=hint)


def _parse_on(
    given: Any, names: tuple[str, ...] | None, pointer: str
) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
    """The pairs of paths, and their places; `names` are the sides of a join on the left, of which the left path names one first."""
    if isinstance(given, Mapping):
        pairs = [(left, right, point(pointer, left)) for left, right in given.items()]
    elif names is not None:
        hint = f'write {{"{names[0]}.field": "field"}}'
        raise InvalidQuery("on is an object where the left side is a join", pointer=pointer, hint=hint)
    elif isinstance(given, str):
        pairs = [(given, given, pointer)]
    elif isinstance(given, list | tuple):
        pairs = [(name, name, f"{pointer}/{at}") for at, name in enumerate(given)]
    else:
        hint = 'write {"customer_id": "id"}, or the name of a field that both have'
        raise InvalidQuery(f"on names the fields to join by, not {given!r}", pointer=pointer, hint=hint)
    if not pairs:
        raise InvalidQuery("on names no field", pointer=pointer, hint='write {"customer_id": "id"}')
    for left, right, place in pairs:
        path = parse_path(left, place)
        parse_path(right, place)
        if names is not None:
            check_name(path[0], names, place)
            if len(path) == 1:
                hint = f"write {left}.field"
                raise InvalidQuery(f"{left} is a side, not a field of it", pointer=place, hint=hint)
    if len({pair[:2] for pair in pairs}) < len(pairs):
        raise InvalidQuery("a pair of fields stands twice in on", pointer=pointer)
    return tuple((left, right) for left, right, _ in pairs), tuple(place for _, _, place in pairs)


def check_name(name: str, names: Collection[str], pointer: str) -> None:
    """Refuse a name that is none of the sides'. Raises InvalidQuery with the nearest."""
    if name not in names:
        hint = f"{nearest(name, list(names))} (a field is written side.field)"
        raise InvalidQuery(f"there is no side {name!r} in the joined rows", pointer=pointer, hint=hint)


def nearest(name: str, known: Sequence[str], instead: Mapping[str, str] | None = None) -> str:
    """A hint: the known name that was meant, or all of them."""
    return did_you_mean((instead or {}).get(name, name), known, "one of")
