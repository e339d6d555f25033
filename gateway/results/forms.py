"""The records of a run as bytes: NDJSON, server-sent events (WHATWG HTML, section 9.2), or a JSON array.

    opening   sent at once            piece(record)   one for each record
    ping      sent in long silences   closing         behind the last record of a stream that is whole

All forms have the same records. A stream that is not whole has a last record of type `error`, or none; the array has no `]` then, so that
no reader takes a part for the whole. A ping is nothing to a reader: a comment among events, white space in an array. NDJSON has
none, since a blank line is no JSON to many readers.
"""

from collections.abc import Mapping
from typing import Any, Final, Protocol

import orjson
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event

from gateway.results.asking import MEDIA_TYPES, FormName

RETRY: Final = 1000
"""Milliseconds after which a browser connects again."""

_KINDS: Final = {
    "error": "error",
    "warning": "warning",
    "compensation": "compensation",
    "progress": "step.progress",
}
_FAILED: Final = ("failed", "canceled")


class Form(Protocol):
    """How records are written. One is made for each stream."""

    media_type: str
    opening: bytes
    ping: bytes
    closing: bytes

    def piece(self, record: Mapping[str, Any]) -> bytes: ...


class Ndjson:
    """A JSON object a line."""

    media_type = MEDIA_TYPES["ndjson"]
    opening = ping = closing = b""

    def piece(self, record: Mapping[str, Any]) -> bytes:
        return orjson.dumps(record) + b"\n"


class ServerSentEvents:
    """An event a record: its number as `id`, its kind as `event`, the record itself as `data`."""

    media_type = MEDIA_TYPES["sse"]
    opening = format_sse_event(retry=RETRY)
    ping = KEEPALIVE_COMMENT
    closing = b""

    def piece(self, record: Mapping[str, Any]) -> bytes:
        number = str(record["seq"]) if "seq" in record else None
        return format_sse_event(id=number, event=event_name(record), data_str=orjson.dumps(record).decode())


class JsonArray:
    """One array, a record a line. It is whole if it ends in `]`."""

    media_type = MEDIA_TYPES["json"]
    opening = b"["
    ping = b"\n"
    closing = b"\n]\n"

    def __init__(self) -> None:
        self._divider = b"\n"

    def piece(self, record: Mapping[str, Any]) -> bytes:
        divider, self._divider = self._divider, b",\n"
        return divider + orjson.dumps(record)


def form_of(name: FormName) -> Form:
    """A form by its name, for one stream; `csv` and `arrow` are none (see `tables`)."""
    forms: dict[FormName, type[Ndjson | ServerSentEvents | JsonArray]] = {
        "ndjson": Ndjson,
        "sse": ServerSentEvents,
        "json": JsonArray,
    }
    return forms[name]()


def event_name(record: Mapping[str, Any]) -> str:
    """The name of a record's event: `run.created`, `step.result`, `rows`, `log`, `step.error`, `run.completed`, ...; of a session's record
    its type."""
    kind, status = record["type"], record.get("status")
    if "session" in record:
        return str(kind)
    if kind == "run":
        return "run.created" if status == "started" else f"run.{status}"
    if kind in _KINDS:
        return _KINDS[kind]
    if status in _FAILED:
        return "step.error"
    if "rows" in record:
        return "rows"
    return "log" if kind == "say" else "step.result"
