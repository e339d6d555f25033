"""One request to the model in a turn: the situation in, text and tool calls out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from agent.author.fencing import Fence
from agent.author.history import told
from agent.author.prompt import system_prompt
from agent.protocol import Call, Message, Model, Tool, Usage
from agent.tokens import tokens

BUDGET = 60_000
"""About how many tokens a request has."""


@dataclass(frozen=True)
class Situation:
    """What the author sees.

    `records` is the log of the session (`toolbox.authoring.conversations`), oldest first, without deltas. `tools` are those that it may
    call. `catalog` is what there is: {databases: [{name, stores: [{name, primary_key, indexes, schema, rows, relations}]}], scripts:
    [{name, description, parameters, database}], tools: {name: not configured because ...}, database (the one that is meant), draft
    {id, name, revision, script, problems} or None, mocks, stub, recording, now, time_zone}. The time zone
    is the person's, or None where it is not known.

    `redact` takes out of a text what no model may see. `budget` is about how many tokens the request may have: older turns are told
    shorter, or left out, and so is a large catalog.
    """

    records: Sequence[dict[str, Any]]
    tools: Sequence[Tool]
    catalog: dict[str, Any] = field(default_factory=dict)
    redact: Callable[[str], str] = lambda text: text
    budget: int = BUDGET


@dataclass(frozen=True)
class Thought:
    """What the model said, the tools that it calls, what it cost (in tokens; in money where prices are known), and which model it was.

    `cut`: it stopped at its own limit.
    """

    text: str
    calls: tuple[Call, ...]
    usage: Usage
    model: str
    cut: bool = False
    cost: float | None = None


def think(
    model: Model, situation: Situation, name: str | None = None, *, said: Callable[[str], None] = lambda text: None
) -> Thought:
    """Ask the model for the next thing. `said` hears the text while it comes, and an empty text now and then while none does; what it
    raises ends the request. Raises AgentError."""
    reply = model.converse(request(situation), situation.tools, name, said=said)
    return Thought(reply.text, reply.calls, reply.usage, reply.model, reply.cut, reply.cost)


def request(situation: Situation) -> list[Message]:
    """The messages that the model gets."""
    fence = Fence(situation.redact)
    offered = sum(
        tokens(tool.name + tool.description + orjson.dumps(dict(tool.arguments)).decode()) for tool in situation.tools
    )
    room = situation.budget - offered
    system = system_prompt(situation, fence, room // 2)
    return [Message("system", system), *told(situation.records, fence, room - tokens(system))]
