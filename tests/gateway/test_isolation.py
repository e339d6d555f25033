"""Sessions and runs side by side, on a real server, at random, against a model: what is said, recorded, drafted and mocked in a session, a
run does not know; what a run does, no session finds in itself; and a dry run leaves what is committed as it was."""

import asyncio
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from btree import Database
from gateway.client import Client
from tests.gateway.conftest import Gateway

STEPS: list[dict[str, Any]] = [
    {"type": "command", "name": "put", "command": "upsert", "args": {"store": "rows", "record": {"id": "{{ id }}", "n": "{{ n }}"}}},
    {"type": "command", "name": "tell", "command": "send_email", "args": {"to": "a@example.com", "subject": "s", "body": "b"}},
    {"type": "fetch", "name": "all", "source": "btree", "resource": "rows", "variable": "all"},
    {"type": "return", "value": "{{ size(all) }}"},
]  # fmt: skip
OPERATIONS = ("run", "dry", "record", "put", "stop", "draft", "mock", "wrong")


@dataclass
class Expected:
    """What a session is by the model."""

    id: str
    recorded: list[int] | None = None
    steps: int | None = None
    mocks: set[str] = field(default_factory=set)


class World:
    """Two sessions and the runs of one script, over one store."""

    def __init__(self, client: Client, database: str, data: Database) -> None:
        self.client = client
        self.database = database
        self.data = data
        self.rows: dict[int, int] = {}
        self.sessions = [Expected(client.sessions.create(database=database).id) for _ in range(2)]

    def say(self, session: Expected, text: str) -> str:
        with self.client.sessions.send(session.id, text) as turn:
            list(turn)
        return str(turn.status)

    def run(self, session: Expected, number: int) -> None:
        """A run sees what is committed, and its mails are mocked because it was told so, not because a session has a mock."""
        self.rows[number] = number
        arguments = {"id": number, "n": number}
        run = self.client.runs.start(f"{self.database}_put", arguments, mocks=["send_email"])
        assert self.client.runs.result(run.id) == len(self.rows)

    def dry(self, session: Expected, number: int) -> None:
        before = self.data.head().seq
        assert self.say(session, f"/dry_run {self.database}_put id={number} n=-1") == "completed"
        assert (self.data.head().seq, self.data.open_transactions()) == (before, [])

    def record(self, session: Expected, number: int) -> None:
        said = self.say(session, f"/record r{uuid.uuid4().hex[:8]}")
        assert (said == "completed") == (session.recorded is None)
        session.recorded = session.recorded or []

    def put(self, session: Expected, number: int) -> None:
        self.rows[number] = -number
        assert self.say(session, f'/upsert rows record={{"id": {number}, "n": {-number}}}') == "completed"
        if session.recorded is not None:
            session.recorded.append(number)

    def stop(self, session: Expected, number: int) -> None:
        assert (self.say(session, "/stop") == "completed") == (session.recorded is not None)
        if session.recorded:
            session.steps = len(session.recorded)
        session.recorded = None

    def draft(self, session: Expected, number: int) -> None:
        assert self.say(session, f"/create d{uuid.uuid4().hex[:8]}") == "completed"
        session.steps = 0

    def mock(self, session: Expected, number: int) -> None:
        assert self.say(session, "/mock send_email") == "completed"
        session.mocks.add("send_email")

    def wrong(self, session: Expected, number: int) -> None:
        assert self.say(session, "/get nothing key=1") == "failed"

    def check(self) -> None:
        """Everything is as the model has it."""
        for expected in self.sessions:
            found = self.client.sessions.get(expected.id).record
            recording = found["recording"]
            assert (recording is None) == (expected.recorded is None)
            if recording is not None:
                assert [step["args"]["record"]["id"] for step in recording["steps"]] == expected.recorded
            assert (found["draft"] is None) == (expected.steps is None)
            if found["draft"] is not None:
                assert len(self.client.drafts.get(found["draft"]).script["steps"]) == expected.steps
            assert set(found["mocks"]) == expected.mocks
        assert {row["id"]: row["n"] for row in self.client.data.select(f"{self.database}/rows")} == self.rows


@contextmanager
def opened(gateway: Gateway, url: str) -> Iterator[World]:
    database = f"w{uuid.uuid4().hex[:8]}"
    with Client(url, gateway.key) as client:
        client.data.create_database(database)
        client.data.create_store(f"{database}/rows", ["id"])
        script = {"name": f"{database}_put", "database": database, "parameters": ["id", "n"], "steps": STEPS}
        client.scripts.save(script)
        yield World(client, database, gateway.services.databases.open(database))


async def test_sessions_and_runs_know_nothing_of_each_other(gateway: Gateway, url: str) -> None:
    @settings(
        max_examples=6,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(
        st.lists(
            st.tuples(st.sampled_from((0, 1)), st.sampled_from(OPERATIONS), st.integers(1, 4)), min_size=6, max_size=12
        )
    )
    def interleaved(operations: list[tuple[int, str, int]]) -> None:
        with opened(gateway, url) as world:
            for who, operation, number in operations:
                getattr(world, operation)(world.sessions[who], number)
                world.check()

    await asyncio.to_thread(interleaved)
