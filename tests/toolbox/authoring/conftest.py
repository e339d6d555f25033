"""A session over a real data directory, with its tools called as activities call them."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from activities import Resources
from toolbox import Drafts, ToolContext
from toolbox.access import Access, parse_scopes
from toolbox.authoring import Conversations, Desk, Record, Session, Work
from toolbox.tool import Bound

AUTHOR = "scripts:write,scripts:read,scripts:run,data:shop:read,data:shop:write,data:archive:read,tools:*"


def access_with(scopes: str, key: str = "k1") -> Access:
    return Access(key, "tester", parse_scopes(scopes.split(",")))


@dataclass
class Talk:
    """A session, and whoever talks."""

    resources: Resources
    conversations: Conversations
    id: str
    access: Access = field(default_factory=lambda: access_with(AUTHOR))
    services: dict[str, Any] = field(default_factory=dict)

    def call(self, tool: str, /, **args: Any) -> Any:
        """Call a tool of sessions: it is done, or nothing is."""
        return self.conversations.change(self.id, lambda work: self._called(work, tool, args))

    def once(self, key: str, tool: str, /, **args: Any) -> Any:
        return self.conversations.once(self.id, key, lambda work: self._called(work, tool, args))

    def bound(self, tool: str, /, **args: Any) -> Bound:
        """What a person is asked to approve."""
        found = self.resources.registry.get(tool)
        return self.conversations.change(self.id, lambda work: found.bound(self.context(work), args))

    def change(self, work: Callable[[Session], Any]) -> Any:
        return self.conversations.change(self.id, lambda found: work(found.session))

    @property
    def session(self) -> Session:
        return self.conversations.get(self.id)

    @property
    def script(self) -> dict[str, Any]:
        """The draft's text."""
        assert self.session.draft is not None
        return Drafts(self.resources.databases, self.resources.library).get(self.session.draft)[1].script

    def records(self, card: str | None = None) -> list[Record]:
        found = list(self.conversations.records(self.id))
        return [record for record in found if record.get("card") == card] if card else found

    def context(self, work: Work) -> ToolContext:
        return ToolContext(
            databases=self.resources.databases, database=None, view=None, idempotency_key=f"{self.id}/call", run_id=self.id, step="",
            now=datetime(2026, 1, 5, tzinfo=UTC), dry_run=False, mocks=frozenset(), services=replace(self.resources.services, **self.services),
            scope=frozenset(), session=Desk(work, self.access),
        )  # fmt: skip

    def _called(self, work: Work, tool: str, args: dict[str, Any]) -> Any:
        return self.resources.registry.get(tool).call_sync(self.context(work), args)


@pytest.fixture
def talk(resources: Resources) -> Talk:
    conversations = Conversations(resources.databases)
    made = Session(uuid.uuid4().hex, "k1", "2026-01-05T00:00:00.000+00:00", "2026-01-05T00:00:00.000+00:00")
    made.database = "shop"
    conversations.create(made)
    return Talk(resources, conversations, made.id)
