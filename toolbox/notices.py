"""Notices of schedules: that their runs fail, and that they succeed again. What is known about it, durably; who sends it is elsewhere.

A run that a schedule started carries in its memo who is told (`Notify`). Each ended run is recorded once, by the id of its execution,
and in the same transaction it is decided whether there is something to tell:

    before      the run ended as                   notice
    healthy     failed, timed_out, terminated      failure
    failing     failed, timed_out, terminated      none; with `every`, failure
    failing     completed                          recovery
    healthy     completed                          none
    any         canceled                           none, and nothing changes: somebody wanted it

(A termination by the overlap policy terminate_other is no failure either.) A notice is a row that is pending until it was sent: an
attempt claims it for a while, so a worker that dies with it leaves it for the next one. It is given up after about three days.

    _schedule_health    key schedule     {schedule, state, since, run, ended_at, failures, notice}
    _schedule_runs      key execution    {execution, schedule, run, outcome, ended_at, kind, status, due_at, attempts, ...}
    _schedule_sweeps    key task_queue   {task_queue, seen_until}
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from btree import Transaction
from query import SYSTEM, Databases, create_store, list_stores, open_store, select
from toolbox.errors import ToolError
from toolbox.notify import Channel, Message, Receiver, receiver

HEALTH: Final = "_schedule_health"
RUNS: Final = "_schedule_runs"
SWEEPS: Final = "_schedule_sweeps"
_KEYS: Final = {HEALTH: "schedule", RUNS: "execution", SWEEPS: "task_queue"}

PAUSES: Final = (30, 120, 600, 3600, 6 * 3600, 24 * 3600, 36 * 3600)
"""Seconds from one attempt to send a notice to the next one; behind the last it is given up."""
REMEMBERED: Final = timedelta(days=1)
"""A recorded run is forgotten so long after its end: it is not asked about any more."""
FAILURES: Final = frozenset({"failed", "timed_out", "terminated"})


class Notify(BaseModel):
    """Who is told what about the runs of a schedule: a webhook to `url`, or a mail to `to`; or, or also, a conversation: `session`."""

    model_config = ConfigDict(extra="forbid")

    on: list[Literal["failure", "recovery"]] = Field(["failure", "recovery"], min_length=1)
    every: bool = Field(False, description="every failure, not only the first one in a row")
    channel: Channel | None = None
    url: str | None = None
    to: str | list[str] | None = None
    secret: str = Field("default", description="the name of the webhook's secret")
    session: str | None = Field(None, description="one's own session, in whose log it is told")

    @classmethod
    def of_memo(cls, fields: Mapping[str, Any]) -> "Notify":
        """What a memo carries."""
        return cls.model_validate({name: value for name, value in fields.items() if name in cls.model_fields})

    def receiver(self) -> Receiver | None:
        """Who is told outside; None where it is a session alone. Raises InvalidArguments."""
        if self.session is not None and (self.channel, self.to, self.url) == (None, None, None):
            return None
        return receiver(self.channel, self.to, self.url, self.secret)


def check_notify(notify: Notify | None) -> Notify | None:
    """The same. Raises InvalidArguments, with its pointer below /notify, where nobody could be told."""
    if notify is not None:
        try:
            notify.receiver()
        except ToolError as error:
            error.pointer = f"/notify{error.pointer or ''}"
            raise
    return notify


@dataclass(frozen=True)
class EndedRun:
    """A run of a schedule that has ended. Times are ISO 8601 in UTC; `memo` says who is told."""

    execution: str
    schedule: str
    run: str
    script: str
    outcome: str
    ended_at: str
    scheduled_at: str | None
    memo: dict[str, Any]
    error: dict[str, Any] | None = None


class NoticeBook:
    """What the system database knows about the ends of scheduled runs."""

    def __init__(self, databases: Databases) -> None:
        self._database = databases.ensure(SYSTEM)

    def health(self, schedule: str) -> dict[str, Any] | None:
        """How a schedule stands, by its runs that have notices; None where none has ended yet."""
        row = self._row(HEALTH, schedule)
        if row is None:
            return None
        notice = self._row(RUNS, row["notice"]) if row["notice"] else None
        told = {name: notice[name] for name in ("kind", "status", "attempts", "error")} if notice else None
        return {name: row[name] for name in ("state", "since", "run", "ended_at", "failures")} | {"last_notice": told}

    def knows(self, execution: str) -> bool:
        """Whether the end of a run was recorded."""
        return self._row(RUNS, execution) is not None

    def record(self, ended: EndedRun, now: str) -> str | None:
        """Record an end, once however often it is told; gives the kind of the notice that follows from it (and waits to be sent)."""
        return self._database.transact(lambda transaction: _record(transaction, ended, now))

    def due(self, now: str) -> list[str]:
        """The notices that wait to be sent, oldest end first."""
        if RUNS not in {info.name for info in list_stores(self._database.snapshot())}:
            return []
        rows = select(self._database.snapshot(), RUNS, filter={"status": "pending", "due_at": {"$lte": now}})
        return [row["execution"] for row in sorted(rows, key=lambda row: str(row["ended_at"]))]

    def claim(self, execution: str, now: datetime) -> dict[str, Any] | None:
        """Take a notice for an attempt to send it; None where another one has it. Unless it is marked, it is due again later."""

        def take(transaction: Transaction) -> dict[str, Any] | None:
            store = open_store(transaction, RUNS)
            row = store.get(execution)
            if row is None or row["status"] != "pending" or row["due_at"] > _text(now):
                return None
            pause = PAUSES[min(row["attempts"], len(PAUSES) - 1)]
            changes = {"attempts": row["attempts"] + 1, "due_at": _text(now + timedelta(seconds=pause))}
            store.update(execution, changes)
            return {**row, **changes}

        return self._database.transact(take)

    def mark(self, row: Mapping[str, Any], now: datetime, error: ToolError | None) -> str:
        """Note how an attempt ended; gives the notice's status: sent, failed, or pending for another attempt."""
        status = "sent"
        changes: dict[str, Any] = {"error": error.to_dict() if error is not None else None}
        if error is not None:
            status = "pending" if error.retryable and row["attempts"] < len(PAUSES) else "failed"
            pause = (error.details or {}).get("retry_after")
            if status == "pending" and pause:
                changes["due_at"] = max(row["due_at"], _text(now + timedelta(seconds=pause)))
        changes["status"] = status
        self._database.transact(lambda transaction: open_store(transaction, RUNS).update(row["execution"], changes))
        return status

    def seen_until(self, task_queue: str) -> str | None:
        """Up to when ends were recorded."""
        row = self._row(SWEEPS, task_queue)
        return str(row["seen_until"]) if row is not None else None

    def seen(self, task_queue: str, until: str, now: datetime) -> None:
        """Ends were recorded up to a time; those that are long past, and told, are forgotten."""
        long_ago = _text(now - REMEMBERED)

        def note(transaction: Transaction) -> None:
            _stores(transaction)
            open_store(transaction, SWEEPS).upsert({"task_queue": task_queue, "seen_until": until})
            runs = open_store(transaction, RUNS)
            kept = {row["notice"] for row in select(transaction, HEALTH)}
            old = {"ended_at": {"$lt": long_ago}, "status": {"$ne": "pending"}}
            for row in list(select(transaction, RUNS, filter=old)):
                if row["execution"] not in kept:
                    runs.delete(row["execution"])

        self._database.transact(note)

    def _row(self, store: str, key: str) -> dict[str, Any] | None:
        view = self._database.snapshot()
        if store not in {info.name for info in list_stores(view)}:
            return None
        row: dict[str, Any] | None = open_store(view, store).get(key)
        return row


