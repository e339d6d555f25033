"""Keeping space: which pages nothing needs any more, and giving them back.

A page lives for one stretch of versions: it is born with the version that its extent names, and dead by the version whose row lists it.
A version is *kept* if it is the head, pinned, the base of an open transaction, or was the head within the retention time.
So a dead page is needed by nothing exactly if no kept version lies between its birth and its death; for the versions
before its death that is decided by the nearest kept one.

History may take `history_bytes`; when dead pages that only retention keeps take more, the oldest versions go before their time,
but none that was the head within `GRACE`: readers that pin nothing have at least that long.

The extent of a commit stands in its version's row at first, and a sweep puts it among the others: where a page was born is looked up
by its id.

The row of a version that is not kept stays, without its root, for as long as its list of the dead is of use. Everything is
done in small write blocks, so that writers hardly wait.
"""

import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from btree.page import TARGET
from btree.records import STATE, VERSION, ExtentRow, PinRow, Row, TxnRow, VersionRow, dead_pages, unsealed, version_row
from btree.save import extents_of, put_extent, put_txn, replace_version
from btree.writer import Writer

if TYPE_CHECKING:
    from btree.database import Database

RETENTION: Final = 86_400.0
"""Seconds for which versions are kept."""
HISTORY_BYTES: Final = 1 << 30
"""Bytes of pages that are kept only for old versions."""
GRACE: Final = 900.0
"""Seconds for which a version is kept whatever room it takes."""
ENDED: Final = 7 * 86_400.0
"""Seconds for which the outcome and the journal of an ended transaction are kept."""
BLOCK: Final = 500
"""Pages given back in one write block."""


@dataclass
class SweepReport:
    """What a sweep did: numbers of things."""

    rolled_back: int = 0
    unpinned: int = 0
    versions: int = 0
    pages: int = 0
    journals: int = 0


