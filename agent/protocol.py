"""What a model is: messages in, one text and what it cost out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol


@dataclass(frozen=True)
class Message:
    """One message of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True)
class Usage:
    """What a request cost, in tokens."""

    input_tokens: int = 0
    output_tokens: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(self.input_tokens + other.input_tokens, self.output_tokens + other.output_tokens)


@dataclass(frozen=True)
class Reply:
    """The text of an answer, what it cost, and the model that gave it. `cut`: the model stopped at its own limit."""

    text: str
    usage: Usage = Usage()
    model: str = ""
    cut: bool = False


class Model(Protocol):
    """A language model. It answers one request, and does not try again by itself."""

    def complete(self, messages: Sequence[Message], schema: Mapping[str, Any] | None, model: str | None) -> Reply:
        """The answer to a conversation. `schema` is the JSON Schema that the answer should satisfy, `model` another model than usual.

        Raises ModelNotConfigured, ModelRefused, ModelUnavailable.
        """
        ...
