"""The language model: asking it, and holding it to an answer.

protocol.py   Message, Usage, Reply, Model: what a model is
model.py      OpenAIModel, over any OpenAI-compatible endpoint; the only importer of `openai` (import it from there: it is slow to import)
scripted.py   ScriptedModel, which answers from a list or by a function
asking.py     one question: the answer is validated, and asked for again when it does not satisfy its schema
standin.py    a value in the place of an answer, for dry runs
errors.py     what can be wrong
"""

from agent.asking import ASK_TRIES, MAX_REQUEST_BYTES, Answer, ask
from agent.errors import (
    AgentError,
    InvalidAnswer,
    ModelNotConfigured,
    ModelRefused,
    ModelUnavailable,
    RequestTooLarge,
)
from agent.protocol import Message, Model, Reply, Usage
from agent.scripted import ScriptedModel
from agent.standin import stand_in

__all__ = [
    "ASK_TRIES",
    "MAX_REQUEST_BYTES",
    "AgentError",
    "Answer",
    "InvalidAnswer",
    "Message",
    "Model",
    "ModelNotConfigured",
    "ModelRefused",
    "ModelUnavailable",
    "Reply",
    "RequestTooLarge",
    "ScriptedModel",
    "Usage",
    "ask",
    "stand_in",
]
