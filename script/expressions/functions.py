"""What the language adds to CEL: more functions, and arithmetic of int with double.

    scheduled_at()                  the time that a schedule started the run for, as text; null in other runs
    now() today()                   the run's clock, as a timestamp and as YYYY-MM-DD; constant within a step
    date(x)                         a timestamp from an ISO date or date-time
    days_since(x) days_between(a, b)   whole days from x until now, from a until b
    sum avg min max (list)          null elements left out; sum of nothing is 0, the others of nothing are null
    min(a, b) max(a, b) abs round   round(x) gives an int, halves away from zero; round(x, digits) a double
    len json parse_json hash        len is size; hash is the SHA-256 of a string, in hex
    uuid()                          from run, step and iteration: the same when a step is tried again
    coalesce(a, b)                  b where a is null

Division of two ints is CEL's: it truncates (7 / 2 == 3); 7 / 2.0 == 3.5. What `now` and `uuid` need is passed in a context
variable, set around each evaluation: functions of the runtime take no hidden arguments.
"""

import hashlib
import math
import uuid as uuids
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, date, datetime
from typing import Any, Final

import orjson
from cel_expr_python import cel

from script.expressions.nul import answering

_NAMESPACE: Final = uuids.UUID("6f1c1a52-94b1-4a29-8d0e-7a7f1c0f8f5e")


class EvaluationContext:
    """What an evaluation may know beside its variables: the run's time, a seed for ids, and the time that a schedule started the run for
    (ISO 8601). Time and seed may be functions, asked when they are wanted."""

    __slots__ = ("_now", "_seed", "scheduled_at")

    def __init__(
        self, now: datetime | Callable[[], datetime], seed: str | Callable[[], str], scheduled_at: str | None = None
    ) -> None:
        self._now = now
        self._seed = seed
        self.scheduled_at = scheduled_at

    @property
    def now(self) -> datetime:
        """The time."""
        return self._now if isinstance(self._now, datetime) else self._now()

    @property
    def seed(self) -> str:
        """The seed."""
        return self._seed if isinstance(self._seed, str) else self._seed()


class Current:
    """The evaluation that runs here: its context, and how many ids it has made. Each thread and task has its own."""

    def __init__(self) -> None:
        self._evaluation: ContextVar[list[Any]] = ContextVar("evaluation")

    def begin(self, context: EvaluationContext) -> None:
        """An evaluation begins."""
        self._evaluation.set([context, 0])

    @property
    def context(self) -> EvaluationContext:
        context: EvaluationContext = self._evaluation.get()[0]
        return context

    def next_id(self) -> int:
        """The number of the next id of this evaluation, from 1."""
        evaluation = self._evaluation.get()
        evaluation[1] += 1
        return int(evaluation[1])


def extension(current: Current) -> cel.CelExtension:
    """The functions, bound to a place for the current context."""
    dyn, text, whole, double = cel.Type.DYN, cel.Type.STRING, cel.Type.INT, cel.Type.DOUBLE
    items = cel.Type.List(dyn)

    def make_uuid() -> str:
        seed = current.context.seed
        return str(uuids.uuid5(_NAMESPACE, f"{seed if isinstance(seed, str) else seed()}/{current.next_id()}"))

    functions: list[tuple[str, list[Any], Any, Callable[..., Any]]] = [
        ("now", [], cel.Type.TIMESTAMP, lambda: current.context.now),
        ("scheduled_at", [], dyn, lambda: current.context.scheduled_at),
        ("today", [], text, lambda: current.context.now.date().isoformat()),
        ("date", [text], cel.Type.TIMESTAMP, _moment),
        ("date", [cel.Type.TIMESTAMP], cel.Type.TIMESTAMP, _moment),
        ("days_since", [dyn], whole, lambda value: days_between(value, current.context.now)),
        ("days_between", [dyn, dyn], whole, days_between),
        ("sum", [items], dyn, lambda values: total(present(values))),
        ("avg", [items], dyn, lambda values: average(present(values))),
        ("min", [items], dyn, lambda values: min(present(values), default=None)),
        ("max", [items], dyn, lambda values: max(present(values), default=None)),
        ("min", [dyn, dyn], dyn, lambda a, b: min(a, b)),
        ("max", [dyn, dyn], dyn, lambda a, b: max(a, b)),
        ("abs", [whole], whole, abs),
        ("abs", [double], double, abs),
        ("round", [whole], whole, lambda value: value),
        ("round", [double], whole, _round),
        ("round", [double, whole], double, lambda value, digits: _round(value * 10**digits) / 10**digits),
        ("len", [dyn], whole, len),
        ("json", [dyn], text, lambda value: orjson.dumps(plain(value)).decode()),
        ("parse_json", [text], dyn, orjson.loads),
        ("hash", [text], text, lambda value: hashlib.sha256(value.encode()).hexdigest()),
        ("uuid", [], text, make_uuid),
        ("coalesce", [dyn, dyn], dyn, lambda a, b: b if a is None else a),
    ]
    return cel.CelExtension("sop", _declared(functions) + _arithmetic())


