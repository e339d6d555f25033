"""What a word means for an argument: its type is that of the tool's own schema.

A string argument takes the text as it stands (`customer_id=00042` keeps its zeros); every other one JSON where the word is JSON. An
argument that takes text as well as other things (a key, say) takes JSON where the word is JSON and text otherwise: "42" in quotes is text.
A list may be written with commas. yes, no, on and off are booleans where nothing but a boolean will do.
"""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, Final

from toolbox.authoring.commands.words import Word, json_value
from toolbox.errors import InvalidArguments

_NO_VALUE: Final = object()
_NUMBER: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_BOOLEANS: Final = {"yes": True, "no": False, "on": True, "off": False}
_ARTICLES: Final = {"array": "a list", "integer": "a whole number", "null": "null", "object": "an object"}


def typed(name: str, word: Word, schema: Any, root: Any = None) -> Any:
    """The value of a word for an argument. Raises InvalidArguments."""
    allowed = kinds(schema, root if root is not None else schema)
    if word.kind != "bare":
        if not allowed or _fits(word.value, allowed):
            return word.value
        raise _wrong(name, word, allowed)
    text = str(word.value)
    if allowed == {"string"}:
        return text
    value = _json(text)
    if value is not _NO_VALUE and (not allowed or _fits(value, allowed)):
        return value
    if not allowed or "string" in allowed:
        if value is _NO_VALUE and _NUMBER.fullmatch(text) and not text.lstrip("-").startswith("0"):
            raise InvalidArguments(
                f"{name}: {text} is too large a number"[:300], pointer=f"/{name}", hint="text stands in quotes"
            )
        return text
    if allowed - {"null"} == {"boolean"} and text.lower() in _BOOLEANS:
        return _BOOLEANS[text.lower()]
    if "array" in allowed and value is _NO_VALUE:
        inner = _items(schema, root if root is not None else schema)
        parts = [part.strip() for part in text.split(",") if part.strip()]
        return [typed(name, Word(part, "bare", None, word.start), inner, root) for part in parts]
    raise _wrong(name, word, allowed)


def kinds(schema: Any, root: Any, depth: int = 0) -> frozenset[str]:
    """The JSON types that a schema allows; empty where it says nothing."""
    if isinstance(schema, str):
        return frozenset({"string" if schema == "date" else schema})
    if not isinstance(schema, Mapping) or depth > 8:
        return frozenset()
    if isinstance(schema.get("$ref"), str):
        return kinds(_target(root, schema["$ref"]), root, depth + 1)
    kind = schema.get("type")
    if isinstance(kind, str):
        return frozenset({kind})
    if isinstance(kind, list):
        return frozenset(map(str, kind))
    for name in ("anyOf", "oneOf"):
        if isinstance(schema.get(name), list):
            found = [kinds(inner, root, depth + 1) for inner in schema[name]]
            return frozenset().union(*found) if all(found) else frozenset()
    values = schema.get("enum") or ([schema["const"]] if "const" in schema else [])
    return frozenset(map(kind_of, values))


def kind_of(value: Any) -> str:
    """The JSON type of a value."""
    if isinstance(value, bool):
        return "boolean"
    if value is None:
        return "null"
    for kind, name in ((str, "string"), (int, "integer"), (float, "number"), (list, "array")):
        if isinstance(value, kind):
            return name
    return "object"


def suggestion(name: str, known: Iterable[str], otherwise: str = "") -> str | None:
    """The hint for a name that there is not."""
    candidates = sorted(known)
    near = get_close_matches(name, candidates, n=1)
    return f"did you mean {near[0]!r}?" if near else otherwise or None


def _fits(value: Any, allowed: frozenset[str]) -> bool:
    kind = kind_of(value)
    return kind in allowed or (kind == "integer" and "number" in allowed)


def _json(text: str) -> Any:
    """The JSON value that a text is, if it is one."""
    try:
        return json_value(text)
    except ValueError:
        return _NO_VALUE


def _items(schema: Any, root: Any) -> Any:
    """The schema of the elements of a list."""
    if isinstance(schema, Mapping):
        for inner in (schema, *schema.get("anyOf", ())):
            if isinstance(inner, Mapping) and inner.get("type") == "array":
                return inner.get("items")
        if isinstance(schema.get("$ref"), str):
            return _items(_target(root, schema["$ref"]), root)
    return None


def _target(root: Any, reference: str) -> Any:
    found = root
    for part in reference.removeprefix("#").strip("/").split("/"):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _wrong(name: str, word: Word, allowed: frozenset[str]) -> InvalidArguments:
    wanted = " or ".join(_ARTICLES.get(kind, f"a {kind}") for kind in sorted(allowed))
    hint = "without quotes it is a number or a word of JSON" if word.kind == "text" else None
    return InvalidArguments(f"{name} has to be {wanted}, and is {word.value!r}"[:300], pointer=f"/{name}", hint=hint)
