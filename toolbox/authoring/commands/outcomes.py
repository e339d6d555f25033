"""What a slash command comes to, and what is known when it is read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from toolbox.authoring.meant import DATABASE, arguments_with_database
from toolbox.authoring.state import Session
from toolbox.registry import Registry

Parameters = Callable[[str | None], Sequence[Any] | None]
"""The declared parameters of a published script, or (None) of the draft that is open; None where there is no such script."""


@dataclass(frozen=True)
class Calls:
    """Tool calls, in order: (tool, arguments). With `raw` the person wants to see what they give as it is, as JSON."""

    calls: tuple[tuple[str, dict[str, Any]], ...]
    raw: bool = False


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
    _schemas: dict[str, dict[str, Any] | None] = field(default_factory=dict, repr=False, compare=False)

    def schema(self, tool: str) -> dict[str, Any] | None:
        """The JSON Schema of a tool's arguments (`meant`); None where there is no such tool."""
        if tool not in self._schemas:
            known = tool in self.registry.names()
            self._schemas[tool] = arguments_with_database(self.registry.get(tool)) if known else None
        return self._schemas[tool]

    def check(self, tool: str, args: Mapping[str, Any]) -> None:
        """Whether a tool takes these arguments. Raises InvalidArguments, as it does itself."""
        found = self.registry.get(tool)
        taken = found.arguments_schema.get("properties", {})
        found.checked({name: value for name, value in args.items() if name in taken or name != DATABASE})
