"""Tools through the registry, over real databases; mail over a real SMTP connection."""

import asyncio
import socket
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from activities import Resources
from activities.execution import perform_call
from query import open_store
from script.errors import ScriptInvalid
from script.wire import StepCall, TransactionRef
from toolbox import (
    InvalidArguments,
    Registry,
    Services,
    SmtpSettings,
    ToolContext,
    ToolError,
    UnknownTool,
    builtin_registry,
    tool,
)
from toolbox.outbox import Outbox


def context(resources: Resources, **changes: Any) -> ToolContext:
    plain = ToolContext(
        databases=resources.databases, database="shop", view=None, idempotency_key="run:1/step", run_id="run", step="step",
        now=datetime(2026, 1, 5, tzinfo=UTC), dry_run=False, mocks=frozenset(), services=resources.services, scope=frozenset({"shop"}),
    )  # fmt: skip
    return replace(plain, **changes)


def call(resources: Resources, name: str, args: dict[str, Any], **changes: Any) -> Any:
    return resources.registry.get(name).call_sync(context(resources, **changes), args)


def test_a_tool_is_one_decorated_function() -> None:
    @tool(effect="pure")
    def add_up(numbers: list[int], start: int = 0) -> int:
        """The sum of some numbers."""
        return sum(numbers, start)

    registry = Registry()
    registry.register(add_up)
    described = registry.get("add_up").describe()
    assert described["description"] == "The sum of some numbers."
    assert described["arguments"]["required"] == ["numbers"]
    assert described["arguments"]["additionalProperties"] is False
    assert described["result"] == {"type": "integer"}
    with pytest.raises(ValueError, match="already"):
        registry.register(add_up)


@pytest.mark.parametrize(
    ("args", "pointer", "hint"),
    [
        ({"stor": "items", "key": 1}, "/stor", "did you mean 'store'?"),
        ({"store": "items"}, "/key", None),
        ({"store": 5, "key": 1}, "/store", None),
    ],
)
def test_arguments_are_checked_before_the_call(
    resources: Resources, args: dict[str, Any], pointer: str, hint: str | None
) -> None:
    with pytest.raises(InvalidArguments) as raised:
        call(resources, "get", args)
    assert (raised.value.pointer, raised.value.hint) in [(pointer, hint), ("/store", None)]


def test_an_unknown_tool_is_told_with_the_nearest(resources: Resources) -> None:
    with pytest.raises(UnknownTool, match="no tool 'gett'") as raised:
        resources.registry.get("gett")
    assert raised.value.hint == "did you mean 'get'?"


def test_every_builtin_tool_is_described() -> None:
    for described in builtin_registry().describe():
        assert described["description"], described["name"]
        assert described["effect"] in ("pure", "read", "write", "external", "session")


def test_data_tools_work_in_the_transaction(resources: Resources) -> None:
    database = resources.databases.open("shop")
    view = database.begin("t")
    assert call(resources, "get", {"store": "items", "key": 1}, view=view) == {"id": 1, "n": 10}
    assert call(resources, "add", {"store": "items", "record": {"id": 2}}, view=view) == {"added": 1}
    assert call(resources, "upsert", {"store": "items", "record": {"id": 2, "n": 0}}, view=view) == {
        "added": 0,
        "updated": 1,
    }
    assert call(resources, "update", {"store": "items", "key": 2, "values": {"n": 5}}, view=view) == {"id": 2, "n": 5}
    assert call(resources, "delete", {"store": "items", "key": 1}, view=view) == {"deleted": 1}
    assert call(resources, "select", {"store": "items"}, view=view) == [{"id": 2, "n": 5}]
    assert call(resources, "select", {"store": "items", "single": True, "filter": {"n": 9}}, view=view) is None
    call(resources, "create_store", {"name": "more", "primary_key": ["a", "b"]}, view=view)
    assert [info["name"] for info in call(resources, "list_stores", {}, view=view)] == ["items", "more"]
    assert call(resources, "describe_store", {"store": "items"}, view=view)["count"] == 1
    assert call(resources, "drop_store", {"store": "more"}, view=view) == {"dropped": "more", "records": 0}
    assert database.snapshot().tree("rows/items").count() == 1
    assert call(resources, "list_databases", {}) == ["shop"]
    view.rollback()


