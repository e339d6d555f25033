"""Rows over cursors: keys, stores, filters, select, import.

databases.py  Databases: the data directory         filters.py  MongoDB's words -> a predicate
stores.py     Store: records by primary key         plan.py     which stretch of the key to read
keycode.py    values -> bytes that sort alike       select.py   Selection: rows, lazily
imports.py    NDJSON and CSV into a store           errors.py   what can be wrong
history.py    what changed, making it what it was
"""

from query.databases import SYSTEM, DatabaseExists, Databases, check_name
from query.errors import (
    InvalidKeyValue,
    InvalidName,
    InvalidQuery,
    InvalidRecord,
    QueryError,
    RecordExists,
    RecordNotFound,
    StoreExists,
    StoreNotFound,
    TooManyRows,
    UnknownDatabase,
    UnknownOperator,
    UnsupportedOperator,
)
from query.filters import OPERATORS, compile_filter
from query.history import Change, Restored, changes, changes_page, restore_store
from query.imports import ImportReport, import_csv, import_ndjson
from query.select import Selection, select, select_page
from query.stores import (
    Record,
    Store,
    StoreInfo,
    View,
    create_store,
    describe_store,
    drop_store,
    list_stores,
    open_store,
)

__all__ = [
    "OPERATORS",
    "SYSTEM",
    "Change",
    "DatabaseExists",
    "Databases",
    "ImportReport",
    "InvalidKeyValue",
    "InvalidName",
    "InvalidQuery",
    "InvalidRecord",
    "QueryError",
    "Record",
    "RecordExists",
    "RecordNotFound",
    "Restored",
    "Selection",
    "Store",
    "StoreExists",
    "StoreInfo",
    "StoreNotFound",
    "TooManyRows",
    "UnknownDatabase",
    "UnknownOperator",
    "UnsupportedOperator",
    "View",
    "changes",
    "changes_page",
    "check_name",
    "compile_filter",
    "create_store",
    "describe_store",
    "drop_store",
    "import_csv",
    "import_ndjson",
    "list_stores",
    "open_store",
    "restore_store",
    "select",
    "select_page",
]
