"""Every route takes the scope that is declared for it, and no application is built with one that declares none."""

import re
from typing import Any

import pytest
from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.routing import Mount, Route

import gateway.app as gateway_app
from gateway.access import PUBLIC, ROUTES, UndeclaredRoute, guarded
from gateway.app import create_app
from tests.gateway.conftest import Gateway, authorization, problem_of
from tests.gateway.test_access import paths
from toolbox.access import parse_scopes

CLOSED = {route: scope for route, scope in ROUTES.items() if scope not in ("public", "any")}
ANY = {route for route, scope in ROUTES.items() if scope == "any"}


def headers(gateway: Gateway, *scopes: str) -> dict[str, str]:
    return authorization(gateway.services.keys.create("anna", parse_scopes(scopes)))


def filled(text: str) -> str:
    """A path or a scope with each parameter's name as its value."""
    return re.sub(r"\{(\w+)\}", r"\1", text).replace("?", "*")


async def test_every_route_is_declared_and_every_declaration_is_a_route(gateway: Gateway) -> None:
    assert {f"{method} {path}" for path, method in paths(gateway.app.routes)} == set(ROUTES)
    assert {path for path in PUBLIC if path.startswith("/v1")} == set()
    document = (await gateway.http.get("/openapi.json")).json()
    told = {f"{method.upper()} {path}": operation["x-scope"] for path, operations in document["paths"].items()
            for method, operation in operations.items() if path not in PUBLIC}  # fmt: skip
    told_at_all = {route: scope for route, scope in CLOSED.items() if not route.endswith(" /mcp")}
    assert told == told_at_all | dict.fromkeys(ANY, "any")


async def test_every_route_takes_exactly_its_scope(gateway: Gateway) -> None:
    nothing = headers(gateway)
    for route, declared in CLOSED.items():
        method, path = filled(route).split(" ")
        scope = str(parse_scopes([filled(declared)])[0])
        refused = await gateway.http.request(method, path, headers={"Authorization": ""})
        problem_of(refused, 401, "not_authenticated")
        problem = problem_of(await gateway.http.request(method, path, headers=nothing), 403, "forbidden")
        assert [found["scope"] for found in problem["errors"]] == [scope], route
        assert scope in problem["detail"]
        others = {str(parse_scopes([filled(other)])[0]) for other in CLOSED.values()} - {scope, "admin"}
        if declared == "scripts:run:{name}":
            others.discard("scripts:call:name")
        if "?" in declared:
            others = {other for other in others if not other.startswith(scope.partition(":")[0])}
        others = {other for other in others if not parse_scopes([other])[0].covers(parse_scopes([scope])[0])}
        answer = await gateway.http.request(method, path, headers=headers(gateway, *others))
        problem_of(answer, 403, "forbidden")
        answer = await gateway.http.request(method, path, headers=headers(gateway, scope))
        assert answer.status_code not in (401, 403), (route, answer.text)


async def test_what_is_for_any_key_is_for_those_without_scopes_too(gateway: Gateway) -> None:
    assert {f"{method} /v1/session" for method in ("GET", "POST", "DELETE")} == ANY
    for method in ("GET", "POST", "DELETE"):
        answer = await gateway.http.request(method, "/v1/session", headers=headers(gateway))
        assert answer.status_code not in (401, 403) or answer.json()["code"] == "insecure_connection"


async def test_a_scope_for_another_name_is_not_enough(gateway: Gateway) -> None:
    for route, declared in CLOSED.items():
        if "{" in declared:
            method, path = filled(route).split(" ")
            given = headers(gateway, re.sub(r"\{\w+\}", "other", declared))
            problem_of(await gateway.http.request(method, path, headers=given), 403, "forbidden")


async def test_what_is_not_there_is_not_found_by_any_valid_key(gateway: Gateway) -> None:
    given = headers(gateway)
    problem_of(await gateway.http.get("/v1/nothing", headers=given), 404, "not_found")
    problem_of(await gateway.http.delete("/v1/databases", headers=given), 405, "method_not_allowed")


def endpoint(database: str = "") -> dict[str, Any]:
    return {}


def test_an_application_with_an_undeclared_route_is_not_built(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    class New:
        router = APIRouter(prefix="/v1/secrets")

    New.router.add_api_route("", endpoint)
    monkeypatch.setattr(gateway_app, "MODULES", (*gateway_app.MODULES, New))
    with pytest.raises(UndeclaredRoute, match="GET /v1/secrets does not say which scope it takes"):
        create_app(gateway.services)


def test_what_is_declared_has_to_be_there() -> None:
    route = APIRoute("/v1/x/{database:path}:go", endpoint, methods=["GET", "POST"])
    told = {"GET /v1/x/{database}:go": "data:{database}:read", "POST /v1/x/{database}:go": "public"}
    assert [made.path for made in guarded([route], told)] == [route.path]
    with pytest.raises(UndeclaredRoute, match="POST /v1/x"):
        list(guarded([route], {"GET /v1/x/{database}:go": "keys"}))
    with pytest.raises(UndeclaredRoute, match="there is no route GET /v1/y"):
        list(guarded([route], {**told, "GET /v1/y": "keys"}))
    with pytest.raises(UndeclaredRoute, match="no parameter 'db'"):
        list(guarded([route], {**told, "GET /v1/x/{database}:go": "data:{db}:read"}))
    with pytest.raises(UndeclaredRoute, match="GET /v1/x"):
        list(guarded([route, route], told))
    for other in (Mount("/v1/m", app=Response()), Route("/v1/r", endpoint)):
        with pytest.raises(UndeclaredRoute, match="no route that can be guarded"):
            list(guarded([other], {}))