def test_the_systems_own_stores_are_closed_for_writing(resources: Resources) -> None:
    view = resources.databases.open("shop").begin("t")
    Outbox(view).put(key="k", tool="send_email", args={}, run_id="r", step="s", now="n", mocked=True)
    for name, args in (
        ("add", {"store": "_outbox", "record": {"key": "x"}}),
        ("delete", {"store": "_outbox", "key": "k"}),
        ("drop_store", {"store": "_outbox"}),
        ("create_store", {"name": "_mine", "primary_key": ["a"]}),
    ):
        with pytest.raises(ToolError) as raised:
            call(resources, name, args, view=view)
        assert raised.value.code == "reserved_store"
    assert len(call(resources, "select", {"store": "_outbox"}, view=view)) == 1
    view.rollback()


def test_without_a_database_a_data_tool_says_so(resources: Resources) -> None:
    with pytest.raises(ToolError) as raised:
        call(resources, "get", {"store": "items", "key": 1})
    assert raised.value.code == "no_database"


def test_coupons_cannot_be_guessed_and_do_not_change(resources: Resources) -> None:
    codes = {call(resources, "coupon_code", {}, idempotency_key=f"k{n}") for n in range(200)}
    assert len(codes) == 200
    assert call(resources, "coupon_code", {}, idempotency_key="k7") in codes
    assert all(len(code) == 14 and set(code) <= set("0123456789ABCDEFGHJKMNPQRSTVWXYZ-") for code in codes)
    other = replace(resources.services, secret=b"another".ljust(32))
    assert call(resources, "coupon_code", {}, idempotency_key="k7", services=other) not in codes


def test_a_mocked_call_is_one_row_however_often_it_is_tried(resources: Resources) -> None:
    step = StepCall(
        "send_email",
        {"to": "a@example.com", "subject": "s", "body": "b"},
        "mail",
        "run:1/mail",
        "run",
        "2026-01-05T00:00:00+00:00",
        mocks=["send_email"],
    )
    first = perform_call(resources, step)
    assert perform_call(resources, step) == first == {"status": "mocked", "key": "run:1/mail"}
    rows = list(Outbox(resources.databases.open("system").snapshot())._view.tree("rows/_outbox").scan())
    assert len(rows) == 1


def test_a_repeated_writing_step_gives_its_recorded_result(resources: Resources) -> None:
    reference = TransactionRef("run:1/t1.1", "shop", begin=True)
    step = StepCall(
        "add",
        {"store": "items", "record": {"id": 5}},
        "add",
        "run:1/add",
        "run",
        "2026-01-05T00:00:00+00:00",
        transaction=reference,
    )
    assert perform_call(resources, step) == {"added": 1}
    assert perform_call(resources, step) == {"added": 1}
    transaction = resources.databases.open("shop").resume("run:1/t1.1")
    assert open_store(transaction, "items").count() == 2
    transaction.rollback()


