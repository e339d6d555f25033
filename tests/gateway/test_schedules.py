"""Schedules: Temporal's own, checked, with their next times."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from temporalio.client import ScheduleActionStartWorkflow, ScheduleCalendarSpec, ScheduleRange, ScheduleSpec

from gateway.problems import ApiError
from gateway.schedules.calendars import Calendar, When, fire_times
from gateway.schedules.clock_changes import clock_change_warnings
from tests.gateway.conftest import Gateway, eventually, problem_of

NIGHT = ScheduleSpec(calendars=[ScheduleCalendarSpec(hour=[ScheduleRange(2)])])
MONDAY = {"calendar": {"days": ["monday"], "at": "09:00"}, "time_zone": "Europe/Madrid"}


async def save(gateway: Gateway) -> None:
    await gateway.save(
        "report", [{"type": "return", "value": "{{ day }}"}], parameters=[{"name": "day", "type": "string"}]
    )


def schedule(gateway: Gateway, **more: Any) -> dict[str, Any]:
    prefix = gateway.services.task_queue
    return {"id": f"{prefix}-weekly", "script": "report", "arguments": {"day": "x"}, **MONDAY, **more}


async def test_every_monday_at_nine_in_madrid(gateway: Gateway) -> None:
    await save(gateway)
    answer = await gateway.http.post("/v1/schedules", json=schedule(gateway))
    found = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (201, f"/v1/schedules/{found['id']}")
    assert len(found["next_runs"]) == 5
    for times in found["next_runs"]:
        local = datetime.fromisoformat(times["local"])
        assert (local.isoweekday(), local.hour, local.minute) == (1, 9, 0)
        assert local == datetime.fromisoformat(times["utc"]) > datetime.now(UTC)
        assert local.utcoffset() == local.astimezone(ZoneInfo("Europe/Madrid")).utcoffset()
    assert {name: found[name] for name in ("overlap", "catchup_seconds", "paused", "warnings", "version", "when")} == {
        "overlap": "skip",
        "catchup_seconds": 86400.0,
        "paused": False,
        "warnings": [],
        "version": None,
        "when": ["monday at 09:00"],
    }
    native = await gateway.services.client.get_schedule_handle(found["id"]).describe()
    action = native.schedule.action
    assert isinstance(action, ScheduleActionStartWorkflow)
    assert (action.workflow, action.id) == ("ScriptWorkflow", f"schedule-{found['id']}")
    assert native.schedule.spec.jitter is None or not native.schedule.spec.jitter

    async def listed() -> list[Any]:
        return list((await gateway.http.get("/v1/schedules")).json()["data"])

    entry = (await eventually(listed))[0]
    assert (entry["id"], entry["script"], entry["paused"]) == (found["id"], "report", False)
    assert entry["next_runs"][0] == found["next_runs"][0]
    await gateway.http.delete(f"/v1/schedules/{found['id']}")


async def test_a_triggered_schedule_runs_its_script(gateway: Gateway) -> None:
    await save(gateway)
    path = (await gateway.http.post("/v1/schedules", json=schedule(gateway))).headers["location"]
    assert (await gateway.http.post(f"{path}/trigger")).status_code == 202

    async def ran() -> list[Any]:
        return list((await gateway.http.get(path)).json()["recent_runs"])

    run_id = (await eventually(ran))[0]["run"]
    assert run_id.startswith(f"schedule-{gateway.services.task_queue}-weekly-20")

    async def completed() -> dict[str, Any] | None:
        found: dict[str, Any] = (await gateway.http.get(f"/v1/runs/{run_id}")).json()
        return found if found["state"] == "completed" else None

    run = await eventually(completed)
    assert (run["script"], run["trigger"], run["output"]) == ("report", "schedule", "x")
    assert (await gateway.http.delete(path)).status_code == 204
    problem_of(await gateway.http.get(path), 404, "schedule_not_found")


async def test_pausing(gateway: Gateway) -> None:
    await save(gateway)
    path = (await gateway.http.post("/v1/schedules", json=schedule(gateway))).headers["location"]
    paused = (await gateway.http.post(f"{path}/pause", json={"note": "holidays"})).json()
    assert (paused["paused"], paused["note"]) == (True, "holidays")
    assert (await gateway.http.post(f"{path}/unpause")).json()["paused"] is False
    await gateway.http.delete(path)


async def test_cron_every_and_a_pinned_version(gateway: Gateway) -> None:
    await save(gateway)
    version = (await gateway.http.get("/v1/scripts/report")).json()["version"]
    cron = schedule(gateway, calendar=None, cron="30 2 * * *", version=1)
    found = (await gateway.http.post("/v1/schedules", json=cron)).json()
    assert (found["version"], found["when"]) == (version, ["cron 30 2 1-31 1-12 0-6"])
    assert {(warning["code"], warning["effect"]) for warning in found["warnings"]} == {
        ("clock_change", "skipped"),
        ("clock_change", "twice"),
    }
    await gateway.http.delete(f"/v1/schedules/{found['id']}")
    every = schedule(gateway, id=f"{gateway.services.task_queue}-e", calendar=None, every=900, overlap="buffer_one")
    told = (await gateway.http.post("/v1/schedules", json=every)).json()
    assert (told["when"], told["catchup_seconds"], told["overlap"]) == (["every 900 s"], 600.0, "buffer_one")
    await gateway.http.delete(f"/v1/schedules/{told['id']}")


async def test_what_is_refused(gateway: Gateway) -> None:
    await save(gateway)
    wrong: list[tuple[dict[str, Any], str, str]] = [
        ({"time_zone": "Europe/Madird"}, "unknown_time_zone", "/time_zone"),
        ({"time_zone": "../../etc/passwd"}, "unknown_time_zone", "/time_zone"),
        ({"cron": "0 9 * * 1"}, "invalid_schedule", ""),
        ({"calendar": None}, "invalid_schedule", ""),
        ({"calendar": None, "cron": "0 9 * *"}, "invalid_schedule", "/cron"),
        ({"calendar": None, "cron": "@daily x x x x"}, "invalid_schedule", "/cron"),
        ({"calendar": None, "cron": "CRON_TZ=UTC 0 9 * *"}, "invalid_schedule", "/cron"),
        ({"calendar": None, "cron": "99 9 * * 1"}, "invalid_schedule", "/cron"),
        ({"calendar": None, "every": 0.5}, "invalid_request", "/every"),
        ({"arguments": {"dya": "x"}}, "invalid_arguments", "/arguments/dya"),
        ({"mocks": ["nope"]}, "unknown_tool", "/mocks/0"),
        ({"id": "a/b"}, "invalid_name", "/id"),
        ({"overlap": "never"}, "invalid_request", "/overlap"),
        ({"calendar": None, "cron": "0 9 30 2 *"}, "invalid_schedule", ""),
        ({"end_at": "2026-01-01T00:00:00Z"}, "invalid_schedule", ""),
        ({"end_at": "2026-01-01T00:00:00Z", "dry_run": True}, "invalid_schedule", ""),
    ]
    for more, code, pointer in wrong:
        problem = problem_of(await gateway.http.post("/v1/schedules", json=schedule(gateway, **more)), 422, code)
        assert problem["errors"][0]["pointer"] == pointer, more
    problem_of(await gateway.http.get(f"/v1/schedules/{schedule(gateway)['id']}"), 404, "schedule_not_found")
    near = await gateway.http.post("/v1/schedules", json=schedule(gateway, time_zone="Europe/Madird"))
    assert near.json()["hint"] == "did you mean 'Europe/Madrid'?" or near.json()["errors"][0]["hint"]
    problem_of(await gateway.http.post("/v1/schedules", json=schedule(gateway, script="x")), 404, "script_not_found")
    path = (await gateway.http.post("/v1/schedules", json=schedule(gateway))).headers["location"]
    problem_of(await gateway.http.post("/v1/schedules", json=schedule(gateway)), 409, "schedule_exists")
    ended = await gateway.http.patch(path, json={"end_at": "2026-01-01T00:00:00Z"})
    assert [warning["code"] for warning in ended.json()["warnings"]] == ["never_due"]
    await gateway.http.delete(path)
    for method, more_path in (
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/pause"),
        ("POST", "/unpause"),
        ("POST", "/trigger"),
    ):
        problem_of(await gateway.http.request(method, f"/v1/schedules/nope{more_path}"), 404, "schedule_not_found")


@pytest.mark.parametrize(
    ("zone", "warned"), [("Europe/Madrid", True), ("America/New_York", True), ("UTC", False), ("Asia/Tokyo", False)]
)
def test_the_clock_change_warning(zone: str, warned: bool) -> None:
    now = datetime(2027, 1, 1, tzinfo=UTC)
    assert bool(clock_change_warnings(NIGHT, ZoneInfo(zone), now)) is warned
    at_nine = ScheduleSpec(calendars=[ScheduleCalendarSpec(hour=[ScheduleRange(3, 23)])])
    assert clock_change_warnings(at_nine, ZoneInfo(zone), now) == []
    every_other = ScheduleSpec(calendars=[ScheduleCalendarSpec(hour=[ScheduleRange(0, 23, 2)])])
    assert bool(clock_change_warnings(every_other, ZoneInfo(zone), now)) is warned


def test_fire_times_over_a_clock_change() -> None:
    times = [datetime(2027, 3, 29, 7, tzinfo=UTC), datetime(2027, 3, 22, 8, tzinfo=UTC)]
    assert fire_times(times, ZoneInfo("Europe/Madrid")) == [
        {"utc": "2027-03-22T08:00:00+00:00", "local": "2027-03-22T09:00:00+01:00"},
        {"utc": "2027-03-29T07:00:00+00:00", "local": "2027-03-29T09:00:00+02:00"},
    ]


def test_calendars() -> None:
    spec = When(calendar=Calendar(days=["sunday", "friday", "friday"], at="23:59:30")).spec()
    (calendar,) = spec.calendars
    assert [days.start for days in calendar.day_of_week] == [0, 5]
    assert (calendar.hour[0].start, calendar.minute[0].start, calendar.second[0].start) == (23, 59, 30)
    with pytest.raises(ApiError, match="exactly one"):
        When().spec()
