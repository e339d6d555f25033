"""describe_store: what a store is, for people and for authors of scripts."""

from typing import Any, Final

from query.stores.catalog import View
from query.stores.schemas import infer_schema
from query.stores.store import Record, Store, decode_record, open_store
from query.values import keycode

SAMPLE: Final = 1000
"""Records that a schema is inferred from, where none is declared."""


def describe_store(view: View, name: str) -> dict[str, Any]:
    """Its declaration, the number of records, the first and last key; for each index the number of entries and its key range; and the
    schema: the declared one, or one inferred from the first records (`sample` tells how many). Raises StoreNotFound."""
    store = open_store(view, name)
    first, last = _ends(store)
    found: dict[str, Any] = {
        **store.info.to_dict(),
        "count": store.count(),
        "first_key": first,
        "last_key": last,
        "indexes": [
            {
                "name": index.info.name,
                "fields": list(index.info.fields),
                "unique": index.info.unique,
                "state": index.info.state,
                "count": index.tree.count(),
            }
            for index in store.indexes
        ],
    }
    if store.info.schema is None:
        sample = _sample(store)
        found |= {"inferred_schema": infer_schema(sample), "sample": len(sample)}
    return found


def _ends(store: Store) -> tuple[Any, Any]:
    cursor = store.tree.cursor()
    first = keycode.decode(cursor.key) if cursor.first() else None
    last = keycode.decode(cursor.key) if cursor.last() else None
    return first, last


def _sample(store: Store) -> list[Record]:
    cursor = store.tree.cursor()
    found: list[Record] = []
    valid = cursor.first()
    while valid and len(found) < SAMPLE:
        found.append(decode_record(cursor.value))
        valid = cursor.next()
    return found
