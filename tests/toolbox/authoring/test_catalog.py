"""The catalog: what there is, as far as it may be seen; types and no values; bounded, and it says what is missing."""

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from activities.authoring.catalog import tools_of
from query import create_index, create_store
from tests.toolbox.authoring.conftest import Talk, access_with
from tests.toolbox.authoring.test_drafting import SAY
from toolbox import Registry, ToolContext, builtin_registry, tool
from toolbox.authoring import catalog as module
from toolbox.authoring.catalog import BUDGET, catalog, types
from toolbox.authoring.commands import Calls, parse
from toolbox.library import ScriptLibrary
from toolbox.pages import tools_page

NOW = datetime(2026, 1, 5, 9, tzinfo=UTC)
SCHEMA = {
    "type": "object", "description": "canary", "required": ["id"],
    "properties": {"id": {"type": "integer", "minimum": 4711}, "kind": {"enum": ["canary"]}, "at": {"type": "string", "format": "date", "default": "canary"},
                   "tags": {"type": "array", "items": {"type": "string", "const": "canary"}}, "any": {"anyOf": [{"type": "null"}, {"type": "string"}]}},
}  # fmt: skip


def told(talk: Talk, scopes: str = "admin") -> dict[str, Any]:
    services = talk.resources.services
    return catalog(
        services, talk.resources.databases, talk.session, access_with(scopes), now=NOW, time_zone="Europe/Berlin"
    )


def test_what_there_is(talk: Talk) -> None:
    def fill(transaction: Any) -> None:
        create_store(transaction, "orders", primary_key=["customer", "id"], description="What was ordered.", schema=None,
                     relations=[{"fields": ["customer"], "store": "customers", "to": ["id"]}]).add(
            {"customer": "canary", "id": 1, "lines": [{"price": 47.11}]})  # fmt: skip
        create_index(transaction, "orders", ["id"], unique=True)
        create_store(transaction, "customers", primary_key=["id"], schema=SCHEMA)
        create_store(transaction, "_mine", primary_key=["id"])

    talk.resources.databases.create("crm").transact(fill)
    talk.resources.library.save(
        {"name": "greet", "description": "Greets.", "parameters": ["who"], "database": "crm", "steps": [SAY]}
    )
    talk.call("create_script", name="stock", steps=[SAY])
    talk.call("mock_tool", tool="email_service")
    talk.call("start_recording", name="done")
    found = told(talk)
    assert [database["name"] for database in found["databases"]] == ["shop", "crm"]
    customers, orders = found["databases"][1]["stores"]
    assert orders == {
        "name": "orders", "primary_key": ["customer", "id"], "rows": 1, "description": "What was ordered.",
        "indexes": [{"fields": ["id"], "unique": True}],
        "relations": [{"fields": ["customer"], "store": "customers", "to": ["id"]}],
        "schema": {"type": "object", "required": ["customer", "id", "lines"], "properties": {
            "customer": {"type": ["string"]}, "id": {"type": ["integer"]},
            "lines": {"type": ["array"], "items": {"type": ["object"], "required": ["price"], "properties": {"price": {"type": ["number"]}}}}}},
        "schema_is": "inferred",
    }  # fmt: skip
    assert customers["schema"] == {
        "type": "object", "required": ["id"],
        "properties": {"id": {"type": "integer"}, "kind": {}, "at": {"type": "string", "format": "date"},
                       "tags": {"type": "array", "items": {"type": "string"}}, "any": {"anyOf": [{"type": "null"}, {"type": "string"}]}},
    }  # fmt: skip
    assert (
        b"canary" not in orjson.dumps(found)
        and b"4711" not in orjson.dumps(found)
        and b"47.11" not in orjson.dumps(found)
    )
    assert found["scripts"] == [
        {"name": "greet", "description": "Greets.", "parameters": [{"name": "who"}], "database": "crm"}
    ]
    assert (found["draft"]["script"]["name"], found["draft"]["problems"]) == ("stock", [])
    assert found["mocks"] == ["email_service"] and found["tools"]["email_service"].startswith("a stand-in")
    assert {"send_email", "schedule_script", "ask"} <= found["tools"].keys()
    assert (found["database"], found["now"], found["time_zone"]) == (
        "shop",
        "2026-01-05T09:00:00+00:00",
        "Europe/Berlin",
    )
    assert found["recording"] == {"name": "done", "mode": "compiled", "paused": False, "steps": 0}


def test_only_what_may_be_seen(talk: Talk) -> None:
    talk.resources.databases.create("secret_plans")
    for name in ("greet", "hidden_one"):
        talk.resources.library.save({"name": name, "steps": [SAY]})
    talk.call("create_script", name="stock", database="shop", steps=[SAY])
    found = told(talk, "data:s*p:read,scripts:read:greet,scripts:write:stock")
    assert [database["name"] for database in found["databases"]] == ["shop"]
    assert [script["name"] for script in found["scripts"]] == ["greet"]
    assert found["draft"]["name"] == "stock"
    blind = told(talk, "scripts:write:stock")
    assert (blind["databases"], blind["database"], blind["draft"]) == ([], None, None)
    assert told(talk, "data:shop:read")["draft"] is None


