"""Dotted paths: `a.b` names the member `b` of the object in the field `a`, `a.0` the first element of an array there.

Whatever is not there reads as null, as everywhere in sorting and aggregation.
"""

from collections.abc import Callable, Mapping
from operator import methodcaller
from typing import Any

from query.errors import InvalidQuery
from query.values.values import MISSING, follow

Reader = Callable[[Mapping[str, Any]], Any]


def parse_path(text: Any, pointer: str) -> tuple[str, ...]:
    """The names of a path. Raises InvalidQuery for what is no text, or has an empty name."""
    if not isinstance(text, str) or not all(text.split(".")):
        raise InvalidQuery(f"a field is named by text like name or outer.inner, not {text!r}", pointer=pointer)
    return tuple(text.split("."))


def compile_path(path: tuple[str, ...]) -> Reader:
    """A function from a record to the value at a path, null where there is none."""
    if len(path) == 1:
        return methodcaller("get", path[0])

    def read(record: Mapping[str, Any]) -> Any:
        value = follow(record, path)
        return None if value is MISSING else value

    return read
