"""Writing a branch down: giving pages their ids, and the rows about them. All of it happens inside of one write block."""

from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from isal.isal_zlib import crc32

from btree.catalog import Entry
from btree.edit import Tree
from btree.page import Branch, DirtyLeaf, Leaf
from btree.records import ExtentRow, TxnRow, VersionRow, sealed, unsealed
from btree.shape import PageTree
from btree.workspace import Draft, Workspace
from btree.writer import Writer

CACHED = 256
"""So many pages of one write go into the cache; more would push everything else out."""


class Pages:
    """Stores what is dirty below some roots. The workspace stays as it is: the write may fail."""

    def __init__(self, writer: Writer, workspace: Workspace) -> None:
        self._writer = writer
        self._dirty = workspace.dirty
        self._nodes: list[tuple[int, Draft]] = []
        self.extent: ExtentRow | None = None
        self.decoded: list[tuple[int, Leaf | Branch]] = []

    def write(self, catalog: Tree, trees: Mapping[str, PageTree]) -> tuple[int, ExtentRow | None]:
        """Store trees and the catalog that names them; gives the catalog's root, and the extent of the new pages."""
        for name, tree in trees.items():
            catalog.put(name.encode(), Entry(self._number(tree.root), tree.length).encode())
        catalog.settle()
        root = self._number(catalog.root)
        if not self._nodes:
            return root, None
        self._store()
        self.extent = ExtentRow(self._nodes[0][0], self._nodes[-1][0], "", None, None)
        return root, self.extent

    def _store(self) -> None:
        if len(self._nodes) <= CACHED:
            self.decoded = [(page, node.built() if isinstance(node, DirtyLeaf) else node) for page, node in self._nodes]
        self._writer.store((page, node.encode(page)) for page, node in self.decoded or self._nodes)

    def _number(self, page: int) -> int:
        """The final id of a page; its children get theirs first."""
        if page >= 0:
            return page
        node = self._dirty[page]
        if isinstance(node, Branch):
            node = node.resolved(self._number)
        number = self._writer.allocate(1)
        self._nodes.append((number, node))
        return number


def store_early(writer: Writer, nodes: Sequence[Draft], txn_id: str) -> ExtentRow:
    """Store nodes in an extent that no save claims yet; their ids are in order."""
    first = writer.allocate(len(nodes))
    writer.store((page, node.encode(page)) for page, node in enumerate(nodes, first))
    extent = ExtentRow(first, first + len(nodes) - 1, txn_id, None, None)
    put_extent(writer, extent)
    return extent


def read_txn(writer: Writer, txn_id: str) -> TxnRow | None:
    """The row of a transaction."""
    rows = writer.execute("SELECT * FROM txn WHERE id = ?", (txn_id,))
    return TxnRow(*unsealed(rows[0], "txn")) if rows else None


def put_txn(writer: Writer, row: TxnRow) -> None:
    """Insert or replace the row of a transaction."""
    writer.execute("INSERT OR REPLACE INTO txn VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", sealed(row))


def insert_txn(writer: Writer, row: TxnRow) -> bool:
    """Insert the row of a transaction; False if there is one of this id."""
    sql = "INSERT INTO txn VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING"
    writer.execute(sql, sealed(row))
    return writer.changes() == 1


def put_extent(writer: Writer, row: ExtentRow) -> None:
    """Insert or replace the row of an extent."""
    writer.execute("INSERT OR REPLACE INTO extent VALUES (?, ?, ?, ?, ?, ?)", sealed(row))


def append_version(writer: Writer, row: VersionRow, dead: Iterable[int]) -> None:
    """Insert the row of a version, with the pages that are dead by it, and make it the head."""
    ids = array("Q", dead).tobytes()
    row = row._replace(dead_crc=crc32(ids))
    values = sealed(row)
    writer.execute("INSERT INTO version VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (*values, ids))
    writer.move_head(row, values)


def replace_version(writer: Writer, row: VersionRow, dead: Iterable[int]) -> None:
    """Write the row of a version anew."""
    ids = array("Q", dead).tobytes()
    values = sealed(row._replace(dead_crc=crc32(ids)))
    writer.execute("INSERT OR REPLACE INTO version VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (*values, ids))


def extents_of(rows: list[tuple[Any, ...]]) -> list[ExtentRow]:
    return [ExtentRow(*unsealed(row, "extent")) for row in rows]
