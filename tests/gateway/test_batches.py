"""Batches of running runs: how many chunks run side by side."""

from typing import Any

from temporalio.api.enums.v1 import EventType

from tests.gateway.conftest import Gateway, Sop, eventually, problem_of
from tests.gateway.test_handling import HOLD, history_types, standing, started
from tests.gateway.test_runs import ended

SCHEDULED = EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED


def batch(name: str = "each", **more: Any) -> dict[str, Any]:
    body = {
        "iterator": "n",
        "batch_size": 1,
        "concurrency": 2,
        "output_variable": name,
        "steps": [HOLD | {"name": f"hold in {name}"}],
    }
    return {"type": "loop", "name": name, "list": "[1, 2, 3, 4, 5, 6, 7, 8]", **body, **more}


async def under_way(gateway: Gateway, run_id: str, count: int) -> None:
    async def scheduled() -> bool:
        return (await history_types(gateway, run_id)).count(SCHEDULED) == count

    await eventually(scheduled)


async def test_more_chunks_run_side_by_side_from_now_on(gateway: Gateway) -> None:
    await gateway.save("held_batch", [batch(), {"type": "return", "value": "{{ each.processed }}"}])
    run_id = await started(gateway, "held_batch")
    await under_way(gateway, run_id, 2)
    url = f"/v1/runs/{run_id}:concurrency"
    answer = await gateway.http.post(url, json={"concurrency": 5})
    assert (answer.status_code, answer.json()) == (202, {"id": run_id, "step": "each", "concurrency": 5})
    told = {"step": "each", "concurrency": 5, "processed": 0, "failed": 0, "total": 8}
    await standing(gateway, run_id, batches=[{**told, "rate": None, "eta_seconds": None}])
    await under_way(gateway, run_id, 5)
    for wrong in ({}, {"concurrency": 0}, {"concurrency": 101}, {"concurrency": "5"}, {"concurrency": 2, "more": 1}):
        problem_of(await gateway.http.post(url, json=wrong), 422, "invalid_request")
    elsewhere = problem_of(await gateway.http.post(url, json={"concurrency": 2, "step": "x"}), 409, "no_batch")
    assert elsewhere["errors"][0]["hint"] == "its batches are each"
    gateway.gate.set()
    assert (await ended(gateway, run_id))["output"] == 8
    problem_of(await gateway.http.post(url, json={"concurrency": 2}), 409, "run_closed")
    problem_of(await gateway.http.post("/v1/runs/nope:concurrency", json={"concurrency": 2}), 404, "run_not_found")


async def test_which_of_several_batches_is_meant(gateway: Gateway) -> None:
    await gateway.save("two_batches", [batch("one", is_async=True), batch("two", is_async=True)])
    run_id = await started(gateway, "two_batches")
    await under_way(gateway, run_id, 4)
    url = f"/v1/runs/{run_id}:concurrency"
    problem = problem_of(await gateway.http.post(url, json={"concurrency": 3}), 422, "ambiguous_step")
    assert problem["errors"][0]["hint"] == "its batches are one, two"
    answer = await gateway.http.post(url, json={"concurrency": 3, "step": "two"})
    assert answer.json()["step"] == "two"
    await under_way(gateway, run_id, 5)
    gateway.gate.set()
    assert (await ended(gateway, run_id))["state"] == "completed"


async def test_a_run_without_a_batch_and_the_command(gateway: Gateway, sop: Sop) -> None:
    await gateway.save_held()
    run_id = await started(gateway, "held")
    steps = [{"step": "hold", "name": "hold", "type": "command", "tool": "hold"}]
    await standing(gateway, run_id, steps=steps, batches=[])
    problem_of(await gateway.http.post(f"/v1/runs/{run_id}:concurrency", json={"concurrency": 3}), 409, "no_batch")
    await gateway.save("held_batch", [batch()])
    run_id = await started(gateway, "held_batch", key="cli-batch")
    await under_way(gateway, run_id, 2)
    told = await sop("run", "concurrency", run_id, "3", "--step", "each", "-o", "json")
    assert (told.code, told.json) == (0, {"id": run_id, "step": "each", "concurrency": 3})
    await under_way(gateway, run_id, 3)
    assert (await sop("run", "concurrency", run_id, "0")).code == 2
    gateway.gate.set()
    assert (await ended(gateway, run_id))["state"] == "completed"
    late = await sop("run", "concurrency", run_id, "3")
    assert late.code == 5 and "has ended" in late.err
