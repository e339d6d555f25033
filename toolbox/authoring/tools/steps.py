"""Steps of the draft that is open. Which one is meant, and which list: see `script.editing.places`. Positions count from 0."""

from typing import Any, Final

from script.editing import steps as editing
from toolbox.authoring.tools.desks import desk_of
from toolbox.context import ToolContext
from toolbox.errors import InvalidArguments
from toolbox.tool import tool


@tool(effect="session")
def save_step(
    ctx: ToolContext,
    step: dict[str, Any],
    script: str | None = None,
    within: str | int | None = None,
    part: str | None = None,
) -> dict[str, Any]:
    """Add a step at the end of the draft, or of a list of steps inside of a step.

    within is a step (its name, its position, or a JSON Pointer such as /steps/2), part its list: then, else, steps, catch, finally or
    compensate. script is the draft's, if it is named at all.
    """
    desk = desk_of(ctx)
    open_name = desk.draft()[0].name
    if script not in (None, open_name):
        raise InvalidArguments(
            f"the draft that is open is that of {open_name}", pointer="/script", hint="open_draft first"
        )
    return desk.edit(lambda text: editing.insert_step(text, None, step, within, part))


@tool(effect="session")
def insert_step(
    ctx: ToolContext, position: int, step: dict[str, Any], within: str | int | None = None, part: str | None = None
) -> dict[str, Any]:
    """Insert a step before the one at a position, counted from 0, of the draft's steps or of a list inside of a step (within and part as
    in save_step)."""
    return desk_of(ctx).edit(lambda text: editing.insert_step(text, position, step, within, part))


@tool(effect="session")
def update_step(
    ctx: ToolContext, step: str | int, changes: dict[str, Any], remove: list[str] | None = None
) -> dict[str, Any]:
    """Change fields of a step, each as a whole; /args/limit is a part of a field. remove takes fields away.

    step is a name, a position counted from 0, or a JSON Pointer such as /steps/2/then/0.
    """
    return desk_of(ctx).edit(lambda text: editing.update_step(text, step, changes, remove or []))


@tool(effect="session")
def delete_step(ctx: ToolContext, step: str | int) -> dict[str, Any]:
    """Take a step out: a name, a position counted from 0, or a JSON Pointer."""
    return desk_of(ctx).edit(lambda text: editing.delete_step(text, step))


@tool(effect="session")
def move_step(
    ctx: ToolContext,
    step: str | int,
    position: int | None = None,
    within: str | int | None = None,
    part: str | None = None,
) -> dict[str, Any]:
    """Put a step at another position, counted from 0 without it (by default the end), of the draft's steps or of a list inside of a step
    (within and part as in save_step)."""
    return desk_of(ctx).edit(lambda text: editing.move_step(text, step, position, within, part))


@tool(effect="session")
def reorder_steps(
    ctx: ToolContext, order: list[str | int], within: str | int | None = None, part: str | None = None
) -> dict[str, Any]:
    """Put all steps of the draft, or of a list inside of a step, into another order: their names, or the positions they have now, counted
    from 0."""
    return desk_of(ctx).edit(lambda text: editing.reorder_steps(text, order, within, part))


TOOLS: Final = (save_step, insert_step, update_step, delete_step, move_step, reorder_steps)
