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
from typing import Any, Final

import orjson

WORKFLOW_TYPE: Final = "ScriptWorkflow"
LOAD_ACTIVITY: Final = "load_script"
COMMIT_ACTIVITY: Final = "commit_transaction"
ROLLBACK_ACTIVITY: Final = "rollback_transaction"
CHUNK_ACTIVITY: Final = "run_chunk"
DISPATCH_ACTIVITY: Final = "dispatch_outbox"

MAX_WIRE_BYTES: Final = 64 * 1024
"""The largest JSON text, in bytes, of one value that a run passes to or gets from an effect."""

ROWS: Final = "$rows"
"""The key that marks a row reference."""

SEARCH_ATTRIBUTES: Final = ("SopScript", "SopVersion", "SopDatabase", "SopTrigger", "SopOutcome")
"""Keyword search attributes of every run: script, version (12 hex digits), database, trigger and outcome."""


@dataclass(frozen=True)
class RunInput:
    """What a run gets, and all that it gets.

    `version` is the sha256 of the script (None: the latest when the run starts, as a schedule wants it).
    `programs` carries the compiled programs, the called ones included, when they are small enough;
    otherwise the run loads them by hash. `state` is set only by continue-as-new.
    """

    script: str
    version: str | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    trigger: str = "api"
    dry_run: bool = False
    mocks: list[str] = field(default_factory=list)
    programs: list[dict[str, Any]] | None = None
    state: dict[str, Any] | None = None


@dataclass(frozen=True)
class RunOutput:
    """What a finished run leaves: the script's value and the time of its last step (ISO 8601, UTC)."""

    value: Any
    finished_at: str


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
    """One call of a tool. `key` is stable over retries, restarts and reruns of a conflicted transaction."""

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


@dataclass(frozen=True)
class EndTransaction:
    """Commit or roll back a transaction."""

    transaction: TransactionRef
    run_id: str
    key: str


@dataclass(frozen=True)
class ChunkCall:
    """Run the body of a loop over one chunk of its rows, in one transaction.

    `calls` has every program that the run may reach by its hash, with the versions that its calls were resolved to when the
    run began. `path` is the loop's path in the run, `prefix` and `iteration` those of the frame that it stands in.
    `rows` is the row reference's inner object and `after` the place (hex: the encoded key, or that in a result) behind which to go
    on; or `items` are the elements themselves. `offset` is the ordinal of the first element: iteration numbers, and so
    idempotency keys, count from it.
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
    rows: dict[str, Any] | None = None
    after: str | None = None
    items: list[Any] | None = None
    transaction: TransactionRef | None = None
    dry_run: bool = False
    mocks: list[str] = field(default_factory=list)
    scope: list[str] = field(default_factory=list)


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
    """How an effect ended: `value`, or `error` {code, message, retryable, ...}; `at` is when (ISO 8601, UTC)."""

    value: Any = None
    error: dict[str, Any] | None = None
    at: str | None = None


def wire_size(value: Any) -> int:
    """Bytes of the JSON text of `value`."""
    return len(orjson.dumps(value))


def is_rows(value: Any) -> bool:
    """Whether `value` is a row reference."""
    return isinstance(value, dict) and ROWS in value and len(value) == 1


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
