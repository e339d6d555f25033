"""The ledger of a batch: which elements failed, in a database's store `_batch_failures`.

A row is {run, step, ordinal, key, code, message, at}: the run, the key of the loop's step in it, the position of the element in the whole
loop (from 0), the key of its row (null where it has none), its error, and when its chunk was begun. It is written in the transaction of
the chunk.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from btree import Transaction
from query import create_store, list_stores, open_store

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
