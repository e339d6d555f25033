"""The catalog: what there is, for an author of scripts, as far as whoever asks may see it.

    {databases: [{name, stores: [{name, description?, primary_key, indexes?, relations?, rows, schema, schema_is}], left_out?}],
     scripts: [{name, description, parameters, database?}], scripts_left_out?,
     tools: {name: why it is not configured, or that it is a stand-in},
     database, draft: {id, name, revision, script, problems} or None, mocks, stub, recording, now, time_zone}

Schemas are types: of a declared schema the types are told, of other stores those of the first SAMPLE rows. No value of a row is in it, but
names of fields are, and they are data as much as the rows are.

Databases and scripts have at most BUDGET bytes (the draft is there whole): the database that is meant comes first; where the room is used
up, stores are named with their keys only, then they and scripts are left out, and it says how many and which tool tells more.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import orjson

from query import Databases, QueryError, StoreInfo, View, list_stores, open_store, select
from query.stores.schema_inference import infer_schema
from script.errors import ScriptInvalid
from script.source.loading import load_script
from toolbox.access import Access, Scope, check_named
from toolbox.authoring.state import Session
from toolbox.context import Services
from toolbox.errors import DraftNotFound, Forbidden

BUDGET: Final = 48 * 1024
"""Bytes of the JSON of stores and scripts."""
SAMPLE: Final = 50
"""Rows that the types of a store are taken from."""
FIELDS: Final = 60
"""Fields of an object that are told."""
_NAME: Final = 80
_SAID: Final = 200
"""Characters of a field's name (longer ones are left out), and of a description."""


def catalog(
    services: Services,
    databases: Databases,
    session: Session,
    access: Access,
    *,
    now: datetime,
    time_zone: str | None = None,
) -> dict[str, Any]:
    """What the author of a session sees beside what was said. `time_zone` is the person's, where it is known: never that of the machine."""
    room = _Room(BUDGET)
    meant = session.database
    names = sorted(databases.names(), key=lambda name: (name != meant, name))
    seen = [name for name in names if access.has(Scope("data", "read", name))]
    return {
        "databases": [_database(databases, name, room) for name in seen],
        **_scripts(services, access, room),
        "tools": tools_told(services, access),
        "database": meant if meant in seen else None,
        "draft": _draft(services, session, access),
        "mocks": sorted(session.mocks),
        "stub": session.stub,
        "recording": _recording(session),
        "now": now.isoformat(timespec="seconds"),
        "time_zone": time_zone,
    }


def tools_told(services: Services, access: Access) -> dict[str, str]:
    """What is to be said about tools: those that are not configured, with the reason, and stand-ins that may be called, with what they
    are said to be for. `ask` is the step."""
    found = {}
    if services.smtp is None:
        found["send_email"] = "not configured: there is no mail server. It can be mocked"
    if services.schedules is None:
        found["schedule_script"] = "not configured: schedules cannot be reached from here"
    if services.library.environment().has_model() is False:
        found["ask"] = "not configured: runs have no language model, so ask steps fail"
    for described in services.registry.describe():
        if described.get("stand_in") and access.has(Scope("tools", names=described["name"])):
            said = described["description"][:_SAID]
            found[described["name"]] = f"a stand-in: it does nothing, its calls are written to the outbox. {said}"
    return found


class _Room:
    """Bytes that are left."""

    def __init__(self, left: int) -> None:
        self.left = left

    def takes(self, value: Any) -> bool:
        """Whether a value has room; it is taken then."""
        size = len(orjson.dumps(value)) + 1
        if size > self.left:
            return False
        self.left -= size
        return True


