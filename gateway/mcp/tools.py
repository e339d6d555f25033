"""Tools that are always there: what each takes, and how it is called.

A tool has a scope (as in `access.routes`: `?` is any name), a model of its arguments, and a function. A key sees the tools whose scope it
has; what it may really do, each call asks the API.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Generic, Protocol, TypeVar

from mcp_types import Tool, ToolAnnotations
from pydantic import BaseModel, ConfigDict, ValidationError

from gateway.mcp.api import Api
from gateway.mcp.results import invalid


class Progress(Protocol):
    """Tells who has called how far it is; nothing if they did not ask for it."""

    async def __call__(self, done: float, message: str) -> None: ...


@dataclass(frozen=True)
class Call:
    """One call of a tool: the API with the caller's rights, and where to tell progress."""

    api: Api
    progress: Progress


class Arguments(BaseModel):
    """The arguments of a tool: nothing else is taken."""

    model_config = ConfigDict(extra="forbid")


Model = TypeVar("Model", bound=BaseModel)
READS: Final = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)


@dataclass(frozen=True)
class BuiltIn(Generic[Model]):
    """A tool of ours. `scope` says which keys see it."""

    name: str
    title: str
    scope: str
    arguments: type[Model]
    function: Callable[[Call, Model], Awaitable[Mapping[str, Any]]] = field(repr=False)
    annotations: ToolAnnotations = field(default_factory=lambda: READS)

    @cached_property
    def described(self) -> Tool:
        """As clients see it."""
        return Tool(
            name=self.name,
            title=self.title,
            description=" ".join((self.function.__doc__ or "").split()),
            input_schema=schema_of(self.arguments),
            annotations=self.annotations,
        )

    async def call(self, call: Call, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Raises ApiError for arguments that do not fit, and what the API refuses."""
        try:
            given = self.arguments.model_validate(arguments)
        except ValidationError as error:
            raise invalid(error) from None
        return await self.function(call, given)


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON Schema of a model, without the titles that say nothing."""
    schema: dict[str, Any] = _plain(model.model_json_schema())
    return {name: value for name, value in schema.items() if name != "description"}


def _plain(value: Any) -> Any:
    """A schema without `title`s that are made of names (a property may be called `title`: its value is a schema, and no text)."""
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items() if not (name == "title" and isinstance(part, str))}
    return [_plain(part) for part in value] if isinstance(value, list) else value


def by_name(tools: Iterable[BuiltIn[Any]]) -> dict[str, BuiltIn[Any]]:
    """The tools by their names."""
    return {tool.name: tool for tool in tools}
