"""What an eval talks to: a session, from a person's words to the records of its log."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from evals.case import Reply
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


class Answers(Protocol):
    """A model, as the stand-in asks it."""

    def begin(self, turn: int) -> None:
        """The person has said something: the turn counts from 0."""
        ...

    def next(self, records: Sequence[Record]) -> Reply:
        """The next answer in the turn."""
        ...


class Scripted:
    """A model that answers as a case says: for each turn its replies in order, and then that it is done."""

    def __init__(self, turns: Sequence[Sequence[Reply]]) -> None:
        self._turns = turns
        self._left: list[Reply] = []

    def begin(self, turn: int) -> None:
        self._left = list(self._turns[turn]) if turn < len(self._turns) else []

    def next(self, records: Sequence[Record]) -> Reply:
        return self._left.pop(0) if self._left else Reply("That is all.")
