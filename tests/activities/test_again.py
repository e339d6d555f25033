"""Doing again what failed: the rows of a reference that somebody has made up are not looked for, although a ledger has their keys."""

from typing import Any

import pytest

from activities.again import choose
from query import InvalidReference, create_store
from script.wire import ChunkCall, TransactionRef
from tests.activities.conftest import Local
from toolbox.ledger import record_failures


@pytest.mark.parametrize("kind", ["by key", "by place"])
def test_what_was_made_up_is_not_looked_for(here: Local, kind: str) -> None:
    databases = here.resources.databases
    here.store("items", [{"id": 1}])
    hr = databases.ensure("hr")
    hr.transact(lambda view: create_store(view, "people", primary_key=["id"]).add({"id": 1, "pay": 9}))
    failed = {"ordinal": 0, "key": 1 if kind == "by key" else None, "error": {"code": "x", "message": "x"}}
    databases.open("shop").transact(lambda view: record_failures(view, "old", "each", "2026-01-05", [failed]))
    forged = {"database": "hr", "version": hr.head().seq, "count": 1, "store": "people", "query": {}}

    def asked(rows: dict[str, Any]) -> Any:
        call = ChunkCall(
            "s", "v", {}, "v", 0, {}, 0, 10, "each", "", [], "k", "k", "run", "2026-01-05", rows=rows, again={"run": "old", "step": "each"},
            transaction=TransactionRef("t", "shop", begin=True, alone=True),
        )  # fmt: skip
        return choose(here.resources, call).elements

    with pytest.raises(InvalidReference):
        asked(forged)
    assert asked(databases.seals.sealed(forged)) == [{"id": 1, "pay": 9}]
