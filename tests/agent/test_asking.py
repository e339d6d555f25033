"""Asking: answers are validated, asked for again with what was wrong, and given up after a few times."""

import pytest

from agent import (
    ASK_TRIES,
    MAX_REQUEST_BYTES,
    InvalidAnswer,
    Message,
    ModelRefused,
    Reply,
    RequestTooLarge,
    ScriptedModel,
    Usage,
    ask,
)
from script.json_schemas import schema_problem, violation

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


def test_text_is_given_as_it_is() -> None:
    model = ScriptedModel(["Hello there"])
    answer = ask(model, prompt="Greet me", system="Be brief", name="small")
    assert (answer.value, answer.asked, answer.model) == ("Hello there", 1, "small")
    assert model.requests == [([Message("system", "Be brief"), Message("user", "Greet me")], None, "small")]


def test_an_answer_is_asked_for_again_with_what_is_wrong() -> None:
    model = ScriptedModel(['{"n": "three"}', "three", '```json\n{"n": 3}\n```'])
    answer = ask(model, prompt="How many?", schema=SCHEMA)
    assert (answer.value, answer.asked) == ({"n": 3}, 3)
    second, third = model.requests[1][0], model.requests[2][0]
    assert second[-2] == Message("assistant", '{"n": "three"}')
    assert "/n: 'three' is not of type 'integer'" in second[-1].content
    assert third[-2].content == "three"
    assert "not JSON" in third[-1].content
    assert len(second) == len(third) == 4, "a request does not grow with the answers"
    words = [sum(len(message.content.split()) for message in messages) for messages, _, _ in model.requests]
    assert answer.usage == Usage(sum(words), 2 + 1 + 4)


def test_it_is_given_up_with_the_last_answer_and_the_problem() -> None:
    model = ScriptedModel(lambda messages: "x" * 5_000)
    with pytest.raises(InvalidAnswer) as raised:
        ask(model, prompt="How many?", schema=SCHEMA)
    error = raised.value.to_dict()
    assert len(model.requests) == ASK_TRIES == 4
    assert error["code"] == "invalid_answer"
    assert not error["retryable"]
    assert error["details"]["answer"] == "x" * 2_000
    assert error["details"]["characters"] == 5_000
    assert "not JSON" in error["details"]["problem"]
    assert error["details"]["usage"]["output_tokens"] == 4


@pytest.mark.parametrize("text", ["", " \n", "y" * 70_000])
def test_no_answer_and_one_that_is_too_large_cannot_be_used(text: str) -> None:
    with pytest.raises(InvalidAnswer, match=r"empty|the limit is 65536"):
        ask(ScriptedModel(lambda messages: text), prompt="x")


def test_an_answer_that_was_cut_off_is_none() -> None:
    class Cutting(ScriptedModel):
        def complete(self, *args: object) -> Reply:  # type: ignore[override]
            return Reply("[1, 2", cut=True)

    with pytest.raises(InvalidAnswer, match="cut off"):
        ask(Cutting([]), prompt="x", schema={"type": "array"})


def test_nothing_too_large_reaches_the_model() -> None:
    model = ScriptedModel([])
    with pytest.raises(
        RequestTooLarge, match=f"is {MAX_REQUEST_BYTES + 1} bytes of text, the limit is {MAX_REQUEST_BYTES}"
    ):
        ask(model, prompt="ä" + "x" * (MAX_REQUEST_BYTES - 1))
    assert model.requests == []


def test_what_the_model_raises_is_not_asked_again() -> None:
    model = ScriptedModel([ModelRefused("no"), "later"])
    with pytest.raises(ModelRefused):
        ask(model, prompt="x")
    assert len(model.requests) == 1


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        ({"type": "strng"}, "is not valid"),
        ({"properties": {"a": {"$ref": "http://127.0.0.1:1/x"}}}, "leads out of the schema"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {}}}, None),
        ({"const": {"$ref": "http://example.com"}}, None),
        (True, None),
    ],
)
def test_schemas_are_checked_and_nothing_is_fetched(schema: object, problem: str | None) -> None:
    found = schema_problem(schema)
    assert found is None if problem is None else found is not None and problem in found


def test_a_schema_that_was_not_checked_is_a_violation_never_a_request() -> None:
    assert "leads nowhere" in (violation({"$ref": "http://127.0.0.1:1/x"}, 1) or "")
    assert "unknown type" in (violation({"type": "strng"}, 1) or "")
