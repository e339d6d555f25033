"""Attacks on the one connection of the tools, through each of them: http_request, and notify, which sends webhooks over it."""

import ssl
import threading
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpcore2
import pytest

import toolbox.webhooks
from activities import Resources
from tests.hooks import SECRET, Hooks
from tests.toolbox.site import Site
from tests.toolbox.test_tools import call
from toolbox import HttpPolicy, ToolError, WebhookSettings

CERTIFICATE, KEY = (str(Path(__file__).parent / "certificate" / name) for name in ("certificate.pem", "key.pem"))
PUBLIC = "93.184.215.14"
REFUSED = {"http_request": "address_refused", "notify": "webhook_refused"}
UNAVAILABLE = {"http_request": "http_unavailable", "notify": "webhook_delayed"}


@pytest.fixture(params=["http_request", "notify"])
def tool(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def reach(resources: Resources, tool: str, url: str, policy: HttpPolicy | None = None, **args: Any) -> Any:
    """Send a POST with a tool; `args` are those of http_request alone."""
    services = replace(
        resources.services, http=policy or HttpPolicy(), webhooks=WebhookSettings(secrets={"default": SECRET})
    )
    if tool == "notify":
        return call(resources, tool, {"url": url, "message": "m"}, services=services)
    return call(resources, tool, {"url": url, "method": "POST", "body": "m", **args}, services=services)


def refusal(resources: Resources, tool: str, url: str, policy: HttpPolicy | None = None, **args: Any) -> ToolError:
    with pytest.raises(ToolError) as raised:
        reach(resources, tool, url, policy, **args)
    return raised.value


class Resolver:
    """Gives other addresses each time it is asked; `asked` are the names."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def __call__(self, host: str, port: int) -> Iterable[str]:
        self.asked.append(host)
        return self.answers.pop(0)


class SecureHooks(Hooks):
    """A receiver over TLS with the certificate of hooks.example; `names` is what clients said that they connect to."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str | None] = []
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE, KEY)
        context.sni_callback = lambda _, name, __: self.names.append(name)
        self.socket = context.wrap_socket(self.socket, server_side=True)


