"""Sessions: conversations in which scripts are written. What comes of a message is a turn, told record by record while it goes on."""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any

from gateway.client.data import Rows
from gateway.client.errors import CutShort
from gateway.client.following import PATIENCE, Records, taken_up
from gateway.client.models import Said, Session
from gateway.client.transport import Transport, given, part


class Turn(Iterator[Said]):
    """The records of one turn, while it goes on, to its end. `last_seq` is that of the last one seen; `end` is the turn's own, once it has
    come. `key` is the message's: sending it again reads the same turn.

    Leaving early (`close`, or the end of a `with`) stops nothing.
    """

    def __init__(self, session_id: str, key: str, records: Records, after: int = 0) -> None:
        self.session_id = session_id
        self.key = key
        self.last_seq = after
        self.end: Said | None = None
        self._records = records

    def __next__(self) -> Said:
        said = Said.of(next(self._records))
        self.last_seq = said.seq or self.last_seq
        if said.type == "turn":
            self.end = said
        return said

    @property
    def status(self) -> str | None:
        """How it ended: completed, waiting (for a decision), canceled, failed, limited; None while it goes on."""
        return self.end.record["status"] if self.end is not None else None

    def text(self) -> str:
        """Read on to the end; what the author said, its texts divided by blank lines. Raises CutShort for a turn that was left before."""
        texts = [said.text or "" for said in self if said.type == "text"]
        if self.end is None:
            raise CutShort("cut_short", "the turn was left before its end", retryable=True)
        return "\n\n".join(filter(None, texts))

    def close(self) -> None:
        close: Callable[[], None] | None = getattr(self._records, "close", None)
        if close is not None:
            close()

    def __enter__(self) -> "Turn":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Sessions:
    """The sessions of the key."""

    def __init__(self, gateway: Transport, patience: float = PATIENCE) -> None:
        self._gateway = gateway
        self._patience = patience

    def create(
        self,
        title: str = "",
        *,
        database: str | None = None,
        time_zone: str | None = None,
        grants: Sequence[str] = (),
        stub: bool = False,
        model: str | None = None,
        limits: Mapping[str, int] | None = None,
    ) -> Session:
        """Begin one. `time_zone` is the person's (IANA), in which schedules are meant; `grants` narrow what the key may do in it; `stub`:
        all tools answer without effect; `limits` are lower than usual."""
        body = given(
            {"title": title, "grants": list(grants), "stub": stub},
            database=database,
            time_zone=time_zone,
            model=model,
            limits=limits,
        )
        return Session.of(self._gateway.post("/v1/sessions", json=body))

    def list(self, limit: int | None = None, *, status: str | None = None) -> Iterator[Session]:
        """One's own, newest first; with `admin` everybody's. `status`: open, closed."""
        return map(Session.of, self._gateway.pages("/v1/sessions", limit, status=status))

    def get(self, session_id: str) -> Session:
        """How a session stands, and what waits for a decision."""
        return Session.of(self._gateway.get(path_of(session_id)))

    def change(self, session_id: str, **fields: Any) -> Session:
        """Another `title`, `database` or `time_zone` (None: none is meant any more)."""
        return Session.of(self._gateway.request("PATCH", path_of(session_id), json=fields))

    def send(self, session_id: str, text: str, *, idempotency_key: str | None = None, after: int = 0) -> Turn:
        """Say something; what comes of it, as it comes. A connection that is cut is taken up behind the last record seen.

        With the same key it is the same message, and its turn is read (on, behind `after`).
        """
        return self._turn(session_id, "/messages", {"text": text}, idempotency_key, after)

    def decide(
        self,
        session_id: str,
        approval: str,
        *,
        approved: bool,
        comment: str = "",
        idempotency_key: str | None = None,
        after: int = 0,
    ) -> Turn:
        """Approve or reject what waits; what comes of it, as it comes. Raises Conflict `not_waiting` with the first record."""
        body = {"approved": approved, "comment": comment}
        return self._turn(session_id, f"/approvals/{part(approval)}", body, idempotency_key, after)

    def stop(self, session_id: str) -> bool:
        """End the turn that is under way; whether there was anybody to tell."""
        return bool(self._gateway.post(path_of(session_id, ":stop"))["stopping"])

    def close(self, session_id: str) -> None:
        """Close it: it stays, and takes no more messages."""
        self._gateway.request("DELETE", path_of(session_id))

    def records(self, session_id: str, after: int = 0, *, follow: bool = False) -> Iterator[Said]:
        """What was said behind `after`; with `follow` also what is said from now on, until the session is closed. Raises like `send`."""
        params = {"follow": True} if follow else {}

        def again(after: int) -> Records:
            return self._gateway.stream("GET", path_of(session_id, "/records"), params={**params, "after": after})

        if not follow:
            last = self._gateway.get(path_of(session_id))["records"]
            if after >= last:
                return iter(())
        is_last = _is_closing if follow else lambda record: bool(record["seq"] >= last)
        hint = f"read {session_id} on after record"
        return map(Said.of, taken_up(lambda: again(after), again, is_last, after, self._patience, hint))

    def rows(self, session_id: str, seq: int) -> Rows:
        """The rows of a tool's result, as they were then, all of them. Raises Conflict `no_result` for a record without any."""
        opened = ExitStack()
        params = {"format": "ndjson", "end": True}
        address = path_of(session_id, f"/records/{seq}/rows")
        return Rows(opened.enter_context(self._gateway.download(address, params=params)), opened)

    def _turn(
        self, session_id: str, where: str, body: Mapping[str, Any], idempotency_key: str | None, after: int
    ) -> Turn:
        key = idempotency_key or str(uuid.uuid4())
        headers = {"Idempotency-Key": key}

        def again(after: int) -> Records:
            address = path_of(session_id, where)
            return self._gateway.stream("POST", address, json=body, headers=headers, params={"after": after})

        hint = f"the session goes on: read {session_id} on after record"
        records = taken_up(
            lambda: again(after),
            again,
            lambda record: record["type"] == "turn",
            after,
            self._patience,
            hint,
            notices=True,
        )
        return Turn(session_id, key, records, after)


def _is_closing(record: Mapping[str, Any]) -> bool:
    return record["type"] == "notice" and record.get("code") == "session_closed"


def path_of(session_id: str, more: str = "") -> str:
    """The path of a session."""
    return f"/v1/sessions/{part(session_id)}{more}"
