"""notify: signed webhooks to a real server on a real socket, and mails."""

import base64
import hashlib
import hmac
import json
import socket
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from activities import Resources
from activities.failures import application_error
from tests.hooks import SECRET, Hooks, local
from tests.toolbox.test_tools import call
from toolbox import HttpPolicy, Services, ToolError, WebhookSettings
from toolbox.webhooks import secret_key


def with_webhooks(resources: Resources, *, allowed: tuple[str, ...] = ("localhost",), **more: Any) -> Services:
    settings = {"secrets": {"default": SECRET}, **more}
    return replace(resources.services, http=HttpPolicy.allowing(allowed), webhooks=WebhookSettings(**settings))


def test_a_webhook_is_signed_and_keeps_its_id_over_attempts(resources: Resources, hooks: Hooks) -> None:
    services = with_webhooks(resources)
    hooks.answers = [(503, {}), (204, {})]
    asked = {"url": local(hooks), "message": "two\nlines", "data": {"n": 1}}
    with pytest.raises(ToolError) as raised:
        call(resources, "notify", asked, services=services)
    assert (raised.value.code, raised.value.retryable) == ("webhook_delayed", True)
    before = int(datetime.now(UTC).timestamp())
    sent = call(resources, "notify", asked, services=services)
    assert (sent["status"], sent["channel"]) == ("sent", "webhook")
    (path, first, _), (_, headers, body) = hooks.got
    assert path == "/hook?a=1"
    assert headers["host"] == f"localhost:{hooks.server_port}"
    assert first["webhook-id"] == headers["webhook-id"] == sent["id"]
    assert before <= int(headers["webhook-timestamp"]) <= before + 60
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    digest = hmac.new(base64.b64decode(SECRET[6:]), signed, hashlib.sha256).digest()
    assert headers["webhook-signature"] == "v1," + base64.b64encode(digest).decode()
    told = json.loads(body)
    assert (told["type"], told["data"]["subject"], told["data"]["message"], told["data"]["data"]) == (
        "notify", "two", "two\nlines", {"n": 1},
    )  # fmt: skip
    other = call(resources, "notify", asked, services=services, idempotency_key="another")
    assert other["id"] != sent["id"]


def test_the_signature_is_that_of_the_standard() -> None:
    """The example of the specification's own libraries."""
    from toolbox.webhooks import signature

    key = secret_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    found = signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(
    ("status", "headers", "code"),
    [
        (302, {"location": "http://127.0.0.1:1/"}, "webhook_refused"),
        (400, {}, "webhook_refused"),
        (410, {}, "webhook_refused"),
        (408, {}, "webhook_delayed"),
        (429, {"retry-after": "7"}, "webhook_delayed"),
        (500, {}, "webhook_delayed"),
    ],
)
def test_answers(resources: Resources, hooks: Hooks, status: int, headers: dict[str, str], code: str) -> None:
    hooks.answers = [(status, headers)]
    with pytest.raises(ToolError) as raised:
        call(resources, "notify", {"url": local(hooks), "message": "m"}, services=with_webhooks(resources))
    error = raised.value
    assert (error.code, error.retryable) == (code, code == "webhook_delayed")
    assert len(hooks.got) == 1
    delay = application_error(error).next_retry_delay
    assert delay == (timedelta(seconds=7) if headers.get("retry-after") else None)


def test_a_pause_that_a_receiver_asks_for_as_a_date_has_a_limit(resources: Resources, hooks: Hooks) -> None:
    hooks.answers = [
        (503, {"retry-after": format_datetime(datetime.now(UTC) + timedelta(days=9))}),
        (503, {"retry-after": "x"}),
    ]
    for expected in (3600.0, None):
        with pytest.raises(ToolError) as raised:
            call(resources, "notify", {"url": local(hooks), "message": "m"}, services=with_webhooks(resources))
        assert raised.value.details["retry_after"] == expected


def test_nobody_there_may_pass(resources: Resources, hooks: Hooks) -> None:
    url = local(hooks)
    hooks.shutdown()
    hooks.server_close()
    with pytest.raises(ToolError) as raised:
        call(resources, "notify", {"url": url, "message": "m"}, services=with_webhooks(resources))
    assert (raised.value.code, raised.value.retryable) == ("webhook_delayed", True)


@pytest.mark.parametrize(
    ("changes", "settings", "code", "pointer"),
    [
        ({}, {"allowed": ()}, "webhook_refused", "/url"),
        ({}, {"allowed": ("localhost:1", "host.localhost")}, "webhook_refused", "/url"),
        ({}, {"hosts": ("example.com", "*.example.org")}, "webhook_refused", "/url"),
        ({"url": "http://[::ffff:169.254.169.254]/"}, {}, "webhook_refused", "/url"),
        ({"url": "https://0x7f.1/"}, {"allowed": ()}, "webhook_refused", "/url"),
        ({"url": "http://8.8.8.8/"}, {}, "webhook_refused", "/url"),
        ({"url": "ftp://localhost/"}, {}, "invalid_arguments", "/url"),
        ({"url": "http://me:secret@localhost/"}, {}, "invalid_arguments", "/url"),
        ({"url": "nonsense"}, {}, "invalid_arguments", "/url"),
        ({"secret": "other"}, {}, "tool_not_configured", None),
        ({}, {"secrets": {"default": "whsec_c2hvcnQ="}}, "tool_not_configured", None),
        ({"url": None}, {}, "invalid_arguments", "/url"),
        ({"to": "a@example.com"}, {}, "invalid_arguments", "/url"),
        ({"channel": "email"}, {}, "invalid_arguments", "/channel"),
        ({"channel": "pigeon"}, {}, "invalid_arguments", "/channel"),
    ],
)
def test_what_is_not_sent(
    resources: Resources,
    hooks: Hooks,
    changes: dict[str, Any],
    settings: dict[str, Any],
    code: str,
    pointer: str | None,
) -> None:
    with pytest.raises(ToolError) as raised:
        args = {"url": local(hooks), "message": "m", **changes}
        call(resources, "notify", args, services=with_webhooks(resources, **settings))
    assert (raised.value.code, raised.value.pointer, raised.value.retryable) == (code, pointer, False)
    assert hooks.got == []


def test_the_allowed_hosts(resources: Resources, hooks: Hooks) -> None:
    services = with_webhooks(resources, hosts=("localhost",))
    assert call(resources, "notify", {"url": local(hooks), "message": "m"}, services=services)["status"] == "sent"


def test_a_mail_needs_a_mail_server(resources: Resources) -> None:
    with pytest.raises(ToolError) as raised:
        call(resources, "notify", {"to": "a@example.com", "message": "m"})
    assert raised.value.code == "tool_not_configured"


def test_a_name_is_resolved_once(resources: Resources, hooks: Hooks, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that gives another address the second time gains nothing: the address that was checked is connected to."""
    answers = ["127.0.0.1", "127.9.9.9"]
    services = with_webhooks(resources, allowed=("rebind.example",))
    real = socket.getaddrinfo

    def resolve(host: Any, port: Any, *args: Any, **more: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        return real(answers.pop(0) if name == "rebind.example" else host, port, *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    url = f"http://rebind.example:{hooks.server_port}/"
    assert call(resources, "notify", {"url": url, "message": "m"}, services=services)["status"] == "sent"
    assert answers == ["127.9.9.9"]
    assert hooks.got[0][1]["host"] == f"rebind.example:{hooks.server_port}"
