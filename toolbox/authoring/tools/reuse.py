"""What was done last, again: as a step, as a block, as a script."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final, Literal

from script.editing.places import steps_of
from script.editing.steps import insert_step as inserted
from toolbox.authoring.desk import Desk
from toolbox.authoring.recorder import database_of, recordable, step_of
from toolbox.authoring.state import ToolCall
from toolbox.authoring.tools.desks import desk_of
from toolbox.authoring.tools.drafting import begin, refuse_taken
from toolbox.context import ToolContext
from toolbox.errors import InvalidArguments
from toolbox.tool import Tool, tool

_Call = tuple[ToolCall, Tool]


@tool(effect="session")
def last_tool(ctx: ToolContext) -> dict[str, Any]:
    """The last call of a tool, whole: its arguments as they were given, however nested, and what became of it."""
    calls = [call for call in desk_of(ctx).session.calls if call.tool != "last_tool"]
    if not calls:
        raise InvalidArguments("no tool has been called yet")
    return asdict(calls[-1])


@tool(effect="session")
def save_last_step(
    ctx: ToolContext, position: int | None = None, within: str | int | None = None, part: str | None = None
) -> dict[str, Any]:
    """Make a step of the draft of the last call that succeeded: at a position counted from 0, by default the end (within and part as in
    save_step)."""
    desk = desk_of(ctx)
    found = _chosen(ctx, desk, 1)

    def edit(script: dict[str, Any]) -> dict[str, Any]:
        based, steps = _in_script(desk, script, found)
        return inserted(based, position, steps[0], within, part)

    return desk.edit(edit)


@tool(effect="session")
def refactor_last_interaction(
    ctx: ToolContext, name: str, into: Literal["script", "block"] = "script", calls: int | None = None
) -> dict[str, Any]:
    """Make a new script, or a block in the draft, of what was done last: the successful calls of the last message that had any.

    With calls, it is so many of the last calls."""
    desk = desk_of(ctx)
    found = _chosen(ctx, desk, calls)
    if into == "script":
        desk.may_write(name)
        refuse_taken(ctx, desk, name)
        based, steps = _in_script(desk, {"name": name}, found)
        return begin(desk, {**based, "steps": steps})

    def edit(script: dict[str, Any]) -> dict[str, Any]:
        based, steps = _in_script(desk, script, found)
        return inserted(based, None, {"type": "block", "name": name, "steps": steps})

    return desk.edit(edit)


def _chosen(ctx: ToolContext, desk: Desk, count: int | None) -> list[_Call]:
    """The last so many calls, or those of the last turn that had any. Raises InvalidArguments."""
    known = recordable(desk.session, ctx.services.registry)
    if not known or (count is not None and count < 1):
        hint = "what failed, asked, or only looked around is none"
        raise InvalidArguments("there is no call to make a step of", hint=hint)
    if count is not None:
        return known[-count:]
    turn = known[-1][0].turn
    return [(call, tool) for call, tool in known if call.turn == turn]


def _in_script(
    desk: Desk, script: dict[str, Any], calls: Sequence[_Call]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The script, with the database of the calls if it has none; and the calls as steps of it."""
    databases = [database_of(desk.session, call, tool) for call, tool in calls]
    own = script.get("database") or next((database for database in databases if database is not None), None)
    taken = {name for _, name, _ in steps_of(script)}
    steps = []
    for (call, called), database in zip(calls, databases, strict=True):
        steps.append(step_of(call, called, taken, database=None if database == own else database))
        taken.add(steps[-1]["name"])
    return ({**script, "database": own} if own is not None else dict(script)), steps


TOOLS: Final = (last_tool, save_last_step, refactor_last_interaction)
