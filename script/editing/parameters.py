"""Parameters in the place of values: every literal that is one of them, or a text that has it in itself, wherever it stands in a script.

    "john"                  ->  "{{ customer }}"             a value that is a literal
    "Dear john"             ->  "Dear {{ customer }}"        a word in a text
    order.days > 60         ->  order.days > at_most         a literal in an expression, in conditions and between braces

Longer values come first. Names, types, stores' and scripts' names, schemas and what else is no value stays as it is.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from script.equality import equal
from script.errors import ExpressionSyntaxError, PatchFailed
from script.expressions.templates import split_template
from script.expressions.tokens import literals
from script.source.ast import IDENTIFIER

_CODE: Final = ("condition", "when", "while", "where")
_VALUES: Final = (
    "value",
    "args",
    "script_args",
    "filter",
    "key",
    "limit",
    "prompt",
    "system",
    "message",
    "duration",
    "until",
)
_NESTED: Final = ("steps", "then", "else", "finally", "compensate", "on_failure", "catch", "reduce", "approval")


@dataclass(frozen=True)
class Replaced:
    """One place where a value became a parameter."""

    parameter: str
    pointer: str
    before: Any
    after: Any


def parameterize(script: Mapping[str, Any], values: Mapping[str, Any]) -> tuple[dict[str, Any], list[Replaced]]:
    """The script with parameters in the place of values, {parameter: value}, and what was replaced. Raises PatchFailed."""
    bound = {name for name in _names(script) if name in values}
    for name, value in values.items():
        if not re.fullmatch(IDENTIFIER, name):
            raise PatchFailed(f"{name!r} is no name of a parameter", hint="letters, digits and _")
        if name in bound:
            raise PatchFailed(f"{name!r} is a variable of the script already", hint="take another name")
        if value in ("", None):
            raise PatchFailed(f"the value of {name} is empty: it is everywhere", hint="say the value that varies")
    work = _Work(sorted(values.items(), key=lambda pair: -len(_told(pair[1]))))
    made = work.node(dict(script), "")
    known = [each if isinstance(each, str) else each.get("name") for each in made.get("parameters", [])]
    used = {each.parameter for each in work.found}
    new = [{"name": name, "type": _type(value)} for name, value in values.items() if name in used and name not in known]
    if new:
        made["parameters"] = [*made.get("parameters", []), *new]
    return made, work.found


class _Work:
    def __init__(self, values: list[tuple[str, Any]]) -> None:
        self.values = values
        self.found: list[Replaced] = []

    def node(self, node: dict[str, Any], pointer: str) -> dict[str, Any]:
        """A script, a step or a part of one."""
        made = {}
        for name, value in node.items():
            where = f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}"
            if name in _NESTED:
                made[name] = self.nested(value, where)
            elif name in _CODE and isinstance(value, str):
                made[name] = self.told(where, value, self.condition)
            elif name == "list":
                made[name] = self.told(where, value, self.code) if _is_code(value) else self.value(value, where)
            elif name == "value" and "op" in node and isinstance(value, str):
                made[name] = self.told(where, value, self.condition)
            elif name in _VALUES:
                made[name] = self.value(value, where)
            else:
                made[name] = value
        return made

    def nested(self, value: Any, pointer: str) -> Any:
        if isinstance(value, list):
            return [self.nested(each, f"{pointer}/{position}") for position, each in enumerate(value)]
        if isinstance(value, dict) and pointer.endswith("/reduce"):
            return {name: self.nested(part, f"{pointer}/{name}") for name, part in value.items()}
        return self.node(value, pointer) if isinstance(value, dict) else value

    def value(self, value: Any, pointer: str) -> Any:
        """A value that may be a template."""
        for name, wanted in self.values:
            if equal(value, wanted):
                return self.note(name, pointer, value, "{{ " + name + " }}")
        if isinstance(value, str):
            return self.told(pointer, value, self.text)
        if isinstance(value, dict):
            return {
                name: self.value(part, f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}")
                for name, part in value.items()
            }
        if isinstance(value, list):
            return [self.value(part, f"{pointer}/{position}") for position, part in enumerate(value)]
        return value

    def told(self, pointer: str, value: str, change: Callable[[str], tuple[str, set[str]]]) -> str:
        made, names = change(value)
        for name in sorted(names):
            self.note(name, pointer, value, made)
        return made

    def note(self, name: str, pointer: str, before: Any, after: str) -> str:
        self.found.append(Replaced(name, pointer, before, after))
        return after

    def text(self, text: str) -> tuple[str, set[str]]:
        """A text, which may have expressions in it."""
        try:
            parts = split_template(text) if "{{" in text else [(False, text)]
        except ExpressionSyntaxError:
            return text, set()
        made, used = "", set()
        for is_code, part in parts:
            changed, names = self.code(part) if is_code else self.words(part)
            made += "{{ " + changed + " }}" if is_code else changed
            used |= names
        if not used:
            return text, used
        if (
            not any(is_code for is_code, _ in parts) and len(split_template(made)) == 1
        ):  # a text stays one, with its blanks
            before, _, behind = made.partition("{{ " + next(iter(used)) + " }}")
            pieces = [
                literal
                for literal in (before and f'"{before}"', f"string({next(iter(used))})", behind and f'"{behind}"')
                if literal
            ]
            made = "{{ " + " + ".join(pieces) + " }}"
        return made, used

    def words(self, text: str) -> tuple[str, set[str]]:
        """A text without expressions. What is in it already is no text any more for shorter values."""
        pieces: list[tuple[bool, str]] = [(True, text)]
        used = set()
        for name, wanted in self.values:
            if isinstance(wanted, dict | list | bool):
                continue
            spelled = _told(wanted)
            pattern = re.compile(
                rf"{_EDGE_BEFORE if spelled[0].isalnum() else ''}{re.escape(spelled)}{_EDGE_BEHIND if spelled[-1].isalnum() else ''}"
            )
            divided: list[tuple[bool, str]] = []
            for plain, piece in pieces:
                if not plain:
                    divided.append((plain, piece))
                    continue
                rest = pattern.split(piece)
                for position, part in enumerate(rest):
                    divided += [(False, "{{ " + name + " }}")] if position else []
                    divided.append((True, part))
                used |= {name} if len(rest) > 1 else set()
            pieces = divided
        return "".join(piece for _, piece in pieces), used

    def condition(self, text: str) -> tuple[str, set[str]]:
        return self.text(text) if "{{" in text else self.code(text)

    def code(self, source: str) -> tuple[str, set[str]]:
        """An expression: its literals."""
        made, used, reached = "", set(), 0
        for start, end, value in literals(source):
            name = next((name for name, wanted in self.values if equal(value, wanted)), None)
            if name is not None:
                made += source[reached:start] + name
                reached = end
                used.add(name)
        return made + source[reached:], used


_EDGE_BEFORE: Final = r"(?<!\w)(?<!\w[.,])"
_EDGE_BEHIND: Final = r"(?!\w)(?![.,]\d)"
"""A number is no part of a longer one, a word no part of another."""


def _is_code(value: Any) -> bool:
    return isinstance(value, str) and "{{" not in value


def _told(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _type(value: Any) -> str:
    kinds: list[tuple[type, str]] = [
        (bool, "boolean"),
        (str, "string"),
        (int, "number"),
        (float, "number"),
        (list, "array"),
    ]
    return next((kind for of, kind in kinds if isinstance(value, of)), "object")


def _names(node: Any) -> Iterator[str]:
    """The variables that are set somewhere."""
    if isinstance(node, list):
        for each in node:
            yield from _names(each)
    elif isinstance(node, Mapping):
        for name in ("variable", "output_variable", "iterator", "index"):
            if isinstance(node.get(name), str) and "type" in node:
                yield node[name]
        for name in _NESTED:
            yield from _names(node.get(name))
