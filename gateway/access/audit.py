"""The audit log: who changed what, and who was refused.

The store `_audit` of the system database holds, for every request that may change something, and for every one that was refused for its
key (401, 403), an entry

    {id, at, key, name, method, route, target, status, request_id, times}

`key` and `name` are the key's (null without a valid one), `route` is the path as the API describes it (null where none was found: 401),
`target` what it was about: {database, store, script, run, schedule, key, ...}, never a row or a body. `status` is that of the answer: a
stream that fails later has begun with 200.

Ids are times, so the log is in the order of time. Refusals that are alike are one entry if they come within the same half second, with
their number in `times`: nobody fills the disk by knocking. An address that fails more often than it may (429) has an entry of its own, with
`target` {address}: one a minute, and no more than `limits.TOLD` of them.
"""

import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from btree import Transaction
from query import View, create_store, list_stores, open_store, select

STORE: Final = "_audit"
REFUSALS: Final = frozenset({401, 403})
_FORGOTTEN: Final = 2000
"""Entries that go at once when they are too old."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_METHOD: Final = re.compile(r"[A-Z]{1,10}")
_LONGEST: Final = 200
MOST: Final = 10_000
"""Entries that wait at a time; if writing takes so long that there are more, the others are lost, and counted."""


@dataclass(frozen=True)
class Entry:
    """What happened."""

    method: str
    status: int
    request_id: str
    route: str | None = None
    target: Mapping[str, str] = field(default_factory=dict)
    key: str | None = None
    name: str | None = None


class Gathered:
    """Entries that wait to be written."""

    def __init__(self) -> None:
        self._rows: dict[Any, dict[str, Any]] = {}
        self.lost = 0

    def add(self, entry: Entry, now: datetime) -> None:
        target = {name: value[:_LONGEST] for name, value in entry.target.items()}
        method = entry.method if _METHOD.fullmatch(entry.method) else "OTHER"
        row = {
            "id": time_id(now) + secrets.token_hex(4),
            "at": now.astimezone(UTC).isoformat(timespec="milliseconds"),
            "key": entry.key,
            "name": entry.name,
            "method": method,
            "route": entry.route,
            "target": target,
            "status": entry.status,
            "request_id": entry.request_id,
            "times": 1,
        }
        alike: Any = row["id"]
        if entry.status in REFUSALS:
            alike = (entry.key, method if entry.key else None, entry.route, tuple(target.items()), entry.status)
        if alike in self._rows:
            self._rows[alike]["times"] += 1
        elif len(self._rows) < MOST:
            self._rows[alike] = row
        else:
            self.lost += 1

    def rows(self) -> list[dict[str, Any]]:
        """The entries."""
        return list(self._rows.values())


def time_id(moment: datetime) -> str:
    """The beginning of the ids of a moment: microseconds, in the order of time."""
    return f"{max(0, (moment - _EPOCH) // timedelta(microseconds=1)):017d}-"


def append(transaction: Transaction, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write entries; makes the store."""
    if STORE not in {info.name for info in list_stores(transaction)}:
        create_store(transaction, STORE, primary_key=["id"], description="who changed what, and who was refused")
    store = open_store(transaction, STORE)
    for row in rows:
        store.add(row)


def forget(transaction: Transaction, before: datetime) -> bool:
    """Remove entries that are older; False if there may be more of them."""
    old = [row["id"] for row in select(transaction, STORE, filter={"id": {"$lt": time_id(before)}}, limit=_FORGOTTEN)]
    store = open_store(transaction, STORE)
    for number in old:
        store.delete(number)
    return len(old) < _FORGOTTEN


def page(
    view: View,
    *,
    oldest: datetime,
    limit: int,
    after: str | None = None,
    key: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> tuple[list[dict[str, Any]], str | None]:
    """Entries, newest first: those behind the id `after`, of a key, from `since` on and before `until`; and where the next page goes on."""
    if STORE not in {info.name for info in list_stores(view)}:
        return [], None
    ends = [end for end in (after, time_id(until) if until is not None else None) if end is not None]
    wanted: dict[str, Any] = {"id": {"$gte": time_id(max(oldest, since or oldest))}}
    if ends:
        wanted["id"]["$lt"] = min(ends)
    if key is not None:
        wanted["key"] = key
    rows = list(select(view, STORE, filter=wanted, order_by="-id", limit=limit + 1))
    return rows[:limit], rows[limit - 1]["id"] if len(rows) > limit else None
