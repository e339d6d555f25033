"""From text to a Script: the one way in.

Comments (`//`) are stripped from text, duplicate keys refused, older spellings translated with a notice (macro, call_script -> script;
tool -> command; assignment -> set; condition -> if; Go-template forms -> CEL), limits checked, and all that does not fit
the models told at once, each problem with a pointer into the document as it was given.

The canonical form of a script (sorted keys, compact, only what was given) is what is hashed: two texts that mean the same
tree are the same version.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Final

import orjson
from pydantic import BaseModel, ValidationError

from script.errors import ExpressionSyntaxError, Problem, ScriptInvalid
from script.expressions.templates import split_template
from script.source.ast import STEP_MODELS, Parameter, Script
from script.source.goforms import to_cel

MAX_BYTES: Final = 256 * 1024
MAX_DEPTH: Final = 64
MAX_STEPS: Final = 10_000

_TYPES: Final = {"macro": "script", "call_script": "script", "tool": "command", "assignment": "set", "condition": "if"}
_FIELDS: Final = {
    "script": {"macro_name": "script_name", "macro_args": "script_args", "name_of_script": "script_name"},
    "command": {"tool": "command"},
}
_STEP_LISTS: Final = ("steps", "then", "else", "finally", "compensate", "on_failure")
_PLAIN: Final = ("name", "description", "type")


@dataclass(frozen=True)
class Notice:
    """Something that was translated."""

    pointer: str
    message: str


@dataclass(frozen=True)
class LoadedScript:
    """A script and what was translated on the way."""

    script: Script
    notices: list[Notice] = field(default_factory=list)


def load_script(source: str | bytes | Mapping[str, Any]) -> LoadedScript:
    """Read a script from text (comments allowed) or from parsed JSON.

    Raises ScriptInvalid with all problems.
    """
    document = read_document(source)
    notices: list[Notice] = []
    normal = _normalize(dict(document), "", notices)
    try:
        return LoadedScript(Script.model_validate(normal), notices)
    except ValidationError as error:
        raise ScriptInvalid([_problem(dict(found), document, normal) for found in error.errors()]) from None


def read_document(source: str | bytes | Mapping[str, Any]) -> Mapping[str, Any]:
    """A JSON object that is within the limits of scripts, and may be none. Raises ScriptInvalid."""
    document = parse_text(source) if isinstance(source, str | bytes) else source
    if not isinstance(document, Mapping):
        raise ScriptInvalid([Problem("not_an_object", "", "a script is a JSON object")])
    _check_limits(document)
    _check_values(document)
    return document


def canonical_json(script: Script) -> bytes:
    """The canonical form: only the fields that were given, keys sorted, no blanks."""
    return orjson.dumps(script.model_dump(mode="json", by_alias=True, exclude_unset=True), option=orjson.OPT_SORT_KEYS)


def script_hash(script: Script) -> str:
    """The version of a script: sha256 of its canonical form, in hex."""
    return hashlib.sha256(canonical_json(script)).hexdigest()


# --- text ---


def parse_text(source: str | bytes) -> Any:
    """Parse JSON with `//` comments; a duplicate key is an error. Raises ScriptInvalid."""
    text = source.decode("utf-8-sig") if isinstance(source, bytes) else source
    if len(text.encode()) > MAX_BYTES:
        raise ScriptInvalid([Problem("too_large", "", f"a script is at most {MAX_BYTES} bytes")])
    try:
        return json.loads(strip_comments(text), object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        message = f"this is not JSON: {error.msg} (line {error.lineno}, column {error.colno})"
        raise ScriptInvalid([Problem("not_json", "", message)]) from None
    except RecursionError:
        raise ScriptInvalid([Problem("too_deep", "", f"a script is nested at most {MAX_DEPTH} deep")]) from None


def strip_comments(text: str) -> str:
    """Blank out `//` comments outside of strings; lines and columns stay where they are."""
    result: list[str] = []
    at, in_string = 0, False
    while at < len(text):
        char = text[at]
        if in_string and char == "\\":
            result.append(text[at : at + 2])
            at += 2
            continue
        if char == '"':
            in_string = not in_string
        elif not in_string and text.startswith("//", at):
            end = text.find("\n", at)
            at = len(text) if end < 0 else end
            continue
        result.append(char)
        at += 1
    return "".join(result)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ScriptInvalid([Problem("duplicate_key", f"/{key}", f"the key {key!r} stands twice in one object")])
        found[key] = value
    return found


def _check_limits(document: Any) -> None:
    steps, stack = 0, [(document, 0)]
    while stack:
        value, depth = stack.pop()
        if depth > MAX_DEPTH:
            raise ScriptInvalid([Problem("too_deep", "", f"a script is nested at most {MAX_DEPTH} deep")])
        if isinstance(value, Mapping):
            steps += "type" in value
            stack += [(element, depth + 1) for element in value.values()]
        elif isinstance(value, list):
            stack += [(element, depth + 1) for element in value]
    if steps > MAX_STEPS:
        raise ScriptInvalid(
            [Problem("too_many_steps", "", f"a script has at most {MAX_STEPS} steps, this has about {steps}")]
        )


def _check_values(document: Mapping[str, Any]) -> None:
    try:
        orjson.dumps(document)
    except TypeError as error:
        message = f"a value has no place in a script: {error}"
        hint = "whole numbers have at most 64 bits, text has no lone surrogates"
        raise ScriptInvalid([Problem("invalid_value", "", message, hint)]) from None


# --- older spellings ---


def _normalize(node: dict[str, Any], pointer: str, notices: list[Notice]) -> dict[str, Any]:
    """A script or a step in today's words. The order of the fields stays, so that pointers stay meaningful."""
    kind = node.get("type")
    if isinstance(kind, str) and kind in _TYPES:
        notices.append(Notice(f"{pointer}/type", f"{kind} is called {_TYPES[kind]} today"))
        node["type"] = kind = _TYPES[kind]
    renames = _FIELDS.get(str(kind), {})
    result: dict[str, Any] = {}
    for name, value in node.items():
        where = f"{pointer}/{name}"
        target = renames.get(name, name) if renames.get(name) not in node else name
        if name in _STEP_LISTS and isinstance(value, list):
            result[target] = [
                _normalize(dict(step), f"{where}/{index}", notices) if isinstance(step, Mapping) else step
                for index, step in enumerate(value)
            ]
        elif name in _PLAIN or (name == "parameters" and kind is None):
            result[target] = value
        else:
            result[target] = _translated(value, where, notices, bare=name in ("condition", "when", "while"))
    return result


