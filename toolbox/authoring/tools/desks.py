"""What the tools of sessions have in common."""

from toolbox.authoring.desk import Desk
from toolbox.context import ToolContext
from toolbox.errors import NoSession


def desk_of(ctx: ToolContext) -> Desk:
    """The desk of a call. Raises NoSession."""
    if ctx.session is None:
        raise NoSession("there is no session here")
    return ctx.session
