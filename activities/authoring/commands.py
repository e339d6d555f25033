"""Slash commands of the person: what `toolbox.authoring.commands` makes of them."""

from collections.abc import Callable, Sequence
from typing import Any

from activities.execution import Resources
from script.session_wire import Approval
from toolbox import ToolError
from toolbox.access import Access, Scope
from toolbox.authoring.commands import Answer, Calls, Decision, parse
from toolbox.authoring.state import Session

Understood = Calls | str | Approval


def understood(resources: Resources, session: Session, access: Access, text: str) -> Understood:
    """The tool calls that a command is, what it answers, or what it decides. Raises ToolError."""
    found = parse(
        text,
        session,
        resources.registry,
        parameters=_parameters(resources, session, access),
        time_zone=session.time_zone,
    )
    if isinstance(found, Decision):
        return Approval(found.approval, found.approved, found.comment)
    if isinstance(found, Answer):
        return found.text
    return found


def _parameters(resources: Resources, session: Session, access: Access) -> Callable[[str | None], Sequence[Any] | None]:
    """The parameters that a script declares, or (None) the draft that is open; None where there is none that may
    be known: errors tell of them."""

    def of(name: str | None) -> Sequence[Any] | None:
        try:
            if name is not None:
                if not any(access.has(Scope("scripts", action, name)) for action in ("read", "run")):
                    return None
                declared = resources.library.get(name).script.get("parameters")
            elif session.draft is not None and resources.services.drafts is not None:
                declared = resources.services.drafts.get(session.draft)[1].script.get("parameters")
            else:
                return None
        except ToolError:
            return None
        return declared if isinstance(declared, list) else []

    return of
