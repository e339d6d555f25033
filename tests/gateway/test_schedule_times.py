"""When schedules fire, on a real server: changes of the clocks, fillings-in, limits, changes in place, times that had no run."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from gateway.runs.watch import watch_run
from gateway.schedules.times import due_times, exclusive, match_runs
from tests.gateway.conftest import Gateway, eventually, problem_of

NEW_YORK = {"time_zone": "America/New_York", "paused": True, "overlap": "allow_all"}


async def create(gateway: Gateway, name: str, **more: Any) -> str:
    """A schedule of the script `dated`, which gives its logical date; the schedule's path."""
    await gateway.save("dated", [{"type": "return", "value": "{{ scheduled_at() }}"}])
    body = {"id": f"{gateway.services.task_queue}-{name}", "script": "dated", **more}
    answer = await gateway.http.post("/v1/schedules", json=body)
    assert answer.status_code == 201, answer.text
    return answer.headers["location"]


async def runs_of(gateway: Gateway, path: str, count: int) -> list[str]:
    """The times that runs were started for, when there are so many; ids of one second have a suffix each."""
    schedule_id = path.rpartition("/")[2]

    async def started() -> list[str]:
        query = f"TemporalScheduledById = '{schedule_id}' AND ExecutionStatus = 'Completed'"
        return [run.id async for run in gateway.services.client.list_workflows(query)]

    found = await eventually(lambda: _at_least(started, count))
    return sorted(run.partition(f"{schedule_id}-")[2] for run in found)


async def _at_least(started: Any, count: int) -> list[str] | None:
    found: list[str] = await started()
    return found if len(found) >= count else None


async def backfill(gateway: Gateway, path: str, start: str, end: str, **more: Any) -> dict[str, Any]:
    answer = await gateway.http.post(f"{path}/backfill", json={"from": start, "to": end, **more})
    assert answer.status_code == 202, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_time_that_does_not_exist_and_one_that_comes_twice(gateway: Gateway) -> None:
    """In New York the clocks went from 02:00 to 03:00 on 2026-03-08, and from 02:00 back to 01:00 on 2026-11-01."""
    at_half_past_two = await create(gateway, "two", cron="30 2 * * *", **NEW_YORK)
    found = await backfill(gateway, at_half_past_two, "2026-03-07T00:00:00-05:00", "2026-03-10T00:00:00-04:00")
    assert (found["times"], found["first"]["local"]) == (2, "2026-03-07T02:30:00-05:00")
    assert await runs_of(gateway, at_half_past_two, 2) == ["2026-03-07T07:30:00Z", "2026-03-09T06:30:00Z"]
    at_half_past_one = await create(gateway, "one", calendar={"at": "01:30"}, **NEW_YORK)
    found = await backfill(gateway, at_half_past_one, "2026-10-31T00:00:00-04:00", "2026-11-03T00:00:00-05:00")
    assert found["times"] == 4
    assert await runs_of(gateway, at_half_past_one, 4) == [
        "2026-10-31T05:30:00Z",
        "2026-11-01T05:30:00Z",
        "2026-11-01T06:30:00Z",
        "2026-11-02T06:30:00Z",
    ]
    times = (
        await gateway.http.get(
            f"{at_half_past_one}/times", params={"from": "2026-11-01T00:00:00-04:00", "to": "2026-11-01T23:00:00-05:00"}
        )
    ).json()
    assert [moment["local"] for moment in times["data"]] == ["2026-11-01T01:30:00-04:00", "2026-11-01T01:30:00-05:00"]
    assert all(moment["run"].endswith(moment["utc"].replace("+00:00", "Z")) for moment in times["data"])


async def test_the_warnings_are_what_the_server_does(gateway: Gateway) -> None:
    for name, cron in (("a", "30 2 * * *"), ("b", "30 1 * * *"), ("c", "0 12 * * *"), ("d", "*/20 0-3 * * 0")):
        path = await create(gateway, name, cron=cron, **NEW_YORK)
        schedule_id = path.rpartition("/")[2]
        warned: Counter[str] = Counter()
        for warning in (await gateway.http.get(path)).json()["warnings"]:
            assert warning["day"] in warning["message"]
            warned[warning["day"]] += len(warning["times"]) * (1 if warning["effect"] == "twice" else -1)
        usual = {"a": 1, "b": 1, "c": 1, "d": 12}[name]
        found: dict[str, int] = {}
        now = datetime.now(UTC)
        for day in range(365):
            start = (now + timedelta(days=day)).date().isoformat()
            if start.endswith(("-03-14", "-11-07")):
                first = datetime.fromisoformat(f"{start}T04:00:00+00:00")
                due = [
                    moment
                    async for moment in due_times(
                        gateway.services.client, schedule_id, first, first + timedelta(hours=24)
                    )
                ]
                found[start] = len(due) - usual
        assert len(found) == 2
        assert {day: change for day, change in found.items() if change} == warned


