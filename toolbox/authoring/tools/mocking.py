"""Mocks: tools that are not to be used from here, and stand-ins for tools that are not there (`toolbox.stand_ins`)."""

import re
from typing import Any, Final

import orjson

from query import select
from script.wire import ROWS
from toolbox.access import ADMIN, Scope
from toolbox.authoring.desk import Desk
from toolbox.authoring.tools.desks import desk_of
from toolbox.context import ToolContext
from toolbox.errors import InUse, InvalidArguments
from toolbox.library import VERSIONS
from toolbox.stand_ins import RESERVED, StandInRow, keep_stand_in, remove_stand_in, stand_in
from toolbox.tool import tool

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,79}")


@tool(effect="session")
def mock_tool(
    ctx: ToolContext,
    tool: str,
    result: Any = None,
    description: str = "",
    arguments: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Let a tool that reaches the outside do nothing in dry runs and runs from here, and give result in dry runs.

    A name that no tool has becomes a stand-in: scripts may call it, everywhere, and its calls are written to the outbox until a tool of
    that name is there. description says what it is for, arguments is the JSON Schema of what it takes (by default anything). A stand-in
    that saved scripts call stays as it is: their runs see what they saw.
    """
    desk = desk_of(ctx)
    made = False
    if ROWS.encode() in orjson.dumps(result):
        raise InvalidArguments("a reference to rows cannot stand for a result", pointer="/result", hint="give the rows")
    if ctx.services.registry.is_registered(tool):
        effect = ctx.services.registry.get(tool).effect
        if effect != "external":
            raise InvalidArguments(f"{tool} reaches nothing outside: it is {effect}", pointer="/tool")
        for name, value in (("description", description), ("arguments", arguments)):
            if value:
                raise InvalidArguments(f"{tool} is there, with its own {name}", pointer=f"/{name}")
    elif desk.by_model and stand_in(desk.work.transaction, tool) is not None:
        for name, given in (("description", description), ("arguments", arguments)):
            if given:
                message = f"{tool} stands in everywhere: only the person changes its {name}"
                raise InvalidArguments(message, pointer=f"/{name}", hint="give result alone: it is for this session")
    elif not _stays(desk, tool, description, arguments, result):
        made = True
        _make_stand_in(
            desk,
            StandInRow(
                tool,
                description or f"Stands for {tool}, which is not there yet.",
                arguments,
                result,
                desk.access.key_id,
                desk.work.now,
            ),
        )
    desk.session.mocks[tool] = result
    return {"mocked": tool, "stand_in": made, "mocks": sorted(desk.session.mocks)}


@tool(effect="session")
def unmock_tool(ctx: ToolContext, tool: str) -> dict[str, Any]:
    """Use a tool again; a stand-in is removed, if no saved script calls it and the person says so (`/unmock`)."""
    desk = desk_of(ctx)
    row = stand_in(desk.work.transaction, tool)
    if row is None and tool not in desk.session.mocks:
        raise InvalidArguments(
            f"{tool} is not mocked here", pointer="/tool", hint=f"{', '.join(sorted(desk.session.mocks)) or 'none'} are"
        )
    if desk.by_model:
        row = None
    if row is not None:
        _may_change(desk, row)
        callers = sorted(_callers(desk, tool))
        if callers and not ctx.services.registry.is_registered(tool):
            raise InUse(
                f"{tool} is called by {', '.join(callers)}, and there is no other tool of that name", pointer="/tool"
            )
        remove_stand_in(desk.work.transaction, tool)
    desk.session.mocks.pop(tool, None)
    return {"unmocked": tool, "stand_in_removed": row is not None, "mocks": sorted(desk.session.mocks)}


def _stays(desk: Desk, tool: str, description: str, arguments: dict[str, Any] | None, result: Any) -> bool:
    """Whether there is a stand-in that is not to be another one. Raises InUse for one that saved scripts call."""
    known = stand_in(desk.work.transaction, tool)
    if known is None:
        return False
    callers = _callers(desk, tool)
    if callers and (description or arguments):
        told = ", ".join(sorted(callers))
        raise InUse(f"{tool} is called by {told}, and stays as it is", pointer="/tool", hint="a result is for dry runs")
    return bool(callers) or not (description or arguments or result is not None)


def _make_stand_in(desk: Desk, row: StandInRow) -> None:
    """Raises Forbidden, InvalidArguments."""
    if not _NAME.fullmatch(row.name) or row.name in RESERVED:
        raise InvalidArguments(f"{row.name!r} is no name of a tool", pointer="/tool", hint="as email_service")
    desk.access.require(Scope("tools", names=row.name), what=f"a stand-in for {row.name}")
    known = stand_in(desk.work.transaction, row.name)
    if known is not None:
        _may_change(desk, known)
    keep_stand_in(desk.work.transaction, row)


def _may_change(desk: Desk, row: StandInRow) -> None:
    """Whoever made it may change it. Raises Forbidden."""
    if row.made_by != desk.access.key_id:
        desk.access.require(ADMIN, what=f"the stand-in {row.name}, which another key has made,")


def _callers(desk: Desk, tool: str) -> set[str]:
    """The scripts of which a version calls the tool."""
    return {row["name"] for row in select(desk.work.transaction, VERSIONS) if _calls(row["script"], tool)}


def _calls(node: Any, tool: str) -> bool:
    if isinstance(node, dict):
        return (node.get("type") == "command" and node.get("command") == tool) or any(
            _calls(part, tool) for part in node.values()
        )
    return isinstance(node, list) and any(_calls(part, tool) for part in node)


TOOLS: Final = (mock_tool, unmock_tool)
