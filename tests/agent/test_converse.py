"""Conversations with tools over a real socket: streams, tool calls in pieces, errors, and how a request is ended."""

from typing import Any

import pytest

from agent import Call, Message, ModelNotConfigured, ModelRefused, ModelUnavailable, Prices, Tool, Usage
from agent.model import OpenAIModel
from tests.agent.endpoint import Endpoint, Hold, calls

ASKED = [Message("system", "s"), Message("user", "u")]
SELECT = Tool("select", "Rows of a store", {"type": "object", "properties": {"store": {"type": "string"}}})
TOOLS = [SELECT, Tool("add", "Add a row", {"type": "object"})]


def model(endpoint: Endpoint, **changes: Any) -> OpenAIModel:
    return OpenAIModel(**({"base_url": endpoint.url, "api_key": "sk-1", "model": "small"} | changes))


def test_text_is_heard_piece_by_piece(endpoint: Endpoint) -> None:
    endpoint.streams({"role": "assistant", "content": ""}, {"content": "Hel"}, {"content": "lo"})
    heard: list[str] = []
    reply = model(endpoint).converse(ASKED, TOOLS, said=heard.append)
    assert (reply.text, reply.usage, reply.model, reply.cut, reply.calls) == (
        "Hello", Usage(20, 5), "small-2026", False, ()
    )  # fmt: skip
    assert [piece for piece in heard if piece] == ["Hel", "lo"]
    assert endpoint.requests == [{
        "model": "small", "stream": True, "stream_options": {"include_usage": True},
        "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}],
        "tools": [
            {"type": "function", "function": {"name": tool.name, "description": tool.description, "parameters": tool.arguments}}
            for tool in TOOLS
        ],
    }]  # fmt: skip
    assert endpoint.keys == ["Bearer sk-1"]


def test_schemas_go_out_without_words_of_our_own(endpoint: Endpoint) -> None:
    endpoint.streams({"content": "ok"})
    ours = {"x-row-templates": ["row"], "type": "object", "anyOf": [{"x-a": 1, "type": "object"}]}
    schema = {"type": "object", "properties": {"x-field": ours, "values": ours}, "x-b": 2, "required": ["x-field"]}
    model(endpoint).converse(ASKED, [Tool("t", "", schema)])
    plain = {"type": "object", "anyOf": [{"type": "object"}]}
    assert endpoint.requests[0]["tools"][0]["function"]["parameters"] == {
        "type": "object", "properties": {"x-field": plain, "values": plain}, "required": ["x-field"]
    }  # fmt: skip


def test_tool_calls_are_put_together(endpoint: Endpoint) -> None:
    endpoint.streams(
        {"content": "Looking"},
        calls(0, "a", "select", ""), calls(1, "b", "add", '{"n"'), calls(0, arguments='{"store":'),
        calls(1, arguments=": 1}"), calls(0, arguments='"people"}'), finish="tool_calls",
    )  # fmt: skip
    reply = model(endpoint).converse(ASKED, TOOLS)
    assert reply.text == "Looking"
    assert reply.calls == (
        Call("a", "select", {"store": "people"}, '{"store":"people"}'),
        Call("b", "add", {"n": 1}, '{"n": 1}'),
    )


def test_calls_with_one_index_or_without_ids_are_told_apart(endpoint: Endpoint) -> None:
    endpoint.streams(calls(0, "a", "select", "{}"), calls(0, "b", "add", "{}"))
    endpoint.streams(calls(0, None, "select", "{}"), calls(1, None, "add", ""))
    assert [(call.id, call.tool) for call in model(endpoint).converse(ASKED, TOOLS).calls] == [
        ("a", "select"),
        ("b", "add"),
    ]
    first, second = model(endpoint).converse(ASKED, TOOLS).calls
    assert (first.tool, second.tool, second.arguments) == ("select", "add", {})
    assert first.id.startswith("call_")
    assert first.id != second.id


@pytest.mark.parametrize("text", ['{"store": ', "[1]", "null", '"x"', "{'store': 1}"])
def test_arguments_that_are_no_json_object_are_text(endpoint: Endpoint, text: str) -> None:
    endpoint.streams(calls(0, "a", "select", text))
    assert model(endpoint).converse(ASKED, TOOLS).calls == (Call("a", "select", None, text),)


