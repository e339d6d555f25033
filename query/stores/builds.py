"""Making, dropping and checking indexes.

`create_index` builds in the caller's transaction. `build_index` builds online, in short transactions: the index is declared first, and
from then on every writer keeps it up to date; then the records that were there are entered, some thousands at a time; at last the
index is marked as ready, and plans use it. A writer that began before the declaration conflicts with it and begins anew, so that
no record is missed. If it ends half-way (a duplicate in a unique index, a crash) the index is dropped, or stays in the state
`building`, where building it again goes on from the beginning.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Final

from btree import Database, Snapshot, Transaction
from query.errors import IndexExists, IndexNotFound, StoreNotFound
from query.stores.catalog import BUILDING, READY, IndexInfo, View, declare_index, forget_index, mark_index, store_info
from query.stores.indexes import Index, key_of
from query.stores.store import Store, decode_record, open_store
from query.values import keycode

CHUNK: Final = 5_000
"""Records that are entered in one transaction."""
ATTEMPTS: Final = 20

Progress = Callable[[int, int], None]
"""Is told how many records are entered, and how many there are about."""


def index_name(fields: Sequence[str]) -> str:
    """The name of an index that was given none."""
    return "_".join(fields).replace(".", "_").lower()[:63]


def create_index(
    view: Transaction, store: str, fields: Sequence[str], *, name: str | None = None, unique: bool = False
) -> IndexInfo:
    """Declare an index and enter all records, in this transaction. Raises StoreNotFound, IndexExists, InvalidName, UniqueViolation."""
    info = IndexInfo(name or index_name(fields), tuple(fields), unique)
    declare_index(view, store, info)
    opened = open_store(view, store)
    index = _index(opened, info.name)
    for key, value in opened.tree.scan():
        index.change(None, None, key, decode_record(value))
    return info


def drop_index(view: Transaction, store: str, name: str) -> None:
    """Remove an index. Raises StoreNotFound, IndexNotFound."""
    forget_index(view, store, name)


def build_index(
    database: Database,
    store: str,
    fields: Sequence[str],
    *,
    name: str | None = None,
    unique: bool = False,
    progress: Progress | None = None,
) -> IndexInfo:
    """Make an index online, while others read and write; one that stayed half-built is built again.

    Raises StoreNotFound, IndexExists, InvalidName; UniqueViolation, and then there is no index.
    """
    info = IndexInfo(name or index_name(fields), tuple(fields), unique, BUILDING)
    database.transact(lambda view: _declare_building(view, store, info), attempts=ATTEMPTS)
    try:
        last = _last_key(database.snapshot(), store)
        if last is not None:
            _enter_all(database, store, info.name, last, progress)
    except BaseException:
        with suppress(StoreNotFound, IndexNotFound):
            database.transact(lambda view: forget_index(view, store, info.name), attempts=ATTEMPTS)
        raise
    database.transact(lambda view: mark_index(view, store, info.name, READY), attempts=ATTEMPTS)
    return IndexInfo(info.name, info.fields, unique, READY)


def _declare_building(view: Transaction, store: str, info: IndexInfo) -> None:
    """Declare it: records that are written from then on are entered by their writers. No record is read, so no writer is in its way."""
    known = next((index for index in store_info(view, store).indexes if index.name == info.name), None)
    if known == info:
        forget_index(view, store, info.name)
    elif known is not None:
        raise IndexExists(f"{store} has an index {info.name!r} already", pointer="/name")
    declare_index(view, store, info)


def _last_key(view: Snapshot, store: str) -> bytes | None:
    """The key of the last record that may have to be entered."""
    cursor = open_store(view, store).tree.cursor()
    return cursor.key if cursor.last() else None


def _enter_all(database: Database, store: str, name: str, last: bytes, progress: Progress | None) -> None:
    after: bytes | None = None
    entered, more = 0, True
    while more:
        sizes = iter([CHUNK >> attempt for attempt in range(ATTEMPTS)])

        def enter(
            view: Transaction, after: bytes | None = after, sizes: Iterator[int] = sizes
        ) -> tuple[bytes | None, int, bool]:
            return _enter(view, store, name, after, last, max(1, next(sizes)))

        after, count, more = database.transact(enter, attempts=ATTEMPTS)
        entered += count
        if progress is not None:
            progress(entered, open_store(database.snapshot(), store).count())


def _enter(
    view: Transaction, store: str, name: str, after: bytes | None, last: bytes, size: int
) -> tuple[bytes | None, int, bool]:
    """Enter some records behind a key; gives the last key, their number, and whether there are more.

    After a conflict fewer are entered at once, until what others change meanwhile lies beside them.
    """
    opened = open_store(view, store)
    index = _index(opened, name)
    pairs = list(islice(opened.tree.scan(after + b"\x00" if after is not None else None, last + b"\x00"), size))
    for key, value in pairs:
        index.change(None, None, key, decode_record(value))
    return (pairs[-1][0] if pairs else None), len(pairs), len(pairs) == size


def _index(store: Store, name: str) -> Index:
    store.info.index(name)
    return next(index for index in store.indexes if index.info.name == name)


def check_indexes(view: View, store: str, at_most: int = 20) -> list[str]:
    """What is wrong with the indexes of a store: each ready one has exactly one entry for every record. The first problems in words."""
    opened = open_store(view, store)
    problems: list[str] = []
    for index in opened.ready_indexes:
        entries = 0
        for entry, value in index.tree.scan():
            entries += 1
            key = key_of(entry, value)
            found = opened.tree.get(key)
            if found is None:
                problems.append(f"{store}.{index.info.name}: an entry for {keycode.decode(key)}, which is not there")
            elif index.entry(decode_record(found), key) != (entry, value):
                problems.append(f"{store}.{index.info.name}: an entry for {keycode.decode(key)} with other values")
            if len(problems) >= at_most:
                return problems
        if entries != opened.count():
            problems.append(f"{store}.{index.info.name}: {entries} entries for {opened.count()} records")
    return problems
