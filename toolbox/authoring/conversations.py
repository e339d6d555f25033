"""Conversations: sessions and the records of what was said in them, in the system database.

    _conversations      key id               what the session is (`state.Session`)
    _session_records    key [session, seq]   what was said: a log that only grows
    _session_messages   key [session, key]   {session, key, turn, after}: where the turn of a message begins in the log
    _session_calls      key [session, key]   {session, key, result}: what was done once, and is not done again

A record is {session, seq, turn, at, type, ...}; `seq` counts from 1 without gaps. The types:

    user           {text} or {approval, approved, comment}      text_delta     {text}: what the model is saying
    text           {text, model, usage}: what it said           text_restarted {}: forget the deltas since the last text
    tool_call      {call, tool, args, by}                       tool_result    {call, tool, status, result | error, rows?}
    card           {card, ...}: question, draft, problems, trace, approval, decision, schedule, run, recording, preview
    notice         {text, code?}                                turn           {status, message, usage, error?}: its end

Everything that an activity does to a session is done in one transaction, under a name (`once`): tried again, it gives the result that it
gave and changes nothing.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from btree import Transaction
from query import SYSTEM, Databases, View, create_store, list_stores, open_store, select
from toolbox.authoring.state import Session
from toolbox.errors import SessionNotFound

SESSIONS: Final = "_conversations"
RECORDS: Final = "_session_records"
MESSAGES: Final = "_session_messages"
CALLS: Final = "_session_calls"
_KEYS: Final[dict[str, list[str]]] = {
    SESSIONS: ["id"],
    RECORDS: ["session", "seq"],
    MESSAGES: ["session", "key"],
    CALLS: ["session", "key"],
}
Record = dict[str, Any]
T = TypeVar("T")


def now_utc() -> str:
    """The time, in ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass
class Work:
    """A session within a transaction: `session` may be changed, and is kept when the work ends well."""

    transaction: Transaction
    session: Session
    now: str = field(default_factory=now_utc)

    def say(self, type: str, **fields: Any) -> Record:
        """Append a record to the log."""
        self.session.seq += 1
        record = {
            "session": self.session.id,
            "seq": self.session.seq,
            "turn": self.session.turn,
            "at": self.now,
            "type": type,
            **fields,
        }
        open_store(self.transaction, RECORDS).add(record)
        return record


class Conversations:
    """The sessions of an installation."""

    def __init__(self, databases: Databases) -> None:
        self._database = databases.ensure(SYSTEM)
        if not set(_KEYS) <= {info.name for info in list_stores(self._database.snapshot())}:
            self._database.transact(_create_stores)

    def create(self, session: Session) -> Session:
        """Keep a new session."""
        self._database.transact(lambda transaction: open_store(transaction, SESSIONS).add(session.to_json()))
        return session

    def get(self, session_id: str) -> Session:
        """A session. Raises SessionNotFound."""
        return _get(self._database.snapshot(), session_id)

    def head(self) -> int:
        """The version of the system database: as long as it is the same, nothing was said anywhere."""
        return self._database.head().seq

    def page(
        self, limit: int, *, before: str | None = None, owner: str | None = None, status: str | None = None
    ) -> list[Session]:
        """At most so many sessions with smaller ids than `before`, the greatest first: of an owner, or of all; open, closed, or both."""
        fitting = {"owner": owner, "status": status, "id": {"$lt": before} if before is not None else None}
        where = {name: value for name, value in fitting.items() if value is not None}
        rows = select(self._database.snapshot(), SESSIONS, filter=where, order_by="-id", limit=limit)
        return list(map(Session.from_json, rows))

    def records(self, session_id: str, after: int = 0, limit: int | None = None) -> Iterator[Record]:
        """What was said behind a record, in order: one reading of the log as it is now."""
        behind = {"session": session_id, "seq": {"$gt": after}}
        return iter(select(self._database.snapshot(), RECORDS, filter=behind, limit=limit))

    def cards(self, session_id: str, kind: str) -> Iterator[Record]:
        """The cards of a kind, in order."""
        where = {"session": session_id, "type": "card", "card": kind}
        return iter(select(self._database.snapshot(), RECORDS, filter=where))

    def record(self, session_id: str, seq: int) -> Record | None:
        """One record."""
        return open_store(self._database.snapshot(), RECORDS).get([session_id, seq])

    def turn_of(self, session_id: str, key: str) -> Record | None:
        """Where the turn of a message is: {turn, after}; None for a message that was not heard yet."""
        return open_store(self._database.snapshot(), MESSAGES).get([session_id, key])

    def done(self, session_id: str, key: str) -> Any:
        """What was done once under this name has given; None if it was not done yet."""
        found = open_store(self._database.snapshot(), CALLS).get([session_id, key])
        return found["result"] if found is not None else None

    def once(self, session_id: str, key: str, work: Callable[[Work], T]) -> T:
        """Do something to a session, once under this name; its result is JSON. Raises SessionNotFound, and what `work` raises."""

        def perform(transaction: Transaction) -> T:
            calls = open_store(transaction, CALLS)
            done = calls.get([session_id, key])
            if done is not None:
                result: T = done["result"]
                return result
            found = _work(transaction, session_id)
            result = work(found)
            _keep(found)
            calls.add({"session": session_id, "key": key, "result": result})
            return result

        return self._database.transact(perform, attempts=10)

    def change(self, session_id: str, work: Callable[[Work], T]) -> T:
        """Do something to a session. Raises SessionNotFound, and what `work` raises (nothing is kept then)."""

        def perform(transaction: Transaction) -> T:
            found = _work(transaction, session_id)
            result = work(found)
            _keep(found)
            return result

        return self._database.transact(perform, attempts=10)


def _create_stores(transaction: Transaction) -> None:
    there = {info.name for info in list_stores(transaction)}
    for name, key in _KEYS.items():
        if name not in there:
            create_store(transaction, name, primary_key=key)


def _get(view: View, session_id: str) -> Session:
    row = open_store(view, SESSIONS).get(session_id)
    if row is None:
        raise SessionNotFound(f"there is no session {session_id!r}")
    return Session.from_json(row)


def _work(transaction: Transaction, session_id: str) -> Work:
    return Work(transaction, _get(transaction, session_id))


def _keep(work: Work) -> None:
    work.session.updated_at = work.now
    open_store(work.transaction, SESSIONS).upsert(work.session.to_json())
