"""Looking back at a store: what changed in it between two versions, and making it again what it was.

A store is a tree and its entry in `_stores`. Both are restored in one transaction, so that a store that was dropped, or made anew
with another key, comes back as it was. The transaction counts as having read the whole store: what others write to
it meanwhile is a conflict, and the work is done again, so the new version has exactly the old records.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final

from btree import Database, Snapshot, Transaction, TreeNotFound
from btree.history import restore
from query.errors import StoreNotFound, TooManyRows, did_you_mean
from query.stores.catalog import CATALOG, READY, StoreInfo, index_tree, list_stores, put_info, rows_tree, store_info
from query.stores.store import Record, decode_record
from query.values import keycode

_ATTEMPTS: Final = 20
"""More than for short writes: everybody who writes to the store is in the way."""


@dataclass(frozen=True)
class Change:
    """A record that differs: `change` is added, updated or deleted; `before` and `after` are None where there is none."""

    key: list[Any]
    change: str
    before: Record | None
    after: Record | None


@dataclass(frozen=True)
class Restored:
    """How many records were changed, and the version that holds them."""

    changed: int
    version: int


def changes(
    database: Database, store: str, old: int, new: int, *, after: bytes | None = None
) -> Iterator[tuple[bytes, Change]]:
    """What differs in a store between two versions, by key, from behind the key `after`.

    Raises VersionNotFound; StoreNotFound if neither version has the store.
    """
    lower = after + b"\x00" if after is not None else None
    return (
        (key, _change(key, before, behind)) for key, before, behind in _difference(database, store, old, new, lower)
    )


def changes_page(
    database: Database, store: str, old: int, new: int, *, after: bytes | None, limit: int
) -> tuple[list[Change], bytes | None]:
    """At most `limit` changes behind the key `after`, and where the next page goes on. Raises like `changes`."""
    found = list(islice(changes(database, store, old, new, after=after), limit + 1))
    following = found[limit - 1][0] if len(found) > limit else None
    return [change for _, change in found[:limit]], following


def restore_store(
    database: Database, store: str, version: int, *, dry_run: bool = False, max_affected: int | None = None
) -> Restored:
    """Make a store what it was in a version, as a new version; a dry run only counts.

    Raises VersionNotFound; StoreNotFound if that version has no such store; TooManyRows if more than `max_affected` were changed, and
    nothing is then; Conflict.
    """
    _check_then(database.snapshot(version), store)
    if dry_run:
        head = database.head().seq
        return Restored(sum(1 for _ in _difference(database, store, head, version)), head)
    pin = database.pin(version)
    try:
        return _restore(database, store, version, max_affected)
    finally:
        database.unpin(pin.id)


def _restore(database: Database, store: str, version: int, most: int | None) -> Restored:
    then = database.snapshot(version)
    tried: list[Transaction] = []

    def work(transaction: Transaction) -> int:
        tried.append(transaction)
        info = store_info(then, store)
        info = replace(info, indexes=tuple(index for index in info.indexes if index.state == READY))
        _declare(transaction, info)
        if transaction.has_tree(rows_tree(store)):
            transaction.tree(rows_tree(store)).count()  # notes that all of it was read
        for index in info.indexes:
            restore(transaction, then, index_tree(store, index.name))
        changed = restore(transaction, then, rows_tree(store))
        if most is not None and changed > most:
            raise TooManyRows(
                f"more than {most} rows would be affected", hint="look at the changes, or count with a dry run"
            )
        return changed

    changed = database.transact(work, attempts=_ATTEMPTS)
    return Restored(changed, tried[-1].commit().seq)  # committing again gives the version that it became


def _declare(transaction: Transaction, info: StoreInfo) -> None:
    """Declare a store as it was; indexes that it had not are dropped."""
    if not transaction.has_tree(CATALOG):
        transaction.create_tree(CATALOG)
    known = next((found for found in list_stores(transaction) if found.name == info.name), None)
    wanted = {index.name for index in info.indexes}
    for index in known.indexes if known is not None else ():
        if index.name not in wanted:
            transaction.drop_tree(index_tree(info.name, index.name))
    if known != info:
        put_info(transaction, info)


def _check_then(then: Snapshot, store: str) -> None:
    """Raises StoreNotFound if a version does not have the store."""
    found = then.tree(CATALOG).get(store.encode()) if then.has_tree(CATALOG) else None
    if found is None:
        known = did_you_mean(store, (info.name for info in list_stores(then)), "it had")
        message = f"version {then.seq} has no store {store!r}: it was made later, or dropped before"
        raise StoreNotFound(message, hint=f"take a version that has it; {known}")


def _difference(
    database: Database, store: str, old: int, new: int, lower: bytes | None = None
) -> Iterator[tuple[bytes, bytes | None, bytes | None]]:
    try:
        return database.difference(old, new, rows_tree(store), lower)
    except TreeNotFound:
        raise StoreNotFound(f"neither version {old} nor version {new} has a store {store!r}") from None


def _change(key: bytes, before: bytes | None, after: bytes | None) -> Change:
    kind = "added" if before is None else "deleted" if after is None else "updated"
    return Change(keycode.decode(key), kind, _record(before), _record(after))


def _record(value: bytes | None) -> Record | None:
    return decode_record(value) if value is not None else None
