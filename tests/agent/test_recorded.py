"""Exchanges with a real endpoint (llama.cpp with SmolLM2-135M), as they were recorded, over a real socket again."""

import json
from pathlib import Path

import pytest

from agent import Call, InvalidAnswer, Message, Tool, Usage, fallback
from agent.model import OpenAIModel
from tests.agent.endpoint import Endpoint

RECORDED = json.loads((Path(__file__).parent / "recorded" / "llama_cpp.json").read_text(encoding="utf-8"))
TOOLS = [Tool("select", "Rows of a store", {"type": "object"})]
ASKED = [Message("user", "Show me the people.")]


def replay(endpoint: Endpoint, *names: str) -> OpenAIModel:
    for name in names:
        status, body = RECORDED[name]["status"], RECORDED[name]["body"]
        endpoint.answers.append((status, [body] if body.startswith("data:") else json.loads(body)))
    return OpenAIModel(base_url=endpoint.url, api_key=None, model="smollm2")


def test_a_stream(endpoint: Endpoint) -> None:
    heard: list[str] = []
    reply = replay(endpoint, "stream").converse(ASKED, [], said=heard.append)
    assert len([piece for piece in heard if piece]) == 12
    assert "".join(heard) == reply.text
    assert reply.text.startswith("I'm")
    assert reply.usage == Usage(14, 12)
    assert reply.cut


def test_tools_are_refused_and_called_in_json(endpoint: Endpoint) -> None:
    reply = replay(endpoint, "tools", "constrained").converse(ASKED, TOOLS)
    assert (reply.text, reply.usage, reply.model, reply.cut) == ("I look.", Usage(426, 26), "smollm2", False)
    (call,) = reply.calls
    assert call == Call(call.id, "select", {"store": "people"}, '{"store":"people"}')


def test_answers_that_are_cut_off_are_given_up(endpoint: Endpoint) -> None:
    with pytest.raises(InvalidAnswer, match="cut off"):
        replay(endpoint, "tools", "cut", "cut", "cut").converse(ASKED, TOOLS)
    assert len(endpoint.requests) == 1 + fallback.TRIES
