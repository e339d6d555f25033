"""What the gateway tells, typed. Fields that a newer gateway adds are in `record`, which is what came."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Record = Mapping[str, Any]


def moment(text: str | None) -> datetime | None:
    """A time of the gateway."""
    return datetime.fromisoformat(text) if text else None


@dataclass(frozen=True)
class ScriptProblem:
    """What is wrong with a script, or worth saying about it (`severity` error, warning, notice)."""

    code: str
    pointer: str
    message: str
    hint: str | None
    severity: str

    @classmethod
    def of(cls, record: Record) -> "ScriptProblem":
        return cls(record["code"], record["pointer"], record["message"], record.get("hint"), record["severity"])


@dataclass(frozen=True)
class ScriptVersion:
    """An immutable version of a script: its `number`, its hash (`version`), and its text, where it was asked for."""

    name: str
    number: int
    version: str
    saved_at: datetime | None
    author: str | None
    script: Mapping[str, Any] | None
    notices: Sequence[ScriptProblem]
    record: Record = field(repr=False)

    @classmethod
    def of(cls, record: Record) -> "ScriptVersion":
        notices = tuple(map(ScriptProblem.of, record.get("notices", ())))
        saved_at, author = moment(record.get("saved_at")), record.get("author")
        return cls(
            record["name"], record["number"], record["version"], saved_at, author, record.get("script"), notices, record
        )


@dataclass(frozen=True)
class ScriptReview:
    """What a script does to the world, as `record` tells it, and what is worth saying (`severity` error, warning, notice)."""

    findings: Sequence[ScriptProblem]
    record: Record = field(repr=False)

    @classmethod
    def of(cls, record: Record) -> "ScriptReview":
        return cls(tuple(map(ScriptProblem.of, record["findings"])), record)


@dataclass(frozen=True)
class Started:
    """A run that was started."""

    id: str
    script: str
    record: Record = field(repr=False)


@dataclass(frozen=True)
class Failure:
    """Why a step or a run failed."""

    code: str
    message: str
    step: str | None
    hint: str | None
    record: Record = field(repr=False)

    @classmethod
    def of(cls, record: Record | None) -> "Failure | None":
        if not record:
            return None
        message = record.get("message") or record.get("detail") or ""
        return cls(record["code"], message, record.get("step"), record.get("hint"), record)


@dataclass(frozen=True)
class Event:
    """One event of a run. `key` names the execution of a step: its path, and its iteration behind `#`. `rows` is a reference to rows."""

    seq: int
    run_id: str
    type: str
    status: str
    path: str | None
    iteration: tuple[int, ...]
    result: Any
    rows: Record | None
    error: Failure | None
    duration_ms: float | None
    record: Record = field(repr=False)

    @classmethod
    def of(cls, record: Record) -> "Event":
        return cls(
            record["seq"],
            record["run_id"],
            record["type"],
            record["status"],
            record.get("path"),
            tuple(record.get("iteration") or ()),
            record.get("result"),
            record.get("rows"),
            Failure.of(record.get("error")),
            record.get("duration_ms"),
            record,
        )

    @property
    def key(self) -> str | None:
        if not self.iteration:
            return self.path
        return f"{self.path}#{'.'.join(map(str, self.iteration))}"

    @property
    def is_end(self) -> bool:
        """Whether it is the run's last."""
        return self.type == "run" and self.status != "started"


@dataclass(frozen=True)
class Run:
    """How a run stands."""

    id: str
    script: str | None
    version: str | None
    state: str
    outcome: str | None
    arguments: Mapping[str, Any] | None
    started_at: datetime | None
    ended_at: datetime | None
    output: Any
    error: Failure | None
    record: Record = field(repr=False)

    @classmethod
    def of(cls, record: Record) -> "Run":
        return cls(
            record["id"],
            record["script"],
            record["version"],
            record["state"],
            record.get("outcome"),
            record.get("arguments"),
            moment(record.get("started_at")),
            moment(record.get("ended_at")),
            record.get("output"),
            Failure.of(record.get("error")),
            record,
        )


