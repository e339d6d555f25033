"""The data directory: restoring backups under a name, and checking a database that others write to."""

import os
import random
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

import btree.check
from btree import BTreeError, Corrupted, Database, Transaction, WrongFormat
from query import DatabaseExists, Databases, InvalidName, UnknownDatabase, create_store, drop_store, open_store


@pytest.fixture
def databases(tmp_path: Path):  # type: ignore[no-untyped-def]
    found = Databases(tmp_path / "databases")
    yield found
    found.close()


def fill(database: Database, count: int = 2000) -> None:
    def work(transaction):  # type: ignore[no-untyped-def]
        store = create_store(transaction, "items", primary_key=["id"])
        for number in range(count):
            store.add({"id": number, "text": "x" * (number % 90)})

    database.transact(work)


def files(tmp_path: Path) -> set[str]:
    """The databases, and whatever is not beside one of them for as long as it is used."""
    names = {path.name for path in (tmp_path / "databases").iterdir()}
    return {name.removesuffix("-wal").removesuffix("-shm").removesuffix("-turns") for name in names}


def test_a_backup_becomes_a_new_database(databases: Databases, tmp_path: Path) -> None:
    shop = databases.create("shop")
    fill(shop)
    held = shop.begin("held")
    held.tree("rows/items").put(b"k", b"{}")
    held.save()
    version = shop.back_up(tmp_path / "copy")
    shop.transact(lambda transaction: open_store(transaction, "items").delete(1))
    assert databases.restore("again", tmp_path / "copy") == version
    again = databases.open("again")
    assert open_store(again.snapshot(), "items").count() == 2000
    assert again.open_transactions() == [] and again.check().ok
    assert len(shop.open_transactions()) == 1
    for taken in ("again", "shop"):
        with pytest.raises(DatabaseExists):
            databases.restore(taken, tmp_path / "copy")
    with pytest.raises(InvalidName):
        databases.restore("../x", tmp_path / "copy")
    assert open_store(shop.snapshot(), "items").count() == 1999
    assert files(tmp_path) == {"shop.db", "again.db"}


