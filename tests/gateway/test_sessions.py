"""Sessions of browsers: a cookie for a key, which no script reads, no other page uses, and which ends with its key."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.cookies import SimpleCookie
from typing import Any

import httpx2
import pytest

from gateway.access import Sessions
from gateway.app import create_app
from gateway.services import Services
from tests.gateway.conftest import Gateway, authorization, problem_of
from toolbox.access import ADMIN, parse_scopes

HTTPS = "https://gateway.example"
PLAIN = "http://127.0.0.1:8080"


def browser(gateway: Gateway, base: str, services: Services | None = None) -> httpx2.AsyncClient:
    """A client with a jar of cookies and without a key."""
    app = create_app(services or gateway.services)
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url=base)


async def log_in(http: httpx2.AsyncClient, key: str) -> str:
    """The cookie's header of a login; the client keeps the cookie."""
    answer = await http.post("/v1/session", headers=authorization(key))
    assert answer.status_code == 201, answer.text
    assert "sop_" not in answer.text
    return answer.headers["set-cookie"]


@pytest.mark.parametrize(("base", "name"), [(HTTPS, "__Host-sop"), (PLAIN, "sop"), ("http://localhost:1", "sop")])
async def test_a_cookie_stands_for_the_key(gateway: Gateway, base: str, name: str) -> None:
    async with browser(gateway, base) as http:
        problem_of(await http.get("/v1/session"), 401, "not_authenticated")
        cookie = SimpleCookie(await log_in(http, gateway.key))[name]
        assert (cookie["path"], cookie["httponly"], cookie["samesite"].lower(), cookie["domain"]) == (
            "/",
            True,
            "lax",
            "",
        )
        assert bool(cookie["secure"]) == base.startswith("https:")
        assert 8 * 3600 - 60 <= int(cookie["max-age"]) <= 8 * 3600
        told = (await http.get("/v1/session")).json()
        assert (told["key"]["name"], told["scopes"]) == ("bootstrap", ["admin"])
        assert datetime.fromisoformat(told["session"]["expires_at"]) > datetime.now(UTC)
        assert (await http.get("/v1/databases")).status_code == 200
        made = await http.post("/v1/databases", json={"name": "made"}, headers={"Origin": base})
        assert made.status_code == 201
        out = await http.delete("/v1/session", headers={"Origin": base})
        assert out.status_code == 204 and "Max-Age=0" in out.headers["set-cookie"]
        old = {"Cookie": f"{name}={cookie.value}"}
        problem_of(await http.get("/v1/databases", headers=old), 401, "not_authenticated")


async def test_only_pages_of_ours_change_something(gateway: Gateway) -> None:
    async with browser(gateway, PLAIN) as http:
        await log_in(http, gateway.key)
        body = {"name": "forged"}
        wrong: list[dict[str, str]] = [
            {}, {"Origin": "null"}, {"Origin": "http://127.0.0.1:3000"}, {"Origin": "https://127.0.0.1:8080"},
            {"Origin": "http://evil.example"}, {"Origin": PLAIN + ".evil.example"}, {"Origin": PLAIN + "/"},
        ]  # fmt: skip
        for headers in wrong:
            refused = problem_of(await http.post("/v1/databases", json=body, headers=headers), 403, "cross_origin")
            assert refused["errors"][0]["pointer"] == "Origin"
            problem_of(await http.delete("/v1/session", headers=headers), 403, "cross_origin")
            assert "access-control-allow-origin" not in (await http.get("/v1/session", headers=headers)).headers
        twice = [("Origin", PLAIN), ("Origin", "http://evil.example")]
        problem_of(await http.post("/v1/databases", json=body, headers=twice), 403, "cross_origin")
        assert "forged" not in {found["name"] for found in (await http.get("/v1/databases")).json()["data"]}
        with_key = {**authorization(gateway.key), "Origin": "http://evil.example"}
        assert (await http.post("/v1/databases", json=body, headers=with_key)).status_code == 201  # no cookie did it


async def test_a_key_that_is_wrong_is_not_made_up_for_by_a_cookie(gateway: Gateway) -> None:
    async with browser(gateway, PLAIN) as http:
        await log_in(http, gateway.key)
        problem_of(await http.get("/v1/session", headers=authorization("sop_x_y")), 401, "not_authenticated")
        again = await http.post("/v1/session", headers={"Origin": PLAIN})
        problem_of(again, 401, "not_authenticated")  # no session lives on by itself
        problem_of(await http.delete("/v1/session", headers=authorization(gateway.key)), 404, "session_not_found")


@pytest.mark.parametrize(
    "cookie", ["", "x", "sop", "a" * 24 + "_" + "b" * 64, "a" * 24 + "_" + "b" * 63, "_", "é" * 89]
)
async def test_cookies_that_are_none(gateway: Gateway, cookie: str) -> None:
    async with browser(gateway, PLAIN) as http:
        await log_in(http, gateway.key)
        http.cookies.clear()
        for name in ("sop", "__Host-sop"):
            headers: Any = [(b"cookie", f"{name}={cookie}".encode())]
            problem_of(await http.get("/v1/session", headers=headers), 401, "not_authenticated")


