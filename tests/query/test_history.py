"""What changed in a store, and making it again what it was."""

import random
import threading
from typing import Any

import pytest

from btree import Conflict, Database, VersionNotFound
from query import (
    StoreNotFound,
    changes,
    changes_page,
    create_store,
    drop_store,
    list_stores,
    open_store,
    restore_store,
)


def make(database: Database, store: str = "items", key: str = "id") -> int:
    return commit(database, lambda transaction: create_store(transaction, store, primary_key=[key]))


def commit(database: Database, work: Any) -> int:
    database.transact(work)
    return database.head().seq


def write(database: Database, put: dict[int, Any], gone: set[int] = frozenset(), store: str = "items") -> int:  # type: ignore[assignment]
    def work(transaction: Any) -> None:
        opened = open_store(transaction, store)
        for key, value in put.items():
            opened.upsert({"id": key, "n": value})
        for key in gone:
            opened.delete(key)

    return commit(database, work)


def rows(database: Database, version: int | None = None, store: str = "items") -> list[Any]:
    return [value for _, value in open_store(database.snapshot(version), store).tree.scan()]


def test_changes_are_told_by_key(database: Database) -> None:
    make(database)
    old = write(database, {1: "a", 2: "b", 10: "c"})
    new = write(database, {2: "B", 3: "d"}, {1})
    told = [(found.key, found.change, found.before, found.after) for _, found in changes(database, "items", old, new)]
    assert told == [
        ([1], "deleted", {"id": 1, "n": "a"}, None),
        ([2], "updated", {"id": 2, "n": "b"}, {"id": 2, "n": "B"}),
        ([3], "added", None, {"id": 3, "n": "d"}),
    ]
    assert [found.change for _, found in changes(database, "items", new, old)] == ["added", "updated", "deleted"]
    assert list(changes(database, "items", new, new)) == []


def test_pages_of_changes_fit_together(database: Database) -> None:
    make(database)
    draw = random.Random(7)
    old = write(database, dict.fromkeys(range(0, 2000, 2), 0))
    new = write(
        database, {draw.randrange(2000): 1 for _ in range(300)}, {draw.randrange(0, 2000, 2) for _ in range(99)}
    )
    whole = [found for _, found in changes(database, "items", old, new)]
    assert len(whole) > 300
    for limit in (1, 7, len(whole) - 1, len(whole), len(whole) + 1):
        seen: list[Any] = []
        after, pages = None, 0
        while pages == 0 or after is not None:
            page, after = changes_page(database, "items", old, new, after=after, limit=limit)
            seen, pages = seen + page, pages + 1
        assert seen == whole
        assert pages == -(-len(whole) // limit)


def test_a_store_is_made_what_it_was(database: Database) -> None:
    make(database)
    draw = random.Random(3)
    versions = [write(database, {draw.randrange(500): draw.random() for _ in range(200)})]
    for _ in range(5):
        put = {draw.randrange(500): draw.random() for _ in range(100)}
        versions.append(write(database, put, {draw.randrange(500) for _ in range(60)}))
    for version in draw.sample(versions, len(versions)):
        was, head = rows(database, version), database.head().seq
        expected = len(list(changes(database, "items", head, version)))
        counted = restore_store(database, "items", version, dry_run=True)
        assert (counted.changed, counted.version, database.head().seq) == (expected, head, head)
        done = restore_store(database, "items", version)
        assert (done.changed, done.version) == (expected, database.head().seq)
        assert done.version == head + bool(expected)
        assert rows(database) == was
        assert open_store(database.snapshot(), "items").count() == len(was)
    assert database.pins() == []


def test_a_store_that_was_dropped_comes_back(database: Database) -> None:
    make(database)
    make(database, "others")
    version = write(database, dict.fromkeys(range(3000), "x" * 200))
    was = rows(database)
    commit(database, lambda transaction: drop_store(transaction, "items"))
    assert [info.name for info in list_stores(database.snapshot())] == ["others"]
    assert restore_store(database, "items", version, dry_run=True).changed == 3000
    assert restore_store(database, "items", version).changed == 3000
    assert [info.name for info in list_stores(database.snapshot())] == ["items", "others"]
    assert rows(database) == was


def test_a_store_that_was_made_anew_with_another_key_is_the_old_one_again(database: Database) -> None:
    make(database)
    version = write(database, {1: "a", 2: "b"})
    commit(database, lambda transaction: drop_store(transaction, "items"))
    make(database, "items", "n")
    commit(database, lambda transaction: open_store(transaction, "items").add({"n": 1, "id": 7}))
    assert restore_store(database, "items", version).changed == 2
    opened = open_store(database.snapshot(), "items")
    assert (opened.info.primary_key, opened.get(2), opened.count()) == (["id"], {"id": 2, "n": "b"}, 2)


def test_what_cannot_be_told_or_restored(database: Database) -> None:
    make(database, "others")
    before = database.head().seq
    make(database)
    new = write(database, {1: 1})
    with pytest.raises(StoreNotFound, match="version 2 has no store 'items': it was made later"):
        restore_store(database, "items", before)
    with pytest.raises(StoreNotFound, match="neither version 2 nor version 4 has a store 'nope'"):
        changes(database, "nope", before, new)
    with pytest.raises(StoreNotFound):
        restore_store(database, "items", 1, dry_run=True)
    with pytest.raises(VersionNotFound, match="there is no version 99"):
        restore_store(database, "items", 99)
    database.sweep(retention_seconds=0)
    with pytest.raises(VersionNotFound, match="not kept any more"):
        changes(database, "others", before, new)
    with pytest.raises(VersionNotFound, match="not kept any more"):
        restore_store(database, "others", before)
    assert database.head().seq == new


def test_the_new_version_is_exactly_the_old_store_whatever_others_write(database: Database) -> None:
    make(database)
    version = write(database, dict.fromkeys(range(400), 0))
    write(database, dict.fromkeys(range(400, 800), 1))
    was, stop = rows(database, version), threading.Event()

    def writing() -> None:
        draw = random.Random(1)
        while not stop.is_set():
            write(database, {draw.randrange(10_000): 2})
            stop.wait(0.005)

    thread = threading.Thread(target=writing)
    thread.start()
    done = []
    try:
        while len(done) < 10:
            try:
                done.append(restore_store(database, "items", version).version)
            except Conflict:
                continue
    finally:
        stop.set()
        thread.join()
    assert [rows(database, seq) == was for seq in done] == [True] * 10
