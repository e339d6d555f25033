"""What a key finds when it comes to `/mcp`: the tools that it may use, and the scripts that it may start.

    GET /v1/mcp/catalog     {key, name, tools: [...], scripts: [{name, version, description, input_schema, output_schema, effects}]}

It tells what would be allowed, by the questions that a start asks, and the OpenAPI document too (`published`). Its ETag changes when it
does, so `sop mcp` asks for it again and again and is told nothing most of the time.
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
from gateway.preconditions import NOT_MODIFIED, IfNoneMatch, not_modified, tag
from gateway.published import callable_programs
from gateway.published import catalog as published
from gateway.services import Here, Services
from toolbox.access import Access
from toolbox.errors import Forbidden

router = APIRouter(prefix="/v1/mcp", tags=["mcp"])
_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "what the key may use", "content": {"application/json": {"schema": {"type": "object"}}}},
    **NOT_MODIFIED,
}
TOOLS: Final[dict[str, BuiltIn[Any]]] = data_tools.TOOLS | run_tools.TOOLS


@router.get("/catalog", response_class=Response, responses=_RESPONSES)
async def catalog(here: Here, request: Request, if_none_match: IfNoneMatch = None) -> Response:
    """The tools and scripts that the key may use over MCP."""
    found = await asyncio.to_thread(_catalog, here, access_of(request))
    body = orjson.dumps(found)
    current = tag(hashlib.sha256(body).hexdigest()[:32])
    return not_modified(request, current) or Response(body, headers={"ETag": current}, media_type="application/json")


def _catalog(here: Services, access: Access) -> dict[str, Any]:
    return {
        "key": access.key_id,
        "name": access.name,
        "tools": [name for name, tool in TOOLS.items() if _may_use(access, tool.scope)],
        "scripts": [
            described(programs[0], description, programs)
            for programs, description in callable_programs(here, access, published(here))
        ],
    }


def _may_use(access: Access, scope: str) -> bool:
    try:
        Need.of(scope).check(access, {})
    except Forbidden:
        return False
    return True


def digest(here: Services) -> str:
    """What changes when any script does."""
    return hashlib.sha256(orjson.dumps(published(here))).hexdigest()
