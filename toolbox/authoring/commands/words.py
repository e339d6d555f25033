"""The words of a command.

    limit=5  name="two words"  filter={"age": {"$gt": 40}}  to={{ customer.email }}  --json  orders  "quoted text"

A value that begins with `"` is a JSON string, one with `{` or `[` is JSON to its end, spaces and quotes included; '...' and the quotes
of a text processor hold text as it is. `{{ ... }}` is a template, and so text. Everything else ends at the next space.
"""

import json
import math
import re
from dataclasses import dataclass
from typing import Any, Final, Literal, NoReturn

from toolbox.errors import InvalidArguments

_NAME: Final = re.compile(r"(?:--)?([^\W\d][\w.-]*)=")
_BARE: Final = re.compile(r"(?:\{\{.*?\}\}|\S)+", re.DOTALL)
_SPACES: Final = re.compile(r"\s*")
_QUOTES: Final = {"'": "'", "“": "”", "‘": "’"}
_LARGEST: Final = 1 << 63

Kind = Literal["bare", "text", "json"]


@dataclass(frozen=True)
class Word:
    """One word: `value` is the text of a bare or a quoted one, or the JSON value; `name` is there where it is name=value."""

    value: Any
    kind: Kind
    name: str | None
    start: int

    @property
    def flag(self) -> str | None:
        """The name of a flag."""
        plain = self.kind == "bare" and self.name is None and self.value.startswith("--") and len(self.value) > 2
        return self.value[2:] if plain else None


def split(text: str) -> list[Word]:
    """The words of a text. Raises InvalidArguments where a quote or JSON does not end, or something hangs on to it."""
    found: list[Word] = []
    at = _spaces(text, 0)
    while at < len(text):
        start, name = at, None
        named = _NAME.match(text, at)
        if named is not None:
            name, at = named[1], named.end()
        value, kind, at = _value(text, at)
        found.append(Word(value, kind, name, start))
        if kind != "bare" and at < len(text) and not text[at].isspace():
            _refuse(f"there has to be a space before {text[at : at + 20]!r}")
        at = _spaces(text, at)
    return found


def first(text: str) -> tuple[Word, str]:
    """The first word of a text that has one, and what stands behind it. Raises InvalidArguments."""
    at = _spaces(text, 0)
    value, kind, end = _value(text, at)
    return Word(value, kind, None, at), text[end:].strip()


def json_value(text: str) -> Any:
    """The JSON value that a text is. Raises ValueError for any other text, and for values that no record can hold."""
    value, end = _decode(text, 0)
    if text[end:].strip():
        raise ValueError("something stands behind the value")
    return value


def _value(text: str, at: int) -> tuple[Any, Kind, int]:
    """The value at a place, and where it ends."""
    first = text[at : at + 1]
    if first and first in _QUOTES:
        end = text.find(_QUOTES[first], at + 1)
        if end >= 0:
            return text[at + 1 : end], "text", end + 1
        _refuse(f"the text that begins with {text[at : at + 20]!r} has no quote at its end")
    if first == '"' or (first and first in "{[" and not text.startswith("{{", at)):
        try:
            value, end = _decode(text, at)
        except ValueError as error:
            what = "the text in quotes" if first == '"' else f"what begins with {first}"
            raise InvalidArguments(f"{what} has to be JSON: {error}") from None
        return value, "text" if first == '"' else "json", end
    bare = _BARE.match(text, at)
    return (bare[0], "bare", bare.end()) if bare is not None else ("", "bare", at)


def _decode(text: str, at: int) -> tuple[Any, int]:
    """The JSON value at a place, and where it ends. Raises ValueError."""
    try:
        value, end = _DECODER.raw_decode(text, at)
        _check(value)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return value, end


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{name!r} is there twice")
        found[name] = value
    return found


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


_DECODER: Final = json.JSONDecoder(strict=False, object_pairs_hook=_object, parse_constant=_constant)


def _check(value: Any) -> None:
    """Raises ValueError for numbers and texts that no record can hold."""
    if isinstance(value, dict):
        for name, inner in value.items():
            _check(name)
            _check(inner)
    elif isinstance(value, list):
        for inner in value:
            _check(inner)
    elif isinstance(value, str):
        value.encode()  # half of a surrogate pair: a ValueError
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a number is too large")
    elif isinstance(value, int) and not -_LARGEST <= value < 2 * _LARGEST:
        raise ValueError("a whole number is too large")


def _spaces(text: str, at: int) -> int:
    found = _SPACES.match(text, at)
    return found.end() if found is not None else at


def _refuse(message: str) -> NoReturn:
    raise InvalidArguments(message, hint='quote text that has spaces: name="two words"')