@dataclass(frozen=True)
class SpaceReport:
    """What a file holds. `history_pages` are those that only old versions need."""

    file_bytes: int
    free_bytes: int
    pages: int
    history_pages: int
    branch_pages: int
    versions: int
    head: int
    oldest: int
    open_transactions: int
    pins: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Space:
    """The space keeping of one database."""

    def __init__(self, database: "Database") -> None:
        self._database = database
        self._looked_at: dict[int, int] = {}

    def sweep(self, retention: float, history_bytes: int, pause: float) -> SweepReport:
        """One round; `pause` seconds between write blocks."""
        report = SweepReport()
        report.rolled_back = self._expire_transactions()
        report.unpinned = self._expire_pins()
        for txn_id in self._ended_branches():
            report.pages += self.free_branch(txn_id, pause)
        report.versions = self._drop_versions(retention, history_bytes)
        newest = self._database.head().seq
        self._file_extents(newest, pause)
        report.pages += self._free_dead(newest, pause)
        report.journals = self._forget_ended(max(ENDED, retention))
        return report

    # --- leases ---

    def _expire_transactions(self) -> int:
        now = self._database.clock()
        rows = self._database.pager.read("SELECT id FROM txn WHERE state = 'open' AND lease_until < ?", (now,))
        for (txn_id,) in rows:
            with self._database.pager.write() as writer:
                found = writer.execute("SELECT * FROM txn WHERE id = ? AND state = 'open'", (txn_id,))
                for row in found:
                    txn = TxnRow(*unsealed(row, "txn"))
                    if txn.lease_until < now:
                        put_txn(writer, txn._replace(state="rolled_back", ended_at=now))
        return len(rows)

    def _expire_pins(self) -> int:
        now = self._database.clock()
        if not self._database.pager.read("SELECT 1 FROM pin WHERE lease_until < ?", (now,)):
            return 0
        with self._database.pager.write() as writer:
            return len(writer.execute("DELETE FROM pin WHERE lease_until < ? RETURNING id", (now,)))

    # --- branches ---

    def _ended_branches(self) -> list[str]:
        sql = (
            "SELECT DISTINCT e.txn FROM extent e LEFT JOIN txn t ON t.id = e.txn"
            " WHERE e.version IS NULL AND (t.state IS NULL OR t.state <> 'open')"
        )
        return [txn_id for (txn_id,) in self._database.pager.read(sql)]

    def free_branch(self, txn_id: str, pause: float = 0.0) -> int:
        """Give back the pages that a branch has made and that are in no version, when it has ended."""
        freed, more = 0, True
        while more:
            with self._database.pager.write() as writer:
                if writer.execute("SELECT 1 FROM txn WHERE id = ? AND state = 'open'", (txn_id,)):
                    return freed
                gone, more = self._free_some_of_branch(writer, txn_id)
            freed += gone
            time.sleep(pause)
        return freed

    def _free_some_of_branch(self, writer: Writer, txn_id: str) -> tuple[int, bool]:
        freed = 0
        sql = "SELECT * FROM extent WHERE txn = ? AND version IS NULL ORDER BY first"
        for extent in extents_of(writer.execute(sql, (txn_id,))):
            if freed == BLOCK:
                return freed, True
            last = min(extent.last, extent.first + BLOCK - freed - 1)
            _delete_pages(writer, extent.first, last)
            freed += last - extent.first + 1
            writer.execute("DELETE FROM extent WHERE first = ?", (extent.first,))
            if last < extent.last:
                put_extent(writer, extent._replace(first=last + 1))
                return freed, True
        for table in ("access", "savepoint"):
            writer.execute(f"DELETE FROM {table} WHERE txn = ?", (txn_id,))
        return freed, False

    # --- versions ---

    def _file_extents(self, newest: int, pause: float) -> None:
        """Put the extents of commits, up to that version, among the others."""
        sql = "SELECT seq FROM version WHERE last > 0 AND seq <= ? ORDER BY seq"
        waiting = [seq for (seq,) in self._database.pager.read(sql, (newest,))]
        for start in range(0, len(waiting), BLOCK):
            with self._database.pager.write() as writer:
                for seq in waiting[start : start + BLOCK]:
                    found = _version(writer.execute, seq)
                    if found is not None and found[0].last:
                        row, dead = found
                        put_extent(writer, ExtentRow(row.first, row.last, row.txn, None, seq))
                        replace_version(writer, row._replace(first=0, last=0), dead)
            time.sleep(pause)

    def _drop_versions(self, retention: float, history_bytes: int) -> int:
        """Mark the versions that are not kept; gives their number."""
        now = self._database.clock()
        sql = f"SELECT {VERSION}, length(dead) FROM version WHERE root > 0 AND seq < ? ORDER BY seq"
        rows = [(version_row(row), length) for *row, length in self._database.pager.read(sql, (STATE,))]
        room = history_bytes
        drop = []
        for at in range(len(rows) - 2, -1, -1):
            room -= rows[at + 1][1] // 8 * TARGET
            age = now - rows[at + 1][0].committed_at  # since it was the head
            if age > retention or (room < 0 and age > GRACE):
                drop.append(rows[at][0].seq)
        dropped = 0
        for start in range(0, len(drop), BLOCK):
            with self._database.pager.write() as writer:
                kept = _needed(writer)
                for seq in drop[start : start + BLOCK]:
                    found = _version(writer.execute, seq) if seq not in kept else None
                    if found is not None and found[0].root:
                        replace_version(writer, found[0]._replace(root=0), found[1])
                        dropped += 1
        return dropped

    def _free_dead(self, newest: int, pause: float) -> int:
        """Give back the dead pages, up to that version, that no kept version needs; gives their number.

        What is listed in a version is looked at again only when the nearest kept version before it is another one.
        """
        freed, nearest, looked_at = 0, 0, {}
        sql = "SELECT seq, root > 0 FROM version WHERE seq <= ? ORDER BY seq"
        for seq, kept in self._database.pager.read(sql, (newest,)):
            if self._looked_at.get(seq) != nearest or not kept:
                freed += self._free_dead_of(seq, nearest, pause)
            looked_at[seq] = nearest
            nearest = seq if kept else nearest
        self._looked_at = looked_at
        return freed

    def _free_dead_of(self, seq: int, nearest: int, pause: float) -> int:
        """Give back what one version lists as dead, where nothing needs it. Takes the lock only if there is something."""
        found = _version(self._database.pager.read, seq)
        if found is None or not (self._any_free(found[1], nearest) if found[1] else not found[0].root):
            return 0
        freed, more = 0, True
        while more:
            with self._database.pager.write() as writer:
                gone, more = self._free_some(writer, seq)
            freed += gone
            time.sleep(pause)
        return freed

    def _any_free(self, dead: "array[int]", nearest: int) -> bool:
        births = _Births(self._database.pager.read)
        return any(births.of(page) > nearest for page in dead)

    def _free_some(self, writer: Writer, seq: int) -> tuple[int, bool]:
        """Free a block of what is listed as dead in one version."""
        found = _version(writer.execute, seq)
        if found is None:
            return 0, False
        row, dead = found
        rows = writer.execute("SELECT max(seq) FROM version WHERE seq < ? AND root > 0", (row.seq,))
        nearest = rows[0][0] or 0
        births = _Births(writer.execute)
        free = (page for page in sorted(dead) if births.of(page) > nearest)
        block = list(islice(free, BLOCK))
        if block:
            births.remove(writer, block)
            gone = set(block)
            dead = array("Q", (page for page in dead if page not in gone))
        if not dead and not row.root:
            writer.execute("DELETE FROM version WHERE seq = ?", (row.seq,))
        elif block:
            replace_version(writer, row, dead)
        return len(block), len(block) == BLOCK

    # --- ended transactions ---

    def _forget_ended(self, seconds: float) -> int:
        before = self._database.clock() - seconds
        sql = "SELECT * FROM txn WHERE state <> 'open' AND ended_at < ? LIMIT 100000"
        ended = [TxnRow(*unsealed(row, "txn")).id for row in self._database.pager.read(sql, (before,))]
        for start in range(0, len(ended), BLOCK):
            with self._database.pager.write() as writer:
                for txn_id in ended[start : start + BLOCK]:
                    for table in ("journal", "access", "savepoint"):
                        writer.execute(f"DELETE FROM {table} WHERE txn = ?", (txn_id,))
                    writer.execute("DELETE FROM txn WHERE id = ? AND state <> 'open'", (txn_id,))
        return len(ended)

    def report(self) -> SpaceReport:
        """What the file holds."""
        read = self._database.pager.read
        ((size,),), ((count,),), ((free,),) = (
            read("PRAGMA page_size"),
            read("PRAGMA page_count"),
            read("PRAGMA freelist_count"),
        )
        ((versions, oldest),) = read("SELECT count(*), min(seq) FROM version WHERE root > 0 AND seq < ?", (STATE,))
        ((pages,),) = read(
            "SELECT coalesce(sum(last - first + 1), 0) FROM"
            " (SELECT first, last FROM extent UNION ALL SELECT first, last FROM version WHERE last > 0)"
        )
        ((branch,),) = read("SELECT coalesce(sum(last - first + 1), 0) FROM extent WHERE version IS NULL")
        ((history,),) = read("SELECT coalesce(sum(length(dead)), 0) / 8 FROM version")
        ((open_ones,),) = read("SELECT count(*) FROM txn WHERE state = 'open'")
        return SpaceReport(
            file_bytes=size * count,
            free_bytes=size * free,
            pages=pages,
            history_pages=history,
            branch_pages=branch,
            versions=versions,
            head=self._database.head().seq,
            oldest=oldest,
            open_transactions=open_ones,
            pins=len(self._database.pins()),
        )


