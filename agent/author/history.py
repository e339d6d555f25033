"""The log of a session as messages to the model.

What the person wrote is told as the user's, what the model said and called as the assistant's, each call followed by its result: endpoints
demand one result for each call, directly behind it. A call that waits for the person has "waits" for its result; what came of it later is
told where it came, as a message of its own. What the person did by slash commands, approvals, decisions, notices and turns that did not
end well are told in brackets.

Everything fits into a budget of tokens: first what older turns read and wrote is shortened, then the oldest of it is left out (said so),
then the same within the turn that is under way. A call is never cut from its result.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from agent.author.fencing import Fence, fitted
from agent.protocol import Call, Message
from agent.tokens import tokens_of

SHORT_CHARACTERS: Final = 400
"""So much of a result, and of the arguments of a call, is told of older turns when there is little room."""
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
    """Messages that stay together, whole and in short."""

    turn: int
    whole: list[Message]
    short: list[Message]
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
        short = f"{head}\n{self._result(tool, record, SHORT_CHARACTERS)}"
        self._note(record, f"{head}\n{self._result(tool, record)}", short)

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

    def _note(self, record: Record, text: str, short: str | None = None) -> None:
        unit = _unit(record["turn"], text, short)
        (self._notes if self._round is not None else self._units).append(unit)

    def _end_round(self) -> None:
        found, self._round = self._round, None
        if found is not None and (found.text or found.calls):
            self._units.append(Unit(found.turn, self._messages(found), self._messages(found, short=True)))
        self._units += self._notes
        self._notes = []

    def _messages(self, found: _Round, short: bool = False) -> list[Message]:
        calls = tuple(self._call(record, short) for record in found.calls)
        messages = [Message("assistant", self._fence.person(found.text), calls)]
        for record in found.calls:
            result = found.results.get(record["call"])
            if result is None:
                content = _WAITS
            elif short:
                content = self._result(record["tool"], result, SHORT_CHARACTERS)
            else:
                content = self._result(record["tool"], result)
            messages.append(Message("tool", content, call=record["call"]))
        return messages

    def _call(self, record: Record, short: bool) -> Call:
        arguments = self._fence.arguments(record.get("args") or {})
        text = fitted(arguments, SHORT_CHARACTERS) if short else ""
        if short and len(fitted(arguments, 10_000_000)) > SHORT_CHARACTERS:
            arguments = {"(in short)": text}
        return Call(record["call"], record["tool"], arguments)

    def _result(self, tool: str, record: Record, limit: int | None = None) -> str:
        given = {name: record[name] for name in ("result", "error", "rows") if record.get(name) is not None}
        status = str(record.get("status", "done"))
        shown = given["result"] if list(given) == ["result"] else given
        data = self._fence.data(tool, shown, limit) if limit is not None else self._fence.data(tool, shown)
        return data if status == "done" else f"[{self._fence.label(status)}]\n{data}"


def _unit(turn: int, text: str, short: str | None = None, asked: bool = False) -> Unit:
    whole = [Message("user", text)]
    return Unit(turn, whole, whole if short is None else [Message("user", short)], asked)


def _within(units: Sequence[Unit], budget: int) -> list[Message]:
    """The messages of the units, shortened and left out from the oldest on until they fit; what the person asked for last, and what came
    last, always stay."""
    last = units[-1].turn if units else 0
    older = [index for index, unit in enumerate(units) if unit.turn != last]
    now = range(len(older), len(units) - 2)
    chosen: list[list[Message]] = [unit.whole for unit in units]
    size = sum(_size(messages) for messages in chosen)
    left_out = 0
    for part in (older, now):
        for index in part:
            if size > budget:
                size += _size(units[index].short) - _size(chosen[index])
                chosen[index] = units[index].short
        for index in part:
            if size > budget and not (part is now and units[index].asked):
                size -= _size(chosen[index])
                left_out += len(chosen[index])
                chosen[index] = []
    head = [Message("user", _LEFT_OUT.format(count=left_out))] if left_out else []
    return head + [message for messages in chosen for message in messages]


def _size(messages: Sequence[Message]) -> int:
    return sum(tokens_of(message) for message in messages)
