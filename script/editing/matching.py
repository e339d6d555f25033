"""Which elements of two lists are the same one, and which of them have moved.

Steps and parameters are known by their names. Those without one are the same if they are equal; what is left is the same if it only has
another name, and then if it is of the same type, in order: a step without a name that was edited. Handlers are known by their errors.
"""

from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import orjson


def match(old: Sequence[Any], new: Sequence[Any]) -> dict[int, int]:
    """The positions in `new` of elements that there were before -> their positions in `old`."""
    found: dict[int, int] = {}
    for same in (_name, _text, _nameless, _unnamed_kind):
        _pair(old, new, same, found)
    return found


def moved(matched: Mapping[int, int]) -> set[int]:
    """The positions in `new` of those that have to move: all but a longest run that kept its order."""
    positions = sorted(matched)
    tails: list[int] = []
    ends: list[int] = []
    before: dict[int, int | None] = {}
    for position in positions:
        place = bisect_left(tails, matched[position])
        before[position] = ends[place - 1] if place else None
        tails[place : place + 1] = [matched[position]]
        ends[place : place + 1] = [position]
    staying: set[int] = set()
    at = ends[-1] if ends else None
    while at is not None:
        staying.add(at)
        at = before[at]
    return set(positions) - staying


def _pair(
    old: Sequence[Any], new: Sequence[Any], same: Callable[[Any], Hashable | None], found: dict[int, int]
) -> None:
    """Match those that are not matched yet and say the same, in order."""
    taken = set(found.values())
    waiting: dict[Hashable, deque[int]] = defaultdict(deque)
    for position, element in enumerate(old):
        if position not in taken and (said := same(element)) is not None:
            waiting[said].append(position)
    for position, element in enumerate(new):
        if position not in found and (said := same(element)) is not None and waiting.get(said):
            found[position] = waiting[said].popleft()


def _name(element: Any) -> Hashable | None:
    if isinstance(element, str):
        return element
    name = element.get("name") if isinstance(element, Mapping) else None
    return name if isinstance(name, str) else None


def _text(element: Any) -> bytes:
    return orjson.dumps(element, option=orjson.OPT_SORT_KEYS)


def _nameless(element: Any) -> bytes | None:
    if not isinstance(element, Mapping) or len(element) < 2:
        return None
    return _text({field: value for field, value in element.items() if field != "name"})


def _unnamed_kind(element: Any) -> Hashable | None:
    if not isinstance(element, Mapping) or "name" in element:
        return None
    return _text(element.get("type", element.get("errors")))
