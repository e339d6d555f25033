"""Kernel 1: ordered bytes in copy-on-write pages, one SQLite file for each database.

database.py      Database: open, versions, begin, resume, transact, check      page.py    the bytes of a page
transaction.py   Transaction: a durable private branch                         cache.py   decoded pages
snapshot.py      Snapshot: a version to read                                   pager.py   pages in SQLite or memory
tree.py          ReadTree, Tree: the B+tree                                    check.py   is everything in order?
cursor.py        Cursor: a place in a tree                                     errors.py  what to do about each
"""

from btree.check import CheckReport
from btree.cursor import Cursor
from btree.database import Database
from btree.errors import (
    BTreeError,
    Busy,
    Conflict,
    Corrupted,
    DatabaseNotFound,
    DiskFull,
    InvalidKey,
    InvalidValue,
    KeyExists,
    KeyNotFound,
    StorageError,
    TransactionEnded,
    TransactionNotFound,
    TreeExists,
    TreeNotFound,
    VersionNotFound,
    WrongFormat,
)
from btree.pager import MemoryPager, Pager, SqlitePager
from btree.snapshot import Snapshot
from btree.transaction import Transaction
from btree.tree import LeafSlice, ReadTree, Tree
from btree.version import TransactionStatus, Version

__all__ = [
    "BTreeError",
    "Busy",
    "CheckReport",
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
    "LeafSlice",
    "MemoryPager",
    "Pager",
    "ReadTree",
    "Snapshot",
    "SqlitePager",
    "StorageError",
    "Transaction",
    "TransactionEnded",
    "TransactionNotFound",
    "TransactionStatus",
    "Tree",
    "TreeExists",
    "TreeNotFound",
    "Version",
    "VersionNotFound",
    "WrongFormat",
]
