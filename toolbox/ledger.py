"""The ledger of a batch: which elements failed, in a database's store `_batch_failures`.

A row is {run, step, ordinal, key, code, message, at}: the run, the key of the loop's step in it, the position of the element in the whole
loop (from 0), the key of its row (null where it has none), its error, and when its chunk was begun. It is written in the transaction of
the chunk.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from btree import Transaction
from query import View, create_store, list_stores, open_store, select

STORE: Final = "_batch_failures"


def record_failures(view: Transaction, run: str, step: str, at: str, failures: Sequence[Mapping[str, Any]]) -> None:
    """Write down what failed: {ordinal, key, error {code, message}} for each element."""
    if not failures:
        return
    if STORE not in {info.name for info in list_stores(view)}:
        primary_key = ["run", "step", "ordinal"]
        create_store(view, STORE, primary_key=primary_key, description="elements of batches whose body failed")
    store = open_store(view, STORE)
    for failure in failures:
        error = {"code": failure["error"]["code"], "message": failure["error"]["message"]}
        row = {"run": run, "step": step, "ordinal": failure["ordinal"], "key": failure["key"], **error, "at": at}
        store.upsert(row)


def failures(view: View, run: str, step: str, first: int, *, limit: int) -> list[dict[str, Any]]:
    """At most so many rows of one batch's ledger, from the ordinal `first` on, in their order."""
    if STORE not in {info.name for info in list_stores(view)}:
        return []
    wanted = {"run": run, "step": step, "ordinal": {"$gte": first}}
    return list(select(view, STORE, filter=wanted, limit=limit))
