"""Retries and waits in the body of a batch, on real data."""

from typing import Any

import pytest

from script.machine.effects import Done
from tests.activities.conftest import Local

NOTE = {
    "type": "command",
    "name": "note",
    "command": "add",
    "args": {"store": "seen", "record": {"id": "{{ n }}", "try": "{{ tries }}"}},
}


def batch(*steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": "t", "database": "shop", "steps": [
        {"type": "loop", "name": "each", "list": "[0, 1, 2, 3, 4]", "iterator": "n", "batch_size": 3, "steps": list(steps), **more}]}  # fmt: skip


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was slept, instead of sleeping."""
    times: list[float] = []
    clock = [0.0]

    def sleep(seconds: float) -> None:
        times.append(seconds)
        clock[0] += seconds

    monkeypatch.setattr("activities.chunks.time.sleep", sleep)
    monkeypatch.setattr("activities.chunks.time.monotonic", lambda: clock[0])
    return times


def group(fails_at: str, attempts: int) -> list[dict[str, Any]]:
    """A group that writes, and then fails: its second try finds what was before the first."""
    counted = {
        "type": "command",
        "name": "count",
        "command": "aggregate",
        "args": {"store": "seen", "values": {"n": "count"}},
        "variable": "seen",
    }
    return [
        counted,
        {"type": "block", "name": "group", "retry": {"max_attempts": attempts, "initial_interval": 2.0}, "steps": [
            {"type": "set", "name": "try", "variable": "tries", "value": "{{ seen[0].n }}"}, NOTE,
            {"type": "fail", "name": "bad", "when": fails_at, "code": "bad", "message": "bad"}]},
    ]  # fmt: skip


def test_a_retry_of_a_group_undoes_what_the_failed_try_wrote(here: Local, slept: list[float]) -> None:
    """Were it not undone, the second try would find the record there, and fail with another error."""
    here.store("seen", [])
    ignored = {"type": "block", "name": "one", "continue_on_error": True, "steps": group("n == 3", 2)}
    told = {
        "type": "command",
        "name": "tell",
        "when": "n == 3",
        "command": "add",
        "args": {"store": "seen", "record": {"id": 10, "code": "{{ error.code }}"}},
    }
    assert here.run(batch(ignored, told)).error is None
    assert sum(slept) == pytest.approx(2)
    assert [row["id"] for row in here.rows("seen")] == [0, 1, 2, 3, 4, 10]
    assert here.rows("seen")[-1]["code"] == "bad"


def test_retried_groups_and_tolerated_failures_go_together(here: Local, slept: list[float]) -> None:
    here.store("seen", [])
    first = {
        "type": "command",
        "name": "first",
        "command": "add",
        "args": {"store": "seen", "record": {"id": "{{ 100 + n }}"}},
    }
    done = here.run(batch(first, *group("n % 2 == 1", 3), tolerate_failures=2))
    assert done == Done("completed", {"processed": 5, "failed": 2, "reduced": {}})
    assert [row["id"] for row in here.rows("seen")] == [0, 2, 4, 100, 102, 104]
    assert [(row["ordinal"], row["code"]) for row in here.rows("_batch_failures")] == [(1, "bad"), (3, "bad")]


def test_a_wait_is_slept_in_the_chunk_and_moves_its_clock(here: Local, slept: list[float]) -> None:
    here.store("seen", [])
    wait = {"type": "wait", "name": "wait", "duration": "3s"}
    note = {
        "type": "command",
        "name": "note",
        "command": "add",
        "args": {"store": "seen", "record": {"id": "{{ n }}", "at": "{{ string(now()) }}"}},
    }
    assert here.run(batch(wait, note)).error is None
    assert sum(slept) == pytest.approx(15)
    assert {row["at"] for row in here.rows("seen")} == {"2026-01-05T09:00:03Z"}


@pytest.mark.parametrize("wait", [{"duration": "61s"}, {"until": "2026-01-05T10:00:00Z"}])
def test_a_long_wait_is_refused(here: Local, slept: list[float], wait: dict[str, Any]) -> None:
    here.resources.databases.ensure("shop")
    done = here.run(batch({"type": "wait", "name": "wait", **wait}))
    assert done.error is not None
    assert done.error["code"] == "wait_in_batch"
    assert not slept


def test_a_long_pause_before_a_retry_is_refused(here: Local, slept: list[float]) -> None:
    here.resources.databases.ensure("shop")
    fail = {
        "type": "fail",
        "name": "bad",
        "code": "bad",
        "message": "bad",
        "retry": {"max_attempts": 5, "initial_interval": 61, "max_interval": 100},
    }
    done = here.run(batch(fail))
    assert done.error is not None
    assert done.error["code"] == "wait_in_batch"


def test_a_wait_is_cut_by_the_time_of_its_step(here: Local, slept: list[float]) -> None:
    here.resources.databases.ensure("shop")
    done = here.run(
        batch(
            {
                "type": "block",
                "name": "short",
                "timeout": "2s",
                "steps": [{"type": "wait", "name": "wait", "duration": "30s"}],
            }
        )
    )
    assert done.error is not None
    assert done.error["code"] == "timeout"
    assert sum(slept) == pytest.approx(2)
