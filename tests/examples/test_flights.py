"""The example `flights`: its data and its three scripts, against what SQLite and plain Python make of the same CSV files."""

import csv
import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from examples.flights import load
from query import Databases, describe_store, open_store, select
from tests.conftest import System

SCRIPTS = Path(load.__file__).parent / "scripts"


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database's file, loaded once."""
    folder = tmp_path_factory.mktemp("flights")
    databases = Databases(folder)
    load.load(databases.create("flights"))
    databases.close()
    return folder / "flights.db"


@pytest.fixture(scope="module")
def sql() -> Iterator[sqlite3.Connection]:
    """The same CSV files in SQLite; `NA` is null, whole numbers are numbers."""
    connection = sqlite3.connect(":memory:")
    for source in load.SOURCES:
        with load.lines(source.file) as text:
            rows = csv.reader(text)
            names = next(rows)
            kinds = [
                "TEXT" if source.types.get(name, "string") in ("string", "string?") else "NUMERIC" for name in names
            ]
            connection.execute(
                f"CREATE TABLE {source.store} ({', '.join(map(' '.join, zip(names, kinds, strict=True)))})"
            )
            marks = ", ".join("NULLIF(?, 'NA')" for _ in names)
            connection.executemany(f"INSERT INTO {source.store} VALUES ({marks})", rows)
        connection.execute(f"CREATE UNIQUE INDEX {source.store}_key ON {source.store} ({', '.join(source.key)})")
    connection.row_factory = sqlite3.Row
    yield connection
    connection.close()


@pytest.fixture
def flights(system: System, loaded: Path) -> System:
    """A worker over a copy of the database."""
    shutil.copy(loaded, system.data_dir / "databases" / "flights.db")
    return system


