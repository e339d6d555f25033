"""One request to the model in a turn: the situation in, text and tool calls out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from agent.protocol import Call, Model, Tool, Usage


@dataclass(frozen=True)
class Situation:
    """What the author sees.

    `records` is the log of the session (`toolbox.authoring.conversations`), oldest first, without deltas. `tools` are those that it may
    call. `catalog` is what there is: {databases: [{name, stores: [{name, primary_key, indexes, schema, rows, relations}]}], scripts:
    [{name, description, parameters, database}], tools: {name: not configured because ...}, database (the one that is meant), draft
    {id, name, revision, script, problems} or None, mocks, recording, now, time_zone}.
    """

    records: Sequence[dict[str, Any]]
    tools: Sequence[Tool]
    catalog: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Thought:
    """What the model said, the tools that it calls, what it cost, and which model it was."""

    text: str
    calls: tuple[Call, ...]
    usage: Usage
    model: str


def think(
    model: Model, situation: Situation, name: str | None = None, *, said: Callable[[str], None] = lambda text: None
) -> Thought:
    """Ask the model for the next thing. `said` hears the text while it comes. Raises AgentError."""
    raise NotImplementedError
