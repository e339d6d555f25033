"""Savepoints: places in a branch to go back to. They nest, and are rows beside the branch, as durable as it is.

A savepoint is the root and the number of the save that it was made with. Going back moves the root; the pages of later saves are
then claimed by no save any more, and go when the branch ends.
"""

from typing import TYPE_CHECKING

from btree.errors import NotWritten, SavepointNotFound, UnknownOutcome
from btree.records import SavepointRow, TxnRow, sealed, unsealed
from btree.save import Pages, extents_of, put_extent
from btree.writer import Writer

if TYPE_CHECKING:
    from btree.transaction import Transaction


def mark(branch: "Transaction", name: str) -> None:
    """Save, and mark the place."""

    def work(writer: Writer) -> tuple[TxnRow, Pages | None]:
        row, pages = branch.save_in(writer, None, None)
        level = len(writer.execute("SELECT 1 FROM savepoint WHERE txn = ?", (branch.id,)))
        place = SavepointRow(branch.id, level, name, row.root, row.saves)
        writer.execute("INSERT INTO savepoint VALUES (?, ?, ?, ?, ?, ?)", sealed(place))
        return row, pages

    branch.durably(work)


def go_back(branch: "Transaction", name: str) -> None:
    """Go back to a place, and forget those further in. Raises SavepointNotFound."""

    def work(writer: Writer) -> tuple[TxnRow, Pages | None]:
        row, place = branch.open_row(writer), _find(writer, branch.id, name)
        writer.execute("DELETE FROM savepoint WHERE txn = ? AND level > ?", (branch.id, place.level))
        writer.execute("DELETE FROM journal WHERE txn = ? AND save > ?", (branch.id, place.saves))
        later = "SELECT * FROM extent WHERE txn = ? AND version IS NULL AND save > ?"
        for extent in extents_of(writer.execute(later, (branch.id, place.saves))):
            put_extent(writer, extent._replace(save=None))
        return branch.saved(writer, row._replace(root=place.root)), None

    branch.durably(work)


def release(branch: "Transaction", name: str) -> None:
    """Forget a place, and those further in. Raises SavepointNotFound."""
    level = -1
    try:
        with branch.database.pager.write() as writer:
            branch.open_row(writer)
            level = _find(writer, branch.id, name).level
            writer.execute("DELETE FROM savepoint WHERE txn = ? AND level >= ?", (branch.id, level))
    except UnknownOutcome as error:
        if len(names(branch)) > level:
            raise NotWritten(f"nothing was written: {error}", hint="try again") from error


def names(branch: "Transaction") -> list[str]:
    """From the outermost."""
    rows = branch.database.pager.read("SELECT name FROM savepoint WHERE txn = ? ORDER BY level", (branch.id,))
    return [name for (name,) in rows]


def _find(writer: Writer, txn_id: str, name: str) -> SavepointRow:
    sql = "SELECT * FROM savepoint WHERE txn = ? AND name = ? ORDER BY level DESC LIMIT 1"
    rows = writer.execute(sql, (txn_id, name))
    if not rows:
        raise SavepointNotFound(f"the transaction {txn_id!r} has no savepoint {name!r}")
    return SavepointRow(*unsealed(rows[0], "savepoint"))
