"""The elements of a chunk that does again what failed in an earlier run (`script/machine/again.py`): those that its ledger has.

    a row of a store that the ledger has the key of    as it is now, if it still fits the loop's query
    any other row                                      as it was, by its ordinal in the rows of that time
    an element of a list                               by its ordinal

An element that is not there any more fails with `element_gone`, and is in the ledger of this run.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from activities.execution import Resources
from query import open_store, reference_page, select
from script.wire import ChunkCall
from toolbox.ledger import failures

_PAGE: Final = 1_000
GONE: Final = {
    "code": "element_gone",
    "message": "its row is not there any more, or does not fit the loop's query",
    "retryable": False,
}


@dataclass
class Chosen:
    """Elements with their ordinals; the ledger's rows of those that are gone; the place and the ordinal behind them, and whether there
    are more."""

    position: int
    more: bool
    after: str | None = None
    ordinals: list[int] = field(default_factory=list)
    elements: list[Any] = field(default_factory=list)
    gone: list[dict[str, Any]] = field(default_factory=list)

    def progress(self) -> dict[str, Any]:
        """What the chunk's answer tells of where to go on."""
        return {"position": self.position, "after": self.after, "done": not self.more}

    def add(self, rows: list[dict[str, Any]], found: Callable[[dict[str, Any]], Iterator[Any]]) -> None:
        """Take the elements of rows of the ledger."""
        for row in rows:
            count = len(self.elements)
            self.elements.extend(found(row))
            if len(self.elements) == count:
                self.gone.append({"ordinal": row["ordinal"], "key": row["key"], "error": GONE})
            else:
                self.ordinals.append(row["ordinal"])


def choose(resources: Resources, call: ChunkCall) -> Chosen:
    """The elements of a chunk. Raises what reading rows raises."""
    assert call.again is not None and call.transaction is not None
    view = resources.databases.open(call.transaction.database).snapshot()
    size = call.size
    if call.items is not None:
        items = call.items
        rows = failures(view, call.again["run"], call.again["step"], call.offset, limit=len(items))
        chosen = Chosen(call.offset + len(items), more=len(items) == size)
        known = [row for row in rows if row["ordinal"] < chosen.position]
        chosen.add(known, lambda row: iter([items[row["ordinal"] - call.offset]]))
        return chosen
    rows = failures(view, call.again["run"], call.again["step"], call.offset, limit=size + 1)
    chosen = Chosen(rows[:size][-1]["ordinal"] + 1 if rows else call.offset, more=len(rows) > size)
    if call.rows is not None and "store" in call.rows and all(row["key"] is not None for row in rows):
        chosen.add(rows[:size], _by_key(resources, call.rows))
    else:
        known_rows = _by_place(resources, call, rows[:size], chosen)
        chosen.add(rows[:size], lambda row: iter(known_rows.get(row["ordinal"], ())))
    return chosen


def _by_key(resources: Resources, reference: Mapping[str, Any]) -> Callable[[dict[str, Any]], Iterator[Any]]:
    resources.databases.seals.check(reference)
    view = resources.databases.open(reference["database"]).snapshot()
    query, store = reference["query"], reference["store"]
    fields = open_store(view, store).info.primary_key

    def found(row: dict[str, Any]) -> Iterator[Any]:
        values = [row["key"]] if len(fields) == 1 else row["key"]
        same = {name: {"$eq": value} for name, value in zip(fields, values, strict=True)}
        where = {"$and": [same, query["filter"]]} if query.get("filter") else same
        return iter(select(view, store, filter=where, fields=query.get("fields"), limit=1))

    return found


def _by_place(
    resources: Resources, call: ChunkCall, rows: list[dict[str, Any]], chosen: Chosen
) -> dict[int, list[Any]]:
    """The wanted rows of a reference by their ordinals, and where to go on."""
    wanted, found = {row["ordinal"] for row in rows}, {}
    at, after = (call.offset, bytes.fromhex(call.after)) if call.after else (0, None)
    assert call.rows is not None
    while at < chosen.position:
        limit = min(_PAGE, chosen.position - at)
        page, after = reference_page(resources.databases, call.rows, after=after, limit=limit, done=at)
        found.update({at + n: [record] for n, record in enumerate(page) if at + n in wanted})
        at += limit
        if after is None:
            break
    chosen.after = after.hex() if after is not None else None
    return found
