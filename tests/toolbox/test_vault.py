"""Secrets: encrypted at rest, put in only where a step names them itself, and taken out of whatever comes back."""

import base64
import json
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from activities import Resources
from activities.execution import perform_call
from activities.failures import application_error
from query import open_store, select
from script.checker.checker import check_script
from script.environment import StaticEnvironment
from script.source.loading import load_script
from script.wire import StepCall
from tests.hooks import SECRET, Hooks, local
from tests.toolbox.site import Site
from toolbox import HttpPolicy, SmtpSettings, ToolError, builtin_registry
from toolbox.vault import Keyring, Redaction, Unreadable, Vault, installation_keyring
from worker import create_resources

CANARY = 'c4nary "ü/+& 7f3e91'
KEYS = {name: name.encode() * 16 for name in ("k1", "k2")}


def text_of(*names: str) -> str:
    return ",".join(f"{name}={base64.b64encode(KEYS[name]).decode()}" for name in names)


@contextmanager
def refused(code: str) -> Iterator[pytest.ExceptionInfo[ToolError]]:
    with pytest.raises(ToolError) as raised:
        yield raised
    assert raised.value.code == code


@pytest.fixture
def vault(resources: Resources) -> Vault:
    assert resources.services.vault is not None
    return resources.services.vault


def step(tool: str, args: dict[str, Any], *secrets: str, **more: Any) -> StepCall:
    return StepCall(tool, args, "s", "run:1/s", "run", "2026-01-05T00:00:00+00:00", secrets=list(secrets), **more)


def reaching(resources: Resources, port: int) -> Resources:
    policy = HttpPolicy(frozenset({f"127.0.0.1:{port}", f"localhost:{port}"}))
    return replace(resources, services=replace(resources.services, http=policy))


# --- the vault ---


def test_a_secret_over_its_life(vault: Vault, resources: Resources, tmp_path: Path) -> None:
    assert vault.all() == []
    assert vault.put("crm", CANARY, hosts=["api.example.com"], by="k")
    told = vault.get("crm")
    assert (told["name"], told["hosts"], told["updated_by"]) == ("crm", ["api.example.com"], "k")
    assert told.keys() == {"name", "key", "hosts", "created_at", "updated_at", "updated_by"}
    assert vault.reveal("crm") == (CANARY, ("api.example.com",))
    assert not vault.put("crm", CANARY + "2")
    assert vault.all()[0]["created_at"] == told["created_at"]
    assert vault.reveal("crm") == (CANARY + "2", ())
    path = tmp_path / "secrets-key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Vault(resources.databases, installation_keyring(tmp_path, None)).reveal("crm")[0] == CANARY + "2"
    for file in (tmp_path / "databases").glob("system.db*"):
        assert not Redaction([CANARY]).has(file.read_bytes().decode("latin-1"))
    vault.remove("crm")
    for again in (vault.remove, vault.get, vault.reveal):
        with refused("secret_not_found"):
            again("crm")
    with refused("secret_not_found"):
        vault.reveal("../x")


@pytest.mark.parametrize(
    ("name", "value", "pointer"),
    [
        ("Crm", CANARY, "/name"), ("", CANARY, "/name"), ("a" * 64, CANARY, "/name"), ("a-b", CANARY, "/name"),
        ("crm", "c4nary!", "/value"), ("crm", "x" * 16385, "/value"), ("crm", "ü" * 8193, "/value"), ("crm", "\ud800" * 9, "/value"),
    ],
)  # fmt: skip
def test_what_is_no_secret_is_refused_without_repeating_it(vault: Vault, name: str, value: str, pointer: str) -> None:
    with refused("invalid_arguments") as raised:
        vault.put(name, value)
    assert raised.value.pointer == pointer
    assert value not in str(raised.value.to_dict())


