"""One question to a model, and an answer that can be used.

Without a schema the answer is text. With one it is a JSON value that satisfies it: an answer that does not is given back with what is wrong
with it, up to `ASK_TRIES` times in all; each request holds the question, the last answer and the problem, so it does not grow. What was
sent and what came is bounded (`MAX_REQUEST_BYTES`, `MAX_ANSWER_BYTES`), and the errors tell the bounds.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import orjson

from agent.errors import InvalidAnswer, RequestTooLarge
from agent.protocol import Message, Model, Reply, Usage
from script.json_schemas import violation
from script.wire import MAX_WIRE_BYTES

ASK_TRIES: Final = 4
"""The first request and three more."""
MAX_REQUEST_BYTES: Final = 128 * 1024
"""The largest text of one request: system text, schema, prompt, and what an earlier answer adds."""
MAX_ANSWER_BYTES: Final = MAX_WIRE_BYTES
_TOLD_CHARACTERS: Final = 2_000
"""So much of the last answer is in the error."""
_SHOWN_CHARACTERS: Final = 8_000
"""So much of an answer is shown to the model again."""


@dataclass(frozen=True)
class Answer:
    """A value, what it cost in all, the model that gave it, and how often it was asked."""

    value: Any
    usage: Usage
    model: str
    asked: int

    def told(self) -> dict[str, Any]:
        """What the step's event tells beside the value."""
        return {"model": self.model, "usage": asdict(self.usage), "asked": self.asked}


def ask(
    model: Model,
    *,
    prompt: str,
    schema: Mapping[str, Any] | None = None,
    system: str | None = None,
    name: str | None = None,
) -> Answer:
    """Ask, and ask again until the answer satisfies the schema.

    Raises InvalidAnswer (its details: answer, characters, problem, asked, usage) after `ASK_TRIES` answers, RequestTooLarge, and what
    the model raises.
    """
    question = [*_system(system, schema), Message("user", prompt)]
    messages, usage = question, Usage()
    for asked in range(1, ASK_TRIES + 1):
        _check_size(messages)
        reply = model.complete(messages, schema, name)
        usage += reply.usage
        value, problem = read(reply, schema)
        if problem is None:
            return Answer(value, usage, reply.model, asked)
        messages = [*question, *again(reply.text, problem, schema)]
    raise unusable(reply, problem, ASK_TRIES, usage, "say in the prompt what is wanted, or make the schema simpler")


def unusable(reply: Reply, problem: str | None, asked: int, usage: Usage, hint: str) -> InvalidAnswer:
    """What is raised for the last answer of a model that was `asked` so many times; `usage` is that of all answers."""
    return InvalidAnswer(
        f"the model's answer cannot be used, also when asked {asked} times: {problem}",
        hint=hint,
        answer=reply.text[:_TOLD_CHARACTERS],
        characters=len(reply.text),
        problem=problem,
        asked=asked,
        usage=asdict(usage),
    )


def _system(system: str | None, schema: Mapping[str, Any] | None) -> list[Message]:
    parts = [system] if system else []
    if schema is not None:
        text = orjson.dumps(schema).decode()
        parts.append(
            f"Answer with one JSON value and nothing else. It has to satisfy this JSON Schema (Draft 2020-12):\n{text}"
        )
    return [Message("system", "\n\n".join(parts))] if parts else []


def _check_size(messages: list[Message]) -> None:
    size = sum(len(message.content.encode()) for message in messages)
    if size > MAX_REQUEST_BYTES:
        raise RequestTooLarge(
            f"the request to the model is {size} bytes of text, the limit is {MAX_REQUEST_BYTES}",
            hint="ask about less: fewer rows or fields, or one at a time in a loop",
        )


def read(reply: Reply, schema: Mapping[str, Any] | None) -> tuple[Any, str | None]:
    """The value of an answer, and what is wrong with it."""
    size = len(reply.text.encode(errors="replace"))
    if size > MAX_ANSWER_BYTES:
        return None, f"the answer is {size} bytes, the limit is {MAX_ANSWER_BYTES}"
    if reply.cut:
        return None, "the answer was cut off at the model's own limit: a shorter one is needed"
    if schema is None:
        return reply.text, None if reply.text.strip() else "the answer is empty"
    try:
        value = orjson.loads(_unfenced(reply.text))
    except orjson.JSONDecodeError as error:
        return None, f"the answer is not JSON: {error}"
    return value, violation(schema, value)


def _unfenced(text: str) -> str:
    """Without a code fence around it, which many models put there."""
    lines = text.strip().splitlines()
    fenced = len(lines) > 2 and lines[0].startswith("```") and lines[-1] == "```"
    return "\n".join(lines[1:-1]) if fenced else text


def again(text: str, problem: str, schema: Mapping[str, Any] | None) -> list[Message]:
    """What follows a question whose answer cannot be used: the answer, and what is wrong with it."""
    wanted = "Answer again, with one JSON value that satisfies the schema." if schema is not None else "Answer again."
    shown = [Message("assistant", text[:_SHOWN_CHARACTERS])] if text.strip() else []
    return [*shown, Message("user", f"This cannot be used: {problem[:_SHOWN_CHARACTERS]}\n{wanted}")]
