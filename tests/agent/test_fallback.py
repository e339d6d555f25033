"""Conversations with tools where the model cannot call any: JSON that satisfies a schema, over a real socket."""

import json
from typing import Any

import pytest

from agent import Call, InvalidAnswer, Message, ModelRefused, Tool, Usage, fallback
from agent.model import OpenAIModel
from script.json_schemas import violation
from tests.agent.endpoint import Endpoint

ASKED = [Message("system", "You write scripts."), Message("user", "Show me the people")]
TOOLS = [Tool("select", "Rows of a store", {"type": "object", "properties": {"store": {"type": "string"}}})]
CALLED = json.dumps({"say": "I look.", "calls": [{"tool": "select", "arguments": {"store": "people"}}]})
PLAIN = json.dumps({"say": "Done.", "calls": []})


def model(endpoint: Endpoint, **changes: Any) -> OpenAIModel:
    return OpenAIModel(**({"base_url": endpoint.url, "api_key": None, "model": "small"} | changes))


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "registry.ollama.ai/library/small does not support tools"),
        (400, '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'),
        (404, "No endpoints found that support tool use"),
        (422, "body.tools: Extra inputs are not permitted"),
        (500, "tools param requires --jinja flag"),
    ],
)
def test_an_endpoint_that_refuses_tools_is_asked_for_json_from_then_on(
    endpoint: Endpoint, status: int, message: str
) -> None:
    endpoint.refuses(status, message)
    endpoint.says(CALLED)
    endpoint.says(PLAIN)
    small, heard = model(endpoint), list[str]()
    reply = small.converse(ASKED, TOOLS, said=heard.append)
    assert (reply.text, reply.usage, reply.model) == ("I look.", Usage(11, 3), "small-2026")
    assert [(call.tool, call.arguments) for call in reply.calls] == [("select", {"store": "people"})]
    assert [text for text in heard if text] == ["I look."]
    assert small.converse(ASKED, TOOLS).text == "Done."
    assert ["tools" in request for request in endpoint.requests] == [True, False, False]
    assert endpoint.requests[1]["response_format"]["json_schema"]["schema"] == fallback.exact_schema(TOOLS)
    system = endpoint.requests[1]["messages"][0]["content"]
    assert system.startswith("You write scripts.")
    assert "## select\nRows of a store" in system


@pytest.mark.parametrize(
    ("status", "message", "named"),
    [
        (400, "messages with role 'tool' must follow a message with 'tool_calls'", "small"),
        (404, "the model tools does not exist", "tools"),
        (400, "no", "small"),
    ],
)
def test_other_refusals_are_refusals(endpoint: Endpoint, status: int, message: str, named: str) -> None:
    endpoint.refuses(status, message)
    with pytest.raises(ModelRefused):
        model(endpoint, model=named).converse(ASKED, TOOLS)
    assert len(endpoint.requests) == 1


def test_who_wants_tool_calling_and_nothing_else_gets_the_refusal(endpoint: Endpoint) -> None:
    for status in (400, 500):
        endpoint.refuses(status, "does not support tools")
        with pytest.raises(ModelRefused, match="does not support tools"):
            model(endpoint, tool_calling=True).converse(ASKED, TOOLS)
    assert len(endpoint.requests) == 2


def test_json_can_be_wanted_from_the_start_and_without_schemas_too(endpoint: Endpoint) -> None:
    endpoint.refuses(400, "the JSON schema is too large")
    endpoint.refuses(400, "response_format is not supported")
    endpoint.says(f"```json\n{PLAIN}\n```")
    endpoint.says(PLAIN)
    small = model(endpoint, tool_calling=False)
    assert [small.converse(ASKED, TOOLS).text, small.converse(ASKED, TOOLS).text] == ["Done.", "Done."]
    formats = [request.get("response_format", {}).get("json_schema", {}).get("schema") for request in endpoint.requests]
    assert formats == [fallback.exact_schema(TOOLS), fallback.answer_schema(TOOLS), None, None]
    assert not any("tools" in request for request in endpoint.requests)
    assert "JSON Schema" in endpoint.requests[2]["messages"][0]["content"]


def test_an_answer_of_another_form_is_asked_for_again_twice(endpoint: Endpoint) -> None:
    for text in ("I will look.", '{"say": "", "calls": [{"tool": "drop", "arguments": {}}]}', CALLED):
        endpoint.says(text)
    reply = model(endpoint, tool_calling=False).converse(ASKED, TOOLS)
    assert reply.text == "I look."
    assert reply.usage == Usage(33, 9)
    second, third = (request["messages"] for request in endpoint.requests[1:])
    assert "not JSON" in second[-1]["content"]
    assert "drop" in third[-1]["content"]
    assert len(second) == len(third)
    for _ in range(fallback.TRIES):
        endpoint.says("no idea")
    with pytest.raises(InvalidAnswer) as raised:
        model(endpoint, tool_calling=False).converse(ASKED, TOOLS)
    details = raised.value.to_dict()["details"]
    assert (details["asked"], details["answer"], details["usage"]) == (
        3,
        "no idea",
        {"input_tokens": 33, "output_tokens": 9},
    )
    assert len(endpoint.requests) == 6


def test_an_answer_that_was_cut_off_is_none(endpoint: Endpoint) -> None:
    endpoint.says(PLAIN, finish_reason="length")
    endpoint.says(PLAIN)
    assert model(endpoint, tool_calling=False).converse(ASKED, TOOLS).text == "Done."
    assert "cut off" in endpoint.requests[1]["messages"][-1]["content"]


def test_a_refusal_is_one_here_too(endpoint: Endpoint) -> None:
    endpoint.says(None, refusal="I will not")
    with pytest.raises(ModelRefused, match="I will not"):
        model(endpoint, tool_calling=False).converse(ASKED, TOOLS)


def test_calls_and_results_of_before_are_told_as_text() -> None:
    messages = [
        *ASKED,
        Message("assistant", "I look.", (Call("a", "select", {"store": "people"}), Call("b", "select", None, "{"))),
        Message("tool", "two rows", call="a"),
        Message("tool", "no JSON", call="b"),
        Message("user", "And now?"),
    ]
    found = fallback.told(messages, TOOLS, fallback.answer_schema(TOOLS))
    assert [message.role for message in found] == ["system", "user", "assistant", "user"]
    assert json.loads(found[2].content) == {
        "say": "I look.",
        "calls": [{"tool": "select", "arguments": {"store": "people"}}, {"tool": "select", "arguments": {}}],
    }
    assert found[3].content == (
        "[result of the call of select]\ntwo rows\n\n[result of the call of select]\nno JSON\n\nAnd now?"
    )
    assert not any(message.calls or message.call for message in found)


def test_the_exact_schema_has_the_arguments_of_each_tool() -> None:
    nested = Tool("tree", "", {"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {}}})
    exact, plain = fallback.exact_schema([*TOOLS, nested]), fallback.answer_schema([*TOOLS, nested])
    fits = {
        "say": "",
        "calls": [{"tool": "select", "arguments": {"store": "x"}}, {"tool": "tree", "arguments": {"b": 1}}],
    }
    other = {"say": "", "calls": [{"tool": "select", "arguments": {"store": 1}}]}
    unknown = {"say": "", "calls": [{"tool": "drop", "arguments": {}}]}
    assert [violation(exact, value) is None for value in (fits, other, unknown)] == [True, False, False]
    assert [violation(plain, value) is None for value in (fits, other, unknown)] == [True, True, False]
