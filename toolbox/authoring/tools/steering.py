"""What is about the session alone: the database that is meant, what is shown, what answers without effect."""

from typing import Any, Final

from query import SYSTEM
from toolbox.access import Scope
from toolbox.authoring.tools.desks import desk_of
from toolbox.context import ToolContext
from toolbox.errors import NoDatabase
from toolbox.tool import tool


@tool(effect="session")
def switch_database(ctx: ToolContext, database: str) -> dict[str, Any]:
    """Mean this database where none is named, from now on."""
    desk = desk_of(ctx)
    known = [
        name
        for name in sorted(ctx.databases.names())
        if name != SYSTEM and desk.access.has(Scope("data", "read", name))
    ]
    if database not in known:
        hint = f"there are {', '.join(known)}" if known else "there are none"
        raise NoDatabase(f"there is no database {database!r}", pointer="/database", hint=hint)
    desk.session.database = database
    return {"database": database}


@tool(effect="session")
def set_verbose(ctx: ToolContext, on: bool | None = None) -> dict[str, Any]:
    """Whether the person is shown every tool call with its result, or only what matters. Without `on` it only tells."""
    session = desk_of(ctx).session
    if on is not None:
        session.verbose = on
    return {"verbose": session.verbose}


@tool(effect="session")
def list_mocks(ctx: ToolContext) -> dict[str, Any]:
    """The tools that answer without effect in what is run from here, and with what (null: the usual); `all` where every tool does."""
    session = desk_of(ctx).session
    return {"mocks": dict(session.mocks), "all": session.stub}


TOOLS: Final = (switch_database, set_verbose, list_mocks)
