"""Default deny: nothing without a valid key but an exact list of paths."""

import itertools
import logging
import stat
from typing import Any

import pytest
from starlette.routing import BaseRoute

from gateway.access import PUBLIC, Keys
from query import Databases
from tests.gateway.conftest import Gateway, authorization, problem_of


def paths(routes: list[BaseRoute]) -> set[tuple[str, str]]:
    """Every path and method of an app, however its routers are nested."""
    found: set[tuple[str, str]] = set()
    for route in routes:
        nested: Any = getattr(route, "routes", None) or getattr(getattr(route, "original_router", None), "routes", None)
        if nested:
            found |= paths(list(nested))
        elif hasattr(route, "path"):
            found |= {
                (route.path.replace(":path", ""), method) for method in getattr(route, "methods", None) or {"GET"}
            }
    return found


async def test_every_route_is_denied_without_a_key(gateway: Gateway) -> None:
    known = paths(gateway.app.routes)
    assert len(known) >= 30
    described = gateway.app.openapi()["paths"]
    assert {(path, method.upper()) for path in described for method in described[path]} <= known
    open_paths = set()
    for path, method in sorted(known):
        filled = path.replace("{", "").replace("}", "")
        answer = await gateway.http.request(method, filled, headers={"Authorization": ""})
        if answer.status_code == 401:
            problem_of(answer, 401, "not_authenticated")
            assert answer.headers["www-authenticate"] == "Bearer"
        else:
            open_paths.add(path)
    assert open_paths == PUBLIC == {"/livez", "/readyz", "/docs", "/openapi.json"}


TRICKS = ["//v1/scripts", "/v1/scripts/livez", "/V1/scripts", "/livez/", "/livez/../v1/scripts", "/v1/scripts/%2e%2e/livez",
          "/%2flivez", "/Livez", "/docs/x", "/openapi.json/", "/redoc", "/nothing", "/", "/v1/runs/x/livez"]  # fmt: skip


@pytest.mark.parametrize("path", TRICKS)
async def test_tricks_with_paths_and_methods_need_a_key_too(gateway: Gateway, path: str) -> None:
    for method in ("GET", "HEAD", "OPTIONS", "POST"):
        answer = await gateway.http.request(method, path, headers={"Authorization": "", "X-Original-URL": "/livez"})
        assert answer.status_code == 401, (method, path)


def lettered(gateway: Gateway) -> str:
    """A valid key whose id is another one in capitals, and backwards."""
    while True:
        key = gateway.services.keys.create("lettered")
        key_id = key.split("_")[1]
        if key_id not in (key_id.upper(), key_id[::-1]):
            return key


async def test_keys_that_are_none(gateway: Gateway) -> None:
    key = lettered(gateway)
    assert (await gateway.http.get("/v1/tools", headers=authorization(key))).status_code == 200
    prefix, key_id, secret = key.split("_", 2)
    wrong = [
        "",
        key,
        f"Basic {key}",
        "Bearer",
        f"Bearer {prefix}_{key_id}_",
        f"Bearer {key_id}_{secret}",
    ]
    wrong += [
        f"Bearer {prefix}_{'a' * 9000}_{secret}",
        f"Bearer {prefix}_{key_id.upper()}_{secret}",
        f"Bearer {key.upper()}",
    ]
    wrong += [
        f"Bearer {prefix}_{key_id}\xe9_{secret}",
        f"Bearer {prefix}_{key_id}_{secret}\xe9",
        f"Bearer {key} {key}",
    ]
    wrong += [f"Bearer {key}x", f"Bearer {prefix}_{key_id[::-1]}_{secret}", f"Bearer {key[:-1]}"]
    for value in wrong:
        given = {b"Authorization": value.encode("latin-1")}
        problem_of(await gateway.http.get("/v1/tools", headers=given), 401, "not_authenticated")
    doubled = [("Authorization", f"Bearer {key}"), ("Authorization", "Bearer x")]
    request = gateway.http.build_request("GET", "/v1/tools")
    del request.headers["authorization"]
    request.headers = type(request.headers)([*request.headers.multi_items(), *doubled])
    problem_of(await gateway.http.send(request), 401, "not_authenticated")


async def test_a_revoked_key_is_refused_at_the_next_request(gateway: Gateway) -> None:
    keys = gateway.services.keys
    key = keys.create("ci")
    assert (await gateway.http.get("/v1/tools", headers=authorization(key))).status_code == 200
    keys.revoke(key.split("_")[1])
    problem_of(await gateway.http.get("/v1/tools", headers=authorization(key)), 401, "not_authenticated")


async def test_the_first_key_is_private_and_stays_the_same(
    gateway: Gateway, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    data_dir = gateway.services.data_dir
    path = data_dir / "api-key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.unlink()
    databases = Databases(data_dir / "databases")
    with caplog.at_level(logging.DEBUG):
        made = [Keys(databases).bootstrap(data_dir).read_text() for _ in range(2)]
    databases.close()
    assert made == [f"{gateway.key}\n"] * 2
    assert not [file for file in data_dir.iterdir() if file.name.startswith("api-key.")]
    told = caplog.text + "".join(capfd.readouterr())
    assert gateway.key.split("_")[2] not in told
    stored = b"".join(file.read_bytes() for file in (data_dir / "databases").iterdir())
    assert gateway.key.split("_")[2].encode() not in stored


async def test_a_revoked_first_key_is_not_written_again(gateway: Gateway) -> None:
    keys, data_dir = gateway.services.keys, gateway.services.data_dir
    keys.create("other")
    keys.revoke(gateway.key.split("_")[1])
    (data_dir / "api-key").unlink()
    keys.bootstrap(data_dir)
    assert not (data_dir / "api-key").exists()


async def test_request_ids_are_kept_if_they_are_well_formed(gateway: Gateway) -> None:
    kept = await gateway.http.get("/livez", headers={"X-Request-ID": "abc-1.2:3"})
    assert kept.headers["x-request-id"] == "abc-1.2:3"
    for bad in ("", "a b", "x" * 129, "<script>"):
        given = (await gateway.http.get("/livez", headers={"X-Request-ID": bad})).headers["x-request-id"]
        assert given != bad and len(given) == 16
    made = [(await gateway.http.get("/livez")).headers["x-request-id"] for _ in range(3)]
    assert all(one != other for one, other in itertools.pairwise(made))