def message_of(row: Mapping[str, Any], now: datetime) -> Message:
    """What a notice says."""
    failed = row["kind"] == "failure"
    what = f"failed ({row['outcome']})" if failed else "succeeded again"
    subject = f"schedule {row['schedule']}: {row['script']} {what}"
    lines = [f"{row['script']}, run {row['run']}, {what} at {row['ended_at']}."]
    if failed and row["failure"]:
        lines.append(f"{row['failure'].get('code')}: {row['failure'].get('message')}")
    if not failed:
        lines.append(f"Before that, {row['failures']} in a row failed.")
    names = ("schedule", "script", "run", "outcome", "scheduled_at", "ended_at", "failures")
    facts = {name: row[name] for name in names} | {"error": row["failure"]}
    return Message(f"schedule.{row['kind']}", subject, "\n".join(lines), now, None, facts)


def _record(transaction: Transaction, ended: EndedRun, now: str) -> str | None:
    _stores(transaction)
    runs, healths = open_store(transaction, RUNS), open_store(transaction, HEALTH)
    if runs.get(ended.execution) is not None:
        return None
    notify = Notify.of_memo(ended.memo)
    health = healths.get(ended.schedule)
    failing, failures = (health["state"] == "failing", health["failures"]) if health else (False, 0)
    failed = ended.outcome in FAILURES and not (
        ended.outcome == "terminated" and ended.memo.get("overlap") == "terminate_other"
    )
    kind: str | None = None
    if failed or ended.outcome == "completed":
        if failed and (notify.every or not failing):
            kind = "failure"
        elif not failed and failing:
            kind = "recovery"
        changed = health is None or failed != failing
        failures = failures + 1 if failed else failures
        kind = kind if kind in notify.on else None
        healths.upsert(
            {
                "schedule": ended.schedule,
                "state": "failing" if failed else "healthy",
                "since": ended.ended_at if changed or health is None else health["since"],
                "run": ended.run,
                "ended_at": ended.ended_at,
                "failures": failures if failed else 0,
                "notice": ended.execution if kind else health["notice"] if health else None,
            }
        )
    row = asdict(ended) | {"failure": ended.error, "error": None, "failures": failures, "kind": kind, "attempts": 0}
    runs.add(row | {"status": "pending" if kind else "none", "due_at": now})
    return kind


def _stores(transaction: Transaction) -> None:
    known = {info.name for info in list_stores(transaction)}
    for name, key in _KEYS.items():
        if name not in known:
            create_store(transaction, name, primary_key=[key])


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")
