"""Quick answers to whether a value satisfies a JSON Schema, for the schemas of nearly all arguments and results.

A check gives true only for what surely satisfies the schema; what it does not know, and what is wrong, is for the whole validator.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

Check = Callable[[Any], bool]

_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "object": (dict,),
    "array": (list,),
    "null": (type(None),),
}
_SAYS_NOTHING: Final = frozenset({"description", "title", "default", "format", "examples"})


def quick_check(schema: Any) -> Check | None:
    """A check for a schema; None where it has something that is not known here."""
    kind = schema.get("type") if isinstance(schema, Mapping) else None
    if not isinstance(kind, str) or kind not in _TYPES:
        return None
    types = _TYPES[kind]
    left = {name: value for name, value in schema.items() if name not in _SAYS_NOTHING and name != "type"}
    if types == (dict,):
        return _object(left)
    if types == (str,) and left.keys() == {"minLength"} and type(left["minLength"]) is int:
        least = left["minLength"]
        return lambda value: type(value) is str and len(value) >= least
    if left:
        return None
    return lambda value: type(value) in types


def _object(left: Mapping[str, Any]) -> Check | None:
    if not left.keys() <= {"properties", "required", "additionalProperties"}:
        return None
    closed = left.get("additionalProperties", True)
    if not isinstance(closed, bool):
        return None
    fields = {name: quick_check(part) for name, part in left.get("properties", {}).items()}
    known = {name: check for name, check in fields.items() if check is not None}
    if len(known) < len(fields):
        return None
    required = frozenset(left.get("required", ()))

    def check(value: Any) -> bool:
        if type(value) is not dict or not required <= value.keys():
            return False
        for name, element in value.items():
            part = known.get(name)
            if part is None:
                if not closed:
                    return False
            elif not part(element):
                return False
        return True

    return check
