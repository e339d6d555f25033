"""Aggregates over the rows of a query: the groups as records and as JSON, in an order, within limit and offset."""

from secrets import token_hex
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from btree import Database, MemoryPager
from query import Aggregated, aggregate_rows, create_store, select


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 9) | st.none(), st.integers(-5, 5)), max_size=60),
    st.sampled_from([None, "g", "-g", "-n", ["s", "-g"]]),
    st.none() | st.integers(0, 12),
    st.integers(0, 5),
)
def test_groups_of_a_query_as_records_and_as_json(
    rows: list[tuple[int | None, int]], order: Any, limit: int | None, offset: int
) -> None:
    with Database(MemoryPager(f"groups-{token_hex(8)}")) as database:

        def fill(view: Any) -> None:
            store = create_store(view, "items", primary_key=["id"])
            for number, (group, value) in enumerate(rows):
                store.add({"id": number, "g": group, "v": value})

        database.transact(fill)
        view = database.snapshot()

        def groups(**window: Any) -> Aggregated:
            values = {"n": "count", "s": {"op": "sum", "value": "v"}}
            return aggregate_rows(select(view, "items"), values=values, group_by=["g"], order_by=order, **window)

        whole = list(groups())
        expected = whole[offset:] if limit is None else whole[offset : offset + limit]
        assert list(groups(limit=limit, offset=offset)) == expected
        assert list(groups(limit=2**64, offset=0)) == whole
        assert list(groups(limit=2**64, offset=2**64)) == []
        assert orjson.loads(b"[%b]" % b",\n".join(groups(limit=limit, offset=offset).json_chunks())) == expected
        assert groups().columns == ["g", "n", "s"]
        assert sum(row["n"] for row in whole) == len(rows)
