"""The pieces of a streamed answer, put together.

A chunk has text, pieces of tool calls (told apart by their `index`; name and id come with the first piece, the arguments as text that
grows), a refusal, the reason why the answer ends, and at last what it cost. Some endpoints give every call the index 0, or none: a piece
with an id of its own that names a tool begins another call. Some give no ids: they get one.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from agent.errors import ModelRefused, ModelUnavailable
from agent.protocol import Call, Message, Reply, Usage
from agent.tokens import tokens, tokens_of

MOST_CHARACTERS: Final = 1024 * 1024
"""Of text and arguments in one answer: a model that does not stop is told of, and not listened to for ever."""


@dataclass
class _Piece:
    index: int | None
    id: str
    tool: str
    arguments: str


class Assembly:
    """An answer of the model `name` that is under way."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._text: list[str] = []
        self._refusal: list[str] = []
        self._calls: list[_Piece] = []
        self._finish: str | None = None
        self._usage: Usage | None = None
        self._size = 0

    def add(self, chunk: Any) -> str:
        """Take a chunk (a ChatCompletionChunk) in. Gives the text that it brought. Raises ModelRefused for one that is too much."""
        self._name = _of(chunk, "model") or self._name
        used = _of(chunk, "usage")
        if used is not None:
            self._usage = Usage(*(max(0, _of(used, name) or 0) for name in ("prompt_tokens", "completion_tokens")))
        choices = _of(chunk, "choices")
        if not choices:
            return ""
        self._finish = _of(choices[0], "finish_reason") or self._finish
        delta = _of(choices[0], "delta")
        self._refusal.append(_of(delta, "refusal") or "")
        for piece in _of(delta, "tool_calls") or ():
            self._add_call(piece)
        text = readable(_of(delta, "content") or "")
        self._text.append(text)
        self._grows(len(text))
        return text

    def _grows(self, characters: int) -> None:
        self._size += characters
        if self._size > MOST_CHARACTERS:
            message = f"the answer of the model {self._name} has more than {MOST_CHARACTERS} characters"
            raise ModelRefused(message, hint="ask for less at once")

    def _add_call(self, piece: Any) -> None:
        function, index, call_id = _of(piece, "function"), _of(piece, "index"), _of(piece, "id") or ""
        name, arguments = readable(_of(function, "name") or ""), readable(_of(function, "arguments") or "")
        self._grows(len(arguments))
        call = next((call for call in reversed(self._calls) if call.index == index), None)
        if call is None or (name and call_id and call.id and call_id != call.id):
            call = _Piece(index, "", "", "")
            self._calls.append(call)
        call.id = call.id or call_id
        call.tool = call.tool or name
        call.arguments += arguments

    def reply(self, asked: Sequence[Message] = ()) -> Reply:
        """The whole answer. What it cost is estimated where the endpoint does not tell it: from `asked` and from the answer.

        Raises ModelRefused, and ModelUnavailable for a stream that broke off.
        """
        refusal = "".join(self._refusal)
        if refusal or self._finish == "content_filter":
            why = refusal or "its content filter"
            raise ModelRefused(f"the model {self._name} will not answer: {why}")
        if self._finish is None:
            raise ModelUnavailable(f"the answer of the model {self._name} broke off")
        text = "".join(self._text)
        calls = tuple(call_of(piece.id, piece.tool, piece.arguments) for piece in self._calls)
        usage = self._usage
        if usage is None:
            told = text + "".join(piece.tool + piece.arguments for piece in self._calls)
            usage = Usage(sum(tokens_of(message) for message in asked), tokens(told))
        return Reply(text, usage, self._name, self._finish == "length", calls)


def readable(text: str) -> str:
    """A text that can be kept: halves of characters, which JSON's escapes allow and UTF-8 does not, are replaced."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _of(value: Any, name: str) -> Any:
    """A field that an endpoint may have left out."""
    return getattr(value, name, None)


def call_of(call_id: str, tool: str, arguments: str) -> Call:
    """A call, from the text of its arguments; none at all are an empty object."""
    call_id = call_id or new_id()
    if not arguments.strip():
        return Call(call_id, tool, {})
    try:
        value = orjson.loads(arguments)
    except ValueError:
        value = None
    return Call(call_id, tool, value if isinstance(value, dict) else None, arguments)


def new_id() -> str:
    """An id for a call that came without."""
    return f"call_{uuid.uuid4().hex[:24]}"
