"""One request of the author: the model gets what there is, and nothing that it must not see."""

import pytest

from agent import Call, ModelUnavailable, Reply, ScriptedModel, Tool
from agent.author import Situation, think
from agent.author.turn import request
from tests.agent.author.logs import Log

TOOLS = [Tool("select", "Rows", {"type": "object"}, "read")]


def test_a_thought() -> None:
    model = ScriptedModel([("Let me look at it.", [("select", {"store": "people"})])])
    heard: list[str] = []
    thought = think(model, Situation(Log().person("Who is there?").records, TOOLS), "large", said=heard.append)
    assert (thought.text, thought.model, thought.cut) == ("Let me look at it.", "large", False)
    assert [(call.tool, call.arguments) for call in thought.calls] == [("select", {"store": "people"})]
    assert "".join(heard) == thought.text
    messages, tools, name = model.conversations[0]
    assert [message.role for message in messages] == ["system", "user"]
    assert messages[1].content == "Who is there?"
    assert (tools, name) == (TOOLS, "large")


def test_what_was_cut_and_what_it_cost_is_told() -> None:
    reply = Reply("", calls=(Call("a", "select", None, "{"),), cut=True, cost=0.5)
    thought = think(ScriptedModel([reply]), Situation(Log().person("a").records, TOOLS))
    assert thought.calls == reply.calls
    assert (thought.cut, thought.cost) == (True, 0.5)


def test_no_secret_is_in_what_the_model_gets() -> None:
    secret = "sk-canary-7d1"
    log = Log().person(f"Use {secret}").say("text", text=f"I use {secret}").calls("a", "select", key=secret)
    log.gives("a", "select", [{"key": secret}], error={"message": secret}).say("card", card="run", note=secret).say(
        "notice", text=secret
    )
    log.calls("b", secret, by="person").say("user", approval="x", approved=False, comment=secret)
    catalog = {
        "databases": [{"name": "shop", "stores": [{"name": "s", "schema": {"default": secret}}]}],
        "scripts": [{"name": "a", "description": secret}],
        "draft": {"name": "d", "revision": 1, "script": {"steps": [{"value": secret}]}, "problems": [secret]},
        "mocks": {"x": secret}, "tools": {"y": secret}, "database": secret, "now": secret, "recording": {"name": secret},
    }  # fmt: skip
    situation = Situation(log.records, TOOLS, catalog, redact=lambda text: text.replace(secret, "(hidden)"))
    found = str(request(situation))
    assert "canary" not in found
    assert found.count("(hidden)") >= 12
    assert "canary" in str(request(Situation(log.records, TOOLS, catalog)))


def test_the_budget_is_kept() -> None:
    log = Log()
    for number in range(40):
        log.person(f"q{number}").calls(f"c{number}", "select").gives(f"c{number}", "select", ["x" * 100] * 50)
    counted = [
        sum(len(message.content) for message in request(Situation(log.records, TOOLS, budget=budget))) // 4
        for budget in (10_000, 60_000)
    ]
    assert counted[0] < 10_500
    assert 10_500 < counted[1] < 61_000


def test_what_the_model_raises_is_raised() -> None:
    with pytest.raises(ModelUnavailable):
        think(ScriptedModel([ModelUnavailable("later")]), Situation(Log().person("x").records, TOOLS))
