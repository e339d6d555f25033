"""Tools about tools, and about transactions."""

from typing import Any, Final, Literal

from toolbox.context import ToolContext
from toolbox.errors import InvalidArguments
from toolbox.tool import tool


@tool(effect="pure")
def list_tools(ctx: ToolContext) -> list[dict[str, Any]]:
    """The tools: name, description and effect."""
    return [
        {name: entry[name] for name in ("name", "description", "effect")} for entry in ctx.services.registry.describe()
    ]


@tool(effect="pure")
def describe_tool(ctx: ToolContext, name: str) -> dict[str, Any]:
    """One tool, with the schemas of its arguments and its result."""
    return ctx.services.registry.get(name).describe()


@tool(effect="write")
def manage_transaction(action: Literal["begin", "commit", "rollback"]) -> dict[str, Any]:
    """Begin, commit or roll back the script's transaction. After a commit the next data step begins a new one by itself."""
    raise InvalidArguments(f"{action}: a transaction is managed by a script's own steps, not by a single call")


TOOLS: Final = (list_tools, describe_tool, manage_transaction)
