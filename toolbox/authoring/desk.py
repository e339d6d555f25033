"""What a tool of a session works with (`ToolContext.session`): the session within a transaction, and whoever may do what."""

from dataclasses import dataclass
from typing import Any, Protocol

from toolbox.access import Access
from toolbox.authoring.conversations import Record, Work
from toolbox.authoring.state import Session


class Rehearsal(Protocol):
    """Runs a script dry, here and now: real reads, writes that are dropped, nothing outside."""

    def __call__(
        self, script: dict[str, Any], arguments: dict[str, Any], *, mocks: dict[str, Any], access: Access
    ) -> dict[str, Any]:
        """{status, result | error, events (at most MOST_EVENTS, in order), events_left_out, duration_ms}. The events are those of a run.

        Raises ScriptInvalid, ToolError.
        """
        ...


class RunDesk(Protocol):
    """Starts runs. May be called from any thread, and raises ToolError."""

    def start(
        self, script: str, version: str | None, arguments: dict[str, Any], mocks: list[str], key: str, access: Access
    ) -> dict[str, Any]:
        """{run_id, script, version}; the same key is the same run."""
        ...


@dataclass
class Desk:
    """`work` is the session's transaction: what a tool changes in `session`, what it says, and what it writes into the system database with
    `work.transaction` is kept together, once, or not at all."""

    work: Work
    access: Access

    @property
    def session(self) -> Session:
        return self.work.session

    def say(self, type: str, **fields: Any) -> Record:
        """Append a record to the log."""
        return self.work.say(type, **fields)
