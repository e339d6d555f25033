"""What an eval talks to: a session, from a person's words to the records of its log."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from evals.outcome import Record


class Pipeline(Protocol):
    """One session over the samples of a case."""

    def say(self, text: str) -> Sequence[Record]:
        """Say something; gives the records of the turn that it began."""
        ...

    def scripts(self) -> Mapping[str, tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]]:
        """The drafts, by name: text, and what the checker says. The one that was edited last is the last one."""
        ...

    def changed(self) -> Mapping[str, Mapping[str, int]]:
        """What the session has changed in the databases so far."""
        ...

    def published(self) -> Sequence[str]:
        """The scripts that the session has published."""
        ...

    def close(self) -> None: ...
