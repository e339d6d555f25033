"""A message, from its hearing to the end of its turn, here and now: what the workflow of sessions does, for whoever has no Temporal (tests,
evals). Nothing is tried again, no time is limited, and nobody can stop it."""

from typing import Any

from activities.authoring.acting import act
from activities.authoring.hearing import hear_message
from activities.authoring.thinking import think
from activities.authoring.turns import end_turn
from activities.execution import Resources
from activities.failures import error_of
from script.session_wire import EndTurnCall, HearCall, Next, SessionMessage, ThinkCall
from script.turns import turn


def take(resources: Resources, session: str, message: SessionMessage) -> None:
    """Take a message, with all that follows on it. Raises SessionNotFound, and defects."""
    heard = hear_message(resources, HearCall(session, message))
    try:
        found = _rounds(resources, session, heard, message.access)
    except Exception as error:
        known = error_of(error)
        if known is None:
            raise
        found = Next("done", heard.turn, status="failed", error=known)
    status = "waiting" if found.kind == "wait" else found.status
    end_turn(resources, EndTurnCall(session, heard.turn, status, found.error))


def _rounds(resources: Resources, session: str, heard: Next, access: dict[str, Any]) -> Next:
    following = turn(session, heard, access)
    answer: Next | None = None
    while True:
        try:
            asked = next(following) if answer is None else following.send(answer)
        except StopIteration as end:
            found: Next = end.value
            return found
        call = asked.call
        answer = think(resources, call) if isinstance(call, ThinkCall) else act(resources, call)
