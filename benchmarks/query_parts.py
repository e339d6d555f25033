"""What the query benchmark does in a process of its own, so that its memory can be told: `python benchmarks/query_parts.py PART FILE`.

Prints {"peak_mb": ..., "rows": ...}: the peak above what the process had after opening the store and reading one row.
"""

import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from btree_parts import peak_memory

from btree import Database, Transaction
from query import BulkAction, aggregate_rows, join, open_store, select


def _write(chunks: Iterable[bytes]) -> None:
    with Path(os.devnull).open("wb") as sink:
        for chunk in chunks:
            sink.write(chunk)


def _query(make: Callable[[Any], Any]) -> Callable[[Database], int]:
    def run(database: Database) -> int:
        rows = make(database.snapshot())
        _write(rows.json_chunks())
        return int(rows.returned)

    return run


def _group(database: Database) -> int:
    rows = select(database.snapshot(), "orders")
    values = {"rows": "count", "total": {"op": "sum", "value": "amount"}}
    return sum(1 for _ in aggregate_rows(rows, values=values, group_by=["customer"]))


def update_lot(transaction: Transaction, lot: int, status: str) -> int:
    """Set the status of a tenth of the rows."""

    def rows() -> Any:
        return select(transaction, "orders", filter={"lot": lot})

    return BulkAction(open_store(transaction, "orders"), rows, {"status": status}).run()["updated"]


def delete_lot(transaction: Transaction, lot: int) -> int:
    """Delete a tenth of the rows."""

    def rows() -> Any:
        return select(transaction, "orders", filter={"lot": lot})

    return BulkAction(open_store(transaction, "orders"), rows).run()["deleted"]


PARTS: dict[str, Callable[[Database], int]] = {
    "filter scan": _query(lambda view: select(view, "orders", filter={"amount": {"$lt": 500}})),
    "sort": _query(lambda view: select(view, "orders", order_by="customer")),
    "group by": _group,
    "merge join": _query(lambda view: join(view, left="orders", right="details", on="id", method="merge")),
    "hash join": _query(lambda view: join(view, left="orders", right="details", on="customer", method="hash")),
    "bulk update": lambda database: database.transact(lambda t: update_lot(t, 3, "late")),
}


def main(part: str, file: str) -> None:
    with Database.open(Path(file)) as database:
        open_store(database.snapshot(), "orders").get(0)
        idle = peak_memory()
        rows = PARTS[part](database)
        peak = peak_memory()
    print(json.dumps({"peak_mb": (peak - idle) / 1024, "rows": rows}))


if __name__ == "__main__":
    main(*sys.argv[1:])
