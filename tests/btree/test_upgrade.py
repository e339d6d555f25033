"""Files of every format that there was are opened, and lose nothing."""

import shutil
from pathlib import Path

import apsw
import pytest

from btree import Corrupted, Database, ReadOnly, TransactionEnded, WrongFormat

FILES = Path(__file__).parent / "files"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A file as format 1 wrote it: five versions, an open branch with two saved steps, and one that was rolled back."""
    path = tmp_path / "old.db"
    shutil.copy(FILES / "format-1.sqlite", path)
    return path


def people(count: int) -> dict[bytes, bytes]:
    return {b"%04d" % n: b'{"n":%d}' % n for n in range(count)}


def test_all_versions_of_a_format_1_file_are_there(old: Path) -> None:
    with Database.open(old) as database:
        assert [version.seq for version in database.versions()] == [5, 4, 3, 2, 1]
        assert database.snapshot(1).trees() == []
        first = people(700)
        assert dict(database.snapshot(2).tree("people").scan()) == first
        second = {**first, **{b"%04d" % n: b'{"n":%d,"changed":true}' % n for n in range(0, 700, 70)}}
        assert dict(database.snapshot(3).tree("people").scan()) == second
        last = {key: value for key, value in second.items() if not b"0100" <= key < b"0300"}
        assert dict(database.snapshot().tree("people").scan()) == last
        assert database.snapshot().trees() == ["empty", "people"]
        report = database.check()
        assert report.ok, report.problems


def test_open_branches_of_a_format_1_file_go_on(old: Path) -> None:
    with Database.open(old) as database:
        branch = database.resume("open-branch")
        assert branch.recorded("step-1") == b'{"done":1}'
        assert branch.recorded("step-2") == b'{"done":2}'
        assert branch.tree("people").get(b"0001") == b'"from the branch"'
        branch.tree("people").put(b"0002", b'"again"')
        branch.commit()
        assert database.snapshot().tree("people").get(b"0002") == b'"again"'
        with pytest.raises(TransactionEnded):
            database.resume("gone")
        swept = database.sweep(retention_seconds=-1.0)
        assert swept.versions == 5
        assert swept.pages > 0
        report = database.check()
        assert report.ok, report.problems


def test_an_upgrade_that_fails_leaves_the_file_as_it_was(old: Path) -> None:
    connection = apsw.Connection(str(old))
    ((page, body),) = connection.execute("SELECT id, body FROM page ORDER BY id LIMIT 1")
    connection.execute("DELETE FROM page WHERE id = ?", (page,))
    connection.close()
    with pytest.raises(Corrupted):
        Database.open(old)
    connection = apsw.Connection(str(old))
    assert connection.pragma("user_version") == 1
    connection.execute("INSERT INTO page VALUES (?, ?)", (page, body))
    connection.close()
    with Database.open(old) as database:
        assert database.check().ok


def test_newer_formats_and_read_only_upgrades_are_refused(old: Path) -> None:
    with pytest.raises(ReadOnly):
        Database.open(old, read_only=True)
    connection = apsw.Connection(str(old))
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(WrongFormat, match="format 99"):
        Database.open(old)
