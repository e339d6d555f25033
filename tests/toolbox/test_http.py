"""http_request over real sockets; addresses that must not be reached."""

import base64
import gzip
import json
import tracemalloc
from dataclasses import replace
from typing import Any

import pytest

from activities import Resources
from tests.toolbox.site import HUGE, Site
from tests.toolbox.test_tools import call
from toolbox import HttpPolicy, ToolError
from toolbox.requests import MAX_RESPONSE_BYTES


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


def test_gzip_is_taken_off_whole(site: Site, allowing: Resources) -> None:
    half = MAX_RESPONSE_BYTES // 2
    assert ask(allowing, f"{site.url}/zipped")["body"] == "x" * half + "y" * half
    assert site.seen[0][2]["accept-encoding"] == "gzip"
    assert ask(allowing, f"{site.url}/empty")["body"] == ""


@pytest.mark.parametrize(("page", "told"), [("torn", "ends within its gzip"), ("no_gzip", "is no gzip")])
def test_gzip_that_is_damaged_is_no_answer(site: Site, allowing: Resources, page: str, told: str) -> None:
    with pytest.raises(ToolError, match=told) as raised:
        ask(allowing, f"{site.url}/{page}")
    assert raised.value.code == "http_unavailable"


def test_a_bomb_takes_no_memory(site: Site, allowing: Resources) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ToolError, match=f"larger than {MAX_RESPONSE_BYTES} bytes"):
            ask(allowing, f"{site.url}/huge")
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


def test_a_bomb_in_a_bomb_comes_as_it_is(site: Site, allowing: Resources) -> None:
    found = ask(allowing, f"{site.url}/nested")
    assert found["headers"]["content-encoding"] == "gzip, gzip"
    assert gzip.decompress(base64.b64decode(found["body_base64"])) == HUGE


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
