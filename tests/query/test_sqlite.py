"""Selects and bulk actions against SQLite: the same query in two languages, on random rows with nulls, missing fields and mixed types."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import query.selects.select
from btree import Database, MemoryPager, Transaction
from query import BulkAction, Record, check_indexes, create_index, create_store, open_store, select

COLUMNS = ("a", "b", "c")
numbers = st.one_of(st.integers(-4, 4), st.sampled_from([0.5, -2.5, 1.0, 2**53, 2**53 + 1, float(2**53), 2**62]))
texts = st.sampled_from(["", "x", "xy", "y", "Y", "ü", "x%", "_"])
values = st.one_of(st.none(), numbers, texts)
rows_of = st.lists(
    st.fixed_dictionaries({"id": st.integers(0, 40)}, optional=dict.fromkeys(COLUMNS, values)),
    max_size=30,
    unique_by=lambda row: row["id"],
)
_OPERATORS = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
conditions = st.one_of(
    values,
    st.dictionaries(st.sampled_from(sorted(_OPERATORS)), st.one_of(numbers, texts), min_size=1, max_size=2),
    st.fixed_dictionaries({"$eq": values}),
    st.fixed_dictionaries({"$ne": values}),
    st.fixed_dictionaries({"$in": st.lists(values, max_size=3)}),
    st.fixed_dictionaries({"$nin": st.lists(values, max_size=3)}),
    st.fixed_dictionaries({"$between": st.tuples(st.integers(-4, 0), st.integers(-1, 4)).map(list)}),
    st.fixed_dictionaries({"$starts_with": texts}),
    st.fixed_dictionaries({"$contains": texts}),
    st.fixed_dictionaries({"$exists": st.booleans()}),
)
flat = st.dictionaries(st.sampled_from(["id", *COLUMNS]), conditions, max_size=3)
filters = st.recursive(
    flat,
    lambda inner: st.one_of(
        st.fixed_dictionaries({"$and": st.lists(inner, min_size=1, max_size=2)}),
        st.fixed_dictionaries({"$or": st.lists(inner, min_size=1, max_size=2)}),
        st.fixed_dictionaries({"$not": inner}),
    ),
    max_leaves=4,
)
indexes = st.lists(st.sampled_from([("a",), ("b", "a"), ("c",)]), unique=True, max_size=2)


class Where:
    """A filter as SQL. A missing field is NULL in its column and 0 in the column `has_...`."""

    def __init__(self, query: dict[str, Any]) -> None:
        self.bindings: list[Any] = []
        self.sql = self.clause(query)

    def clause(self, query: dict[str, Any]) -> str:
        parts = [self.part(name, value) for name, value in query.items()]
        return f"({' AND '.join(parts) or '1'})"

    def part(self, name: str, value: Any) -> str:
        if name in ("$and", "$or"):
            return f"({f' {name[1:].upper()} '.join(self.clause(part) for part in value)})"
        if name == "$not":
            return f"NOT {self.clause(value)}"
        if not isinstance(value, dict):
            value = {"$eq": value}
        return "(" + " AND ".join(self.condition(name, *item) for item in value.items()) + ")"

    def condition(self, column: str, operator: str, operand: Any) -> str:
        if operator == "$exists":
            return f"has_{column} = {int(operand)}" if column != "id" else str(int(operand))
        if operator in ("$eq", "$ne"):
            return f"{column} IS {'NOT ' if operator == '$ne' else ''}{self.bound(operand)}"
        if operator in ("$in", "$nin"):
            found = " OR ".join(f"{column} IS {self.bound(each)}" for each in operand) or "0"
            return f"({found})" if operator == "$in" else f"NOT ({found})"
        if operator == "$between":
            low, high = operand
            return f"(typeof({column}) != 'text' AND {column} IS NOT NULL AND {column} BETWEEN {self.bound(low)} AND {self.bound(high)})"
        text = f"typeof({column}) = 'text'"
        if operator == "$starts_with":
            return f"({text} AND substr({column}, 1, {len(operand)}) = {self.bound(operand)})"
        if operator == "$contains":
            return f"({text} AND instr({column}, {self.bound(operand)}) > 0)"
        same = text if isinstance(operand, str) else f"typeof({column}) IN ('integer', 'real')"
        return f"({same} AND {column} {_OPERATORS[operator]} {self.bound(operand)})"

    def bound(self, value: Any) -> str:
        self.bindings.append(value)
        return f"?{len(self.bindings)}"


@pytest.fixture(autouse=True, params=["whole pages", "row by row"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few rows are filtered by another function than many."""
    monkeypatch.setattr(query.selects.select, "_FEW", 0 if request.param == "whole pages" else 1 << 30)


