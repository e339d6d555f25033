"""Which variables are defined where: names, each surely or perhaps."""

from collections.abc import Iterable


class Scope:
    """The variables at one place of a script: defined on every way there, or on some."""

    def __init__(self, sure: Iterable[str] = (), perhaps: Iterable[str] = ()) -> None:
        self.sure = set(sure)
        self.perhaps = set(perhaps) - self.sure

    def copy(self) -> "Scope":
        return Scope(self.sure, self.perhaps)

    def define(self, name: str | None, *, surely: bool = True) -> None:
        """A variable is set here."""
        if name is None or name in self.sure:
            return
        if surely:
            self.sure.add(name)
            self.perhaps.discard(name)
        else:
            self.perhaps.add(name)

    def knows(self, name: str) -> bool:
        return name in self.sure or name in self.perhaps

    def join(self, *branches: "Scope") -> None:
        """Continue behind branches, of which one was taken."""
        self.sure = set.intersection(*(branch.sure for branch in branches))
        self.perhaps = set.union(*(branch.sure | branch.perhaps for branch in branches)) - self.sure

    def maybe(self, branch: "Scope") -> None:
        """Continue behind steps that were perhaps not run."""
        self.perhaps |= (branch.sure | branch.perhaps) - self.sure

    def names(self) -> list[str]:
        return sorted(self.sure | self.perhaps)
