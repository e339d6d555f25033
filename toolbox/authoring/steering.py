"""Tools that are about the session alone: what is shown, which database is meant, what answers without effect."""

from typing import Any, Final

from toolbox.authoring.desk import Desk
from toolbox.context import ToolContext
from toolbox.errors import NoDatabase, ToolNotConfigured
from toolbox.tool import tool


@tool(effect="session")
def set_verbose(ctx: ToolContext, on: bool | None = None) -> dict[str, Any]:
    """Show the person every tool call with its result, or only what matters. Without `on` it only tells."""
    session = _desk(ctx).session
    if on is not None:
        session.verbose = on
    return {"verbose": session.verbose}


@tool(effect="session")
def switch_database(ctx: ToolContext, database: str) -> dict[str, Any]:
    """Mean this database where none is named."""
    session = _desk(ctx).session
    known = sorted(ctx.scope & set(ctx.databases.names())) if ctx.scope else sorted(ctx.databases.names())
    if database not in known:
        raise NoDatabase(
            f"there is no database {database!r}", pointer="/database", hint=f"there are {', '.join(known) or 'none'}"
        )
    session.database = database
    return {"database": database}


@tool(effect="session")
def list_mocks(ctx: ToolContext) -> dict[str, Any]:
    """The tools that answer without effect in what is run from this session, and with what; `all` where every tool does."""
    session = _desk(ctx).session
    return {"mocks": dict(session.mocks), "all": session.stub}


def _desk(ctx: ToolContext) -> Desk:
    if ctx.session is None:
        raise ToolNotConfigured("this works on a session, and there is none here")
    return ctx.session


TOOLS: Final = (set_verbose, switch_database, list_mocks)
