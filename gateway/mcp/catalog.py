"""What a key finds when it comes to `/mcp`: the tools that it may use, and the scripts that it may start.

    GET /v1/mcp/catalog     {key, name, tools: [...], scripts: [{name, version, description, input_schema, output_schema, effects}]}

It tells what would be allowed, by the same questions that a start asks (`toolbox.access`). Its ETag changes when it does, so `sop mcp` asks
for it again and again and is told nothing most of the time.
"""

import asyncio
import hashlib
from typing import Any, Final

import orjson
from fastapi import APIRouter, Request, Response

from gateway.access import access_of
from gateway.access.routes import Need
from gateway.mcp import data_tools, run_tools
from gateway.mcp.scripts import described
from gateway.mcp.tools import BuiltIn
from gateway.services import Here, Services
from script.errors import ScriptError
from toolbox.access import Access, Scope, check_start
from toolbox.errors import Forbidden, ToolError

router = APIRouter(prefix="/v1/mcp", tags=["mcp"])
_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "what the key may use", "content": {"application/json": {"schema": {"type": "object"}}}},
    304: {"description": "it is what it was"},
}
TOOLS: Final[dict[str, BuiltIn[Any]]] = data_tools.TOOLS | run_tools.TOOLS


@router.get("/catalog", response_class=Response, responses=_RESPONSES)
async def catalog(here: Here, request: Request) -> Response:
    """The tools and scripts that the key may use over MCP."""
    found = await asyncio.to_thread(_catalog, here, access_of(request))
    body = orjson.dumps(found)
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    if tag in (part.strip() for part in request.headers.get("if-none-match", "").split(",")):
        return Response(status_code=304, headers={"ETag": tag})
    return Response(body, headers={"ETag": tag}, media_type="application/json")


def _catalog(here: Services, access: Access) -> dict[str, Any]:
    return {
        "key": access.key_id,
        "name": access.name,
        "tools": [name for name, tool in TOOLS.items() if _may_use(access, tool.scope)],
        "scripts": list(_scripts(here, access)),
    }


def _may_use(access: Access, scope: str) -> bool:
    try:
        Need.of(scope).check(access, {})
    except Forbidden:
        return False
    return True


def _scripts(here: Services, access: Access) -> list[dict[str, Any]]:
    """The scripts that the key may start, in order."""
    found = []
    for row in here.library.scripts():
        if not access.has(Scope("scripts", "run", row["name"])):
            continue
        try:
            programs = here.library.closure(row["name"])
            check_start(access, programs, {})
        except (ToolError, ScriptError):  # not for this key, or it calls what there is not any more
            continue
        found.append(described(programs[0], row.get("description"), programs))
    return found


def digest(here: Services) -> str:
    """What changes when any script does."""
    rows = [(row["name"], row["latest"]) for row in here.library.scripts()]
    return hashlib.sha256(orjson.dumps(rows)).hexdigest()
