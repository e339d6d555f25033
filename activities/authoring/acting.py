"""Acting: one tool call of a turn, once. It is performed, refused, or put before the person.

    tools of the session     within the session's transaction, together with what they change in it
    reads                    on a snapshot
    writes                   in a transaction of their own, under the call's key; of the model's only when the person has approved it
    outside                  with the call's key; likewise
    mocked, stubbed          a result that stands for it

What is wrong with a call (a tool that is not there, arguments that do not fit, a right that is missing, whatever the tool refuses) is its
result, for the model or the person to mend. Only what is no answer at all (a defect, a database that does not answer) is raised.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

from activities.authoring import turns
from activities.authoring.approvals import Proposal, proposal, put_before_person
from activities.authoring.calls import (
    DIRECT,
    SCHEDULES,
    Doing,
    check_rights,
    context_of,
    is_decided_by_person,
    perform,
    prepared,
    stand_in,
    was_performed,
)
from activities.authoring.hearing import after_decision
from activities.authoring.turns import TurnEnded
from activities.execution import Resources
from activities.failures import error_of
from btree import BTreeError
from script.session_wire import ActCall, Next
from script.wire import MAX_WIRE_BYTES, ROWS, is_rows, wire_size
from toolbox.access import Access
from toolbox.authoring.conversations import Work
from toolbox.authoring.desk import Desk
from toolbox.authoring.recorder import record_call
from toolbox.authoring.state import Session, ToolCall
from toolbox.authoring.tools.asking import ENDS_TURN
from toolbox.errors import Forbidden

FAILED_EDITS: Final = 3
"""Edits that leave errors, one behind the other, after which the person is asked."""
KEPT_BYTES: Final = 2 * 1024
"""Of JSON: results up to that size stay in the session; all of them are in the log."""


@dataclass(frozen=True)
class Given:
    """What came of a call: a value, or an error."""

    value: Any = None
    error: dict[str, Any] | None = None


def act(resources: Resources, call: ActCall) -> Next:
    """Perform one tool call of a turn, once, and say what follows. Raises TurnEnded, SessionNotFound."""
    talks, name = resources.conversations, f"act:{call.turn}:{call.call}:{call.approved or ''}"
    kept = talks.done(call.session, name)
    if kept is not None:
        return Next(**kept)
    session = talks.get(call.session)
    turns.check(session, call.turn)
    asked = session.call(call.call)
    if asked is None:
        raise TurnEnded(f"the call {call.call} is not there any more")
    most = turns.limits_of(resources, session).calls
    if session.turn_calls >= most:
        return turns.limited(call.turn, "calls", f"the turn has made {most} tool calls, and may make no more")
    work = _Act(resources, call, session, asked)
    try:
        done = work.work()
    except Exception as error:
        if (still := _still_waits(call, error)) is not None:
            return still
        done = work.giving(Given(error=known(error)))
    try:
        return Next(**talks.once(call.session, name, done))
    except TurnEnded:
        if work.performed is not None:
            given = work.performed
            talks.once(call.session, f"{name}:late", lambda late: _late(late, asked.id, given))
        raise
    except BTreeError:
        raise
    except Exception as error:
        if (still := _still_waits(call, error)) is not None:
            return still
        refused = Given(error=known(error))
        return Next(**talks.once(call.session, name, work.giving(refused)))


def _still_waits(call: ActCall, error: Exception) -> Next | None:
    """What was approved by somebody who may not do it still waits, for somebody who may."""
    if call.approved is None or not isinstance(error, Forbidden):
        return None
    return Next("done", call.turn, status="failed", error=known(error))


def known(error: Exception) -> dict[str, Any]:
    """The error of a call that was refused. Raises everything that is no answer."""
    found = error_of(error)
    if found is None or isinstance(error, TurnEnded) or found["code"] == "storage_error":
        raise error
    return found


class _Act:
    """One call being done."""

    def __init__(self, resources: Resources, call: ActCall, session: Session, asked: ToolCall) -> None:
        self._resources = resources
        self._call = call
        self._session = session
        self._asked = asked
        self._access = Access.from_json(call.access).within(session.grants)
        self._pending = next(
            (pending for pending in session.pending if (pending.id, pending.call) == (call.approved, asked.id)), None
        )
        self._is_of_session = False
        self.performed: Given | None = None

    def work(self) -> Callable[[Work], dict[str, Any]]:
        """Do what is done outside of the session's transaction, and say what is to be done within it."""
        doing = prepared(self._resources, self._session, self._asked, self._access)
        instead = stand_in(doing)
        if instead is not None:
            return self.giving(_fitting(instead))
        check_rights(doing)
        if doing.is_of_session:
            self._is_of_session = True
            return lambda work: self._in_session(doing, work)
        found: Proposal | None = None
        if is_decided_by_person(doing) and not was_performed(doing):
            found = proposal(doing)
            if not self._is_approved(found):
                return lambda work: self._waiting(doing, found, work)
        turns.check(self._resources.conversations.get(self._session.id), self._call.turn)
        value = perform(doing, expect=found.token if found is not None else None)
        given = _fitting(value, performed=doing.has_effect)
        if doing.has_effect:
            self.performed = given
        return self.giving(given)

    def _is_approved(self, found: Proposal) -> bool:
        return self._pending is not None and self._pending.hash == found.hash

    def _waiting(self, doing: Doing, found: Proposal, work: Work) -> dict[str, Any]:
        turns.check(work.session, self._call.turn)
        put_before_person(work, doing, found, stale=self._call.approved is not None)
        return asdict(Next("wait", self._call.turn, told=turns.told_of(work.session)))

    def _in_session(self, doing: Doing, work: Work) -> dict[str, Any]:
        """A call of a tool that works on the session, within its transaction."""
        turns.check(work.session, self._call.turn)
        if is_decided_by_person(doing):
            found = proposal(doing, work)
            if not self._is_approved(found):
                return self._waiting(doing, found, work)
        desk = Desk(work, self._access, by_model=doing.asked.by == "model")
        value = doing.tool.call_sync(context_of(doing, desk), doing.args)
        if doing.tool.name in DIRECT:  # a run that was started goes on, whatever becomes of the transaction
            self.performed = _fitting(value)
        return self._give(work, _fitting(value))

    def giving(self, given: Given) -> Callable[[Work], dict[str, Any]]:
        """To be done within the session's transaction: what came of the call."""
        return lambda work: self._give(work, given)

    def _give(self, work: Work, given: Given) -> dict[str, Any]:
        session = work.session
        turns.check(session, self._call.turn)
        asked = session.call(self._asked.id)
        assert asked is not None
        session.turn_calls += 1
        _tell(work, asked, given)
        if given.error is None:
            record_call(session, asked, self._resources.registry.get(asked.tool))
            if (
                asked.tool == SCHEDULES and isinstance(given.value, dict) and "id" in given.value
            ):  # a stub has made none
                _show_schedule(work, given.value)
        return asdict(self._following(work, asked, given))

    def _following(self, work: Work, asked: ToolCall, given: Given) -> Next:
        session, turn = work.session, self._call.turn
        pending = next((pending for pending in session.pending if pending.call == asked.id), None)
        if pending is not None:
            session.pending.remove(pending)
        if asked.by == "person" and given.error is not None:
            return Next("done", turn, status="failed", error=given.error)
        if pending is not None:
            return after_decision(work, pending, asked)
        if asked.by == "person":
            return Next("act", turn)
        if isinstance(given.value, dict) and given.value.get(ENDS_TURN) is True and self._is_of_session:
            return Next("done", turn)
        if session.failed_edits >= FAILED_EDITS:
            _ask_about_problems(work, given)
            return Next("done", turn)
        return Next("think", turn)


