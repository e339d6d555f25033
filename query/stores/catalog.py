"""What is declared about stores: the tree `_stores`, from names to declarations.

    name -> {name, primary_key, description, schema, relations, indexes: [{name, fields, unique, state}]}

A store's records are in the tree `rows/NAME`, an index in `index/NAME/INDEX`. An index in the state `building` is kept up to
date by every writer, and read by nobody yet.

Names that begin with `_` are reserved for the system's own stores: readable, not to be created or written by scripts.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any, Final

import orjson

from btree import Snapshot, Transaction
from query.errors import IndexExists, IndexNotFound, InvalidName, StoreExists, StoreNotFound, did_you_mean
from query.stores.schemas import RecordSchema

View = Snapshot | Transaction

CATALOG: Final = "_stores"
READY: Final = "ready"
BUILDING: Final = "building"
_NAME: Final = re.compile(r"_?[a-z][a-z0-9_]{0,62}")


@dataclass(frozen=True)
class IndexInfo:
    """A secondary index: dotted paths, in order. `unique`: no two records have the same values (unless all are null)."""

    name: str
    fields: tuple[str, ...]
    unique: bool = False
    state: str = READY


@dataclass(frozen=True)
class Relation:
    """That `fields` of a record are the fields `to` of a record of another store. For people and authors; nothing is enforced."""

    fields: tuple[str, ...]
    store: str
    to: tuple[str, ...]
    description: str = ""


@dataclass(frozen=True)
class StoreInfo:
    """What is declared about a store. `schema` is a JSON Schema that its records satisfy, None for any object."""

    name: str
    primary_key: list[str]
    description: str = ""
    schema: dict[str, Any] | None = None
    relations: tuple[Relation, ...] = ()
    indexes: tuple[IndexInfo, ...] = field(default=())

    @cached_property
    def record_schema(self) -> RecordSchema | None:
        """The schema, ready to check records."""
        return RecordSchema.parse(self.schema) if self.schema is not None else None

    @cached_property
    def prepared(self) -> dict[Any, Any]:
        """What selects have prepared for stores that are declared like this (see `selects.prepared`)."""
        return {}

    def index(self, name: str) -> IndexInfo:
        """An index by name. Raises IndexNotFound with the nearest name."""
        for found in self.indexes:
            if found.name == name:
                return found
        hint = did_you_mean(name, (index.name for index in self.indexes), "its indexes are")
        raise IndexNotFound(f"{self.name} has no index {name!r}", pointer="/index", hint=hint)

    def to_dict(self) -> dict[str, Any]:
        """As JSON; what is not declared is left out."""
        found = asdict(self)
        return {name: value for name, value in found.items() if name in ("name", "primary_key", "description") or value}


def declare_store(
    view: Transaction,
    name: str,
    *,
    primary_key: Sequence[str],
    description: str = "",
    schema: Mapping[str, Any] | None = None,
    relations: Sequence[Mapping[str, Any]] = (),
) -> StoreInfo:
    """Declare a store, and make its tree. Raises StoreExists, InvalidName, InvalidSchema."""
    if not _NAME.fullmatch(name):
        raise InvalidName(
            f"{name!r} is no name for a store",
            pointer="/name",
            hint="lower-case letters, digits and _, beginning with a letter",
        )
    if (
        not primary_key
        or len(set(primary_key)) != len(primary_key)
        or not all(isinstance(field, str) and field for field in primary_key)
    ):
        raise InvalidName("a store needs a primary key: a list of different field names", pointer="/primary_key")
    parsed = RecordSchema.parse(schema) if schema is not None else None
    if parsed is not None and parsed.fields is not None and not parsed.fields.issuperset(primary_key):
        missing = next(field for field in primary_key if field not in (parsed.fields or ()))
        raise InvalidName(f"the schema does not have the key field {missing!r}", pointer="/schema/properties")
    found = tuple(_relation(relation, f"/relations/{at}") for at, relation in enumerate(relations))
    catalog = view.tree(CATALOG) if view.has_tree(CATALOG) else view.create_tree(CATALOG)
    if catalog.get(name.encode()) is not None:
        raise StoreExists(f"the store {name!r} is there already")
    info = StoreInfo(name, list(primary_key), description, dict(schema) if schema is not None else None, found)
    put_info(view, info)
    view.create_tree(rows_tree(name))
    return info


def _relation(given: Mapping[str, Any], pointer: str) -> Relation:
    """A relation as it is given. Raises InvalidName."""
    known = {"fields", "store", "to", "description"}
    if not isinstance(given, Mapping) or set(given) - known or not {"fields", "store", "to"}.issubset(given):
        raise InvalidName("a relation is {fields, store, to, description}", pointer=pointer)
    fields, to = given["fields"], given["to"]
    lists = all(isinstance(names, list) and all(isinstance(name, str) for name in names) for names in (fields, to))
    if not lists or not fields or len(fields) != len(to) or not isinstance(given["store"], str):
        raise InvalidName("fields and to are lists of as many field names, store is the other's name", pointer=pointer)
    return Relation(tuple(fields), given["store"], tuple(to), str(given.get("description", "")))


def forget_store(view: Transaction, name: str) -> None:
    """Remove a store, its records and its indexes. Raises StoreNotFound."""
    info = store_info(view, name)
    view.tree(CATALOG).delete(name.encode())
    view.drop_tree(rows_tree(name))
    for index in info.indexes:
        view.drop_tree(index_tree(name, index.name))


def store_info(view: View, name: str) -> StoreInfo:
    """What is declared about a store. Raises StoreNotFound with the nearest name."""
    entry = view.tree(CATALOG).get(name.encode()) if view.has_tree(CATALOG) else None
    if entry is None:
        hint = did_you_mean(name, (info.name for info in list_stores(view)), "the stores are")
        raise StoreNotFound(f"there is no store {name!r}", hint=hint)
    return _decoded(entry)


def list_stores(view: View) -> list[StoreInfo]:
    """All stores, by name."""
    if not view.has_tree(CATALOG):
        return []
    return [_decoded(value) for _, value in view.tree(CATALOG).scan()]


def put_info(view: Transaction, info: StoreInfo) -> None:
    """Write a declaration."""
    view.tree(CATALOG).put(info.name.encode(), orjson.dumps(info.to_dict()))


def declare_index(view: Transaction, store: str, index: IndexInfo) -> StoreInfo:
    """Add an index to a declaration, and make its tree. Raises StoreNotFound, IndexExists, InvalidName."""
    info = store_info(view, store)
    if not _NAME.fullmatch(index.name):
        raise InvalidName(f"{index.name!r} is no name for an index", pointer="/name")
    if (
        not index.fields
        or len(set(index.fields)) != len(index.fields)
        or not all(isinstance(path, str) and all(path.split(".")) for path in index.fields)
    ):
        raise InvalidName("an index has one or more different fields, or dotted paths", pointer="/fields")
    if any(found.name == index.name for found in info.indexes):
        raise IndexExists(f"{store} has an index {index.name!r} already", pointer="/name")
    info = replace(info, indexes=(*info.indexes, index))
    put_info(view, info)
    view.create_tree(index_tree(store, index.name))
    return info


def forget_index(view: Transaction, store: str, name: str) -> None:
    """Remove an index. Raises StoreNotFound, IndexNotFound."""
    info = store_info(view, store)
    info.index(name)
    put_info(view, replace(info, indexes=tuple(index for index in info.indexes if index.name != name)))
    view.drop_tree(index_tree(store, name))


def mark_index(view: Transaction, store: str, name: str, state: str) -> None:
    """Set the state of an index. Raises StoreNotFound, IndexNotFound."""
    info = store_info(view, store)
    marked = replace(info.index(name), state=state)
    put_info(view, replace(info, indexes=tuple(marked if index.name == name else index for index in info.indexes)))


def rows_tree(store: str) -> str:
    """The tree of a store's records."""
    return f"rows/{store}"


def index_tree(store: str, index: str) -> str:
    """The tree of an index."""
    return f"index/{store}/{index}"


@lru_cache(maxsize=512)
def _decoded(entry: bytes) -> StoreInfo:
    """What an entry says; a value that all who open the store share."""
    found: dict[str, Any] = orjson.loads(entry)
    relations = tuple(
        Relation(tuple(each["fields"]), each["store"], tuple(each["to"]), each.get("description", ""))
        for each in found.get("relations", ())
    )
    indexes = tuple(
        IndexInfo(each["name"], tuple(each["fields"]), each["unique"], each["state"])
        for each in found.get("indexes", ())
    )
    return StoreInfo(
        found["name"], found["primary_key"], found.get("description", ""), found.get("schema"), relations, indexes
    )
