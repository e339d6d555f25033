"""Conversations with tools, for models and endpoints without tool calling.

The tools stand in the system text, and the answer is one JSON object: what the model says, and the tools that it calls.

    {"say": "text", "calls": [{"tool": "name", "arguments": {...}}]}

The schema of this object is sent along, for endpoints that hold a model to it: with the arguments of each tool, so that a small model finds
them, or (where an endpoint cannot do that) with objects in their place. The answer has to satisfy the latter, which stands in the text as
well; whoever performs the calls looks at their arguments. What does not satisfy it is given back with what is wrong, twice at most.

Earlier calls and results are told as text: a call as the object that the model answered, a result as a message of the user that names the
call.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import orjson

from agent.asking import again, read, unusable
from agent.assembly import new_id
from agent.protocol import Call, Message, Reply, Tool, Usage

TRIES: Final = 3
"""The first request and two more."""
Request = Callable[[Sequence[Message], Sequence[Mapping[str, Any]]], Awaitable[Reply]]
"""Asks the model for an answer that satisfies the first of some schemas that the endpoint can do."""


async def converse(request: Request, messages: Sequence[Message], tools: Sequence[Tool]) -> Reply:
    """The next message of a conversation with tools. Raises InvalidAnswer, and what `request` raises."""
    schema, exact = answer_schema(tools), exact_schema(tools)
    question = told(messages, tools, schema)
    asked, usage = question, Usage()
    for _ in range(TRIES):
        reply = await request(asked, (exact, schema))
        usage += reply.usage
        value, problem = read(reply, schema)
        if problem is None:
            return Reply(value["say"], usage, reply.model, False, _calls(value["calls"]))
        asked = [*question, *again(reply.text, problem, schema)]
    raise unusable(reply, problem, TRIES, usage, "a larger model may do it, or one with tool calling")


def answer_schema(tools: Sequence[Tool]) -> dict[str, Any]:
    """The JSON Schema of an answer: arguments are any object."""
    return _answer(_object({"tool": {"enum": [tool.name for tool in tools]}, "arguments": {"type": "object"}}))


def exact_schema(tools: Sequence[Tool]) -> dict[str, Any]:
    """The same, with the arguments of each tool; references lead nowhere within it, and such arguments are any object."""
    calls = [
        _object({"tool": {"const": tool.name}, "arguments": _alone(tool.arguments) or {"type": "object"}})
        for tool in tools
    ]
    return _answer({"anyOf": calls})


def _answer(call: Mapping[str, Any]) -> dict[str, Any]:
    return _object({"say": {"type": "string"}, "calls": {"type": "array", "items": call}})


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _alone(schema: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """A schema that can stand within another."""
    return None if b'"$ref"' in orjson.dumps(dict(schema)) else schema


def told(messages: Sequence[Message], tools: Sequence[Tool], schema: Mapping[str, Any]) -> list[Message]:
    """The conversation as text: one system message, then the user and the assistant in turn."""
    system = "\n\n".join(message.content for message in messages if message.role == "system")
    found = [Message("system", f"{system}\n\n{_described(tools, schema)}".strip())]
    named = {call.id: call.tool for message in messages for call in message.calls}
    for message in messages:
        if message.role == "system":
            continue
        said = _as_text(message, named)
        if said.role == found[-1].role:
            found[-1] = Message(said.role, f"{found[-1].content}\n\n{said.content}")
        else:
            found.append(said)
    return found


def _described(tools: Sequence[Tool], schema: Mapping[str, Any]) -> str:
    lines = [
        "# How to answer",
        "Answer with one JSON object and nothing else: "
        '{"say": what you tell the person (may be ""), "calls": [{"tool": its name, "arguments": {...}}]}. '
        "`calls` are the tools to call now; it is [] when there is nothing to call. You get the results, and can go on then.",
        f"It has to satisfy this JSON Schema (Draft 2020-12):\n{orjson.dumps(schema).decode()}",
        "# The tools that you can call",
    ]
    for tool in tools:
        arguments = orjson.dumps(dict(tool.arguments)).decode()
        lines.append(f"## {tool.name}\n{tool.description}\narguments: {arguments}")
    return "\n\n".join(lines)


def _as_text(message: Message, named: Mapping[str, str]) -> Message:
    if message.role == "tool":
        tool = named.get(message.call or "", "?")
        return Message("user", f"[result of the call of {tool}]\n{message.content}")
    if message.role == "assistant":
        calls = [{"tool": call.tool, "arguments": call.arguments or {}} for call in message.calls]
        return Message("assistant", orjson.dumps({"say": message.content, "calls": calls}).decode())
    return message


def _calls(calls: Sequence[Mapping[str, Any]]) -> tuple[Call, ...]:
    return tuple(
        Call(new_id(), call["tool"], call["arguments"], orjson.dumps(call["arguments"]).decode()) for call in calls
    )