class _Births:
    """The versions that pages were born with."""

    def __init__(self, read: Callable[[str, Sequence[Any]], list[Row]]) -> None:
        self._read = read

    def of(self, page: int) -> int:
        """The version; 0 for a page that has none."""
        extent = self._extent(page)
        return (extent.version or 0) if extent is not None else 0

    def _extent(self, page: int) -> ExtentRow | None:
        found = extents_of(self._read("SELECT * FROM extent WHERE first <= ? ORDER BY first DESC LIMIT 1", (page,)))
        return found[0] if found and found[0].last >= page else None

    def remove(self, writer: Writer, pages: list[int]) -> None:
        """Delete pages, and take them out of their extents. `pages` are in order."""
        for start, last in _stretches(pages):
            first = start
            while first <= last:
                extent = self._extent(first)
                if extent is None:
                    break
                until = min(last, extent.last)
                _delete_pages(writer, first, until)
                writer.execute("DELETE FROM extent WHERE first = ?", (extent.first,))
                if extent.first < first:
                    put_extent(writer, extent._replace(last=first - 1))
                if until < extent.last:
                    put_extent(writer, extent._replace(first=until + 1))
                first = until + 1


def _version(read: Callable[[str, Sequence[Any]], list[Row]], seq: int) -> "tuple[VersionRow, array[int]] | None":
    """A version's row, and its dead pages; None if another sweep was done with it."""
    rows = read(f"SELECT {VERSION}, dead FROM version WHERE seq = ?", (seq,))
    if not rows:
        return None
    *row, dead = rows[0]
    found = version_row(row)
    return found, dead_pages(found, dead)


def _stretches(pages: list[int]) -> Iterator[tuple[int, int]]:
    """Runs of consecutive ids."""
    start = 0
    for at in range(1, len(pages) + 1):
        if at == len(pages) or pages[at] != pages[at - 1] + 1:
            yield pages[start], pages[at - 1]
            start = at


def _delete_pages(writer: Writer, first: int, last: int) -> None:
    writer.execute("DELETE FROM page WHERE id BETWEEN ? AND ?", (first, last))


def _needed(writer: Writer) -> set[int]:
    """The versions that are kept whatever their age: the head, pinned ones, bases of open transactions."""
    pinned = [PinRow(*unsealed(row, "pin")).version for row in writer.execute("SELECT * FROM pin")]
    bases = [seq for (seq,) in writer.execute("SELECT DISTINCT base FROM txn WHERE state = 'open'")]
    return {writer.newest().version().seq, *pinned, *bases}
