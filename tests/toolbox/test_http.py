"""http_request over real sockets; addresses that must not be reached."""

import gzip
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from activities import Resources
from tests.toolbox.test_tools import call
from toolbox import HttpPolicy, ToolError
from toolbox.http import is_public
from toolbox.requests import MAX_RESPONSE_BYTES


class Site:
    """A server on this machine; `seen` is what came: (method, path, headers, body)."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []
        self.stop = threading.Event()
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                site.seen.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                getattr(self, "page_" + self.path.strip("/").partition("?")[0])()

            do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = answer  # noqa: N815

            def give(self, data: bytes, status: int = 200, **headers: str) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def page_json(self) -> None:
                self.give(b'{"a": [1, 2]}', content_type="application/json; charset=utf-8")

            def page_text(self) -> None:
                self.give("grün".encode("latin-1"), 404, content_type="text/plain; charset=iso-8859-1")

            def page_binary(self) -> None:
                self.give(b"\xff\xfe\x00", content_type="application/octet-stream")

            def page_large(self) -> None:
                self.give(b"x" * (MAX_RESPONSE_BYTES + 1))

            def page_bomb(self) -> None:
                self.give(gzip.compress(b"x" * 5_000_000), content_encoding="gzip")

            def page_moved(self) -> None:
                self.give(b"", 302, location="/json")

            def page_away(self) -> None:
                self.give(b"", 302, location=f"http://localhost:{site.port}/json")

            def page_round(self) -> None:
                self.give(b"", 302, location="/round")

            def page_hang_up(self) -> None:
                self.close_connection = True
                self.connection.close()

            def page_drip(self) -> None:
                self.send_response(200)
                self.end_headers()
                try:
                    while not site.stop.wait(0.05):
                        self.wfile.write(b"x")
                except OSError:
                    pass
                self.close_connection = True

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield made
    made.stop.set()
    made.server.shutdown()
    made.server.server_close()
    thread.join()


@pytest.fixture
def allowing(resources: Resources, site: Site) -> Resources:
    policy = HttpPolicy(frozenset({f"127.0.0.1:{site.port}"}))
    return replace(resources, services=replace(resources.services, http=policy))


def ask(resources: Resources, url: str, **args: Any) -> Any:
    return call(resources, "http_request", {"url": url, **args})


def test_json_text_and_bytes_come_as_what_they_are(site: Site, allowing: Resources) -> None:
    assert ask(allowing, f"{site.url}/json")["json"] == {"a": [1, 2]}
    found = ask(allowing, f"{site.url}/text")
    assert (found["status"], found["body"]) == (404, "grün")
    assert found["headers"]["content-type"] == "text/plain; charset=iso-8859-1"
    assert ask(allowing, f"{site.url}/binary")["body_base64"] == "//4A"


def test_what_is_sent(site: Site, allowing: Resources) -> None:
    ask(allowing, f"{site.url}/json?a=1", headers={"X-Token": "t"})
    ask(allowing, f"{site.url}/json", method="POST", json={"b": None})
    ask(
        allowing,
        f"{site.url}/json",
        method="PUT",
        body="hello",
        headers={"Content-Type": "text/csv", "Idempotency-Key": "mine"},
    )
    ask(allowing, f"{site.url}/json", method="POST", json=[])
    (_, path, first, _), (method, _, second, posted), (_, _, third, put), (_, _, fourth, _) = site.seen
    assert (path, first["x-token"], "idempotency-key" in first) == ("/json?a=1", "t", False)
    assert (method, json.loads(posted), second["content-type"]) == ("POST", {"b": None}, "application/json")
    assert (put, third["content-type"], third["idempotency-key"]) == (b"hello", "text/csv", "mine")
    assert second["idempotency-key"] == fourth["idempotency-key"], "the same step, tried again"
    assert len(second["idempotency-key"]) == 40


@pytest.mark.parametrize(
    ("args", "pointer"),
    [
        ({"url": "ftp://example.com/"}, "/url"), ({"url": "nothing"}, "/url"), ({"url": "http://"}, "/url"),
        ({"url": "http://u:p@example.com/"}, "/url"), ({"url": "file:///etc/passwd"}, "/url"),
        ({"url": "http://x", "headers": {"Host": "y"}}, "/headers/Host"),
        ({"url": "http://x", "headers": {"A": "b\r\nC: d"}}, "/headers/A"),
        ({"url": "http://x", "headers": {"A b": "c"}}, "/headers/A b"),
        ({"url": "http://x", "body": "a", "json": 1}, "/json"),
    ],
)  # fmt: skip
def test_what_cannot_be_sent(resources: Resources, args: dict[str, Any], pointer: str) -> None:
    with pytest.raises(ToolError) as raised:
        call(resources, "http_request", args)
    assert (raised.value.code, raised.value.pointer) == ("invalid_arguments", pointer)


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}/json", "http://localhost:{port}/json", "http://[::1]:{port}/json", "http://2130706433:{port}/json"])  # fmt: skip
def test_this_machine_is_not_reached(site: Site, resources: Resources, url: str) -> None:
    with pytest.raises(ToolError) as raised:
        ask(resources, url.format(port=site.port))
    assert raised.value.code == "address_refused"
    assert site.seen == []


def test_the_address_that_was_looked_at_is_the_one_that_is_reached(site: Site, resources: Resources) -> None:
    """A name that means a public address when it is asked first, and this machine behind it, is asked once."""
    answers = [["192.0.2.1", "10.0.0.1"], ["127.0.0.1"]]
    policy = HttpPolicy(resolve=lambda host, port: answers.pop(0))
    services = replace(resources.services, http=policy)
    with pytest.raises(ToolError) as raised:
        ask(replace(resources, services=services), f"http://rebound.example:{site.port}/json")
    assert raised.value.code == "address_refused"
    assert len(answers) == 1
    assert site.seen == []


def test_a_redirect_is_told_and_followed_only_where_it_may_lead(site: Site, allowing: Resources) -> None:
    assert ask(allowing, f"{site.url}/moved")["status"] == 302
    followed = ask(allowing, f"{site.url}/moved", follow_redirects=True)
    assert (followed["json"], followed["url"]) == ({"a": [1, 2]}, f"{site.url}/json")
    with pytest.raises(ToolError) as raised:
        ask(allowing, f"{site.url}/away", follow_redirects=True)
    assert raised.value.code == "address_refused"
    with pytest.raises(ToolError, match="redirects more than 5 times"):
        ask(allowing, f"{site.url}/round", follow_redirects=True)


@pytest.mark.parametrize("page", ["large", "bomb"])
def test_an_answer_that_is_too_large_says_the_limit(site: Site, allowing: Resources, page: str) -> None:
    with pytest.raises(ToolError, match=f"larger than {MAX_RESPONSE_BYTES} bytes") as raised:
        ask(allowing, f"{site.url}/{page}")
    assert raised.value.code == "response_too_large"


def test_the_time_is_that_of_the_whole_request(site: Site, allowing: Resources) -> None:
    """The answer drips in until the site is closed: each read gets something."""
    with pytest.raises(ToolError, match=r"took too long|timed out") as raised:
        ask(allowing, f"{site.url}/drip", timeout_seconds=0.3)
    assert raised.value.code == "http_unavailable"


def test_what_may_be_sent_again_is_retryable(site: Site, allowing: Resources) -> None:
    for method, code, retryable in [
        ("GET", "http_unavailable", True),
        ("PUT", "http_unavailable", True),
        ("POST", "http_interrupted", False),
    ]:
        with pytest.raises(ToolError) as raised:
            ask(allowing, f"{site.url}/hang_up", method=method)
        assert (raised.value.code, raised.value.retryable) == (code, retryable)
    policy = HttpPolicy(frozenset({"127.0.0.1"}))
    nobody = replace(allowing, services=replace(allowing.services, http=policy))
    with pytest.raises(ToolError) as raised:
        ask(nobody, "http://127.0.0.1:9/", method="POST")
    assert raised.value.code == "http_unavailable", "nothing was sent"


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "239.1.1.1",
     "255.255.255.255", "240.0.0.1", "192.0.2.1", "198.18.0.1", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1",
     "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2001:db8::1"],
)  # fmt: skip
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8"])
def test_addresses_that_are(address: str) -> None:
    assert is_public(address)
