"""`sop run watch` on a real terminal: a tree that grows, and that stays when it is left."""

import asyncio
import json
import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from gateway.cli import following
from gateway.cli.live import Screen
from gateway.cli.options import Options, take
from tests.gateway.conftest import Gateway, Sop, eventually
from tests.gateway.test_handling import APPROVED, started

SOP = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a test that runs in the background has it ignored
from gateway.cli import main
main()
"""


class Terminal:
    """A process with a terminal as its stderr, which somebody reads all the time; what it has written there so far."""

    def __init__(self, process: "subprocess.Popen[bytes]", ours: int) -> None:
        self.process = process
        self._ours = ours
        self._seen = b""
        self._reading = threading.Thread(target=self._read)
        self._reading.start()

    def _read(self) -> None:
        with suppress(OSError):  # nobody writes any more
            while piece := os.read(self._ours, 65536):
                self._seen += piece

    def seen(self) -> str:
        return self._seen.decode(errors="replace")

    async def ends(self) -> tuple[int, str, str]:
        """Its exit code, stdout, and everything on the terminal."""
        out, _ = await asyncio.to_thread(self.process.communicate, timeout=30)
        self._reading.join()
        return self.process.returncode, out.decode(), self.seen()

    def close(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
            self.process.communicate()
        self._reading.join()
        os.close(self._ours)


@contextmanager
def terminal(gateway: Gateway, url: str, home: Path, *words: str, **more: str) -> Iterator[Terminal]:
    """`sop` with these words, as from a shell."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("SOP_") and name != "NO_COLOR"
    }
    environment |= {"SOP_URL": url, "SOP_API_KEY": gateway.key, "TERM": "xterm-256color", "XDG_CONFIG_HOME": str(home)}
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", SOP, *words]
    process = subprocess.Popen(
        command, env=environment | {"COLUMNS": "100", "LINES": "30"} | more, cwd=home, stdout=-1, stderr=theirs
    )
    os.close(theirs)
    found = Terminal(process, ours)
    try:
        yield found
    finally:
        found.close()


async def test_a_tree_on_a_terminal(sop: Sop, gateway: Gateway, url: str, tmp_path: Path) -> None:
    await gateway.save("letters", **APPROVED)
    await started(gateway, "letters", key="seen")
    with (
        terminal(gateway, url, tmp_path, "run", "watch", "seen") as tree,
        terminal(gateway, url, tmp_path, "run", "watch", "seen") as left,
    ):
        for one in (tree, left):  # what it waits for no event tells
            await eventually(lambda one=one: "waits for the approval of anna" in one.seen(), 60)
        left.process.send_signal(signal.SIGINT)
        code, out, told = await left.ends()
        assert (code, out) == (130, "")
        assert "the run goes on: sop run watch seen" in told and "◷" in told.rpartition("run seen: letters")[2]
        assert (await sop("run", "approve", "seen", "--comment", "fine")).code == 0
        code, out, told = await tree.ends()
        last = told.rpartition("run seen: letters")[2]
        assert (code, json.loads(out)["comment"]) == (0, "fine")
        assert "✓" in last and "◷" not in last and "run completed" in last


@pytest.mark.parametrize(
    ("environment", "given", "plain", "tree"),
    [
        ({}, Options(), False, True),
        ({}, Options(), True, False),
        ({}, Options(quiet=True), False, False),
        ({}, Options(no_color=True), False, False),
        ({"NO_COLOR": "1"}, Options(), False, False),
        ({"TERM": "dumb"}, Options(), False, False),
    ],
)
def test_where_there_is_a_tree(
    environment: dict[str, str], given: Options, plain: bool, tree: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    take(given)
    try:
        assert isinstance(following.trace(None, "r", plain=plain), Screen) is tree  # type: ignore[arg-type]
    finally:
        take(Options())


async def test_lines_where_nobody_looks(sop: Sop, gateway: Gateway) -> None:
    await gateway.save("quick", [{"type": "return", "value": 1}])
    for words in (("run", "quick"), ("run", "start", "quick", "--plain")):
        found = await sop(*words)
        assert (found.code, found.out) == (0, "1\n") and "✓" not in found.err and "run completed" in found.err
