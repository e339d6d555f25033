"""What differs between two scripts, told as an editor would: steps and parameters that are new, gone or moved, and fields that changed.

A step is followed by its name wherever it stands in its list (`matching`), so a step in front of the others is one change and not as
many as there are steps. A step that goes into another list (into a loop, say) is gone here and new there. Values without steps in them
(arguments, filters) are compared field by field, other lists as a whole.

Two scripts without a difference are the same JSON, and the other way round; the order of an object's fields means nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import orjson

from script.editing.english import Where, told
from script.editing.matching import match, moved

Kind = Literal["added", "removed", "changed", "moved"]
_ELEMENTS: Final = frozenset({"steps", "then", "else", "catch", "finally", "compensate", "on_failure", "parameters"})
"""The fields whose lists have elements that are followed."""


@dataclass(frozen=True)
class Change:
    """One difference. `pointer` is its place in the new script, `was` that in the old one; what was not there before has no `was`, what
    is gone has no `pointer`. `before` and `after` are the values (not those of a move). `text` tells it in English."""

    kind: Kind
    pointer: str | None
    was: str | None
    before: Any
    after: Any
    text: str

    def to_dict(self) -> dict[str, Any]:
        """The JSON form: `before` only where there was something, `after` where there is; neither for a move."""
        left = {"pointer": self.pointer is not None, "was": self.was is not None}
        left |= {"before": left["was"] and self.kind != "moved", "after": left["pointer"] and self.kind != "moved"}
        return {name: value for name, value in asdict(self).items() if left.get(name, True)}


def diff_scripts(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """The changes that make `new` of `old`, in the order of `new`, what is gone where it stood."""
    return list(_objects(old, new, "", "", Where()))


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The changes as they are told: `changes` as JSON, and `text`, the same in English, a line each."""
    changes = diff_scripts(old, new)
    return {"changes": [change.to_dict() for change in changes], "text": [change.text for change in changes]}


def _change(kind: Kind, places: tuple[str | None, str | None], values: tuple[Any, Any], where: Where) -> Change:
    was, pointer = places
    before, after = values
    return Change(kind, pointer, was, before, after, told(kind, before, after, where))


def _objects(old: Mapping[str, Any], new: Mapping[str, Any], was: str, pointer: str, where: Where) -> Iterator[Change]:
    for name in [*new, *(name for name in old if name not in new)]:
        old_place, place, inner = f"{was}/{_escaped(name)}", f"{pointer}/{_escaped(name)}", where.field(name)
        if name not in old:
            yield _change("added", (None, place), (None, new[name]), inner)
        elif name not in new:
            yield _change("removed", (old_place, None), (old[name], None), inner)
        else:
            yield from _values(old[name], new[name], old_place, place, inner, followed=name in _ELEMENTS)


def _values(old: Any, new: Any, was: str, pointer: str, where: Where, *, followed: bool) -> Iterator[Change]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        yield from _objects(old, new, was, pointer, where)
    elif followed and isinstance(old, list) and isinstance(new, list):
        yield from _lists(old, new, was, pointer, where)
    elif _text(old) != _text(new):
        yield _change("changed", (was, pointer), (old, new), where)


def _lists(old: Sequence[Any], new: Sequence[Any], was: str, pointer: str, where: Where) -> Iterator[Change]:
    matched = match(old, new)
    moving = moved(matched)
    kept = set(matched.values())
    for position, element in enumerate(old):
        if position not in kept:
            yield _change("removed", (f"{was}/{position}", None), (element, None), where.element(old, position))
    for position, element in enumerate(new):
        place, here = f"{pointer}/{position}", where.element(new, position)
        if position not in matched:
            yield _change("added", (None, place), (None, element), here)
            continue
        old_place, before = f"{was}/{matched[position]}", old[matched[position]]
        if position in moving:
            yield _change("moved", (old_place, place), (None, None), here)
        yield from _values(before, element, old_place, place, here, followed=False)


def _text(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
