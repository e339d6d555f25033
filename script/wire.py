"""What crosses a process border: the arguments and results of workflows and activities.

Workflows and activities never import each other; they, and the gateway that starts and watches
runs, share these shapes. Everything here is plain JSON in dataclasses, so that any payload
converter can carry it and the Temporal UI shows it readably.

Three rules keep runs alive:

* **Rows never cross.** A large result is a *row reference* `{"$rows": {...}}` (database, version, count, and
  store and query, or the id of a result that was written down); who needs the rows reads them page by page.
* **Sizes are checked before anything is scheduled** (`MAX_WIRE_BYTES`): an oversized payload does
  not fail a Temporal run, it wedges or terminates it, so a machine turns it into an error first.
* **Outcomes carry their own time.** `Outcome.at` is the only clock that a machine sees, which is why the
  gateway can fold a history through the same program and get the same events, now() included.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import orjson

WORKFLOW_TYPE: Final = "ScriptWorkflow"
LOAD_ACTIVITY: Final = "load_script"
RESTORE_ACTIVITY: Final = "restore_savepoint"
COMMIT_ACTIVITY: Final = "commit_transaction"
ROLLBACK_ACTIVITY: Final = "rollback_transaction"
CHUNK_ACTIVITY: Final = "run_chunk"
PARTITION_ACTIVITY: Final = "partition_rows"
DISPATCH_ACTIVITY: Final = "dispatch_outbox"

ASK_ACTIVITY: Final = "ask_model"
"""The activity of an `ask` step. Not a command: a step says what it asks."""

DECIDE_SIGNAL: Final = "decide"
PAUSE_SIGNAL: Final = "pause"
GO_ON_SIGNAL: Final = "go_on"
CONCURRENCY_SIGNAL: Final = "concurrency"
STANDING_QUERY: Final = "standing"
"""How a run stands: the value of `standing.standing`, or None before it has begun."""

YIELD: Final = "yield"
SPREAD: Final = "spread"
"""Summaries of timers that belong to no effect."""

NOTICES_MEMO: Final = "sop_notices"
"""The memo of a scheduled run that says who is told how it ended."""

MAX_WIRE_BYTES: Final = 64 * 1024
"""The largest JSON text, in bytes, of one value that a run passes to or gets from an effect."""

ROWS: Final = "$rows"
"""The key that marks a row reference."""
_MOST_ROWS: Final = 1 << 53

SEARCH_ATTRIBUTES: Final = ("SopScript", "SopVersion", "SopDatabase", "SopTrigger", "SopOutcome", "SopWaiting")
"""Keyword search attributes of every run: script, version (12 hex digits), database, trigger and outcome; and, while a person's decision is
missing, what it waits for."""

FOR_APPROVAL: Final = "approval"
"""The value of SopWaiting."""


SCHEDULED_FOR: Final = "TemporalScheduledStartTime"
"""Temporal's search attribute of a run that a schedule started: the time that it was started for."""


@dataclass(frozen=True)
class RunInput:
    """What a run gets, and all that it gets.

    `version` is the sha256 of the script (None: the latest when the run starts, as a schedule wants it).
    `programs` carries the compiled programs, the called ones included, when they are small enough;
    otherwise the run loads them by hash. `database` is for a script that names none, when it is called as a run of its own.
    `scheduled_at` is set for a child of a run that a schedule started (the run itself knows it from its search attributes).
    `state` is set by continue-as-new, and by a rerun from a step: `rerun` {of, from} says then (and for one from the start) which
    run it repeats and from where (and `elements`: "failed", if only those of its batches are done again), and the state becomes one of
    this run (`resuming.adopt`).
    """

    script: str
    version: str | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    trigger: str = "api"
    dry_run: bool = False
    mocks: list[str] = field(default_factory=list)
    programs: list[dict[str, Any]] | None = None
    database: str | None = None
    scheduled_at: str | None = None
    state: dict[str, Any] | None = None
    rerun: dict[str, str] | None = None


@dataclass(frozen=True)
class RunOutput:
    """What a finished run leaves: the script's value, the time of its last step (ISO 8601, UTC), and what a caller that fails has to
    compensate."""

    value: Any
    finished_at: str
    sagas: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class TransactionRef:
    """The durable transaction that a step belongs to. `begin` is true for its first step only; `alone` means that
    the step begins, commits and ends it by itself."""

    id: str
    database: str
    isolation: str = "serializable"
    begin: bool = False
    alone: bool = False


