"""The facts about versions, transactions and pins."""

from dataclasses import dataclass
from typing import NamedTuple

from btree.records import VersionRow


class Version(NamedTuple):
    """A committed state: its number, the root page of its catalog, when it was committed (seconds since 1970), and by which transaction."""

    seq: int
    root: int
    committed_at: float
    transaction: str = ""


@dataclass(frozen=True)
class TransactionStatus:
    """What became of a transaction: open, committed (as `version`), rolled_back, or unknown here. An open one has a lease."""

    id: str
    state: str
    version: int | None = None
    lease_until: float | None = None


@dataclass(frozen=True)
class Pin:
    """A version that is kept for somebody until `lease_until` (seconds since 1970)."""

    id: str
    version: int
    lease_until: float


def version_of(row: VersionRow) -> Version:
    """What a row says."""
    return Version(row.seq, row.root, row.committed_at, row.txn)
