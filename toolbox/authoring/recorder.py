"""What was done, as steps: the exact arguments of a call, whatever JSON they are, become those of a command step.

Recorded is what has succeeded and does something. What failed, asked, or only looked around (`list_*`, `describe_*`, `explain`, previews,
dry runs, tools of the session itself) is noise.
"""

from collections.abc import Collection, Mapping
from typing import Any, Final

import orjson

from script.compiler.deferred import ROW_TEMPLATES
from script.editing import literal
from script.editing.places import unused_name
from script.source.loading import MAX_BYTES
from toolbox.authoring.meant import has_database
from toolbox.authoring.state import Recording, Session, ToolCall
from toolbox.registry import Registry
from toolbox.tool import Tool

_LOOKING: Final = ("list_", "describe_")
_NOISE: Final = frozenset({"explain", "get_script_details"})
_ROOM: Final = MAX_BYTES - 16 * 1024
"""Bytes of JSON that recorded steps may take: a script has to hold them."""


def is_noise(call: ToolCall, tool: Tool) -> bool:
    """Whether a call is nothing to record."""
    looks = call.tool.startswith(_LOOKING) or call.tool in _NOISE
    return call.status != "done" or tool.effect == "session" or looks or call.args.get("dry_run") is True


def record_call(session: Session, call: ToolCall, tool: Tool) -> bool:
    """Record a call of a session that records compiled steps; says whether it was."""
    recording = session.recording
    if recording is None or recording.paused or recording.mode != "compiled" or is_noise(call, tool):
        return False
    database = database_of(session, call, tool)
    recording.database = recording.database or database
    taken = {step["name"] for step in recording.steps}
    return _keep(recording, step_of(call, tool, taken, database=None if database == recording.database else database))


def record_words(session: Session, text: str) -> bool:
    """Record what the person says, in a session that records questions; says whether it was. Slash commands are no words."""
    recording = session.recording
    if recording is None or recording.paused or recording.mode != "ask" or not text.strip() or text.startswith("/"):
        return False
    name = unused_name("ask", {step["name"] for step in recording.steps})
    return _keep(recording, {"type": "ask", "name": name, "prompt": literal(text)})


def step_of(call: ToolCall, tool: Tool, taken: Collection[str], *, database: str | None = None) -> dict[str, Any]:
    """A call as a command step, under a name that is not taken."""
    properties = tool.arguments_schema.get("properties", {})
    args = {
        name: value if ROW_TEMPLATES in properties.get(name, {}) else literal(value)
        for name, value in call.args.items()
    }
    step: dict[str, Any] = {
        "type": "command",
        "name": unused_name(call.tool, taken),
        "command": call.tool,
        "args": args,
    }
    return {**step, "database": database} if database is not None else step


def database_of(session: Session, call: ToolCall, tool: Tool) -> str | None:
    """The database that a call worked on."""
    return (call.database or session.database) if has_database(tool) else None


def recordable(session: Session, registry: Registry) -> list[tuple[ToolCall, Tool]]:
    """The calls that are kept and no noise, oldest first."""
    known = set(registry.names())
    found = [(call, registry.get(call.tool)) for call in session.calls if call.tool in known]
    return [(call, tool) for call, tool in found if not is_noise(call, tool)]


def _keep(recording: Recording, step: Mapping[str, Any]) -> bool:
    if len(orjson.dumps([*recording.steps, step])) > _ROOM:
        recording.left_out += 1
        return False
    recording.steps.append(dict(step))
    return True
