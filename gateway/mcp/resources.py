"""Resources: scripts as documents, and runs.

sop://scripts/{name}                  the latest version: the script as JSON
sop://scripts/{name}/versions/{v}     a version, by its number or hash; it never changes
sop://runs/{run_id}                   how a run stands, with its whole output or its error
sop://runs/{run_id}/events            its events so far, as NDJSON (at most EVENTS of them; `?after=N` goes on behind number N)
"""

import re
from typing import Final
from urllib.parse import unquote

import anyio
import orjson
from mcp_types import ReadResourceResult, Resource, ResourceTemplate, TextResourceContents

from gateway.client.errors import NotAllowed
from gateway.client.following import address
from gateway.client.transport import part
from gateway.mcp.api import Api
from gateway.problems import ApiError

EVENTS: Final = 500
_SILENCE: Final = 0.5
"""Seconds without an event after which those that came are all for now."""
_JSON: Final = "application/json"
_SCRIPT: Final = re.compile(r"sop://scripts/([^/?#]+)(?:/versions/([^/?#]+))?")
_RUN: Final = re.compile(r"sop://runs/([^/?#]+)(/events(?:\?after=([0-9]{1,15}))?)?")
TEMPLATES: Final = [
    ResourceTemplate(
        name="script", uri_template="sop://scripts/{name}", mime_type=_JSON, description="a script, its latest version"
    ),
    ResourceTemplate(
        name="script version",
        uri_template="sop://scripts/{name}/versions/{version}",
        mime_type=_JSON,
        description="a version of a script, by number or hash",
    ),
    ResourceTemplate(
        name="run", uri_template="sop://runs/{run_id}", mime_type=_JSON, description="a run with its output or error"
    ),
    ResourceTemplate(
        name="events of a run",
        uri_template="sop://runs/{run_id}/events{?after}",
        mime_type="application/x-ndjson",
        description=f"what happened in a run so far: at most {EVENTS} events",
    ),
]


async def scripts(api: Api) -> list[Resource]:
    """The scripts that the key may see."""
    try:
        found = (await api.get("/v1/scripts"))["data"]
    except NotAllowed:
        return []
    return [
        Resource(
            name=row["name"],
            uri=f"sop://scripts/{part(row['name'])}",
            description=row.get("description") or None,
            mime_type=_JSON,
        )
        for row in found
    ]


async def read(api: Api, uri: str) -> ReadResourceResult:
    """Raises ApiError for what is no address of ours, GatewayError for what is not there or not for this key."""
    kind, text = _JSON, b""
    if found := _SCRIPT.fullmatch(uri):
        params = {"version": unquote(found[2])} if found[2] else None
        text = orjson.dumps(await api.get(f"/v1/scripts/{part(unquote(found[1]))}", params=params))
    elif found := _RUN.fullmatch(uri):
        run_id = unquote(found[1])
        if found[2] is None:
            text = orjson.dumps(await api.get(address(run_id)))
        else:
            kind, text = "application/x-ndjson", await _events(api, run_id, int(found[3] or 0))
    else:
        message = f"there is no resource {uri}"
        raise ApiError(
            "not_found", message, hint="sop://scripts/{name}, sop://runs/{run_id}, sop://runs/{run_id}/events"
        )
    return ReadResourceResult(contents=[TextResourceContents(uri=uri, mime_type=kind, text=text.decode())])


async def _events(api: Api, run_id: str, after: int) -> bytes:
    """The events that there are: until the run's end, or until none comes for a moment."""
    found: list[bytes] = []
    async with api.lines("GET", address(run_id, "/events"), params={"after": after, "format": "ndjson"}) as lines:
        with anyio.CancelScope() as waiting:
            waiting.deadline = anyio.current_time() + _SILENCE
            async for line in lines:
                if line.strip():
                    found.append(line)
                if len(found) == EVENTS:
                    break
                waiting.deadline = anyio.current_time() + _SILENCE
    return b"".join(found)
