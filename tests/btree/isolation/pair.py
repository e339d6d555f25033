"""Two hand-interleaved transactions: what the directed tests share.

A case says who has to win. Where both have to, the commits are merged; until the engine does that, such a case is expected to fail.
"""

import pytest

from btree import Conflict, Database, Transaction

LEVELS = ["serializable", "snapshot"]
both_levels = pytest.mark.parametrize("level", LEVELS)

START = {b"a": b"1", b"b": b"1", b"c": b"1", b"m": b"1", b"x": b"50", b"y": b"50"}


def fill(transaction: Transaction) -> None:
    """The tree "t" with START in it, the same in "u", and "wide" of several pages."""
    for name in ("t", "u"):
        tree = transaction.create_tree(name)
        for key, value in START.items():
            tree.put(key, value)
    transaction.create_tree("wide").load((b"%06d" % n, b'"' + b"v" * 60 + b'"') for n in range(0, 3000, 2))


class Pair:
    """Two transactions that began from the same version."""

    def __init__(self, database: Database, level: str) -> None:
        self.database = database
        self.one = database.begin("one", isolation=level)
        self.two = database.begin("two", isolation=level)

    def put(self, transaction: Transaction, key: bytes, value: bytes = b"9", tree: str = "t") -> None:
        transaction.tree(tree).put(key, value)

    def now(self, key: bytes, tree: str = "t") -> bytes | None:
        return self.database.snapshot().tree(tree).get(key)

    def second_conflicts(self) -> None:
        """The first commits, the second must not, and leaves nothing behind."""
        self.one.commit()
        before = state(self.database)
        with pytest.raises(Conflict) as caught:
            self.two.commit()
        assert caught.value.retryable
        self.two.rollback()
        assert state(self.database) == before
        assert self.database.status("two").state == "rolled_back"

    def both_commit(self) -> None:
        """The second is merged onto the first."""
        first = self.one.commit()
        second = self.two.commit()
        assert second.seq == first.seq + 1


def state(database: Database) -> dict[str, dict[bytes, bytes]]:
    head = database.snapshot()
    return {name: dict(head.tree(name).scan()) for name in head.trees()}
