"""A turn: from a message to what it came to. One is under way at most, and only what belongs to it may add to the session.

An activity may go on although nobody waits for it any more (a model that hangs, when the person says stop): what it wants to say then is
refused with `turn_ended`, because the turn is over.
"""

from typing import Any, Final

from activities.execution import Resources
from query import open_store
from script.session_wire import EndTurnCall, Next, SessionMessage
from toolbox import ToolError
from toolbox.authoring.conversations import MESSAGES, Work
from toolbox.authoring.meant import DATABASE, takes_database
from toolbox.authoring.state import RUNNING, Limits, Session, ToolCall

TITLE: Final = 80
"""Characters of a session's title."""


class TurnEnded(ToolError):
    """The turn is over: it was stopped, or a budget is used up."""

    code = "turn_ended"


def begin(work: Work, message: SessionMessage) -> None:
    """Begin the turn of a message. One that was never ended is ended first."""
    session = work.session
    if session.turn_status == RUNNING:
        error = {"code": "interrupted", "message": "the turn was not ended", "retryable": False}
        end(work, EndTurnCall(session.id, session.turn, "failed", error))
    session.turn += 1
    session.turn_status = RUNNING
    session.turn_started_at = work.now
    session.turn_by = str(message.access.get("key_id", ""))
    session.turn_message = message.key
    session.turn_usage = dict.fromkeys(session.turn_usage, 0)
    session.turn_rounds = session.turn_calls = session.failed_edits = 0
    if not session.title and message.approval is None:
        session.title = " ".join(message.text.split())[:TITLE]
    place = {"session": session.id, "key": message.key, "turn": session.turn, "after": session.seq}
    open_store(work.transaction, MESSAGES).add(place)


def check(session: Session, turn: int) -> None:
    """Raises TurnEnded unless that turn is under way."""
    if (session.turn, session.turn_status) != (turn, RUNNING):
        raise TurnEnded(f"the turn {turn} has ended")


def end_turn(resources: Resources, call: EndTurnCall) -> dict[str, Any]:
    """End a turn, once; gives what the Temporal UI tells of the session."""
    done: dict[str, Any] = resources.conversations.once(call.session, f"end:{call.turn}", lambda work: end(work, call))
    return done


def end(work: Work, call: EndTurnCall) -> dict[str, Any]:
    """End a turn that is under way: what it asked for and did not get is given up."""
    session = work.session
    if (session.turn, session.turn_status) == (call.turn, RUNNING):
        for asked in session.calls:
            if asked.turn == call.turn and asked.status == "asked":
                asked.status = "canceled"
                work.say("tool_result", call=asked.id, tool=asked.tool, status="canceled")
        if call.status == "limited" and call.error is not None:
            work.say("notice", text=call.error["message"], code=call.error["code"])
        session.turn_status = call.status
        told = {"error": call.error} if call.error is not None else {}
        work.say("turn", status=call.status, message=session.turn_message, usage=dict(session.turn_usage), **told)
    return told_of(session)


def told_of(session: Session) -> dict[str, Any]:
    """What the Temporal UI tells of a session."""
    return {"title": session.title, "waiting": [pending.what for pending in session.pending]}


def limits_of(resources: Resources, session: Session) -> Limits:
    """The budgets of a session: its own, and never more than the installation's."""
    return session.limits.within(resources.limits)


def limited(turn: int, what: str, message: str) -> Next:
    """The end of a turn whose budget is used up."""
    error = {"code": f"limit_{what}", "message": message, "retryable": False}
    return Next("done", turn, status="limited", error=error)


def ask(resources: Resources, work: Work, tool: str, args: dict[str, Any], by: str, *, raw: bool = False) -> ToolCall:
    """Note a tool call of the turn, and say it. The database that it is for, where it says so, is kept beside the tool's own arguments.

    `raw`: the person wants to see what it gives as it is.
    """
    session = work.session
    last = max((int(call.id.rpartition("-")[2]) for call in session.calls if call.turn == session.turn), default=0)
    asked = ToolCall(f"c{session.turn}-{last + 1}", session.turn, tool, args, "model" if by == "model" else "person")
    names, database = resources.registry.names(), args.get(DATABASE)
    if isinstance(database, str) and tool in names and takes_database(resources.registry.get(tool)):
        asked.args = {name: value for name, value in args.items() if name != DATABASE}
        asked.database = database
    session.note(asked)
    work.say("tool_call", call=asked.id, tool=tool, args=args, by=asked.by, **({"raw": True} if raw else {}))
    return asked
