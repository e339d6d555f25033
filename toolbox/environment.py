"""The checker's world, made of what is really there: the registry's tools, the library's scripts, the databases' stores."""

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from query import Databases, QueryError, list_stores
from script.environment import ScriptSignature, ToolSignature
from script.source.ast import Parameter
from toolbox.errors import ToolError
from toolbox.registry import Registry

if TYPE_CHECKING:
    from toolbox.library import ScriptLibrary


class LibraryEnvironment:
    """See `script.environment.CheckEnvironment`."""

    def __init__(
        self, registry: Registry, library: "ScriptLibrary", databases: Databases, has_model: bool | None = None
    ) -> None:
        self._registry = registry
        self._library = library
        self._databases = databases
        self._has_model = has_model

    def tools(self) -> Mapping[str, ToolSignature]:
        return self._signatures

    @cached_property
    def _signatures(self) -> dict[str, ToolSignature]:
        return self._registry.signatures()

    def script(self, name: str) -> ScriptSignature | None:
        try:
            saved = self._library.get(name).script
        except ToolError:
            return None
        parameters = tuple(Parameter.model_validate(parameter) for parameter in saved.get("parameters", []))
        return ScriptSignature(parameters, saved.get("database"))

    def script_names(self) -> list[str]:
        return [row["name"] for row in self._library.scripts()]

    def databases(self) -> set[str] | None:
        return set(self._databases.names())

    def stores(self, database: str) -> set[str] | None:
        try:
            return {info.name for info in list_stores(self._databases.open(database).snapshot())}
        except QueryError:
            return None

    def has_model(self) -> bool | None:
        return self._has_model
