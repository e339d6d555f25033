"""Steps and scripts, as the scripted answers write them."""

from typing import Any

from evals.case import Reply, tell, write


def fetch(store: str, variable: str, **more: Any) -> dict[str, Any]:
    """A step that reads rows."""
    return {
        "type": "fetch",
        "name": f"read_{variable}",
        "source": "btree",
        "resource": store,
        "variable": variable,
        **more,
    }


def command(tool: str, variable: str | None = None, **args: Any) -> dict[str, Any]:
    """A step that calls a tool."""
    return {"type": "command", "command": tool, "args": args, **({"output_variable": variable} if variable else {})}


def give(value: Any) -> dict[str, Any]:
    """A step that ends with a value."""
    return {"type": "return", "value": value}


def written(
    name: str,
    steps: list[dict[str, Any]],
    database: str | None = None,
    parameters: list[Any] | None = None,
    **more: Any,
) -> list[list[Reply]]:
    """A model that writes this script in one turn."""
    script: dict[str, Any] = {"name": name, "steps": steps, **more}
    if database is not None:
        script["database"] = database
    if parameters:
        script["parameters"] = parameters
    return [[write(script), tell("The draft is ready.")]]