def test_keys_are_changed_one_behind_the_other(resources: Resources) -> None:
    def vault_of(*names: str) -> Vault:
        return Vault(resources.databases, Keyring.parse(text_of(*names), "X"))

    vault_of("k1").put("a", CANARY)
    both = vault_of("k2", "k1")
    both.put("b", CANARY)
    assert [both.reveal(name)[0] for name in "ab"] == [CANARY, CANARY]
    with refused("secret_unreadable") as raised:
        vault_of("k1").reveal("b")
    assert "'k2', which is not there (there are: k1)" in raised.value.message
    assert (both.rotate(), both.rotate()) == (1, 0)
    assert [vault_of("k2").reveal(name)[0] for name in "ab"] == [CANARY, CANARY]
    wrong = Vault(resources.databases, Keyring({"k2": b"x" * 32}))
    with refused("secret_unreadable"):
        wrong.reveal("a")
    assert not wrong.redaction()


def test_a_value_is_bound_to_its_name_and_hosts(vault: Vault, resources: Resources) -> None:
    vault.put("one", CANARY, hosts=["a.example"])
    vault.put("two", CANARY + "2")
    system = resources.databases.open("system")
    row = open_store(system.snapshot(), "_secrets").get("one")
    for change in ({"name": "two"}, {"hosts": []}, {"value": base64.b64encode(b"x" * 40).decode()}, {"value": ""}):
        system.transact(lambda view, change=change: open_store(view, "_secrets").upsert({**row, **change}))  # type: ignore[misc]
        with refused("secret_unreadable"):
            vault.reveal(change.get("name", "one"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["", ",", "k1", "k1=", "=AAAA", "k1=AAAA", f"{text_of('k1')},{text_of('k1')}", "k 1=" + text_of("k1")[3:]]
)
def test_what_is_no_key(text: str) -> None:
    with pytest.raises(ValueError, match=r"^NAME ") as raised:
        Keyring.parse(text, "NAME")
    assert text_of("k1")[3:] not in str(raised.value)


def test_what_was_encrypted_for_one_thing_is_nothing_for_another() -> None:
    ring = Keyring.parse(text_of("k1", "k2"), "X")
    number, data = ring.encrypt(b"plain", b"one")
    assert (number, ring.decrypt(number, data, b"one")) == ("k1", b"plain")
    for key, changed, about in (
        ("k1", data, b"two"),
        ("k2", data, b"one"),
        ("k3", data, b"one"),
        ("k1", data[:5], b"one"),
        ("k1", b"", b"one"),
    ):
        with pytest.raises(Unreadable):
            ring.decrypt(key, changed, about)
    for bit in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Unreadable):
            ring.decrypt("k1", bytes(flipped), b"one")


# --- what scripts may say ---


def problems(args: dict[str, Any], tool: str = "http_request") -> set[tuple[str, str, str]]:
    text = json.dumps(
        {"name": "x", "parameters": ["p"], "steps": [{"type": "command", "name": "c", "command": tool, "args": args}]}
    )
    found = check_script(load_script(text).script, StaticEnvironment(known_tools=builtin_registry().signatures()))
    return {(problem.code, problem.pointer.rpartition("/")[2], problem.severity) for problem in found}


@pytest.mark.parametrize(
    "text",
    [
        "secret://",
        "secret://Crm",
        "secret://{{ p }}",
        "x secret://crmX",
        "{{ 'secret://' + p }}",
        "secret://a secret:// b",
    ],
)
def test_a_secret_is_named_in_the_text_of_the_step(text: str) -> None:
    assert problems({"url": "https://x.example", "headers": {"A": text}}) == {("invalid_secret", "headers", "error")}


def test_where_a_secret_may_be_named() -> None:
    fine = {
        "url": "https://x.example",
        "headers": {"A": "Bearer secret://crm"},
        "json": {"deep": ["{{ p == 1 ? 'secret://a' : 'secret://b_2' }}."]},
    }
    assert problems(fine) == set()
    assert problems({"url": "https://x.example/?key=secret://crm"}) == {("no_secret", "url", "warning")}
    mail = {"to": "a@example.com", "subject": "s", "body": "see secret://crm"}
    assert problems(mail, "send_email") == {("no_secret", "body", "warning")}
    assert problems({"url": "https://x.example", "message": "m", "secret": "secret://hook"}, "notify") == set()


# --- what a step gets ---


