"""Sagas, batches and transactions while worker, gateway and Temporal are killed with -9, again and again, at drawn moments.

Every run ends as an undisturbed one of its kind does; what it does to data happens exactly once; what it does outside happens under one
key, however often it is tried. A worker is killed while it waits for the mail server's answer: the mail is out, and the step is not done.
SOP_TEST_SEED=n repeats a run, SOP_LONG_TESTS=1 kills ten times as often.
"""

import asyncio
import os
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from email import message_from_bytes
from typing import Any

import httpx2
import pytest
from aiosmtpd.controller import Controller
from temporalio.client import Client

from btree import Database
from gateway.dev import Stack
from query import select
from settings import Settings
from tests.test_system import follow, kill, patiently

SEED = int(os.environ.pop("SOP_TEST_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 30)
ROUNDS = 30 if os.environ.get("SOP_LONG_TESTS") == "1" else 3
WAVE = 3
KINDS = ("booking", "mailing", "moving")
ROWS = 40


class Mails:
    """A mail server that takes its time: it counts a mail when it has it, and answers later."""

    def __init__(self) -> None:
        self.taken: Counter[str] = Counter()
        self.subjects: dict[str, str] = {}
        self.coming = threading.Event()

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        message = message_from_bytes(envelope.content)
        self.taken[message["Message-ID"]] += 1
        self.subjects[message["Message-ID"]] = message["Subject"]
        self.coming.set()
        await asyncio.sleep(0.2)
        return "250 OK"


@pytest.fixture
def mails() -> Iterator[tuple[Mails, int]]:
    handler = Mails()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    controller = Controller(handler, hostname="127.0.0.1", port=port)
    controller.start()
    yield handler, port
    controller.stop()


def command(name: str, tool: str, args: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "command", "name": name, "command": tool, "args": args, **more}


def mail(name: str, what: str, **more: Any) -> dict[str, Any]:
    return command(
        name, "send_email", {"to": "a@example.com", "subject": "{{ '" + what + " ' + run }}", "body": "b"}, **more
    )


def add(name: str, store: str, key: str, **more: Any) -> dict[str, Any]:
    return command(name, "add", {"store": store, "record": {"id": "{{ " + key + " }}"}}, **more)


SCRIPTS: list[dict[str, Any]] = [
    {"name": "book", "database": "bank", "parameters": ["run"], "steps": [add("note", "booked", "run")]},
    {"name": "unbook", "database": "bank", "parameters": ["run"], "steps": [add("note", "unbooked", "run")]},
    {"name": "booking", "parameters": ["run"], "steps": [  # a saga that fails in the end
        {"type": "script", "name": "book", "script_name": "book", "script_args": {"run": "{{ run }}"}, "compensate":
            [{"type": "script", "name": "undo", "script_name": "unbook", "script_args": {"run": "{{ run }}"}}]},
        mail("tell", "booked", compensate=[mail("sorry", "unbooked")]),
        {"type": "wait", "name": "pause", "duration": "1s"},
        {"type": "fail", "name": "no", "code": "sold_out", "message": "no"}]},
    {"name": "mailing", "database": "shop", "parameters": ["run"], "steps": [  # a batch, with mail from its outbox
        {"type": "loop", "name": "each", "list": str(list(range(ROWS))), "iterator": "n", "batch_size": 10, "output_variable": "r",
         "reduce": {"total": {"op": "sum", "value": "{{ n }}"}}, "steps": [
            add("row", "rows", "run + '-' + string(n)"),
            {**mail("letter", "letter"), "args": {"to": "a@example.com", "subject": "{{ 'letter ' + run + ' ' + string(n) }}", "body": "b"},
             "when": "n % 20 == 0"}]},
        {"type": "return", "value": "{{ [r.processed, r.reduced.total] }}"}]},
    {"name": "moving", "database": "shop", "parameters": ["run"], "steps": [  # one transaction, with a mail in its middle
        command("zero", "add", {"store": "totals", "record": {"id": "{{ run }}", "n": 0}}),
        {"type": "loop", "name": "each", "list": str(list(range(8))), "iterator": "i", "steps": [
            command("read", "get", {"store": "totals", "key": "{{ run }}"}, output_variable="total"),
            command("count", "update", {"store": "totals", "key": "{{ run }}", "values": {"n": "{{ total.n + 1 }}"}}),
            {**mail("middle", "moved"), "when": "i == 4"}]},
        {"type": "return", "value": "{{ total.n }}"}]},
]  # fmt: skip


class Runs:
    """The runs that were begun, and the threads that read their events to the end."""

    def __init__(self, http: httpx2.Client) -> None:
        self._http = http
        self.events: dict[str, list[dict[str, Any]]] = {}
        self._readers: list[threading.Thread] = []

    def begin(self, kind: str, number: int) -> None:
        """Begin a run, once, however often it has to be asked for."""
        run_id = f"{kind}-{number}"
        begun = patiently(
            lambda: self._http.post(
                f"/v1/scripts/{kind}/runs", json={"arguments": {"run": run_id}}, headers={"Idempotency-Key": run_id}
            ),
            60,
        )
        assert begun.status_code == 202, begun.text
        seen = self.events[run_id] = []
        reader = threading.Thread(target=follow, args=(self._http, run_id, seen), daemon=True)
        reader.start()
        self._readers.append(reader)

    def join(self) -> None:
        """Until all have ended."""
        for reader in self._readers:
            reader.join(90)
            assert not reader.is_alive()

    def story(self, run_id: str) -> tuple[Any, ...]:
        """What a run told, but for warnings and times, with its own name left out."""
        told = [event for event in self.events[run_id] if event["type"] != "warning"]
        last = told[-1]
        lines = [
            (event["type"], event["status"], event.get("path"), tuple(event.get("iteration", ()))) for event in told
        ]
        return (lines, last.get("result"), last.get("error", {}).get("code"))


async def attempts(address: str, run_ids: list[str]) -> tuple[int, int]:
    """How many activities the runs and their child runs had, and how often they were begun in all."""
    client, activities, begun = await Client.connect(address), 0, 0
    async for found in client.list_workflows():
        if not any(found.id == name or found.id.startswith(name + "/") for name in run_ids):
            continue
        async for event in client.get_workflow_handle(found.id, run_id=found.run_id).fetch_history_events():
            if event.HasField("activity_task_started_event_attributes"):
                activities += 1
                begun += event.activity_task_started_event_attributes.attempt
    return activities, begun


@pytest.mark.timeout(240 * ROUNDS)
def test_kills_at_any_moment_change_nothing(
    tmp_path_factory: pytest.TempPathFactory, mails: tuple[Mails, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SOP_LONG_TESTS", raising=False)  # it is no setting of the product
    handler, port = mails
    drawn = random.Random(SEED)
    told: list[str] = [f"SOP_TEST_SEED={SEED}"]
    smtp = {"smtp_url": f"smtp://127.0.0.1:{port}", "smtp_from": "shop@example.com"}
    stack = Stack(Settings(data_dir=tmp_path_factory.mktemp("chaos"), port=0, **smtp), say=told.append)  # type: ignore[arg-type]
    stack.start()
    try:
        headers = {"Authorization": f"Bearer {(stack.data_dir / 'api-key').read_text(encoding='utf-8').strip()}"}
        limits = httpx2.Limits(max_connections=200)
        with httpx2.Client(
            base_url=stack.gateway_url, headers=headers, timeout=30, trust_env=False, limits=limits
        ) as http:
            count = _disturbed(stack, http, handler, drawn, told)
        run_ids = [f"{kind}-{number}" for kind in KINDS for number in range(count)]
        activities, begun = asyncio.run(attempts(stack.temporal_address, run_ids))
        assert begun > activities > 0, "no step was tried again: the kills hit nothing"
    except AssertionError as error:
        raise AssertionError(f"{error}\n" + "\n".join(told)) from error
    finally:
        stack.stop()
    _check_data(stack, count)
    _check_mails(handler, count)


def _disturbed(stack: Stack, http: httpx2.Client, handler: Mails, drawn: random.Random, told: list[str]) -> int:
    """Run one of each kind in peace, then waves of them under kills; gives how many there were of each kind."""
    for name, stores in (("bank", ("booked", "unbooked")), ("shop", ("rows", "totals"))):
        assert http.post("/v1/databases", json={"name": name}).status_code == 201
        for store in stores:
            made = http.post(f"/v1/databases/{name}/stores", json={"name": store, "primary_key": ["id"]})
            assert made.status_code == 201
    for script in SCRIPTS:
        saved = http.post("/v1/scripts", json=script)
        assert saved.status_code == 201, saved.text
    runs = Runs(http)
    for kind in KINDS:
        runs.begin(kind, 0)
    runs.join()
    number = 1
    for _ in range(ROUNDS):
        for _ in range(WAVE):
            for kind in KINDS:
                runs.begin(kind, number)
            number += 1
        parts = ["worker", "gateway", "temporal"]
        drawn.shuffle(parts)
        for part in parts:
            time.sleep(drawn.uniform(0, 1.5))
            if part == "worker":
                handler.coming.clear()
                handler.coming.wait(20)  # a mail is on its way, unless no run sends one any more
            told.append(f"kill {part}")
            kill(stack, part)
        time.sleep(drawn.uniform(4, 8))
    runs.join()
    for kind in KINDS:
        undisturbed = runs.story(f"{kind}-0")
        for one in range(1, number):
            assert runs.story(f"{kind}-{one}") == undisturbed, f"{kind}-{one}"
    for seen in runs.events.values():
        assert [event["seq"] for event in seen] == list(range(1, len(seen) + 1))
    return number


def _check_data(stack: Stack, count: int) -> None:
    """Every effect on data once, for every run."""
    expected = {
        ("bank", "booked"): [f"booking-{n}" for n in range(count)],
        ("bank", "unbooked"): [f"booking-{n}" for n in range(count)],
        ("shop", "rows"): [f"mailing-{n}-{row}" for n in range(count) for row in range(ROWS)],
        ("shop", "totals"): [f"moving-{n}" for n in range(count)],
    }
    for name in ("bank", "shop"):
        with Database.open(stack.data_dir / "databases" / f"{name}.db") as database:
            assert database.check().ok
            assert not database.open_transactions()
            view = database.snapshot()
            for (where, store), ids in expected.items():
                if where == name:
                    assert sorted(row["id"] for row in select(view, store)) == sorted(ids), store
            if name == "shop":
                assert {row["n"] for row in select(view, "totals")} == {8}
                assert {row["status"] for row in select(view, "_outbox")} == {"sent"}


def _check_mails(handler: Mails, count: int) -> None:
    """Every mail under one id, and some of them sent more than once under it."""
    expected = [f"{what} booking-{n}" for n in range(count) for what in ("booked", "unbooked")]
    expected += [f"letter mailing-{n} {row}" for n in range(count) for row in (0, 20)]
    expected += [f"moved moving-{n}" for n in range(count)]
    assert sorted(handler.subjects.values()) == sorted(expected)
    assert handler.taken.total() > len(expected), "no mail was tried again: the kills hit nothing"
