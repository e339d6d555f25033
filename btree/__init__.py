"""Kernel 1: ordered bytes in copy-on-write pages, one SQLite file for each database.

database.py      Database: versions, snapshots, transactions, sweep      page.py      the bytes of a page
transaction.py   Transaction: a durable private branch                   pager.py     pages in SQLite or memory
commit.py        making a branch the head                                records.py   the rows about pages
merge.py         ... when the head has moved                             upgrade.py   files of older formats
access.py        what a branch has read                                  cache.py     decoded pages
save.py          writing a branch down                                   diff.py      what differs between two trees
tree.py          ReadTree: reading a B+tree                              history.py   differences, restoring
edit.py          Tree: changing one                                      space.py     giving pages back
shape.py         dividing and merging pages                              backup.py    copies of the file
leaf_edits.py    changing leaves while they are read                     check.py     is everything in order?
load.py          bulk loading                                            lengths.py    where the texts of a page begin and end
workspace.py     pages that are not saved yet                            limits.py    sizes of keys and values
cursor.py        a place in a tree                                       errors.py    what to do about each
catalog.py       the trees of a version                                  turns.py     one writer after the other
savepoints.py    places in a branch to go back to                        checkpoints.py, version.py, snapshot.py
writer.py        one write                                               translation.py  SQLite's errors as ours
stretches.py     some values of a leaf, cut out of its run        branch.py    what leads to the leaves
"""

from btree.backup import restore_backup
from btree.check import CheckReport
from btree.cursor import Cursor
from btree.database import Database
from btree.edit import Tree
from btree.errors import (
    BTreeError,
    Busy,
    Closed,
    Conflict,
    Corrupted,
    DatabaseNotFound,
    DiskFull,
    InvalidKey,
    InvalidValue,
    KeyExists,
    KeyNotFound,
    KeyTooLarge,
    NotWritten,
    PinNotFound,
    ReadOnly,
    SavepointNotFound,
    StorageError,
    TransactionEnded,
    TransactionNotFound,
    TreeExists,
    TreeNotFound,
    UnknownOutcome,
    ValueTooLarge,
    VersionNotFound,
    WrongFormat,
)
from btree.leaf_edits import LeafEdit
from btree.pager import MemoryPager, Pager, SqlitePager
from btree.snapshot import Snapshot
from btree.space import SpaceReport, SweepReport
from btree.transaction import Transaction
from btree.tree import LeafSlice, ReadTree
from btree.version import Pin, TransactionStatus, Version
from btree.writer import Timed

__all__ = [
    "BTreeError",
    "Busy",
    "CheckReport",
    "Closed",
    "Conflict",
    "Corrupted",
    "Cursor",
    "Database",
    "DatabaseNotFound",
    "DiskFull",
    "InvalidKey",
    "InvalidValue",
    "KeyExists",
    "KeyNotFound",
    "KeyTooLarge",
    "LeafEdit",
    "LeafSlice",
    "MemoryPager",
    "NotWritten",
    "Pager",
    "Pin",
    "PinNotFound",
    "ReadOnly",
    "ReadTree",
    "SavepointNotFound",
    "Snapshot",
    "SpaceReport",
    "SqlitePager",
    "StorageError",
    "SweepReport",
    "Timed",
    "Transaction",
    "TransactionEnded",
    "TransactionNotFound",
    "TransactionStatus",
    "Tree",
    "TreeExists",
    "TreeNotFound",
    "UnknownOutcome",
    "ValueTooLarge",
    "Version",
    "VersionNotFound",
    "WrongFormat",
    "restore_backup",
]
