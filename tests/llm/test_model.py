"""A real model over real HTTP. What the wire does is asserted; what the model makes of it is told at the end."""

import time
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from agent import Call, InvalidAnswer, Message, ModelRefused, Tool, ask
from agent.author import Situation, think
from agent.model import OpenAIModel
from script.checker.checker import check_script
from script.environment import StaticEnvironment
from script.json_schemas import violation
from script.source.loading import load_script
from tests.llm.conftest import Endpoint

pytestmark = pytest.mark.llm
Report = Callable[[str], None]

STORE = {"type": "object", "properties": {"store": {"type": "string"}}, "required": ["store"]}
SELECT = Tool("select", "Rows of a store", STORE, "read")
SHOWN = [
    Message("system", "You answer questions about stores. Look with select first, then answer in one short sentence."),
    *(
        message
        for store, row in (("pets", "Rex"), ("cars", "Beetle"))
        for message in (
            Message("user", f"Show me the {store}."),
            Message("assistant", "I look.", (Call(store, "select", {"store": store}),)),
            Message("tool", f'[{{"name":"{row}"}}]', call=store),
            Message("assistant", f"There is {row}."),
        )
    ),
    Message("user", "Show me the people."),
]


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


SAY = _object({"type": {"const": "say"}, "message": {"type": "string", "maxLength": 40}})
GREETING = _object(
    {"name": {"const": "greeting"}, "steps": {"type": "array", "minItems": 1, "maxItems": 1, "items": SAY}}
)


def model(llm: Endpoint, **changes: Any) -> OpenAIModel:
    return OpenAIModel(**(llm.options | changes))


def test_text_comes_while_it_is_written(llm: Endpoint) -> None:
    heard: list[str] = []
    reply = model(llm).converse([Message("user", "Say hello to Ada in one sentence.")], [], said=heard.append)
    assert len([piece for piece in heard if piece]) > 1
    assert "".join(heard) == reply.text != ""
    assert reply.usage.input_tokens > 5
    assert reply.usage.output_tokens > 1


class Stopped(Exception):
    """Enough."""


def test_who_has_heard_enough_ends_the_request(llm: Endpoint) -> None:
    heard: list[str] = []

    def said(text: str) -> None:
        heard.append(text)
        if "".join(heard):
            raise Stopped

    with pytest.raises(Stopped):
        model(llm).converse([Message("user", "Count from one to a hundred.")], [], said=said)
    assert len([piece for piece in heard if piece]) == 1


def test_an_answer_is_held_to_its_schema(llm: Endpoint, report: Report) -> None:
    schema = {
        "type": "object",
        "properties": {"prime": {"type": "boolean"}, "size": {"enum": ["small", "large"]}},
        "required": ["prime", "size"],
        "additionalProperties": False,
    }
    answer = ask(model(llm), prompt="Is 7 a prime number, and is it small or large?", schema=schema)
    assert violation(schema, answer.value) is None
    report(f"a constrained answer: valid, asked {answer.asked} times; 7 is prime and small: {answer.value}")


@pytest.mark.parametrize("tool_calling", [None, False], ids=["auto", "schema"])
def test_a_tool_is_called(llm: Endpoint, report: Report, tool_calling: bool | None) -> None:
    """With the endpoint's own tool calling, or without: the small model's server refuses tools."""
    asked = model(llm, tool_calling=tool_calling)
    heard: list[str] = []
    reply = asked.converse(SHOWN, [SELECT], said=heard.append)
    assert "".join(heard) == reply.text
    assert reply.usage.output_tokens > 0
    assert all(call.tool == "select" and call.id for call in reply.calls)
    found = [call.arguments for call in reply.calls]
    report(f"a call of a tool ({tool_calling}): select {found}, wanted [{{'store': 'people'}}]")


def test_who_wants_native_tool_calling_hears_that_there_is_none(llm: Endpoint) -> None:
    if not llm.small:
        pytest.skip("the configured endpoint may have it")
    with pytest.raises(ModelRefused, match="tools"):
        model(llm, tool_calling=True).converse(SHOWN, [SELECT])


def test_what_cannot_be_used_is_asked_for_again_and_given_up(llm: Endpoint, report: Report) -> None:
    """A list is no object: its schema stands in the text only, and nothing holds the model to it."""
    schema = {"type": "array", "items": {"const": "zorp"}, "minItems": 2, "maxItems": 2}
    try:
        answer = ask(model(llm), prompt="Give the list that the schema demands.", schema=schema)
    except InvalidAnswer as error:
        details = error.to_dict()["details"]
        assert details["asked"] == 4
        assert details["usage"]["output_tokens"] > 0
        report(f"repair: given up after 4 requests: {details['problem'][:60]}")
    else:
        assert answer.value == ["zorp", "zorp"]
        report(f"repair: valid after {answer.asked} requests")


def test_a_wrong_key_and_too_much_text_are_refused(llm: Endpoint) -> None:
    if not llm.small:
        pytest.skip("the configured endpoint may have no keys")
    with pytest.raises(ModelRefused, match="key"):
        model(llm, api_key="wrong").converse([Message("user", "Hello")], [])
    with pytest.raises(ModelRefused, match="context"):
        model(llm).converse([Message("user", "word " * 9_000)], [])


def problems(text: str) -> list[Any]:
    return check_script(load_script(text).script, StaticEnvironment())


def test_a_draft_passes_the_checker(llm: Endpoint, report: Report) -> None:
    """The model calls a tool with a script. The small one is held to the form of a script with one step."""
    create = Tool("create_script", "Make a draft", _object({"script": GREETING}), "session")
    conversation = [Message("system", "You write scripts, always with create_script.")]
    for name in ("Bob", "Eve"):
        script = {"name": "greeting", "steps": [{"type": "say", "message": f"Hello, {name}!"}]}
        conversation += [
            Message("user", f"Write a script that says hello to {name}."),
            Message("assistant", "I write it.", (Call(name, "create_script", {"script": script}),)),
            Message("tool", "saved", call=name),
            Message("assistant", "Done."),
        ]
    conversation.append(Message("user", "Write a script that says hello to Ada."))
    reply = model(llm).converse(conversation, [create])
    drafts = [(call.arguments or {})["script"] for call in reply.calls]
    assert drafts
    assert all(problems(orjson.dumps(draft).decode()) == [] for draft in drafts)
    report(f"a draft passes the checker: {drafts[0]['steps']}, wanted 'Hello, Ada!'")


def test_the_author(llm: Endpoint, report: Report) -> None:
    """The whole prompt, and a tool that takes a script: too much for a small model, which is told and not asserted."""
    arguments = {"type": "object", "properties": {"script": {"type": "object"}}, "required": ["script"]}
    tools = [Tool("create_script", "Make a draft of a whole script", arguments, "session")]
    records = [{"type": "user", "turn": 1, "text": "Write a script with the name greeting that says hello to Ada."}]
    end = time.monotonic() + 10

    def said(text: str) -> None:
        if time.monotonic() > end:
            raise Stopped

    try:
        thought = think(model(llm), Situation(records, tools), said=said)
    except (InvalidAnswer, Stopped) as error:
        assert llm.small, "a model that is configured should do that"
        report(f"the author: no draft ({type(error).__name__})")
        return
    assert thought.usage.input_tokens > 1_000
    told = [call.tool for call in thought.calls]
    report(f"the author: {thought.text[:60]!r}, calls {told}, {thought.usage.input_tokens} tokens read")
