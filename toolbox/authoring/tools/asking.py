"""Questions to the person."""

from typing import Any, Final

from toolbox.authoring.tools.desks import desk_of
from toolbox.context import ToolContext
from toolbox.tool import tool

ENDS_TURN: Final = "ends_turn"
"""A result that has this ends the turn: what comes next is up to the person."""


@tool(effect="session")
def ask_person(ctx: ToolContext, question: str, options: list[str] | None = None) -> dict[str, Any]:
    """Ask the person, and wait for the answer: the turn ends with the question. options are answers to choose from; others are possible."""
    desk_of(ctx).say("card", card="question", question=question, options=options or [])
    return {"asked": question, ENDS_TURN: True}


TOOLS: Final = (ask_person,)
