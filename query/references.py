"""Row references: what stands for rows that are too many to be passed on, in steps, histories and the state of runs.

    {database, version, count, store, query, seal}     rows of a store in the order of a key or an index: read on from behind a key
    {database, version, count, result, seal}           any other rows: written down (`results`), and read on from a place in the file

Both are read page by page, whatever was written meanwhile, and each page costs what it gives. Only those are read that were made here, as
their seal tells (`seals`).
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from btree import Snapshot
from query.databases import SYSTEM, Databases
from query.errors import InvalidQuery
from query.selects.select import select_page, select_places
from query.stores.store import Record


def reference_page(
    databases: Databases, reference: Mapping[str, Any], *, after: bytes | None, limit: int, done: int = 0
) -> tuple[list[Record], bytes | None]:
    """At most `limit` rows behind the place `after`, and the place behind them (None: there are no more).

    `done` rows were read by the pages before. Raises InvalidReference for what is none, ResultNotFound and VersionNotFound for rows
    that are not kept any more, Corrupted.
    """
    databases.seals.check(reference)
    if "result" in reference:
        return databases.results.page(reference["result"], reference["count"], after=after, limit=limit)
    return select_page(*_query(databases, reference), after=after, limit=limit, done=done)


def reference_places(
    databases: Databases, reference: Mapping[str, Any], *, every: int, after: bytes | None, done: int
) -> Iterator[bytes]:
    """The places behind every `every` rows, from the place `after` on, which `done` rows are in front of; none behind the last row.

    Rows are counted without being parsed. Raises like `reference_page`.
    """
    databases.seals.check(reference)
    if "result" in reference:
        places = databases.results.places(reference["result"], reference["count"], every=every, first=done)
    else:
        places = select_places(*_query(databases, reference), every=every, after=after)
    yield from islice(places, max(0, reference["count"] - done - 1) // every)


def _query(databases: Databases, reference: Mapping[str, Any]) -> tuple[Snapshot, dict[str, Any]]:
    """The snapshot and the query of a reference to rows of a store."""
    if reference["database"] == SYSTEM:
        raise InvalidQuery(f"the rows of the database {SYSTEM} are not open")
    snapshot = databases.open(reference["database"]).snapshot(reference["version"])
    return snapshot, {**reference["query"], "store": reference["store"]}
