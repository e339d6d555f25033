"""Words: values, lists of things, durations, types.

What a script computes stays as code, in backquotes: `size(orders) == 0`. What is in quotes is literal text, with the escapes of JSON, so a
text cannot pretend to be another step: nothing that a script holds comes out with a line break or an invisible character in it.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson

from script.errors import ExpressionSyntaxError
from script.expressions.durations import InvalidDuration, parse_duration
from script.expressions.templates import split_template

_NAME: Final = re.compile(r"[$A-Za-z_][\w.-]*", re.ASCII)
_BACKQUOTES: Final = re.compile("`+")
_UNITS: Final = ((604_800, "week"), (86_400, "day"), (3600, "hour"), (60, "minute"))
_BOUNDS: Final = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "minLength": "of at least {} characters",
    "maxLength": "of at most {} characters",
    "minItems": "at least {} of them",
    "maxItems": "at most {} of them",
    "pattern": "fitting the pattern {}",
}
_TYPES: Final = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}


def visible(text: str) -> str:
    """A text without line breaks and characters that are not seen: they come as their escapes."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def code(text: str) -> str:
    """Code in backquotes: in more of them than stand together in it (CommonMark 0.31, section 6.1)."""
    text = visible(text)
    fence = "`" * (1 + max((len(found) for found in _BACKQUOTES.findall(text)), default=0))
    pad = " " if text[:1] == "`" or text[-1:] == "`" or not text else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def json(value: Any) -> str:
    """A value as JSON on one line, with blanks behind commas and colons."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json(str(key))}: {json(element)}" for key, element in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(json, value)) + "]"
    return visible(orjson.dumps(value, default=str).decode())


def value(given: Any) -> str:
    """A value of a script: expressions as code wherever they stand in it, literal text in quotes."""
    if isinstance(given, str):
        expression = single_expression(given)
        return json(given) if expression is None else code(expression)
    if isinstance(given, Mapping):
        return "{" + ", ".join(f"{_key(str(key))}: {value(element)}" for key, element in given.items()) + "}"
    if isinstance(given, list | tuple):
        return "[" + ", ".join(map(value, given)) + "]"
    return json(given)


def _key(text: str) -> str:
    return text if _NAME.fullmatch(text) else json(text)


def single_expression(text: str) -> str | None:
    """The expression that a template is, if it is nothing else."""
    if "{{" not in text:
        return None
    try:
        parts = split_template(text)
    except ExpressionSyntaxError:
        return None
    return parts[0][1] if len(parts) == 1 and parts[0][0] else None


def listed(items: Iterable[str], last: str = "and") -> str:
    """a, b and c."""
    *before, final = list(items) or ["nothing"]
    return f"{', '.join(before)} {last} {final}" if before else final


def counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def duration(given: Any) -> str:
    """How long: 1 hour 30 minutes; an expression as code."""
    if isinstance(given, str) and "{{" in given:
        return value(given)
    try:
        seconds = parse_duration(given)
    except InvalidDuration:
        return value(given)
    parts = []
    for length, noun in _UNITS:
        number, seconds = divmod(seconds, length)
        if number:
            parts.append(counted(int(number), noun))
    if seconds or not parts:
        parts.append(f"{seconds:.12g} second{'' if seconds == 1 else 's'}")
    return " ".join(parts)


def json_type(schema: Any) -> str | None:
    """A JSON Schema in words, and what there are none for as code; None for any value."""
    if not isinstance(schema, Mapping) or not schema:
        return None if schema in (None, {}, True) else code(json(schema))
    left = dict(schema)
    kind = left.pop("type", None)
    names = kind if isinstance(kind, list) else [kind] if kind is not None else []
    if any(not isinstance(name, str) for name in names):
        return code(json(schema))
    words = [listed([_TYPES.get(name, visible(name)) for name in names], "or") if names else "a value"]
    if names == ["string"] and left.get("format") == "date":
        words = ["a date"]
        del left["format"]
    if isinstance(left.get("enum"), list):
        words = [f"one of {', '.join(map(json, left.pop('enum')))}"]
    if isinstance(left.get("items"), Mapping):
        words.append(f"each {json_type(left.pop('items')) or 'any value'}")
    for name, text in _BOUNDS.items():
        if name in left:
            words.append(text.format(json(left.pop(name))))
    words += _members(left)
    return ", ".join([*words, *([code(json(left))] if left else [])])


def _members(left: dict[str, Any]) -> list[str]:
    """The fields of an object; takes what it tells out of the schema."""
    fields, required = left.get("properties"), left.get("required", [])
    if not isinstance(fields, Mapping) or not isinstance(required, list) or not set(map(str, required)) <= set(fields):
        return []
    for name in ("properties", "required"):
        left.pop(name, None)
    told = []
    for name, schema in fields.items():
        about = [found for found in (json_type(schema), None if name in required else "optional") if found]
        told.append(_key(name) + (f" ({', '.join(about)})" if about else ""))
    only = left.get("additionalProperties") is False
    if only:
        del left["additionalProperties"]
    return [f"with {'only ' if only else ''}{listed(told)}"] if told else ["with no fields"] if only else []
