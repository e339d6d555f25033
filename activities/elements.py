"""The elements of a chunk, one after the other, and what happens where one fails.

A batch that tolerates failures goes on behind an element that failed, without what it wrote. An element that has written nothing is passed
over. Behind one that has, the chunk goes back to its last mark, does the elements from there on again, and marks the place
behind the failed one: so no element is done more than twice, and a chunk without failures pays nothing.
"""

from collections.abc import Callable
from typing import Any, Protocol

from script.machine.effects import Done
from script.machine.local import Iterations, Perform

Heartbeat = Callable[[int], None]
_BEAT = 50


class Undo(Protocol):
    """What elements write."""

    wrote: bool
    """Whether anything was written since this was set to false."""

    def mark(self, position: int) -> None:
        """Make what was written until here stay."""

    def undo(self) -> None:
        """Forget what was written since the last mark."""


class Elements:
    """`failures` are the errors of the elements that failed, by their position; `processed` and `stopped` (by a break) tell the end."""

    def __init__(self, iterations: Iterations, elements: list[Any], perform: Perform, heartbeat: Heartbeat) -> None:
        self._iterations = iterations
        self._elements = elements
        self._perform = perform
        self._heartbeat = heartbeat
        self.failures: dict[int, dict[str, Any]] = {}
        self.processed = 0
        self.stopped = False

    def run(self, undo: Undo | None, tolerate: int) -> None:
        """Do them all, or up to the failure that is one too many, or to a break. Without `undo` nothing is put back behind a failure."""
        position = place = 0
        kept, end = self._counts(), len(self._elements)
        while position < end and not self.stopped:
            if position in self.failures:
                if undo is not None and place < position:
                    undo.mark(position)
                    kept = self._counts()
                position = place = position + 1
                continue
            before = self._counts() if undo is not None else {}
            if undo is not None:
                undo.wrote = False
            done = self._one(position)
            if done.error is None:
                position += 1
                self.stopped = done.status == "stopped"
                continue
            self.failures[position] = done.error
            if len(self.failures) > tolerate:
                end = position + 1
            if undo is None:
                position += 1
            elif undo.wrote:
                undo.undo()
                self._iterations.reduced = {name: dict(partial) for name, partial in kept.items()}
                position = place
            else:
                self._iterations.reduced = before
                position += 1
        self.processed = position

    def _one(self, position: int) -> Done:
        if position % _BEAT == _BEAT - 1:
            self._heartbeat(position)
        return self._iterations.run(position, self._elements[position], self._perform)

    def _counts(self) -> dict[str, Any]:
        return {name: dict(partial) for name, partial in self._iterations.reduced.items()}
