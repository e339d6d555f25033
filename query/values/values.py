"""JSON values: which comes first, and what stands at a dotted path. (When two are equal: `script/equality.py`.)

    null < false < true < numbers < strings < arrays < objects

Numbers compare by value whatever their type (2**53 + 1 is not the double 2.0**53), and true is not 1. Strings compare by code
point. Arrays compare element by element, and a beginning comes before what continues it. Objects compare as the array of their
[name, value] pairs in the order of the names; the order in which they are written means nothing.

Values are what a JSON decoder gives: None, bool, int, float, str, list, dict; and MISSING where a record has no such field.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

MISSING: Final = msgspec.UNSET
"""No value at all. The decoder's own mark for it, so that a decoded page needs no translation."""


def comparable(left: Any, right: Any) -> bool:
    """Whether an ordering operator may compare the two: both numbers, both strings, or both booleans."""
    if isinstance(left, bool) or isinstance(right, bool):
        return isinstance(left, bool) and isinstance(right, bool)
    if isinstance(left, int | float):
        return isinstance(right, int | float)
    return isinstance(left, str) and isinstance(right, str)


def sort_key(value: Any) -> tuple[Any, ...]:
    """A key that sorts any values in the order above. A missing value sorts as null."""
    if value is None or value is MISSING:
        return (0,)
    if isinstance(value, bool):
        return (2,) if value else (1,)
    if isinstance(value, int | float):
        return (3, value)
    if isinstance(value, str):
        return (4, value)
    if isinstance(value, list):
        return (5, [sort_key(element) for element in value])
    return (6, [(name, sort_key(value[name])) for name in sorted(value)])


def follow(value: Any, path: Sequence[str]) -> Any:
    """The value at a path of names, or MISSING. A whole number without leading zeros takes the element of an array."""
    for name in path:
        if isinstance(value, dict):
            value = value.get(name, MISSING)
        elif isinstance(value, list):
            value = _element(value, name)
        else:
            return MISSING
    return value


def _element(array: list[Any], name: str) -> Any:
    if not (name.isascii() and name.isdigit()) or (name[0] == "0" and name != "0") or len(name) > 18:
        return MISSING
    index = int(name)
    return array[index] if index < len(array) else MISSING
