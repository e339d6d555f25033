"""What a session is: a value, kept as one row.

It holds what the person is working on and what waits for them, and nothing of any run: a run gets its `RunInput`, and a session gives it
nothing else.
"""

from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

import orjson

CALLS_KEPT: Final = 50
"""Tool calls of a session that are kept whole, for `/last-tool`, `/step` and `refactor_last_interaction`."""

BYTES_KEPT: Final = 128 * 1024
"""Of JSON, in the arguments and results of these calls: the session is written with every record."""
RUNNING: Final = "running"
"""The `turn_status` of a session whose turn is under way."""

Status = Literal["open", "closed"]


@dataclass
class Limits:
    """Budgets: requests to the model in one turn, tool calls in one turn, tokens of the session, seconds of one turn."""

    rounds: int = 16
    calls: int = 48
    tokens: int = 1_000_000
    seconds: int = 600

    def within(self, most: "Limits") -> "Limits":
        """These, and never more than those."""
        return Limits(**{name: min(value, getattr(most, name)) for name, value in asdict(self).items()})


@dataclass
class Recording:
    """A script that is being recorded: `compiled` keeps tool calls as command steps, `ask` the person's words as ask steps.

    `database` is that of the first recorded step that had one; `left_out` counts what did not fit into a script any more.
    """

    name: str
    mode: Literal["compiled", "ask"] = "compiled"
    paused: bool = False
    steps: list[dict[str, Any]] = field(default_factory=list)
    database: str | None = None
    left_out: int = 0


@dataclass
class ToolCall:
    """One call of a tool, as it was asked for: `args` are whole, however nested.

    `by` is the model or the person. `status` is asked, done, failed, waiting (for an approval), rejected or canceled. `result` is what
    the tool gave (rows as a reference), `error` {code, message, ...}. `database` is the one that it worked on (None: the session's).
    """

    id: str
    turn: int
    tool: str
    args: dict[str, Any]
    by: Literal["model", "person"]
    status: str = "asked"
    result: Any = None
    error: dict[str, Any] | None = None
    database: str | None = None


@dataclass
class Pending:
    """Something that waits for the person: the call, in one English sentence, bound by a hash to exactly what was shown."""

    id: str
    call: str
    hash: str
    what: str
    turn: int


@dataclass
class Session:
    """A session. Times are ISO 8601 in UTC; `owner` is the id of a key.

    `grants` are scopes that narrow what the key may do here (none: all that it may). `database` is the one that is meant where none is
    named, `time_zone` the person's (IANA; None: not known), `draft` the draft that is edited. `mocks` are tools that
    answer without effect in dry runs, runs and schedules begun from here, with the result that they give (None: their usual stand-in).
    `stub`: all tools do. `usage` is what the model has cost.
    `turn_message` is the key of the message that began the turn, `turn_usage` what the model has cost in it.
    `failed_edits` counts edits of the turn, one behind the other, that left the draft with errors.
    """

    id: str
    owner: str
    created_at: str
    updated_at: str
    title: str = ""
    status: Status = "open"
    grants: list[str] = field(default_factory=list)
    database: str | None = None
    time_zone: str | None = None
    draft: str | None = None
    mocks: dict[str, Any] = field(default_factory=dict)
    recording: Recording | None = None
    pending: list[Pending] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    verbose: bool = False
    stub: bool = False
    model: str | None = None
    turn: int = 0
    turn_status: str = "completed"
    turn_started_at: str = ""
    turn_by: str = ""
    turn_message: str = ""
    turn_usage: dict[str, float] = field(default_factory=lambda: {"input_tokens": 0, "output_tokens": 0, "cost": 0.0})
    turn_rounds: int = 0
    turn_calls: int = 0
    failed_edits: int = 0
    seq: int = 0
    usage: dict[str, float] = field(default_factory=lambda: {"input_tokens": 0, "output_tokens": 0, "cost": 0.0})
    limits: Limits = field(default_factory=Limits)

    def to_json(self) -> dict[str, Any]:
        """The session as a row."""
        return asdict(self)

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> "Session":
        """The session of a row."""
        recording = row.get("recording")
        return cls(
            **{
                **row,
                "recording": Recording(**recording) if recording is not None else None,
                "pending": [Pending(**fields) for fields in row.get("pending", [])],
                "calls": [ToolCall(**fields) for fields in row.get("calls", [])],
                "limits": Limits(**row.get("limits", {})),
            }
        )

    def call(self, call_id: str) -> ToolCall | None:
        """A call that is kept."""
        return next((call for call in self.calls if call.id == call_id), None)

    def note(self, call: ToolCall) -> None:
        """Keep a call; the oldest goes where there are too many, or too large ones, but none that waits, nor one of this turn."""
        self.calls.append(call)
        waiting = {pending.call for pending in self.pending} | {
            kept.id for kept in self.calls if kept.turn == call.turn
        }
        sizes = [len(orjson.dumps([kept.args, kept.result])) for kept in self.calls]
        while len(self.calls) > CALLS_KEPT or sum(sizes) > BYTES_KEPT:
            oldest = next((old for old in self.calls[:-1] if old.id not in waiting), None)
            if oldest is None:
                return
            del sizes[self.calls.index(oldest)]
            self.calls.remove(oldest)
