"""The language model: asking it, and holding it to an answer.

protocol.py   Message, Tool, Call, Usage, Reply, Model: what a model is
model.py      OpenAIModel, over any OpenAI-compatible endpoint; the only importer of `openai` (import it from there: it is slow to import)
chat.py       a conversation in the form of OpenAI's chat completions
assembly.py   the pieces of a streamed answer, put together
tokens.py     about how many tokens something is
cost.py       what a model costs
listening.py  work that somebody listens to, and may end at any time
fallback.py   conversations with tools, for models without tool calling
scripted.py   ScriptedModel, which answers from a list or by a function
asking.py     one question: the answer is validated, and asked for again when it does not satisfy its schema
standin.py    a value in the place of an answer, for dry runs
errors.py     what can be wrong
author/       the author: from a situation to text and tool calls
"""

from agent.asking import ASK_TRIES, MAX_REQUEST_BYTES, Answer, ask
from agent.cost import Prices
from agent.errors import (
    AgentError,
    InvalidAnswer,
    ModelNotConfigured,
    ModelRefused,
    ModelUnavailable,
    RequestTooLarge,
)
from agent.protocol import Call, Message, Model, Reply, Tool, Usage
from agent.scripted import ScriptedModel
from agent.standin import stand_in

__all__ = [
    "ASK_TRIES",
    "MAX_REQUEST_BYTES",
    "AgentError",
    "Answer",
    "Call",
    "InvalidAnswer",
    "Message",
    "Model",
    "ModelNotConfigured",
    "ModelRefused",
    "ModelUnavailable",
    "Prices",
    "Reply",
    "RequestTooLarge",
    "ScriptedModel",
    "Tool",
    "Usage",
    "ask",
    "stand_in",
]