def script(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((SCRIPTS / f"{name}.json").read_text(encoding="utf-8"))
    return found


async def value(system: System, name: str, arguments: dict[str, Any] | None = None) -> Any:
    end = (await system.run(script(name), arguments))[-1]
    assert end["status"] == "completed", end
    return end["result"]


async def code(system: System, name: str, arguments: dict[str, Any]) -> str:
    """The code of the error that the run ends with."""
    end = (await system.run(script(name), arguments))[-1]
    assert end["status"] == "failed", end
    return str(end["error"]["code"])


def rows_of(sql: sqlite3.Connection, query: str, *values: Any) -> list[dict[str, Any]]:
    return [dict(row) for row in sql.execute(query, values)]


def test_every_row_is_there_as_it_is_in_the_file(flights: System, sql: sqlite3.Connection) -> None:
    view = flights.resources.databases.open("flights").snapshot()
    counts = {source.store: open_store(view, source.store).count() for source in load.SOURCES}
    assert counts == {"airlines": 16, "airports": 1458, "planes": 3322, "weather": 26115, "flights": 336776}
    for source in load.SOURCES:
        wanted = sql.execute(f"SELECT * FROM {source.store} ORDER BY {', '.join(source.key)}")
        for found, row in zip(select(view, source.store), wanted, strict=True):
            assert found == dict(row)


def test_the_stores_are_described(flights: System) -> None:
    database = flights.resources.databases.open("flights")
    assert database.check().ok
    described = describe_store(database.snapshot(), "flights")
    assert [index["fields"] for index in described["indexes"]] == [["tailnum"], ["carrier"]]
    assert [relation["store"] for relation in described["relations"]] == [
        "airlines", "planes", "airports", "airports", "weather"]  # fmt: skip
    assert described["schema"]["properties"]["origin"] == {"enum": ["EWR", "JFK", "LGA"]}


def test_the_keys_are_the_shortest_of_their_columns(sql: sqlite3.Connection) -> None:
    """Why the origin is in a flight's key, and why an hour of weather is not named by its local time."""
    for store, columns, doubles in (
        ("flights", "year, month, day, carrier, flight", 24),
        ("weather", "origin, year, month, day, hour", 3),
    ):
        (distinct,) = rows_of(sql, f"SELECT count(*) AS n FROM (SELECT DISTINCT {columns} FROM {store})")
        (every,) = rows_of(sql, f"SELECT count(*) AS n FROM {store}")
        assert every["n"] - distinct["n"] == doubles


async def test_flights_without_a_plane(flights: System, sql: sqlite3.Connection) -> None:
    found = await value(flights, "flights_without_a_plane", {"top": 3})
    without = "FROM flights WHERE NOT EXISTS (SELECT 1 FROM planes WHERE planes.tailnum = flights.tailnum)"
    (counts,) = rows_of(sql, f"SELECT count(*) AS n, sum(tailnum IS NULL) AS nulls {without}")
    assert (counts["n"], counts["nulls"]) == (52606, 2512)
    assert found == {
        "flights": 336776,
        "without_a_plane": 52606,
        "without_a_tail_number": 2512,
        "carriers": rows_of(
            sql,
            f"SELECT carrier, count(*) AS flights, count(DISTINCT tailnum) AS tail_numbers {without}"
            " GROUP BY carrier ORDER BY flights DESC, carrier LIMIT 3",
        ),
    }
    assert [(row["carrier"], row["flights"]) for row in found["carriers"]] == [
        ("MQ", 25397), ("AA", 22558), ("UA", 1693)]  # fmt: skip


@pytest.mark.parametrize("months", [None, [2, 7]])
async def test_average_delay(flights: System, sql: sqlite3.Connection, months: list[int] | None) -> None:
    found = await value(flights, "average_delay", {"months": months} if months else {})
    chosen = ", ".join(map(str, months or range(1, 13)))
    wanted = rows_of(
        sql,
        "SELECT carrier, name AS airline, month, count(*) AS flights, avg(dep_delay) AS departure_delay,"
        " avg(arr_delay) AS arrival_delay FROM flights JOIN airlines USING (carrier)"
        f" WHERE month IN ({chosen}) GROUP BY carrier, name, month ORDER BY carrier, month",
    )
    assert len(wanted) == (30 if months else 185)
    assert found == [
        {
            **row,
            "departure_delay": pytest.approx(row["departure_delay"], rel=1e-12),
            "arrival_delay": pytest.approx(row["arrival_delay"], rel=1e-12),
        }
        for row in wanted
    ]


async def test_delete_cancelled(flights: System, sql: sqlite3.Connection) -> None:
    database = flights.resources.databases.open("flights")
    preview = await value(flights, "delete_cancelled")
    assert (preview["deleted"], preview["count"]) == (0, 8255)
    assert preview["rows"] == rows_of(
        sql,
        "SELECT * FROM flights WHERE dep_time IS NULL ORDER BY year, month, day, carrier, flight, origin LIMIT ?",
        len(preview["rows"]),
    )
    assert preview["rows"]
    token = {"token": preview["token"]}
    assert await code(flights, "delete_cancelled", {**token, "max_affected": 8254}) == "too_many_rows"
    assert await code(flights, "delete_cancelled", {"token": "another"}) == "preview_mismatch"
    assert open_store(database.snapshot(), "flights").count() == 336776

    assert await value(flights, "delete_cancelled", {**token, "max_affected": 8255}) == {
        "deleted": 8255,
        "flights": 328521,
    }
    view = database.snapshot()
    assert open_store(view, "flights").count() == 336776 - 8255
    assert select(view, "flights", filter={"dep_time": None}).count() == 0
    assert database.check().ok


async def test_a_preview_is_of_no_use_when_a_flight_has_changed(flights: System) -> None:
    database = flights.resources.databases.open("flights")
    preview = await value(flights, "delete_cancelled")
    cancelled = preview["rows"][0]
    database.transact(lambda transaction: open_store(transaction, "flights").upsert({**cancelled, "flight": 9999}))
    assert await code(flights, "delete_cancelled", {"token": preview["token"]}) == "preview_mismatch"
    assert select(database.snapshot(), "flights", filter={"dep_time": None}).count() == 8256
