"""The Go-template forms of the older documents, translated to CEL: `eq .a "x"`, `and (gt .n 5) (not .done)`, `len .rows`.

Only these functions, in prefix form with dotted paths, literals and parentheses; whatever is not exactly such a form is
left as it is, and so is every text that begins like CEL.
"""

import re
from typing import Final

_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<open>\()|(?P<close>\))|(?P<text>"(?:\\.|[^"\\])*"|`[^`]*`)|(?P<word>[^\s()"`]+))"""
)
_INFIX: Final = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_LOGIC: Final = {"and": "&&", "or": "||"}
_WORDS: Final = {*_INFIX, *_LOGIC, "not", "len", "index"}
_ATOM: Final = re.compile(r"\.?[A-Za-z_][\w.]*|-?\d+(\.\d+)?|true|false")


def to_cel(text: str) -> str | None:
    """The CEL of a Go form; None if the text is none."""
    words = text.split(None, 1)
    if len(words) < 2 or words[0] not in _WORDS:
        return None
    tokens = _tokens(text)
    if tokens is None:
        return None
    try:
        translated, rest = _call(tokens)
    except (ValueError, IndexError):
        return None
    return translated if not rest else None


def _tokens(text: str) -> list[str] | None:
    found, at = [], 0
    stripped = text.rstrip()
    while at < len(stripped):
        match = _TOKEN.match(stripped, at)
        if match is None:
            return None
        found.append(match.group().strip())
        at = match.end()
    return found


def _call(tokens: list[str]) -> tuple[str, list[str]]:
    name, rest = tokens[0], tokens[1:]
    if name not in _WORDS:
        raise ValueError(name)
    operands: list[str] = []
    while rest and rest[0] != ")":
        operand, rest = _operand(rest)
        operands.append(operand)
    return _apply(name, operands), rest


def _operand(tokens: list[str]) -> tuple[str, list[str]]:
    if tokens[0] == "(":
        inner, rest = _call(tokens[1:])
        if rest[0] != ")":
            raise ValueError("not closed")
        return f"({inner})", rest[1:]
    token = tokens[0]
    if token.startswith("`"):
        return '"' + token[1:-1].replace("\\", "\\\\").replace('"', '\\"') + '"', tokens[1:]
    if not token.startswith('"') and not _ATOM.fullmatch(token):
        raise ValueError(token)
    return token.removeprefix("."), tokens[1:]


def _apply(name: str, operands: list[str]) -> str:
    if name in _INFIX and len(operands) == 2:
        return f"{operands[0]} {_INFIX[name]} {operands[1]}"
    if name == "eq" and len(operands) > 2:
        return f"{operands[0]} in [{', '.join(operands[1:])}]"
    if name in _LOGIC and len(operands) >= 2:
        return f" {_LOGIC[name]} ".join(operands)
    if name == "not" and len(operands) == 1:
        return f"!{operands[0]}"
    if name == "len" and len(operands) == 1:
        return f"size({operands[0]})"
    if name == "index" and len(operands) >= 2:
        return operands[0] + "".join(f"[{operand}]" for operand in operands[1:])
    raise ValueError(name)
