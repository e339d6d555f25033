"""The gateway's benchmark: an installation in the processes of production, clients that cost little, and what the gateway's process holds.

The clients are plain sockets: a client library in the same two cores would be what is measured. What they read is read as HTTP/1.1
(RFC 9112): lengths, chunks, and the last chunk, without which an answer is not whole.
"""

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import psutil
from btree_bench import Figures
from gateway_watch import round_trip
from query_bench import load_store

from btree import Database
from gateway.dev import Stack
from settings import Settings

DATABASE: Final = "bench"
STORE: Final = "orders"
ROWS: Final = f"/v1/databases/{DATABASE}/stores/{STORE}"
PIECE: Final = 1 << 20
MB: Final = 1e6
LAST: Final = b"0\r\n\r\n"


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


@dataclass
class Held:
    """What a process holds at a moment."""

    mb: float
    files: int
    threads: int


class GatewayBench(Figures):
    """A running installation with the store `orders`, and the peer."""

    def __init__(self, folder: Path, records: int, rounds: int) -> None:
        super().__init__(folder, records, rounds)
        with Database.open(self._databases() / f"{DATABASE}.db", create=True) as database:
            database.transact(lambda t: load_store(t, STORE, records))
        self.stack = Stack(Settings(data_dir=folder, port=0))
        self.stack.start()
        self.key = (folder / "api-key").read_text(encoding="utf-8").strip()
        script = str(Path(__file__).parent / "gateway_peer.py")
        self._peer = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
        assert self._peer.stdout is not None
        self.peer_url = self._peer.stdout.readline().strip()

    def _databases(self) -> Path:
        found = self.folder / "databases"
        found.mkdir()
        return found

    @property
    def file(self) -> Path:
        """The store's database file."""
        return self.folder / "databases" / f"{DATABASE}.db"

    def stop(self) -> None:
        """End all processes."""
        self._peer.kill()
        self._peer.wait()
        self.stack.stop()

    def at(self, url: str = "") -> tuple[str, int]:
        host, _, port = (url or self.stack.gateway_url).removeprefix("http://").partition(":")
        return host, int(port)

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> bytes:
        """A request as bytes."""
        lines = [f"{method} {path} HTTP/1.1", "Host: bench", f"Authorization: Bearer {self.key}"]
        content = b"" if body is None else json.dumps(body).encode()
        if body is not None:
            lines += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + content

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON of a small answer."""
        with socket.create_connection(self.at()) as raw:
            raw.sendall(self.request(method, path, body, Connection="close"))
            return json.loads(body_of(b"".join(iter(lambda: raw.recv(65536), b""))))

    def held(self) -> Held:
        """What the gateway's process holds."""
        process = psutil.Process(self.stack.pid("gateway"))
        return Held(process.memory_info().rss / MB, process.num_fds(), process.num_threads())

    def pins(self) -> int:
        """How many versions are pinned."""
        with Database.open(self.file) as database:
            return len(database.pins())


def body_of(answer: bytes) -> bytes:
    """The body of a whole answer, chunked or not."""
    head, _, rest = answer.partition(b"\r\n\r\n")
    assert b" 20" in head[:13], answer[:500]
    if b"transfer-encoding: chunked" not in head.lower():
        return rest
    found = []
    while True:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        if not length:
            return b"".join(found)
        found.append(rest[:length])
        rest = rest[length + 2 :]


@dataclass
class Download:
    """What one client has read. `first` and `whole` are seconds from the request."""

    first: float = 0.0
    whole: float = 0.0
    bytes: int = 0
    complete: bool = False


def download(
    bench: GatewayBench, request: bytes, *, rate: float | None = None, upto: int | None = None, small: bool = False
) -> Download:
    """Read an answer: as fast as it comes, or at most `rate` bytes a second; to its end, or `upto` so many bytes and vanish."""
    done = Download()
    buffer = bytearray(PIECE)
    with socket.socket() as raw:
        if small:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        raw.connect(bench.at())
        began = time.perf_counter()
        raw.sendall(request)
        head = b""
        while b"\r\n\r\n" not in head:
            head += raw.recv(65536)
        tail = head.partition(b"\r\n\r\n")[2]
        if not tail:
            tail = raw.recv(65536)
        done.first = time.perf_counter() - began
        done.bytes = len(tail)
        while not tail.endswith(LAST) and (upto is None or done.bytes < upto):
            count = raw.recv_into(buffer)
            if not count:
                break
            done.bytes += count
            tail = tail[-len(LAST) :] + bytes(buffer[max(0, count - len(LAST)) : count])
            if rate is not None:
                ahead = done.bytes / rate - (time.perf_counter() - began)
                time.sleep(max(0.0, ahead))
        done.whole = time.perf_counter() - began
        done.complete = tail.endswith(LAST)
    return done


@dataclass
class Watching:
    """The gateway meanwhile: its memory, and how long /livez takes in milliseconds, asked for all the time."""

    before: Held
    peak_mb: float = 0.0
    livez: list[float] = field(default_factory=list)


@contextmanager
def watching(bench: GatewayBench) -> Iterator[Watching]:
    """Look at the gateway, in a process of its own, while the block goes on."""
    found = Watching(bench.held())
    script = str(Path(__file__).parent / "gateway_watch.py")
    host, port = bench.at()
    command = [sys.executable, script, host, str(port), str(bench.stack.pid("gateway"))]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield found
    finally:
        told = json.loads(process.communicate("\n")[0])
        found.peak_mb, found.livez = told["peak_mb"], told["livez"]


def round_trips(url: tuple[str, int], requests: list[bytes]) -> list[float]:
    """Milliseconds of each request, one after the other on one connection."""
    with socket.create_connection(url) as raw:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return [round_trip(raw, request) for request in requests]


async def stream(bench: GatewayBench, request: bytes, first: asyncio.Event | None = None) -> tuple[Download, bytes]:
    """One of many streams: when its first record came, when its last, and the whole of it."""
    done = Download()
    reader, writer = await asyncio.open_connection(*bench.at())
    try:
        began = time.perf_counter()
        writer.write(request)
        got = [await reader.readuntil(b"\r\n\r\n")]
        while piece := await reader.read(PIECE):
            if not done.first:
                done.first = time.perf_counter() - began
                if first is not None:
                    first.set()
            got.append(piece)
            done.bytes += len(piece)
        done.whole = time.perf_counter() - began
    finally:
        writer.close()
    whole = b"".join(got)
    done.complete = whole.endswith(LAST)
    return done, whole


def load() -> float:
    """The machine's load."""
    return round(os.getloadavg()[0], 2)
