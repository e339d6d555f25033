"""Readers that are slow, stand still or vanish: memory stays flat, the gateway answers others, and nothing is left of them."""

import asyncio
import gc
import os
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx2
import psutil
from temporalio.client import Client

from btree import Database
from gateway.results.ahead import AHEAD, Ahead
from query import create_store
from query.stores.catalog import rows_tree
from query.values.keycode import encode
from tests.gateway.conftest import Gateway, authorization, eventually, listening

ROWS = 200_000
WIDTH = 200
GROWTH = 20e6
PIECE = 1 << 18
SELECT = "/v1/databases/shop/stores/items:select"


def filled(gateway: Gateway) -> Database:
    """A store of 46 MB."""
    database = gateway.services.databases.ensure("shop")

    def work(transaction: Any) -> None:
        create_store(transaction, "items", primary_key=["id"])
        text = b"x" * WIDTH
        rows = ((encode([number]), b'{"id":%d,"text":"%b"}' % (number, text)) for number in range(ROWS))
        transaction.tree(rows_tree("items")).load(rows)

    database.transact(work)
    return database


@dataclass(frozen=True)
class Held:
    """What this process holds."""

    files: int
    threads: int
    tasks: int

    @classmethod
    def now(cls) -> "Held":
        return cls(len(os.listdir("/proc/self/fd")), threading.active_count(), len(asyncio.all_tasks()))  # noqa: PTH208


def nothing_left(before: Held, database: Database) -> Callable[[], bool]:
    def check() -> bool:
        now = Held.now()
        return (
            now.files <= before.files
            and now.tasks <= before.tasks
            and now.threads <= before.threads
            and not database.pins()
        )

    return check


@asynccontextmanager
async def asking(url: str, key: str, request: str, body: bytes = b"") -> AsyncIterator[socket.socket]:
    """A request on a socket with small buffers."""
    host, port = url.removeprefix("http://").split(":")
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        raw.connect((host, int(port)))
        kind = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
        raw.sendall(f"{request} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n{kind}\r\n".encode() + body)
        raw.setblocking(False)
        yield raw


async def test_a_slow_reader_and_one_that_vanishes(gateway: Gateway, url: str) -> None:
    database = filled(gateway)
    loop, process = asyncio.get_running_loop(), psutil.Process()
    async with httpx2.AsyncClient(base_url=url, headers=authorization(gateway.key), timeout=60) as http:
        assert (await http.post(f"{SELECT}?format=arrow", json={"limit": 1})).status_code == 200  # pyarrow is loaded
        async with http.stream("POST", SELECT, json={}) as whole:  # what is kept for later readers is there now
            size = sum([len(piece) async for piece in whole.aiter_raw()])
        assert size > ROWS * WIDTH > 2 * GROWTH - 1
        await eventually(lambda: not database.pins())
        gc.collect()
        before, rss = Held.now(), process.memory_info().rss
        for form, upto in (("ndjson", size), ("arrow", size // 2), ("ndjson", size // 4), ("csv", 1)):
            got = most = pieces = 0
            async with asking(url, gateway.key, f"POST {SELECT}?format={form}", b"{}") as raw:
                while got < upto:
                    piece = await asyncio.wait_for(loop.sock_recv(raw, PIECE), 30)
                    assert piece
                    got, pieces = got + len(piece), pieces + 1
                    if pieces % 8 == 1:
                        assert (await http.get("/livez")).status_code == 200
                        most = max(most, process.memory_info().rss)
                assert len(database.pins()) <= 1
            assert most - rss < GROWTH, (form, (most - rss) / 1e6)
            await eventually(nothing_left(before, database))


async def test_a_watcher_that_stands_still_stops_its_stream(gateway: Gateway) -> None:
    made = open_watchers = 0

    async def flood(client: Client, run_id: str, after: int) -> AsyncIterator[dict[str, Any]]:
        nonlocal made, open_watchers
        open_watchers += 1
        try:
            for seq in range(after + 1, 1_000_000_000):
                made += 1
                yield {"seq": seq, "type": "say", "status": "completed", "result": "x" * 10_000}
        finally:
            open_watchers -= 1

    gateway.gate.set()
    await gateway.save_held()
    run = await gateway.http.post("/v1/call/held", json={})
    events = f"{run.headers['location']}/events"
    before_made = -1

    async def stalled() -> bool:
        nonlocal before_made
        earlier, before_made = before_made, made
        await asyncio.sleep(0.1)
        return earlier == made > 0

    services = replace(gateway.services, watch=flood, stopping=asyncio.Event())
    async with listening(services) as url, httpx2.AsyncClient(base_url=url) as http:
        before = None
        for _ in range(3):
            made = 0
            async with asking(url, gateway.key, f"GET {events}"):
                await eventually(stalled)
                assert 0 < made < 10_000
                assert (await http.get("/livez")).status_code == 200
            await eventually(lambda: open_watchers == 0)
            before = before or Held.now()
        assert before is not None
        await eventually(lambda: Held.now().tasks <= before.tasks and Held.now().files <= before.files)


async def test_only_so_much_is_read_ahead() -> None:
    made, closed = 0, False

    async def numbers() -> Any:
        nonlocal made, closed
        try:
            for number in range(50):
                made += 1
                yield number
            raise ValueError("over")
        finally:
            closed = True

    ahead = Ahead(numbers())
    await ahead.news
    await asyncio.sleep(0)
    assert made == AHEAD
    found: list[int] = []
    error = None
    while error is None:
        await ahead.news
        try:
            some = ahead.take()
            assert 0 < len(some) <= AHEAD
            found += some
        except ValueError as raised:
            error = str(raised)
    assert (found, error, closed) == (list(range(50)), "over", True)
    await ahead.close()
    early = Ahead(numbers())
    await early.news
    closed = False
    await early.close()
    assert closed


async def test_a_file_is_not_needed(tmp_path: Path) -> None:
    """What `Held` counts is what there is."""
    before = Held.now()
    with (tmp_path / "x").open("w"):
        assert Held.now().files == before.files + 1
    assert Held.now().files == before.files
