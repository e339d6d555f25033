"""A conversation in the form of OpenAI's chat completions: messages, tools and schemas as they are sent."""

from collections.abc import Mapping
from typing import Any, Final

import orjson

from agent.protocol import Message, Tool

SIGNATURE: Final = "thought_signature"
"""What Gemini demands with calls of before. It is not kept here: where it is missed, the word that Google documents stands for it."""
_UNSIGNED: Final = {"extra_content": {"google": {SIGNATURE: "skip_thought_signature_validator"}}}
_NAMED: Final = frozenset({"properties", "patternProperties", "$defs"})
"""Words of JSON Schema whose values have names of the author's own."""


def sent(message: Message) -> dict[str, Any]:
    """A message as the endpoint takes it. Arguments that were no JSON object are one here: endpoints parse them."""
    if message.role == "tool":
        return {"role": "tool", "content": message.content, "tool_call_id": message.call}
    if not message.calls:
        return {"role": message.role, "content": message.content}
    calls = [
        {
            "id": call.id,
            "type": "function",
            "function": {"name": call.tool, "arguments": _arguments(call.arguments, call.text)},
        }
        for call in message.calls
    ]
    return {"role": message.role, "content": message.content or None, "tool_calls": calls}


def unsigned(message: dict[str, Any]) -> dict[str, Any]:
    """A message whose calls say that they have no signature."""
    return (
        message | {"tool_calls": [call | _UNSIGNED for call in message["tool_calls"]]}
        if "tool_calls" in message
        else message
    )


def _arguments(arguments: dict[str, Any] | None, text: str) -> str:
    return orjson.dumps(arguments if arguments is not None else {"(no JSON object)": text}).decode()


def offered(tool: Tool) -> dict[str, Any]:
    """A tool as the endpoint takes it."""
    described = {"name": tool.name, "description": tool.description, "parameters": _without_ours(tool.arguments)}
    return {"type": "function", "function": described}


def _without_ours(schema: Any) -> Any:
    """A JSON Schema without words of our own (x-...), which some endpoints refuse; fields may have such names."""
    if isinstance(schema, list):
        return [_without_ours(inner) for inner in schema]
    if not isinstance(schema, Mapping):
        return schema
    found = {name: inner for name, inner in schema.items() if not name.startswith("x-")}
    return {
        name: {field: _without_ours(part) for field, part in inner.items()}
        if name in _NAMED and isinstance(inner, Mapping)
        else _without_ours(inner)
        for name, inner in found.items()
    }


def wanted(schema: Mapping[str, Any]) -> Any:
    """The `response_format` of an answer that satisfies a schema."""
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": dict(schema)}}
