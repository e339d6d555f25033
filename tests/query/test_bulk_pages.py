"""Bulk actions by whole pages: windows, growing rows, texts that were not written by us, errors, conflicts, kills."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import query.actions.by_page
from btree import Conflict, Database, LeafEdit, MemoryPager, Transaction
from query import (
    BulkAction,
    InvalidRecord,
    Record,
    UpdateFailed,
    check_indexes,
    create_index,
    create_store,
    open_store,
    select,
)
from query.stores.catalog import rows_tree

_numbers = count()


def stored(rows: list[Record], **declared: Any) -> Database:
    database = Database(MemoryPager(f"bulk-pages-{next(_numbers)}"))

    def work(view: Transaction) -> None:
        store = create_store(view, "s", primary_key=["id"], **declared)
        for row in rows:
            store.add(row)

    database.transact(work)
    return database


def action(view: Transaction, update: dict[str, Any] | None, **query: Any) -> BulkAction:
    return BulkAction(open_store(view, "s"), lambda: select(view, "s", **query), update)


@pytest.fixture
def many() -> Iterator[Database]:
    """3,000 rows on many pages, with an index that most updates leave alone."""
    with stored([{"id": n, "lot": n % 10, "state": "open", "text": "x" * (n % 70)} for n in range(3000)]) as database:
        database.transact(lambda view: create_index(view, "s", ["lot"]))
        yield database
        assert check_indexes(database.snapshot(), "s") == []
        assert database.check().problems == []


@pytest.mark.usefixtures("page_size")
@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(0, 60), unique=True, max_size=50),
    st.sampled_from([None, {"a": 9}, {"$inc": {"a": 1}}, {"b": "{{ row.id }}"}, {"$push": {"c": "x" * 90}}]),
    st.sampled_from([{}, {"a": {"$lt": 2}}, {"id": {"$gte": 20, "$lt": 41}}, {"id": {"$in": [3, 4, 20, 60]}}]),
    st.none() | st.integers(0, 30),
    st.integers(0, 12),
    st.booleans(),
)
def test_an_action_on_a_window_does_what_a_loop_would(
    ids: list[int],
    update: dict[str, Any] | None,
    where: dict[str, Any],
    limit: int | None,
    offset: int,
    down: bool,
) -> None:
    with stored([{"id": n, "a": n % 4, "text": "t" * (n * 7 % 50)} for n in ids]) as database:
        window = {"filter": where, "limit": limit, "offset": offset, "order_by": "-id" if down else "id"}
        chosen = {row["id"] for row in select(database.snapshot(), "s", **window)}
        twin = database.begin("row by row")
        store = open_store(twin, "s")
        updated = 0
        for key in chosen:
            if update is None:
                store.delete(key)
            else:
                (row,) = select(twin, "s", key=key)
                action(twin, update, key=key).run()
                updated += row != store.get(key)
        expected = list(select(twin, "s"))
        twin.rollback()
        done = database.transact(lambda view: action(view, update, **window).run())
        assert done == ({"deleted": len(chosen)} if update is None else {"matched": len(chosen), "updated": updated})
        assert list(select(database.snapshot(), "s")) == expected
        assert open_store(database.snapshot(), "s").count() == len(expected)
        assert database.check().problems == []


def test_rows_that_grow_beyond_what_is_kept_are_written_singly(many: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query.actions.by_page, "_LARGE", 2500)
    whole, replace = [], LeafEdit.replace

    def noted(page: LeafEdit, places: list[int], values: list[bytes]) -> None:
        whole.append(sum(map(len, values)))
        replace(page, places, values)

    monkeypatch.setattr(LeafEdit, "replace", noted)
    done = many.transact(
        lambda view: action(view, {"text": "y" * 900}, filter={"lot": {"$ne": 3}}, indexes=False).run()
    )
    assert done == {"matched": 2700, "updated": 2700}
    assert max(whole, default=0) <= 2500
    rows = list(select(many.snapshot(), "s"))
    assert [len(row["text"]) for row in rows] == [n % 70 if n % 10 == 3 else 900 for n in range(3000)]


def test_a_value_that_is_there_is_no_update(many: Database) -> None:
    assert many.transact(lambda view: action(view, {"state": "open"}).run()) == {"matched": 3000, "updated": 0}
    assert not many.begin("t").has_writes
    many.transact(lambda view: action(view, {"state": "paid"}, filter={"id": {"$lt": 500}}).run())
    assert many.transact(lambda view: action(view, {"state": "paid"}).run()) == {"matched": 3000, "updated": 2500}


def test_texts_are_changed_however_they_were_written() -> None:
    texts = [
        b'{ "id" : 0,\t"state":"open" }',
        b'{"id":1,"st\\u0061te":"a","lot":{"state":1}}',
        b'{"state":"\\"state\\":1","id":2}',
    ]
    with stored([{"id": n} for n in range(3)]) as database:

        def load(view: Transaction) -> None:
            tree = view.tree(rows_tree("s"))
            for (key, _), text in zip(list(tree.scan()), texts, strict=True):
                tree.put(key, text)

        database.transact(load)
        done = database.transact(lambda view: action(view, {"state": [1.5]}).run())
        assert done == {"matched": 3, "updated": 3}
        assert list(select(database.snapshot(), "s")) == [
            {"id": 0, "state": [1.5]},
            {"id": 1, "state": [1.5], "lot": {"state": 1}},
            {"state": [1.5], "id": 2},
        ]


def test_what_does_not_fit_is_told_and_discarding_takes_all_back(many: Database) -> None:
    transaction = many.begin("t")
    with pytest.raises(UpdateFailed):
        action(transaction, {"$inc": {"state": 1}}, filter={"id": {"$gt": 2000}}).run()
    tree = transaction.tree(rows_tree("s"))
    tree.put(next(tree.scan())[0], b'{"id":0,"lot":0,"state":"open","large":1%030d}' % 0)
    with pytest.raises(InvalidRecord, match="no JSON"):
        action(transaction, {"state": "paid"}).run()
    transaction.discard()
    action(transaction, {"state": "paid"}).run()
    transaction.discard()
    assert transaction.commit() == many.head()
    with stored(
        [{"id": n, "a": n} for n in range(500)],
        schema={"type": "object", "properties": {"id": {"type": "integer"}, "a": {"type": "integer"}}},
    ) as database:
        with pytest.raises(InvalidRecord):
            database.transact(lambda view: action(view, {"a": "text"}, filter={"a": {"$gt": 400}}).run())
        assert [row["a"] for row in select(database.snapshot(), "s")] == list(range(500))


@pytest.mark.parametrize("update", [None, {"state": "late"}])
def test_rows_that_others_add_conflict_with_an_action_on_all(many: Database, update: dict[str, Any] | None) -> None:
    one = many.begin("one")
    action(one, update, filter={"text": "x" * 9}).run()
    many.transact(lambda view: open_store(view, "s").add({"id": 1000.5, "text": "x" * 9, "lot": 1}))
    with pytest.raises(Conflict):
        one.commit()
    one.rollback()


_KILLED = """
import sys
from btree import Database, SqlitePager
from query import BulkAction, open_store, select
with Database(SqlitePager(sys.argv[1]), workspace_bytes=1 << 18) as database:
    def work(view):
        return BulkAction(open_store(view, "s"), lambda: select(view, "s", filter={"lot": int(sys.argv[2])})).run()
    print("begun", flush=True)
    database.transact(work)
