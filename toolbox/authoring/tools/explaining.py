"""What a script does, told and drawn: of the draft that is open, or of a saved script. Made from its text, and no model is asked."""

from typing import Any, Final, Literal

from script import review
from script.diagram import mermaid, svg
from script.errors import ScriptInvalid
from script.outline import outline
from script.source.ast import Script
from script.source.loading import load_script
from toolbox.access import Scope, check_named
from toolbox.authoring.desk import Desk
from toolbox.authoring.tools.desks import desk_of
from toolbox.context import ToolContext
from toolbox.errors import DraftInvalid, ToolError
from toolbox.tool import tool


@tool(effect="session")
def outline_script(ctx: ToolContext, name: str | None = None) -> dict[str, Any]:
    """What the draft, or a saved script, does, step by step, in English."""
    script = _meant(ctx, desk_of(ctx), name)
    return {"name": script.name, "outline": outline(script)}


@tool(effect="session")
def draw_script(
    ctx: ToolContext, name: str | None = None, format: Literal["mermaid", "svg"] = "mermaid"
) -> dict[str, Any]:
    """A picture of the draft, or of a saved script: the text of a Mermaid flowchart, or SVG."""
    script = _meant(ctx, desk_of(ctx), name)
    return {"name": script.name, "format": format, "picture": svg(script) if format == "svg" else mermaid(script)}


@tool(effect="session")
def review_script(ctx: ToolContext, name: str | None = None) -> dict[str, Any]:
    """What the draft, or a saved script, does to the world, and what looks wrong with it: stores that it reads and writes, calls outside,
    steps that nothing undoes, loops without a bound, questions to a model."""
    desk = desk_of(ctx)
    script = _meant(ctx, desk, name)
    check_named(desk.access, script)

    def called(other: str, version: str | None) -> Script | None:
        if not desk.access.has(Scope("scripts", "read", other)):
            return None
        try:
            return load_script(ctx.services.library.get(other, version).script).script
        except ToolError:
            return None

    found = review.review_script(script, ctx.services.library.environment(), called).to_dict()
    return {"name": script.name, **found}


def _meant(ctx: ToolContext, desk: Desk, name: str | None) -> Script:
    """The script that is meant. Raises NoDraft, DraftInvalid for a draft that is no script yet, ScriptNotFound, Forbidden."""
    if name is None or desk.is_open(name):
        try:
            return load_script(desk.draft()[1].script).script
        except ScriptInvalid as invalid:
            problems = [problem.to_dict() for problem in invalid.problems]
            raise DraftInvalid(f"the draft is no script yet: {invalid.message}", problems=problems) from None
    desk.access.require(Scope("scripts", "read", name))
    return load_script(ctx.services.library.get(name).script).script


TOOLS: Final = (outline_script, draw_script, review_script)
