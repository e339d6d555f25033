r"""One log for a process, on stderr: text for people, or JSON for machines, one object a line.

    {"time": "2026-11-21T18:20:11.123Z", "level": "info", "logger": "gateway.access", "message": "GET /v1/tools 200", "ms": 0.4, ...}

Modules log as everybody does, by the standard library's loggers; structlog's formatter makes the lines. Each line says where it belongs:

    in a request     request_id, key_id, run_id where the address has one
    in a step        run_id, step (path#iteration), tool, attempt
    in a workflow    run_id
    where traces are made, trace_id

Only the fields of FIELDS are taken from `extra`, so that no library can put things in. Before a line is written, what is secret is taken
out of all its texts,
its traceback included: the values of our secret settings, and what looks like a key (`Redactor`). Text has its control characters
escaped, and tracebacks
are indented, so that no line can be forged.

Of other libraries only warnings are shown, unless the level is debug.
"""

import logging
import re
import sys
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final, Literal, TextIO

import orjson
from starlette.types import Scope
from structlog.processors import ExceptionRenderer
from structlog.stdlib import ExtraAdder, ProcessorFormatter, add_log_level, add_logger_name
from structlog.typing import EventDict, Processor
from temporalio import activity, workflow

REQUEST: ContextVar[Scope | None] = ContextVar("REQUEST", default=None)
"""The request that this is done for."""

FIELDS: Final = ("path", "ms", "bytes", "cut", "run_id", "step", "tool", "attempt", "code", "address", "namespace")
OURS: Final = ("gateway", "worker", "notices", "uvicorn", "temporalio")
HIDDEN: Final = "[redacted]"
_SHORTEST: Final = 6
"""Shorter secrets are not looked for: they are parts of ordinary words."""
_SHAPES: Final = re.compile(
    r"(?P<key>sop_[0-9a-f]{6,16}_)[0-9A-Za-z]+"
    r"|(?P<webhook>whsec_)[A-Za-z0-9+/=_-]+"
    r"|(?P<scheme>\b(?i:bearer|basic)\s+)(?!(?:\[redacted\]))[A-Za-z0-9._~+/=-]{8,}"
    r"|(?P<url>://[^\s/:@]*:)[^\s/@]+(?=@)"
)
_CONTROL: Final = {number: repr(chr(number))[1:-1] for number in (*range(32), *range(127, 160), 0x2028, 0x2029)}


_later: tuple[str, ...] = ()


def hide(secret: str) -> None:
    """Take a secret that became known later out of every line from now on."""
    global _later
    if secret not in _later:
        _later = tuple(sorted({*_later, secret, repr(secret)[1:-1]}, key=len, reverse=True))


class Redactor:
    """Takes secrets out of texts: those that are known, and what looks like an API key, a webhook's secret, credentials of a header or of
    an address."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = {secret for secret in secrets if len(secret) >= _SHORTEST}
        self._known = sorted(known | {repr(secret)[1:-1] for secret in known}, key=len, reverse=True)

    def text(self, text: str) -> str:
        """The text without them."""
        for secret in (*self._known, *_later):
            text = text.replace(secret, HIDDEN)
        return _SHAPES.sub(lambda found: f"{found[found.lastgroup or 0]}{HIDDEN}", text)

    def __call__(self, _logger: Any, _method: str, event: EventDict) -> EventDict:
        """As a processor: in all texts of a line, keys excepted, which are ours."""
        return {name: self._value(value) for name, value in event.items()}

    def _value(self, value: Any) -> Any:
        if value is None or isinstance(value, bool | int | float):
            return value
        return self.text(value if isinstance(value, str) else str(value))


def set_up(
    form: Literal["json", "text"],
    level: str,
    *,
    secrets: Iterable[str] = (),
    stream: TextIO | None = None,
    trace_id: Callable[[], str | None] | None = None,
) -> logging.Handler:
    """Let this process log to `stream` (stderr by default), and nowhere else; gives the handler. `trace_id` tells the trace of a line."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(formatter(form, Redactor(secrets), trace_id))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    wanted = logging.getLevelNamesMapping()[level.upper()]
    root.setLevel(wanted if wanted <= logging.DEBUG else max(wanted, logging.WARNING))
    for name in OURS:
        logging.getLogger(name).setLevel(wanted)
    logging.captureWarnings(True)
    return handler


def formatter(
    form: Literal["json", "text"], redact: Redactor, trace_id: Callable[[], str | None] | None = None
) -> logging.Formatter:
    """What makes lines of records."""

    def traced(_logger: Any, _method: str, event: EventDict) -> EventDict:
        found = trace_id() if trace_id is not None else None
        return event if found is None else {**event, "trace_id": found}

    chain: list[Processor] = [
        _time,
        add_log_level,
        add_logger_name,
        ExtraAdder(FIELDS),
        _place,
        traced,
        ExceptionRenderer(),
    ]
    return ProcessorFormatter(
        foreign_pre_chain=chain,
        processors=[ProcessorFormatter.remove_processors_meta, redact, _json if form == "json" else _text],
    )


def _time(_logger: Any, _method: str, event: EventDict) -> EventDict:
    moment = datetime.fromtimestamp(event["_record"].created, UTC).isoformat(timespec="milliseconds")
    return {"time": moment.replace("+00:00", "Z"), **event}


def _place(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Where a line belongs."""
    found: dict[str, Any] = {}
    if (scope := REQUEST.get()) is not None:
        state = scope.get("state", {})
        found = {name: state.get(name) for name in ("request_id", "key_id")}
        found["run_id"] = scope.get("path_params", {}).get("run_id") or state.get("run_id")
    elif activity.in_activity():
        info = activity.info()
        found = {
            "run_id": info.workflow_id,
            "step": info.activity_id,
            "tool": info.activity_type,
            "attempt": info.attempt,
        }
    elif workflow.in_workflow():
        found = {"run_id": workflow.info().workflow_id}
    return {**event, **{name: value for name, value in found.items() if value is not None and name not in event}}


def _json(_logger: Any, _method: str, event: EventDict) -> str:
    head = {name: event.pop(name) for name in ("time", "level", "logger")}
    line = {**head, "message": event.pop("event"), **event}
    try:
        return orjson.dumps(line).decode()
    except TypeError:  # a lone surrogate, which is no text in UTF-8
        clean = {
            name: value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
            for name, value in line.items()
        }
        return orjson.dumps(clean).decode()


def _text(_logger: Any, _method: str, event: EventDict) -> str:
    time, level, name, message = (event.pop(key) for key in ("time", "level", "logger", "event"))
    trace = event.pop("exception", None)
    fields = "".join(f" {key}={_shown(value)}" for key, value in event.items())
    line = f"{time} {level.upper():7} {name}: {_escaped(message)}{' ' if fields else ''}{fields}"
    return line if trace is None else "\n    ".join([line, *map(_escaped, trace.splitlines())])


def _shown(value: Any) -> str:
    text = _escaped(str(value))
    return text if text and " " not in text and '"' not in text else orjson.dumps(text).decode()


def _escaped(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode().translate(_CONTROL)
