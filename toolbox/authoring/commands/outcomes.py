"""What a slash command comes to, and what is known when it is read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from toolbox.authoring.state import Session
from toolbox.registry import Registry

Parameters = Callable[[str | None], Sequence[Any] | None]
"""The declared parameters of a published script, or (None) of the draft that is open; None where there is no such script."""


@dataclass(frozen=True)
class Calls:
    """Tool calls, in order: (tool, arguments)."""

    calls: tuple[tuple[str, dict[str, Any]], ...]


@dataclass(frozen=True)
class Answer:
    """Something to tell the person; nothing is called."""

    text: str


@dataclass(frozen=True)
class Decision:
    """The person's answer to something that waits for it: `approval` is its id."""

    approval: str
    approved: bool
    comment: str = ""


Outcome = Calls | Answer | Decision


@dataclass(frozen=True)
class Setting:
    """What is known when a command is read. `time_zone` is that of the installation, where it has one."""

    session: Session
    registry: Registry
    parameters: Parameters
    time_zone: str | None = None

    def schema(self, tool: str) -> dict[str, Any] | None:
        """The JSON Schema of a tool's arguments; None where there is no such tool."""
        return self.registry.get(tool).arguments_schema if tool in self.registry.names() else None
