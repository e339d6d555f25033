"""The registry: the tools there are, by name. Beside those that are registered there are stand-ins (`stand_ins`), if it was given any."""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, Protocol

from script.environment import ToolSignature
from toolbox.errors import UnknownTool
from toolbox.tool import Tool


class More(Protocol):
    """Tools that come and go while the registry is used."""

    def get(self, name: str) -> Tool | None: ...

    def all(self) -> Mapping[str, Tool]: ...


class Registry:
    """Tools by name."""

    def __init__(self) -> None:
        self._tools: dict[str, Tool] = {}
        self._more: More | None = None

    def register(self, *functions: Callable[..., Any]) -> None:
        """Take declared functions in. Raises ValueError for a name that is taken."""
        for function in functions:
            found = Tool(function)
            if found.name in self._tools:
                raise ValueError(f"there is a tool {found.name!r} already")
            self._tools[found.name] = found

    def with_more(self, more: More) -> "Registry":
        """These tools, and others that come and go; a registered one goes before another of its name."""
        made = Registry()
        made._tools, made._more = self._tools, more
        return made

    def get(self, name: str) -> Tool:
        """A tool by name. Raises UnknownTool with the nearest name."""
        found = self._tools.get(name) or (self._more.get(name) if self._more is not None else None)
        if found is None:
            near = get_close_matches(name, self._all(), n=1)
            raise UnknownTool(
                f"there is no tool {name!r}", hint=f"did you mean {near[0]!r}?" if near else "list_tools lists them"
            )
        return found

    def is_registered(self, name: str) -> bool:
        """Whether there is a tool of that name that is no stand-in."""
        return name in self._tools

    def names(self) -> list[str]:
        """All names, in order."""
        return sorted(self._all())

    def signatures(self) -> dict[str, ToolSignature]:
        """What checker and compiler have to know about each tool."""
        return {name: found.signature for name, found in self._all().items()}

    def describe(self) -> list[dict[str, Any]]:
        """All tools, described."""
        return [found.describe() for _, found in sorted(self._all().items())]

    def _all(self) -> dict[str, Tool]:
        return {**self._more.all(), **self._tools} if self._more is not None else self._tools


def builtin_registry() -> Registry:
    """The built-in tools."""
    from toolbox import analysis, catalog, data, meta, notify, outside, requests, schedules, scripts
    from toolbox.authoring.tools import MODULES

    registry = Registry()
    for module in (data, analysis, catalog, scripts, schedules, outside, requests, notify, meta, *MODULES):
        registry.register(*module.TOOLS)
    return registry
