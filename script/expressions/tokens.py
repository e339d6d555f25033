"""The few facts about an expression's text that evaluation does not tell: which variables it reads, and where.

CEL's own parser decides what an expression means; this scanner only finds the roots of member paths (`order` and
`order.customer.id` in `order.customer.id > size(items)`), leaving out strings, function names, and the variables that
macros bind (`o` in `orders.map(o, o.total)`).
"""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

_TOKEN: Final = re.compile(
    r"""
    (?P<string>[rRbB]{0,2}(?:'''(?:\\.|[^\\])*?'''|\"\"\"(?:\\.|[^\\])*?\"\"\"|'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"))
  | (?P<comment>//[^\n]*)
  | (?P<number>(?:0x[0-9a-fA-F]+|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)u?)
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<space>\s+)
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_MACROS: Final = frozenset({"all", "exists", "exists_one", "map", "filter"})
_WORDS: Final = frozenset({"true", "false", "null", "in"})
_TYPES: Final = frozenset(
    {"int", "uint", "double", "bool", "string", "bytes", "list", "map", "null_type", "type", "dyn"}
)


@dataclass(frozen=True)
class Path:
    """A member path in an expression: where it stands, and its names. `counted` marks `size(x)` and `len(x)`."""

    start: int
    end: int
    names: tuple[str, ...]
    counted: tuple[int, int] | None = None


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    start: int
    end: int


def paths(source: str) -> list[Path]:
    """The member paths of an expression, in order."""
    tokens = [
        _Token(match.lastgroup or "", match.group(), match.start(), match.end())
        for match in _TOKEN.finditer(source)
        if match.lastgroup not in ("space", "comment")
    ]
    found: list[Path] = []
    bound: list[str | None] = []
    position = 0
    while position < len(tokens):
        token = tokens[position]
        if token.text == "(":
            bound.append(_macro_variable(tokens, position))
        elif token.text == ")" and bound:
            bound.pop()
        elif token.kind == "name" and _is_root(tokens, position) and token.text not in bound:
            path, position = _path(tokens, position)
            found.append(path)
            continue
        position += 1
    return found


def literals(source: str) -> Iterator[tuple[int, int, Any]]:
    """The numbers and texts that stand in an expression as they are: where they begin and end, and their values."""
    for match in _TOKEN.finditer(source):
        text = match.group()
        with suppress(ValueError):
            if match.lastgroup == "number" or (match.lastgroup == "string" and text[0] == '"'):
                yield match.start(), match.end(), json.loads(text)
            elif match.lastgroup == "string" and text[0] == "'" and not {'"', "\\"} & set(text):
                yield match.start(), match.end(), text[1:-1]


def _is_root(tokens: list[_Token], position: int) -> bool:
    token = tokens[position]
    if token.text in _WORDS or token.text in _TYPES or _text(tokens, position + 1) == "(":
        return False
    if _text(tokens, position - 1) != ".":
        return True
    before = tokens[position - 2] if position >= 2 else None
    return before is None or not (before.kind in ("name", "string", "number") or before.text in (")", "]", "}"))


def _macro_variable(tokens: list[_Token], opening: int) -> str | None:
    """The variable that a macro call binds, if `opening` is the parenthesis of one."""
    if opening < 2 or tokens[opening - 1].text not in _MACROS or tokens[opening - 2].text != ".":
        return None
    if opening + 2 < len(tokens) and tokens[opening + 1].kind == "name" and tokens[opening + 2].text == ",":
        return tokens[opening + 1].text
    return None


def _path(tokens: list[_Token], position: int) -> tuple[Path, int]:
    """The path that begins at `position`, and the position behind it."""
    first = position
    names = [tokens[position].text]
    while _text(tokens, position + 1) == "." and position + 2 < len(tokens) and tokens[position + 2].kind == "name":
        if _text(tokens, position + 3) == "(":
            break
        names.append(tokens[position + 2].text)
        position += 2
    begin = tokens[first - 1].start if _text(tokens, first - 1) == "." else tokens[first].start
    counted = None
    if (
        _text(tokens, first - 1) == "("
        and _text(tokens, first - 2) in ("size", "len")
        and _text(tokens, position + 1) == ")"
    ):
        counted = (tokens[first - 2].start, tokens[position + 1].end)
    return Path(begin, tokens[position].end, tuple(names), counted), position + 1


def _text(tokens: list[_Token], position: int) -> str | None:
    return tokens[position].text if 0 <= position < len(tokens) else None