def test_a_conversation_with_calls_and_results_goes_out_as_one(endpoint: Endpoint) -> None:
    endpoint.streams({"content": "ok"})
    broken = Call("b", "add", None, "{oops")
    model(endpoint).converse(
        [
            *ASKED,
            Message("assistant", "", (Call("a", "select", {"store": "x"}), broken)),
            Message("tool", "[]", call="a"),
            Message("tool", "no JSON", call="b"),
        ],
        TOOLS,
    )
    assistant, first, second = endpoint.requests[0]["messages"][2:]
    assert assistant == {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "select", "arguments": '{"store":"x"}'}},
            {"id": "b", "type": "function", "function": {"name": "add", "arguments": '{"(no JSON object)":"{oops"}'}},
        ],
    }
    assert first == {"role": "tool", "content": "[]", "tool_call_id": "a"}
    assert second["tool_call_id"] == "b"


def test_an_endpoint_that_tells_no_usage_is_counted(endpoint: Endpoint) -> None:
    endpoint.streams({"content": "12345"}, calls(0, "a", "add", "{}"), usage=False)
    reply = model(endpoint).converse([Message("user", "x" * 40)], TOOLS)
    assert reply.usage == Usage(14, 3)


def test_an_endpoint_that_knows_no_stream_options_is_asked_without_from_then_on(endpoint: Endpoint) -> None:
    endpoint.refuses(400, "Unrecognized request argument: stream_options")
    endpoint.streams({"content": "one"})
    endpoint.streams({"content": "two"})
    small = model(endpoint)
    assert [small.converse(ASKED, []).text, small.converse(ASKED, []).text] == ["one", "two"]
    assert ["stream_options" in request for request in endpoint.requests] == [True, False, False]
    assert "tools" not in endpoint.requests[0]


def test_calls_of_before_are_said_to_be_unsigned_where_a_signature_is_missed(endpoint: Endpoint) -> None:
    endpoint.refuses(400, "Function call is missing a thought_signature in functionCall parts")
    endpoint.streams({"content": "one"})
    endpoint.streams({"content": "two"})
    asked = [*ASKED, Message("assistant", "", (Call("a", "select", {}),)), Message("tool", "[]", call="a")]
    gemini = model(endpoint)
    assert [gemini.converse(asked, TOOLS).text, gemini.converse(asked, TOOLS).text] == ["one", "two"]
    unsigned = {"google": {"thought_signature": "skip_thought_signature_validator"}}
    sent = [request["messages"][2]["tool_calls"][0].get("extra_content") for request in endpoint.requests]
    assert sent == [None, unsigned, unsigned]
    endpoint.refuses(400, "Corrupted thought_signature")
    with pytest.raises(ModelRefused, match="Corrupted"):
        gemini.converse(asked, TOOLS)


@pytest.mark.parametrize(
    ("status", "error"),
    [(429, ModelUnavailable), (500, ModelUnavailable), (408, ModelUnavailable),
     (400, ModelRefused), (401, ModelRefused), (404, ModelRefused)],
)  # fmt: skip
def test_what_may_pass_and_what_does_not(endpoint: Endpoint, status: int, error: type[Exception]) -> None:
    endpoint.refuses(status)
    with pytest.raises(error):
        model(endpoint).converse(ASKED, TOOLS)
    assert len(endpoint.requests) == 1, "it is not tried again here"


def test_refusals(endpoint: Endpoint) -> None:
    endpoint.streams({"refusal": "I cannot "}, {"refusal": "do that"})
    endpoint.streams({"content": "Well"}, finish="content_filter")
    with pytest.raises(ModelRefused, match="I cannot do that"):
        model(endpoint).converse(ASKED, TOOLS)
    with pytest.raises(ModelRefused, match="content filter"):
        model(endpoint).converse(ASKED, TOOLS)


@pytest.mark.parametrize(
    "chunks",
    [
        ['data: {"error": {"message": "out of memory"}}\n\n'],
        ["data: {nonsense\n\n"],
        [{"content": "half an ans"}],
        [],
    ],
)
def test_a_stream_that_breaks_off_is_no_answer(endpoint: Endpoint, chunks: list[Any]) -> None:
    endpoint.streams(*chunks, finish=None, usage=False)
    with pytest.raises(ModelUnavailable):
        model(endpoint).converse(ASKED, TOOLS)