def test_a_request_gets_its_secrets_and_nobody_else_does(vault: Vault, resources: Resources, site: Site) -> None:
    token = "t0ken-8d1f-ü".replace("ü", "u")
    vault.put("crm", token)
    vault.put("login", CANARY)
    args = {
        "url": f"{site.url}/echo",
        "method": "POST",
        "headers": {"X-Token": "Bearer secret://crm."},
        "json": {"p": ["secret://login"]},
    }
    found = perform_call(reaching(resources, site.port), step("http_request", args, "crm", "login"))
    _, _, headers, body = site.seen[-1]
    assert (headers["x-token"], json.loads(body)) == (f"Bearer {token}.", {"p": [CANARY]})
    assert found["headers"]["x-seen"] == "Bearer [redacted]."
    assert found["json"]["headers"]["x-token"] == "Bearer [redacted]."
    assert not Redaction([token, CANARY]).has(json.dumps(found, ensure_ascii=False))
    plain = {"url": f"{site.url}/echo?t={token}", "headers": {"X-Token": token}}
    later = perform_call(reaching(resources, site.port), step("http_request", plain))
    assert token not in json.dumps(later), "also where the step itself uses none"
    with_text = {**args, "json": None, "body": "secret://login"}
    perform_call(reaching(resources, site.port), step("http_request", with_text, "crm", "login"))
    assert site.seen[-1][3].decode() == CANARY


def test_what_a_step_does_not_name_itself_is_not_put_in(vault: Vault, resources: Resources, site: Site) -> None:
    """A text of a row that looks like a secret's name, in a header: nothing is sent."""
    vault.put("crm", CANARY)
    for text, secrets in (
        ("secret://crm", ()),
        ("secret://crm", ("other",)),
        ("secret://Crm", ("crm",)),
        ("secret://", ("crm",)),
    ):
        with refused("secret_refused") as raised:
            perform_call(
                reaching(resources, site.port),
                step("http_request", {"url": f"{site.url}/echo", "headers": {"A": text}}, *secrets),
            )
        assert raised.value.pointer == "/headers/A"
    with refused("secret_not_found"):
        perform_call(
            reaching(resources, site.port),
            step("http_request", {"url": f"{site.url}/echo", "body": "secret://no_such"}, "no_such"),
        )
    assert site.seen == []


def test_secrets_go_only_where_they_may(vault: Vault, resources: Resources, site: Site) -> None:
    vault.put("crm", "value-of-crm", hosts=["localhost", "*.example.com"])
    args = {"headers": {"A": "secret://crm"}}
    with refused("secret_refused") as raised:
        perform_call(reaching(resources, site.port), step("http_request", {**args, "url": f"{site.url}/echo"}, "crm"))
    assert "not for 127.0.0.1" in raised.value.message
    perform_call(
        reaching(resources, site.port),
        step("http_request", {**args, "url": f"http://LOCALHOST:{site.port}/echo"}, "crm"),
    )
    with refused("invalid_arguments") as raised:
        perform_call(
            reaching(resources, site.port),
            step(
                "http_request", {**args, "url": f"http://localhost:{site.port}/moved", "follow_redirects": True}, "crm"
            ),
        )
    assert raised.value.pointer == "/follow_redirects"
    public = replace(resources.services, http=HttpPolicy(resolve=lambda host, port: ["192.0.2.1"]))
    vault.put("other", "value-of-other")
    with refused("address_refused") as raised:
        perform_call(
            replace(resources, services=public),
            step("http_request", {"url": "http://x.example", "body": "secret://other"}, "other"),
        )
    assert "without TLS" in raised.value.message
    assert len(site.seen) == 1


