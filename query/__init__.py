"""Rows over cursors: keys, stores, filters, select, import.

databases.py  Databases: the data directory         filters.py  MongoDB's words -> a predicate
stores.py     Store: records by primary key         plan.py     which stretch of the key to read
keycode.py    values -> bytes that sort alike       select.py   Selection: rows, lazily
imports.py    records into a store                  exports.py  rows of one version out of it
readers.py    lines of NDJSON and CSV -> records    streams.py  rows -> JSON, NDJSON, CSV, in pieces
elements.py   a JSON array -> its elements          errors.py   what can be wrong
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
from query.exports import FORMATS, Export, Query, export
from query.filters import OPERATORS, compile_filter
from query.history import Change, Restored, changes, changes_page, restore_store
from query.imports import ImportOptions, ImportReport, Reject, import_csv, import_json, import_ndjson
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
    "FORMATS",
    "OPERATORS",
    "SYSTEM",
    "Change",
    "DatabaseExists",
    "Databases",
    "Export",
    "ImportOptions",
    "ImportReport",
    "InvalidKeyValue",
    "InvalidName",
    "InvalidQuery",
    "InvalidRecord",
    "Query",
    "QueryError",
    "Record",
    "RecordExists",
    "RecordNotFound",
    "Reject",
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
    "export",
    "import_csv",
    "import_json",
    "import_ndjson",
    "list_stores",
    "open_store",
    "restore_store",
    "select",
    "select_page",
]