@dataclass(frozen=True)
class StepCall:
    """One call of a tool. `key` is stable over retries, restarts and reruns of a conflicted transaction. `savepoints` are places to mark
    before, where a retry of a group of steps would go back to. `secrets` are the names of those that the step's text has."""

    tool: str
    args: dict[str, Any]
    path: str
    key: str
    run_id: str
    now: str
    step: str = ""
    database: str | None = None
    transaction: TransactionRef | None = None
    dry_run: bool = False
    mocks: list[str] = field(default_factory=list)
    scope: list[str] = field(default_factory=list)
    savepoints: list[str] = field(default_factory=list)
    scheduled_at: str | None = None
    secrets: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class EndTransaction:
    """Commit or roll back a transaction, or (with a `savepoint`) undo what it did since."""

    transaction: TransactionRef
    run_id: str
    key: str
    savepoint: str | None = None


@dataclass(frozen=True)
class ChunkCall:
    """Run the body of a loop over one chunk of its rows, in one transaction.

    `calls` has every program that the run may reach by its hash, with the versions that its calls were resolved to when the
    run began. `path` is the loop's path in the run, `prefix` and `iteration` those of the frame that it stands in.
    `rows` is the row reference's inner object and `after` the place (hex: the encoded key, or that in a result) behind which to go
    on; or `items` are the elements themselves. `offset` is the ordinal of the first element: iteration numbers, and so
    idempotency keys, count from it. `tolerate` elements may fail (None: the first that fails fails the chunk); the ledger has them under
    `step`, the loop's key in the run. With `again` {run, step} the chunk's elements are the first `size` from `offset` on that this
    ledger has.
    """

    script: str
    version: str
    calls: dict[str, dict[str, str]]
    program: str
    loop: int
    variables: dict[str, Any]
    offset: int
    size: int
    path: str
    prefix: str
    iteration: list[int]
    key: str
    key_id: str
    run_id: str
    now: str
    step: str = ""
    tolerate: int | None = None
    rows: dict[str, Any] | None = None
    after: str | None = None
    items: list[Any] | None = None
    transaction: TransactionRef | None = None
    dry_run: bool = False
    mocks: list[str] = field(default_factory=list)
    scope: list[str] = field(default_factory=list)
    scheduled_at: str | None = None
    again: dict[str, str] | None = None


@dataclass(frozen=True)
class PartitionCall:
    """Find out where the rows of a reference may be divided: behind every `every` of them, from the place `after` on (hex), which `offset`
    rows are in front of."""

    rows: dict[str, Any]
    offset: int
    after: str | None
    every: int
    run_id: str


@dataclass(frozen=True)
class DispatchCall:
    """Send what a chunk left in the outbox: the rows whose key starts with `prefix`."""

    database: str
    prefix: str
    run_id: str
    now: str


@dataclass(frozen=True)
class LoadCall:
    """Resolve a script to a frozen version and give its programs, root first."""

    script: str
    version: str | None


@dataclass(frozen=True)
class Outcome:
    """How an effect ended: `value`, or `error` {code, message, retryable, ...}; `at` is when (ISO 8601, UTC).

    `sagas` are the compensations that a child run leaves to its caller; `told` is what the step's event tells beside the value.
    """

    value: Any = None
    error: dict[str, Any] | None = None
    at: str | None = None
    sagas: list[dict[str, Any]] = field(default_factory=list)
    told: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Decision:
    """A person's answer to an approval; `effect` is its id, `at` when it was given (ISO 8601, UTC)."""

    effect: str
    approved: bool
    by: str
    at: str
    comment: str = ""


@dataclass(frozen=True)
class Concurrency:
    """How many chunks of a running batch may run at once from now on; `step` is the key of its loop in the run (its path, and `#` with the
    iterations around it)."""

    step: str
    n: int


GIVEN_UP: Final = Outcome(None, {"code": "canceled", "message": "the step was given up", "retryable": False})
"""How an effect ends that was given up before it was done."""


def scheduled_at(moment: datetime | None) -> str | None:
    """The time that a run was scheduled for, as the machine keeps it."""
    return moment.isoformat(timespec="milliseconds") if moment is not None else None


def wire_size(value: Any) -> int:
    """Bytes of the JSON text of `value`."""
    return len(orjson.dumps(value))


def is_rows(value: Any) -> bool:
    """Whether `value` is a row reference, by its looks: whether it was made here is seen where its rows are read (`query.seals`)."""
    if not isinstance(value, dict) or ROWS not in value or len(value) != 1:
        return False
    count = value[ROWS].get("count") if isinstance(value[ROWS], dict) else None
    return type(count) is int and 0 <= count < _MOST_ROWS


def failure(code: str, message: str, details: dict[str, Any] | None = None) -> dict[str, Any]:
    """The error of an effect that failed, the same on every side: an application error brings its own `details`;
    a time-out, a lost worker or a cancellation has only its kind and text."""
    if details:
        return {
            "retryable": False,
            **details,
            "code": details.get("code", code),
            "message": details.get("message", message),
        }
    return {"code": code, "message": message, "retryable": code in ("timeout",)}