def test_it_is_bounded_and_says_what_is_missing(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(transaction: Any) -> None:
        for number in range(60):
            create_store(transaction, f"store_{number:02d}", primary_key=["id"]).add(
                {"id": 1} | {f"field_{n}": n for n in range(20)}
            )

    talk.resources.databases.create("wide").transact(fill)
    for number in range(5):
        talk.resources.library.save({"name": f"script_{number}", "description": "x" * 1000, "steps": [SAY]})
    monkeypatch.setattr(module, "BUDGET", 8000)
    found = told(talk)
    assert len(orjson.dumps([found["databases"], found["scripts"]])) < 8500 < BUDGET
    wide = found["databases"][1]
    assert "schema" in wide["stores"][0] and wide["stores"][-1]["left_out"] == "describe_store tells more"
    assert wide["left_out"] == f"{60 - len(wide['stores'])} more stores: list_stores names them"
    assert found["scripts_left_out"] == f"{5 - len(found['scripts'])} more: list_scripts names them"


def test_many_fields_and_long_names_are_counted() -> None:
    properties = {f"f{number}": {"type": "integer"} for number in range(70)}
    made = types({"type": "object", "properties": {"x" * 81: {}, **properties}, "required": ["f0", "f69"]})
    assert (len(made["properties"]), made["required"], made["fields_left_out"]) == (60, ["f0"], 11)


def test_one_decorated_function_is_a_tool_everywhere(talk: Talk) -> None:
    @tool(effect="session")
    def count_drafts(ctx: ToolContext, least: int = 0) -> int:
        """How many drafts there are."""
        assert ctx.session is not None
        return least + len(ctx.session.checking.page(lambda name: True, limit=100)[0])

    registry: Registry = builtin_registry()
    registry.register(count_drafts)
    described = next(found for found in registry.describe() if found["name"] == "count_drafts")
    assert (described["effect"], described["arguments"]["properties"]) == (
        "session",
        {"least": {"default": 0, "type": "integer"}},
    )
    script = {"name": "s", "steps": [{"type": "command", "command": "count_drafts"}]}
    [problem] = ScriptLibrary(talk.resources.databases, registry).check(script)[1]
    assert (problem.code, problem.pointer) == ("session_tool", "/steps/0/command")
    assert problem.hint is not None and "conversation" in problem.hint
    talk.resources.registry.register(count_drafts)
    talk.call("create_script", name="stock")
    assert talk.call("count_drafts", least=1) == 2
    offered = {found.name: found for found in tools_of(talk.resources, access_with("scripts:write"))}
    assert (offered["count_drafts"].description, offered["count_drafts"].effect) == (
        "How many drafts there are.",
        "session",
    )
    typed_in = parse("/count_drafts least=2", talk.session, talk.resources.registry)
    assert isinstance(typed_in, Calls) and typed_in.calls == (("count_drafts", {"least": 2}),)
    assert "## count_drafts\n\nHow many drafts there are.\n\nEffect: session." in tools_page(registry)


def test_no_tool_of_a_session_is_called_by_a_script(talk: Talk) -> None:
    session = [found["name"] for found in talk.resources.registry.describe() if found["effect"] == "session"]
    assert len(session) > 20
    for name in session:
        [problem, *_] = talk.resources.library.check(
            {"name": "s", "steps": [{"type": "command", "command": name, "args": {}}]}
        )[1]
        assert problem.code == "session_tool", name


def test_what_is_said_of_a_stand_in_is_data_and_no_description(talk: Talk) -> None:
    schema = {"properties": {"to": {"type": "string", "description": "canary"}}, "required": ["to"]}
    talk.call("mock_tool", tool="email_service", description="canary " * 100, arguments=schema)
    offered = {found.name: found for found in tools_of(talk.resources, access_with("tools:email_service"))}
    assert "canary" not in str(offered["email_service"])
    assert offered["email_service"].arguments["properties"] == {"to": {"type": "string"}}
    assert told(talk, "tools:email_service")["tools"]["email_service"].endswith("canary " * 28 + "cana")
    assert "email_service" not in told(talk, "tools:send_email")["tools"]


def test_the_model_gets_the_tools_that_the_rights_allow(talk: Talk) -> None:
    def offered(scopes: str) -> set[str]:
        return {found.name for found in tools_of(talk.resources, access_with(scopes))}

    acting = {"send_email", "schedule_script", "pause_schedule", "list_schedules", "list_scripts", "save_script"}
    assert acting & offered("sessions") == set()
    assert acting & offered("schedules:write,tools:send_*") == {"send_email", "schedule_script", "pause_schedule"}
    assert acting <= offered("admin")
    assert {"select", "update", "ask_person"} <= offered("sessions")


def test_a_session_that_only_tries_things_out_says_so(talk: Talk) -> None:
    assert told(talk)["stub"] is False
    talk.change(lambda session: setattr(session, "stub", True))
    assert told(talk)["stub"] is True
