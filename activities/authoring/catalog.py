"""What the model is told there is, and which tools: only what the session's rights allow."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from activities.authoring.calls import SCHEDULES
from activities.execution import Resources
from agent.protocol import Tool
from toolbox import Tool as RegisteredTool
from toolbox.access import Access, Scope, of_call
from toolbox.authoring.catalog import catalog, types
from toolbox.authoring.meant import arguments_with_database
from toolbox.authoring.state import Session


def catalog_of(resources: Resources, session: Session, access: Access) -> dict[str, Any]:
    """See `toolbox.authoring.catalog`."""
    return catalog(
        resources.services, resources.databases, session, access, now=datetime.now(UTC), time_zone=session.time_zone
    )


def tools_of(resources: Resources, access: Access) -> list[Tool]:
    """The tools that a session's rights allow, in the order of their names."""
    found = (resources.registry.get(name) for name in resources.registry.names())
    return [_offered(tool) for tool in found if _may_use(tool, access)]


def _may_use(tool: RegisteredTool, access: Access) -> bool:
    """Whether the key may call it at all; which databases and which scripts, is asked with the call."""
    if tool.name == SCHEDULES:
        return access.has(Scope("schedules", "write"))
    return all(map(access.has, of_call(tool.name, tool.effect, ())))


def _offered(tool: RegisteredTool) -> Tool:
    """A tool as the model gets it. What is said of a stand-in, anybody may have written: it stands in the catalog, with the other data."""
    if tool.mocked:
        arguments: dict[str, Any] = types(tool.arguments_schema)
        return Tool(tool.name, "A stand-in for a tool that is not there yet.", arguments, tool.effect)
    return Tool(tool.name, tool.description, arguments_with_database(tool), tool.effect)


def redacting(resources: Resources) -> Callable[[str], str]:
    """Takes out of a text what no model may see: the values of all secrets."""
    vault = resources.services.vault
    found = vault.redaction() if vault is not None else None
    return found.text if found else lambda text: text
