"""Backups over HTTP: down while others write, up as a new database; and what is left behind when it goes wrong."""

import asyncio
import hashlib
import os
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from btree import Database
from gateway.app import create_app
from gateway.data import backups
from gateway.digests import digest_text
from gateway.services import create_services
from query import open_store
from tests.gateway.conftest import Gateway, authorization, eventually, problem_of

BACKUP = "/v1/databases/shop/backup"


async def make(gateway: Gateway, megabytes: int = 1) -> Database:
    """A database `shop` with a store of about so many megabytes that cannot be packed."""
    await gateway.http.post("/v1/databases", json={"name": "shop"})
    await gateway.http.post("/v1/databases/shop/stores", json={"name": "items", "primary_key": ["id"]})
    opened, draw = gateway.services.databases.open("shop"), random.Random(1)

    def work(transaction: Any) -> None:
        store = open_store(transaction, "items")
        for number in range(megabytes * 100):
            store.add({"id": number, "text": draw.randbytes(5000).hex()})

    opened.transact(work)
    return opened


def leftovers(gateway: Gateway) -> list[str]:
    """What is in the data directory, or held open of it, and should not be."""
    found = [path.name for path in gateway.services.data_dir.rglob("*") if path.name.startswith(".aside-")]
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            target = os.readlink(descriptor)  # noqa: PTH115
        except OSError:
            continue
        found += [target] if ".aside-" in target else []
    return found


async def test_a_backup_goes_down_and_up(gateway: Gateway, live: httpx2.AsyncClient) -> None:
    opened = await make(gateway)
    answer = await live.get(BACKUP)
    head = opened.head().seq
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/vnd.sqlite3"
    assert (int(answer.headers["content-length"]), answer.headers["database-version"]) == (
        len(answer.content),
        str(head),
    )
    assert answer.headers["repr-digest"] == digest_text(hashlib.sha256(answer.content).digest())
    assert answer.headers["content-disposition"] == f'attachment; filename="shop-{head}.db"'
    opened.transact(lambda transaction: open_store(transaction, "items").delete(7))
    headers = {"Repr-Digest": f"sha-512=:AAAA:, {answer.headers['repr-digest']}"}
    made = await live.put("/v1/databases/again/backup", content=answer.content, headers=headers)
    assert (made.status_code, made.headers["location"]) == (201, "/v1/databases/again")
    assert (made.json()["name"], made.json()["version"]) == ("again", head)
    assert (await live.get("/v1/databases/again/stores/items")).json()["count"] == 100
    assert (await live.get("/v1/databases/again/stores/items/rows/7")).json()["id"] == 7
    assert (await live.post("/v1/databases/again:check")).json()["ok"] is True
    problem_of(await live.get("/v1/databases/shop/stores/items/rows/7"), 404, "record_not_found")
    assert leftovers(gateway) == []


async def test_a_backup_is_of_one_moment_while_others_write(gateway: Gateway, live: httpx2.AsyncClient) -> None:
    opened, stop = await make(gateway, 5), asyncio.Event()

    def pair(transaction: Any) -> None:
        store = open_store(transaction, "items")
        number = store.count()
        store.add({"id": number, "text": "one"})
        store.add({"id": number + 1, "text": "two"})

    async def writing() -> None:
        while not stop.is_set():
            await asyncio.to_thread(opened.transact, pair)

    task = asyncio.ensure_future(writing())
    try:
        for name in ("one", "two", "three"):
            copy = await live.get(BACKUP)
            made = await live.put(f"/v1/databases/{name}/backup", content=copy.content)
            assert made.status_code == 201, made.text
    finally:
        stop.set()
        await task
    counts = [
        (await live.get(f"/v1/databases/{name}/stores/items")).json()["count"] for name in ("one", "two", "three")
    ]
    assert counts == sorted(set(counts)) and [count % 2 for count in counts] == [0, 0, 0]


