"""Scripts as tools: each that the key may start is one of its own, `run_NAME`, with the types of its parameters and of its result.

What a script may do is known before it runs: the tools that its programs call, and those of the scripts that it calls. So the hints for
clients (does it only read, may it destroy, does it reach the outside) are not claims of its author.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import orjson
from mcp_types import Tool, ToolAnnotations

from script.compiler.program import Parameter, Program

PREFIX: Final = "run_"
_ADDING: Final = frozenset({"add", "create_store", "create_index"})
"""Tools that write, and change nothing that is there."""


def described(program: Program, description: str | None, programs: Sequence[Program]) -> dict[str, Any]:
    """A script as the catalog has it; `programs` are its own and all that it reaches."""
    return {
        "name": program.name,
        "version": program.hash,
        "description": description or "",
        "input_schema": input_schema(program.parameters),
        "output_schema": program.output_schema,
        "effects": effects(programs),
    }


def input_schema(parameters: Iterable[Parameter]) -> dict[str, Any]:
    """The JSON Schema of the arguments."""
    known = list(parameters)
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {parameter.name: _property(parameter) for parameter in known},
        "additionalProperties": False,
    }
    required = [parameter.name for parameter in known if parameter.required]
    return schema | ({"required": required} if required else {})


def _property(parameter: Parameter) -> dict[str, Any]:
    found = _embedded(parameter.schema or {}, parameter.name)
    if parameter.description:
        found["description"] = parameter.description
    if not parameter.required and parameter.default is not None:
        found.setdefault("default", parameter.default)
    return found


def effects(programs: Iterable[Program]) -> dict[str, bool]:
    """What programs may do: {writes, destroys, reaches_outside}."""
    calls = [(code["tool"], code["effect"]) for program in programs for code in program.code if code["op"] == "call"]
    outside = any(effect == "external" for _, effect in calls)
    destroys = any(effect == "write" and tool not in _ADDING for tool, effect in calls)
    writes = any(effect == "write" for _, effect in calls)
    return {"writes": writes, "destroys": destroys, "reaches_outside": outside}


def as_tool(entry: Mapping[str, Any]) -> Tool:
    """A script of the catalog as a tool."""
    does = entry["effects"]
    reads = not (does["writes"] or does["reaches_outside"])
    said = entry["description"].strip() or f"Run the script {entry['name']}."
    return Tool(
        name=PREFIX + entry["name"],
        description=f"{said}\n\nA saved script (version {entry['version'][:12]}); it runs durably, and the answer has the run's id.",
        input_schema=entry["input_schema"],
        output_schema=output_schema(entry["output_schema"]),
        annotations=ToolAnnotations(
            read_only_hint=reads,
            destructive_hint=not reads and (does["destroys"] or does["reaches_outside"]),
            idempotent_hint=reads,
            open_world_hint=does["reaches_outside"],
        ),
    )


def output_schema(declared: Mapping[str, Any] | None) -> dict[str, Any]:
    """The schema of the answer: the run, and its result if it has ended in time and is not too large."""
    return {
        "type": "object",
        "properties": {
            "run_id": {"type": "string"},
            "state": {"type": "string", "enum": ["completed", "running"]},
            "result": _embedded(declared or {}, "result"),
            "rows": {"type": "object", "description": "the first rows of the result, as CSV"},
            "hint": {"type": "string"},
        },
        "required": ["run_id", "state"],
    }


def _embedded(schema: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A schema as a part of another one: its references go on leading into itself."""
    return {"$id": f"urn:sop:schema:{name}", **schema} if b'"$ref"' in orjson.dumps(schema) else dict(schema)
