"""Looks at a gateway until a line comes in: asks /livez fifty times a second, and reads the memory of its process.

`python benchmarks/gateway_watch.py HOST PORT PID` prints "ready", and at the end {"peak_mb", "livez": [milliseconds, ...]}.
"""

import json
import select
import socket
import sys
import time

import psutil

PAUSE = 0.02
REQUEST = b"GET /livez HTTP/1.1\r\nHost: bench\r\n\r\n"


def round_trip(raw: socket.socket, request: bytes) -> float:
    """Milliseconds of one request on a connection; its answer has to be a whole 200."""
    began = time.perf_counter()
    raw.sendall(request)
    got = b""
    while not _is_answer(got):
        got += raw.recv(65536)
    assert got.startswith(b"HTTP/1.1 200"), got[:500]
    return (time.perf_counter() - began) * 1e3


def _is_answer(got: bytes) -> bool:
    head, divider, body = got.partition(b"\r\n\r\n")
    if not divider:
        return False
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    return len(body) >= int(length.partition(b":")[2])


def main(host: str, port: int, pid: int) -> None:
    process = psutil.Process(pid)
    livez: list[float] = []
    peak = 0
    with socket.create_connection((host, port)) as raw:
        print("ready", flush=True)
        while not select.select([sys.stdin], [], [], PAUSE)[0]:
            livez.append(round_trip(raw, REQUEST))
            peak = max(peak, process.memory_info().rss)
    print(json.dumps({"peak_mb": peak / 1e6, "livez": livez}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
