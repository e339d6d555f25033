"""sop chat and sop session: in pipes against a real gateway; at the prompt with lines that a person could have typed; cards from recorded records."""

import asyncio
import io
import json
import os
import pty
import select
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from rich.console import Console

from gateway.cli.chat.cards import card_lines
from gateway.cli.chat.lines import WORDS, Completion, history_file
from gateway.cli.chat.loop import Conversation
from gateway.cli.chat.loop import talk as converse
from gateway.cli.chat.shown import FIRST, Shown
from gateway.cli.chat.zone import local_zone
from gateway.client import Client
from tests.gateway.conftest import Gateway, Sop, listening
from tests.gateway.talking import CARDS, MANY, Talk, talking
from toolbox.authoring.commands import words

GOLDEN = Path(__file__).parent / "golden" / "chat"


@pytest_asyncio.fixture(loop_scope="session")
async def talk(gateway: Gateway) -> AsyncIterator[Talk]:
    async with talking(gateway) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def url(talk: Talk) -> AsyncIterator[str]:
    async with listening(replace(talk.services, stopping=asyncio.Event())) as found:
        yield found


def id_of(err: str) -> str:
    return err.split()[err.split().index("session") + 1]


async def test_a_message_in_a_pipe(sop: Sop) -> None:
    said = await sop("chat", "hello")
    assert (said.code, said.out) == (0, "hello\n")
    session = id_of(said.err)
    again = await sop("chat", "--session", session, "--title", "mine", "hello", "-o", "ndjson")
    found = [json.loads(line) for line in again.out.splitlines()]
    assert [record["type"] for record in found] == ["user", "text_delta", "text_delta", "text", "turn"]
    assert {record["turn"] for record in found} == {2} and "session" not in again.err
    shown = (await sop("session", "show", session, "-o", "json")).json
    assert (shown["title"], shown["turn"]["number"]) == ("mine", 2)
    assert (await sop("chat", "--session", "nobodys", "hello")).code == 3
    assert (await sop("chat", "--session", session, "--stub", "hello")).code == 2
    assert (await sop("chat", "--database", "nowhere", "hello")).code == 3
    quiet = await sop("chat", "-q", "few")
    assert (quiet.code, quiet.err) == (0, "")
    assert [line.split() for line in quiet.out.splitlines()] == [["id", "city"], ["1", "Rome"], ["2"]]


async def test_lines_of_stdin_are_messages(sop: Sop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("hello\n\n  few  \nmail\nhello\n"))
    said = await sop("chat", "--stub")
    assert (said.code, said.out.splitlines()[0]) == (1, "hello")
    assert "sop session approve|reject ID" in said.err  # and what stands behind it was not said
    session = id_of(said.err)
    shown = (await sop("session", "show", session, "-o", "json")).json
    assert (shown["turn"], shown["stub"]) == (shown["turn"] | {"number": 3, "status": "waiting"}, True)


