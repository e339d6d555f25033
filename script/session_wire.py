"""What crosses between the workflow of a session, its activities, and the gateway.

A session is a conversation in which scripts are written. Its workflow is a sequencer and nothing else: it takes one message after the
other and has activities do what is next, until nothing is. All that a session is (`toolbox.authoring.state`) and all that was said
(`toolbox.authoring.conversations`) is in the system database, written by activities, exactly once: each call names itself
(session, turn, round, tool call), and what it did is kept under that name with its result.

    hear_message   a message is written down; a slash command becomes a tool call, anything else is for the model
    think          the model's turn: text, and the tool calls that it wants
    act            one tool call: performed, refused, or put before the person
    end_turn       what the turn came to

What they give back is `Next`: what has to be done now.
"""

from dataclasses import dataclass, field
from typing import Any, Final, Literal

SESSION_WORKFLOW: Final = "SessionWorkflow"
HEAR_ACTIVITY: Final = "hear_message"
THINK_ACTIVITY: Final = "think"
ACT_ACTIVITY: Final = "act"
END_TURN_ACTIVITY: Final = "end_turn"

MESSAGE_SIGNAL: Final = "message"
STOP_SIGNAL: Final = "stop"
"""End the turn that is under way, at once."""
CLOSE_SIGNAL: Final = "close"

MAX_MESSAGE_BYTES: Final = 32 * 1024
"""The longest message of a person, in bytes of UTF-8."""


def workflow_id(session: str) -> str:
    """The id of a session's workflow."""
    return f"session-{session}"


@dataclass(frozen=True)
class Approval:
    """A person's answer to something that waits for it: `id` is that of the approval."""

    id: str
    approved: bool
    comment: str = ""


@dataclass(frozen=True)
class SessionMessage:
    """What a person said, or decided. `key` is the message's own id: one key is one message, however often it is sent.

    `access` is what the person's key may do (`toolbox.access.Access.to_json`), as it was when the message came.
    """

    key: str
    text: str
    access: dict[str, Any]
    at: str
    approval: Approval | None = None


@dataclass(frozen=True)
class SessionInput:
    """What the workflow of a session gets; `inbox` is what it had not yet heard when it continued as new."""

    session: str
    inbox: list[SessionMessage] = field(default_factory=list)


@dataclass(frozen=True)
class HearCall:
    """Write a message down, and begin its turn."""

    session: str
    message: SessionMessage


@dataclass(frozen=True)
class ThinkCall:
    """Ask the model for the next thing in a turn. `round` counts the requests of the turn from 0."""

    session: str
    turn: int
    round: int
    access: dict[str, Any]


@dataclass(frozen=True)
class ActCall:
    """Perform one tool call of a turn. `approved` names the approval that a person has given for it."""

    session: str
    turn: int
    call: str
    access: dict[str, Any]
    approved: str | None = None


@dataclass(frozen=True)
class EndTurnCall:
    """End a turn: `status` is completed, waiting (for an approval), canceled, failed or limited (a budget is used up)."""

    session: str
    turn: int
    status: str
    error: dict[str, Any] | None = None


@dataclass(frozen=True)
class Next:
    """What has to be done now.

    think   ask the model                      act    perform the tool calls `calls`, in this order
    wait    the person has to decide first     done   the turn has ended; `status` says how

    After the calls of an `act` each of them says what follows: `act` without calls is the next of them, or nothing more.
    `seconds` is how long the turn may take, `told` {title, waiting} is for the Temporal UI, `tools` are those of `calls`.
    """

    kind: Literal["think", "act", "wait", "done"]
    turn: int
    calls: list[str] = field(default_factory=list)
    approved: str | None = None
    status: str = "completed"
    error: dict[str, Any] | None = None
    tools: list[str] = field(default_factory=list)
    seconds: float | None = None
    told: dict[str, Any] = field(default_factory=dict)