@dataclass(frozen=True)
class Draft:
    """A script that is being written. `base`: the version that it was made of, or published as last; `ok`: it could be published."""

    id: str
    name: str
    revision: int
    base: str | None
    ok: bool
    problems: tuple[ScriptProblem, ...]
    script: Record
    record: Record = field(repr=False)

    @classmethod
    def of(cls, record: Record) -> "Draft":
        problems = tuple(map(ScriptProblem.of, record["problems"]))
        head = (record["id"], record["name"], record["revision"], record["base"])
        return cls(*head, record["ok"], problems, record["script"], record)


@dataclass(frozen=True)
class Pending:
    """Something in a session that waits for a decision: `what` it is, in a sentence, and the record that showed it."""

    id: str
    what: str
    tool: str | None
    args: Record
    shown: Record | None

    @classmethod
    def of(cls, record: Record) -> "Pending":
        return cls(record["id"], record["what"], record.get("tool"), record.get("args", {}), record.get("shown"))


@dataclass(frozen=True)
class Session:
    """A conversation in which scripts are written. `turn`: {number, status, ...}. `pending` and `usage` are empty in a list."""

    id: str
    title: str
    status: str
    owner: str
    database: str | None
    draft: str | None
    created_at: datetime | None
    updated_at: datetime | None
    turn: Record
    pending: tuple[Pending, ...]
    usage: Record
    record: Record = field(repr=False)

    @classmethod
    def of(cls, record: Record) -> "Session":
        return cls(
            record["id"],
            record["title"],
            record["status"],
            record["owner"],
            record["database"],
            record["draft"],
            moment(record["created_at"]),
            moment(record["updated_at"]),
            record["turn"],
            tuple(map(Pending.of, record.get("pending", ()))),
            record.get("usage", {}),
            record,
        )


@dataclass(frozen=True)
class Said:
    """A record of a session: `type` is user, text_delta, text, tool_call, tool_result, card, notice, turn, ...; `record` has the rest. A
    notice of the stream itself has no `seq`."""

    type: str
    seq: int | None
    turn: int | None
    text: str | None
    record: Record = field(repr=False)

    @classmethod
    def of(cls, record: Record) -> "Said":
        return cls(record["type"], record.get("seq"), record.get("turn"), record.get("text"), record)


@dataclass(frozen=True)
class Approval:
    """A decision that a run waits for."""

    run_id: str
    script: str | None
    id: str
    step: str
    by: tuple[str, ...]
    prompt: str | None


@dataclass(frozen=True)
class Schedule:
    """A schedule, and the next times that it fires."""

    id: str
    script: str | None
    time_zone: str
    paused: bool | None
    next_runs: tuple[datetime, ...]
    warnings: tuple[str, ...]
    record: Record = field(repr=False)

    @classmethod
    def of(cls, record: Record) -> "Schedule":
        times = tuple(datetime.fromisoformat(found["local"]) for found in record.get("next_runs", ()))
        told = tuple(found["message"] for found in record.get("warnings", ()))
        return cls(record["id"], record["script"], record["time_zone"], record["paused"], times, told, record)


@dataclass(frozen=True)
class DueTime:
    """A time that a schedule fires at; `run_id` is the run that was started for it, if it is past and one was."""

    at: datetime
    run_id: str | None


@dataclass(frozen=True)
class Reject:
    """A line of an import that was not stored."""

    line: int
    code: str
    message: str
    text: str | None = None


@dataclass(frozen=True)
class ImportReport:
    """How an import ended; `stopped`: more lines were rejected than allowed. `rejected` has the first thousand."""

    imported: int
    rejected_count: int
    rejected: tuple[Reject, ...]
    stopped: bool
    seconds: float
