"""Published scripts as operations of their own in the OpenAPI document: `POST /v1/call/NAME`, with what NAME takes and what it returns.

Clients that are made of the document get a typed function for each script. They call the same route as everybody: the operation of a
script is that of `POST /v1/call/{name}` with the name filled in, the parameters' JSON Schemas as those of `arguments`, and the declared
`output_schema` as that of the result. It describes the latest version; `version` in a call may name another.

A key is shown what it may call. What that depends on is the latest version of each script (`catalog`) and the key's scopes.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson

from gateway.results.asking import MEDIA_TYPES
from gateway.services import Services
from script.compiler.program import Program
from script.errors import ScriptError
from toolbox.access import Access, Scope, check_start
from toolbox.errors import ToolError

CALL: Final = "/v1/call/{name}"
TAG: Final = "published scripts"
RECORD: Final[dict[str, Any]] = {
    "type": "object",
    "description": "What happened in a run: a step, or the run itself. The last one is of type `run`, or `error`.",
    "required": ["type"],
    "properties": {
        "seq": {"type": "integer"},
        "run_id": {"type": "string"},
        "type": {"type": "string"},
        "status": {"type": "string"},
    },
}
_REFERENCE: Final = {"$ref": "#/components/schemas/Record"}
Catalog = tuple[tuple[str, str, str], ...]
"""The scripts: names, latest versions, descriptions."""


class Callable(NamedTuple):
    """A script that may be called: its programs, its own first, and what it is for."""

    programs: Sequence[Program]
    description: str


def catalog(here: Services) -> Catalog:
    """What there is to call; another one whenever something is saved."""
    return tuple((row["name"], row["latest"], row["description"]) for row in here.library.scripts())


def callable_programs(here: Services, access: Access, known: Catalog) -> list[Callable]:
    """The scripts that a key may call, in order."""
    found = []
    for name, version, description in known:
        if not access.has(Scope("scripts", "run", name)):
            continue  # there is no need to look at its programs
        try:
            programs = here.library.closure(name, version)
            check_start(access, programs, {})
        except (ToolError, ScriptError):  # not for this key, or it calls what there is not any more: a call says so
            continue
        found.append(Callable(programs, description))
    return found


def with_calls(document: Mapping[str, Any], found: Iterable[Callable]) -> dict[str, Any]:
    """The document with an operation for each script."""
    general, components = document["paths"][CALL]["post"], document["components"]
    shared = {
        f"Call-{parameter['name']}": parameter for parameter in general["parameters"] if parameter["in"] != "path"
    }
    more = {
        "schemas": {**components["schemas"], "Record": RECORD},
        "parameters": {**components.get("parameters", {}), **shared},
    }
    paths = {
        f"/v1/call/{one.programs[0].name}": {"post": operation(one.programs[0], one.description, general, shared)}
        for one in found
    }
    return {**document, "paths": {**document["paths"], **paths}, "components": {**components, **more}}


def operation(program: Program, description: str, general: Mapping[str, Any], shared: Iterable[str]) -> dict[str, Any]:
    """A script's operation, made of the general one, whose parameters it shares. Its name does not change with the version."""
    told = f"The script `{program.name}`, version `{program.hash[:12]}`."
    responses = {**general["responses"], "200": {**general["responses"]["200"], "content": _result(program)}}
    return {
        "operationId": f"call_{program.name}",
        "tags": [TAG],
        "summary": program.name,
        "description": "\n\n".join(part for part in (description, told) if part),
        "x-scope": f"scripts:run:{program.name}",
        "x-script-version": program.hash,
        "security": general["security"],
        "parameters": [{"$ref": f"#/components/parameters/{name}"} for name in shared],
        "requestBody": {"required": True, "content": {"application/json": {"schema": _body(program)}}},
        "responses": responses,
    }


def _body(program: Program) -> dict[str, Any]:
    """The body of a call: as `starting.RunRequest`, with the script's own arguments."""
    arguments: dict[str, Any] = {"type": "object", "additionalProperties": False}
    arguments["properties"] = {found.name: _parameter(program, found) for found in program.parameters}
    required = [found.name for found in program.parameters if found.required]
    if required:
        arguments["required"] = required
    body: dict[str, Any] = {"type": "object", "additionalProperties": False}
    body["properties"] = {
        "arguments": arguments,
        "version": {"type": ["string", "integer", "null"], "description": "default the latest"},
        "dry_run": {"type": "boolean", "default": False},
        "mocks": {"type": "array", "items": {"type": "string"}, "default": []},
    }
    return {**body, "required": ["arguments"]} if required else body


def _parameter(program: Program, parameter: Any) -> dict[str, Any]:
    schema = _standing_alone(parameter.schema or {}, program, f"parameters:{parameter.name}")
    return {**schema, "description": parameter.description} if parameter.description else schema


def _result(program: Program) -> dict[str, Any]:
    """The forms of the answer: records, or with `Prefer: wait` the last one."""
    end: dict[str, Any] = {
        "type": "object",
        "description": "the record of the run's end",
        "required": ["type", "status"],
        "properties": {"type": {"const": "run"}, "status": {"type": "string"}},
    }
    if program.output_schema:
        result = _standing_alone(program.output_schema, program, "output_schema")
        end["if"] = {"properties": {"status": {"const": "completed"}}}
        end["then"] = {"required": ["result"], "properties": {"result": result}}
    trace = {"type": "array", "items": _REFERENCE}
    return {
        MEDIA_TYPES["ndjson"]: {"schema": {}, "itemSchema": _REFERENCE},
        MEDIA_TYPES["sse"]: {"schema": {"type": "string"}},
        MEDIA_TYPES["json"]: {"schema": {"anyOf": [trace, end]}},
        MEDIA_TYPES["csv"]: {"schema": {"type": "string"}},
    }


def _standing_alone(schema: Mapping[str, Any], program: Program, place: str) -> dict[str, Any]:
    """A schema whose references (`#/$defs/...`) mean its own parts, wherever it stands."""
    text = orjson.dumps(schema)
    if b'"$ref"' not in text and b'"$dynamicRef"' not in text:
        return dict(schema)
    return {"$id": f"urn:sop:script:{program.hash}:{place}", **schema}
