"""The scripted model answers as it was told, piece by piece."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import Call, Message, ModelUnavailable, Reply, ScriptedModel, Tool, Usage
from agent.scripted import pieces

ASKED = [Message("user", "two words")]
TOOLS = [Tool("select", "", {})]


def test_texts_calls_replies_and_errors() -> None:
    whole = Reply("whole", calls=(Call("a", "select", None, "{"),))
    model = ScriptedModel(["one", ("two", [("select", {"n": [1]})]), whole, ModelUnavailable("later")])
    assert model.converse(ASKED, TOOLS).usage == Usage(2, 1)
    second = model.converse(ASKED, TOOLS, "other")
    assert (second.text, second.model, second.calls[0].tool, second.calls[0].arguments) == (
        "two",
        "other",
        "select",
        {"n": [1]},
    )
    assert model.converse(ASKED, TOOLS) is whole
    with pytest.raises(ModelUnavailable):
        model.converse(ASKED, TOOLS)
    with pytest.raises(IndexError):
        model.converse(ASKED, TOOLS)
    assert model.conversations[1] == (ASKED, TOOLS, "other")
    assert model.requests == []


def test_a_function_answers_and_what_the_listener_raises_is_raised() -> None:
    model = ScriptedModel(lambda messages: f"You said {messages[-1].content}, and I heard it")
    heard: list[str] = []
    text = model.converse(ASKED, TOOLS, said=heard.append).text
    assert "".join(heard) == text == "You said two words, and I heard it"
    assert len(heard) == 3

    def stop(text: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.converse(ASKED, TOOLS, said=stop)


@given(st.text(alphabet="ab \n", max_size=60))
def test_the_pieces_are_the_text(text: str) -> None:
    assert "".join(pieces(text)) == text
    assert "" not in pieces(text)