class Flaky:
    """A mail server that drops the connection of the first mail after having taken it, as a crash would."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.answers = ["drop"]

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        content = envelope.content
        assert isinstance(content, bytes)
        self.ids.append(message_from_bytes(content)["Message-ID"])
        answer = self.answers.pop(0) if self.answers else "250 OK"
        if answer == "drop":
            assert server.transport is not None
            server.transport.abort()
            await asyncio.sleep(0)
            return "421 gone"
        return answer


@pytest.fixture
def mail_server() -> Iterator[tuple[Flaky, int]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    handler = Flaky()
    controller = Controller(handler, hostname="127.0.0.1", port=port)
    controller.start()
    yield handler, port
    controller.stop()


def with_smtp(resources: Resources, port: int, **more: Any) -> Services:
    return replace(resources.services, smtp=SmtpSettings("127.0.0.1", port, "shop@example.com", **more))


def test_mail_keeps_its_id_over_attempts(resources: Resources, mail_server: tuple[Flaky, int]) -> None:
    handler, port = mail_server
    services = with_smtp(resources, port)
    mail = {"to": ["a@example.com", "b@example.com"], "subject": "Grüße", "body": "Hello\n"}
    with pytest.raises(ToolError) as raised:
        call(resources, "send_email", mail, services=services)
    assert raised.value.retryable
    sent = call(resources, "send_email", mail, services=services)
    assert sent["status"] == "sent"
    assert handler.ids == [sent["message_id"]] * 2
    other = call(resources, "send_email", mail, services=services, idempotency_key="another")
    assert other["message_id"] != sent["message_id"]
    handler.answers = ["550 no such user"]
    with pytest.raises(ToolError) as raised:
        call(resources, "send_email", mail, services=services)
    assert (raised.value.code, raised.value.retryable) == ("mail_refused", False)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"subject": "hi\r\nBcc: all@example.com"}, "invalid_arguments"),
        ({"to": "a@example.com\nBcc: b@example.com"}, "invalid_arguments"),
        ({"to": "a@example.com, b@example.com"}, "invalid_arguments"),
        ({"to": []}, "invalid_arguments"),
        ({"to": "a@evil.example"}, "recipient_refused"),
        ({"to": "a@notexample.com"}, "recipient_refused"),
    ],
)
def test_mail_that_is_not_sent(resources: Resources, changes: dict[str, Any], code: str) -> None:
    services = with_smtp(resources, 1, recipients=("@example.com",))
    with pytest.raises(ToolError) as raised:
        call(
            resources, "send_email", {"to": "a@example.com", "subject": "s", "body": "b", **changes}, services=services
        )
    assert raised.value.code == code


def test_mail_without_a_server_says_how_to_mock_it(resources: Resources) -> None:
    with pytest.raises(ToolError) as raised:
        call(resources, "send_email", {"to": "a@example.com", "subject": "s", "body": "b"})
    assert raised.value.code == "tool_not_configured"
    assert "--mock send_email" in (raised.value.hint or "")


# --- the library ---

CHILD = {"name": "child", "parameters": ["x"], "steps": [{"type": "return", "value": "{{ x }}"}]}
PARENT = {"name": "parent", "steps": [{"type": "script", "script_name": "child", "script_args": {"x": 1}}]}


def test_versions_are_immutable_and_pinned(resources: Resources) -> None:
    library = resources.library
    first = library.save(CHILD, author="ann")
    assert library.save(CHILD).hash == first.hash
    parent = library.save(PARENT)
    assert parent.script["steps"][0]["version"] == first.hash
    second = library.save({**CHILD, "description": "changed"})
    assert (second.number, library.get("child").hash) == (2, second.hash)
    assert [program.hash for program in library.closure("parent")] == [parent.hash, first.hash]
    again = library.save(PARENT)
    assert again.hash != parent.hash
    assert [program.hash for program in library.closure("parent")] == [again.hash, second.hash]
    assert [program.hash for program in library.closure("parent", parent.hash)] == [parent.hash, first.hash]
    assert library.get("child", 1) == library.get("child", first.hash[:10]) == first
    assert [version.number for version in library.versions("child")] == [2, 1]
    assert library.save(CHILD).number == 1
    assert library.get("child").hash == first.hash
    assert [row["name"] for row in library.scripts()] == ["child", "parent"]


def test_latest_is_resolved_when_the_run_starts(resources: Resources) -> None:
    library = resources.library
    library.save(CHILD)
    library.save(
        {
            "name": "parent",
            "steps": [{"type": "script", "script_name": "child", "script_args": {"x": 1}, "version": "latest"}],
        }
    )
    second = library.save({**CHILD, "description": "changed"})
    assert library.closure("parent")[1].hash == second.hash


def test_what_is_wrong_is_not_saved(resources: Resources) -> None:
    with pytest.raises(ScriptInvalid) as raised:
        resources.library.save(
            {
                "name": "t",
                "database": "shp",
                "steps": [{"type": "command", "command": "gett"}, {"type": "say", "message": "{{ x }}"}],
            }
        )
    assert [problem.code for problem in raised.value.problems] == [
        "unknown_database",
        "unknown_tool",
        "undefined_variable",
    ]
    assert resources.library.scripts() == []
    with pytest.raises(ToolError) as missing:
        resources.library.get("t")
    assert missing.value.code == "script_not_found"


def test_a_script_may_call_itself(resources: Resources) -> None:
    saved = resources.library.save(
        {"name": "loop", "parameters": ["n"], "steps": [
            {"type": "if", "condition": "n > 3", "then": [{"type": "return", "value": "{{ n }}"}]},
            {"type": "script", "script_name": "loop", "script_args": {"n": "{{ n + 1 }}"}}]}
    )  # fmt: skip
    programs = resources.library.closure("loop")
    assert [program.hash for program in programs] == [saved.hash]
    assert programs[0].calls == {"loop": saved.hash}
