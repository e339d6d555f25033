"""Hearing a message: it is written down, and begins a turn. A text is for the model, or (with a "/" in front) is tool calls of the
person's own; a decision lets what waited for it happen, or not."""

from dataclasses import asdict
from typing import Any

from activities.authoring import turns
from activities.authoring.commands import understood
from activities.execution import Resources
from activities.failures import error_of
from btree import BTreeError
from script.session_wire import Approval, HearCall, Next, SessionMessage
from toolbox.access import Access
from toolbox.authoring.commands import is_command
from toolbox.authoring.conversations import Work
from toolbox.authoring.recorder import record_words
from toolbox.authoring.state import RUNNING, Pending, ToolCall


def hear_message(resources: Resources, call: HearCall) -> Next:
    """Write a message down, once for its key, and say what follows. A message whose turn has ended has nothing to follow.

    Raises SessionNotFound.
    """
    talks, name = resources.conversations, f"hear:{call.message.key}"
    heard = talks.once(call.session, name, lambda work: asdict(_hear(resources, work, call)))
    found, session = Next(**heard), talks.get(call.session)
    if (session.turn, session.turn_status) != (found.turn, RUNNING):
        return Next("done", found.turn, told=turns.told_of(session))
    return found


def _hear(resources: Resources, work: Work, call: HearCall) -> Next:
    session, message = work.session, call.message
    turns.begin(work, message)
    limits = turns.limits_of(resources, session)
    if message.approval is not None:
        decided = message.approval
        work.say("user", approval=decided.id, approved=decided.approved, comment=decided.comment)
    else:
        work.say("user", text=message.text)
    if session.status != "open":
        found = _failed(work, {"code": "session_closed", "message": "the session is closed", "retryable": False})
    elif message.approval is not None:
        found = _decide(work, message.approval)
    else:
        found = _text(resources, work, message)
    return Next(**{**asdict(found), "seconds": limits.seconds, "told": turns.told_of(session)})


def _text(resources: Resources, work: Work, message: SessionMessage) -> Next:
    session, text = work.session, message.text
    if is_command(text):
        access = Access.from_json(message.access).within(work.session.grants)
        return _command(resources, work, access, text.strip())
    record_words(work.session, text)
    if resources.model is None:
        return _failed(
            work,
            {
                "code": "model_not_configured",
                "message": "no language model is configured: only slash commands are understood",
                "hint": "/help lists them; set SOP_OPENAI_MODEL, and SOP_OPENAI_API_KEY or SOP_OPENAI_BASE_URL, for the worker",
                "retryable": False,
            },
        )
    return Next("think", session.turn)


def _command(resources: Resources, work: Work, access: Access, text: str) -> Next:
    try:
        found = understood(resources, work.session, access, text)
    except BTreeError:
        raise
    except Exception as error:  # a defect of ours is told, too: tried again, the message would never be heard
        unknown = {"code": "internal", "message": f"{type(error).__name__}: {error}", "retryable": False}
        return _failed(work, error_of(error) or unknown)
    if isinstance(found, Approval):
        return _decide(work, found)
    if isinstance(found, str):
        work.say("text", text=found, model=None, usage=None)
        return Next("done", work.session.turn)
    asked = [turns.ask(resources, work, tool, dict(args), "person", raw=found.raw) for tool, args in found.calls]
    return act_on(work, asked)


def act_on(work: Work, calls: list[ToolCall], approved: str | None = None) -> Next:
    """Perform these calls next."""
    names, tools = [call.id for call in calls], [call.tool for call in calls]
    return Next("act", work.session.turn, calls=names, tools=tools, approved=approved)


def _decide(work: Work, decided: Approval) -> Next:
    session = work.session
    pending = next((pending for pending in session.pending if pending.id == decided.id), None)
    asked = session.call(pending.call) if pending is not None else None
    if pending is None or asked is None:
        message = f"nothing waits under the name {decided.id!r}"
        waiting = ", ".join(pending.id for pending in session.pending)
        hint = f"waiting: {waiting}" if waiting else "nothing waits"
        return _failed(work, {"code": "approval_not_found", "message": message, "hint": hint, "retryable": False})
    told = {"approved": decided.approved, "by": session.turn_by, "comment": decided.comment}
    work.say("card", card="decision", approval=pending.id, call=asked.id, tool=asked.tool, **told)
    if decided.approved:
        return act_on(work, [asked], pending.id)
    session.pending.remove(pending)
    comment = f": {decided.comment}" if decided.comment else ""
    asked.status = "rejected"
    asked.error = {"code": "rejected", "message": f"the person has refused it{comment}", "retryable": False}
    work.say("tool_result", call=asked.id, tool=asked.tool, status="rejected", error=asked.error)
    return after_decision(work, pending, asked)


def after_decision(work: Work, pending: Pending, asked: ToolCall) -> Next:
    """What follows on a decision: the model goes on when nothing more of what it asked for in that turn waits."""
    session = work.session
    if asked.by == "person":
        return Next("done", session.turn)
    left = [other for other in session.pending if other.turn == pending.turn]
    by_model = any((call := session.call(other.call)) is not None and call.by == "model" for other in left)
    return Next("wait" if by_model else "think", session.turn)


def _failed(work: Work, error: dict[str, Any]) -> Next:
    return Next("done", work.session.turn, status="failed", error=error)
