"""Things that go wrong at the edges: pages stored early in the middle of a merge, sweeps at once, bases that are gone, objects of trees that are gone."""

import threading
from pathlib import Path

import apsw
import pytest

import btree.commit
from btree import (
    Conflict,
    Corrupted,
    Database,
    DiskFull,
    KeyExists,
    MemoryPager,
    SqlitePager,
    StorageError,
    Transaction,
    TransactionEnded,
    TreeNotFound,
    VersionNotFound,
)
from btree.access import MANY, TreeAccess
from btree.page import BRANCH_TARGET, Branch


@pytest.mark.parametrize("workspace", [*range(9000, 16000, 400), 10800, 13600])
@pytest.mark.parametrize("other", ["a", "b"])
def test_pages_that_are_stored_early_while_a_commit_is_merged(workspace: int, other: str) -> None:
    pager = MemoryPager(f"early{workspace}{other}")
    database = Database(pager)
    database.transact(lambda t: t.create_tree("a").load((b"%05d" % n, b"1" * 100) for n in range(8000)))
    database.transact(lambda t: t.create_tree("b").put(b"0", b"0"))
    branch = database.begin("branch")
    for number in range(0, 8000, 60):
        branch.tree("a").put(b"%05d" % number, b"2" * 100)
    branch.save()
    small = Database(pager, workspace_bytes=workspace)
    branch = small.resume("branch")
    branch.tree("a").put(b"00000", b"3" * 100)
    database.transact(lambda t: t.tree(other).put(b"00001", b"3" * 100))
    branch.commit()
    assert database.snapshot().tree("a").get(b"00060") == b"2" * 100
    assert database.snapshot().tree(other).get(b"00001") == b"3" * 100
    assert database.check().problems == []
    database.sweep(retention_seconds=-1.0)
    assert database.check().problems == []
    assert database.info().pages == database.check().pages
    database.close()


def test_sweeps_at_once(tmp_path: Path) -> None:
    path = tmp_path / "sweeps.db"
    failed: list[BaseException] = []
    with Database.open(path, create=True) as database:
        database.transact(lambda t: t.create_tree("t"))
        stop = threading.Event()

        def sweep() -> None:
            try:
                with Database.open(path) as mine:
                    while not stop.is_set():
                        mine.sweep(retention_seconds=-1.0)
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=sweep) for _ in range(3)]
        for thread in threads:
            thread.start()
        for number in range(300):
            database.transact(lambda t, n=number: t.tree("t").put(b"%d" % (n % 7), b"%d" % n), attempts=100)  # type: ignore[misc]
        stop.set()
        for thread in threads:
            thread.join()
        assert failed == []
        assert database.check().problems == []


def moved_on(database: Database) -> None:
    """Two more commits, and nothing is kept of what was before."""
    for key in (b"00001", b"01999"):
        database.transact(lambda t, key=key: t.tree("t").put(key, b"3"))  # type: ignore[misc]
    database.sweep(retention_seconds=-1.0)


@pytest.mark.parametrize("what", ["save", "commit", "renew"])
def test_a_transaction_whose_base_is_gone_does_not_become_durable(database: Database, what: str) -> None:
    database.transact(lambda t: t.create_tree("t").load((b"%05d" % n, b"1" * 100) for n in range(2000)))
    late = database.begin("late", durable=False)
    late.tree("t").put(b"00000", b"2")
    late.tree("t").settle()
    moved_on(database)
    with pytest.raises(Conflict):
        getattr(late, what)()
    late.rollback()
    assert database.status("late").state == "unknown"
    assert database.check().problems == []


def test_what_a_branch_without_writes_has_made_is_given_back(database: Database) -> None:
    database.transact(lambda t: t.create_tree("t"))
    branch = database.begin("branch")
    branch.savepoint("place")
    branch.tree("t").put(b"k", b"1")
    branch.save()
    branch.rollback_to("place")
    branch.commit()
    assert database.info().branch_pages > 0
    database.sweep()
    assert database.info().branch_pages == 0


def test_a_conflict_stays_a_conflict(database: Database) -> None:
    database.transact(lambda t: t.create_tree("t"))
    branch = database.begin("branch")
    branch.tree("t").put(b"k", b"1")
    database.transact(lambda t: t.tree("t").put(b"k", b"2"))
    for _ in range(2):
        with pytest.raises(Conflict):
            branch.commit()
    branch.rollback()


def test_a_commit_is_told_again_when_its_version_is_gone(database: Database) -> None:
    database.transact(lambda t: t.create_tree("t"))
    one = database.begin("t")
    other = database.resume("t")
    one.tree("t").put(b"k", b"1")
    version = one.commit()
    database.transact(lambda t: t.tree("t").put(b"k", b"2"))
    database.sweep(retention_seconds=-1.0)
    with pytest.raises(VersionNotFound):
        database.version(version.seq)
    assert other.commit().seq == version.seq
    assert one.commit() == version