def _database(databases: Databases, name: str, room: _Room) -> dict[str, Any]:
    found: dict[str, Any] = {"name": name, "stores": []}
    try:
        view = databases.open(name).snapshot()
        stores = [info for info in list_stores(view) if not info.name.startswith("_")]
    except QueryError:  # removed meanwhile
        return {**found, "left_out": "it cannot be read"}
    left = 0
    for info in stores:
        short = {"name": info.name, "primary_key": info.primary_key}
        told = _store(view, info) if room.left > len(info.name) else short
        if room.takes(told):
            found["stores"].append(told)
        elif room.takes({**short, "left_out": "describe_store"}):
            found["stores"].append({**short, "left_out": "describe_store tells more"})
        else:
            left += 1
    return {**found, "left_out": f"{left} more stores: list_stores names them"} if left else found


def _store(view: View, info: StoreInfo) -> dict[str, Any]:
    told: dict[str, Any] = {
        "name": info.name,
        "primary_key": info.primary_key,
        "rows": open_store(view, info.name).count(),
    }
    if info.description:
        told["description"] = info.description[:_SAID]
    if info.indexes:
        told["indexes"] = [{"fields": list(index.fields), "unique": index.unique} for index in info.indexes]
    if info.relations:
        told["relations"] = [
            {"fields": list(each.fields), "store": each.store, "to": list(each.to)} for each in info.relations
        ]
    declared = info.schema
    sampled = declared if declared is not None else infer_schema(select(view, info.name, limit=SAMPLE))
    return {**told, "schema": types(sampled), "schema_is": "declared" if declared is not None else "inferred"}


def types(schema: Any) -> Any:
    """The types of a schema, and nothing that is a value: {type, properties, required, items, anyOf}."""
    if not isinstance(schema, Mapping):
        return {}
    found: dict[str, Any] = {name: schema[name] for name in ("type", "format") if name in schema}
    properties = schema.get("properties")
    if isinstance(properties, Mapping):
        names = [name for name in properties if len(name) <= _NAME][:FIELDS]
        found["properties"] = {name: types(properties[name]) for name in names}
        required = schema.get("required")
        found["required"] = [name for name in names if isinstance(required, list) and name in required]
        if len(names) < len(properties):
            found["fields_left_out"] = len(properties) - len(names)
    if isinstance(schema.get("items"), Mapping):
        found["items"] = types(schema["items"])
    for name in ("anyOf", "oneOf", "allOf"):
        if isinstance(schema.get(name), list):
            found[name] = [types(part) for part in schema[name]]
    return found


def _scripts(services: Services, access: Access, room: _Room) -> dict[str, Any]:
    found, left = [], 0
    for row in services.library.scripts():
        if not access.has(Scope("scripts", "read", row["name"])):
            continue
        said = row.get("description") or ""
        told = {"name": row["name"], "description": said[:_SAID], "parameters": row.get("parameters", [])}
        told |= {"database": row["database"]} if row.get("database") else {}
        if room.takes(told):
            found.append(told)
        else:
            left += 1
    more = {"scripts_left_out": f"{left} more: list_scripts names them"} if left else {}
    return {"scripts": found, **more}


def _draft(services: Services, session: Session, access: Access) -> dict[str, Any] | None:
    drafts = services.drafts
    if session.draft is None or drafts is None:
        return None
    try:
        draft, text = drafts.get(session.draft)
    except DraftNotFound:
        return None
    if not access.has(Scope("scripts", "write", draft.name)) or not _may_see(access, text.script):
        return None
    problems = [problem.to_dict() for problem in drafts.problems(text.script)]
    return {"id": draft.id, "name": draft.name, "revision": draft.revision, "script": text.script, "problems": problems}


def _may_see(access: Access, script: dict[str, Any]) -> bool:
    """Whether the databases that a text names may be read: its problems tell of them."""
    try:
        check_named(access, load_script(script).script)
    except ScriptInvalid:
        return True
    except Forbidden:
        return False
    return True


def _recording(session: Session) -> dict[str, Any] | None:
    found = session.recording
    if found is None:
        return None
    return {"name": found.name, "mode": found.mode, "paused": found.paused, "steps": len(found.steps)}
