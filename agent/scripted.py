"""A model that answers as it was told, for tests and for trying a script out."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from agent.protocol import Message, Reply, Usage

Respond = Callable[[Sequence[Message]], str | Exception]


class ScriptedModel:
    """Gives the answers of a list in turn, or those of a function; an exception among them is raised. `requests` is what it was asked.

    Usage is counted in words. A list that is used up is an IndexError: a test that asks more often than it says is wrong.
    """

    def __init__(self, answers: Sequence[str | Exception] | Respond) -> None:
        self._respond = answers if callable(answers) else None
        self._answers = [] if callable(answers) else list(answers)
        self.requests: list[tuple[list[Message], Mapping[str, Any] | None, str | None]] = []

    def complete(self, messages: Sequence[Message], schema: Mapping[str, Any] | None, model: str | None) -> Reply:
        """See `agent.protocol.Model`."""
        self.requests.append((list(messages), schema, model))
        found = self._respond(messages) if self._respond is not None else self._answers.pop(0)
        if isinstance(found, Exception):
            raise found
        read = sum(len(message.content.split()) for message in messages)
        return Reply(found, Usage(read, len(found.split())), model or "scripted")
