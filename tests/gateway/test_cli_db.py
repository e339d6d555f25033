"""`sop db` against a real gateway: upkeep, history and backups from the command line."""

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from btree import Database
from gateway.data import backups
from gateway.digests import digest_text
from query import drop_store, open_store
from tests.gateway.conftest import Gateway, Sop


async def prepare(gateway: Gateway) -> Database:
    """A database `crm` with a store `people`: version 2 is empty, 3 has two records, 4 another two."""
    await gateway.http.post("/v1/databases", json={"name": "crm"})
    await gateway.http.post("/v1/databases/crm/stores", json={"name": "people", "primary_key": ["id"]})
    opened = gateway.services.databases.open("crm")
    opened.transact(lambda transaction: put(transaction, {"id": 1, "n": "a"}, {"id": 2, "n": "b"}))
    opened.transact(lambda transaction: put(transaction, {"id": 1, "n": "A"}, {"id": 3, "n": "[bold]c"}, gone=2))
    assert opened.head().seq == 4
    return opened


def put(transaction: Any, *records: dict[str, Any], gone: Any = None) -> None:
    store = open_store(transaction, "people")
    for record in records:
        store.upsert(record)
    if gone is not None:
        store.delete(gone)


def damage(opened: Database) -> int:
    """Change a byte of a page behind everybody's back; the page."""
    ((page, body),) = opened.pager.read("SELECT id, body FROM page ORDER BY id DESC LIMIT 1")
    with opened.pager.write() as writer:
        writer.execute("UPDATE page SET body = ? WHERE id = ?", (bytes([*body[:-1], body[-1] ^ 1]), page))
    return int(page)


def files(folder: Path) -> list[str]:
    """The backups, whole or not, that are in a folder."""
    return [path.name for path in folder.iterdir() if path.name.startswith("crm")]


async def test_looking_at_databases(sop: Sop, gateway: Gateway) -> None:
    opened = await prepare(gateway)
    await gateway.http.post("/v1/databases", json={"name": "empty"})
    size = opened.info().file_bytes
    listed = await sop("db", "ls")
    lines = [line.split() for line in listed.out.splitlines()]
    assert lines[0] == ["NAME", "FILE", "BYTES", "VERSION", "STORES"]
    assert (lines[1], lines[2][0], lines[2][2:]) == (["crm", str(size), "4", "1"], "empty", ["1", "0"])
    assert [row["name"] for row in (await sop("db", "ls", "-o", "json")).json] == ["crm", "empty"]
    shown = await sop("db", "info", "crm")
    assert re.search(r"^stores +people *$", shown.out, re.MULTILINE)
    assert re.search(rf"^file bytes +{size} *$", shown.out, re.MULTILINE)
    assert (await sop("db", "info", "crm", "-o", "json")).json["space"] == opened.info().to_dict()


async def test_one_database_that_cannot_be_read_does_not_hide_the_others(sop: Sop, gateway: Gateway) -> None:
    await prepare(gateway)
    (gateway.services.data_dir / "databases" / "broken.db").write_bytes(b"no database, but much text" * 1000)
    found = await sop("db", "ls", "-o", "json")
    assert found.code == 1 and "cannot be read" in found.err
    assert [row["name"] for row in found.json] == ["broken", "crm"]
    assert "SQLite cannot read the file" in found.json[0]["problem"]
    assert (await sop("db", "check", "broken")).code == 1


async def test_a_check_tells_by_its_exit_code(sop: Sop, gateway: Gateway) -> None:
    opened = await prepare(gateway)
    fine = await sop("db", "check", "crm")
    assert (fine.code, fine.err) == (0, "") and re.search(r"^ok +true *$", fine.out, re.MULTILINE)
    page = damage(opened)
    wrong = await sop("db", "check", "crm")
    assert wrong.code == 1 and f"page {page}" in wrong.err and "crm is not in order" in wrong.err
    told = await sop("db", "check", "crm", "-o", "json")
    assert (told.code, told.json["ok"]) == (1, False) and told.json["problems"]


async def test_compacting(sop: Sop, gateway: Gateway) -> None:
    opened = await prepare(gateway)
    assert (await sop("db", "compact", "crm", "-o", "json")).json["swept"]["versions"] == 0
    done = await sop("db", "compact", "crm", "--retention", "0", "-o", "json")
    assert (done.code, done.json["swept"]["versions"], opened.info().versions) == (0, 3, 1)
    assert done.json["bytes_after"] == opened.info().file_bytes <= done.json["bytes_before"]
    gone = await sop("db", "diff", "crm/people", "--from", "3")
    assert gone.code == 3 and "version 3 is not kept any more" in gone.err and "hint: the newest is 4" in gone.err


