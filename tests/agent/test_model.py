"""OpenAIModel over a real socket, against an endpoint that answers as a test says."""

from typing import Any

import pytest

from agent import Message, ModelNotConfigured, ModelRefused, ModelUnavailable, Usage
from agent.model import OpenAIModel
from tests.agent.endpoint import Endpoint

QUESTION = [Message("system", "s"), Message("user", "u")]
SCHEMA = {"type": "object", "properties": {}}


def model(endpoint: Endpoint, **changes: Any) -> OpenAIModel:
    return OpenAIModel(**({"base_url": endpoint.url, "api_key": "sk-1", "model": "small"} | changes))


def test_a_request_and_its_answer(endpoint: Endpoint) -> None:
    endpoint.says("Hello")
    reply = model(endpoint).complete(QUESTION, None, None)
    assert (reply.text, reply.usage, reply.model, reply.cut) == ("Hello", Usage(11, 3), "small-2026", False)
    assert endpoint.requests == [
        {"model": "small", "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]}
    ]
    assert endpoint.keys == ["Bearer sk-1"]


def test_a_schema_goes_along_and_a_step_may_name_a_model(endpoint: Endpoint) -> None:
    endpoint.says("{}")
    model(endpoint, api_key=None).complete(QUESTION, SCHEMA, "large")
    assert endpoint.requests[0]["model"] == "large"
    assert endpoint.requests[0]["response_format"] == {
        "type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}
    }  # fmt: skip


def test_an_endpoint_that_knows_no_schemas_is_asked_without(endpoint: Endpoint) -> None:
    endpoint.refuses(400, "response_format is not supported")
    endpoint.says("{}")
    assert model(endpoint).complete(QUESTION, SCHEMA, None).text == "{}"
    assert ["response_format" in request for request in endpoint.requests] == [True, False]


def test_a_schema_that_is_no_object_stands_in_the_messages_only(endpoint: Endpoint) -> None:
    endpoint.says("[]")
    model(endpoint).complete(QUESTION, {"type": "array"}, None)
    assert "response_format" not in endpoint.requests[0]


@pytest.mark.parametrize(
    ("status", "error"),
    [(429, ModelUnavailable), (500, ModelUnavailable), (503, ModelUnavailable), (408, ModelUnavailable),
     (400, ModelRefused), (401, ModelRefused), (403, ModelRefused), (404, ModelRefused)],
)  # fmt: skip
def test_what_may_pass_and_what_does_not(endpoint: Endpoint, status: int, error: type[Exception]) -> None:
    endpoint.refuses(status)
    with pytest.raises(error):
        model(endpoint).complete(QUESTION, None, None)
    assert len(endpoint.requests) == 1, "it is not tried again here"


def test_a_refusal_and_a_content_filter(endpoint: Endpoint) -> None:
    endpoint.says(None, refusal="I cannot help with that")
    endpoint.says("", finish_reason="content_filter")
    with pytest.raises(ModelRefused, match="I cannot help with that"):
        model(endpoint).complete(QUESTION, None, None)
    with pytest.raises(ModelRefused, match="content filter"):
        model(endpoint).complete(QUESTION, None, None)


def test_an_answer_that_was_cut_says_so(endpoint: Endpoint) -> None:
    endpoint.says("[1, 2", finish_reason="length")
    assert model(endpoint).complete(QUESTION, None, None).cut


def test_nobody_listens(endpoint: Endpoint) -> None:
    with pytest.raises(ModelUnavailable):
        model(endpoint, base_url="http://127.0.0.1:9/v1").complete(QUESTION, None, None)


def test_no_model_is_named(endpoint: Endpoint) -> None:
    with pytest.raises(ModelNotConfigured, match="no model is named"):
        model(endpoint, model=None).complete(QUESTION, None, None)
