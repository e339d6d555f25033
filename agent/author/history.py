"""The log of a session as messages to the model.

What the person wrote is told as the user's, what the model said and called as the assistant's, each call followed by its result: endpoints
demand one result for each call, directly behind it. A call that waits for the person has "waits" for its result; what came of it later is
told where it came, as a message of its own. What the person did by slash commands, approvals, decisions, notices and turns that did not
end well are told in brackets.

Everything fits into a budget of tokens: the newest is told whole, what is older in short, and the oldest is left out (said so); what the
person asked for last, and what came last, always stand. A call is never cut from its result.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from agent.author.fencing import RESULT_CHARACTERS, Fence, fitted
from agent.protocol import Call, Message
from agent.tokens import tokens_of

SHORT_CHARACTERS: Final = 400
"""So much of a result, and of the arguments of a call, is told of older turns when there is little room."""
_ALL: Final = 10_000_000
_NEWEST: Final = 2
"""So many units at the end always stay."""
_WHOLE: Final = 0.3
"""What is larger than this share of the room that is left, and all that is older, is told in short."""
_NO_NAME: Final = re.compile(r"[^A-Za-z0-9_-]")
_NAME_CHARACTERS: Final = 64
"""Names of tools as endpoints take them, also where a model made one up."""
_CARDS: Final = frozenset({"approval", "decision", "question", "schedule", "run"})
"""Cards that say more than the results of tools."""
_CARD_CHARACTERS: Final = 1_500
_ENDED: Final = frozenset({"canceled", "failed", "limited"})
_LEFT_OUT: Final = (
    "[Earlier parts of this conversation are left out: {count} messages. Draft and catalog are as they are now.]"
)
_WAITS: Final = "[no result yet: this waits for the person's decision, or was not performed]"
Record = dict[str, Any]


@dataclass
class Unit:
    """Messages that stay together: whole, or in short."""

    turn: int
    count: int
    tell: Callable[[bool], list[Message]]
    """Gives them; in short, if it is told so."""
    asked: bool = False
    """It is what the person wrote."""


@dataclass
class _Round:
    """What the model said in one answer."""

    turn: int
    text: str
    calls: list[Record] = field(default_factory=list)
    results: dict[str, Record] = field(default_factory=dict)


def told(records: Iterable[Record], fence: Fence, budget: int) -> list[Message]:
    """The messages of a session's records, within about `budget` tokens."""
    return _within(_Teller(fence).units(records), budget)