def test_what_stops_at_the_models_limit_says_so(endpoint: Endpoint) -> None:
    endpoint.streams({"content": "and th"}, calls(0, "a", "add", '{"n'), finish="length")
    reply = model(endpoint).converse(ASKED, TOOLS)
    assert reply.cut
    assert reply.calls[0].arguments is None


def test_odd_chunks_do_no_harm(endpoint: Endpoint) -> None:
    endpoint.streams(
        'data: {"choices": [{"index": 0}]}\n\n', 'data: {"id": "x"}\n\n', ": ping\n\n", {"content": "fine"}
    )
    assert model(endpoint).converse(ASKED, TOOLS).text == "fine"


class Stopped(Exception):
    """The person wants no more."""


@pytest.mark.parametrize("deltas", [[{"content": "Once upon"}], [], [calls(0, "a", "select", "{")]])
@pytest.mark.parametrize("tool_calling", [None, False], ids=["native", "schema"])
def test_who_listens_ends_the_request_at_once(endpoint: Endpoint, deltas: list[Any], tool_calling: bool | None) -> None:
    """Also while no text comes: the endpoint sees the connection close."""
    hold = Hold()
    endpoint.streams(*deltas, hold)

    def said(text: str) -> None:
        if hold.begun.is_set():
            raise Stopped

    with pytest.raises(Stopped):
        model(endpoint, tool_calling=tool_calling).converse(ASKED, TOOLS, said=said)
    assert hold.gone.wait(10)


def test_nobody_listens_and_no_model_is_named(endpoint: Endpoint) -> None:
    with pytest.raises(ModelUnavailable):
        model(endpoint, base_url="http://127.0.0.1:9/v1").converse(ASKED, TOOLS)
    with pytest.raises(ModelNotConfigured, match="no model is named"):
        model(endpoint, model=None).converse(ASKED, TOOLS)


def test_what_it_cost_is_known_for_the_model_that_has_prices(endpoint: Endpoint) -> None:
    priced = model(endpoint, input_price=1_000.0, output_price=100_000.0)
    for name, cost in ((None, 0.52), ("small", 0.52), ("other", None)):
        endpoint.streams({"content": "ok"})
        assert priced.converse(ASKED, TOOLS, name).cost == cost
    endpoint.says("ok")
    assert priced.complete(ASKED, None, None).cost == 0.311
    assert Prices(input=1.0).cost(Usage(5, 5)) is None


def test_an_endpoint_that_tells_the_key_is_not_repeated(endpoint: Endpoint) -> None:
    told = {"error": {"message": "Incorrect API key provided: sk-of-ours", "type": "x"}}
    ours = model(endpoint, api_key="sk-of-ours")
    endpoint.answers += [(401, told), (400, told)]
    with pytest.raises(ModelRefused, match=r"provided: \(the key\)") as refused:
        ours.converse(ASKED, TOOLS)
    assert (refused.value.__cause__, refused.value.hint) == (None, "check SOP_OPENAI_API_KEY")
    with pytest.raises(ModelRefused, match=r"provided: \(the key\)"):
        ours.complete(ASKED, None, None)


def test_halves_of_characters_are_replaced(endpoint: Endpoint) -> None:
    endpoint.streams({"content": "ok \ud83d"}, calls(0, "a", "select", '{"store": "\udc4a"}'), finish="tool_calls")
    heard: list[str] = []
    reply = model(endpoint).converse(ASKED, TOOLS, said=heard.append)
    assert "".join(heard) == reply.text == "ok \ufffd"
    assert reply.calls[0].arguments == {"store": "\ufffd"}


@pytest.mark.parametrize("much", [{"content": "x" * 300_000}, calls(0, "a", "select", "x" * 300_000)])
def test_an_answer_that_does_not_end_is_refused(endpoint: Endpoint, much: dict[str, Any]) -> None:
    endpoint.streams(*[much] * 4)
    with pytest.raises(ModelRefused, match="has more than 1048576 characters") as refused:
        model(endpoint).converse(ASKED, TOOLS)
    assert refused.value.hint == "ask for less at once"


def test_tokens_are_never_given_back(endpoint: Endpoint) -> None:
    endpoint.streams({"content": "hi"}, tokens=(-5, 3))
    assert model(endpoint).converse([Message("user", "hi")], TOOLS).usage == Usage(0, 3)
