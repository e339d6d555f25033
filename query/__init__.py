"""Rows over cursors: keys, stores, filters, select, import.

data        databases.py the data directory | catalog.py what is declared | stores.py records by key | indexes.py, builds.py | schemas.py
values      values.py, keycode.py: order, equality, bytes that sort alike | boxes.py members of sets | paths.py, fields.py
filters     filter_tree.py, filters.py: MongoDB's words -> a predicate | page_filter.py a whole page at once | regexes.py
selects     conditions.py, plan.py which stretch of which key to read | access.py slices of rows | rows.py, select.py
joins       joins/ merging, looking up, hashing
sorting     sorting.py, spill.py: in bounded memory
changes     updates.py, row_templates.py | history.py what changed | errors.py what can be wrong
in and out  readers.py, elements.py, imports.py: files into a store | exports.py, streams.py: rows as JSON, NDJSON, CSV, in pieces
"""

from query.actions import BulkAction, check_action
from query.aggregate import aggregate, aggregate_rows, check_aggregate
from query.builds import build_index, check_indexes, create_index, drop_index
from query.catalog import IndexInfo, Relation, StoreInfo, View
from query.databases import SYSTEM, DatabaseExists, Databases, check_name
from query.describe import describe_store
from query.errors import (
    IndexExists,
    IndexNotFound,
    InvalidKeyValue,
    InvalidName,
    InvalidQuery,
    InvalidRecord,
    InvalidSchema,
    PreviewMismatch,
    QueryError,
    RecordExists,
    RecordNotFound,
    StoreExists,
    StoreNotFound,
    TooManyRows,
    UniqueViolation,
    UnknownDatabase,
    UnknownOperator,
    UnsupportedOperator,
    UpdateFailed,
)
from query.exports import FORMATS, Export, JoinQuery, Query, export
from query.filters import OPERATORS, compile_filter
from query.history import Change, Restored, changes, changes_page, restore_store
from query.imports import ImportOptions, ImportReport, Reject, import_csv, import_json, import_ndjson
from query.joins import Joined, Views, join
from query.rows import RowsQuery
from query.select import Selection, select, select_page
from query.stores import Record, Store, create_store, drop_store, list_stores, open_store
from query.updates import compile_update

__all__ = [
    "FORMATS",
    "OPERATORS",
    "SYSTEM",
    "BulkAction",
    "Change",
    "DatabaseExists",
    "Databases",
    "Export",
    "ImportOptions",
    "ImportReport",
    "IndexExists",
    "IndexInfo",
    "IndexNotFound",
    "InvalidKeyValue",
    "InvalidName",
    "InvalidQuery",
    "InvalidRecord",
    "InvalidSchema",
    "JoinQuery",
    "Joined",
    "PreviewMismatch",
    "Query",
    "QueryError",
    "Record",
    "RecordExists",
    "RecordNotFound",
    "Reject",
    "Relation",
    "Restored",
    "RowsQuery",
    "Selection",
    "Store",
    "StoreExists",
    "StoreInfo",
    "StoreNotFound",
    "TooManyRows",
    "UniqueViolation",
    "UnknownDatabase",
    "UnknownOperator",
    "UnsupportedOperator",
    "UpdateFailed",
    "View",
    "Views",
    "aggregate",
    "aggregate_rows",
    "build_index",
    "changes",
    "changes_page",
    "check_action",
    "check_aggregate",
    "check_indexes",
    "check_name",
    "compile_filter",
    "compile_update",
    "create_index",
    "create_store",
    "describe_store",
    "drop_index",
    "drop_store",
    "export",
    "import_csv",
    "import_json",
    "import_ndjson",
    "join",
    "list_stores",
    "open_store",
    "restore_store",
    "select",
    "select_page",
]
