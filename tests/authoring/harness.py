"""The pipeline without HTTP and without Temporal: message -> service -> author -> tools -> history.

`Talk` has the product's own functions take each message (`activities.authoring.driving`). The model is a script.
"""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from activities import Resources
from activities.authoring import take
from agent import Message, Reply, ScriptedModel
from agent.author import Situation, Thought
from agent.author.turn import think as think_of
from agent.protocol import Call
from query import create_store, select
from script.session_wire import Approval, SessionMessage
from toolbox.access import ADMIN, Access
from toolbox.authoring.conversations import now_utc
from toolbox.authoring.state import Session

Said = str | Reply | tuple[str, Sequence[tuple[str, dict[str, Any]]]] | Exception
Line = Said | Callable[[Sequence[Message]], Said]
ME = Access("key-1", "me", (ADMIN,))


class Actor(ScriptedModel):
    """A model whose lines are given as a test goes on; `seen` is what the author was shown each time."""

    def __init__(self) -> None:
        super().__init__(self._speak)
        self.lines: list[Line] = []
        self.seen: list[Situation] = []

    def says(self, *lines: Line) -> None:
        """What to say from now on, and nothing else."""
        self.lines, self.seen[:] = list(lines), []

    def _speak(self, messages: Sequence[Message]) -> Said:
        line = self.lines.pop(0)
        return line(messages) if callable(line) else line

    def think(self, model: Any, situation: Situation, *rest: Any, **more: Any) -> Thought:
        """The author itself; what it is shown is kept."""
        self.seen.append(situation)
        return think_of(model, situation, *rest, **more)


def unreadable(tool: str) -> Reply:
    """A reply whose call has arguments that are no JSON object."""
    return Reply("", calls=(Call("x", tool, None, "{..."),))


@dataclass
class Talk:
    """A session, and a person in it."""

    resources: Resources
    session_id: str
    access: Access = ME
    fields: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def begin(cls, resources: Resources, *, access: Access = ME, **fields: Any) -> "Talk":
        now = now_utc()
        name = f"s{uuid.uuid4().hex[:12]}"
        resources.conversations.create(Session(name, access.key_id, now, now, **fields))
        return cls(resources, name, access)

    @property
    def session(self) -> Session:
        return self.resources.conversations.get(self.session_id)

    def records(self, *types: str) -> list[dict[str, Any]]:
        """What was said, of these types."""
        found = self.resources.conversations.records(self.session_id)
        return [record for record in found if not types or record["type"] in types]

    def types(self) -> list[str]:
        """What kinds of things were said, but for pieces of text: how many these are is a question of speed."""
        return [record["type"] for record in self.records() if record["type"] != "text_delta"]

    def results(self) -> list[tuple[str, str]]:
        """The results of tools: (tool, status)."""
        return [(record["tool"], record["status"]) for record in self.records("tool_result")]

    def cards(self, kind: str) -> list[dict[str, Any]]:
        return [record for record in self.records("card") if record["card"] == kind]

    def say(self, text: str = "", *, approval: Approval | None = None, key: str | None = None) -> dict[str, Any]:
        """Say something, and wait for the end of the turn; gives its last record."""
        message = SessionMessage(key or uuid.uuid4().hex, text, self.access.to_json(), now_utc(), approval)
        take(self.resources, self.session_id, message)
        return self.records("turn")[-1]

    def decide(self, *, approved: bool = True, comment: str = "") -> dict[str, Any]:
        """Decide what waits longest."""
        return self.say(approval=Approval(self.session.pending[0].id, approved, comment))


def with_rows(resources: Resources, database: str, store: str, rows: list[dict[str, Any]], key: str = "id") -> None:
    """A store with these rows."""

    def fill(transaction: Any) -> None:
        made = create_store(transaction, store, primary_key=[key])
        for row in rows:
            made.add(row)

    resources.databases.ensure(database).transact(fill)


def rows_of(resources: Resources, database: str, store: str) -> list[dict[str, Any]]:
    return list(select(resources.databases.open(database).snapshot(), store))


class Runs:
    """Starts no runs, and notes which."""

    def __init__(self) -> None:
        self.started: list[tuple[Any, ...]] = []

    def start(
        self, script: str, version: str | None, arguments: dict[str, Any], mocks: list[str], key: str, access: Any
    ) -> dict[str, Any]:
        self.started.append((script, version, arguments, mocks, key))
        return {"run_id": f"run-{len(self.started)}", "script": script, "version": version}
