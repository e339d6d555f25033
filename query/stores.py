"""Stores: named collections of JSON records with a declared primary key.

A store is one tree: the encoded key fields (`keycode`) -> the record's JSON text, as bytes. What stores there are is in the
tree `_stores`. A view is a Snapshot or a Transaction; writing needs a Transaction, and nothing here commits.

Names that begin with `_` are reserved for the system's own stores: readable, not to be created or written by scripts.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from typing import Any, Final

import msgspec
import orjson

from btree import ReadTree, Snapshot, Transaction, Tree
from query import keycode
from query.errors import (
    InvalidKeyValue,
    InvalidName,
    InvalidRecord,
    RecordExists,
    RecordNotFound,
    StoreExists,
    StoreNotFound,
)

View = Snapshot | Transaction
Record = dict[str, Any]

CATALOG: Final = "_stores"
_NAME: Final = re.compile(r"_?[a-z][a-z0-9_]{0,62}")
decode_record: Final = msgspec.json.Decoder().decode


@dataclass(frozen=True)
class StoreInfo:
    """What is declared about a store."""

    name: str
    primary_key: list[str]
    description: str = ""


def create_store(view: Transaction, name: str, *, primary_key: Sequence[str], description: str = "") -> "Store":
    """Create a store. Raises StoreExists, InvalidName."""
    if not _NAME.fullmatch(name):
        raise InvalidName(
            f"{name!r} is no name for a store", hint="lower-case letters, digits and _, beginning with a letter"
        )
    if (
        not primary_key
        or len(set(primary_key)) != len(primary_key)
        or not all(isinstance(field, str) and field for field in primary_key)
    ):
        raise InvalidName("a store needs a primary key: a list of different field names", pointer="/primary_key")
    catalog = view.tree(CATALOG) if view.has_tree(CATALOG) else view.create_tree(CATALOG)
    if catalog.get(name.encode()) is not None:
        raise StoreExists(f"the store {name!r} is there already")
    info = StoreInfo(name, list(primary_key), description)
    catalog.put(name.encode(), orjson.dumps(asdict(info)))
    return Store(view.create_tree(_tree_name(name)), info)


def drop_store(view: Transaction, name: str) -> None:
    """Remove a store and its records. Raises StoreNotFound."""
    open_store(view, name)
    view.tree(CATALOG).delete(name.encode())
    view.drop_tree(_tree_name(name))


def list_stores(view: View) -> list[StoreInfo]:
    """All stores, by name."""
    if not view.has_tree(CATALOG):
        return []
    return [StoreInfo(**orjson.loads(value)) for _, value in view.tree(CATALOG).scan()]


def open_store(view: View, name: str) -> "Store":
    """A store by name. Raises StoreNotFound with the nearest name."""
    entry = view.tree(CATALOG).get(name.encode()) if view.has_tree(CATALOG) else None
    if entry is None:
        names = [info.name for info in list_stores(view)]
        near = get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"the stores are: {', '.join(names) or 'none'}"
        raise StoreNotFound(f"there is no store {name!r}", hint=hint)
    return Store(view.tree(_tree_name(name)), StoreInfo(**orjson.loads(entry)))


def describe_store(view: View, name: str) -> dict[str, Any]:
    """Name, key, description, count, the first and last key, and the fields with their types in a sample of 100 records."""
    store = open_store(view, name)
    fields: dict[str, set[str]] = {}
    cursor = store.tree.cursor()
    valid, seen = cursor.first(), 0
    while valid and seen < 100:
        for field, value in decode_record(cursor.value).items():
            fields.setdefault(field, set()).add(_type(value))
        valid, seen = cursor.next(), seen + 1
    first = keycode.decode(cursor.key) if cursor.first() else None
    last = keycode.decode(cursor.key) if cursor.last() else None
    sampled = {field: sorted(types) for field, types in fields.items()}
    return {
        **asdict(store.info),
        "count": store.count(),
        "first_key": first,
        "last_key": last,
        "sampled_fields": sampled,
        "sample": seen,
    }


def _type(value: Any) -> str:
    names = {type(None): "null", bool: "boolean", int: "integer", float: "number", str: "string", list: "array"}
    return names.get(type(value), "object")


def _tree_name(store: str) -> str:
    return f"rows/{store}"


class Store:
    """A store in a view."""

    def __init__(self, tree: ReadTree, info: StoreInfo) -> None:
        self.tree = tree
        self.info = info

    def count(self) -> int:
        """How many records."""
        return self.tree.count()

    def get(self, key: Any) -> Record | None:
        """The record of a key: a value, a list of values, or {field: value}. Raises InvalidKeyValue."""
        found = self.tree.get(self.encode_key(key))
        return decode_record(found) if found is not None else None

    def add(self, record: Mapping[str, Any]) -> None:
        """Insert a new record. Raises RecordExists, InvalidRecord."""
        key, value = self.encode(record)
        if self.tree.get(key) is not None:
            raise RecordExists(
                f"{self.info.name} has a record with the key {keycode.decode(key)} already",
                hint="use upsert to replace it",
            )
        self._writable().put(key, value)

    def upsert(self, record: Mapping[str, Any]) -> str:
        """Insert or replace; `added` or `updated`. Raises InvalidRecord."""
        key, value = self.encode(record)
        known = self.tree.get(key) is not None
        self._writable().put(key, value)
        return "updated" if known else "added"

    def update(self, key: Any, values: Mapping[str, Any]) -> Record:
        """Change fields of a record; changing the key moves it. Gives the new record.

        Raises RecordNotFound; RecordExists if the new key is taken.
        """
        old_key = self.encode_key(key)
        found = self.tree.get(old_key)
        if found is None:
            raise RecordNotFound(f"{self.info.name} has no record with the key {keycode.decode(old_key)}")
        record: Record = {**decode_record(found), **values}
        new_key, value = self.encode(record)
        if new_key != old_key and self.tree.get(new_key) is not None:
            message = f"{self.info.name} has a record with the key {keycode.decode(new_key)} already"
            raise RecordExists(message)
        self._writable().put(new_key, value)
        if new_key != old_key:
            self._writable().delete(old_key)
        return record

    def delete(self, key: Any) -> bool:
        """Remove a record; False if there was none."""
        return self._writable().delete(self.encode_key(key))

    def encode(self, record: Mapping[str, Any]) -> tuple[bytes, bytes]:
        """The key and the value bytes of a record. Raises InvalidRecord."""
        if not isinstance(record, Mapping):
            raise InvalidRecord(f"a record is an object, not {record!r}")
        missing = [field for field in self.info.primary_key if field not in record]
        if missing:
            hint = f"the key of {self.info.name} is {', '.join(self.info.primary_key)}"
            raise InvalidRecord(f"the record has no key field {missing[0]!r}", pointer=f"/{missing[0]}", hint=hint)
        try:
            value = orjson.dumps(record)
        except (orjson.JSONEncodeError, TypeError) as error:
            raise InvalidRecord(f"the record is no JSON: {error}") from None
        return keycode.encode([record[field] for field in self.info.primary_key]), value

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

    def _writable(self) -> Tree:
        if not isinstance(self.tree, Tree):
            raise InvalidRecord("a snapshot cannot be written", hint="write in a transaction")
        return self.tree
