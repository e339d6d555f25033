"""Notices of schedules: that runs fail and recover, whoever ended them, each told once."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from temporalio.client import ScheduleBackfill, ScheduleOverlapPolicy

from activities import Notices, Resources
from gateway.schedules.requests import ScheduleRequest, new_schedule
from query import open_store
from tests.conftest import System
from tests.gateway.conftest import eventually
from tests.hooks import SECRET, Hooks, local
from toolbox import HttpPolicy, WebhookSettings
from toolbox.notices import PAUSES, EndedRun, NoticeBook, Notify

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)


def ended(number: int, outcome: str, **memo: Any) -> EndedRun:
    at = (NOW + timedelta(minutes=number)).isoformat(timespec="milliseconds")
    return EndedRun(
        f"e{number}", "daily", f"run-{number}", "report", outcome, at, at, {"url": "https://example.com/", **memo}
    )


@pytest.mark.parametrize(
    ("outcomes", "memo", "kinds"),
    [
        ("completed completed", {}, [None, None]),
        ("failed failed completed completed failed", {}, ["failure", None, "recovery", None, "failure"]),
        ("failed failed completed", {"every": True}, ["failure", "failure", "recovery"]),
        ("failed completed failed", {"on": ["recovery"]}, [None, "recovery", None]),
        ("failed completed", {"on": ["failure"]}, ["failure", None]),
        ("timed_out canceled terminated completed", {}, ["failure", None, None, "recovery"]),
        ("canceled completed", {}, [None, None]),
        ("terminated failed", {"overlap": "terminate_other"}, [None, "failure"]),
        ("terminated failed", {"overlap": "skip"}, ["failure", None]),
    ],
)
def test_what_is_told(resources: Resources, outcomes: str, memo: dict[str, Any], kinds: list[str | None]) -> None:
    book = NoticeBook(resources.databases)
    found = []
    for number, outcome in enumerate(outcomes.split()):
        found.append(book.record(ended(number, outcome, **memo), NOW.isoformat()))
        assert book.record(ended(number, outcome, **memo), NOW.isoformat()) is None
    assert found == kinds
    assert book.due(NOW.isoformat()) == [f"e{number}" for number, kind in enumerate(kinds) if kind]


def test_a_notice_is_tried_again_for_some_days_and_then_given_up(resources: Resources) -> None:
    from toolbox.errors import WebhookDelayed

    book = NoticeBook(resources.databases)
    book.record(ended(0, "failed"), NOW.isoformat(timespec="milliseconds"))
    now, statuses = NOW, []
    while True:
        row = book.claim("e0", now)
        assert row is not None
        assert book.claim("e0", now) is None, "another worker has it"
        statuses.append(book.mark(row, now, WebhookDelayed("no answer", retry_after=90)))
        if statuses[-1] != "pending":
            break
        now = max(now + timedelta(seconds=90), datetime.fromisoformat(row["due_at"]))
    assert statuses == ["pending"] * (len(PAUSES) - 1) + ["failed"]
    health = book.health("daily")
    assert health is not None
    assert (health["state"], health["failures"]) == ("failing", 1)
    assert health["last_notice"]["status"] == "failed"
    assert timedelta(days=1) < now - NOW < timedelta(days=4)


def test_what_was_told_long_ago_is_forgotten(resources: Resources) -> None:
    book = NoticeBook(resources.databases)
    for number, outcome in enumerate(("completed", "failed", "completed")):
        book.record(ended(number, outcome), NOW.isoformat(timespec="milliseconds"))
    row = book.claim("e1", NOW)
    assert row is not None
    book.mark(row, NOW, None)
    later = NOW + timedelta(days=2)
    book.seen("queue", later.isoformat(), later)
    assert [book.knows(f"e{number}") for number in range(3)] == [False, False, True], "that of the pending notice stays"
    assert book.seen_until("queue") == later.isoformat()


@pytest_asyncio.fixture(loop_scope="session")
async def notices(system: System, hooks: Hooks) -> AsyncIterator[Notices]:
    webhooks, policy = WebhookSettings({"default": SECRET}), HttpPolicy.allowing(["localhost"])
    services = replace(system.resources.services, webhooks=webhooks, http=policy)
    yield Notices(system.client, replace(system.resources, services=services), system.task_queue)


async def test_failures_and_recoveries_of_real_runs(system: System, notices: Notices, hooks: Hooks) -> None:
    """A failed run, one that was terminated, then one that succeeds: two webhooks, whatever is swept how often."""
    library = system.resources.library
    schedule_id = f"{system.task_queue}-daily"
    steps = [{"type": "if", "condition": "scheduled_at() < '2026-01-06'", "then": [{"type": "fail", "code": "no_data", "message": "nothing came"}]},
             {"type": "if", "condition": "scheduled_at() < '2026-01-07'", "then": [{"type": "wait", "duration": "1h"}]}]  # fmt: skip
    library.save({"name": "report", "steps": steps})
    request = ScheduleRequest.model_validate(
        {"script": "report", "cron": "0 6 * * *", "paused": True, "notify": {"url": local(hooks)}}
    )
    _, schedule = new_schedule(system.resources, system.task_queue, schedule_id, request)
    handle = await system.client.create_schedule(schedule_id, schedule)

    async def fire(day: str) -> None:
        moment = datetime.fromisoformat(f"{day}T06:00:00+00:00")
        await handle.backfill(
            ScheduleBackfill(moment - timedelta(milliseconds=1), moment, ScheduleOverlapPolicy.ALLOW_ALL)
        )

    async def told(count: int) -> list[dict[str, Any]] | None:
        await notices.sweep(datetime.now(UTC))
        return [json.loads(body) for _, _, body in hooks.got] if len(hooks.got) >= count else None

    hooks.answers = [(500, {})]
    await fire("2026-01-05")
    await eventually(lambda: told(1))
    book = NoticeBook(system.resources.databases)
    (waiting,) = book.due("9999")
    assert book.due(datetime.now(UTC).isoformat()) == [], "the receiver did not take it: later again"
    system.resources.databases.open("system").transact(
        lambda t: open_store(t, "_schedule_runs").update(waiting, {"due_at": "2026-01-01"})
    )
    first = (await eventually(lambda: told(2)))[1]
    assert hooks.got[0][1]["webhook-id"] == hooks.got[1][1]["webhook-id"]
    assert (first["type"], first["data"]["schedule"], first["data"]["outcome"]) == (
        "schedule.failure",
        schedule_id,
        "failed",
    )
    assert first["data"]["error"] == {"code": "no_data", "message": "nothing came"}
    assert first["data"]["scheduled_at"] == "2026-01-05T06:00:00.000+00:00"
    await fire("2026-01-06")
    run = system.client.get_workflow_handle(f"schedule-{schedule_id}-2026-01-06T06:00:00Z")

    async def terminated() -> bool:
        await run.terminate("enough")
        return True

    await asyncio.sleep(0)
    await eventually(_patient(terminated))
    await fire("2026-01-07")
    second = (await eventually(lambda: told(3)))[2]
    assert (second["type"], second["data"]["failures"]) == ("schedule.recovery", 2)
    assert await told(4) is None
    health = book.health(schedule_id)
    assert health is not None
    assert (health["state"], health["failures"], health["last_notice"]["status"]) == ("healthy", 0, "sent")
    await handle.delete()


def _patient(work: Any) -> Any:
    """The work, or nothing as long as Temporal knows no such run."""
    from temporalio.service import RPCError

    async def attempt() -> Any:
        try:
            return await work()
        except RPCError:
            return None

    return attempt


async def test_what_was_seen_is_not_noted_every_time(system: System, notices: Notices) -> None:
    book, now = NoticeBook(system.resources.databases), datetime.now(UTC)
    seen = []
    for minutes in (0, 4, 6, 10, 12):
        await notices.sweep(now + timedelta(minutes=minutes))
        seen.append(datetime.fromisoformat(book.seen_until(system.task_queue) or "") - now)
    assert seen == [timedelta(minutes=minutes) for minutes in (0, 0, 6, 6, 12)]


async def test_the_loop_goes_on_after_a_failure(
    system: System, notices: Notices, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop, swept = asyncio.Event(), []

    async def sweep(now: datetime) -> None:
        swept.append(now)
        if len(swept) == 2:
            stop.set()
        raise RuntimeError("Temporal is not there")

    monkeypatch.setattr(notices, "sweep", sweep)
    await asyncio.wait_for(notices.keep_told(0.001, stop), 10)
    assert len(swept) == 2


def test_a_memo_may_have_more(resources: Resources) -> None:
    assert (
        Notify.of_memo({"url": "https://example.com/", "overlap": "skip", "later": 1}).receiver().channel == "webhook"
    )