def test_a_name_that_was_taken_meanwhile_stays_what_it_is(
    databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(databases.create("shop"), 10)
    databases.open("shop").back_up(tmp_path / "copy")
    others = Databases(tmp_path / "databases")
    monkeypatch.setattr(databases, "_check_free", lambda name: fill(others.ensure(name), 3))
    with pytest.raises(DatabaseExists):
        databases.restore("late", tmp_path / "copy")
    assert open_store(others.open("late").snapshot(), "items").count() == 3
    others.close()
    assert files(tmp_path) == {"shop.db", "late.db"}


def test_damaged_backups_are_refused_and_leave_nothing(databases: Databases, tmp_path: Path) -> None:
    fill(databases.create("shop"))
    databases.open("shop").back_up(tmp_path / "copy")
    good, draw = (tmp_path / "copy").read_bytes(), random.Random(5)
    for short in (1, 1000, 5000):
        (tmp_path / "bad").write_bytes(good[:-short])
        with pytest.raises(
            Corrupted, match=f"it was cut: it has {len(good) - short} bytes, and should have {len(good)}"
        ):
            databases.restore("again", tmp_path / "bad")
    refused = 0
    for number in range(40):
        bad = bytearray(good)
        if number % 2:
            del bad[draw.randrange(len(bad)) :]
        else:
            for _ in range(40):
                bad[draw.randrange(len(bad))] = draw.randrange(256)
        (tmp_path / "bad").write_bytes(bad)
        with pytest.raises((Corrupted, WrongFormat)):
            databases.restore("again", tmp_path / "bad")
        refused += 1
    assert refused == 40
    for bad in (b"", b"x", b"id,name\n1,x\n" * 1000, bytes(10_000)):
        (tmp_path / "bad").write_bytes(bad)
        with pytest.raises(Corrupted, match="it is not the file of a database"):
            databases.restore("again", tmp_path / "bad")
    assert files(tmp_path) == {"shop.db"}


def test_what_a_killed_process_left_goes_after_a_day(databases: Databases, tmp_path: Path) -> None:
    old, young = tmp_path / "databases" / ".aside-old", tmp_path / "databases" / ".aside-young"
    for folder in (old, young):
        folder.mkdir()
        (folder / "shop.db").write_bytes(b"x")
        os.utime(folder, (0, 0))
    os.utime(old / "shop.db", (0, 0))
    with databases.aside() as made:
        assert files(tmp_path) == {".aside-young", made.name}
    assert files(tmp_path) == {".aside-young"}


def test_another_programs_database_is_refused(databases: Databases, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "other")
    other.execute("CREATE TABLE x (a)")
    other.commit()
    other.close()
    with pytest.raises(WrongFormat, match="not a database of ours"):
        databases.restore("again", tmp_path / "other")


def test_a_backup_that_would_do_something_by_itself_is_refused(databases: Databases, tmp_path: Path) -> None:
    databases.create("shop").back_up(tmp_path / "copy")
    other = sqlite3.connect(tmp_path / "copy")
    other.execute("CREATE TRIGGER x AFTER INSERT ON version BEGIN DELETE FROM page; END")
    other.commit()
    other.close()
    with pytest.raises(Corrupted, match="not as they were made"):
        databases.restore("again", tmp_path / "copy")
    assert files(tmp_path) == {"shop.db"}


def test_a_check_while_others_write_finds_nothing_wrong(databases: Databases, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle of each check another one is committed, and what is old is given back."""
    shop, rows = databases.create("shop"), btree.check._check_rows
    fill(shop)

    def one_more(transaction: Transaction) -> None:
        store = open_store(transaction, "items")
        store.add({"id": store.count()})

    def write() -> None:
        shop.transact(one_more)
        shop.sweep(retention_seconds=0)

    def check_rows(*arguments: Any) -> None:
        rows(*arguments)
        other = threading.Thread(target=write)
        other.start()
        other.join()

    monkeypatch.setattr(btree.check, "_check_rows", check_rows)
    for _ in range(3):
        head = shop.head().seq
        assert databases.check("shop").problems == []
        assert shop.head().seq > head


def test_a_check_of_what_is_no_database_of_ours_is_a_report(databases: Databases, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "databases" / "other.db")
    other.execute("CREATE TABLE x (a)")
    other.commit()
    other.close()
    (problem,) = databases.check("other").problems
    assert problem.startswith("other.db cannot be opened: not a database of ours")


def test_damage_that_a_copy_would_not_have_is_told(databases: Databases, tmp_path: Path) -> None:
    """A page that SQLite has lost: VACUUM leaves it behind."""
    shop = databases.create("shop")
    fill(shop)
    for number in range(3):
        shop.transact(lambda transaction, n=number: open_store(transaction, "items").upsert({"id": 1, "n": n}))  # type: ignore[misc]
    shop.transact(lambda transaction: drop_store(transaction, "items"))
    shop.sweep(retention_seconds=0)
    databases.close()
    path = tmp_path / "databases" / "shop.db"
    header = bytearray(path.read_bytes())
    assert int.from_bytes(header[36:40], "big") > 10
    header[32:40] = bytes(8)
    path.write_bytes(header)
    report = databases.check("shop")
    assert not report.ok and all(problem.startswith("SQLite: ") for problem in report.problems)


def test_a_check_reads_the_file_and_not_what_is_remembered(databases: Databases, tmp_path: Path) -> None:
    shop = databases.create("shop")
    fill(shop)
    assert databases.check("shop").ok
    ((page, body),) = shop.pager.read("SELECT id, body FROM page ORDER BY length(body) DESC LIMIT 1")
    damaged = bytes([*body[:-1], body[-1] ^ 1])
    with shop.pager.write() as writer:
        writer.execute("UPDATE page SET body = ? WHERE id = ?", (damaged, page))
    report = databases.check("shop")
    assert not report.ok and any(str(page) in problem for problem in report.problems)
    with pytest.raises(BTreeError):
        shop.back_up(tmp_path / "copy")
    with pytest.raises(UnknownDatabase, match="there is no database 'shp'"):
        databases.check("shp")
    assert files(tmp_path) == {"shop.db"}
