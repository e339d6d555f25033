"""The database that a call is for. Tools of databases take a `database` beside their own arguments: that of the step, if the call were one;
where it is not named, that of the session is meant."""

from typing import Any, Final

from toolbox.tool import Tool

DATABASE: Final = "database"


def has_database(tool: Tool) -> bool:
    """Whether a tool works on one database."""
    return tool.effect in ("read", "write")


def takes_database(tool: Tool) -> bool:
    """Whether a call says which database it is for, beside the tool's own arguments."""
    return has_database(tool) and DATABASE not in tool.arguments_schema.get("properties", {})


def arguments_with_database(tool: Tool) -> dict[str, Any]:
    """The JSON Schema of what a call in a session takes."""
    schema = tool.arguments_schema
    if not takes_database(tool):
        return schema
    named = {"type": "string", "description": "the database, where it is not the session's own"}
    return {**schema, "properties": {**schema.get("properties", {}), DATABASE: named}}