def both(rows: list[Record], wanted: list[tuple[str, ...]]) -> tuple[Database, sqlite3.Connection]:
    """The rows here and there."""
    database = Database(MemoryPager(f"sqlite-{threading.get_ident()}-{time.monotonic_ns()}"))

    def work(view: Transaction) -> None:
        store = create_store(view, "s", primary_key=["id"])
        for row in rows:
            store.add(row)
        for fields in wanted:
            create_index(view, "s", fields)

    database.transact(work)
    connection = sqlite3.connect(":memory:")
    flags = ", ".join(f"{name}, has_{name}" for name in COLUMNS)
    connection.execute(f"CREATE TABLE s (id INTEGER PRIMARY KEY, {flags})")
    for row in rows:
        cells = [part for name in COLUMNS for part in (row.get(name), int(name in row))]
        connection.execute("INSERT INTO s VALUES (?, ?, ?, ?, ?, ?, ?)", [row["id"], *cells])
    return database, connection


def rows_there(
    connection: sqlite3.Connection, sql: str = "SELECT * FROM s ORDER BY id", bindings: Any = ()
) -> Iterator[Record]:
    for key, *cells in connection.execute(sql, bindings):
        row = {"id": key}
        for place, name in enumerate(COLUMNS):
            if cells[2 * place + 1]:
                row[name] = cells[2 * place]
        yield row


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows_of, filters, indexes, st.none() | st.integers(0, 5), st.integers(0, 3), st.booleans())
def test_select_and_sqlite_agree(
    rows: list[Record],
    wished: dict[str, Any],
    wanted: list[tuple[str, ...]],
    limit: int | None,
    offset: int,
    down: bool,
) -> None:
    database, connection = both(rows, wanted)
    with database, closing(connection):
        where = Where(wished)
        window = f"LIMIT {-1 if limit is None else limit} OFFSET {offset}"
        sql = f"SELECT * FROM s WHERE {where.sql} ORDER BY id {'DESC' if down else ''} {window}"
        expected = list(rows_there(connection, sql, where.bindings))
        found = select(
            database.snapshot(), "s", filter=wished, order_by="-id" if down else "id", limit=limit, offset=offset
        )
        assert list(found) == expected
        (total,) = connection.execute(f"SELECT count(*) FROM s WHERE {where.sql}", where.bindings).fetchone()
        assert select(database.snapshot(), "s", filter=wished).count() == total


@pytest.mark.usefixtures("page_size")
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows_of, filters, indexes, st.sampled_from(["delete", "set", "add", "move"]))
def test_actions_and_sqlite_agree(
    rows: list[Record], wished: dict[str, Any], wanted: list[tuple[str, ...]], action: str
) -> None:
    database, connection = both(rows, wanted)
    with database, closing(connection):
        updates: dict[str, Any] = {
            "set": {"b": "new", "$unset": ["c"]},
            "add": {"$inc": {"count": 2}},
            "move": {"id": "{{ row.id + 1000 }}"},
        }
        transaction = database.begin("t")
        todo = BulkAction(
            open_store(transaction, "s"), lambda: select(transaction, "s", filter=wished), updates.get(action)
        )
        done = todo.run()
        transaction.commit()
        where = Where(wished)
        changes = {
            "delete": "DELETE FROM s",
            "set": "UPDATE s SET b = 'new', has_b = 1, c = NULL, has_c = 0",
            "add": "UPDATE s SET a = a",
            "move": "UPDATE s SET id = id + 1000",
        }
        affected = connection.execute(f"{changes[action]} WHERE {where.sql}", where.bindings).rowcount
        assert done["deleted" if action == "delete" else "matched"] == affected
        found = list(select(database.snapshot(), "s", indexes=False))
        counted = [row.pop("count", 0) for row in found]
        assert found == list(rows_there(connection))
        assert sum(counted) == (2 * affected if action == "add" else 0)
        assert check_indexes(database.snapshot(), "s") == []
        assert database.check().problems == []
