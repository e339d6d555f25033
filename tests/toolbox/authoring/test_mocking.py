"""Mocks and stand-ins: a tool that is not there is one as soon as it is mocked, for everything that asks for tools."""

import uuid
from typing import Any

import pytest

from query import open_store
from tests.conftest import System
from tests.toolbox.authoring.conftest import Talk, access_with
from toolbox import Registry, tool
from toolbox.errors import Forbidden, InUse, InvalidArguments, UnknownTool
from toolbox.stand_ins import RESERVED, StandInRow, StandIns, keep_stand_in

MAIL = {"type": "command", "name": "mail", "command": "email_service", "args": {"to": "{{ who }}", "coupon": "X1"}}
SCRIPT: dict[str, Any] = {"name": "greet", "parameters": ["who"], "steps": [MAIL]}


def test_a_tool_that_is_there_is_mocked_in_this_session_only(talk: Talk) -> None:
    told = talk.call("mock_tool", tool="send_email", result={"sent": 1})
    assert told == {"mocked": "send_email", "stand_in": False, "mocks": ["send_email"]}
    assert talk.session.mocks == {"send_email": {"sent": 1}}
    assert "stand_in" not in talk.resources.registry.get("send_email").describe()
    assert talk.call("unmock_tool", tool="send_email")["mocks"] == []
    for args, message in (
        ({"tool": "select"}, "reaches nothing outside"),
        ({"tool": "send_email", "description": "x"}, "its own description"),
        ({"tool": "send_email", "arguments": {"type": "object"}}, "its own arguments"),
    ):
        with pytest.raises(InvalidArguments, match=message):
            talk.call("mock_tool", **args)
    with pytest.raises(InvalidArguments, match="not mocked"):
        talk.call("unmock_tool", tool="send_email")


def test_a_stand_in_is_a_tool_for_everyone(talk: Talk) -> None:
    library, registry = talk.resources.library, talk.resources.registry
    assert [problem.code for problem in library.check(SCRIPT)[1]] == ["unknown_tool"]
    told = talk.call("mock_tool", tool="email_service", description="Sends a coupon.")
    assert told["stand_in"] is True
    assert library.check(SCRIPT)[1] == []
    described = next(found for found in registry.describe() if found["name"] == "email_service")
    assert (described["effect"], described["stand_in"], described["description"]) == (
        "external",
        True,
        "Sends a coupon.",
    )
    assert "email_service" in registry.names()
    with pytest.raises(UnknownTool) as raised:
        registry.get("email_servise")
    assert raised.value.hint == "did you mean 'email_service'?"
    saved = library.save(SCRIPT)
    assert [
        code["effect"] for program in library.closure("greet") for code in program.code if code["op"] == "call"
    ] == ["external"]
    assert saved.number == 1


def test_a_stand_in_with_a_schema_takes_what_it_says(talk: Talk) -> None:
    schema = {"properties": {"to": {"type": "string"}}, "required": ["to"]}
    talk.call("mock_tool", tool="email_service", arguments=schema)
    found = talk.resources.library.check({**SCRIPT, "steps": [{**MAIL, "args": {"coupon": 1}}]})[1]
    assert [(problem.code, problem.pointer) for problem in found] == [
        ("unknown_argument", "/steps/0/args/coupon"), ("missing_argument", "/steps/0/args")
    ]  # fmt: skip
    for args in ({"to": 1}, {"to": "a", "coupon": 1}, {}):
        with pytest.raises(InvalidArguments):
            talk.resources.registry.get("email_service").checked(args)
    with pytest.raises(InvalidArguments, match="schema"):
        talk.call("mock_tool", tool="other_service", arguments={"type": 5})


def test_a_real_tool_takes_the_place_of_its_stand_in(talk: Talk) -> None:
    talk.call("mock_tool", tool="email_service")

    @tool(effect="external")
    def email_service(to: str) -> str:
        """The real one."""
        return to

    registry = Registry()
    registry.register(email_service)
    found = registry.with_more(StandIns(talk.resources.databases)).get("email_service")
    assert (found.description, found.mocked) == ("The real one.", False)