async def test_history_and_differences(sop: Sop, gateway: Gateway) -> None:
    await prepare(gateway)
    versions = (await sop("db", "history", "crm", "-o", "json")).json
    assert [row["seq"] for row in versions] == [4, 3, 2, 1]
    assert len((await sop("db", "history", "crm", "--limit", "2")).out.splitlines()) == 3
    table = await sop("db", "diff", "crm/people", "--from", "3")
    lines = [re.split(r"  +", line.strip()) for line in table.out.splitlines()]
    assert lines == [
        ["KEY", "CHANGE", "BEFORE", "AFTER"],
        ["[1]", "updated", '{"id": 1, "n": "a"}', '{"id": 1, "n": "A"}'],
        ["[2]", "deleted", '{"id": 2, "n": "b"}'],
        ["[3]", "added", '{"id": 3, "n": "[bold]c"}'],
    ]
    assert table.err == ""
    times = [versions[1]["committed_at"], versions[0]["committed_at"]]
    timed = await sop("db", "diff", "crm/people", "--from", times[0], "--to", times[1], "-o", "ndjson")
    assert [json.loads(row)["key"] for row in timed.out.splitlines()] == [[1], [2], [3]]
    some = await sop("db", "diff", "crm/people", "--from", "2", "--to", "3", "--limit", "1", "-o", "json")
    assert len(some.json) == 1 and "more than 1 changes" in some.err
    exact = await sop("db", "diff", "crm/people", "--from", "2", "--to", "3", "--limit", "2", "-o", "json")
    assert len(exact.json) == 2 and exact.err == ""


async def test_a_store_is_restored(sop: Sop, gateway: Gateway) -> None:
    opened = await prepare(gateway)
    counted = await sop("db", "restore", "crm/people", "--version", "3", "--dry-run", "-o", "json")
    assert (counted.json["changed"], counted.json["dry_run"], opened.head().seq) == (3, True, 4)
    done = await sop("db", "restore", "crm/people", "--version", "3", "-o", "json")
    assert (done.code, done.json["changed"], done.json["version"]) == (0, 3, 5)
    assert [row["n"] for row in (await sop("data", "ls", "crm/people", "-o", "json")).json] == ["a", "b"]
    at = (await sop("db", "history", "crm", "-o", "json")).json[1]["committed_at"]
    opened.transact(lambda transaction: drop_store(transaction, "people"))
    back = await sop("db", "restore", "crm/people", "--at", at, "-o", "json")
    assert (back.json["restored"], back.json["changed"]) == (4, 2)
    assert [row["n"] for row in (await sop("data", "ls", "crm/people", "-o", "json")).json] == ["A", "[bold]c"]
    early = await sop("db", "restore", "crm/people", "--version", "1")
    assert early.code == 3 and "version 1 has no store 'people'" in early.err


async def test_a_backup_and_back(sop: Sop, gateway: Gateway, tmp_path: Path) -> None:
    opened = await prepare(gateway)
    file = tmp_path / "crm.backup"
    saved = await sop("db", "backup", "crm", str(file), "-o", "json")
    assert (saved.code, saved.err) == (0, "")
    assert saved.json == {"database": "crm", "version": 4, "file": str(file), "bytes": file.stat().st_size}
    with Database.open(file) as copy:
        assert open_store(copy.snapshot(), "people").count() == 2
    opened.transact(lambda transaction: put(transaction, gone=1))
    again = await sop("db", "backup", "crm", str(file))
    assert again.code == 5 and "is there already" in again.err
    taken = await sop("db", "restore", "crm", str(file))
    assert taken.code == 5 and "hint: restore it under another name" in taken.err
    made = await sop("db", "restore", "crm_again", str(file), "-o", "json")
    assert (made.code, made.json["name"], made.json["version"]) == (0, "crm_again", 4)
    assert (await sop("data", "get", "crm_again/people", "1")).json == {"id": 1, "n": "A"}
    file.write_bytes(file.read_bytes()[:-1000])
    cut = await sop("db", "restore", "third", str(file))
    assert cut.code == 2 and "the file is no backup that is in order" in cut.err
    assert files(tmp_path) == ["crm.backup"]