async def test_a_filling_in_includes_both_ends_and_runs_each_time_once(gateway: Gateway) -> None:
    path = await create(gateway, "hourly", cron="0 * * * *", paused=True)
    found = await backfill(gateway, path, "2026-01-05T00:00:00Z", "2026-01-05T03:00:00Z")
    assert (found["times"], found["overlap"]) == (4, "buffer_all")
    assert await runs_of(gateway, path, 4) == [f"2026-01-05T0{hour}:00:00Z" for hour in range(4)]
    later = await backfill(gateway, path, "2026-01-06T00:00:00.5Z", "2026-01-06T01:59:59Z", overlap="allow_all")
    assert later["times"] == 1
    assert (await runs_of(gateway, path, 5))[4:] == ["2026-01-06T01:00:00Z"]
    run = f"schedule-{path.rpartition('/')[2]}-2026-01-05T02:00:00Z"
    assert (await gateway.http.get(f"/v1/runs/{run}")).json()["output"] == "2026-01-05T02:00:00.000+00:00"
    events = [event async for event in watch_run(gateway.services.client, run)]
    assert [event["result"] for event in events[1:]] == ["2026-01-05T02:00:00.000+00:00"] * 2


async def test_a_filling_in_of_every_second(gateway: Gateway) -> None:
    """The start is whole seconds, one before would be one run too many."""
    path = await create(gateway, "secondly", every=1, paused=True)
    assert (await backfill(gateway, path, "2026-01-05T00:00:05Z", "2026-01-05T00:00:07Z", overlap="allow_all"))[
        "times"
    ] == 3
    assert await runs_of(gateway, path, 3) == [f"2026-01-05T00:00:0{second}Z" for second in (5, 6, 7)]


def test_the_start_that_includes_a_moment() -> None:
    noon = datetime(2026, 1, 5, 12, tzinfo=UTC)
    assert exclusive(noon) == noon - timedelta(milliseconds=1)
    assert exclusive(noon + timedelta(milliseconds=1)) == noon + timedelta(milliseconds=999)


async def test_what_cannot_be_filled_in(gateway: Gateway) -> None:
    path = await create(gateway, "refused", every=60, paused=True)
    for start, end, pointer in (
        ("2026-01-05T00:00:00Z", "2026-01-04T00:00:00Z", "/to"),
        ("2026-01-05T00:00:00Z", "2126-01-04T00:00:00Z", "/to"),
        ("2026-01-05T00:00:00Z", "2026-02-05T00:00:00Z", "/to"),
    ):
        answer = await gateway.http.post(f"{path}/backfill", json={"from": start, "to": end})
        assert problem_of(answer, 422, "invalid_schedule")["errors"][0]["pointer"] == pointer
    answer = await gateway.http.post(
        f"{path}/backfill", json={"from": "2026-01-05T00:00:00", "to": "2026-01-05T00:00:00Z"}
    )
    problem_of(answer, 422, "invalid_request")
    assert (await backfill(gateway, path, "2026-01-05T00:00:01Z", "2026-01-05T00:00:02Z"))["times"] == 0


