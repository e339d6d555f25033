"""What a request for a run's result says: the form, from where on, what of it, and how long it would wait.

?format= or Accept               ndjson (the default), sse, json, csv, arrow
?after= or Last-Event-ID         only records with a higher number; the header, which a browser sends anew each time it
                                 connects again, goes before the address, which stays the same
?step=                           for csv and arrow: whose rows; ?guard=, ?null=, ?as_json= say how they are written
Prefer: wait=N, respond-async    (RFC 7240) answer when the run has ended, or after N seconds. A preference that is unknown, or
                                 cannot be met, is passed over; `Preference-Applied` says which one was not. With
                                 `handling=strict` it is refused (`gateway.preferences`)
"""

import re
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from fastapi import Header, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from gateway.data.queries import names_of
from gateway.preferences import preferences, unmet
from gateway.problems import ApiError
from gateway.results.negotiation import chosen, require_installed
from query.transfer.streams import null_text

FormName = Literal["ndjson", "sse", "json", "csv", "arrow"]

MEDIA_TYPES: Final[dict[FormName, str]] = {
    "ndjson": "application/x-ndjson",
    "sse": "text/event-stream",
    "json": "application/json",
    "csv": "text/csv",
    "arrow": "application/vnd.apache.arrow.stream",
}
TABLES: Final = {"csv": ("step", "guard", "null"), "arrow": ("step", "as_json")}
"""The forms that have rows instead of records, and the parameters that they take."""
KNOWN: Final[dict[str, FormName]] = {
    **{media_type: form for form, media_type in MEDIA_TYPES.items()},
    "application/ndjson": "ndjson",
    "application/jsonl": "ndjson",
}
_JSON_FIRST: Final[dict[str, FormName]] = {MEDIA_TYPES["json"]: "json", **KNOWN}
"""For an answer that is one record, unless something else is asked for."""
_SECONDS: Final = re.compile("[0-9]{1,9}")
_SEQ: Final = re.compile("[0-9]{1,18}")

LastEventId = Annotated[
    str | None,
    Header(alias="Last-Event-ID", description="as ?after=, and goes before it: the number of the last record"),
]
Prefer = Annotated[
    list[str] | None,
    Header(description="wait=N: answer when the run has ended, at the latest after N seconds; respond-async"),
]


class ResultParameters(BaseModel):
    """How a run's result is read."""

    model_config = ConfigDict(extra="forbid")

    format: str | None = Field(
        None, description="default: by Accept, else ndjson", json_schema_extra={"enum": [*MEDIA_TYPES, None]}
    )
    after: int = Field(0, ge=0, description="only records with a higher seq")
    step: str | None = Field(
        None, description="csv, arrow: the rows of this step, a path or key; default those of the run"
    )
    guard: bool = Field(True, description="csv: an apostrophe before text that a spreadsheet would take for a formula")
    null: str = Field("", description="csv: the text that null is written as; default an empty cell")
    as_json: str = Field("", description="arrow: the columns a,b are JSON text, whatever is in them; * is all")


Parameters = Annotated[ResultParameters, Query()]


@dataclass(frozen=True)
class Asked:
    """A form, and what of the result."""

    form: FormName
    after: int = 0
    step: str | None = None
    guard: bool = True
    null: str = ""
    as_json: tuple[str, ...] = ()
    end: bool = False


@dataclass(frozen=True)
class Wait:
    """For how many seconds a client would wait, and how it said so."""

    seconds: int
    applied: str


def read(request: Request, given: ResultParameters, last_event_id: str | None, *, waits: bool = False) -> Asked:
    """What is asked for; a client that `waits` gets JSON where it does not care. Raises ApiError, InvalidQuery."""
    form = chosen(request, given.format, MEDIA_TYPES, _JSON_FIRST if waits else KNOWN, "a result")
    after = number_of(last_event_id) if last_event_id else given.after
    if form in TABLES and after:
        raise ApiError("invalid_query", f"{form} has rows and no numbers to go on from", pointer="?after")
    for name in ("step", "guard", "null", "as_json"):
        if name in given.model_fields_set and name not in TABLES.get(form, ()):
            hint = " and ".join(table for table, names in TABLES.items() if name in names)
            raise ApiError("invalid_query", f"{form} has no {name}", pointer=f"?{name}", hint=f"it is for {hint}")
    null_text(given.null, "?null")
    require_installed(form)
    return Asked(form, after, given.step, given.guard, given.null, tuple(names_of(given.as_json)))


def wait_of(prefer: list[str] | None) -> Wait | None:
    """How long a client would wait for the end of a run; None if it does not say. Raises ApiError."""
    found = preferences(prefer, ("wait", "respond-async"))
    if _SECONDS.fullmatch(found.get("wait", "")):
        return Wait(int(found["wait"]), f"wait={int(found['wait'])}")
    if "wait" in found and found.get("handling") == "strict":
        raise unmet(f"wait is a whole number of seconds, not {found['wait']!r}")
    return Wait(0, "respond-async") if "respond-async" in found else None


def number_of(text: str) -> int:
    """The number of a Last-Event-ID. Raises ApiError."""
    if not _SEQ.fullmatch(text):
        raise ApiError("invalid_field", f"{text!r} is no number of a record", pointer="Last-Event-ID")
    return int(text)
