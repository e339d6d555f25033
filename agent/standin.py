"""A value in the place of an answer, where the model is not asked: in a dry run, or where `ask_model` is mocked.

Made from the schema: `const`, the first of `enum` or `examples`, `default`, otherwise the simplest value of its type with all that is
`required` and the smallest sizes. It is checked against the schema before it is given; where none is found that satisfies it, it is null,
and a notice says so.
"""

from collections.abc import Mapping
from typing import Any, Final

from script.json_schemas import violation

TEXT: Final = "(the model was not asked)"
_DEPTH: Final = 16
_FORMATS: Final = {
    "date": "2000-01-01",
    "date-time": "2000-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "email": "nobody@example.com",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-0000-0000-000000000000",
}


def stand_in(schema: Mapping[str, Any] | None) -> tuple[Any, str]:
    """A value that satisfies the schema (or null), and the notice that goes with it."""
    if schema is None:
        return TEXT, "the model was not asked: this text stands for its answer"
    value = _simplest(schema, schema, 0)
    if violation(schema, value) is None:
        return value, "the model was not asked: this is the simplest value that satisfies the schema"
    return None, "the model was not asked, and no simple value satisfies the schema: null stands for its answer"


def _simplest(schema: Any, root: Mapping[str, Any], depth: int) -> Any:
    if not isinstance(schema, Mapping) or depth > _DEPTH:
        return None
    for name in ("enum", "examples"):
        if schema.get(name):
            return schema[name][0]
    for name in ("const", "default"):
        if name in schema:
            return schema[name]
    for name in ("anyOf", "oneOf", "allOf"):
        if schema.get(name):
            return _simplest({**schema[name][0]} if isinstance(schema[name][0], Mapping) else None, root, depth + 1)
    if "$ref" in schema:
        return _simplest(_target(root, schema["$ref"]), root, depth + 1)
    kind = schema.get("type", "object" if "properties" in schema else "array" if "items" in schema else None)
    return _OF_TYPE.get(kind[0] if isinstance(kind, list) and kind else kind, _null)(schema, root, depth + 1)


def _target(root: Mapping[str, Any], reference: str) -> Any:
    """What a reference within the schema means."""
    found: Any = root
    for part in reference.removeprefix("#").strip("/").split("/") if reference.startswith("#/") else ():
        found = found.get(part) if isinstance(found, Mapping) else None
    return found if reference.startswith("#/") else None


def _object(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> Any:
    properties = schema.get("properties", {})
    return {name: _simplest(properties.get(name), root, depth) for name in schema.get("required", [])}


def _array(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> Any:
    return [_simplest(schema.get("items"), root, depth)] * min(schema.get("minItems", 0), 1_000)


def _string(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> Any:
    if schema.get("format") in _FORMATS:
        return _FORMATS[schema["format"]]
    return "x" * min(schema.get("minLength", 0), 10_000)


def _number(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> Any:
    if "minimum" in schema:
        return schema["minimum"]
    if "exclusiveMinimum" in schema:
        return schema["exclusiveMinimum"] + 1
    return min(0, schema.get("maximum", 0), schema.get("exclusiveMaximum", 1) - 1)


def _false(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> Any:
    return False


def _null(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> Any:
    return None


_OF_TYPE: Final = {
    "object": _object,
    "array": _array,
    "string": _string,
    "number": _number,
    "integer": _number,
    "boolean": _false,
    "null": _null,
    None: _null,
}
