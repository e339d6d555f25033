"""Changes in words: which step, which field, what it was and what it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

_SHOWN: Final = 60
"""Characters of a value that are shown; the whole is in the change."""
_NOUNS: Final = {"parameters": "parameter", "catch": "handler"}


@dataclass(frozen=True)
class Where:
    """A place in a script, as a reader sees it: the innermost step (or parameter), what is around it, and the field in it."""

    owner: str = "the script"
    inside: str = ""
    fields: tuple[str, ...] = ()
    after: str | None = None
    is_element: bool = False

    def field(self, name: str) -> "Where":
        """A field of what is here."""
        inside = self.owner if self.is_element else self.inside
        return replace(self, fields=(*self.fields, name), inside=inside, is_element=False)

    def element(self, elements: Sequence[Any], position: int) -> "Where":
        """An element of the list that is here."""
        noun = _NOUNS.get(self.fields[-1], "step")
        after = _named(noun, elements[position - 1], position - 1) if position else ""
        owner = _named(noun, elements[position], position)
        around = self.owner if self.owner != "the script" else ""
        which = self.fields[-1] if self.fields[-1] not in ("steps", "parameters") else ""
        inside = " of ".join(part for part in (which, around) if part)
        return Where(owner, inside, (), after, is_element=True)


def told(kind: str, before: Any, after: Any, where: Where) -> str:
    """A change as a sentence without a full stop."""
    if where.is_element:
        return _of_element(kind, before, after, where)
    name = ".".join(where.fields)
    if kind == "added":
        return f"{where.owner}: {name} is {_shown(after)}, and was not set"
    if kind == "removed":
        return f"{where.owner}: {name} is not set any more, and was {_shown(before)}"
    return f"{where.owner}: {name} is {_shown(after)}, and was {_shown(before)}"


def _of_element(kind: str, before: Any, after: Any, where: Where) -> str:
    inside = f" in {where.inside}" if where.inside else ""
    place = f"after {where.after}" if where.after else "at the beginning"
    if kind == "added":
        return f"{where.owner} is new{inside}, {place}"
    if kind == "removed":
        return f"{where.owner} is gone{inside and ' from' + inside.removeprefix(' in')}"
    if kind == "moved":
        return f"{where.owner} stands {place} now{inside}"
    return f"{where.owner} is {_shown(after)}{inside}, and was {_shown(before)}"


def _named(noun: str, element: Any, position: int) -> str:
    if isinstance(element, str):
        return f"{noun} {element!r}"
    name = element.get("name") if isinstance(element, Mapping) else None
    kind = element.get("type") if isinstance(element, Mapping) and noun == "step" else None
    which = f"{name!r}" if isinstance(name, str) else f"{position + 1}"
    return f"{noun} {which} ({kind})" if isinstance(kind, str) else f"{noun} {which}"


def _shown(value: Any) -> str:
    text = orjson.dumps(value).decode()
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
