"""One request to the model in a turn: the situation in, text and tool calls out."""

from collections.abc import Callable
from dataclasses import dataclass

import orjson

from agent.author.fencing import Fence
from agent.author.history import told
from agent.author.prompt import system_prompt
from agent.author.situation import Situation
from agent.protocol import Call, Message, Model, Usage
from agent.tokens import tokens


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