@pytest.mark.parametrize("seq", [-(10**30), -1, 1 << 62, 1 << 63, 10**30])
def test_there_is_no_version_of_a_number_that_none_has(database: Database, seq: int) -> None:
    with pytest.raises(VersionNotFound, match="there is no version"):
        database.version(seq)


def test_very_many_ranges_are_covered_by_fewer() -> None:
    done = TreeAccess()
    read = [(b"%07d" % (4 * number), b"%07d" % (4 * number + 2)) for number in range(5 * MANY)]
    for lower, upper in read:
        done.read(lower, upper)
    ranges = done.all_ranges()
    assert len(ranges) <= MANY
    starts = iter(ranges)
    current = next(starts)
    for lower, upper in read:
        while current[1] is not None and current[1] < upper:
            current = next(starts)
        assert current[0] is not None
        assert current[0] <= lower


def test_backups_leave_nothing_beside_them(database: Database, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    database.back_up(folder / "copy.db")
    assert [path.name for path in folder.iterdir()] == ["copy.db"]


def test_objects_of_trees_that_are_gone(database: Database) -> None:
    branch = database.begin("branch")
    made = branch.create_tree("made")
    for number in range(2000):
        made.put(b"%05d" % number, b"1" * 50)
    scan = made.scan()
    next(scan)
    branch.discard()
    list(scan)
    assert made.get(b"00001") is None
    with pytest.raises(TreeNotFound):
        branch.tree("made")
    branch.create_tree("kept").put(b"k", b"1")
    branch.save()
    kept = branch.tree("kept")
    branch.drop_tree("kept")
    branch.discard()
    kept.put(b"k", b"2")
    branch.commit()
    assert database.snapshot().tree("kept").get(b"k") == b"2"


def test_a_tree_that_is_dropped_while_others_change_it_and_back(database: Database) -> None:
    database.transact(lambda t: t.create_tree("t").put(b"k", b"1"))
    branch = database.begin("branch", isolation="snapshot")
    branch.drop_tree("t")
    for value in (b"2", b"1"):
        database.transact(lambda t, value=value: t.tree("t").put(b"k", value))  # type: ignore[misc]
    branch.commit()
    assert not database.snapshot().has_tree("t")


def test_branches_of_long_keys_stay_small(tmp_path: Path) -> None:
    database = Database(SqlitePager(str(tmp_path / "long.db"), create=True))

    def fill(t):  # type: ignore[no-untyped-def]
        tree = t.create_tree("t")
        for number in range(3000):
            tree.put(b"%06d" % (number * 7919 % 3000) + b"k" * 1000, b'"' + b"x" * (number % 5000) + b'"')
            if number % 100 == 0:
                tree.settle()

    database.transact(fill)
    for page, body in database.pager.read("SELECT id, body FROM page"):
        if isinstance(database.cache.node(page), Branch):
            assert len(body) <= BRANCH_TARGET + 1100, page
    assert database.check().problems == []
    database.close()


class FullOnce(SqlitePager):
    """Has no room for one write block."""

    full = False

    def write(self):  # type: ignore[no-untyped-def]
        if self.full:
            self.full = False
            raise DiskFull("the disk is full")
        return super().write()


def test_half_of_a_change_is_never_saved(tmp_path: Path) -> None:
    pager = FullOnce(str(tmp_path / "half.db"), create=True)
    database = Database(pager, workspace_bytes=1 << 16)
    database.transact(lambda t: (t.create_tree("t"), t.create_tree("other")))
    branch = database.begin("branch")
    for number in range(5000):
        branch.tree("t").put(b"%05d" % number, b"1" * 100)
    pager.full = True
    with pytest.raises(DiskFull):
        branch.tree("t").count()
    branch.tree("other").put(b"k", b"1")
    for attempt in (branch.tree("other").count, branch.save, branch.commit):
        with pytest.raises(StorageError):
            attempt()
    branch.discard()
    branch.tree("other").put(b"k", b"1")
    branch.commit()
    assert database.snapshot().tree("t").count() == 0
    assert database.snapshot().tree("other").get(b"k") == b"1"
    assert database.check().problems == []
    database.close()


@pytest.mark.parametrize("large", [False, True])
def test_two_attempts_at_one_commit(database: Database, large: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one gets there between the look at the transaction and the write: it is one commit, told to both."""
    database.transact(lambda t: t.create_tree("t").load((b"%06d" % n, b"1" * 100) for n in range(20_000)))
    branch = database.begin("branch")
    for number in range(0, 20_000, 60 if large else 19_000):
        branch.tree("t").put(b"%06d" % number, b"2")
    branch.save()
    one, other = database.resume("branch"), database.resume("branch")
    prepare = btree.commit.Commit.prepare

    def late(commit: btree.commit.Commit) -> None:
        monkeypatch.undo()
        other.commit("step", b"1")
        prepare(commit)

    monkeypatch.setattr(btree.commit.Commit, "prepare", late)
    assert one.commit("step", b"1") == other.commit("step", b"1")
    assert database.head().seq == 3


def test_a_commit_without_what_is_unsaved_here_is_not_told_as_ours(database: Database) -> None:
    database.transact(lambda t: t.create_tree("t"))
    one = database.begin("t")
    other = database.resume("t")
    other.tree("t").put(b"k", b"1")
    one.commit()
    with pytest.raises(TransactionEnded):
        other.commit()
    assert database.snapshot().tree("t").get(b"k") is None


def test_a_step_is_recorded_once(database: Database) -> None:
    branch = database.begin("t")
    branch.create_tree("t")
    branch.save("step", b"1")
    branch.tree("t").put(b"k", b"1")
    with pytest.raises(KeyExists):
        branch.save("step", b"2")
    assert branch.recorded("step") == b"1"
    branch.save("next", b"3")
    assert branch.commit().seq == 2


def test_a_scan_goes_on_while_pages_of_its_tree_are_stored_early(tmp_path: Path) -> None:
    database = Database(SqlitePager(str(tmp_path / "scan.db"), create=True), workspace_bytes=1 << 18)

    def copy(t: Transaction) -> int:
        source = t.create_tree("source")
        for number in range(3000):
            source.put(b"%05d" % number, b"1" * 60)
        return t.create_tree("copy").load(source.scan())

    assert database.transact(copy) == 3000
    view = database.snapshot()
    assert list(view.tree("copy").scan()) == list(view.tree("source").scan())
    assert database.check().problems == []
    database.close()


@pytest.mark.parametrize(
    ("lost", "told"),
    [("seq > 2", "the state of the database is missing"), ("seq <= 2", "the newest version 2 is missing")],
)
def test_a_file_without_its_versions_is_not_a_new_one(tmp_path: Path, lost: str, told: str) -> None:
    path = tmp_path / "lost.db"
    with Database.open(path, create=True) as database:
        database.transact(lambda t: t.create_tree("t"))
    connection = apsw.Connection(str(path))
    connection.execute(f"DELETE FROM version WHERE {lost}")
    connection.close()
    with pytest.raises(Corrupted, match=told):
        Database.open(path)


@pytest.mark.parametrize("end", ["commit", "rollback"])
@pytest.mark.parametrize("durable", [True, False])
def test_the_trees_of_an_ended_transaction_refuse_everything(tmp_path: Path, end: str, durable: bool) -> None:
    with Database.open(tmp_path / "ended.db", create=True) as database:
        database.transact(lambda t: t.create_tree("old").put(b"a", b"1"))
        transaction = database.begin("t", durable=durable)
        old, new = transaction.tree("old"), transaction.create_tree("new")
        old.put(b"b", b"2")
        new.put(b"c", b"3")
        getattr(transaction, end)()
        for tree in (old, new):
            for use in (
                lambda tree=tree: tree.get(b"a"),
                lambda tree=tree: tree.put(b"z", b"1"),
                lambda tree=tree: tree.delete(b"a"),
                lambda tree=tree: tree.delete_range(),
                lambda tree=tree: list(tree.scan()),
                lambda tree=tree: tree.count(),
            ):
                with pytest.raises(TransactionEnded):
                    use()
        with pytest.raises(TransactionEnded):
            transaction.create_tree("more")
        assert database.snapshot().trees() == (["new", "old"] if end == "commit" else ["old"])


def test_an_interrupt_at_the_commit_holds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(connection: apsw.Connection) -> None:
        raise KeyboardInterrupt

    with Database.open(tmp_path / "interrupt.db", create=True) as database:
        database.transact(lambda t: t.create_tree("t").put(b"a", b"1"))
        head = database.head().seq
        with monkeypatch.context() as patch:
            patch.setattr(database.pager, "commit", interrupted)
            with pytest.raises(KeyboardInterrupt):
                database.transact(lambda t: t.tree("t").put(b"b", b"2"))
        assert database.head().seq == head
        with Database.open(tmp_path / "interrupt.db") as other:
            other.transact(lambda t: t.tree("t").put(b"c", b"3"))
        database.transact(lambda t: t.tree("t").put(b"d", b"4"))
        assert [key for key, _ in database.snapshot().tree("t").scan()] == [b"a", b"c", b"d"]


def test_the_row_of_the_state_is_no_version(tmp_path: Path) -> None:
    with Database.open(tmp_path / "state.db", create=True) as database:
        assert [version.seq for version in database.versions(before=1 << 63 - 1)] == [1]
        assert [version.seq for version in database.versions(before=(1 << 63) - 1)] == [1]
        for seq in (1 << 62, (1 << 62) + 1):
            with pytest.raises(VersionNotFound):
                database.version(seq)
