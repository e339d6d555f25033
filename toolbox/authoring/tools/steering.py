"""What is about the session alone: the database that is meant, what is shown, what answers without effect; and scripts explained."""

from typing import Any, Final

from query import SYSTEM
from script.errors import ScriptInvalid
from script.outline import outline
from script.review import review_script as review
from script.source.ast import Script
from script.source.loading import load_script
from toolbox.access import Scope, check_named
from toolbox.authoring.desk import Desk
from toolbox.authoring.tools.desks import desk_of
from toolbox.context import ToolContext
from toolbox.errors import DraftInvalid, NoDatabase, ToolError
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


@tool(effect="session")
def outline_script(ctx: ToolContext, name: str | None = None) -> dict[str, Any]:
    """The draft that is open, or a published script, step by step in plain English."""
    found = _script(ctx, desk_of(ctx), name)
    return {"name": found.name, "outline": outline(found)}


@tool(effect="session")
def review_script(ctx: ToolContext, name: str | None = None) -> dict[str, Any]:
    """What the draft that is open, or a published script, does to the world, and what looks wrong with it: missing compensation, unbounded
    loops, errors that are swallowed, the model asked at run time, and more."""
    desk = desk_of(ctx)
    found = _script(ctx, desk, name)
    check_named(desk.access, found)

    def called(other: str, version: str | int | None) -> Script | None:
        if not desk.access.has(Scope("scripts", "read", other)):
            return None
        try:
            return load_script(ctx.services.library.get(other, version if version != "latest" else None).script).script
        except ToolError:
            return None

    return {"name": found.name, **review(found, ctx.services.library.environment(), called).to_dict()}


def _script(ctx: ToolContext, desk: Desk, name: str | None) -> Script:
    """A published script, or the draft. Raises NoDraft, ScriptNotFound, Forbidden, DraftInvalid for a draft that is no script yet."""
    if name is not None:
        desk.access.require(Scope("scripts", "read", name))
        return load_script(ctx.services.library.get(name).script).script
    draft, text = desk.draft()
    try:
        return load_script(text.script).script
    except ScriptInvalid as invalid:
        problems = [problem.to_dict() for problem in invalid.problems]
        raise DraftInvalid(f"the draft {draft.name} is no script yet", problems=problems) from None


TOOLS: Final = (switch_database, set_verbose, list_mocks, outline_script, review_script)
