"""Rows written down once and read page by page: all of them, in order, from any place on; or an error."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from btree import BTreeError, Corrupted, DiskFull
from query import Databases, InvalidQuery, ResultNotFound, create_store, join, reference_page, reference_places, select
from query.results import BLOCK, GRACE, Results

RECORDS = st.lists(st.dictionaries(st.sampled_from("ab,\n"), st.text(max_size=20) | st.integers(-9, 9) | st.none()))


def chunks_of(records: list[dict[str, Any]], sizes: Iterator[int]) -> Iterator[bytes]:
    """The records as a query gives them: some at a time, sometimes none."""
    rest = list(map(msgspec.json.encode, records))
    while rest:
        size = next(sizes, 1)
        yield b",\n".join(rest[:size])
        rest = rest[size:]


def read_all(results: Results, name: str, count: int, limits: Iterator[int]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after = None
    while True:
        limit = next(limits, 100)
        rows, after = results.page(name, count, after=after, limit=limit)
        assert len(rows) == limit or after is None
        found += rows
        if after is None:
            return found


@given(records=RECORDS, sizes=st.lists(st.integers(0, 5)), limits=st.lists(st.integers(1, 7)), wide=st.booleans())
@settings(deadline=None, max_examples=60)
def test_pages_are_the_rows_however_they_came_and_are_asked_for(
    tmp_path_factory: pytest.TempPathFactory,
    records: list[dict[str, Any]],
    sizes: list[int],
    limits: list[int],
    wide: bool,
) -> None:
    rows = [{**record, "wide": "x" * (BLOCK // 3)} for record in records] if wide else records
    results = Results(tmp_path_factory.mktemp("results"))
    name, count = results.keep(chunks_of(rows, iter(sizes)))
    assert count == len(rows)
    assert read_all(results, name, count, iter(limits)) == rows


def numbers(count: int) -> Iterator[bytes]:
    for start in range(0, count, 100):
        yield b",\n".join(b'{"n":%d}' % number for number in range(start, min(start + 100, count)))


def kept(folder: Path, count: int = 20_000) -> tuple[Results, str, Path]:
    results = Results(folder)
    name, found = results.keep(numbers(count))
    assert found == count
    (path,) = folder.iterdir()
    return results, name, path


def test_a_page_costs_what_it_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results, name, path = kept(tmp_path)
    assert path.stat().st_size > 3 * BLOCK
    read: list[int] = []
    from query import results as module

    whole = module._read
    monkeypatch.setattr(module, "_read", lambda file, start, size: (read.append(start), whole(file, start, size))[1])
    after, found = None, 0
    while True:
        read.clear()
        rows, after = results.page(name, 20_000, after=after, limit=500)
        assert [row["n"] for row in rows] == list(range(found, found + 500))
        assert len(read) <= 2
        found += 500
        if after is None:
            break
    assert found == 20_000


@pytest.mark.parametrize("where", ["middle", "cut", "last block lost", "empty", "moved"])
def test_damage_is_an_error_and_never_fewer_rows(tmp_path: Path, where: str) -> None:
    results, name, path = kept(tmp_path)
    data = path.read_bytes()
    first = 12 + int.from_bytes(data[:8], "big")
    ends = [0]
    while ends[-1] < len(data):
        ends.append(ends[-1] + 12 + int.from_bytes(data[ends[-1] :][:8], "big"))
    changed = {
        "middle": data[:1000] + bytes([data[1000] ^ 1]) + data[1001:],
        "cut": data[:-5],
        "last block lost": data[: ends[-2]],
        "empty": b"",
        "moved": data[:first] + data[:first] + data[first:],
    }
    path.write_bytes(changed[where])
    with pytest.raises(Corrupted):
        read_all(results, name, 20_000, iter(()))


def test_what_is_no_place_and_no_id(tmp_path: Path) -> None:
    results, name, _ = kept(tmp_path / "results")
    (tmp_path / "secret.rows").write_bytes(b"")
    for other in ("../secret", name.upper(), "", name + "0", 5):
        with pytest.raises(InvalidQuery):
            results.page(other, 1, after=None, limit=1)  # type: ignore[arg-type]
    with pytest.raises(InvalidQuery):
        results.page(name, 20_000, after=b"x", limit=1)
    for place in (b"\0" * 7 + b"\5" + bytes(4), b"\xff" * 12):
        with pytest.raises(Corrupted):
            results.page(name, 20_000, after=place, limit=1)
    results.remove(name)
    results.remove(name)
    with pytest.raises(ResultNotFound, match="not kept"):
        results.page(name, 20_000, after=None, limit=1)


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = Results(tmp_path)

    def failing(error: Exception) -> Iterator[bytes]:
        yield from numbers(20_000)
        raise error

    with pytest.raises(InvalidQuery):
        results.keep(failing(InvalidQuery("no")))
    with pytest.raises(DiskFull):
        results.keep(failing(OSError(errno.ENOSPC, "No space left on device")))
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.EIO, "I/O error")))
    with pytest.raises(BTreeError) as raised:
        results.keep(numbers(10))
    assert raised.value.code == "storage_error"
    assert list(tmp_path.iterdir()) == []


def aged(path: Path, seconds: float) -> None:
    moment = path.stat().st_mtime - seconds
    os.utime(path, (moment, moment))


def test_what_nobody_has_read_for_long_goes(tmp_path: Path) -> None:
    databases = Databases(tmp_path)
    results, folder = databases.results, tmp_path / ".results"
    names = [results.keep(numbers(1000 * (number + 1)))[0] for number in range(4)]
    (folder / "0.partial").write_bytes(b"left by a process that was killed")
    paths = [folder / f"{name}.rows" for name in names]
    for path, age in zip(
        [*paths, folder / "0.partial"], (GRACE / 2, 3 * GRACE, 2 * GRACE, 30 * GRACE, 40 * GRACE), strict=True
    ):
        aged(path, age)
    databases.sweep(retention_seconds=24 * GRACE, history_bytes=1 << 40)
    assert sorted(folder.iterdir()) == sorted(paths[:3])
    results.page(names[2], 3000, after=None, limit=1)  # reading it keeps it
    databases.sweep(retention_seconds=24 * GRACE, history_bytes=0)
    assert sorted(folder.iterdir()) == sorted([paths[0], paths[2]])
    databases.sweep(retention_seconds=0, history_bytes=0)
    assert len(list(folder.iterdir())) == 2
    databases.close()


def test_results_are_no_databases(tmp_path: Path) -> None:
    databases = Databases(tmp_path)
    databases.results.keep(numbers(1))
    assert databases.names() == []
    assert databases.sweep(retention_seconds=0, history_bytes=0) == {}


def test_both_kinds_of_reference_are_read_alike(tmp_path: Path) -> None:
    databases = Databases(tmp_path)

    def fill(view: Any) -> None:
        for name in ("left", "right"):
            store = create_store(view, name, primary_key=["id"])
            for number in range(300):
                store.add({"id": number, "k": number % 7})

    shop = databases.create("shop")
    shop.transact(fill)
    view = shop.snapshot()
    by_key = {"database": "shop", "version": view.seq, "store": "left", "count": 300, "query": {}}
    joined = join(view, left="left", right="right", on="k")
    name, count = databases.results.keep(joined.json_chunks())
    written = {"database": "shop", "version": view.seq, "count": count, "result": name}
    shop.transact(lambda view: [view.drop_tree(f"rows/{name}") for name in ("left", "right")])
    for reference, expected in (
        (by_key, list(select(view, "left"))),
        (written, list(join(view, left="left", right="right", on="k"))),
    ):
        found: list[dict[str, Any]] = []
        after = None
        sealed = databases.seals.sealed(reference)
        while True:
            rows, after = reference_page(databases, sealed, after=after, limit=100, done=len(found))
            found += rows
            if after is None:
                break
        assert found == expected
    databases.close()


@pytest.mark.parametrize(
    "reference",
    [
        {"database": "shop", "version": 1, "count": 1, "result": "../x"},
        {"database": "shop", "version": 1, "count": 1, "result": None},
        {"database": "system", "version": 1, "count": 1, "store": "_keys", "query": {}},
    ],
)
def test_not_even_a_seal_opens_what_is_not_open(tmp_path: Path, reference: dict[str, Any]) -> None:
    databases = Databases(tmp_path)
    databases.create("shop")
    databases.ensure("system")
    with pytest.raises(InvalidQuery):
        reference_page(databases, databases.seals.sealed(reference), after=None, limit=1)
    databases.close()


@pytest.mark.parametrize("count", [0, 1, 7_999, 8_001, 1 << 20, 1 << 62])
def test_a_reference_with_another_count_gives_no_row_too_many(tmp_path: Path, count: int) -> None:
    databases = Databases(tmp_path)
    name, rows = databases.results.keep(numbers(8_000))
    reference = databases.seals.sealed({"database": "d", "version": 1, "count": count, "result": name})
    found: list[Any] = []
    after = None
    with pytest.raises(Corrupted, match=f"and should have {count}"):
        while True:
            page, after = reference_page(databases, reference, after=after, limit=500, done=len(found))
            found += page
            assert after is not None
    assert len(found) <= min(count, rows)
    assert not found or count in (7_999, 8_001)


@pytest.mark.parametrize("count", [1_001, 1 << 20, 1 << 62])
def test_nor_do_its_places(tmp_path: Path, count: int) -> None:
    databases = Databases(tmp_path)
    name, _ = databases.results.keep(numbers(8_000))
    reference = databases.seals.sealed({"database": "d", "version": 1, "count": count, "result": name})
    with pytest.raises(Corrupted, match=f"and should have {count}"):
        list(reference_places(databases, reference, every=1_000, after=None, done=0))


def test_a_page_that_ends_with_a_block_sees_that_there_are_more(tmp_path: Path) -> None:
    results, name, path = kept(tmp_path)
    first = msgspec.json.decode(b"[" + path.read_bytes()[20 : 12 + int.from_bytes(path.read_bytes()[:8], "big")] + b"]")
    with pytest.raises(Corrupted, match="more than"):
        results.page(name, len(first), after=None, limit=len(first))
