"""Every error is a problem: the framework's own too."""

from collections.abc import AsyncIterator

import httpx2
import pytest
from temporalio.service import RPCError, RPCStatusCode

from btree.errors import Conflict
from gateway.problems import STATUS, ApiError, problem, translate
from query import StoreNotFound
from tests.gateway.conftest import Gateway, problem_of
from toolbox.access import forbidden, parse_scopes


async def test_what_the_framework_refuses(gateway: Gateway) -> None:
    http = gateway.http
    problem_of(await http.get("/v1/nothing"), 404, "not_found")
    wrong = await http.put("/v1/scripts")
    problem_of(wrong, 405, "method_not_allowed")
    assert wrong.headers["allow"]
    json = {"Content-Type": "application/json"}
    for body in (b"{", b"\xff", b'{"name": "\xc3"}'):
        problem_of(await http.post("/v1/databases", content=body, headers=json), 422, "not_json")
    problem_of(
        await http.post("/v1/databases", content=b'{"name": "x"}', headers={"Content-Type": "text/plain"}),
        422,
        "invalid_request",
    )


async def test_a_body_that_does_not_fit_is_told_with_pointers(gateway: Gateway) -> None:
    body = {"script": 7, "calender": {}, "every": "x", "calendar": {"at": "25:00", "days": ["mon"]}}
    problem = problem_of(await gateway.http.post("/v1/schedules", json=body), 422, "invalid_request")
    told = {found["pointer"]: found["code"] for found in problem["errors"]}
    assert told == {
        "/script": "invalid_field",
        "/calender": "unknown_field",
        "/every": "invalid_field",
        "/calendar/at": "invalid_field",
        "/calendar/days/0": "invalid_field",
    }
    query = problem_of(await gateway.http.get("/v1/runs?limit=0&state=gone"), 422, "invalid_request")
    assert [found["pointer"] for found in query["errors"]] == ["?state", "?limit"]


async def test_a_body_over_the_limit(live: httpx2.AsyncClient) -> None:
    over = b" " * (2 * 1024 * 1024 + 1)

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(over), 65536):
            yield over[start : start + 65536]

    text = {"Content-Type": "text/plain"}
    problem_of(await live.post("/v1/scripts", content=over, headers=text), 413, "body_too_large")
    problem_of(await live.post("/v1/scripts", content=chunks(), headers=text), 413, "body_too_large")
    json = {"Content-Type": "application/json"}
    problem_of(await live.post("/v1/databases", content=chunks(), headers=json), 413, "body_too_large")


async def test_a_failure_of_ours_is_told_without_its_inside(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("a secret inside")

    monkeypatch.setattr(gateway.services.registry, "describe", broken)
    answer = await gateway.http.get("/v1/tools")
    problem = problem_of(answer, 500, "internal_error")
    assert "secret" not in answer.text and problem["retryable"] is False


async def test_temporal_that_does_not_answer(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    async def gone(*_: object, **__: object) -> None:
        raise RPCError("connection refused", RPCStatusCode.UNAVAILABLE, b"")

    await gateway.save("x", [{"type": "say", "message": "x"}])
    monkeypatch.setattr(gateway.services.client, "start_workflow", gone)
    answer = await gateway.http.post("/v1/scripts/x/runs", json={})
    assert problem_of(answer, 503, "temporal_unavailable")["retryable"] is True
    assert answer.headers["retry-after"] == "1"


def test_translation_of_errors_below() -> None:
    found = translate(StoreNotFound("no store", pointer="/store", hint="did you mean x?"), "/args")
    assert (found.code, found.status, found.hint) == ("store_not_found", 404, "did you mean x?")
    assert found.errors == [
        {"pointer": "/args/store", "detail": "no store", "code": "store_not_found", "hint": "did you mean x?"}
    ]
    assert (translate(Conflict("head moved")).status, translate(Conflict("head moved")).retryable) == (409, True)
    assert translate(RPCError("odd", RPCStatusCode.INTERNAL, b"")).status == 502
    assert translate(KeyError("x")).code == "internal_error"
    assert ApiError("anything_else", "x").status == 422
    assert set(STATUS.values()) <= set(range(400, 600))


def test_what_a_key_may_not_do_has_a_place_for_each_scope() -> None:
    refused = forbidden(parse_scopes(["tools:send_email", "data:crm:read"]), "running x")
    told = problem(translate(refused, "/arguments"), instance="/v1/call/x", request_id="r")
    assert told == {
        "type": "urn:sop:problem:forbidden",
        "title": "Forbidden",
        "status": 403,
        "detail": "running x takes the scopes data:crm:read, tools:send_email, which the key does not have",
        "instance": "/v1/call/x",
        "code": "forbidden",
        "errors": [
            {
                "pointer": "Authorization",
                "detail": f"running x takes the scope {scope}",
                "code": "forbidden",
                "scope": scope,
            }
            for scope in ("data:crm:read", "tools:send_email")
        ],
        "request_id": "r",
        "retryable": False,
    }