"""


@pytest.mark.timeout(300)
def test_a_bulk_delete_that_is_killed_is_all_or_nothing(tmp_path: Path) -> None:
    path, script = tmp_path / "killed.db", tmp_path / "killed.py"
    rows = 10_000
    with Database.open(path, create=True) as database:

        def fill(view: Transaction) -> None:
            store = create_store(view, "s", primary_key=["id"])
            for number in range(rows):
                store.add({"id": number, "lot": number % 10, "text": "x" * 100})

        database.transact(fill)
    script.write_text(_KILLED)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    killed = 0
    for lot in range(4):
        with subprocess.Popen(
            [sys.executable, str(script), str(path), str(lot)], stdout=subprocess.PIPE, env=environment
        ) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"begun\n"
            pages = path.with_name("killed.db-wal")
            before = pages.stat().st_size if pages.exists() else 0
            while child.poll() is None:  # until some pages were stored early
                if pages.exists() and pages.stat().st_size > before + (lot << 18):
                    child.send_signal(signal.SIGKILL)
                    break
        killed += child.returncode == -signal.SIGKILL
        with Database.open(path) as database:
            counts = [select(database.snapshot(), "s", filter={"lot": each}).count() for each in range(10)]
            assert counts[lot] in (0, rows // 10)
            assert counts[lot + 1 :] == [rows // 10] * (9 - lot)
            assert open_store(database.snapshot(), "s").count() == sum(counts)
            database.sweep(retention_seconds=0.0)
            assert database.check().problems == []
    assert killed > 0
