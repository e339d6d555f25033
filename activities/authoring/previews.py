"""What a call would do, found out without doing it.

Writes are made in a transaction that is dropped: a change of one record shows it before and after, a bulk change its count and its first
rows. A schedule is asked for and not made: its next times, and the version that it would run.
"""

from dataclasses import dataclass
from typing import Any, Final

from activities.authoring.calls import SCHEDULES, Doing, dropped, step_of
from activities.execution import invoke
from btree import Transaction
from query import open_store
from script.wire import wire_size

MOST_BYTES: Final = 16 * 1024
"""Of JSON in a preview; rows that are larger are left out, and it says so."""


@dataclass(frozen=True)
class Preview:
    """What is `shown` of what a call would do, and what of the database it is `about`: the token of the rows of a bulk change, the record
    that a write would change."""

    shown: dict[str, Any]
    about: Any = None


def preview_of(doing: Doing) -> Preview:
    """What a call that writes, or reaches the outside, would do. Raises what the call would raise."""
    if doing.tool.name == SCHEDULES:
        return Preview(_schedule(doing))
    if doing.tool.effect == "external":
        return Preview({"outside": True})
    if doing.is_bulk:
        shown = _fitting(dropped(doing, lambda view: _invoke(doing, view, dry_run=True)))
        return Preview(shown, shown.get("token"))
    change = dropped(doing, lambda view: _change(doing, view))
    return Preview(_fitting(change), [row["before"] for row in change.get("rows") or ()])


def _invoke(doing: Doing, view: Transaction, **more: Any) -> Any:
    return invoke(doing.resources, doing.tool, step_of(doing, {**doing.args, **more}), view)


def _change(doing: Doing, view: Transaction) -> dict[str, Any]:
    """What a write gives, and the record that it is about before and after, where it is about one."""
    place = _place(doing, view)
    before = open_store(view, place[0]).get(place[1]) if place is not None else None
    result = _invoke(doing, view)
    if place is None:
        return {"result": result}
    after = open_store(view, place[0]).get(place[1])
    return {"count": int(before != after), "rows": [{"before": before, "after": after}]}


def _place(doing: Doing, view: Transaction) -> tuple[str, Any] | None:
    """The store and the key of the record that a call is about."""
    store, args = doing.args.get("store"), doing.args
    if not isinstance(store, str):
        return None
    if "key" in args:
        return store, args["key"]
    record = args.get("record")
    if not isinstance(record, dict):
        return None
    fields = open_store(view, store).info.primary_key
    if not all(name in record for name in fields):
        return None
    return store, record[fields[0]] if len(fields) == 1 else [record[name] for name in fields]


def _schedule(doing: Doing) -> dict[str, Any]:
    desk = doing.resources.services.schedules
    if desk is None:
        return {"outside": True}
    return desk.preview({name: value for name, value in doing.args.items() if value is not None})


def _fitting(preview: dict[str, Any]) -> dict[str, Any]:
    """A preview that is not too large to be told."""
    if wire_size(preview) <= MOST_BYTES:
        return preview
    rows = list(preview.get("rows") or [])
    kept = {name: value for name, value in preview.items() if name not in ("rows", "result")}
    while rows and wire_size(rows) > MOST_BYTES:
        rows.pop()
    return {**kept, "rows": rows, "left_out": "rows, or a result, that are too large to be shown here"}