async def test_a_change_in_place_keeps_the_rest(gateway: Gateway) -> None:
    path = await create(
        gateway, "changed", calendars=[{"days": ["monday"], "at": "09:00"}, {"days": ["friday"], "at": "17:30"}],
        time_zone="Europe/Madrid", jitter_seconds=5, remaining_actions=7, pause_on_failure=True,
        end_at="2099-01-01T00:00:00Z", notify={"url": "https://example.com/h"},
    )  # fmt: skip
    before = (await gateway.http.get(path)).json()
    assert before["when"] == ["monday at 09:00", "friday at 17:30"]
    assert (before["jitter_seconds"], before["remaining_actions"], before["pause_on_failure"]) == (5.0, 7, True)
    assert before["notify"] == {
        "on": ["failure", "recovery"],
        "every": False,
        "url": "https://example.com/h",
        "secret": "default",
    }
    tried = (await gateway.http.patch(path, json={"cron": "0 6 * * *", "paused": True, "dry_run": True})).json()
    assert (tried["when"], tried["paused"], tried["dry_run"]) == (["cron 0 6 1-31 1-12 0-6"], True, True)
    assert {moment["local"][11:13] for moment in tried["next_runs"]} == {"06"}
    assert (await gateway.http.get(path)).json() == before
    after = (await gateway.http.patch(path, json={"cron": "0 6 * * *", "paused": True, "note": "new hours"})).json()
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"when", "next_runs", "paused", "note"}
    assert {moment["local"][11:16] for moment in after["next_runs"]} == {"06:00"}
    limits = {"remaining_actions": None, "end_at": None, "notify": None, "time_zone": "Asia/Tokyo", "jitter_seconds": 0}
    free = (await gateway.http.patch(path, json=limits)).json()
    assert {name: free[name] for name in limits} == limits
    assert (free["paused"], free["when"]) == (True, after["when"])
    await gateway.save("other", [{"type": "return", "value": "{{ n }}"}], parameters=["n"])
    refused = await gateway.http.patch(path, json={"script": "other"})
    problem_of(refused, 422, "invalid_arguments")
    moved = (await gateway.http.patch(path, json={"script": "other", "arguments": {"n": 3}, "version": 1})).json()
    assert (moved["script"], moved["arguments"], len(moved["version"])) == ("other", {"n": 3}, 64)
    for body, pointer in (
        ({"paused": None}, "/paused"),
        ({"cron": "0 6 * * *", "every": 5}, ""),
        ({"time_zone": "x"}, "/time_zone"),
    ):
        answer = await gateway.http.patch(path, json=body)
        assert answer.json()["errors"][0]["pointer"] == pointer


async def test_a_dry_run_leaves_nothing_behind(gateway: Gateway) -> None:
    await create(gateway, "kept", cron="0 0 1 1 *", paused=True)
    body = {"script": "dated", "cron": "0 0 29 2 *", "time_zone": "UTC", "dry_run": True, "id": "tried"}
    answer = await gateway.http.post("/v1/schedules", json=body)
    assert (answer.status_code, answer.json()["dry_run"]) == (200, True)
    assert [moment["utc"][:10] for moment in answer.json()["next_runs"]][:2] == ["2028-02-29", "2032-02-29"]
    problem_of(await gateway.http.get("/v1/schedules/tried"), 404, "schedule_not_found")
    refused = await gateway.http.post("/v1/schedules", json={**body, "cron": "99 0 1 1 *"})
    problem_of(refused, 422, "invalid_schedule")

    async def only_ours() -> bool:
        found = [entry.id async for entry in await gateway.services.client.list_schedules()]
        return f"{gateway.services.task_queue}-kept" in found and not any(name.startswith(".preview") for name in found)

    await eventually(only_ours)


async def test_limits_in_time(gateway: Gateway) -> None:
    limits = {"start_at": "2099-01-01T09:00:00Z", "end_at": "2099-01-03T09:00:00Z"}
    path = await create(gateway, "limited", cron="0 9 * * *", **limits)
    found = (await gateway.http.get(path)).json()
    assert [moment["utc"] for moment in found["next_runs"]] == [f"2099-01-0{day}T09:00:00+00:00" for day in (1, 2, 3)]
    page = (
        await gateway.http.get(
            f"{path}/times", params={"from": "2098-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z", "limit": 2}
        )
    ).json()
    assert ([moment["utc"][:10] for moment in page["data"]], page["has_more"]) == (["2099-01-01", "2099-01-02"], True)
    assert "run" not in page["data"][0]


async def test_so_many_runs_and_no_more(gateway: Gateway) -> None:
    path = await create(gateway, "twice", every=1, remaining_actions=2)
    assert len(await runs_of(gateway, path, 2)) == 2

    async def used_up() -> bool:
        found = (await gateway.http.get(path)).json()
        return found["remaining_actions"] == 0 and found["runs"] == 2

    await eventually(used_up)


