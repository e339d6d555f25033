"""Texts that the JSON of every match contains: what a page lacks, it need not be decoded for.

A record whose `status` equals "paid" has `"paid"` somewhere in its JSON, unless it is written there with escapes; and then it has
a backslash. So a run with neither has no match, which two searches of bytes find out. A needle may well occur elsewhere,
in another field or another record: it only ever tells that there is no match.
"""

from typing import Final

from query.filters.tree import And, AnyElement, Contains, Equal, Field, In, Node, Or, StartsWith

_MANY: Final = 2
"""More alternatives cost more to search than decoding costs."""
_ESCAPE: Final = b"\\"

Needles = tuple[bytes, ...]


def needles(node: Node) -> Needles | None:
    """Texts of which the JSON of every match contains one, or else a backslash. None where there are no such texts, or many."""
    match node:
        case Field(_, test):
            return needles(test)
        case AnyElement(part, _):
            return needles(part)
        case Equal(operand) if isinstance(operand, str):
            return (_written(f'"{operand}"', operand),)
        case In(operands) if len(operands) <= _MANY:
            return _either([needles(Equal(operand)) for operand in operands])
        case StartsWith(prefix) if prefix:
            return (_written(f'"{prefix}', prefix),)
        case Contains(operand) if isinstance(operand, str) and operand:
            return (_written(operand, operand),)
        case And(parts):
            return max(filter(None, map(needles, parts)), key=_worth, default=None)
        case Or(parts):
            return _either([needles(part) for part in parts])
    return None


def lacks(run: bytes, texts: Needles) -> bool:
    """Whether a run has none of the texts, and no backslash."""
    return not any(text in run for text in texts) and _ESCAPE not in run


def _written(text: str, content: str) -> bytes:
    """How a JSON text has a string that it writes without escapes; a backslash if the string needs escapes."""
    if '"' in content or "\\" in content or any(letter < " " or "\ud800" <= letter <= "\udfff" for letter in content):
        return _ESCAPE
    return text.encode()


def _either(parts: list[Needles | None]) -> Needles | None:
    found = [text for part in parts if part is not None for text in part]
    return tuple(found) if None not in parts and 0 < len(found) <= _MANY else None


def _worth(texts: Needles) -> tuple[int, int]:
    """Few and long ones say the most."""
    return -len(texts), min(map(len, texts))
