"""The outbox: what is pending is found without looking at what was sent before."""

from pathlib import Path

from query import Databases, list_stores, select
from toolbox.outbox import STORE, Outbox

COUNT = 500


def test_what_is_pending_is_found_by_an_index(tmp_path: Path) -> None:
    databases = Databases(tmp_path)
    database = databases.ensure("shop")

    def put(outbox: Outbox, run: str, number: int) -> None:
        key = f"{run}:1/each/mail#{number}"
        outbox.put(key=key, tool="send_email", args={}, run_id=run, step="each/mail", now="2026", mocked=False)

    database.transact(lambda view: [put(Outbox(view), "old", n) for n in range(COUNT)])
    database.transact(lambda view: [Outbox(view).mark(f"old:1/each/mail#{n}", "sent", at="2026") for n in range(COUNT)])
    database.transact(lambda view: [put(Outbox(view), run, n) for run in ("new", "other") for n in range(3)])
    snapshot = database.snapshot()
    assert [row["key"] for row in Outbox(snapshot).pending("new:1/")] == [f"new:1/each/mail#{n}" for n in range(3)]
    assert list(Outbox(snapshot).pending("old:1/")) == []
    assert [index.fields for info in list_stores(snapshot) if info.name == STORE for index in info.indexes] == [
        ("status",)
    ]
    looked = select(snapshot, STORE, filter={"key": {"$starts_with": "old:1/"}, "status": "pending"})
    assert (list(looked), looked.plan["index"], looked.plan["rows_examined"]) == ([], "status", 6)
    databases.close()
