"""Scopes: what a key may do.

    admin                     everything, the audit log and the system's own database too
    keys                      make, list and revoke keys that may do no more than the key itself
    scripts:read[:names]      see scripts, and the tools that they are made of
    scripts:write[:names]     save scripts
    scripts:run[:names]       start scripts, with the rights of the key (see `rights`)
    scripts:call:names        start these scripts, whatever they do
    data:names:read           read databases
    data:names:write          write databases
    runs:read, runs:control   see runs, and what waits for a decision; cancel, pause, decide, run again
    schedules:read, schedules:write
    secrets:use:names         run and save scripts that use these secrets
    secrets:write:names       set and delete these secrets; nobody reads them
    secrets:read:names        see that they are there; included in the two above
    tools:names               run scripts that call these tools (those that reach the outside)
    mcp                       come by MCP, to do what the other scopes allow
    sessions                  talk with the author of scripts, who does what the other scopes allow

`names` is a name in which `*` stands for any number of characters. No pattern means the system's own database: only `data:system:...` does,
letter for letter. Scopes are independent of each other: who may write need not be able to read. Some include another: who may call a script
may run it.

A scope *covers* another one if whoever has it may do all that the other allows. That is one question for a request (`data:crm:read` is
needed) and for a new key (`data:c*:read` is asked for): a pattern covers a pattern if it matches its text, with the other's `*` as a
character like any other, since whatever that stands for, the `*` that matched it stands for it too.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from query import SYSTEM

ANY: Final = "*"
_NAMES: Final = re.compile(r"[A-Za-z0-9_*-]{1,100}")
_ACTIONS: Final = {
    "admin": (),
    "keys": (),
    "scripts": ("read", "write", "run", "call"),
    "data": ("read", "write"),
    "runs": ("read", "control"),
    "schedules": ("read", "write"),
    "secrets": ("use", "write", "read"),
    "tools": (),
    "mcp": (),
    "sessions": (),
}
_NAMED: Final = ("scripts", "data", "secrets", "tools")
MOST: Final = 100
"""Scopes of one key."""


class InvalidScope(ValueError):
    """A text that is no scope; its message says what is wrong."""


@dataclass(frozen=True)
class Scope:
    """One scope. `names` is empty in areas that have none, and `*` where all are meant."""

    area: str
    action: str = ""
    names: str = ""

    def __str__(self) -> str:
        if self.area == "data":
            return f"data:{self.names}:{self.action}"
        names = "" if self.area == "scripts" and self.names == ANY and self.action != "call" else self.names
        return ":".join(part for part in (self.area, self.action, names) if part)

    def covers(self, needed: "Scope") -> bool:
        """Whether who has this one may do what the other allows."""
        if self.area == "admin":
            return True
        if self.area != needed.area or needed.action not in (self.action, *_includes(self)):
            return False
        if SYSTEM in (self.names, needed.names) and self.area == "data":
            return self.names == needed.names
        return matches(self.names, needed.names)


ADMIN: Final = Scope("admin")
_INCLUDES: Final = {("scripts", "call"): ("run",), ("secrets", "use"): ("read",), ("secrets", "write"): ("read",)}


def _includes(scope: Scope) -> tuple[str, ...]:
    return _INCLUDES.get((scope.area, scope.action), ())


def matches(pattern: str, text: str) -> bool:
    """Whether a text is one that a pattern with `*` means. Linear: no pattern is slow."""
    first, *rest = pattern.split(ANY)
    if not rest:
        return pattern == text
    *middle, last = rest
    if not text.startswith(first):
        return False
    reached = len(first)
    for part in middle:
        found = text.find(part, reached)
        if found < 0:
            return False
        reached = found + len(part)
    return len(text) - len(last) >= reached and text.endswith(last)


def divided(text: str) -> Scope:
    """The parts of a scope's text; the names are as they are written. Raises InvalidScope."""
    area, *parts = text.split(":")
    if area not in _ACTIONS:
        raise InvalidScope(f"{text!r} is no scope: the areas are {', '.join(_ACTIONS)}")
    if area == "data":
        parts = parts[::-1]
    action = parts.pop(0) if _ACTIONS[area] and parts else ""
    if action not in (_ACTIONS[area] or ("",)):
        raise InvalidScope(f"{text!r} is no scope: {area} has {', '.join(_ACTIONS[area])}")
    if not parts and (area, action) in (("scripts", "read"), ("scripts", "write"), ("scripts", "run")):
        parts = [ANY]
    if len(parts) != (area in _NAMED):
        raise InvalidScope(f"{text!r} is no scope: it has {'no' if not parts else 'too many'} names")
    return Scope(area, action, parts[0] if parts else "")


@lru_cache(maxsize=4096)
def parse_scope(text: str) -> Scope:
    """A scope from its text. Raises InvalidScope."""
    scope = divided(text)
    if scope.area in _NAMED and not _NAMES.fullmatch(scope.names):
        raise InvalidScope(f"{text!r} is no scope: names have letters, digits, _ and -, and * for any of them")
    return scope


def parse_scopes(texts: Iterable[str]) -> tuple[Scope, ...]:
    """Scopes from their texts, each once. Raises InvalidScope."""
    found = tuple(dict.fromkeys(map(parse_scope, texts)))
    if len(found) > MOST:
        raise InvalidScope(f"a key has at most {MOST} scopes; * stands for many names")
    return found
