"""Thinking: one request to the model in a turn. What it says is told piece by piece while it comes, and then as a whole; the tools that it
wants to call are noted, and called next.

A request that was lost with its worker is made again; what it had said until then is taken back (`text_restarted`).
"""

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Final

from activities.authoring import turns
from activities.authoring.catalog import catalog_of, redacting, tools_of
from activities.execution import Resources
from activities.heartbeats import check_cancelled
from agent import InvalidAnswer, ModelNotConfigured, author
from agent.protocol import Call, Usage
from script.session_wire import Next, ThinkCall
from script.wire import MAX_WIRE_BYTES, wire_size
from toolbox.access import Access
from toolbox.authoring.conversations import Conversations, Record, Work
from toolbox.authoring.state import Session

PAUSE: Final = 0.1
"""Seconds between two records of text."""
MOST_CALLS: Final = 32
"""Tool calls of one reply."""
LOOKED_BACK: Final = 2_000
"""Records, pieces of text not counted, of which the prompt is made."""
_PIECES: Final = ("text_delta", "text_restarted")


def think(resources: Resources, call: ThinkCall) -> Next:
    """Ask the model for the next thing, once, and say what follows. Raises AgentError, TurnEnded, SessionNotFound."""
    talks, name = resources.conversations, f"think:{call.turn}:{call.round}"
    kept = talks.done(call.session, name)
    if kept is not None:
        return Next(**kept)
    session = talks.get(call.session)
    turns.check(session, call.turn)
    used_up = _used_up(resources, session)
    if used_up is not None:
        return used_up
    if resources.model is None:
        raise ModelNotConfigured("no language model is configured", hint="/help lists what needs none")
    access = Access.from_json(call.access).within(session.grants)
    records = list(deque(_records(talks, session), maxlen=LOOKED_BACK))
    telling = _Telling(talks, call)
    if telling.was_lost():
        talks.change(call.session, lambda work: telling.say(work, "text_restarted"))
    situation = author.Situation(
        records, tools_of(resources, access), catalog_of(resources, session, access), redact=redacting(resources)
    )
    try:
        thought = author.think(resources.model, situation, session.model, said=telling.said)
    except InvalidAnswer as error:  # it was asked, more than once: that counts
        usage = Usage(**error.details["usage"])
        talks.change(call.session, lambda work: _count(work.session, usage))
        raise
    return Next(**talks.once(call.session, name, lambda work: asdict(_note(resources, work, call, thought))))


def _used_up(resources: Resources, session: Session) -> Next | None:
    most = turns.limits_of(resources, session)
    if session.turn_rounds >= most.rounds:
        message = f"the model was asked {most.rounds} times in this turn, and may not be asked more often"
        return turns.limited(session.turn, "rounds", message)
    if session.usage["input_tokens"] + session.usage["output_tokens"] >= most.tokens:
        return turns.limited(session.turn, "tokens", f"the session has used its {most.tokens} tokens")
    return None


def _records(talks: Conversations, session: Session) -> Iterator[Record]:
    """What the model is told of what was said."""
    for record in talks.records(session.id):
        if record["type"] not in _PIECES:
            yield record


class _Telling:
    """Tells the text of a reply while it comes."""

    def __init__(self, talks: Conversations, call: ThinkCall) -> None:
        self._talks = talks
        self._call = call
        self._text = ""
        self._last = time.monotonic()

    def said(self, piece: str) -> None:
        """A piece of text. Raises TurnEnded; CancelledError when nobody waits for it any more."""
        check_cancelled()
        self._text += piece
        if time.monotonic() - self._last >= PAUSE and self._text:
            text, self._text = self._text, ""
            self._talks.change(self._call.session, lambda work: self.say(work, "text_delta", text=text))
            self._last = time.monotonic()

    def say(self, work: Work, type: str, **fields: Any) -> None:
        """Say something, while the turn goes on."""
        turns.check(work.session, self._call.turn)
        work.say(type, **fields)

    def was_lost(self) -> bool:
        """Whether something was said in this turn that no text ended."""
        session = self._talks.get(self._call.session)
        last = self._talks.records(session.id, after=max(0, session.seq - 1))
        return any(record["turn"] == self._call.turn and record["type"] == "text_delta" for record in last)


def _note(resources: Resources, work: Work, call: ThinkCall, thought: author.Thought) -> Next:
    """Write down what the model said, and what it wants to call."""
    session = work.session
    turns.check(session, call.turn)
    used = _count(session, thought.usage, thought.cost)
    if thought.text or not thought.calls:
        work.say("text", text=thought.text, model=thought.model, usage=used)
    if thought.cut:
        work.say(
            "notice", text="the model stopped at its own limit: this is not all that it wanted to say", code="cut_off"
        )
    if not thought.calls:
        return Next("done", call.turn)
    asked = [found for number, wanted in enumerate(thought.calls) if (found := _asked(resources, work, number, wanted))]
    if not asked:
        return Next("think", call.turn)
    return Next("act", call.turn, calls=[name for name, _ in asked], tools=[tool for _, tool in asked])


def _count(session: Session, usage: Usage, cost: float | None = None) -> dict[str, float]:
    """Count a round, with what it cost."""
    session.turn_rounds += 1
    used: dict[str, float] = {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}
    used["cost"] = cost or 0.0
    for name, amount in used.items():
        session.usage[name] = session.usage.get(name, 0) + amount
        session.turn_usage[name] = session.turn_usage.get(name, 0) + amount
    return used


def _asked(resources: Resources, work: Work, number: int, wanted: Call) -> tuple[str, str] | None:
    """Note a call; None for one that cannot be made, which is told the model."""
    error: dict[str, Any] | None = None
    args = wanted.arguments or {}
    if number >= MOST_CALLS:
        message = f"a reply has at most {MOST_CALLS} tool calls: this one was not made"
        error, args = {"code": "too_many_calls", "message": message, "retryable": False}, {}
        if number > MOST_CALLS:
            return None
    elif wanted.arguments is None:
        message = f"the arguments of {wanted.tool} are no JSON object: {wanted.text[:200]}"
        error = {"code": "invalid_arguments", "message": message, "retryable": False}
    elif wire_size(args) > MAX_WIRE_BYTES:
        message = f"the arguments have more than {MAX_WIRE_BYTES} bytes"
        error, args = {"code": "too_large", "message": message, "retryable": False}, {}
    asked = turns.ask(resources, work, wanted.tool, args, "model")
    if error is None:
        return asked.id, asked.tool
    asked.status, asked.error = "failed", error
    work.say("tool_result", call=asked.id, tool=asked.tool, status="failed", error=error)
    return None