async def test_a_backup_that_does_not_arrive_whole_makes_no_file(
    sop: Sop, gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = await prepare(gateway)
    file = tmp_path / "crm.backup"
    with monkeypatch.context() as patched:
        patched.setattr(backups, "digest_of", lambda file: digest_text(b"another"))
        other = await sop("db", "backup", "crm", str(file))
    assert other.code == 1 and "what arrived is not what was sent" in other.err
    assert files(tmp_path) == []
    nowhere = await sop("db", "backup", "crm", str(tmp_path / "nowhere" / "x"))
    assert nowhere.code == 2 and "No such file or directory" in nowhere.err
    page = damage(opened)
    damaged = await sop("db", "backup", "crm", str(file))
    assert damaged.code == 7 and f"page {page}" in damaged.err
    assert files(tmp_path) == []


async def test_wrong_usage(sop: Sop, gateway: Gateway, tmp_path: Path) -> None:
    await prepare(gateway)
    wrong = {
        ("db", "info", "nope"): 3,
        ("db", "info", "crm/people"): 2,
        ("db", "history", "system"): 4,
        ("db", "diff", "system/_keys", "--from", "1"): 4,
        ("db", "restore", "system/_keys", "--version", "1"): 4,
        ("db", "compact", "crm", "--retention", "-1"): 2,
        ("db", "history", "nope"): 3,
        ("db", "history", "crm", "--limit", "0"): 2,
        ("db", "diff", "crm", "--from", "1"): 2,
        ("db", "diff", "crm/people"): 2,
        ("db", "diff", "crm/people", "--from", "yesterday"): 2,
        ("db", "diff", "crm/people", "--from", "99"): 3,
        ("db", "diff", "crm/nope", "--from", "1"): 3,
        ("db", "restore", "crm/people"): 2,
        ("db", "restore", "crm/people", "--version", "1", "--at", "2026-01-01T00:00:00Z"): 2,
        ("db", "restore", "crm", "--version", "1"): 2,
        ("db", "restore", "crm2", "/nowhere/x"): 2,
        ("db", "restore", "crm2", __file__, "--version", "1"): 2,
        ("db", "restore", "crm2", __file__): 2,
        ("db", "restore", "crm/people", "--version", "99"): 3,
        ("db", "restore", "system", __file__): 4,
        ("db", "backup", "nope", str(tmp_path / "x")): 3,
        ("db", "backup", "crm", __file__): 5,
    }
    for words, code in wrong.items():
        found = await sop(*words)
        assert (found.code, found.out) == (code, ""), (words, found)
        assert found.err, words
    assert not (tmp_path / "x").exists()


async def test_the_systems_own_database(sop: Sop, gateway: Gateway, tmp_path: Path) -> None:
    await prepare(gateway)
    assert [row["name"] for row in (await sop("db", "ls", "-o", "json")).json] == ["crm"]
    shown = (await sop("db", "info", "system", "-o", "json")).json
    assert (shown["name"], shown["stores"]) == ("system", [])
    assert (await sop("db", "check", "system", "-o", "json")).json["ok"] is True
    assert (await sop("db", "compact", "system", "--retention", "0")).code == 0
    file = tmp_path / "system.db"
    saved = await sop("db", "backup", "system", str(file), "-o", "json")
    assert (saved.code, saved.json["bytes"]) == (0, file.stat().st_size)
    for name in ("system", "another"):
        refused = await sop("db", "restore", name, str(file))
        assert (refused.code, refused.out) == (4, ""), refused
    assert (await sop("db", "ls", "-o", "json")).code == 0


async def test_a_pipe_gets_data_only(gateway: Gateway, url: str, tmp_path: Path) -> None:
    """The command itself, as a process: no progress bar where no terminal is."""
    await prepare(gateway)
    command = [Path(sys.executable).parent / "sop", "db", "backup", "crm", "crm.backup", "-o", "ndjson"]
    environment = {**os.environ, "SOP_URL": url, "SOP_API_KEY": gateway.key}
    done = await asyncio.to_thread(
        subprocess.run, command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["bytes"] == (tmp_path / "crm.backup").stat().st_size


async def test_a_terminal_gets_a_progress_bar(gateway: Gateway, url: str, tmp_path: Path) -> None:
    await prepare(gateway)
    environment = {**os.environ, "SOP_URL": url, "SOP_API_KEY": gateway.key, "TERM": "xterm", "COLUMNS": "100"}
    sop = Path(sys.executable).parent / "sop"
    for words, label in ((["backup", "crm", "crm.backup"], "saving"), (["restore", "again", "crm.backup"], "sending")):
        ours, theirs = os.openpty()
        try:
            done = await asyncio.to_thread(
                subprocess.run, [sop, "db", *words], env=environment, cwd=tmp_path, stdout=-1, stderr=theirs, timeout=30
            )
            shown = os.read(ours, 100_000).decode()
        finally:
            os.close(ours)
            os.close(theirs)
        assert done.returncode == 0, shown
        assert label in shown and label not in done.stdout.decode()