class _Teller:
    """Goes through the records once, and puts together what belongs together."""

    def __init__(self, fence: Fence) -> None:
        self._fence = fence
        self._units: list[Unit] = []
        self._round: _Round | None = None
        self._notes: list[Unit] = []
        self._named: dict[str, tuple[str, str]] = {}
        self._waiting: dict[str, str] = {}
        self._decided: Any = None

    def units(self, records: Iterable[Record]) -> list[Unit]:
        """All units, oldest first."""
        for record in records:
            tell = getattr(self, f"_tell_{record['type']}", None)
            if tell is not None:
                tell(record)
        self._end_round()
        return self._units

    def _tell_user(self, record: Record) -> None:
        self._end_round()
        if "text" in record:
            text = self._fence.person(record["text"])
            self._units.append(_unit(record["turn"], text, asked=True))
            return
        self._decided = record.get("approval")
        verdict = "approved" if record.get("approved") else "refused"
        what = self._waiting.get(str(record.get("approval")), "what waited")
        comment = f" They said: {self._fence.person(str(record['comment']))}" if record.get("comment") else ""
        self._units.append(_unit(record["turn"], f"[The person {verdict} this:]\n{what}{comment}", asked=True))

    def _tell_text(self, record: Record) -> None:
        self._end_round()
        self._round = _Round(record["turn"], str(record.get("text") or ""))

    def _tell_tool_call(self, record: Record) -> None:
        self._named[record["call"]] = (record["tool"], record.get("by", "model"))
        if record.get("by", "model") != "model":
            arguments = self._fence.data(record["tool"], record.get("args", {}), _CARD_CHARACTERS)
            self._note(record, f"[The person called {self._fence.label(record['tool'])} themselves:]\n{arguments}")
            return
        if self._round is None or self._round.results:
            self._end_round()
            self._round = _Round(record["turn"], "")
        self._round.calls.append(record)

    def _tell_tool_result(self, record: Record) -> None:
        call, current = record["call"], self._round
        if (
            current is not None
            and call not in current.results
            and any(asked["call"] == call for asked in current.calls)
        ):
            current.results[call] = record
            return
        tool, by = self._named.get(call, (str(record.get("tool")), "model"))
        whose = "what the person called" if by != "model" else "the earlier call"
        head = f"[The result of {whose}, {self._fence.label(tool)}:]"
        self._add(
            Unit(record["turn"], 1, lambda short: [Message("user", f"{head}\n{self._result(tool, record, short)}")])
        )

    def _tell_card(self, record: Record) -> None:
        if record.get("card") not in _CARDS or (
            record["card"] == "decision" and record.get("approval") == self._decided
        ):
            return
        shown = {
            name: value
            for name, value in record.items()
            if name not in ("session", "seq", "turn", "at", "type", "card")
        }
        data = self._fence.data(str(record["card"]), shown, _CARD_CHARACTERS)
        if record["card"] == "approval":
            self._waiting[str(record.get("id") or record.get("approval"))] = data
        self._note(record, f"[The person sees this {record['card']}:]\n{data}")

    def _tell_notice(self, record: Record) -> None:
        self._note(record, f"[Notice:]\n{self._fence.data('notice', str(record.get('text', '')), _CARD_CHARACTERS)}")

    def _tell_turn(self, record: Record) -> None:
        if record.get("status") in _ENDED:
            error = record.get("error")
            why = f"\n{self._fence.data('error', error, _CARD_CHARACTERS)}" if error else ""
            self._note(record, f"[The turn ended: {record['status']}.]{why}")

    def _note(self, record: Record, text: str) -> None:
        self._add(_unit(record["turn"], text))

    def _add(self, unit: Unit) -> None:
        """What comes while a round is under way is told behind it."""
        (self._notes if self._round is not None else self._units).append(unit)

    def _end_round(self) -> None:
        found, self._round = self._round, None
        if found is not None and (found.text or found.calls):
            self._units.append(Unit(found.turn, 1 + len(found.calls), lambda short: self._messages(found, short)))
        self._units += self._notes
        self._notes = []

    def _messages(self, found: _Round, short: bool) -> list[Message]:
        calls = tuple(self._call(record, short) for record in found.calls)
        messages = [Message("assistant", self._fence.person(found.text), calls)]
        for record in found.calls:
            result = found.results.get(record["call"])
            content = self._result(record["tool"], result, short) if result is not None else _WAITS
            messages.append(Message("tool", content, call=record["call"]))
        return messages

    def _call(self, record: Record, short: bool) -> Call:
        arguments = self._fence.arguments(record.get("args") or {})
        if short and len(text := fitted(arguments, SHORT_CHARACTERS)) < len(fitted(arguments, _ALL)):
            arguments = {"(in short)": text}
        return Call(record["call"], _NO_NAME.sub("_", record["tool"])[:_NAME_CHARACTERS] or "_", arguments)

    def _result(self, tool: str, record: Record, short: bool) -> str:
        given = {name: record[name] for name in ("result", "error") if record.get(name) is not None}
        if record.get("rows") is not None:
            given["rows"] = {"count": record["rows"].get("count"), "shown": "to the person"}
        shown = given["result"] if list(given) == ["result"] else given
        data = self._fence.data(tool, shown, SHORT_CHARACTERS if short else RESULT_CHARACTERS)
        status = str(record.get("status", "done"))
        return data if status == "done" else f"[{self._fence.label(status)}]\n{data}"


def _unit(turn: int, text: str, asked: bool = False) -> Unit:
    return Unit(turn, 1, lambda short: [Message("user", text)], asked)


def _within(units: Sequence[Unit], budget: int) -> list[Message]:
    """The messages of the units that fit, the newest whole."""
    last = units[-1].turn if units else 0
    kept: list[list[Message]] = []
    left_out, short, full = 0, False, False
    for back, unit in enumerate(reversed(units)):
        stays = back < _NEWEST or (unit.asked and unit.turn == last)
        if full and not stays:
            left_out += unit.count
            continue
        messages = unit.tell(short and not stays)
        if not short and _size(messages) > budget * _WHOLE and not stays:
            short, messages = True, unit.tell(True)
        elif _size(messages) > budget:
            messages = unit.tell(True)
        if _size(messages) > budget and not stays:
            full = True
            left_out += unit.count
            continue
        budget -= _size(messages)
        kept.append(messages)
    head = [Message("user", _LEFT_OUT.format(count=left_out))] if left_out else []
    return head + [message for messages in reversed(kept) for message in messages]


def _size(messages: Sequence[Message]) -> int:
    return sum(tokens_of(message) for message in messages)
