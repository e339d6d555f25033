"""Looking back: what changed between versions, and bringing a tree back to what it was."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from btree.catalog import entry_of
from btree.diff import Difference, changes
from btree.errors import TreeNotFound
from btree.snapshot import Snapshot
from btree.tree import ReadTree
from btree.version import Version

if TYPE_CHECKING:
    from btree.database import Database
    from btree.transaction import Transaction


def difference(
    database: "Database", old: Version, new: Version, tree: str, lower: bytes | None, upper: bytes | None
) -> Iterator[Difference]:
    """The keys of a tree whose values differ. Raises TreeNotFound if neither version has the tree."""
    before = entry_of(ReadTree(database.cache, old.root, 0), tree)
    behind = entry_of(ReadTree(database.cache, new.root, 0), tree)
    if before is None and behind is None:
        raise TreeNotFound(f"neither version {old.seq} nor version {new.seq} has a tree {tree!r}")
    roots = before.root if before else None, behind.root if behind else None
    return changes(database.cache, *roots, lower, upper)


def restore(transaction: "Transaction", snapshot: Snapshot, tree: str) -> int:
    """Write into the transaction what makes a tree the same as in a snapshot; gives the number of keys changed.

    A tree that was dropped since is made anew; its pages are copied, so that every page lives for one stretch of versions (space
    keeping relies on it). It counts as writing the whole tree: whoever changes it meanwhile is in conflict.
    Raises TreeNotFound if the snapshot has no such tree.
    """
    then = snapshot.tree(tree)
    if not transaction.has_tree(tree):
        return transaction.create_tree(tree).load(then.scan())
    now = transaction.tree(tree)
    now.settle()
    changed = 0

    def writes() -> Iterator[tuple[bytes, bytes | None]]:
        nonlocal changed
        for key, _, value in changes(transaction.workspace, now.root, then.root):
            changed += 1
            yield key, value

    transaction.workspace.hold()
    now.touch_all()
    now.apply(writes() if now.root >= 0 else list(writes()))
    return changed
