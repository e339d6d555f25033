"""Notes about requests that may be written a little later: who used a key when, and the audit log.

Both are small writes to the system database that no request waits for. They are gathered, and half a second after the first of them a
thread of its own writes them all in one transaction. What cannot be written is told in the log and is lost; so is the last half second of
a gateway that is killed. A gateway that stops in order writes what it has (`close`).

    _key_uses    key id    {id, last_used_at}: written at most once a minute for each key, over all gateways
    _audit       key id    see `audit`
"""

import logging
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from btree import Transaction
from gateway.access.audit import Entry, Gathered, append, forget, page
from gateway.access.keys import now_utc
from query import SYSTEM, Databases, create_store, list_stores, open_store, select

USES: Final = "_key_uses"
PAUSE: Final = 0.5
"""Seconds from a note to its writing."""
MINUTE: Final = timedelta(seconds=60)
HOUR: Final = timedelta(hours=1)
_log = logging.getLogger("gateway")


class Notes:
    """The notes of one gateway. No method but `last_uses` and `entries` ever raises."""

    def __init__(
        self, databases: Databases, *, audit_days: float, clock: Callable[[], datetime] = now_utc, pause: float = PAUSE
    ) -> None:
        self._database = databases.ensure(SYSTEM)
        self._kept = timedelta(days=audit_days)
        self._clock = clock
        self._pause = pause
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._timer: threading.Timer | None = None
        self._noted: dict[str, datetime] = {}
        self._uses: dict[str, datetime] = {}
        self._entries = Gathered()
        self._forgot_at: datetime | None = None
        self._closed = False

    def used(self, key_id: str) -> None:
        """A key was used just now."""
        now = self._clock()
        noted = self._noted.get(key_id)
        if noted is not None and now - noted < MINUTE:
            return
        with self._lock:
            self._noted[key_id] = self._uses[key_id] = now
            self._soon()

    def audit(self, entry: Entry) -> None:
        """Something to be kept in the audit log."""
        with self._lock:
            self._entries.add(entry, self._clock())
            self._soon()

    def flush(self) -> None:
        """Write what is gathered."""
        with self._writing:
            with self._lock:
                uses, self._uses = self._uses, {}
                gathered, self._entries = self._entries, Gathered()
                self._timer = None
            entries = gathered.rows()
            if gathered.lost:
                _log.error("%d entries of the audit log are lost: it cannot be written as fast", gathered.lost)
            if uses or entries:
                self._write(uses, entries)

    def close(self) -> None:
        """Write what is gathered, and take no more."""
        with self._lock:
            self._closed = True
            if self._timer is not None:
                self._timer.cancel()
        self.flush()

    def last_uses(self) -> dict[str, str]:
        """When keys were used last, by their ids: to the minute."""
        self.flush()
        view = self._database.snapshot()
        if USES not in {info.name for info in list_stores(view)}:
            return {}
        return {row["id"]: row["last_used_at"] for row in select(view, USES)}

    def entries(self, **asked: Any) -> tuple[list[dict[str, Any]], str | None]:
        """A page of the audit log, newest first; see `audit.page`."""
        self.flush()
        return page(self._database.snapshot(), oldest=self._clock() - self._kept, **asked)

    def _soon(self) -> None:
        """See to it that what is gathered will be written. Holding the lock."""
        if self._timer is None and not self._closed:
            self._timer = threading.Timer(self._pause, self.flush)
            self._timer.daemon = True
            self._timer.start()

    def _write(self, uses: dict[str, datetime], entries: list[dict[str, Any]]) -> None:
        now = self._clock()
        forgetting = self._forgot_at is None or now - self._forgot_at >= HOUR

        def work(transaction: Transaction) -> bool:
            _note_uses(transaction, uses.items())
            append(transaction, entries)
            return forget(transaction, now - self._kept) if forgetting else True

        try:
            if self._database.transact(work):
                self._forgot_at = now if forgetting else self._forgot_at
        except Exception:
            _log.exception("%d entries of the audit log and uses of %d keys are lost", len(entries), len(uses))


def _note_uses(transaction: Transaction, uses: Iterable[tuple[str, datetime]]) -> None:
    if USES not in {info.name for info in list_stores(transaction)}:
        create_store(transaction, USES, primary_key=["id"], description="when keys were used last")
    store = open_store(transaction, USES)
    for key_id, moment in uses:
        row = store.get(key_id)
        if row is None or moment - datetime.fromisoformat(row["last_used_at"]) >= MINUTE:
            store.upsert({"id": key_id, "last_used_at": moment.astimezone(UTC).isoformat(timespec="seconds")})