async def test_a_session_is_for_one_kind_of_connection(gateway: Gateway) -> None:
    async with browser(gateway, PLAIN) as http, browser(gateway, HTTPS) as safe:
        value = SimpleCookie(await log_in(http, gateway.key))["sop"].value
        problem_of(await safe.get("/v1/session", headers={"Cookie": f"sop={value}"}), 401, "not_authenticated")
    async with browser(gateway, "http://gateway.example") as open_air:
        refused = await open_air.post("/v1/session", headers=authorization(gateway.key))
        problem_of(refused, 403, "insecure_connection")
        assert "set-cookie" not in refused.headers


async def test_it_ends_with_its_key(gateway: Gateway) -> None:
    keys = gateway.services.keys
    key = keys.create("anna", parse_scopes(["data:shop:read"]))
    async with browser(gateway, HTTPS) as http:
        await log_in(http, key)
        problem_of(await http.get("/v1/keys"), 403, "forbidden")
        assert (await http.get("/v1/session")).json()["scopes"] == ["data:shop:read"]
        keys.revoke(key.split("_")[1])
        problem_of(await http.get("/v1/session"), 401, "not_authenticated")


async def test_it_ends_in_time_and_with_the_keys_time(gateway: Gateway) -> None:
    now = datetime.now(UTC)
    services = gateway.services
    late = Sessions(services.databases, services.keys, clock=lambda: now + timedelta(hours=9))
    soon = services.keys.create("soon", [ADMIN], expires_at=now + timedelta(hours=1))
    async with browser(gateway, HTTPS) as http:
        cookie = SimpleCookie(await log_in(http, soon))["__Host-sop"]
        assert int(cookie["max-age"]) <= 3600
    access = services.keys.verify(gateway.key)
    assert access is not None
    token, session = services.sessions.begin(access)
    assert services.sessions.find(token) == session
    assert late.find(token) is None
    fresh, _ = late.begin(access)  # and what has ended is forgotten
    assert services.sessions.find(token) is None and late.find(fresh) is not None


async def test_pages_that_are_allowed(gateway: Gateway) -> None:
    app = "https://app.example"
    services = replace(
        gateway.services,
        origins=frozenset([app]),
        sessions=Sessions(gateway.services.databases, gateway.services.keys, origins=frozenset([app])),
    )
    preflight = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    async with browser(gateway, HTTPS, services) as http:
        asked = await http.options("/v1/session", headers={"Origin": app, **preflight})
        assert (asked.status_code, asked.headers["access-control-allow-origin"]) == (200, app)
        assert asked.headers["access-control-allow-credentials"] == "true"
        other = await http.options("/v1/session", headers={"Origin": "https://evil.example", **preflight})
        problem_of(other, 401, "not_authenticated")
        assert not [name for name in other.headers if name.startswith("access-control")]
        await log_in(http, gateway.key)
        made = await http.post("/v1/databases", json={"name": "allowed"}, headers={"Origin": app})
        assert (made.status_code, made.headers["access-control-allow-origin"]) == (201, app)
        evil = {"Origin": "https://evil.example"}
        problem_of(await http.post("/v1/databases", json={"name": "no"}, headers=evil), 403, "cross_origin")
        assert "access-control-allow-origin" not in (await http.get("/livez", headers=evil)).headers
    async with browser(gateway, HTTPS) as closed:
        asked = await closed.options("/v1/session", headers={"Origin": app, **preflight})
        problem_of(asked, 401, "not_authenticated")
        assert "access-control-allow-origin" not in (await closed.get("/livez", headers={"Origin": app})).headers


async def test_logins_are_in_the_audit_log_and_secrets_are_nowhere(gateway: Gateway) -> None:
    async with browser(gateway, PLAIN) as http:
        value = SimpleCookie(await log_in(http, gateway.key))["sop"].value
        await http.post("/v1/databases", json={"name": "x"}, headers={"Origin": "http://evil.example"})
    entries = (await gateway.http.get("/v1/audit")).json()["data"]
    assert ("POST", "/v1/session", 201) in {(one["method"], one["route"], one["status"]) for one in entries}
    assert ("POST", 403) in {(one["method"], one["status"]) for one in entries}
    gateway.services.notes.flush()
    stored = b"".join(path.read_bytes() for path in (gateway.services.data_dir / "databases").glob("system.db*"))
    assert value.split("_")[0].encode() in stored
    assert value.split("_")[1].encode() not in stored


async def test_a_key_has_so_many_sessions_and_no_more(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.access.sessions.MOST", 3)
    other = gateway.services.keys.create("other", parse_scopes(["runs:read"]))
    async with browser(gateway, HTTPS) as http:
        assert await log_in(http, other)
        cookies = [SimpleCookie(await log_in(http, gateway.key))["__Host-sop"].value for _ in range(5)]
        http.cookies.clear()
        alive = [
            (await http.get("/v1/session", headers={"Cookie": f"__Host-sop={cookie}"})).status_code == 200
            for cookie in cookies
        ]
    assert sum(alive) == 3
    assert alive[-1]


async def test_a_host_that_is_none_is_no_error_of_ours(gateway: Gateway) -> None:
    headers = {**authorization(gateway.key), "Host": "["}
    async with browser(gateway, PLAIN) as http:
        problem_of(await http.post("/v1/session", headers=headers), 403, "insecure_connection")


async def test_mcp_takes_no_cookie(gateway: Gateway) -> None:
    async with browser(gateway, HTTPS) as http:
        await log_in(http, gateway.key)
        answer = await http.post("/mcp", json={}, headers={"Origin": HTTPS})
        assert answer.status_code in (401, 503) and answer.json()["code"] in ("not_authenticated", "not_ready")