def _declared(functions: list[tuple[str, list[Any], Any, Callable[..., Any]]]) -> list[cel.FunctionDecl]:
    overloads: dict[str, list[cel.Overload]] = {}
    for name, parameters, result, implementation in functions:
        known = overloads.setdefault(name, [])
        work = answering(implementation) if result == cel.Type.DYN else implementation
        known.append(cel.Overload(f"sop_{name}_{len(known)}", result, parameters, False, work))
    return [cel.FunctionDecl(name, known) for name, known in overloads.items()]


def _arithmetic() -> list[cel.FunctionDecl]:
    """int with double, both ways round, gives double."""
    whole, double = cel.Type.INT, cel.Type.DOUBLE
    operations: dict[str, Callable[[Any, Any], Any]] = {
        "_+_": lambda a, b: a + b,
        "_-_": lambda a, b: a - b,
        "_*_": lambda a, b: a * b,
        "_/_": _divide,
    }
    return [
        cel.FunctionDecl(
            name,
            [
                cel.Overload(f"sop_{name}_id", double, [whole, double], False, work),
                cel.Overload(f"sop_{name}_di", double, [double, whole], False, work),
            ],
        )
        for name, work in operations.items()
    ]


def _divide(left: float, right: float) -> float:
    return left / right if right else math.copysign(math.inf, left) if left else math.nan


def _moment(value: Any) -> datetime:
    """A time, from an ISO date or date-time; without a zone it is UTC."""
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str):
        raise ValueError(f"a date is text such as 2026-01-31, not {value!r}")
    found = datetime.fromisoformat(value)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _day(value: Any) -> date:
    if isinstance(value, str) and len(value) == 10:
        return date.fromisoformat(value)
    return _moment(value).astimezone(UTC).date()


def days_between(since: Any, until: Any) -> int:
    """Days from one date to another."""
    return (_day(until) - _day(since)).days


def present(values: list[Any]) -> list[Any]:
    """The values that are not null."""
    return [value for value in values if value is not None]


def total(values: list[Any]) -> Any:
    """The sum, exact until its end."""
    if any(isinstance(value, float) for value in values):
        return math.fsum(values)
    return sum(values)


def average(values: list[Any]) -> float | None:
    """The mean; null of no values."""
    return math.fsum(values) / len(values) if values else None


def _round(value: float) -> int:
    return math.floor(abs(value) + 0.5) * (1 if value >= 0 else -1)


def plain(value: Any) -> Any:
    """A value of the runtime as JSON: timestamps as ISO text, durations as seconds, fields by their names: the runtime has them in
    an order of its own, another one in each process.

    Raises ValueError for what JSON has no form for: bytes, types, NaN and infinity, keys that are not text.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"the number is {value}, which JSON cannot hold")
        return value
    if isinstance(value, list):
        return [plain(element) for element in value]
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise ValueError("the keys of a map have to be text")
        return {key: plain(value[key]) for key in sorted(value)}
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds")
    if hasattr(value, "total_seconds"):
        return value.total_seconds()
    raise ValueError(f"a value of type {type(value).__name__} has no JSON form")