def test_a_stand_in_is_removed_when_nobody_calls_it(talk: Talk) -> None:
    talk.call("mock_tool", tool="email_service")
    talk.resources.library.save({**SCRIPT, "steps": [{"type": "block", "steps": [MAIL]}]})
    with pytest.raises(InUse, match="called by greet"):
        talk.call("unmock_tool", tool="email_service")
    for changed in ({"description": "another"}, {"arguments": {"type": "object"}}):
        with pytest.raises(InUse, match="stays as it is"):
            talk.call("mock_tool", tool="email_service", **changed)
    assert talk.call("mock_tool", tool="email_service", result={"sent": 1})["stand_in"] is False
    assert talk.session.mocks == {"email_service": {"sent": 1}}
    assert talk.resources.registry.get("email_service").seen("as written") == "as written"
    talk.call("mock_tool", tool="sms_service")
    assert talk.call("unmock_tool", tool="sms_service")["stand_in_removed"] is True
    assert "sms_service" not in talk.resources.registry.names()


def test_who_may_make_and_change_stand_ins(talk: Talk) -> None:
    talk.call("mock_tool", tool="email_service", result=1)
    talk.access = access_with("tools:*", key="k2")
    assert talk.call("mock_tool", tool="email_service") == {
        "mocked": "email_service",
        "stand_in": False,
        "mocks": ["email_service"],
    }
    for name, args in (("mock_tool", {"result": 2}), ("unmock_tool", {})):
        with pytest.raises(Forbidden, match="another key"):
            talk.call(name, tool="email_service", **args)
    talk.access = access_with("admin", key="k2")
    talk.call("mock_tool", tool="email_service", result=2)
    talk.access = access_with("tools:send_*")
    with pytest.raises(Forbidden, match="tools:sms_service"):
        talk.call("mock_tool", tool="sms_service")


@pytest.mark.parametrize("name", ["", "Email", "email-service", "a" * 81, *sorted(RESERVED)])
def test_what_no_stand_in_can_be_called(talk: Talk, name: str) -> None:
    with pytest.raises(InvalidArguments, match="no name of a tool"):
        talk.call("mock_tool", tool=name)


def make_stand_in(system: System, name: str, result: Any = None) -> None:
    row = StandInRow(name, "A stand-in.", None, result, "k1", "2026-01-05T00:00:00.000+00:00")
    system.resources.databases.ensure("system").transact(lambda transaction: keep_stand_in(transaction, row))


async def test_runs_call_stand_ins_that_were_made_while_the_worker_was_there(system: System) -> None:
    plain, giving = f"plain_{uuid.uuid4().hex[:8]}", f"giving_{uuid.uuid4().hex[:8]}"
    system.store("shop", "customers", ["id"], [{"id": number} for number in range(5)])
    make_stand_in(system, plain)
    make_stand_in(system, giving, {"sent": True})
    call = {"type": "command", "command": giving, "args": {"to": "a"}, "variable": "sent"}
    script: dict[str, Any] = {"name": "mails", "database": "shop", "steps": [
        {"type": "command", "name": "once", "command": plain, "args": {"x": 1}},
        {"type": "command", "name": "commit", "command": "manage_transaction", "args": {"action": "commit"}},
        {"type": "fetch", "name": "all", "resource": "customers", "variable": "people"},
        {"type": "loop", "name": "each", "list": "people", "iterator": "person", "batch_size": 2, "steps": [
            {"type": "command", "name": "mail", "command": plain, "args": {"to": "{{ person.id }}"}}]},
        call,
        {"type": "return", "value": "{{ sent }}"},
    ]}  # fmt: skip
    events = await system.run(script)
    assert (events[-1]["status"], events[-1].get("result")) == ("completed", {"sent": True}), events[-1]
    stores = [system.resources.databases.open(name).snapshot() for name in ("shop", "system")]
    rows = [row for view in stores if view.has_tree("rows/_outbox") for row in open_store(view, "_outbox").tree.scan()]
    assert len(rows) == 7 and all(b'"mocked"' in value for _, value in rows)


def test_no_reference_to_rows_stands_for_a_result(talk: Talk) -> None:
    for result in ({"$rows": {"result": "x"}}, [{"deep": {"$rows": {"database": "shop"}}}]):
        with pytest.raises(InvalidArguments, match="reference to rows"):
            talk.call("mock_tool", tool="send_email", result=result)
