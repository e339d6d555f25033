"""What came of an eval: all that its properties look at, as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Record = dict[str, Any]


@dataclass(frozen=True)
class Ran:
    """A script that was run on a copy of the samples, nothing outside being called.

    `changed` is {"database/store": {"added", "updated", "deleted"}}, of stores where anything has changed; `outside` are the outside calls
    that would have been made: {tool, args}.
    """

    status: str
    value: Any = None
    error: Mapping[str, Any] | None = None
    changed: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    outside: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class Outcome:
    """`turns` are the log's records, for each thing that the person said. `scripts` are the drafts at the end, by name, `problems` what
    the checker says about each, `last` the name of the one that was edited last. `trials` are runs of them: (script, arguments) as
    JSON. `changed` is what the conversation itself has changed in the databases, `published` and `scheduled` what it has made."""

    turns: tuple[tuple[Record, ...], ...]
    scripts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    problems: Mapping[str, tuple[Mapping[str, Any], ...]] = field(default_factory=dict)
    last: str | None = None
    trials: Mapping[str, Ran] = field(default_factory=dict)
    changed: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    published: tuple[str, ...] = ()
    usage: Mapping[str, float] = field(default_factory=dict)

    def records(self, type: str, turn: int | None = None) -> list[Record]:
        """The records of a type, of one thing that was said (-1: the last) or of all."""
        turns = self.turns if turn is None else self.turns[turn:][:1]
        return [record for said in turns for record in said if record.get("type") == type]

    def calls(self, tool: str | None = None, turn: int | None = None) -> list[Record]:
        """The tool calls that the model asked for."""
        found = self.records("tool_call", turn)
        return [each for each in found if each.get("by") == "model" and tool in (None, each["tool"])]

    def result(self, call: Record) -> Record | None:
        """The result of a call."""
        return next((each for each in self.records("tool_result") if each.get("call") == call.get("call")), None)

    def cards(self, card: str, turn: int | None = None) -> list[Record]:
        """Cards of a kind."""
        return [each for each in self.records("card", turn) if each.get("card") == card]

    def text(self, turn: int | None = None) -> str:
        """All that the model said."""
        return "\n".join(str(each.get("text", "")) for each in self.records("text", turn))

    def script(self, name: str | None) -> Mapping[str, Any] | None:
        """A draft: by its name, or the one that was edited last."""
        return self.scripts.get(name or self.last or "")
