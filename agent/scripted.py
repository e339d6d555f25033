"""A model that answers as it was told, for tests and for trying a script out."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from agent.assembly import new_id
from agent.protocol import Call, Message, Reply, Tool, Usage

Calls = Sequence[tuple[str, dict[str, Any]]]
Answer = str | Reply | tuple[str, Calls] | Exception
"""Text, a whole reply, text with the tools that it calls (their names and arguments), or what is raised."""
Respond = Callable[[Sequence[Message]], Answer]
_WORDS_OF_A_PIECE = 3


class ScriptedModel:
    """Gives the answers of a list in turn, or those of a function; an exception among them is raised. `requests` is what it was asked with
    `complete`, `conversations` with `converse`.

    Usage is counted in words. A list that is used up is an IndexError: a test that asks more often than it says is wrong.
    """

    def __init__(self, answers: Sequence[Answer] | Respond) -> None:
        self._respond = answers if callable(answers) else None
        self._answers = [] if callable(answers) else list(answers)
        self.requests: list[tuple[list[Message], Mapping[str, Any] | None, str | None]] = []
        self.conversations: list[tuple[list[Message], list[Tool], str | None]] = []

    def complete(self, messages: Sequence[Message], schema: Mapping[str, Any] | None, model: str | None) -> Reply:
        """See `agent.protocol.Model`."""
        self.requests.append((list(messages), schema, model))
        return self._answer(messages, model)

    def converse(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool],
        model: str | None = None,
        *,
        said: Callable[[str], None] = lambda text: None,
    ) -> Reply:
        """See `agent.protocol.Model`. The text is said a few words at a time."""
        self.conversations.append((list(messages), list(tools), model))
        reply = self._answer(messages, model)
        for piece in pieces(reply.text):
            said(piece)
        return reply

    def _answer(self, messages: Sequence[Message], model: str | None) -> Reply:
        found = self._respond(messages) if self._respond is not None else self._answers.pop(0)
        if isinstance(found, Exception):
            raise found
        if isinstance(found, Reply):
            return found
        text, calls = found if isinstance(found, tuple) else (found, ())
        read = sum(len(message.content.split()) for message in messages)
        called = tuple(Call(new_id(), tool, dict(arguments)) for tool, arguments in calls)
        return Reply(text, Usage(read, len(text.split())), model or "scripted", calls=called)


def pieces(text: str) -> list[str]:
    """A text, a few words at a time; together they are the text."""
    words = text.split(" ")
    found = [" ".join(words[at : at + _WORDS_OF_A_PIECE]) for at in range(0, len(words), _WORDS_OF_A_PIECE)]
    return [piece + " " for piece in found[:-1]] + [piece for piece in found[-1:] if piece]