async def test_restores_that_are_refused(gateway: Gateway) -> None:
    await make(gateway)
    put, good = gateway.http.put, (await gateway.http.get(BACKUP)).content
    for taken in (good, b"not even a database"):
        problem = problem_of(await put(BACKUP, content=taken), 409, "database_exists")
        assert problem["hint"] == "restore it under another name"
    problem_of(await put("/v1/databases/system/backup", content=good), 403, "reserved_database")
    problem_of(await put("/v1/databases/A-b/backup", content=good), 422, "invalid_name")
    ours = (await gateway.http.get("/v1/databases/system/backup")).content
    problem = problem_of(await put("/v1/databases/ours/backup", content=ours), 403, "reserved_database")
    assert problem["detail"].startswith("this is a copy of the system's own database")
    problem_of(await put("/v1/databases/system/backup", content=ours), 403, "reserved_database")
    problem_of(await gateway.http.get("/v1/databases/shp/backup"), 404, "database_not_found")
    other = {"Repr-Digest": digest_text(hashlib.sha256(b"x").digest())}
    problem_of(await put("/v1/databases/again/backup", content=good, headers=other), 422, "digest_mismatch")
    unknown = {"Repr-Digest": f"sha-512=:AAAA:, {other['Repr-Digest']}"}
    problem_of(await put("/v1/databases/again/backup", content=good, headers=unknown), 422, "digest_mismatch")
    draw = random.Random(2)
    flipped = bytearray(good)
    for _ in range(60):
        flipped[draw.randrange(len(good))] ^= 0x55
    for bad in (b"", b"id\n1\n", good[:-4096], good[: len(good) // 2], bytes(flipped), good[4096:]):
        problem = problem_of(await put("/v1/databases/again/backup", content=bad), 422, "invalid_backup")
        assert problem["detail"].startswith("the file is no backup that is in order: ")
    assert (await gateway.http.get("/v1/databases")).json() == {"data": [{"name": "shop"}]}
    assert leftovers(gateway) == []


async def test_of_two_that_restore_under_one_name_one_does(gateway: Gateway, live: httpx2.AsyncClient) -> None:
    await make(gateway)
    good = (await live.get(BACKUP)).content
    answers = await asyncio.gather(*(live.put("/v1/databases/again/backup", content=good) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    assert (await live.post("/v1/databases/again:check")).json()["ok"] is True
    assert leftovers(gateway) == []


async def test_a_client_that_goes_away_leaves_nothing(gateway: Gateway, live: httpx2.AsyncClient) -> None:
    await make(gateway, 30)
    async with live.stream("GET", BACKUP) as answer:
        assert int(answer.headers["content-length"]) > 30_000_000
        await anext(answer.aiter_raw())
        assert [name for name in leftovers(gateway) if name.endswith("(deleted)")]
    await eventually(lambda: leftovers(gateway) == [])
    assert (await live.get("/v1/databases/shop")).status_code == 200


async def test_a_body_that_is_cut_makes_no_database(gateway: Gateway, live: httpx2.AsyncClient) -> None:
    await make(gateway)
    good = (await live.get(BACKUP)).content
    url = live.base_url
    _, writer = await asyncio.open_connection(url.host, url.port)
    headers = {"Host": url.host, "Content-Length": str(len(good)), **authorization(gateway.key)}
    head = "PUT /v1/databases/again/backup HTTP/1.1\r\n" + "".join(
        f"{name}: {text}\r\n" for name, text in headers.items()
    )
    writer.write(head.encode() + b"\r\n" + good[:-1])
    await writer.drain()
    await eventually(lambda: leftovers(gateway))
    writer.close()
    await eventually(lambda: leftovers(gateway) == [])
    assert (await live.get("/v1/databases")).json() == {"data": [{"name": "shop"}]}


async def test_an_upload_larger_than_the_body_limit_comes_in_pieces(gateway: Gateway, live: httpx2.AsyncClient) -> None:
    await make(gateway, 5)
    good = (await live.get(BACKUP)).content
    assert len(good) > 2 * gateway.services.max_body_bytes

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(good), 100_000):
            yield good[start : start + 100_000]

    assert (await live.put("/v1/databases/again/backup", content=pieces())).status_code == 201


async def test_a_full_disk_is_told(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    await make(gateway)
    good = (await gateway.http.get(BACKUP)).content
    received = backups._received
    monkeypatch.setattr(backups, "_received", lambda request, _: received(request, Path("/dev/full")))
    answer = await gateway.http.put("/v1/databases/again/backup", content=good)
    assert problem_of(answer, 507, "disk_full")["retryable"] is True
    assert leftovers(gateway) == []


async def test_a_backup_of_the_systems_own_database_put_in_its_place(gateway: Gateway, tmp_path: Path) -> None:
    """As the docs say it is restored: with everything stopped, as a file. Keys and scripts are those of the backup."""
    version = await gateway.save("kept", [{"type": "say", "message": "hello"}])
    copy = (await gateway.http.get("/v1/databases/system/backup")).content
    await gateway.save("later", [{"type": "say", "message": "bye"}])
    folder = tmp_path / "again" / "databases"
    folder.mkdir(parents=True)
    (folder / "system.db").write_bytes(copy)
    services = create_services(gateway.services.client, folder.parent, gateway.services.registry, task_queue="again")
    transport = httpx2.ASGITransport(create_app(services))
    async with httpx2.AsyncClient(transport=transport, base_url="http://g", headers=authorization(gateway.key)) as http:
        assert [script["name"] for script in (await http.get("/v1/scripts")).json()["data"]] == ["kept"]
        assert (await http.get("/v1/scripts/kept")).headers["etag"].strip('"') == version
        assert (await http.post("/v1/databases/system:check")).json()["ok"] is True
    services.close()
