"""The conversation: messages one after the other, what comes of them, and the decisions that are asked for.

Ctrl-C while a turn goes on stops the turn, and a second time leaves it alone; at the prompt it forgets the line. Ctrl-D leaves; the session
stays.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Protocol

from gateway.cli.chat.lines import Lines
from gateway.cli.chat.shown import Shown
from gateway.cli.failures import RUN_FAILED, UNREACHABLE, CommandFailed, of_error
from gateway.cli.failures import told as explained
from gateway.cli.texts import check_text
from gateway.client.errors import CutShort, GatewayError
from gateway.client.sessions import Sessions, Turn

Ask = Callable[[str], str]
LEAVE: Final = ("/quit", "/exit")
_YES: Final = ("y", "yes")
"""Nothing else is taken for a yes: "yes, but ..." is none."""
_NO: Final = re.compile(r"no?\b[\s,.:;-]*(.*)", re.IGNORECASE | re.DOTALL)

LOOKED_BACK: Final = 100
"""Records that are looked at for what came since the last turn."""
_DECISION: Final = re.compile(r"/(approve|reject)\b", re.IGNORECASE)


class Show(Protocol):
    """Takes records."""

    def __call__(self, record: dict[str, Any]) -> None: ...


class Conversation:
    """One session, as somebody talks in it."""

    def __init__(self, sessions: Sessions, session_id: str, show: Show, tell: Callable[[str], None]) -> None:
        self._sessions = sessions
        self._id = session_id
        self._show = show
        self._tell = tell

    def say(self, text: str) -> str:
        """Say something, and show what comes of it; how the turn ended. Raises GatewayError, and CommandFailed for what is no text."""
        check_text("message", text)
        return self._follow(lambda key, after: self._sessions.send(self._id, text, idempotency_key=key, after=after))

    def decide(self, approval: str, *, approved: bool, comment: str = "") -> str:
        """Decide, and show what comes of it; how the turn ended. Raises GatewayError."""

        def send(key: str | None, after: int) -> Turn:
            return self._sessions.decide(
                self._id, approval, approved=approved, comment=comment, idempotency_key=key, after=after
            )

        return self._follow(send)

    def _follow(self, send: Callable[[str | None, int], Turn]) -> str:
        turn = send(None, 0)
        try:
            self._take(turn)
        except KeyboardInterrupt:
            self._tell("stopping; Ctrl-C again leaves it alone")
            self._sessions.stop(self._id)
            turn = send(turn.key, turn.last_seq)  # the interrupted stream is gone, the turn is not
            self._take(turn)
        return turn.status or "canceled"

    def _take(self, turn: Turn) -> None:
        with turn:
            for said in turn:
                self._show(dict(said.record))


def talk(conversation: Conversation, sessions: Sessions, session_id: str, lines: Lines, shown: Shown) -> None:
    """Talk until Ctrl-D, or `/quit`. What goes wrong with one message is told, and the next one is asked for."""
    session = sessions.get(session_id)
    for record in _since_last_turn(sessions, session_id, session.record["records"]):
        shown(record)
    for pending in session.pending:
        shown(pending.shown or {"type": "notice", "text": pending.what})
    left: set[str] = set()
    while True:
        try:
            text = lines.read("> ").strip()
        except KeyboardInterrupt:
            shown({"type": "notice", "text": "Ctrl-D leaves"})
            continue
        except EOFError:
            return
        if text in LEAVE:
            return
        if not text:
            continue
        try:
            status = conversation.say(text)
            while status == "waiting" and (status := _decided(conversation, sessions, session_id, lines.read, left)):
                pass
            shown.verbose = bool(sessions.get(session_id).record.get("verbose"))
        except KeyboardInterrupt:
            shown({"type": "notice", "text": "the turn goes on without you"})
        except EOFError:
            return
        except (GatewayError, CommandFailed) as error:
            failed = error if isinstance(error, CommandFailed) else of_error(error)
            for line in failed.lines:
                shown({"type": "notice", "text": line})


def _since_last_turn(sessions: Sessions, session_id: str, count: int) -> list[dict[str, Any]]:
    """The notices that came while nobody talked: of schedules that were made here, mostly."""
    found: list[dict[str, Any]] = []
    for said in sessions.records(session_id, after=max(0, count - LOOKED_BACK)):
        found = [] if said.type == "turn" else [*found, dict(said.record)]
    return [record for record in found if record["type"] == "notice"]


def _decided(conversation: Conversation, sessions: Sessions, session_id: str, ask: Ask, left: set[str]) -> str:
    """Ask for what waits, but for what was `left` waiting; how the turn of the decision ended, empty if there was none."""
    for pending in sessions.get(session_id).pending:
        if pending.id in left:
            continue
        answer = ask("approve? yes, no (and why), or Enter to leave it waiting: ").strip()
        if answer.lower() in _YES:
            return conversation.decide(pending.id, approved=True)
        if refused := _NO.fullmatch(answer):
            return conversation.decide(pending.id, approved=False, comment=refused[1])
        left.add(pending.id)
    return ""


def say_all(conversation: Conversation, texts: Iterable[str]) -> None:
    """Say one thing after the other, as long as all goes well; what waits for a decision may be decided by the next line (`/approve`,
    `/reject`). Ends the command with what did not."""
    with explained():
        try:
            status = "completed"
            for text in _spoken(texts):
                if status != "waiting" or not _DECISION.match(text):
                    ended(status)
                status = conversation.say(text)
            ended(status)
        except CutShort as error:
            raise CommandFailed(UNREACHABLE, f"error: {error.message}", f"hint: {error.hint}") from None


def ended(status: str) -> None:
    """Ends the command as a turn ended."""
    if status != "completed":
        missing = ["a decision is missing: sop session approve|reject ID"] if status == "waiting" else []
        raise CommandFailed(RUN_FAILED, *missing)


def _spoken(texts: Iterable[str]) -> Iterator[str]:
    return (text for text in map(str.strip, texts) if text)
