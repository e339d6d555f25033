"""Scripts that schedule scripts."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from activities import Resources
from activities.execution import perform_call
from gateway.runs.watch import watch_run
from gateway.schedules.requests import Backfill
from script.wire import StepCall
from tests.gateway.conftest import Gateway, eventually, problem_of
from tests.gateway.test_schedule_times import create, runs_of
from toolbox import ToolError
from worker import create_resources, with_schedules


async def run(gateway: Gateway, steps: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    await gateway.save("scheduling", steps)
    started = (await gateway.http.post("/v1/scripts/scheduling/runs", json=more)).json()
    return [event async for event in watch_run(gateway.services.client, started["id"])][-1]


def command(tool: str, **args: Any) -> dict[str, Any]:
    return {"type": "command", "command": tool, "args": args, "output_variable": tool}


async def test_a_script_schedules_another_one(gateway: Gateway) -> None:
    await gateway.save("report", [{"type": "return", "value": "{{ day }}"}], parameters=["day"])
    name = f"{gateway.services.task_queue}-t"
    end = await run(
        gateway,
        [
            command(
                "schedule_script",
                script="report",
                id=name,
                cron="0 6 * * *",
                arguments={"day": "x"},
                notify={"to": "a@example.com"},
            ),
            command("pause_schedule", id=name, note="not yet"),
            command("backfill_schedule", id=name, start="2026-01-05T06:00:00Z", end="2026-01-06T06:00:00Z"),
            command("trigger_schedule", id=name),
            command("list_schedules"),
            {
                "type": "return",
                "value": ["{{ schedule_script.id }}", "{{ pause_schedule.paused }}", "{{ backfill_schedule.times }}"],
            },
        ],
    )
    assert end.get("result") == [name, True, 2], end
    assert (await gateway.http.get(f"/v1/schedules/{name}")).json()["note"] == "not yet"
    end = await run(gateway, [command("delete_schedule", id=name), command("delete_schedule", id=name)])
    assert end["result"] == {"id": name, "deleted": False}
    problem_of(await gateway.http.get(f"/v1/schedules/{name}"), 404, "schedule_not_found")


async def test_a_dry_run_leaves_the_schedules_untouched(gateway: Gateway) -> None:
    await gateway.save("report", [{"type": "return", "value": 1}])
    name = f"{gateway.services.task_queue}-d"
    end = await run(gateway, [command("schedule_script", script="report", id=name, every=60)], dry_run=True)
    assert end["result"]["status"] == "dry_run"
    problem_of(await gateway.http.get(f"/v1/schedules/{name}"), 404, "schedule_not_found")


@pytest.mark.parametrize(
    ("tool", "args", "code"),
    [
        ("schedule_script", {"script": "nope", "every": 60}, "script_not_found"),
        ("schedule_script", {"script": "report"}, "invalid_schedule"),
        ("schedule_script", {"script": "report", "every": 0.1}, "invalid_arguments"),
        ("schedule_script", {"script": "report", "every": 60, "notify": {}}, "invalid_arguments"),
        ("trigger_schedule", {"id": "nope"}, "schedule_not_found"),
        ("backfill_schedule", {"id": "nope", "start": "soon", "end": "2026-01-05T06:00:00Z"}, "invalid_arguments"),
    ],
)
async def test_what_is_refused(gateway: Gateway, tool: str, args: dict[str, Any], code: str) -> None:
    await gateway.save("report", [{"type": "return", "value": 1}])
    end = await run(gateway, [command(tool, **args)])
    assert (end["status"], end["error"]["code"]) == ("failed", code)


async def test_a_step_that_is_tried_again_finds_its_schedule(gateway: Gateway) -> None:
    await gateway.save("report", [{"type": "return", "value": 1}])
    resources: Resources = with_schedules(
        create_resources(gateway.services.data_dir), gateway.services.client, gateway.services.task_queue
    )
    name = f"{gateway.services.task_queue}-again"
    call = StepCall(
        tool="schedule_script", args={"script": "report", "id": name, "every": 3600}, path="s", key="run:1/s", run_id="run",
        now="2026-01-05T06:00:00.000+00:00",
    )  # fmt: skip
    first = await asyncio.to_thread(perform_call, resources, call)
    again = await asyncio.to_thread(perform_call, resources, call)
    assert first["id"] == again["id"] == name
    with pytest.raises(ToolError) as raised:
        await asyncio.to_thread(perform_call, resources, replace(call, key="run:2/s"))
    assert raised.value.code == "schedule_exists"
    unnamed = replace(call, args={"script": "report", "every": 3600}, key="run:3/s")
    made = [(await asyncio.to_thread(perform_call, resources, unnamed))["id"] for _ in range(2)]
    assert made[0] == made[1]
    for schedule_id in (name, made[0]):
        await gateway.http.delete(f"/v1/schedules/{schedule_id}")
    resources.databases.close()


async def test_a_trigger_that_is_tried_again_is_one_run(gateway: Gateway) -> None:
    path = await create(gateway, "once", cron="0 6 * * *", overlap="allow_all", paused=True)
    schedules, name = gateway.services.schedules, path.rpartition("/")[2]
    stretch = Backfill.model_validate(
        {"from": "2026-01-05T06:00:00Z", "to": "2026-01-05T06:00:00Z", "overlap": "allow_all"}
    )
    for _ in range(2):
        await schedules.trigger(name, "run:1/trigger")
        await schedules.backfill(name, stretch, "run:1/backfill")
    await runs_of(gateway, path, 2)
    await schedules.trigger(name, "run:2/trigger")

    async def counted() -> bool:
        return bool((await schedules.show(name))["runs"] == 3)

    await eventually(counted)
    assert len(await runs_of(gateway, path, 3)) == 3
    await schedules.delete(name)
