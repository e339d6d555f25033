"""The facts about versions and transactions."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Version:
    """A committed state: its number, the root page of its catalog, and when it was committed (seconds since 1970)."""

    seq: int
    root: int
    committed_at: float


@dataclass(frozen=True)
class TransactionStatus:
    """What became of a transaction: open, committed (as `version`), rolled_back, or unknown here."""

    id: str
    state: str
    version: int | None = None
