"""What there is, as the model is told: databases with their stores, scripts, tools; only what the session's rights allow to see."""

from collections.abc import Mapping
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any, Final

from activities.authoring.calls import DATABASE, takes_database
from activities.execution import Resources
from agent.protocol import Tool
from query import SYSTEM, describe_store, list_stores
from toolbox import Tool as RegisteredTool
from toolbox.access import ANY, Access, Scope
from toolbox.authoring.state import Session
from toolbox.errors import DraftNotFound

MOST_STORES: Final = 60
MOST_SCRIPTS: Final = 100


def tools_of(resources: Resources, access: Access) -> list[Tool]:
    """The tools that a session's rights allow, in the order of their names."""
    found = (resources.registry.get(name) for name in resources.registry.names())
    return [Tool(tool.name, tool.description, _arguments(tool)) for tool in found if _may_use(tool, access)]


def _may_use(tool: RegisteredTool, access: Access) -> bool:
    if tool.effect == "external" and "schedule" not in tool.name:
        return access.has(Scope("tools", names=tool.name)) or access.has(Scope("admin"))
    return True


def _arguments(tool: RegisteredTool) -> Mapping[str, Any]:
    schema = tool.arguments_schema
    if not takes_database(tool):
        return schema
    named = {"type": "string", "description": "the database, where it is not the session's own"}
    schema = deepcopy(schema)
    schema["properties"] = {**schema.get("properties", {}), DATABASE: named}
    return schema


def catalog_of(resources: Resources, session: Session, access: Access) -> dict[str, Any]:
    """See `agent.author.turn.Situation`. What is left out is counted."""
    names = [
        name
        for name in sorted(resources.databases.names())
        if name != SYSTEM and access.has(Scope("data", "read", name))
    ]
    left = MOST_STORES
    databases: list[dict[str, Any]] = []
    for name in names:
        told = _database(resources, name, left)
        left -= len(told["stores"])
        databases.append(told)
    return {
        "databases": databases,
        "scripts": _scripts(resources, access),
        "tools": _not_configured(resources),
        "database": session.database,
        "draft": _draft(resources, session),
        "mocks": session.mocks,
        "recording": session.recording.name if session.recording is not None else None,
        "stub": session.stub,
        "now": datetime.now(UTC).isoformat(timespec="seconds"),
        "time_zone": "UTC",
    }


def _database(resources: Resources, name: str, most: int) -> dict[str, Any]:
    view = resources.databases.open(name).snapshot()
    infos = [info for info in list_stores(view) if not info.name.startswith("_")]
    stores = [_store(describe_store(view, info.name)) for info in infos[:most]]
    left_out = {"stores_left_out": len(infos) - len(stores)} if len(infos) > len(stores) else {}
    return {"name": name, "stores": stores, **left_out}


def _store(told: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": told["name"],
        "description": told.get("description", ""),
        "primary_key": told["primary_key"],
        "indexes": [{"name": index["name"], "fields": index["fields"]} for index in told["indexes"]],
        "schema": told.get("schema") or told.get("inferred_schema"),
        "rows": told["count"],
        "relations": told.get("relations", []),
    }


def _scripts(resources: Resources, access: Access) -> list[dict[str, Any]]:
    if not access.has(Scope("scripts", "read", ANY)):
        return []
    fields = ("name", "description", "parameters", "database")
    return [{name: row.get(name) for name in fields} for row in list(resources.library.scripts())[:MOST_SCRIPTS]]


def _not_configured(resources: Resources) -> dict[str, str]:
    """Tools that are there and cannot work, and why."""
    return {"send_email": "SOP_SMTP_URL and SOP_SMTP_FROM are not set"} if resources.services.smtp is None else {}


def _draft(resources: Resources, session: Session) -> dict[str, Any] | None:
    drafts = resources.services.drafts
    if drafts is None or session.draft is None:
        return None
    try:
        draft, text = drafts.get(session.draft)
    except DraftNotFound:
        return None
    problems = [problem.to_dict() for problem in drafts.problems(text.script)]
    found = {"id": draft.id, "name": draft.name, "revision": draft.revision, "script": text.script}
    return {**found, "problems": problems}