def test_no_error_tells_a_secret(vault: Vault, resources: Resources, site: Site) -> None:
    """Nor what is behind it: the history of a run gets the whole chain."""
    vault.put("crm", "value\nof-the-crm")
    args = {"url": f"{site.url}/echo", "headers": {"A": "secret://crm"}}
    with refused("invalid_arguments") as raised:
        perform_call(reaching(resources, site.port), step("http_request", args, "crm"))
    assert "of-the-crm" not in str(raised.value.to_dict())

    def fails(kind: Any) -> Any:
        try:
            raise OSError("cannot connect with value\nof-the-crm")
        except OSError as error:
            raise kind(
                "told: value\nof-the-crm", hint="or dmFsdWUKb2YtdGhlLWNybQ==", more=["value%0Aof-the-crm"]
            ) from error

    class Tellable(ToolError):
        code = "tellable"
        retryable = True

    tool = resources.registry.get("http_request")
    for kind in (Tellable, lambda *args, **_: ValueError(*args)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tool, "_function", lambda *_, kind=kind, **__: fails(kind))
            with pytest.raises(Exception) as caught:
                perform_call(resources, step("http_request", args, "crm"))
        error = caught.value
        assert error.__cause__ is None and error.__context__ is None
        told = application_error(error)
        assert "of-the-crm" not in f"{told!r} {told.details} {error!r}"
        assert "[redacted]" in str(told)
        assert told.details[0]["retryable"] is True
    assert told.details[0]["code"] == "internal"


def test_in_a_dry_run_and_where_it_is_mocked_only_the_name_is_told(vault: Vault, resources: Resources) -> None:
    vault.put("crm", CANARY)
    args = {"url": "https://x.example", "headers": {"A": "secret://crm"}}
    assert perform_call(resources, step("http_request", args, "crm", dry_run=True))["status"] == "dry_run"
    assert perform_call(resources, step("http_request", args, "crm", mocks=["http_request"]))["status"] == "mocked"
    (row,) = select(resources.databases.open("system").snapshot(), "_outbox")
    assert (row["args"]["headers"], row["secrets"]) == ({"A": "secret://crm"}, ["crm"])


def test_a_webhook_is_signed_with_a_secret(vault: Vault, resources: Resources, hooks: Hooks) -> None:
    vault.put("hook", SECRET)
    args = {"url": local(hooks), "message": "m", "secret": "secret://hook"}
    reached = reaching(resources, hooks.server_port)
    perform_call(reached, step("notify", args, "hook"))
    assert hooks.got[-1][1]["webhook-signature"].startswith("v1,")
    with refused("secret_refused"):
        perform_call(reached, step("notify", args))
    vault.put("hook", "no-key-of-a-webhook")
    with refused("tool_not_configured") as raised:
        perform_call(reached, step("notify", args, "hook"))
    assert "no-key" not in raised.value.message


def test_the_password_of_the_mail_server_may_be_a_secret(vault: Vault, resources: Resources) -> None:
    """As `SOP_SMTP_URL` names it: smtp://shop:secret%3A%2F%2Fmail@host. What the server answers does not tell it."""
    password = "of-the-mail-7f3e91"
    vault.put("mail", password)
    given: list[tuple[str, str]] = []

    def authenticated(
        server: object, session: object, envelope: object, mechanism: str, auth: LoginPassword
    ) -> AuthResult:
        given.append((auth.login.decode(), auth.password.decode()))
        return AuthResult(success=True)

    class Mails:
        async def handle_DATA(self, *_: object) -> str:  # noqa: N802
            return "250 OK" if len(given) == 1 else f"550 not with {password}"

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    controller = Controller(
        Mails(), hostname="127.0.0.1", port=port, authenticator=authenticated, auth_require_tls=False
    )
    controller.start()
    smtp = SmtpSettings("127.0.0.1", port, "shop@example.com", username="shop", password="secret://mail")
    made = replace(resources, services=replace(resources.services, smtp=smtp))
    mail = {"to": "a@example.com", "subject": "s", "body": "b"}
    try:
        assert perform_call(made, step("send_email", mail))["status"] == "sent"
        with refused("mail_refused") as raised:
            perform_call(made, step("send_email", mail))
    finally:
        controller.stop()
    assert given == [("shop", password)] * 2
    assert "550" in raised.value.message and "7f3e91" not in raised.value.message
    vault.remove("mail")
    with refused("secret_not_found"):
        perform_call(made, step("send_email", mail))


def test_with_keys_in_the_settings_there_is_no_file(tmp_path: Path) -> None:
    made = create_resources(tmp_path / "other", secrets_keys=text_of("k1"))
    assert not (tmp_path / "other" / "secrets-key").exists()
    made.databases.close()
