"""What a checker has to know about the world around a script: tools, scripts, databases. Whoever has them implements it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from script.source.ast import Parameter

SESSION: Final = "session"
"""The effect class of tools that work on a session of authoring: no step calls them."""


@dataclass(frozen=True)
class ToolSignature:
    """A tool's argument schema (JSON Schema of an object) and effect class.

    `writes_with` is the argument with which a tool that reads becomes one that writes (`action` of select).
    """

    arguments_schema: Mapping[str, Any]
    effect: str
    writes_with: str | None = None

    def effect_of(self, args: Mapping[str, Any]) -> str:
        """The effect class of a call."""
        return "write" if self.writes_with is not None and args.get(self.writes_with) is not None else self.effect


@dataclass(frozen=True)
class ScriptSignature:
    """A script's parameters and database."""

    parameters: tuple[Parameter, ...]
    database: str | None = None


class CheckEnvironment(Protocol):
    """The world around a script."""

    def tools(self) -> Mapping[str, ToolSignature]: ...

    def script(self, name: str) -> ScriptSignature | None: ...

    def script_names(self) -> list[str]: ...

    def databases(self) -> set[str] | None:
        """Names, or None where nobody knows."""
        ...

    def stores(self, database: str) -> set[str] | None: ...

    def has_model(self) -> bool | None:
        """Whether a language model is configured; None where nobody knows."""
        ...


@dataclass(frozen=True)
class StaticEnvironment:
    """An environment given as plain values; None means: not to be checked."""

    known_tools: Mapping[str, ToolSignature] = field(default_factory=dict)
    known_scripts: Mapping[str, ScriptSignature] = field(default_factory=dict)
    known_databases: frozenset[str] | None = None
    known_stores: Mapping[str, frozenset[str]] = field(default_factory=dict)
    known_model: bool | None = None

    def tools(self) -> Mapping[str, ToolSignature]:
        return self.known_tools

    def script(self, name: str) -> ScriptSignature | None:
        return self.known_scripts.get(name)

    def script_names(self) -> list[str]:
        return sorted(self.known_scripts)

    def databases(self) -> set[str] | None:
        return None if self.known_databases is None else set(self.known_databases)

    def stores(self, database: str) -> set[str] | None:
        found = self.known_stores.get(database)
        return None if found is None else set(found)

    def has_model(self) -> bool | None:
        return self.known_model
