"""Bringing files of older formats to the present one.

Format 1 (before the first release) had the same pages without their id in the checksum, and no space keeping: no extents, no lists of the
dead, no checksums of rows. Which page was born and dead with which version is found by walking every version once; what nothing
reaches is deleted. It is done in one SQLite transaction: a crash leaves the file as it was.
"""

import time
from array import array
from typing import Any

import apsw
import orjson
from isal.isal_zlib import crc32

from btree.errors import Corrupted
from btree.page import Branch, decode
from btree.records import APPLICATION_ID, FORMAT, ROW_TABLES, ExtentRow, JournalRow, Newest, TxnRow, VersionRow, sealed

Rows = list[tuple[Any, ...]]


def upgrade(connection: apsw.Connection) -> None:
    """Upgrade the file; does nothing if another process did it meanwhile."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        if connection.pragma("user_version") == 1:
            _Format1(connection).run()
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {FORMAT}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


class _Format1:
    """One file of format 1."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def run(self) -> None:
        def execute(sql: str, bindings: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
            return self._connection.execute(sql, bindings).fetchall()

        versions = execute("SELECT seq, root, committed_at, txn FROM version ORDER BY seq")
        transactions = execute("SELECT id, base, root, state, version, isolation, lease_until FROM txn")
        journal = execute("SELECT txn, step, result FROM journal")
        next_page = execute("SELECT value FROM meta WHERE name = 'next_page'")[0][0]
        execute("DROP TABLE version; DROP TABLE txn; DROP TABLE journal; DROP TABLE meta")
        execute(ROW_TABLES)
        births = self._versions(versions)
        bases = {seq: root for seq, root, _, _ in versions}
        saved = self._transactions(transactions, bases, births)
        for txn, step, result in journal:
            entry = JournalRow(txn, step, 1 if txn in saved else 0, bytes(result) if result is not None else b"null")
            execute("INSERT INTO journal VALUES (?, ?, ?, ?, ?)", sealed(entry))
        state = Newest(VersionRow(*versions[-1]), next_page).state()
        execute("INSERT INTO version VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (*sealed(state), b""))
        self._delete_unreached()

    def _versions(self, versions: Rows) -> set[int]:
        before: set[int] = set()
        seen: set[int] = set()
        for seq, root, committed_at, txn in versions:
            now = self._reached(root)
            dead = array("Q", sorted(before - now)).tobytes()
            row = sealed(VersionRow(seq, root, float(committed_at), txn, 0, 0, crc32(dead)))
            self._connection.execute("INSERT INTO version VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (*row, dead))
            self._extents(now - seen, "", None, seq)
            before, seen = now, seen | now
        return seen

    def _transactions(self, transactions: Rows, bases: dict[int, int], seen: set[int]) -> set[str]:
        saved = set()
        now = time.time()
        for txn, base, root, state, version, isolation, lease_until in transactions:
            is_open, wrote = state == "open", root != bases[base]
            if is_open and wrote:
                self._extents(self._reached(root) - seen, txn, 1, None)
                saved.add(txn)
            saves = 1 if txn in saved else 0
            ended = None if is_open else now
            row = TxnRow(txn, base, root, state, version, isolation, saves, 3600.0, float(lease_until), ended)
            self._connection.execute("INSERT INTO txn VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", sealed(row))
        return saved

    def _extents(self, pages: set[int], txn: str, save: int | None, version: int | None) -> None:
        ordered = sorted(pages)
        start = 0
        for at in range(1, len(ordered) + 1):
            if at == len(ordered) or ordered[at] != ordered[at - 1] + 1:
                row = ExtentRow(ordered[start], ordered[at - 1], txn, save, version)
                self._connection.execute("INSERT INTO extent VALUES (?, ?, ?, ?, ?, ?)", sealed(row))
                start = at

    def _reached(self, catalog: int) -> set[int]:
        """All pages of a version: its catalog and its trees."""
        found, entries = self._walk(catalog)
        for value in entries:
            pages, _ = self._walk(orjson.loads(value)["root"])
            found = found | pages
        return found

    def _walk(self, root: int) -> tuple[set[int], list[bytes]]:
        found: set[int] = set()
        values: list[bytes] = []
        level = [root]
        while level:
            below: list[int] = []
            for page in level:
                body = self._body(page)
                node = decode(page, body)
                found.add(page)
                if isinstance(node, Branch):
                    below += node.children
                else:
                    values += node.values
            level = below
        return found, values

    def _delete_unreached(self) -> None:
        self._connection.execute(
            "DELETE FROM page WHERE coalesce((SELECT last FROM extent WHERE first <= id ORDER BY first DESC LIMIT 1), 0) < id"
        )

    def _body(self, page: int) -> bytes:
        for (body,) in self._connection.execute("SELECT body FROM page WHERE id = ?", (page,)):
            assert isinstance(body, bytes)
            return body
        raise Corrupted(f"page {page} is missing", hint="restore the database from a backup", page=page)
