"""What must survive: kill -9 at any moment, several processes at once, a COMMIT that reports an error, flipped bytes."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import apsw
import pytest

from btree import Conflict, Corrupted, Database, InvalidKey, InvalidValue, SqlitePager, StorageError

WRITER = """
import sys
from pathlib import Path
from btree import Database
database = Database.open(Path(sys.argv[1]))
number = int(sys.argv[2])
branch = database.begin(f"branch-{number}")
branch.tree("t").put(b"branch-%d" % number, b"1")
branch.save("step", b"1")
print("saved", number, flush=True)
while True:
    number += 1
    database.transact(lambda t: t.tree("t").put(b"%08d" % number, b'"' + b"x" * (number % 700) + b'"'))
    print("committed", number, flush=True)
"""

ADDER = """
import sys
from pathlib import Path
from btree import Database
database = Database.open(Path(sys.argv[1]))
def add(t):
    tree = t.tree("t")
    tree.put(b"sum", b"%d" % (int(tree.get(b"sum")) + 1))
for _ in range(int(sys.argv[2])):
    database.transact(add, attempts=1000)
"""


def with_tree(path: Path) -> None:
    with Database.open(path, create=True) as database:
        database.transact(lambda transaction: transaction.create_tree("t").put(b"sum", b"0"))


def test_kill_nine_loses_no_acknowledged_commit(tmp_path: Path) -> None:
    path = tmp_path / "kill.db"
    with_tree(path)
    seed = random.SystemRandom().randrange(1 << 30)
    print("seed", seed)
    rng = random.Random(seed)
    last, branches = 0, []
    for _ in range(12):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(last)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        branches.append(process.stdout.readline().split())
        assert branches[-1][:1] == ["saved"]
        time.sleep(rng.uniform(0.0, 0.08))
        process.send_signal(signal.SIGKILL)
        complete = [line for line in process.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
        acknowledged = [line.split() for line in complete if line.startswith("committed")]
        process.stdout.close()
        process.wait()
        with Database.open(path) as database:
            tree = database.snapshot().tree("t")
            for _, number in acknowledged:
                assert tree.get(b"%08d" % int(number)) is not None, f"commit {number} was acknowledged and is lost"
            assert database.check().ok
            last = max([last, *(int(number) for _, number in acknowledged)]) + 1
            branch = database.resume(f"branch-{branches[-1][1]}")
            assert branch.recorded("step") == b"1"
            assert branch.tree("t").get(b"branch-%d" % int(branches[-1][1])) == b"1"
            branch.rollback()


def test_processes_lose_no_update(tmp_path: Path) -> None:
    path = tmp_path / "many.db"
    with_tree(path)
    adders = [subprocess.Popen([sys.executable, "-c", ADDER, str(path), "40"]) for _ in range(3)]
    assert [adder.wait() for adder in adders] == [0, 0, 0]
    with Database.open(path) as database:
        assert database.snapshot().tree("t").get(b"sum") == b"120"
        assert database.check().ok


def test_threads_share_a_database(tmp_path: Path) -> None:
    path = tmp_path / "threads.db"
    with_tree(path)
    with Database.open(path) as database:

        def add() -> None:
            for _ in range(25):
                database.transact(
                    lambda t: t.tree("t").put(b"sum", b"%d" % (int(t.tree("t").get(b"sum") or b"") + 1)), attempts=1000
                )

        threads = [threading.Thread(target=add) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert database.snapshot().tree("t").get(b"sum") == b"100"


class FailingPager(SqlitePager):
    """Reports an error from the next COMMIT: before it, or behind it."""

    fail: str | None = None

    def commit(self, connection: apsw.Connection) -> None:
        if self.fail == "before":
            self.fail = None
            raise apsw.IOError("disk I/O error")
        super().commit(connection)
        if self.fail == "behind":
            self.fail = None
            raise apsw.IOError("disk I/O error in the checkpoint")


def test_a_commit_that_reports_an_error_is_looked_up(tmp_path: Path) -> None:
    pager = FailingPager(str(tmp_path / "unknown.db"), create=True)
    database = Database(pager)
    transaction = database.begin("a")
    transaction.create_tree("t").put(b"k", b"1")
    pager.fail = "behind"
    assert transaction.commit("step", b'"result"').seq == 2
    assert database.snapshot().tree("t").get(b"k") == b"1"
    assert database.recorded("a", "step") == b'"result"'
    again = database.begin("b")
    again.tree("t").put(b"k", b"2")
    pager.fail = "before"
    with pytest.raises(StorageError):
        again.commit()
    assert database.snapshot().tree("t").get(b"k") == b"1"
    assert again.commit().seq == 3
    assert database.snapshot().tree("t").get(b"k") == b"2"
    assert database.check().ok
    database.close()


def test_a_failed_save_does_not_poison_the_cache(tmp_path: Path) -> None:
    """Page ids of a rolled-back write are given out again: nothing of it may be remembered under them."""
    pager = FailingPager(str(tmp_path / "poison.db"), create=True)
    database = Database(pager)
    loser = database.begin("loser")
    loser.create_tree("t").put(b"k", b'"lost"')
    pager.fail = "before"
    with pytest.raises(StorageError):
        loser.save()
    winner = database.begin("winner")
    winner.create_tree("t").put(b"k", b'"won"')
    winner.commit()
    assert database.snapshot().tree("t").get(b"k") == b'"won"'
    assert database.check().ok
    database.close()


def test_every_flipped_byte_of_a_page_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "flip.db"
    with Database.open(path, create=True) as database:
        database.transact(lambda t: t.create_tree("t").load((b"%04d" % n, b'{"n":%d}' % n) for n in range(600)))
    connection = apsw.Connection(str(path))
    pages = list(connection.execute("SELECT id, body FROM page"))
    good = dict(pages)
    rng = random.Random(7)
    for page, body in pages:
        places = range(len(body)) if len(body) < 400 else rng.sample(range(len(body)), 150)
        for place in places:
            broken = bytearray(body)
            broken[place] ^= 1 << rng.randrange(8)
            connection.execute("UPDATE page SET body = ? WHERE id = ?", (bytes(broken), page))
            with Database.open(path) as database, pytest.raises(Corrupted):
                database.cache.node(page)
        connection.execute("UPDATE page SET body = ? WHERE id = ?", (good[page], page))
    connection.close()
    with Database.open(path) as database:
        assert database.check().ok


def test_a_missing_page_is_reported_by_check(tmp_path: Path) -> None:
    path = tmp_path / "hole.db"
    with Database.open(path, create=True) as database:
        database.transact(lambda t: t.create_tree("t").load((b"%04d" % n, b"1" * 50) for n in range(900)))
    connection = apsw.Connection(str(path))
    connection.execute("DELETE FROM page WHERE id = (SELECT min(id) + 1 FROM page)")
    connection.close()
    with Database.open(path) as database:
        assert any("missing" in problem for problem in database.check().problems)


def test_keys_and_values_have_limits(database: Database) -> None:
    tree = database.begin("t").create_tree("t")
    with pytest.raises(InvalidKey):
        tree.put(b"k" * 1025, b"1")
    with pytest.raises(InvalidValue):
        tree.put(b"k", b'{"a":\n1}')
    with pytest.raises(InvalidKey):
        tree.load([(b"b", b"1"), (b"a", b"1")])
    big = b'"' + b"x" * (1 << 20) + b'"'
    tree.put(b"big", big)
    assert tree.get(b"big") == big


def test_a_branch_continued_elsewhere_is_a_conflict(database: Database) -> None:
    one = database.begin("t")
    one.create_tree("t")
    two = database.resume("t")
    one.save()
    two.create_tree("u")
    with pytest.raises(Conflict):
        two.save()


def test_files_that_are_not_ours_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE x (a)")
    connection.close()
    from btree import DatabaseNotFound, WrongFormat

    with pytest.raises(WrongFormat):
        Database.open(path)
    with pytest.raises(DatabaseNotFound):
        Database.open(tmp_path / "none.db")
    path.write_bytes(os.urandom(8192))
    with pytest.raises(Corrupted):
        Database.open(path)
