"""Making a branch the new head.

While the write lock is held: look at the head; if it is still the base, write the unsaved pages and move the head. If it has
moved, the branch is merged (see `merge`) first: a small one right there, a large one before the lock is taken, and again if the
head moved meanwhile; after a few rounds it is done under the lock, so that every commit gets through.

The new version's row lists the pages that are *dead* by it: those that the head had and it has not, and those that the branch made
on the way and does not use. For a transaction that was never saved before, that is what its workspace replaced (stored early or
not); otherwise it is found by comparing the trees.
"""

from array import array
from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING

from btree.access import Access
from btree.catalog import Entry
from btree.diff import changes, page_changes
from btree.edit import Tree
from btree.errors import Conflict, VersionNotFound
from btree.merge import HINT, Merge
from btree.records import ExtentRow, TxnRow, VersionRow
from btree.save import Pages, append_version, extents_of, put_extent
from btree.version import Version, version_of
from btree.writer import Writer

if TYPE_CHECKING:
    from btree.transaction import Transaction

LARGE = 64
"""So many pages make a branch that is merged without holding the lock."""
_ROUNDS = 4


class HeadMoved(Conflict):
    """The head has moved since a large branch was merged: merge it again. Never leaves the engine."""


@dataclass
class _Merged:
    """A branch on top of a head: its catalog, and the trees whose final roots it does not name yet."""

    head: Version
    catalog: Tree
    trees: dict[str, Tree]
    merged: bool
    replaced: "array[int] | None" = None
    """The head's pages that it replaced, where that is known."""


class Commit:
    """One commit of one transaction."""

    def __init__(self, transaction: "Transaction") -> None:
        self._transaction = transaction
        self._prepared: _Merged | None = None
        self._round = 0
        self.version: Version | None = None
        """What it became."""

    def prepare(self) -> None:
        """Without the lock: merge a large branch."""
        self._round += 1
        branch = self._transaction
        if branch.pages() > LARGE and branch.has_writes:
            head = branch.database.head()
            if head.seq != branch.base:
                self._prepared = self._merge(head)

    def run(self, writer: Writer, step_key: str | None, result: bytes | None) -> tuple[TxnRow, Pages | None]:
        """Under the lock. Raises Conflict, HeadMoved, TransactionEnded."""
        branch = self._transaction
        row = branch.open_row(writer)
        head = version_of(writer.newest().version())
        if not branch.has_writes:
            if head.seq != branch.base:
                self._merging(head).check_touched(branch.all_access())
            self.version = branch.base_version
            return self._end(writer, row, branch.base, step_key, result), None
        merged = self._on(head)
        extents = extents_of(
            writer.execute("SELECT * FROM extent WHERE txn = ? AND version IS NULL", (branch.id,))
            if row.saves or branch.own
            else []
        )
        alone = not row.saves and sorted(extents) == branch.spilled  # nothing was saved, and nothing discarded
        known = merged.replaced is not None and not extents if merged.merged else alone or not extents
        dead = array("q") if known else self._dead(merged, extents)
        if known and merged.merged:
            branch.workspace.replaced = array("q", merged.replaced or ())
        pages, before = Pages(writer, branch.workspace), len(branch.workspace.replaced)
        root, extent = pages.write(merged.catalog, merged.trees)
        dead.extend(branch.workspace.replaced[before:])
        seq = head.seq + 1
        for made in extents:
            put_extent(writer, made._replace(version=seq))
        first, last = (extent.first, extent.last) if extent is not None else (0, 0)
        committed_at = max(branch.database.clock(), head.committed_at)
        made_version = VersionRow(seq, root, committed_at, branch.id, first, last)
        append_version(writer, made_version, branch.workspace.replaced if known else dead)
        self.version = version_of(made_version)
        return self._end(writer, row._replace(root=root), seq, step_key, result), pages

    def _end(self, writer: Writer, row: TxnRow, version: int, step_key: str | None, result: bytes | None) -> TxnRow:
        branch = self._transaction
        branch.note_step(writer, row, step_key, result)
        if row.saves:
            writer.execute("DELETE FROM access WHERE txn = ?", (branch.id,))
            writer.execute("DELETE FROM savepoint WHERE txn = ?", (branch.id,))
        row = row._replace(state="committed", version=version, ended_at=branch.database.clock())
        branch.put_row(writer, row)
        return row

    def _on(self, head: Version) -> _Merged:
        branch = self._transaction
        if head.seq == branch.base:
            return _Merged(head, branch.catalog, branch.changed_trees(), merged=False)
        if self._prepared is not None and self._prepared.head == head:
            return self._prepared
        if branch.pages() > LARGE and self._round < _ROUNDS:
            raise HeadMoved("the head has moved")
        return self._merge(head)

    def _merge(self, head: Version) -> _Merged:
        branch = self._transaction
        branch.stage()
        merge = self._merging(head)
        try:
            merge.run(branch.all_access(), branch.changed_trees(), serializable=branch.isolation == "serializable")
        except VersionNotFound as error:
            raise Conflict(f"what the transaction began from is not kept any more: {error}", hint=HINT) from error
        return _Merged(head, merge.catalog, merge.trees, merged=True, replaced=merge.replaced)

    def _merging(self, head: Version) -> Merge:
        branch = self._transaction
        base, mine = branch.base_root, branch.catalog.root
        return Merge(branch.database.cache, branch.workspace, base=base, mine=mine, head=head.root)

    def _dead(self, merged: _Merged, extents: list[ExtentRow]) -> "array[int]":
        """The pages that the head has and the new version does not, and what of the branch's own it does not use."""
        if not merged.merged:
            self._transaction.stage()
        nodes, head, root = self._transaction.workspace, merged.head.root, merged.catalog.root
        dead, used = page_changes(nodes, head, root)
        for _, old, new in changes(nodes, head, root):
            before = Entry.decode(old).root if old is not None else None
            behind = Entry.decode(new).root if new is not None else None
            gone, made = page_changes(nodes, before, behind)
            dead += gone
            used += made
        kept = array("q", sorted(page for page in used if page >= 0))
        for extent in extents:
            at = bisect_left(kept, extent.first)
            for page in range(extent.first, extent.last + 1):
                if at < len(kept) and kept[at] == page:
                    at += 1
                else:
                    dead.append(page)
        return dead


def all_access(saved: list[bytes], now: Access) -> Access:
    """What was noted for all saves, and since."""
    together = Access()
    for encoded in [*saved, now.encode()]:
        together.add(encoded)
    return together