@pytest.fixture
def secure(monkeypatch: pytest.MonkeyPatch) -> Iterator[SecureHooks]:
    """A receiver whose certificate is trusted."""
    monkeypatch.setenv("SSL_CERT_FILE", CERTIFICATE)
    server = SecureHooks()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def connects(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The addresses and ports that are connected to. All of them lead to the receiver, but for 1.1.1.1, where nobody is."""
    made: list[tuple[str, int]] = []
    server: SecureHooks = request.getfixturevalue("secure")
    real = httpcore2.SyncBackend.connect_tcp

    def connect(self: Any, host: str, port: int, *args: Any, **more: Any) -> Any:
        made.append((host, port))
        if host == "1.1.1.1":
            raise httpcore2.ConnectError("nobody is there")
        return real(self, "127.0.0.1", server.server_port, *args, **more)

    monkeypatch.setattr(httpcore2.SyncBackend, "connect_tcp", connect)
    return made


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.1", "0x7f.1", "2130706433", "0", "0.0.0.0", "127。0。0。1", "localhost", "LOCALHOST",
     "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "[64:ff9b:1::7f00:1]", "[2002:7f00:1::]", "[::7f00:1]",
     "169.254.169.254", "2852039166", "0xa9fea9fe", "[fd00:ec2::254]", "[fe80::1]", "100.100.100.200", "168.63.129.16", "192.0.0.192",
     "10.1.2.3", "172.31.0.1", "192.168.0.1", "100.64.0.1", "224.0.0.1", "255.255.255.255", "[fec0::1]"],
)  # fmt: skip
def test_what_is_not_public_is_not_connected_to(
    resources: Resources, tool: str, connects: list[tuple[str, int]], host: str
) -> None:
    error = refusal(resources, tool, f"https://{host}/")
    assert (error.code, error.retryable) == (REFUSED[tool], False)
    assert "not of the public network" in error.message
    assert "SOP_HTTP_ALLOW" in (error.hint or "")
    assert connects == []


@pytest.mark.parametrize(
    "url",
    ["ftp://hooks.example/", "file:///etc/passwd", "gopher://hooks.example/", "unix:///run/docker.sock", "//hooks.example/", "hooks.example",
     "https:", "https:///", "https:hooks.example", "https://me:secret@hooks.example/", "https://me@hooks.example/",
     "https://127.0.0.1:80\\@hooks.example/", "https://127.0.0.1%2f@hooks.example/", "https://:@hooks.example/", "https://[::1/",
     "https://[fe80::1%25eth0]/", "https://[fe80::1%eth0]/", "https://0177.0.0.1/", "https://①②⑦.0.0.1/", "https://%6c%6fcalhost/",
     "https://hooks%00.example/", "https://hooks.exa\tmple/", "https://hooks.example\r\nx/", "https://hooks exa/", "https://a..b/", "https://./",
     f"https://{'a' * 64}.example/", f"https://{'a.' * 130}b/", "https://hooks.example:0/", "https://hooks.example:65536/",
     "https://hooks.example:-1/", "https://hooks.example:x/"],
)  # fmt: skip
def test_what_is_no_url_is_not_asked_for(
    resources: Resources, tool: str, connects: list[tuple[str, int]], url: str
) -> None:
    resolver = Resolver()
    error = refusal(resources, tool, url, HttpPolicy(resolve=resolver))
    assert (error.code, error.pointer, error.retryable) == ("invalid_arguments", "/url", False)
    assert "secret" not in error.message
    assert (resolver.asked, connects) == ([], [])


def test_a_name_is_resolved_once_and_that_address_is_connected_to(
    resources: Resources, tool: str, secure: SecureHooks, connects: list[tuple[str, int]]
) -> None:
    """A name that means this machine when it is asked again gains nothing. The name is in the handshake, the certificate and the Host."""
    resolver = Resolver(["10.0.0.1", PUBLIC], ["127.0.0.1"])
    reach(resources, tool, "https://hooks.example:8443/x?y=1", HttpPolicy(resolve=resolver))
    assert (resolver.asked, connects) == (["hooks.example"], [(PUBLIC, 8443)])
    (path, headers, _) = secure.got[0]
    assert (path, headers["host"], secure.names) == ("/x?y=1", "hooks.example:8443", ["hooks.example"])


def test_each_attempt_is_looked_at_again(
    resources: Resources, tool: str, secure: SecureHooks, connects: list[tuple[str, int]]
) -> None:
    policy = HttpPolicy(resolve=Resolver([PUBLIC], ["127.0.0.1"]))
    reach(resources, tool, "https://hooks.example/", policy)
    assert refusal(resources, tool, "https://hooks.example/", policy).code == REFUSED[tool]
    assert (connects, len(secure.got)) == ([(PUBLIC, 443)], 1)


def test_the_next_address_is_tried_where_nobody_is_at_the_first(
    resources: Resources, tool: str, secure: SecureHooks, connects: list[tuple[str, int]]
) -> None:
    policy = HttpPolicy(resolve=Resolver(["1.1.1.1", PUBLIC]))
    reach(resources, tool, "https://hooks.example/", policy)
    assert (connects, len(secure.got)) == ([("1.1.1.1", 443), (PUBLIC, 443)], 1)


def test_the_certificate_has_to_be_that_of_the_name(
    resources: Resources, tool: str, secure: SecureHooks, connects: list[tuple[str, int]]
) -> None:
    error = refusal(resources, tool, "https://other.example/", HttpPolicy(resolve=Resolver([PUBLIC])))
    assert error.code == UNAVAILABLE[tool], "nothing was sent, so it may be sent again"
    assert "other.example" in error.message
    assert (connects, secure.got, secure.names) == ([(PUBLIC, 443)], [], ["other.example"])


def test_the_certificate_has_to_be_trusted_also_of_hosts_that_are_allowed(
    resources: Resources, tool: str, secure: SecureHooks, connects: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.delenv("SSL_CERT_FILE")
    policy = HttpPolicy(frozenset({"hooks.example"}), Resolver(["127.0.0.1"]))
    assert refusal(resources, tool, "https://hooks.example/", policy).code == UNAVAILABLE[tool]
    assert (connects, secure.got) == ([("127.0.0.1", 443)], [])


def test_no_proxy_of_the_environment_is_used(
    resources: Resources, tool: str, secure: SecureHooks, connects: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
        monkeypatch.setenv(name.lower(), "http://127.0.0.1:1")
    reach(resources, tool, "https://hooks.example/", HttpPolicy(resolve=Resolver([PUBLIC])))
    assert (connects, len(secure.got)) == ([(PUBLIC, 443)], 1)


@pytest.mark.parametrize(
    ("location", "code"),
    [
        ("https://127.0.0.1/", "address_refused"),
        ("http://169.254.169.254/latest/meta-data/", "address_refused"),
        ("//[::ffff:127.0.0.1]/", "address_refused"),
        ("https://inside.example/", "address_refused"),
        ("/again", "address_refused"),
        ("https://me:secret@hooks.example/", "invalid_arguments"),
        ("file:///etc/passwd", "invalid_arguments"),
        ("gopher://hooks.example/", "invalid_arguments"),
        ("https://a..b/", "invalid_arguments"),
    ],
)
def test_a_redirect_leads_nowhere_else(
    resources: Resources, tool: str, secure: SecureHooks, connects: list[tuple[str, int]], location: str, code: str
) -> None:
    """Webhooks follow none at all. /again is the same name, which means another address when it is asked again."""
    answers = {"hooks.example": [PUBLIC], "inside.example": ["10.0.0.1"]}

    def resolve(host: str, port: int) -> list[str]:
        found = answers.get(host, [host])
        answers["hooks.example"] = ["127.0.0.1"]
        return found

    secure.answers = [(307, {"location": location, "connection": "close"})]
    error = refusal(resources, tool, "https://hooks.example/", HttpPolicy(resolve=resolve), follow_redirects=True)
    assert (error.code, error.retryable) == ("webhook_refused" if tool == "notify" else code, False)
    assert (connects, len(secure.got)) == ([(PUBLIC, 443)], 1)


def test_webhooks_need_tls_unless_the_host_is_allowed(
    resources: Resources, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, port = f"http://hooks.example:{site.port}/json", site.port
    resolver = Resolver(["127.0.0.1"])
    error = refusal(resources, "notify", url, HttpPolicy(frozenset({f"hooks.example:{port + 1}"}), resolver))
    assert (error.code, error.pointer) == ("webhook_refused", "/url")
    assert "without TLS" in error.message
    assert resolver.asked == []
    for allowed in ("hooks.example", f"hooks.example:{port}"):
        resolver = Resolver(["127.0.0.1"])
        assert reach(resources, "notify", url, HttpPolicy(frozenset({allowed}), resolver))["status"] == "sent"
    assert len(site.seen) == 2


@pytest.mark.parametrize("page", ["large", "bomb", "drip"])
def test_the_body_of_an_answer_to_a_webhook_is_not_read(resources: Resources, site: Site, page: str) -> None:
    policy = HttpPolicy.allowing(["127.0.0.1"])
    assert reach(resources, "notify", f"{site.url}/{page}", policy)["status"] == "sent"


def test_a_webhook_without_an_answer_may_be_sent_again(resources: Resources, site: Site) -> None:
    error = refusal(resources, "notify", f"{site.url}/hang_up", HttpPolicy.allowing(["127.0.0.1"]))
    assert (error.code, error.retryable) == ("webhook_delayed", True)
    assert len(site.seen) == 1


def test_a_name_server_that_does_not_answer_takes_no_longer_than_the_request_may(
    resources: Resources, tool: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toolbox.webhooks, "TOTAL_SECONDS", 0.3)
    ended = threading.Event()

    def resolve(host: str, port: int) -> list[str]:
        ended.wait()
        return []

    error = refusal(resources, tool, "https://hooks.example/", HttpPolicy(resolve=resolve), timeout_seconds=0.3)
    ended.set()
    assert (error.code, error.retryable) == (UNAVAILABLE[tool], True)
    assert "too long" in error.message


@pytest.mark.parametrize("failure", [OSError("no such name"), UnicodeError("label too long")])
def test_a_name_that_is_not_known_may_be_known_later(resources: Resources, tool: str, failure: Exception) -> None:
    def resolve(host: str, port: int) -> list[str]:
        raise failure

    error = refusal(resources, tool, "https://hooks.example/", HttpPolicy(resolve=resolve))
    assert (error.code, error.retryable) == (UNAVAILABLE[tool], True)
    assert "the name is not known" in error.message