async def test_a_line_that_is_no_text_ends_the_command(sop: Sop, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = io.TextIOWrapper(io.BytesIO(b"hello\nhello \xff\nhello\n"), "utf-8", errors="surrogateescape")
    monkeypatch.setattr("sys.stdin", lines)
    said = await sop("chat")
    assert (said.code, said.out) == (2, "hello\n")
    assert "error: message is not UTF-8: 'hello \\udcff'" in said.err


async def test_sessions_from_outside(sop: Sop, talk: Talk) -> None:
    session = id_of((await sop("chat", "mail")).err)
    listed = (await sop("session", "list", "-o", "json")).json
    assert [(found["id"], found["waiting"]) for found in listed[:1]] == [(session, 1)]
    assert (await sop("session", "approve", session, "a9")).code == 5
    approved = await sop("session", "approve", session, "--comment", "fine")
    assert approved.code == 0 and "+ send_email" in approved.err
    assert (await sop("session", "reject", session)).code == 5
    await sop("chat", "--session", session, "mail")
    rejected = await sop("session", "reject", session, "-o", "ndjson")
    assert json.loads(rejected.out.splitlines()[0])["approved"] is False
    log = await sop("session", "log", session)
    assert "> mail" in log.err and "Send a mail to anna@example.com" in log.err
    records = [json.loads(line) for line in (await sop("session", "log", session, "-o", "ndjson")).out.splitlines()]
    assert [record["seq"] for record in records] == list(range(1, len(records) + 1))
    later = await sop("session", "log", session, "--after", str(len(records) - 1), "-o", "ndjson")
    assert json.loads(later.out) == records[-1]
    seq = str(await asyncio.to_thread(talk.many_rows, session))
    assert len((await sop("session", "rows", session, seq)).out.splitlines()) == MANY
    assert (await sop("session", "rows", session, seq, "-o", "csv")).out.startswith("id,city\r\n0,Rome")
    assert (await sop("session", "rows", session, "1")).code == 5
    assert (await sop("session", "stop", session)).code == 0
    assert (await sop("session", "close", session)).code == 0
    followed = await sop("session", "log", session, "--follow")
    assert "the session is closed" in followed.err
    assert (await sop("chat", "--session", session, "hello")).code == 5
    assert session in (await sop("session", "list", "--status", "closed")).out


class Prompt:
    """Gives lines as a person would type them; what is an exception is raised."""

    def __init__(self, *lines: str | type[BaseException] | Callable[[], None]) -> None:
        self._lines = list(lines)
        self.prompts: list[str] = []

    def read(self, prompt: str) -> str:
        self.prompts.append(prompt)
        line = self._lines.pop(0) if self._lines else EOFError
        if isinstance(line, type):
            raise line
        assert isinstance(line, str)
        return line


class Screen:
    """One console that is both, and what was written there."""

    def __init__(self, rows: Any = None) -> None:
        self.file = io.StringIO()
        console = Console(file=self.file, width=100, force_terminal=False)
        self.shown = Shown(console, console, session="s1", live=True, rows=rows or (lambda seq: []))

    @property
    def text(self) -> str:
        return self.file.getvalue()


async def at_the_prompt(url: str, key: str, *lines: Any) -> tuple[Prompt, Screen, str]:
    """A conversation with these lines; the prompt, the screen, the session."""
    prompt, screen = Prompt(*lines), Screen()

    def work() -> str:
        with Client(url, key) as sop:
            session = sop.sessions.create().id
            conversation = Conversation(sop.sessions, session, screen.shown, lambda line: None)
            converse(conversation, sop.sessions, session, prompt, screen.shown)  # type: ignore[arg-type]
            return session

    return prompt, screen, await asyncio.to_thread(work)


async def test_talking_at_the_prompt(talk: Talk, url: str) -> None:
    key = talk.gateway.key
    prompt, screen, session = await at_the_prompt(
        url, key, "hello", KeyboardInterrupt, "", "mail", "YES", "/quit", "hello"
    )
    assert screen.text.startswith("hello\nCtrl-D leaves\n! Send a mail to anna@example.com\n")
    assert prompt.prompts[4].startswith("approve?")
    records = list(talk.services.conversations.records(session))
    decided = next(record for record in records if record.get("approval") and record["type"] == "user")
    assert (decided["approved"], decided["comment"]) == (True, "")
    assert talk.services.conversations.get(session).turn == 3


async def test_a_line_that_is_no_text_does_not_end_the_prompt(talk: Talk, url: str) -> None:
    _, screen, _ = await at_the_prompt(url, talk.gateway.key, "hello \udcff", "hello")
    assert screen.text == "error: message is not UTF-8: 'hello \\udcff'\nhello\n"


async def test_what_waits_can_be_left_waiting_or_refused(talk: Talk, url: str) -> None:
    _, _, session = await at_the_prompt(url, talk.gateway.key, "mail", "yes, but to ben", "hello", "few", EOFError)
    assert talk.services.conversations.get(session).turn == 3
    assert len(talk.services.conversations.get(session).pending) == 1
    _, _, refused = await at_the_prompt(url, talk.gateway.key, "mail", "no, not now", EOFError)
    assert talk.services.conversations.get(refused).pending == []
    said = [record for record in talk.services.conversations.records(refused) if record["type"] == "user"]
    assert (said[-1]["approved"], said[-1]["comment"]) == (False, "not now")
    again = Prompt()
    shown = Screen()

    def go_on() -> None:
        with Client(url, talk.gateway.key) as sop:
            sop.sessions.send(session, "mail").text()
            talk.services.conversations.change(session, lambda work: bool(work.say("notice", text="weekly failed")))
            conversation = Conversation(sop.sessions, session, shown.shown, lambda line: None)
            converse(conversation, sop.sessions, session, again, shown.shown)  # type: ignore[arg-type]

    await asyncio.to_thread(go_on)
    assert shown.text.index("weekly failed") < shown.text.index("! Send a mail") and again.prompts == ["> "]
    prompt, screen, _ = await at_the_prompt(url, talk.gateway.key, "x" * 40_000, "hello")
    assert "the limit is 32768" in screen.text and screen.text.endswith("hello\n")
    assert len(prompt.prompts) == 3


async def test_an_interrupt_stops_the_turn_and_its_end_is_told(talk: Talk, url: str) -> None:
    screen = Screen()
    told: list[str] = []

    def show(record: dict[str, Any]) -> None:
        screen.shown(record)
        if record["type"] == "text" and not told:
            raise KeyboardInterrupt

    def work() -> str:
        with Client(url, talk.gateway.key) as sop:
            return Conversation(sop.sessions, sop.sessions.create().id, show, told.append).say("hold")

    assert await asyncio.to_thread(work) == "canceled"
    assert told == ["stopping; Ctrl-C again leaves it alone"]
    assert screen.text == "hello\ncanceled\n"


async def test_cards_are_as_they_were(talk: Talk, url: str) -> None:
    _, screen, _ = await at_the_prompt(url, talk.gateway.key, "cards")
    assert "\x1b" not in screen.text
    golden = GOLDEN / "cards.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(screen.text, encoding="utf-8")
    assert screen.text == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize("card", CARDS, ids=lambda card: str(card["card"]))
def test_a_card_with_nothing_in_it_is_shown_too_and_verbose_shows_all(card: dict[str, Any]) -> None:
    assert card_lines({"type": "card", "card": card["card"]})
    text = "\n".join(line.plain for line in card_lines({"type": "card", "seq": 7, **card}, verbose=True))
    told = json.loads(text[text.rindex("\n{") + 1 :].replace("\\x1b", "\\u001b"))
    assert told == {name: value for name, value in card.items() if name != "card"}


def test_text_as_it_comes_and_when_it_is_said_otherwise() -> None:
    def said(*records: dict[str, Any]) -> str:
        screen = Screen()
        for record in records:
            screen.shown(record)
        return screen.text

    def delta(text: str) -> dict[str, Any]:
        return {"type": "text_delta", "text": text}

    whole = {"type": "text", "text": "one\ntwo"}
    end = {"type": "turn", "status": "completed"}
    assert said(delta("one\n"), delta("two"), whole, end) == "one\ntwo\n"
    assert said(delta("one"), whole, end) == "one\ntwo\n"
    assert said(whole, end) == "one\ntwo\n"
    assert said(delta("on"), {"type": "text_restarted"}, delta("one\ntwo"), whole) == "on\n(once more)\none\ntwo\n"
    assert said(delta("other"), whole) == "other\none\ntwo\n"
    assert said(delta("one"), {"type": "turn", "status": "canceled"}) == "one\ncanceled\n"
    assert said({"type": "text", "text": "[red]\x1b[31m"}) == "[red]\\x1b[31m\n"
    failed = {"type": "turn", "status": "failed", "error": {"code": "model_unavailable", "message": "no model"}}
    assert said(failed) == "failed: no model [model_unavailable]\n"
    assert said({"type": "unheard_of", "a": 1}) == '{"type":"unheard_of","a":1}\n'


def test_rows_are_shown_to_the_first_lines() -> None:
    closed = []

    class Rows(list[dict[str, Any]]):
        def close(self) -> None:
            closed.append(True)

    screen = Screen(lambda seq: Rows({"id": n, "at": seq} for n in range(50)))
    screen.shown({"type": "tool_call", "call": "c1", "tool": "select", "args": {"store": "orders"}, "by": "model"})
    result = {"type": "tool_result", "seq": 9, "call": "c1", "tool": "select", "status": "done"}
    screen.shown({**result, "rows": {"count": 50, "ref": {}}})
    lines = screen.text.splitlines()
    assert lines[0] == '+ select {"store":"orders"}  50 rows'
    assert [line.split() for line in lines[1:3]] == [["id", "at"], ["0", "9"]]
    assert lines[-1] == f"the first {FIRST} of 50 rows; all: sop session rows s1 9"
    assert len(lines) == FIRST + 3 and closed == [True]
    screen = Screen()
    screen.shown({**result, "status": "failed", "error": {"code": "no_store", "message": "none", "hint": "make one"}})
    screen.shown({**result, "status": "rejected"})
    assert screen.text == "- select  failed: none (make one) [no_store]\n- select  rejected\n"


def test_what_the_person_asked_for_is_shown_whole_and_nothing_twice() -> None:
    def shown(result: Any, *before: dict[str, Any], verbose: bool = False, **more: Any) -> str:
        screen = Screen()
        screen.shown.verbose = verbose
        screen.shown({"type": "tool_call", "call": "c1", "tool": "t", "args": {}, "by": "person"})
        for record in before:
            screen.shown(record)
        screen.shown({"type": "tool_result", "call": "c1", "tool": "t", "status": "done", "result": result, **more})
        return screen.text

    deep = {"a": [{"b": "x" * 300}]}
    assert json.loads(shown(deep).partition("\n")[2]) == deep
    script = {"outline": "greet\n1. Say hello.", "script": {}}
    assert shown(script) == "+ t\ngreet\n1. Say hello.\n"
    assert json.loads(shown(script, verbose=True).partition("\n")[2]) == script
    card = {"type": "card", "card": "decision", "approval": "a1", "approved": True}
    assert shown({"id": 1}, card) == "a1 approved\n+ t\n"
    assert shown("it is done") == "+ t\nit is done\n"
    screen = Screen()
    error = {"code": "none", "message": "there is none"}
    screen.shown({"type": "tool_result", "call": "c1", "tool": "t", "status": "failed", "error": error})
    screen.shown({"type": "turn", "status": "failed", "error": error})
    screen.shown({"type": "turn", "status": "failed", "error": error})
    assert screen.text == "- t  failed: there is none [none]\nfailed: there is none [none]\n"


def test_the_words_are_those_that_there_are() -> None:
    assert {word.replace("-", "_") for word in WORDS} == {*words(), "quit"}


def test_completion() -> None:
    asked = []

    def names(*found: str) -> Callable[[], list[str]]:
        def ask() -> list[str]:
            asked.append(found)
            return list(found)

        return ask

    completion = Completion(names("send_email", "select"), names("greet", "go"), names("shop"))
    assert completion.fitting("/sel") == ["/select"]
    assert completion.fitting("/send") == ["/send_email"]
    assert completion.fitting("/run g") == ["go", "greet"]
    assert completion.fitting("/switch_database ") == ["shop"]
    assert completion.fitting("run g") == completion.fitting("/run go x") == []
    assert len(asked) == 3
    assert len(completion.fitting("/")) == len({*WORDS, "send_email", "select"})

    def silent() -> list[str]:
        raise RuntimeError("no gateway")

    assert Completion(silent, silent, silent).fitting("/hel") == ["/help"]


TERMINAL = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from gateway.cli import main
sys.argv = ["sop", "chat", "--title", "at a terminal"]
main()
"""


async def test_at_a_real_terminal(talk: Talk, url: str, tmp_path: Path) -> None:
    """The command under a terminal of its own: Ctrl-C stops a turn, Ctrl-D leaves."""
    more = {
        "TERM": "xterm",
        "NO_COLOR": "1",
        "SOP_URL": url,
        "SOP_API_KEY": talk.gateway.key,
        "XDG_STATE_HOME": str(tmp_path),
    }
    environ = {**os.environ, **more, "PYTHONPATH": os.pathsep.join(sys.path)}

    def work() -> tuple[int, str]:
        leader, follower = pty.openpty()
        running = subprocess.Popen(
            [sys.executable, "-c", TERMINAL], stdin=follower, stdout=follower, stderr=follower, env=environ
        )
        os.close(follower)
        said = b""

        def until(text: bytes) -> None:
            nonlocal said
            while text not in said:
                assert select.select([leader], [], [], 20)[0], said.decode()
                said += os.read(leader, 4096)
            said = said.partition(text)[2]

        until(b"> ")
        typed = [
            (b"hello\n", b"\rhello\r\n"), (b"hold\n", b"\rhello\r\n"), (b"\x03", b"canceled\r\n"), (b"mail\n", b"approve?"),
            (b"y\n", b'"status":"sent"'), (b"few\n", b"Rome"), (b"", b"> "), (b"\x04", b"goes on here"),
        ]  # fmt: skip
        for keys, answer in typed:
            os.write(leader, keys)
            until(answer)
        code = running.wait(20)
        os.close(leader)
        return code, said.decode()

    code, _ = await asyncio.to_thread(work)
    assert code == 0
    [session] = talk.services.conversations.page(1)
    assert (session.title, session.turn, session.pending) == ("at a terminal", 5, [])


def test_lines_in_a_terminal(tmp_path: Path) -> None:
    """Under a real terminal: the history is kept, completion works, a backslash goes on."""
    code = (
        "import sys; from pathlib import Path; from gateway.cli.chat.lines import *\n"
        "with Lines(Completion(lambda: [], lambda: [], lambda: []), Path(sys.argv[1])) as lines:\n"
        "    print('READ', repr(lines.read('> ')), repr(lines.read('> ')), repr(lines.read('> ')))\n"
    )
    history = tmp_path / "state" / "history"
    leader, follower = pty.openpty()
    environ = {**os.environ, "TERM": "xterm", "PYTHONPATH": os.pathsep.join(sys.path)}
    running = subprocess.Popen(
        [sys.executable, "-c", code, str(history)], stdin=follower, stdout=follower, stderr=follower, env=environ
    )
    os.close(follower)
    os.write(leader, b"/verb\t\none\\\ntwo\n\x1b[200~pasted\nlines\x1b[201~\n")
    said = b""
    while select.select([leader], [], [], 20)[0]:
        try:
            said += os.read(leader, 4096)
        except OSError:  # nobody has the other end any more
            break
    assert running.wait(20) == 0
    os.close(leader)
    told = said.decode().partition("READ")[2].replace("\r", "").replace("\n", "")
    assert "'/verbose" in told and r"'one\ntwo'" in told and r"'pasted\nlines'" in told
    assert history.stat().st_mode & 0o777 == 0o600
    assert "/verbose" in history.read_text()


def test_the_history_is_in_the_users_state(tmp_path: Path) -> None:
    assert history_file({"XDG_STATE_HOME": str(tmp_path)}) == tmp_path / "sop" / "chat_history"
    assert history_file({}) == Path.home() / ".local" / "state" / "sop" / "chat_history"


@pytest.mark.parametrize(
    ("zone", "found"),
    [
        ("Europe/Madrid", "Europe/Madrid"),
        (":Asia/Tokyo", "Asia/Tokyo"),
        ("UTC", None),
        ("Etc/UTC", None),
        ("Nowhere/At_All", None),
    ],
)
def test_the_persons_time_zone_is_the_machines_but_for_utc(
    monkeypatch: pytest.MonkeyPatch, zone: str, found: str | None
) -> None:
    monkeypatch.setenv("TZ", zone)
    assert local_zone() == found


def test_a_time_zone_is_known_by_the_machines_link(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    place = tmp_path / "zoneinfo" / "Europe" / "Madrid"
    place.parent.mkdir(parents=True)
    place.touch()
    link = tmp_path / "localtime"
    link.symlink_to(place)
    monkeypatch.delenv("TZ", raising=False)
    monkeypatch.setattr("gateway.cli.chat.zone.LOCALTIME", link)
    assert local_zone() == "Europe/Madrid"
    link.unlink()
    assert local_zone() is None