def _fitting(value: Any, *, performed: bool = False) -> Given:
    """A result as it is told: at most 64 KiB; rows are a reference where they are many. What was performed has not failed."""
    if value is None or is_rows(value) or (size := wire_size(value)) <= MAX_WIRE_BYTES:
        return Given(value)
    if performed:
        return Given({"performed": True, "left_out": f"the result is {size} bytes of JSON"})
    message = f"the result is {size} bytes of JSON, the limit is {MAX_WIRE_BYTES}"
    hint = "ask for fewer fields, or fewer rows"
    return Given(error={"code": "too_large", "message": message, "hint": hint, "retryable": False})


def _tell(work: Work, asked: ToolCall, given: Given, **more: Any) -> None:
    asked.status = "done" if given.error is None else "failed"
    asked.error = given.error
    small = given.value is None or is_rows(given.value) or wire_size(given.value) <= KEPT_BYTES
    asked.result = given.value if small else None
    if given.error is not None:
        told: dict[str, Any] = {"error": given.error}
    elif is_rows(given.value):
        told = {"rows": {"count": given.value[ROWS]["count"], "ref": given.value[ROWS]}}
    else:
        told = {"result": given.value}
    work.say("tool_result", call=asked.id, tool=asked.tool, status=asked.status, **told, **more)


def _show_schedule(work: Work, told: dict[str, Any]) -> None:
    fields = ("id", "script", "version", "arguments", "mocks", "time_zone", "when", "next_runs", "paused")
    work.say("card", card="schedule", **{name: told[name] for name in fields if name in told})


def _late(work: Work, call: str, given: Given) -> bool:
    """What was performed before the turn was stopped has happened, and is told."""
    asked = work.session.call(call)
    if asked is None:
        return False
    work.session.pending = [pending for pending in work.session.pending if pending.call != call]
    _tell(work, asked, given, late=True)
    work.say("notice", text=f"{asked.tool} had been performed when the turn was stopped", code="performed")
    return True


def _ask_about_problems(work: Work, given: Given) -> None:
    """The question to the person, when the model does not get a draft right."""
    session = work.session
    told = given.value if isinstance(given.value, dict) else given.error or {}
    question = f"The draft still has errors after {session.failed_edits} attempts. How should it go on?"
    work.say("card", card="question", question=question, draft=session.draft, problems=told.get("problems") or [])
    session.failed_edits = 0
