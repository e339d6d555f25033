"""The whole system on this machine: Temporal, a worker and the gateway, started in order, watched, and stopped in reverse.

Each is a process of its own, told by environment variables, its output in `logs/` of the data directory. A process that dies is
started again (five times in a minute at most). `dev.json` in the data directory tells the command line where everything is.

Used by `sop dev`, the demo and the tests that kill things.
"""

import ctypes
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Final

from settings import Settings

ROOT: Final = Path(__file__).resolve().parent.parent
ALREADY_RUNNING: Final = 5
READY_TIMEOUT: Final = 60.0
RESTARTS: Final = 5
STATE_FILE: Final = "dev.json"


class StackError(Exception):
    """A part of the system did not start; the message has the end of its log."""


@dataclass
class _Part:
    """One process: how it is started, and what it prints when it is ready."""

    name: str
    command: list[str]
    ready: str
    environment: dict[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    started: list[float] = field(default_factory=list)


class Stack:
    """The three processes over one data directory. Ports of 0 take free ones, which stay the same over restarts."""

    def __init__(
        self,
        settings: Settings,
        *,
        temporal_port: int = 0,
        ui_port: int = 0,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._settings = settings
        self._ports = {"temporal": temporal_port, "ui": ui_port, "gateway": settings.port}
        self._say = say
        self._parts: dict[str, _Part] = {}
        self._stopping = threading.Event()
        self._lock = threading.RLock()
        self._monitor: threading.Thread | None = None
        self._told = False
        self.temporal_address = ""
        self.temporal_ui = ""
        self.gateway_url = ""

    @property
    def data_dir(self) -> Path:
        return self._settings.data_dir

    def start(self) -> None:
        """Start all, each when the one before is ready. Raises StackError; what was started is stopped then."""
        (self.data_dir / "logs").mkdir(parents=True, exist_ok=True)
        try:
            self._start_temporal()
            self._start_worker()
            self._start_gateway()
        except BaseException:
            self.stop()
            raise
        state = {"gateway": self.gateway_url, "temporal": self.temporal_address, "temporal_ui": self.temporal_ui}
        (self.data_dir / STATE_FILE).write_text(json.dumps(state), encoding="utf-8")
        self._told = True
        self._monitor = threading.Thread(target=self._watch, name="stack", daemon=True)
        self._monitor.start()

    def stop(self) -> None:
        """Stop all, the last started first."""
        self._stopping.set()
        with self._lock:
            for part in reversed(list(self._parts.values())):
                _end(part.process)
                part.process = None
        if self._told:
            (self.data_dir / STATE_FILE).unlink(missing_ok=True)

    def kill(self, name: str) -> None:
        """End a part at once, as a crash would; it is started again by the watch."""
        process = self._parts[name].process
        if process is not None:
            process.kill()
            process.wait()

    def pid(self, name: str) -> int:
        """The process id of a part."""
        process = self._parts[name].process
        assert process is not None
        return process.pid

    def wait_ready(self, name: str, timeout: float = READY_TIMEOUT) -> None:
        """Wait until a part that was killed is up again. Raises StackError."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            with self._lock:
                part = self._parts[name]
                if part.process is not None and part.process.poll() is None:
                    return
            time.sleep(0.05)
        raise StackError(f"{name} did not come back within {timeout:.0f} s")

    # --- the parts ---

    def _start_temporal(self) -> None:
        script = str(ROOT / "temporal-dev" / "temporal_server.py")
        if not Path(script).exists():
            raise StackError(
                f"{script} is missing: sop dev runs from a checkout; in production connect to a Temporal cluster"
            )
        ports = ["--port", str(self._ports["temporal"]), "--ui-port", str(self._ports["ui"])]
        command = [sys.executable, script, "--data-dir", str(self.data_dir.resolve()), *ports]
        part = self._part("temporal", command, r"temporal ready on (\S+), web page (\S+) ", {})
        try:
            found = self._launch(part)
        except StackError:
            if part.process is None or part.process.returncode != ALREADY_RUNNING:
                raise
            found = self._running_server(part)
        self.temporal_address, self.temporal_ui = found[1], found[2]
        self._ports["temporal"] = int(self.temporal_address.rpartition(":")[2])
        self._ports["ui"] = int(self.temporal_ui.rpartition(":")[2])
        part.command = [*command[:-4], "--port", str(self._ports["temporal"]), "--ui-port", str(self._ports["ui"])]

    def _running_server(self, part: _Part) -> tuple[str, str, str]:
        """A server runs on this data directory already: use it, and leave it alone at the end."""
        del self._parts[part.name]
        try:
            state = json.loads((self.data_dir / "temporal.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            message = "another Temporal server starts on this data directory just now: try again"
            raise StackError(message) from None
        self._say(f"using the Temporal server that runs already at {state['address']}")
        return "", str(state["address"]), str(state["ui_url"])

    def _start_worker(self) -> None:
        self._launch(self._part("worker", [sys.executable, "-m", "worker"], "worker ready ", self._addresses()))

    def _start_gateway(self) -> None:
        part = self._part(
            "gateway", [sys.executable, "-m", "gateway.serve"], r"gateway ready on (\S+) ", self._addresses()
        )
        self.gateway_url = self._launch(part)[1]
        part.environment["SOP_PORT"] = self.gateway_url.rpartition(":")[2].rstrip("/")

    def _addresses(self) -> dict[str, str]:
        return {
            **self._settings.environment(),
            "SOP_DATA_DIR": str(self.data_dir.resolve()),
            "SOP_TEMPORAL_ADDRESS": self.temporal_address,
            "SOP_TEMPORAL_UI": self.temporal_ui,
            "TEMPORAL_ADDRESS": self.temporal_address,
        }

    def _part(self, name: str, command: list[str], ready: str, environment: Mapping[str, str]) -> _Part:
        part = _Part(name, command, ready, dict(environment), self.data_dir / "logs" / f"{name}.log")
        self._parts[name] = part
        return part

    def _launch(self, part: _Part) -> tuple[str, ...]:
        """Start a part and wait for its ready line; gives the groups of the line.

        The line names the process: stacks on one folder write into the same logs.
        """
        with part.log.open("ab") as log:
            begin = log.tell()
            part.process = subprocess.Popen(
                part.command,
                cwd=ROOT,
                env={**_inherited(), **part.environment, "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        part.started.append(time.monotonic())
        deadline = time.monotonic() + READY_TIMEOUT
        while time.monotonic() < deadline:
            text = _read(part.log, begin)
            match = re.search(rf"{part.ready}\(process {part.process.pid}\)", text)
            if match is not None:
                return (match.group(), *match.groups())
            if part.process.poll() is not None:
                raise StackError(f"{part.name} ended with {part.process.returncode}:\n{text[-2000:]}")
            time.sleep(0.02)
        raise StackError(f"{part.name} was not ready within {READY_TIMEOUT:.0f} s:\n{_read(part.log, begin)[-2000:]}")

    def _watch(self) -> None:
        """Start again what has died."""
        while not self._stopping.wait(0.1):
            with self._lock:
                if self._stopping.is_set():
                    return
                for part in list(self._parts.values()):
                    if part.process is None or part.process.poll() is None:
                        continue
                    if (
                        part.name == "temporal" or self._temporal_answers()
                    ):  # without it the others would only die again
                        self._revive(part)

    def _temporal_answers(self) -> bool:
        host, _, port = self.temporal_address.rpartition(":")
        with socket.socket() as probe:
            probe.settimeout(0.5)
            return probe.connect_ex((host, int(port))) == 0

    def _revive(self, part: _Part) -> None:
        assert part.process is not None
        recent = [begun for begun in part.started if begun > time.monotonic() - 60]
        if len(recent) > RESTARTS:
            self._say(f"{part.name} died {len(recent)} times within a minute and is left alone: see {part.log}")
            part.process = None
            return
        self._say(f"{part.name} ended with {part.process.returncode}, starting it again")
        try:
            self._launch(part)
        except StackError as error:
            self._say(str(error))
            if part.name != "temporal" and not self._temporal_answers():
                part.started.pop()  # Temporal went while it began: that is no death of its own


def _inherited() -> dict[str, str]:
    """Our environment, but for how to reach another Temporal (its address, key, certificates, profiles): the stack has its own."""
    found = {name: value for name, value in os.environ.items() if not name.startswith("TEMPORAL_")}
    return {**found, "TEMPORAL_CONFIG_FILE": os.devnull}


def _die_with_parent() -> None:
    """Linux: a part gets SIGTERM when this process dies, however that happens."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def _read(path: Path, begin: int) -> str:
    with path.open("rb") as file:
        file.seek(begin)
        return file.read().decode(errors="replace")


def _end(process: subprocess.Popen[bytes] | None, timeout: float = 15) -> None:
    if process is None or process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def run_dev(settings: Settings, say: Callable[[str], None], *, temporal_port: int = 7233, ui_port: int = 8233) -> int:
    """Run everything in the foreground until Ctrl-C; the exit code."""
    stack = Stack(settings, temporal_port=temporal_port, ui_port=ui_port, say=say)
    stopped = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopped.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    try:
        stack.start()
    except StackError as error:
        say(str(error))
        return 1
    say(f"API docs       {stack.gateway_url}/docs")
    say(f"Temporal UI    {stack.temporal_ui}")
    say(f"API key        in {stack.data_dir / 'api-key'}")
    say("Ctrl-C stops everything")
    stopped.wait()
    say("stopping")
    stack.stop()
    return 0
