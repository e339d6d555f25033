"""Tools: what a command step can call."""

from typing import Any

from fastapi import APIRouter

from gateway.services import Here

router = APIRouter(prefix="/v1/tools", tags=["tools"])


@router.get("")
def list_tools(here: Here) -> dict[str, Any]:
    """All tools with the schemas of their arguments and results."""
    return {"data": here.registry.describe()}


@router.get("/{name}")
def show_tool(here: Here, name: str) -> dict[str, Any]:
    """One tool."""
    return here.registry.get(name).describe()
