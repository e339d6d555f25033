"""A run's events to their end, and those of a turn in a session, whatever happens to the connection meanwhile.

Events have numbers, and a run has the same ones however often it is read. So a stream that was cut, or that a stopping gateway ended, is
taken up behind the last event seen: nothing is lost and nothing comes twice. A stream never ends without the run's end: it raises.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Final

from gateway.client.errors import CutShort, GatewayFailed, RunFailed, TimedOut, Unreachable, refused
from gateway.client.models import Event
from gateway.client.transport import Transport, part

PATIENCE: Final = 30.0
"""Seconds without an event or a gateway, after which a stream is given up."""
_PAUSE: Final = 0.5
_PASSING: Final = (Unreachable, TimedOut, GatewayFailed)

Records = Iterator[dict[str, Any]]


def address(run_id: str, more: str = "") -> str:
    """The path of a run."""
    return f"/v1/runs/{part(run_id)}{more}"


def unbroken(
    gateway: Transport, run_id: str, opened: Callable[[], Records], after: int = 0, patience: float = PATIENCE
) -> Records:
    """The records of a run's events, to its end.

    `opened` asks for the stream, and is asked again for as long as nothing has come (a start with an idempotency key may be repeated).
    Raises what it raises at first; CutShort, Unreachable, ... when the gateway is away for longer than `patience`; Refused for an error
    in the stream.
    """

    def again(after: int) -> Records:
        return opened() if after == 0 else gateway.stream("GET", address(run_id, "/events"), params={"after": after})

    def is_last(record: Mapping[str, Any]) -> bool:
        return bool(record["type"] == "run" and record["status"] != "started")

    return taken_up(opened, again, is_last, after, patience, f"the run goes on: follow {run_id} after event")


def taken_up(
    opened: Callable[[], Records],
    again: Callable[[int], Records],
    is_last: Callable[[Mapping[str, Any]], bool],
    after: int,
    patience: float,
    goes_on: str,
    *,
    notices: bool = False,
) -> Records:
    """The records of a stream to the one that `is_last`: where it is cut, what `again` gives from behind the last one seen.

    Records without a number are told, too, if they are `notices`. Raises like `unbroken`; `goes_on` is what CutShort's hint says.
    """
    reached = after > 0
    deadline = time.monotonic() + patience
    records = opened()
    while True:
        began = time.monotonic()
        came = False
        try:
            for record in records:
                reached = came = True
                if record["type"] == "error":
                    if not record["error"]["retryable"]:
                        raise refused(record["error"]["status"], record["error"])
                    break
                if "seq" not in record:
                    if notices:
                        yield record
                    continue
                after = record["seq"]
                yield record
                if is_last(record):
                    return
            reached = True
            if (
                came or time.monotonic() - began > patience
            ):  # a connection that was silent for long was none the less there
                deadline = time.monotonic() + patience
        except _PASSING as error:
            if not reached or time.monotonic() > deadline or not error.retryable:
                raise
        if time.monotonic() > deadline:
            raise CutShort("cut_short", "the stream was cut", hint=f"{goes_on} {after}", retryable=True)
        time.sleep(_PAUSE)
        records = again(after)


class RunEvents(Iterator[Event]):
    """The events of one run, live, to its end. `last_seq` is that of the last event seen; `end` is the run's own, once it has come.

    Iterating ends with the run, however that ended; `result` tells. Leaving early (`close`, or the end of a `with`) does not stop the run.
    """

    def __init__(self, run_id: str, records: Records, after: int = 0) -> None:
        self.run_id = run_id
        self.last_seq = after
        self.end: Event | None = None
        self._records = records

    def __next__(self) -> Event:
        event = Event.of(next(self._records))
        self.last_seq = event.seq
        if event.is_end:
            self.end = event
        return event

    def result(self) -> Any:
        """Read on to the end; the run's value (a reference to rows for rows). Raises RunFailed if it did not complete."""
        for _ in self:
            pass
        if self.end is None:
            raise CutShort("cut_short", "the events were left before their end", retryable=True)
        if self.end.status != "completed":
            raise RunFailed(self.run_id, self.end.status, self.end.record.get("error"))
        return self.end.rows if self.end.rows is not None else self.end.result

    def close(self) -> None:
        close: Callable[[], None] | None = getattr(self._records, "close", None)
        if close is not None:
            close()

    def __enter__(self) -> "RunEvents":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


__all__ = ["PATIENCE", "RunEvents", "address", "taken_up", "unbroken"]