async def test_times_that_were_skipped_are_told(gateway: Gateway) -> None:
    await gateway.save_held("dated_held")
    body = {"id": f"{gateway.services.task_queue}-skipping", "script": "dated_held", "every": 1}
    path = (await gateway.http.post("/v1/schedules", json=body)).headers["location"]

    async def skipped() -> dict[str, Any] | None:
        found: dict[str, Any] = (await gateway.http.get(path)).json()
        return found if found["missed"]["overlap"] >= 2 else None

    found = await eventually(skipped)
    assert len(found["recent_runs"]) == 1
    ran = datetime.fromisoformat(found["recent_runs"][0]["scheduled_at"])
    assert [datetime.fromisoformat(moment["utc"]) for moment in found["missed"]["last"]][:2] == [
        ran + timedelta(seconds=1),
        ran + timedelta(seconds=2),
    ]
    times = (
        await gateway.http.get(
            f"{path}/times", params={"from": ran.isoformat(), "to": (ran + timedelta(seconds=1)).isoformat()}
        )
    ).json()
    assert [moment["run"] for moment in times["data"]] == [found["recent_runs"][0]["run"], None]
    await gateway.http.delete(path)
    gateway.gate.set()


async def test_the_logical_date_is_that_of_everything_in_the_run(gateway: Gateway) -> None:
    """Scripts that are called, as children too, the body of a batch, and rows that a tool renders."""
    await gateway.http.post("/v1/databases", json={"name": "shop"})
    await gateway.http.post("/v1/databases/shop/stores", json={"name": "days", "primary_key": ["id"]})
    await gateway.save("own", [{"type": "return", "value": "{{ scheduled_at() }}"}], database="shop")
    steps: list[dict[str, Any]] = [
        {"type": "script", "name": "child", "script_name": "own", "output_variable": "child"},
        {"type": "loop", "name": "each", "list": "[1, 2]", "iterator": "i", "batch_size": 2, "output_variable": "batch",
         "reduce": {"days": {"op": "collect", "value": "day"}}, "steps": [
            {"type": "set", "variable": "day", "value": "{{ scheduled_at() }}"},
            {"type": "command", "command": "add", "args": {"store": "days", "record": {"id": "{{ i }}"}}}]},
        {"type": "command", "name": "stamp", "command": "select",
         "args": {"store": "days", "action": "update", "update_values": {"day": "{{ scheduled_at() }}"}}},
        {"type": "return", "value": ["{{ child }}", "{{ batch.reduced.days }}"]},
    ]  # fmt: skip
    await gateway.save("everything", steps, database="shop")
    body = {"id": f"{gateway.services.task_queue}-all", "script": "everything", "cron": "0 6 * * *", "paused": True}
    path = (await gateway.http.post("/v1/schedules", json=body)).headers["location"]
    await backfill(gateway, path, "2026-01-05T06:00:00Z", "2026-01-05T06:00:00Z")
    assert await runs_of(gateway, path, 1) == ["2026-01-05T06:00:00Z"]
    day = "2026-01-05T06:00:00.000+00:00"
    run = (await gateway.http.get(f"/v1/runs/schedule-{path.rpartition('/')[2]}-2026-01-05T06:00:00Z")).json()
    assert run["output"] == [day, [day, day]]
    rows = (await gateway.http.get("/v1/databases/shop/stores/days/rows")).json()["data"]
    assert rows == [{"id": 1, "day": day}, {"id": 2, "day": day}]


def test_runs_of_times_with_jitter() -> None:
    start = datetime(2026, 1, 5, tzinfo=UTC)
    at = [start + timedelta(seconds=seconds) for seconds in (1.5, 10, 22.9, 39)]
    runs = {start + timedelta(seconds=seconds): f"run-{seconds}" for seconds in (0, 20, 30)}
    assert match_runs(at, runs, timedelta(seconds=10)) == {at[0]: "run-0", at[2]: "run-20", at[3]: "run-30"}
    assert match_runs(at, runs, timedelta(0)) == {}


async def test_times_with_jitter_find_their_runs(gateway: Gateway) -> None:
    path = await create(gateway, "jitter", every=2, jitter_seconds=1.5, overlap="allow_all", remaining_actions=2)
    await runs_of(gateway, path, 2)
    found = (await gateway.http.get(path)).json()
    since = (datetime.fromisoformat(found["recent_runs"][0]["scheduled_at"]) - timedelta(milliseconds=1)).isoformat()
    to = found["recent_runs"][1]["scheduled_at"]
    times = (await gateway.http.get(f"{path}/times", params={"from": since, "to": to})).json()["data"]
    assert {run["run"] for run in found["recent_runs"]} >= {moment["run"] for moment in times} - {None}
    assert times[-1]["run"] == found["recent_runs"][1]["run"]
