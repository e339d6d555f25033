"""What the model is told there is, and which tools: only what the session's rights allow."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

from activities.authoring.turns import DATABASE, takes_database
from activities.execution import Resources
from agent.protocol import Tool
from toolbox import Tool as RegisteredTool
from toolbox.access import Access, Scope
from toolbox.authoring.catalog import catalog
from toolbox.authoring.state import Session
from toolbox.stand_ins import StandIn


def catalog_of(resources: Resources, session: Session, access: Access) -> dict[str, Any]:
    """See `toolbox.authoring.catalog`."""
    return catalog(resources.services, resources.databases, session, access, now=datetime.now(UTC))


def tools_of(resources: Resources, access: Access) -> list[Tool]:
    """The tools that a session's rights allow, in the order of their names."""
    found = (resources.registry.get(name) for name in resources.registry.names())
    return [
        Tool(tool.name, _described(tool), _arguments(tool), tool.effect) for tool in found if _may_use(tool, access)
    ]


def _described(tool: RegisteredTool) -> str:
    """What a tool is for, in words of ours: what somebody wrote of a stand-in is data, which `describe_tool` gives."""
    if isinstance(tool, StandIn):
        return "Stands for a tool that is not there yet: its calls are written to the outbox. describe_tool tells more."
    return tool.description


def _may_use(tool: RegisteredTool, access: Access) -> bool:
    """Whether the key may call it at all; tools for schedules have rights of their own, which are asked with the call."""
    return tool.effect != "external" or "schedule" in tool.name or access.has(Scope("tools", names=tool.name))


def _arguments(tool: RegisteredTool) -> Mapping[str, Any]:
    schema = tool.arguments_schema
    if not takes_database(tool):
        return schema
    named = {"type": "string", "description": "the database, where it is not the session's own"}
    schema = deepcopy(schema)
    schema["properties"] = {**schema.get("properties", {}), DATABASE: named}
    return schema


def redacting(resources: Resources) -> Callable[[str], str]:
    """Takes out of a text what no model may see: the values of all secrets."""
    vault = resources.services.vault
    found = vault.redaction() if vault is not None else None
    return found.text if found else lambda text: text
