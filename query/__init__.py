"""Rows over cursors.

values/      order and equality, keys as bytes, paths, projections        actions/    the update language, bulk actions
filters/     MongoDB's words, for a record and for a whole page           joins/      rows of two stores
stores/      declarations, records, indexes, schemas                      aggregates/ counts, sums, groups
selects/     plans, slices of rows, rows lazily                           sorting/    in bounded memory
transfer/    files into a store, streams of rows out of it

databases.py  the data directory                      history.py     what changed, making it what it was
results.py    rows written down once                  references.py  rows that are too many to be passed on
files.py      errors of files, names that stay        errors.py      what can be wrong
"""

from query.actions.bulk import BulkAction, check_action
from query.actions.updates import compile_update
from query.aggregates.aggregate import Aggregated, aggregate, aggregate_rows, check_aggregate
from query.databases import SYSTEM, DatabaseExists, Databases, check_name
from query.errors import (
    IndexExists,
    IndexNotFound,
    InvalidKeyValue,
    InvalidName,
    InvalidQuery,
    InvalidRecord,
    InvalidReference,
    InvalidSchema,
    PreviewMismatch,
    QueryError,
    RecordExists,
    RecordNotFound,
    ResultNotFound,
    StoreExists,
    StoreNotFound,
    TooManyRows,
    UniqueViolation,
    UnknownDatabase,
    UnknownOperator,
    UnsupportedOperator,
    UpdateFailed,
    placed,
)
from query.filters.predicates import OPERATORS, compile_filter
from query.history import Change, Restored, changes, changes_page, restore_store
from query.joins import Joined, Views, join
from query.references import reference_page, reference_places
from query.selects.rows import RowsQuery
from query.selects.select import Selection, select, select_page
from query.stores.builds import build_index, check_indexes, create_index, drop_index
from query.stores.catalog import IndexInfo, Relation, StoreInfo, View
from query.stores.describe import describe_store
from query.stores.store import Record, Store, create_store, drop_store, list_stores, open_store
from query.transfer.exports import FORMATS, AggregateQuery, Export, JoinQuery, Query, export
from query.transfer.imports import ImportOptions, ImportReport, Reject, import_csv, import_json, import_ndjson

__all__ = [
    "FORMATS",
    "OPERATORS",
    "SYSTEM",
    "AggregateQuery",
    "Aggregated",
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
    "InvalidReference",
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
    "ResultNotFound",
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
    "placed",
    "reference_page",
    "reference_places",
    "restore_store",
    "select",
    "select_page",
]
