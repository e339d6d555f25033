"""Sessions, recordings, dry runs and writes, interleaved at random, against a model: nobody finds in a session what was done in another,
and a dry run leaves what is committed as it was."""

import uuid
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from activities import Resources
from tests.authoring.harness import Talk, rows_of, with_rows

OPERATIONS = ("look", "put", "record", "stop", "begin", "step", "dry", "mock", "switch", "wrong")


@dataclass
class Expected:
    """What a session is by the model."""

    talk: Talk
    steps: list[str] | None = None
    draft: int | None = None
    mocks: set[str] = field(default_factory=set)
    database: str = "hr"
    scripts: int = 0


class World:
    """Three sessions over one store."""

    def __init__(self, here: Resources) -> None:
        self.here = replace(here, model=None)
        self.store = f"s{uuid.uuid4().hex[:8]}"
        self.rows: dict[int, int] = {}
        with_rows(here, "hr", self.store, [])
        self.sessions = [Expected(Talk.begin(self.here, database="hr")) for _ in range(3)]

    def do(self, who: int, operation: str, number: int) -> None:
        """Do something in one session, and see that it is as the model has it, and the others as they were."""
        others = [
            (each.talk.session.to_json(), each.talk.records())
            for each in self.sessions
            if each is not self.sessions[who]
        ]
        getattr(self, operation)(self.sessions[who], number)
        self.check(self.sessions[who])
        assert others == [
            (each.talk.session.to_json(), each.talk.records())
            for each in self.sessions
            if each is not self.sessions[who]
        ]

    def check(self, expected: Expected) -> None:
        session = expected.talk.session
        recording = session.recording
        assert (recording is None) == (expected.steps is None)
        if recording is not None:
            assert [step["command"] for step in recording.steps] == expected.steps
        assert (set(session.mocks), session.database) == (expected.mocks, expected.database)
        drafts = self.here.services.drafts
        assert drafts is not None
        assert (session.draft is None) == (expected.draft is None)
        if session.draft is not None:
            assert len(drafts.get(session.draft)[1].script["steps"]) == expected.draft
        assert {row["id"]: row["n"] for row in rows_of(self.here, "hr", self.store)} == self.rows

    def look(self, session: Expected, number: int) -> None:
        assert session.talk.say(f"/select {self.store} database=hr limit={number}")["status"] == "completed"
        self._recorded(session, "select")

    def put(self, session: Expected, number: int) -> None:
        said = f'/upsert {self.store} database=hr record={{"id": {number}, "n": {len(self.rows)}}}'
        value = len(self.rows)
        assert session.talk.say(said)["status"] == "completed"
        self.rows[number] = value
        self._recorded(session, "upsert")

    def wrong(self, session: Expected, number: int) -> None:
        assert session.talk.say(f"/get nothing key={number} database=hr")["status"] == "failed"

    def record(self, session: Expected, number: int) -> None:
        ended = session.talk.say(f"/record {self._name(session)}")
        assert (ended["status"] == "completed") == (session.steps is None)
        session.steps = [] if session.steps is None else session.steps

    def stop(self, session: Expected, number: int) -> None:
        ended = session.talk.say("/stop")
        assert (ended["status"] == "completed") == (session.steps is not None)
        if session.steps:
            session.draft = len(session.steps)
        session.steps = None

    def begin(self, session: Expected, number: int) -> None:
        assert session.talk.say(f"/create {self._name(session)} database=hr")["status"] == "completed"
        session.draft = 0

    def step(self, session: Expected, number: int) -> None:
        call = f'{{"type": "command", "command": "upsert", "args": {{"store": "{self.store}", "record": {{"id": {number}, "n": -1}}}}}}'
        ended = session.talk.say(f"/save_step step={call}")
        assert (ended["status"] == "completed") == (session.draft is not None)
        session.draft = None if session.draft is None else session.draft + 1

    def dry(self, session: Expected, number: int) -> None:
        before = self.here.databases.open("hr").head().seq
        ended = session.talk.say("/dry_run")
        assert (ended["status"] == "completed") == (session.draft is not None and session.draft > 0), ended
        hr = self.here.databases.open("hr")
        assert (hr.head().seq, hr.open_transactions()) == (before, [])

    def mock(self, session: Expected, number: int) -> None:
        assert session.talk.say("/mock_tool send_email")["status"] == "completed"
        session.mocks.add("send_email")

    def switch(self, session: Expected, number: int) -> None:
        session.database = "crm" if session.database == "hr" else "hr"
        assert session.talk.say(f"/switch_database {session.database}")["status"] == "completed"

    def _recorded(self, session: Expected, tool: str) -> None:
        if session.steps is not None:
            session.steps.append(tool)

    def _name(self, session: Expected) -> str:
        session.scripts += 1
        return f"n{session.talk.session_id}_{session.scripts}"


STEPS: Any = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(OPERATIONS), st.integers(1, 3)), min_size=4, max_size=12
)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_sessions_do_not_know_each_other(here: Resources, steps: list[tuple[int, str, int]]) -> None:
    here.databases.ensure("crm")
    world = World(here)
    for who, operation, number in steps:
        world.do(who, operation, number)