def _translated(value: Any, pointer: str, notices: list[Notice], *, bare: bool = False) -> Any:
    """The same value with Go forms in CEL; `bare` text is an expression without braces."""
    if isinstance(value, Mapping):
        return {key: _translated(element, f"{pointer}/{key}", notices) for key, element in value.items()}
    if isinstance(value, list):
        return [_translated(element, f"{pointer}/{index}", notices) for index, element in enumerate(value)]
    if not isinstance(value, str):
        return value
    if bare and "{{" not in value:
        return _note(to_cel(value), value, pointer, notices)
    if "{{" not in value:
        return value
    try:
        parts = split_template(value)
    except ExpressionSyntaxError:
        return value
    if not any(is_code and to_cel(text) for is_code, text in parts):
        return value
    text = "".join("{{ " + (to_cel(part) or part) + " }}" if is_code else part for is_code, part in parts)
    return _note(text, value, pointer, notices)


def _note(new: str | None, old: str, pointer: str, notices: list[Notice]) -> str:
    if new is None or new == old:
        return old
    notices.append(Notice(pointer, f"{old} is written {new} today"))
    return new


# --- problems ---


def _problem(error: dict[str, Any], document: Mapping[str, Any], normal: Mapping[str, Any]) -> Problem:
    """One of pydantic's errors, with a pointer into the document and a hint."""
    pointer, parent, last = _locate(error["loc"], normal)
    kind = error["type"]
    if kind == "extra_forbidden":
        known = _fields_of(parent)
        near = get_close_matches(str(last), known, n=1, cutoff=0.6)
        hint = f"did you mean {near[0]!r}?" if near else f"the fields are: {', '.join(sorted(known))}"
        return Problem("unknown_field", pointer, f"there is no field {last!r} here", hint)
    if kind == "union_tag_invalid":
        tag = str(error.get("ctx", {}).get("tag"))
        near = get_close_matches(tag, STEP_MODELS, n=1, cutoff=0.6)
        hint = f"did you mean {near[0]!r}?" if near else f"the types are: {', '.join(STEP_MODELS)}"
        return Problem("unknown_step_type", f"{pointer}/type", f"there is no step type {tag!r}", hint)
    if kind == "union_tag_not_found":
        return Problem("missing_field", pointer, "the step has no type", f"the types are: {', '.join(STEP_MODELS)}")
    if kind == "missing":
        return Problem("missing_field", pointer, f"the field {last!r} is missing")
    message = str(error["msg"]).removeprefix("Value error, ")
    return Problem("invalid_value", pointer, message[:1].lower() + message[1:])


def _locate(loc: tuple[Any, ...], document: Any) -> tuple[str, Any, Any]:
    """The JSON Pointer of pydantic's location, which also holds the tags of unions; with the parent and the last name."""
    pointer, value, parent, last = "", document, document, None
    for position, part in enumerate(loc):
        final = position == len(loc) - 1
        if isinstance(value, Mapping):
            if part in value or (final and part != value.get("type")):
                parent, last, value = value, part, value.get(part)
                pointer += "/" + str(part).replace("~", "~0").replace("/", "~1")
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            parent, last, value = value, part, value[part]
            pointer += f"/{part}"
    return pointer, parent, last


def _fields_of(node: Any) -> list[str]:
    """The fields that a node of this type has."""
    model: type[BaseModel] = Script
    if isinstance(node, Mapping) and "steps" not in node and "type" not in node and "name" in node:
        model = Parameter
    if isinstance(node, Mapping) and node.get("type") in STEP_MODELS:
        model = STEP_MODELS[node["type"]]
    return [info.alias or name for name, info in model.model_fields.items()]
