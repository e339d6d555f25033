"""The whole system as processes, and each of them killed with -9 in the middle of a run: nothing is lost, nothing happens twice."""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from btree import Database
from gateway.dev import Stack
from query import open_store, select
from settings import Settings

STEPS = 60


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    running = Stack(Settings(data_dir=tmp_path_factory.mktemp("system"), port=0))
    running.start()
    yield running
    running.stop()


@pytest.fixture
def http(stack: Stack) -> Iterator[httpx2.Client]:
    key = (stack.data_dir / "api-key").read_text(encoding="utf-8").strip()
    with httpx2.Client(
        base_url=stack.gateway_url, headers={"Authorization": f"Bearer {key}"}, timeout=30, trust_env=False
    ) as made:
        yield made


def patiently(call: Any, seconds: float = 30) -> httpx2.Response:
    """Ask until there is an answer: the other side may be starting again."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            answer: httpx2.Response = call()
        except httpx2.TransportError:
            answer = httpx2.Response(503)
        if answer.status_code < 500:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"no answer within {seconds} s: {answer.status_code} {answer.text}")
        time.sleep(0.1)


def follow(http: httpx2.Client, run_id: str, seen: list[dict[str, Any]]) -> None:
    """Read a run's events to its end, going on behind the last one whenever the connection is cut."""
    deadline = time.monotonic() + 90
    while not (seen and seen[-1]["type"] == "run" and seen[-1]["seq"] > 1):
        assert time.monotonic() < deadline, seen[-1:]
        try:
            with http.stream(
                "GET", f"/v1/runs/{run_id}/events", params={"after": seen[-1]["seq"] if seen else 0}
            ) as answer:
                if answer.status_code == 200:
                    for line in answer.iter_lines():
                        record = json.loads(line)
                        if "seq" in record:
                            seen.append(record)
        except (httpx2.TransportError, json.JSONDecodeError):
            pass
        time.sleep(0.1)


def test_killing_every_part_in_turn_changes_nothing(stack: Stack, http: httpx2.Client) -> None:
    patiently(lambda: http.post("/v1/databases", json={"name": "shop"}))
    for name, key in (("items", ["id"]), ("totals", ["id"])):
        assert http.post("/v1/databases/shop/stores", json={"name": name, "primary_key": key}).status_code == 201
    script = {"name": "steady", "database": "shop", "steps": [
        {"type": "command", "name": "zero", "command": "add", "args": {"store": "totals", "record": {"id": 1, "n": 0}}},
        {"type": "loop", "name": "each", "list": str(list(range(STEPS))), "iterator": "i", "steps": [
            {"type": "command", "name": "put", "command": "add", "args": {"store": "items", "record": {"id": "{{ i }}"}}},
            {"type": "command", "name": "read", "command": "get", "args": {"store": "totals", "key": 1}, "output_variable": "total"},
            {"type": "command", "name": "count", "command": "update", "args": {"store": "totals", "key": 1, "values": {"n": "{{ total.n + 1 }}"}}}]},
        {"type": "return", "value": "{{ total.n }}"}]}  # fmt: skip
    assert http.post("/v1/scripts", json=script).status_code == 201
    started = http.post("/v1/scripts/steady/runs", json={}, headers={"Idempotency-Key": "steady-1"})
    assert started.status_code == 202
    run_id = started.json()["id"]
    seen: list[dict[str, Any]] = []
    reader = threading.Thread(target=follow, args=(http, run_id, seen))
    reader.start()
    for name, at in (("worker", 10), ("gateway", 25), ("temporal", 40)):
        deadline = time.monotonic() + 60
        while sum(event.get("name") == "put" for event in list(seen)) < at:
            assert time.monotonic() < deadline, f"stuck before the kill of {name}: {seen[-1:]}"
            time.sleep(0.01)
        kill(stack, name)
    reader.join(90)
    assert not reader.is_alive()
    assert [event["seq"] for event in seen] == list(range(1, len(seen) + 1))
    assert (seen[-1]["status"], seen[-1]["result"]) == ("completed", STEPS - 1)
    again = patiently(lambda: http.post("/v1/scripts/steady/runs", json={}, headers={"Idempotency-Key": "steady-1"}))
    assert (again.status_code, again.json()["id"]) == (202, run_id)
    with Database.open(stack.data_dir / "databases" / "shop.db") as database:
        view = database.snapshot()
        assert [row["id"] for row in select(view, "items")] == list(range(STEPS))
        assert open_store(view, "totals").get(1) == {"id": 1, "n": STEPS}
        assert database.check().ok
        assert not database.open_transactions()


def kill(stack: Stack, name: str) -> None:
    if name == "temporal":
        state = json.loads((stack.data_dir / "temporal.json").read_text(encoding="utf-8"))
        os.kill(state["pid"], signal.SIGKILL)
    else:
        stack.kill(name)


def test_a_second_stack_on_the_same_folder_uses_the_running_server(stack: Stack, tmp_path: Path) -> None:
    told: list[str] = []
    other = Stack(Settings(data_dir=stack.data_dir, port=0), say=told.append)
    other.start()
    try:
        assert other.temporal_address == stack.temporal_address
        assert other.gateway_url != stack.gateway_url
        assert any("runs already" in line for line in told)
    finally:
        other.stop()
    state = json.loads((stack.data_dir / "temporal.json").read_text(encoding="utf-8"))
    assert state["address"] == stack.temporal_address


def test_the_ready_line_of_another_stack_in_the_same_log_is_not_taken_for_ones_own(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    code = "import os, time; print('other ready (process 1)', flush=True); time.sleep(0.3); print(f'own ready (process {os.getpid()})')"
    stack = Stack(Settings(data_dir=tmp_path, port=0))
    part = stack._part("part", [sys.executable, "-c", code], r"(\w+) ready ", {})
    assert stack._launch(part)[1] == "own"
    stack.stop()


def test_a_relative_data_directory_is_that_of_the_person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data" / "logs").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    stack = Stack(Settings(data_dir=Path("data"), port=0))
    try:
        stack._start_temporal()
        assert (tmp_path / "data" / "temporal.db").exists()
    finally:
        stack.stop()
