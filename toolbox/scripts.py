"""Tools about scripts: what there is, and saving a new version."""

from typing import Any, Final

from toolbox.context import ToolContext
from toolbox.tool import tool


@tool(effect="read")
def list_scripts(ctx: ToolContext) -> list[dict[str, Any]]:
    """The saved scripts with their descriptions and newest versions."""
    return ctx.services.library.scripts()


@tool(effect="read")
def get_script_details(ctx: ToolContext, name: str, version: str | int | None = None) -> dict[str, Any]:
    """A saved script: its text, its version and its pins."""
    return ctx.services.library.get(name, version).to_dict()


@tool(effect="external")
def save_script(ctx: ToolContext, script: dict[str, Any]) -> dict[str, Any]:
    """Check a script and save it as a new immutable version; saving the same text again changes nothing."""
    saved = ctx.services.library.save(script, author=f"run:{ctx.run_id}")
    return {"name": saved.name, "version": saved.hash, "number": saved.number}


TOOLS: Final = (list_scripts, get_script_details, save_script)
