"""The registry: the tools there are, by name. What the language plans and this release does not have is known by name too."""

from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, Final

from script.environment import ToolSignature
from toolbox.errors import UnknownTool
from toolbox.tool import Tool

PLANNED: Final = frozenset(
    {
        "create_script", "save_step", "insert_step", "update_step",
        "delete_step", "reorder_steps", "save_last_step", "refactor_last_interaction", "diff_script", "dry_run", "publish_script",
        "parameterize_script", "mock_tool",
    }
)  # fmt: skip
"""Tools of the language that are not there yet: refused by name."""


class Registry:
    """Tools by name."""

    def __init__(self) -> None:
        self._tools: dict[str, Tool] = {}

    def register(self, *functions: Callable[..., Any]) -> None:
        """Take declared functions in. Raises ValueError for a name that is taken."""
        for function in functions:
            found = Tool(function)
            if found.name in self._tools:
                raise ValueError(f"there is a tool {found.name!r} already")
            self._tools[found.name] = found

    def get(self, name: str) -> Tool:
        """A tool by name. Raises UnknownTool with the nearest name."""
        found = self._tools.get(name)
        if found is None:
            if name in PLANNED:
                raise UnknownTool(f"the tool {name!r} is not available yet")
            near = get_close_matches(name, self._tools, n=1)
            raise UnknownTool(
                f"there is no tool {name!r}", hint=f"did you mean {near[0]!r}?" if near else "list_tools lists them"
            )
        return found

    def names(self) -> list[str]:
        """All names, in order."""
        return sorted(self._tools)

    def signatures(self) -> dict[str, ToolSignature]:
        """What checker and compiler have to know about each tool."""
        return {name: found.signature for name, found in self._tools.items()}

    def describe(self) -> list[dict[str, Any]]:
        """All tools, described."""
        return [self._tools[name].describe() for name in self.names()]


def builtin_registry() -> Registry:
    """The built-in tools."""
    from toolbox import analysis, catalog, data, meta, notify, outside, requests, schedules, scripts

    registry = Registry()
    for module in (data, analysis, catalog, scripts, schedules, outside, requests, notify, meta):
        registry.register(*module.TOOLS)
    return registry
