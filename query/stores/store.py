"""Stores: named collections of JSON records with a declared primary key, and their secondary indexes.

A store is one tree: the encoded key fields (`keycode`) -> the record's JSON text, as bytes; and one tree for each index (`indexes`),
written in the same transaction. What is declared about stores is in `catalog`. A view is a Snapshot or a Transaction; writing needs a
Transaction, and nothing here commits.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Final, NamedTuple

import msgspec
import orjson

from btree import LeafEdit, ReadTree, Snapshot, Transaction, Tree
from query.errors import InvalidKeyValue, InvalidRecord, RecordExists, RecordNotFound
from query.stores.catalog import (
    CATALOG,
    READY,
    StoreInfo,
    View,
    declare_store,
    forget_store,
    index_tree,
    list_stores,
    rows_tree,
    store_info,
)
from query.stores.indexes import Index
from query.stores.schemas import RecordSchema
from query.values import keycode

Record = dict[str, Any]

decode_record: Final = msgspec.json.Decoder().decode
_encode: Final = (
    msgspec.json.Encoder().encode
)  # many of its results are kept, and those of orjson keep their buffer of 4 KB

__all__ = ["Record", "Store", "StoreInfo", "View", "create_store", "drop_store", "list_stores", "open_store"]


def create_store(
    view: Transaction,
    name: str,
    *,
    primary_key: Sequence[str],
    description: str = "",
    schema: Mapping[str, Any] | None = None,
    relations: Sequence[Mapping[str, Any]] = (),
) -> "Store":
    """Create a store. Raises StoreExists, InvalidName, InvalidSchema."""
    info = declare_store(
        view, name, primary_key=primary_key, description=description, schema=schema, relations=relations
    )
    return Store(view, info)


def drop_store(view: Transaction, name: str) -> None:
    """Remove a store, its records and its indexes. Raises StoreNotFound."""
    forget_store(view, name)


def open_store(view: View, name: str) -> "Store":
    """A store by name. Raises StoreNotFound with the nearest name.

    A snapshot keeps what was opened. In a transaction the declaration is looked up each time, so that it is noted as read, and what was
    opened is used again as long as declaration and trees are the same.
    """
    if not isinstance(view, Snapshot):
        return _open_again(view, store_info(view, name))
    opened = view.kept(rows_tree(name))
    if opened is None:
        store = Store(view, store_info(view, name))
        opened = _parts(store)
        view.keep(rows_tree(name), opened)
    store = Store.__new__(Store)
    store.__dict__ = {**opened, "view": view}
    return store


class _Opened(NamedTuple):
    """What was opened in a transaction: the names of the trees, the trees, and the parts of the store."""

    info: StoreInfo
    names: list[str]
    trees: list[ReadTree]
    parts: dict[str, Any]


def _open_again(view: Transaction, info: StoreInfo) -> "Store":
    opened: _Opened | None = view.kept.get(info.name)
    if opened is None or opened.info is not info or opened.trees != [view.tree(name) for name in opened.names]:
        store = Store(view, info)
        parts = _parts(store)
        names = [rows_tree(info.name), *(index_tree(info.name, index.name) for index in info.indexes)]
        opened = view.kept[info.name] = _Opened(info, names, [view.tree(name) for name in names], parts)
    store = Store.__new__(Store)
    store.__dict__ = {**opened.parts, "view": view}
    return store


def _parts(store: "Store") -> dict[str, Any]:
    """All that a store has but its view, which keeps what is kept."""
    parts = {"indexes": store.indexes, "ready_indexes": store.ready_indexes, **vars(store)}
    del parts["view"]
    return parts


class Store:
    """A store in a view."""

    def __init__(self, view: View, info: StoreInfo) -> None:
        self.view = view
        self.info = info
        self.tree: ReadTree = view.tree(rows_tree(info.name))
        self._announced = False

    @cached_property
    def indexes(self) -> list[Index]:
        """All indexes, also those that are being built: writers keep them up to date."""
        return [Index(info, self.view.tree(index_tree(self.info.name, info.name))) for info in self.info.indexes]

    @cached_property
    def ready_indexes(self) -> list[Index]:
        """The indexes that may be read."""
        return [index for index in self.indexes if index.info.state == READY]

    @property
    def schema(self) -> RecordSchema | None:
        """What its records have to satisfy."""
        return self.info.record_schema

    @property
    def fields(self) -> frozenset[str] | None:
        """The names of the fields that records may have; None where any may be there."""
        return self.schema.fields if self.schema is not None else None

    def count(self) -> int:
        """How many records."""
        return self.tree.count()

    # --- single records ---

    def get(self, key: Any) -> Record | None:
        """The record of a key: a value, a list of values, or {field: value}. Raises InvalidKeyValue."""
        found = self.tree.get(self.encode_key(key))
        return decode_record(found) if found is not None else None

    def add(self, record: Mapping[str, Any]) -> None:
        """Insert a new record. Raises RecordExists, UniqueViolation, InvalidRecord."""
        key, value = self.encode(record)
        if self.tree.get(key) is not None:
            raise self._taken(key, hint="use upsert to replace it")
        self.put(key, value, record)

    def upsert(self, record: Mapping[str, Any]) -> str:
        """Insert or replace; `added` or `updated`. Raises UniqueViolation, InvalidRecord."""
        key, value = self.encode(record)
        known = self.tree.get(key)
        self.put(key, value, record, old=known)
        return "updated" if known is not None else "added"

    def update(self, key: Any, values: Mapping[str, Any]) -> Record:
        """Change fields of a record; changing the key moves it. Gives the new record.

        Raises RecordNotFound; RecordExists if the new key is taken; UniqueViolation, InvalidRecord.
        """
        old_key = self.encode_key(key)
        found = self.tree.get(old_key)
        if found is None:
            raise RecordNotFound(f"{self.info.name} has no record with the key {keycode.decode(old_key)}")
        return self._changed(old_key, found, {**decode_record(found), **values})

    def change(self, key: Any, work: Callable[[Record], Record]) -> Record:
        """Replace a record by what `work` makes of it; changing the key moves it. Gives the new record. Raises like `update`."""
        old_key = self.encode_key(key)
        found = self.tree.get(old_key)
        if found is None:
            raise RecordNotFound(f"{self.info.name} has no record with the key {keycode.decode(old_key)}")
        return self._changed(old_key, found, work(decode_record(found)))

    def _changed(self, old_key: bytes, found: bytes, record: Record) -> Record:
        new_key, value = self.encode(record)
        if new_key != old_key:
            if self.tree.get(new_key) is not None:
                raise self._taken(new_key)
            self.move(old_key, found, new_key, value, record)
        else:
            self.put(new_key, value, record, old=found)
        return record

    def delete(self, key: Any) -> bool:
        """Remove a record; False if there was none."""
        encoded = self.encode_key(key)
        found = self.tree.get(encoded) if self.indexes else None
        if self.indexes and found is None:
            return False
        return self.remove(encoded, found)

    # --- encoded records: keys and values as they are in the tree ---

    def put(self, key: bytes, value: bytes, record: Mapping[str, Any], *, old: bytes | None = None) -> None:
        """Write an encoded record; `old` is the value that stands there, if one does. Raises UniqueViolation, InvalidRecord."""
        tree = self.writable
        if self.indexes:
            before = decode_record(old) if old is not None else None
            for index in self.indexes:
                index.change(key, before, key, record)
        tree.put(key, value)

    def move(self, old_key: bytes, old: bytes, key: bytes, value: bytes, record: Mapping[str, Any]) -> None:
        """Write an encoded record under another key, which is free. Raises UniqueViolation, InvalidRecord."""
        tree = self.writable
        for index in self.indexes:
            index.change(old_key, decode_record(old), key, record)
        tree.put(key, value)
        tree.delete(old_key)

    def remove(self, key: bytes, old: bytes | None = None) -> bool:
        """Remove a record by its encoded key; `old` is its value, needed where there are indexes. False if there was none."""
        tree = self.writable
        if self.indexes and old is not None:
            record = decode_record(old)
            for index in self.indexes:
                index.remove(record, key)
        return tree.delete(key)

    def edits(self, lower: bytes | None, upper: bytes | None) -> Iterator[LeafEdit]:
        """Stretches of pages to be changed. Indexes are the caller's business."""
        return self.writable.edits(lower, upper)

    def remove_known(self, key: bytes, old: bytes) -> None:
        """Remove a record that is known to be there, with the value `old`."""
        tree = self.writable
        if self.indexes:
            record = decode_record(old)
            for index in self.indexes:
                index.remove(record, key)
        tree.discard(key)

    def encode(self, record: Mapping[str, Any]) -> tuple[bytes, bytes]:
        """The key and the value bytes of a record. Raises InvalidRecord."""
        if not isinstance(record, Mapping):
            raise InvalidRecord(f"a record is an object, not {record!r}")
        key = self.key_of(record)
        return key, self.encode_value(record)

    def encode_value(self, record: Mapping[str, Any]) -> bytes:
        """The value bytes of a record. Raises InvalidRecord."""
        if self.schema is not None:
            self.schema.check(record)
        try:
            return memoryview(orjson.dumps(record)).tobytes()  # a copy: the original keeps its buffer of 4 KB
        except (orjson.JSONEncodeError, TypeError) as error:
            raise InvalidRecord(f"the record is no JSON: {error}") from None

    def key_of(self, record: Mapping[str, Any]) -> bytes:
        """The key bytes of a record. Raises InvalidRecord, InvalidKeyValue."""
        missing = [field for field in self.info.primary_key if field not in record]
        if missing:
            hint = f"the key of {self.info.name} is {', '.join(self.info.primary_key)}"
            raise InvalidRecord(f"the record has no key field {missing[0]!r}", pointer=f"/{missing[0]}", hint=hint)
        return keycode.encode([record[field] for field in self.info.primary_key])

    def encode_key(self, key: Any) -> bytes:
        """The bytes of a key given as a value, a list of values, or {field: value}. Raises InvalidKeyValue."""
        fields = self.info.primary_key
        if isinstance(key, Mapping):
            if set(key) != set(fields):
                raise InvalidKeyValue(
                    f"the key of {self.info.name} has the fields {', '.join(fields)}, not {', '.join(key)}",
                    pointer="/key",
                )
            key = [key[field] for field in fields]
        elif not isinstance(key, list):
            key = [key]
        if len(key) != len(fields):
            raise InvalidKeyValue(
                f"the key of {self.info.name} has {len(fields)} parts, not {len(key)}", pointer="/key"
            )
        return keycode.encode(key)

    def _taken(self, key: bytes, hint: str | None = None) -> RecordExists:
        message = f"{self.info.name} has a record with the key {keycode.decode(key)} already"
        return RecordExists(message, hint=hint)

    @property
    def writable(self) -> Tree:
        """The tree of records, for writing.

        A writer counts as having written the declaration as it is: whoever declares an index or drops the store meanwhile is in
        conflict with it, also under snapshot isolation, where what was read is not compared.
        """
        tree = self.tree
        if not isinstance(tree, Tree):
            raise InvalidRecord("a snapshot cannot be written", hint="write in a transaction")
        if not self._announced and isinstance(self.view, Transaction) and self.view.isolation == "snapshot":
            name, catalog = self.info.name.encode(), self.view.tree(CATALOG)
            entry = catalog.get(name)
            if entry is not None:
                catalog.put(name, entry)
        self._announced = True
        return tree
