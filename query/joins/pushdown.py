"""A filter on joined rows: what of it can be tested before joining, on one side alone.

A condition on fields of one side is tested there, if no row without that side can pass for another reason:

    left side      inner, left, semi, anti
    right side     inner, right

An outer join whose filter no unmatched row passes is a narrower join: a left join with a condition on the right side
that null does not meet is an inner join. A left join whose right side has to be null is an anti join. The *rest* of the
filter is tested on joined rows.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from query.errors import point
from query.filters.conditions import Conjunct, conjuncts, together
from query.filters.predicates import compile_filter

_WITHOUT_LEFT: Final = {"right": "inner", "full": "left"}
_WITHOUT_RIGHT: Final = {"left": "inner", "full": "right"}


@dataclass(frozen=True)
class Pushed:
    """A filter taken apart; `kind` is the type of join that is left to do."""

    left: tuple[Conjunct, ...]
    right: tuple[Conjunct, ...]
    rest: dict[str, Any]
    kind: str


def push_down(
    query: Mapping[str, Any] | None, left_names: Sequence[str], right_name: str, kind: str, *, chain: bool
) -> Pushed:
    """Take a filter on joined rows apart. In a chain, conditions on the left side are on joined rows too, and keep their names."""
    parts = list(conjuncts(query or {}))
    lefts = [part for part in parts if _names(part) and _names(part) <= set(left_names)]
    rights = [part for part in parts if _names(part) == {right_name}]
    if kind in _WITHOUT_LEFT and any(not _passes(part, left_names) for part in lefts):
        kind = _WITHOUT_LEFT[kind]
    if kind in _WITHOUT_RIGHT and any(not _passes(part, [right_name]) for part in rights):
        kind = _WITHOUT_RIGHT[kind]
    pushed_left = [part for part in lefts if kind in ("inner", "left", "semi", "anti") and (chain or _inside(part))]
    pushed_right = [part for part in rights if kind in ("inner", "right") and _inside(part)]
    rest = [part for part in parts if part not in pushed_left and part not in pushed_right]
    empty = Conjunct(right_name, "$eq", None)
    if kind == "left" and empty in rest:
        kind = "anti"
        rest = [part for part in rest if part != empty]
    return Pushed(
        tuple(pushed_left if chain else map(_stripped, pushed_left)),
        tuple(map(_stripped, pushed_right)),
        together(rest),
        kind,
    )


def paths_of(query: Mapping[str, Any], pointer: str) -> Iterator[tuple[str, str]]:
    """The dotted paths that a filter reads, each with its place. The filter is a right one."""
    for name, value in query.items():
        place = point(pointer, name)
        if name in ("$and", "$or"):
            for at, part in enumerate(value):
                yield from paths_of(part, f"{place}/{at}")
        elif name == "$not":
            yield from paths_of(value, place)
        else:
            yield name, place


def _names(part: Conjunct) -> set[str]:
    """The sides that a condition reads."""
    return {path.partition(".")[0] for path, _ in paths_of(part.as_filter(), "")}


def _inside(part: Conjunct) -> bool:
    """Whether a condition is on fields of a side, not on whether there is a row."""
    return all("." in path for path, _ in paths_of(part.as_filter(), ""))


def _passes(part: Conjunct, names: Sequence[str]) -> bool:
    """Whether a row without these sides passes."""
    test = compile_filter(part.as_filter())
    return test is None or test(dict.fromkeys(names))


def _stripped(part: Conjunct) -> Conjunct:
    """A condition on a joined row as one on the record of its side."""
    if part.field is not None:
        return replace(part, field=part.field.partition(".")[2])
    return replace(part, operand=_without_side(part.operand))


def _without_side(query: Any) -> Any:
    if isinstance(query, list):
        return [_without_side(part) for part in query]
    found = {}
    for name, value in query.items():
        if name in ("$and", "$or", "$not"):
            found[name] = _without_side(value)
        else:
            found[name.partition(".")[2]] = value
    return found
