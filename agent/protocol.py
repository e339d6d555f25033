"""What a model is: messages and tools in; text, tool calls and what it cost out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol


@dataclass(frozen=True)
class Tool:
    """A tool that a model may call: its arguments are a JSON object that satisfies `arguments` (a JSON Schema).

    `effect` is pure, read, write, external, or session (a tool of the conversation, which no script may have as a command).
    """

    name: str
    description: str
    arguments: Mapping[str, Any]
    effect: str = ""


@dataclass(frozen=True)
class Call:
    """A tool call that a model asks for. `arguments` is what it wrote; None where that is no JSON object, and `text` is it then."""

    id: str
    tool: str
    arguments: dict[str, Any] | None
    text: str = ""


@dataclass(frozen=True)
class Message:
    """One message of a conversation. `calls` are those that an assistant asked for; a message of the role `tool` is the result of the call
    `call`."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    calls: tuple[Call, ...] = ()
    call: str | None = None


@dataclass(frozen=True)
class Usage:
    """What a request cost, in tokens."""

    input_tokens: int = 0
    output_tokens: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(self.input_tokens + other.input_tokens, self.output_tokens + other.output_tokens)


@dataclass(frozen=True)
class Reply:
    """The text of an answer, the tools that it calls, what it cost, and the model that gave it.

    `cut`: the model stopped at its own limit. `cost` is what it cost in money, where prices are known.
    """

    text: str
    usage: Usage = Usage()
    model: str = ""
    cut: bool = False
    calls: tuple[Call, ...] = ()
    cost: float | None = None


class Model(Protocol):
    """A language model. It answers one request, and does not try again by itself."""

    def complete(self, messages: Sequence[Message], schema: Mapping[str, Any] | None, model: str | None) -> Reply:
        """The answer to a conversation. `schema` is the JSON Schema that the answer should satisfy, `model` another model than usual.

        Raises ModelNotConfigured, ModelRefused, ModelUnavailable.
        """
        ...

    def converse(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool],
        model: str | None = None,
        *,
        said: Callable[[str], None] = lambda text: None,
    ) -> Reply:
        """The next message of a conversation with tools. `said` hears its text piece by piece while it comes, and an empty text now and
        then while none does; what it raises ends the request at once and is raised.

        Raises ModelNotConfigured, ModelRefused, ModelUnavailable, InvalidAnswer (a model without tool calling that does not find the
        form of an answer).
        """
        ...
