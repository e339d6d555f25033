"""Row references: what stands for rows that are too many to be passed on, in steps, histories and the state of runs.

    {database, version, count, store, query}     rows of a store in the order of a key or an index: read on from behind a key
    {database, version, count, result}           any other rows: written down (`results`), and read on from a place in the file

Both are read page by page, whatever was written meanwhile, and each page costs what it gives.
"""

from collections.abc import Mapping
from typing import Any

from query.databases import SYSTEM, Databases
from query.errors import InvalidQuery
from query.selects.select import select_page
from query.stores.store import Record


def reference_page(
    databases: Databases, reference: Mapping[str, Any], *, after: bytes | None, limit: int, done: int = 0
) -> tuple[list[Record], bytes | None]:
    """At most `limit` rows behind the place `after`, and the place behind them (None: there are no more).

    `done` rows were read by the pages before. Raises InvalidQuery for what is no reference, ResultNotFound and VersionNotFound for rows
    that are not kept any more, Corrupted.
    """
    known = {"database": str, "version": int, "count": int}
    if not all(isinstance(reference.get(name), kind) for name, kind in known.items()):
        raise InvalidQuery("this is no row reference")
    if "result" in reference:
        return databases.results.page(reference["result"], reference["count"], after=after, limit=limit)
    if reference["database"] == SYSTEM:
        raise InvalidQuery(f"the rows of the database {SYSTEM} are not open")
    query = reference.get("query")
    if not isinstance(query, Mapping) or not isinstance(reference.get("store"), str):
        raise InvalidQuery("this is no row reference")
    snapshot = databases.open(reference["database"]).snapshot(reference["version"])
    return select_page(snapshot, {**query, "store": reference["store"]}, after=after, limit=limit, done=done)
