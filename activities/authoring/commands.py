"""Slash commands of the person: what `toolbox.authoring.commands` makes of them."""

import importlib
from typing import Any

from activities.execution import Resources
from script.session_wire import Approval
from toolbox import ToolError
from toolbox.authoring.state import Session


def understood(resources: Resources, session: Session, text: str) -> list[tuple[str, dict[str, Any]]] | str | Approval:
    """The tool calls that a command is, what it answers, or what it decides. Raises ToolError."""
    try:
        commands: Any = importlib.import_module("toolbox.authoring.commands")
    except ModuleNotFoundError:
        raise ToolError("slash commands are not there yet") from None
    found = commands.parse(text, session)
    if isinstance(found, list):
        return [(call.tool, dict(call.args)) for call in found]
    return str(found.text)
