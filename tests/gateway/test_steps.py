"""The steps of a run, page by page, while it goes on and when it has ended."""

from typing import Any

from tests.gateway.conftest import Gateway, eventually, problem_of

STEPS: list[dict[str, Any]] = [
    {"type": "loop", "name": "each", "list": "[1, 2, 3, 4, 5]", "iterator": "n", "steps": [
        {"type": "say", "name": "odd", "message": "{{ n }}", "when": "n % 2 == 1"},
        {"type": "fail", "name": "no", "code": "odd", "message": "no", "when": "n == 5", "catch": [
            {"errors": ["odd"], "steps": [{"type": "set", "name": "mended", "variable": "x", "value": 1}]}]}]},
    {"type": "command", "name": "hold", "command": "hold"},
    {"type": "return", "name": "back", "value": 7},
]  # fmt: skip


async def started(gateway: Gateway, run_id: str) -> str:
    await gateway.save("stepping", STEPS)
    answer = await gateway.http.post("/v1/scripts/stepping/runs", json={}, headers={"Idempotency-Key": run_id})
    return f"{answer.headers['location']}/steps"


async def pages(gateway: Gateway, path: str, limit: int, **more: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    params: dict[str, Any] = {"limit": limit, **more}
    while True:
        answer = (await gateway.http.get(path, params=params)).json()
        found += answer["data"]
        assert len(answer["data"]) <= limit and answer["has_more"] == (answer["next_cursor"] is not None)
        if not answer["has_more"]:
            return found
        assert len(answer["data"]) == limit
        params["cursor"] = answer["next_cursor"]


async def test_steps_are_told_while_the_run_goes_on(gateway: Gateway) -> None:
    path = await started(gateway, "steps-1")

    async def looped() -> Any:
        return await pages(gateway, path, 1000, step="each")

    (loop,) = await eventually(looped)
    assert loop["status"] == "completed"
    before = await pages(gateway, path, 3)
    assert [step["path"] for step in before][-1] == "each"
    gateway.gate.set()
    events = (await gateway.http.get("/v1/runs/steps-1/events?format=json")).json()
    ended = [event for event in events if event.get("path") and event["status"] not in ("started", "running")]
    for limit in (1, 2, 7, 1000):
        assert await pages(gateway, path, limit) == ended
    assert ended[: len(before)] == before
    assert [step["path"] for step in ended[-2:]] == ["hold", "back"]


async def test_steps_by_path_and_status(gateway: Gateway) -> None:
    gateway.gate.set()
    path = await started(gateway, "steps-2")
    await gateway.http.get("/v1/runs/steps-2/events?format=json")
    odd = await pages(gateway, path, 2, step="each/odd")
    assert [(step["iteration"], step["status"]) for step in odd] == [
        ([0], "completed"), ([1], "skipped"), ([2], "completed"), ([3], "skipped"), ([4], "completed")]  # fmt: skip
    assert [step["path"] for step in await pages(gateway, path, 1, status="failed")] == ["each/no"]
    assert await pages(gateway, path, 1, status="failed", step="each/odd") == []
    cursor = (await gateway.http.get(path, params={"limit": 1})).json()["next_cursor"]
    problem_of(await gateway.http.get(path, params={"cursor": cursor, "status": "failed"}), 422, "invalid_cursor")
    problem_of(await gateway.http.get("/v1/runs/none/steps"), 404, "run_not_found")
