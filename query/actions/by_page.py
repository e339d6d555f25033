"""Bulk actions a page at a time: the rows that the filter has found in a page are changed there, and the page is written once.

For rows that are found by the primary key and keep their keys. What an action does to a page is what it would do to each of its rows:
indexes are kept up to date, values that stay as they are are not written.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
import orjson

from btree import LeafEdit
from query.actions.updates import Update
from query.selects.select import Selection
from query.stores.store import Record, Store

_LARGE: Final = 1 << 20
"""Bytes of new values up to which a page is changed at once; rows that grow beyond are written one by one."""
_decode: Final = msgspec.json.Decoder(list[dict[str, Any]]).decode


def delete_by_page(store: Store, rows: Selection) -> int:
    """Delete rows; gives their number."""
    deleted = 0
    for page, places in rows.edits():
        if store.indexes:
            keys = page.keys
            for place, record in zip(places, _records(page.values_at(places)), strict=True):
                for index in store.indexes:
                    index.remove(record, keys[place])
        page.remove(places)
        deleted += len(places)
    return deleted


def update_by_page(store: Store, rows: Selection, update: Update) -> dict[str, int]:
    """Update rows: {matched, updated}. The update changes no field of the key or of a unique index.

    Raises UpdateFailed, InvalidRecord.
    """
    indexes = [index for index in store.indexes if not update.fields.isdisjoint(index.roots)]
    apply, encode = update.apply, _encoder(store)
    matched = updated = 0
    for page, places in rows.edits():
        found = page.values_at(places)
        changed: list[int] = []
        values: list[bytes] = []
        size, put = 0, False
        for place, value, record in zip(places, found, _records(found), strict=True):
            new = apply(record)
            text = encode(new)
            if text == value:
                continue
            for index in indexes:
                key = page.keys[place]
                index.change(key, record, key, new)
            changed.append(place)
            values.append(text)
            size += len(text)
            if size > _LARGE:
                _put_all(store, page, changed[-len(values) :], values)
                values, size, put = [], 0, True
        matched += len(places)
        updated += len(changed)
        if put:
            _put_all(store, page, changed[len(changed) - len(values) :], values)
        elif changed:
            page.replace(changed, values)
    return {"matched": matched, "updated": updated}


def _put_all(store: Store, page: LeafEdit, places: Sequence[int], values: Sequence[bytes]) -> None:
    """Write values that are too large to be kept, one by one; the page cannot be changed as a whole then."""
    keys, tree = page.keys, store.writable
    for place, value in zip(places, values, strict=True):
        tree.put(keys[place], bytes(memoryview(value)))  # a copy: what orjson gives keeps a larger buffer


def _encoder(store: Store) -> Callable[[Mapping[str, Any]], bytes]:
    """What makes the value bytes of a record, like `Store.encode_value`, which it leaves the errors to."""
    if store.schema is not None:
        return store.encode_value

    def encode(record: Mapping[str, Any]) -> bytes:
        try:
            return orjson.dumps(record)
        except TypeError:
            return store.encode_value(record)

    return encode


def _records(values: list[bytes]) -> list[Record]:
    return _decode(b"[%b]" % b",".join(values))
