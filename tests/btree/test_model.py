"""Random work against a plain dictionary: trees of many shapes, several transactions open at once, snapshots that stay."""

import tempfile
from dataclasses import dataclass, field
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from btree import (
    Conflict,
    Database,
    MemoryPager,
    Pin,
    SavepointNotFound,
    Snapshot,
    SqlitePager,
    Transaction,
    TransactionEnded,
)

keys = st.integers(0, 60).map(lambda n: b"%03d" % n) | st.binary(max_size=4)
values = st.sampled_from([b"1", b'"two"', b'{"a":1}', b'"' + b"x" * 900 + b'"', b'"' + b"y" * 9000 + b'"', b""])


Pairs = dict[bytes, bytes]


@dataclass
class Branch:
    """An open transaction and what is known of it: contents at its base, now, and at the last save; keys written and read."""

    transaction: Transaction
    base: Pairs
    now: Pairs
    saved: Pairs
    written: set[bytes] = field(default_factory=set)
    saved_written: set[bytes] = field(default_factory=set)
    read: set[bytes] = field(default_factory=set)
    ranges: list[tuple[bytes, bytes]] = field(default_factory=list)
    places: list[tuple[str, Pairs]] = field(default_factory=list)


class Transactions(RuleBasedStateMachine):
    """Up to three open transactions, interleaved, resumed through new Database objects, merged, against dictionaries."""

    @initialize(workspace=st.sampled_from([1 << 14, 1 << 25]))
    def open(self, workspace: int) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "model.db"
        self.workspace = workspace
        self.database = self.opened(create=True)
        self.head: Pairs = {}
        self.number = 0
        self.branches: dict[str, Branch] = {}
        self.snapshots: list[tuple[Pin, Snapshot, Pairs]] = []
        self.database.transact(lambda transaction: transaction.create_tree("t"))

    def opened(self, *, create: bool = False) -> Database:
        pager = SqlitePager(str(self.path), create=create)
        return Database(pager, cache_bytes=1 << 16, workspace_bytes=self.workspace)

    def one(self, data: Any) -> tuple[str, Branch]:
        name = data.draw(st.sampled_from(sorted(self.branches)))
        return name, self.branches[name]

    @precondition(lambda self: len(self.branches) < 3)
    @rule(isolation=st.sampled_from(["serializable", "snapshot"]), durable=st.booleans())
    def begin(self, isolation: str, durable: bool) -> None:
        self.number += 1
        name = f"t{self.number}"
        transaction = self.database.begin(name, isolation=isolation, durable=durable)
        if not durable:
            transaction.save()
        self.branches[name] = Branch(transaction, dict(self.head), dict(self.head), dict(self.head))

    @precondition(lambda self: self.branches)
    @rule(data=st.data(), work=st.lists(st.tuples(st.booleans(), keys, values), max_size=25))
    def write(self, data: Any, work: list[tuple[bool, bytes, bytes]]) -> None:
        _, branch = self.one(data)
        tree = branch.transaction.tree("t")
        for put, key, value in work:
            if put:
                tree.put(key, value)
                branch.now[key] = value
                branch.written.add(key)
            elif key in branch.now:
                assert tree.delete(key)
                del branch.now[key]
                branch.written.add(key)
            else:
                assert not tree.delete(key)
                branch.read.add(key)

    @precondition(lambda self: self.branches)
    @rule(data=st.data(), low=keys, high=keys)
    def delete_range(self, data: Any, low: bytes, high: bytes) -> None:
        _, branch = self.one(data)
        gone = [key for key in branch.now if low <= key < high]
        assert branch.transaction.tree("t").delete_range(low, high) == len(gone)
        for key in gone:
            del branch.now[key]
        branch.ranges.append((low, high))

    @precondition(lambda self: self.branches)
    @rule(data=st.data(), low=keys, high=keys, wishes=st.lists(st.none() | values, min_size=1, max_size=9))
    def edit(self, data: Any, low: bytes, high: bytes, wishes: list[bytes | None]) -> None:
        """A leaf at a time: None leaves a pair alone, an empty value removes the leaf's others with it."""
        _, branch = self.one(data)
        expected = sorted(key for key in branch.now if low <= key < high)
        wish = cycle(wishes)
        for part in branch.transaction.tree("t").edits(low, high):
            found, news = part.keys, [next(wish) for _ in range(part.count)]
            assert found == expected[: part.count]
            assert part.values() == [branch.now[key] for key in found]
            del expected[: part.count]
            places = [place for place, new in enumerate(news) if new is not None]
            if b"" in news:
                part.remove(places)
                for place in places:
                    del branch.now[found[place]]
            else:
                part.replace(places, [new for new in news if new is not None])
                branch.now.update((found[place], new) for place, new in enumerate(news) if new is not None)
            branch.written.update(found[place] for place in places)
        assert expected == []
        branch.ranges.append((low, high))

    @precondition(lambda self: self.branches)
    @rule(data=st.data(), key=keys)
    def get(self, data: Any, key: bytes) -> None:
        _, branch = self.one(data)
        assert branch.transaction.tree("t").get(key) == branch.now.get(key)
        branch.read.add(key)

    @precondition(lambda self: self.branches)
    @rule(data=st.data(), low=keys, high=keys, reverse=st.booleans())
    def scan(self, data: Any, low: bytes, high: bytes, reverse: bool) -> None:
        _, branch = self.one(data)
        expected = sorted((key, value) for key, value in branch.now.items() if low <= key < high)
        found = list(branch.transaction.tree("t").scan(low, high, reverse=reverse))
        assert found == (expected[::-1] if reverse else expected)
        branch.ranges.append((low, high) if not reverse else (b"", b"\xff" * 9))

    @precondition(lambda self: self.branches)
    @rule(data=st.data())
    def save(self, data: Any) -> None:
        _, branch = self.one(data)
        branch.transaction.save()
        branch.saved, branch.saved_written = dict(branch.now), set(branch.written)

    @precondition(lambda self: self.branches)
    @rule(data=st.data())
    def discard(self, data: Any) -> None:
        _, branch = self.one(data)
        branch.transaction.discard()
        branch.now = dict(branch.saved)

    @precondition(lambda self: self.branches)
    @rule(data=st.data(), name=st.sampled_from("ab"))
    def savepoint(self, data: Any, name: str) -> None:
        _, branch = self.one(data)
        branch.transaction.savepoint(name)
        branch.saved, branch.saved_written = dict(branch.now), set(branch.written)
        branch.places.append((name, dict(branch.now)))

    @precondition(lambda self: self.branches)
    @rule(data=st.data(), name=st.sampled_from("ab"))
    def rollback_to(self, data: Any, name: str) -> None:
        _, branch = self.one(data)
        if name not in [place for place, _ in branch.places]:
            with pytest.raises(SavepointNotFound):
                branch.transaction.rollback_to(name)
            return
        branch.transaction.rollback_to(name)
        while branch.places[-1][0] != name:
            branch.places.pop()
        branch.now = dict(branch.places[-1][1])
        branch.saved = dict(branch.now)
        assert branch.transaction.savepoints() == [place for place, _ in branch.places]
        assert dict(branch.transaction.tree("t").scan()) == branch.now
        branch.ranges.append((b"", b"\xff" * 9))

    @rule()
    def reopen(self) -> None:
        """Another process goes on: only what was saved is there."""
        self.database.close()
        self.database = self.opened()
        for name, branch in self.branches.items():
            branch.transaction, branch.now = self.database.resume(name), dict(branch.saved)
        self.snapshots = [(pin, self.database.snapshot(pin.version), seen) for pin, _, seen in self.snapshots]

    @precondition(lambda self: self.branches)
    @rule(data=st.data())
    def commit(self, data: Any) -> None:
        name, branch = self.one(data)
        del self.branches[name]
        others = {key for key in {*self.head, *branch.base} if self.head.get(key) != branch.base.get(key)}
        net = {key for key in {*branch.now, *branch.base} if branch.now.get(key) != branch.base.get(key)}
        covered = {key for key in others if any(low <= key < high for low, high in branch.ranges)}
        must = bool(others & net) or (
            branch.transaction.isolation == "serializable" and net and bool(others & branch.read or covered)
        )
        may = must or bool(others & (branch.written | branch.read) or covered)
        before = self.database.head()
        try:
            version = branch.transaction.commit()
        except Conflict:
            assert may, (others, net)
            branch.transaction.rollback()
            return
        assert not must, (others, net, branch.read)
        assert branch.transaction.commit() == version
        for key in net:
            if key in branch.now:
                self.head[key] = branch.now[key]
            else:
                self.head.pop(key, None)
        assert version.seq in (before.seq, before.seq + 1) or not net
        assert dict(self.database.snapshot().tree("t").scan()) == self.head
        assert self.database.snapshot().tree("t").count() == len(self.head)

    @precondition(lambda self: self.branches)
    @rule(data=st.data())
    def rollback(self, data: Any) -> None:
        name, _ = self.one(data)
        self.branches.pop(name).transaction.rollback()
        with pytest.raises(TransactionEnded):
            self.database.resume(name)

    @precondition(lambda self: len(self.snapshots) < 4)
    @rule()
    def snapshot(self) -> None:
        pin = self.database.pin()
        self.snapshots.append((pin, self.database.snapshot(pin.version), dict(self.head)))

    @precondition(lambda self: self.snapshots)
    @rule(data=st.data())
    def unpin(self, data: Any) -> None:
        pin, view, seen = self.snapshots.pop(data.draw(st.integers(0, len(self.snapshots) - 1)))
        changed = {key: new for key, _, new in self.database.difference(view.seq, self.database.head().seq, "t")}
        assert {**seen, **changed} == {**dict.fromkeys(changed), **seen, **changed}
        assert {key: value for key, value in {**seen, **changed}.items() if value is not None} == self.head
        assert self.database.unpin(pin.id)

    @rule()
    def sweep(self) -> None:
        self.database.sweep(retention_seconds=-1.0)

    def teardown(self) -> None:
        if not hasattr(self, "database"):
            return
        for _, view, seen in self.snapshots:
            assert list(view.tree("t").scan()) == sorted(seen.items())
        assert dict(self.database.snapshot().tree("t").scan()) == self.head
        report = self.database.check()
        self.database.close()
        self.folder.cleanup()
        assert report.ok, report.problems


Transactions.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestTransactions = Transactions.TestCase


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), keys, values), max_size=300), st.lists(keys, max_size=8))
def test_a_tree_is_a_sorted_dictionary(work: list[tuple[bool, bytes, bytes]], probes: list[bytes]) -> None:
    database = Database(MemoryPager(f"tree{id(work)}"))
    transaction = database.begin("t")
    tree = transaction.create_tree("t")
    model: dict[bytes, bytes] = {}
    for put, key, value in work:
        if put:
            tree.put(key, value)
            model[key] = value
        else:
            tree.delete(key)
            model.pop(key, None)
    transaction.commit()
    read = database.snapshot().tree("t")
    ordered = sorted(model.items())
    assert list(read.scan()) == ordered
    assert list(read.scan(reverse=True)) == ordered[::-1]
    for probe in probes:
        assert list(read.scan(probe)) == [pair for pair in ordered if pair[0] >= probe]
        assert list(read.scan(None, probe)) == [pair for pair in ordered if pair[0] < probe]
        assert list(read.scan(None, probe, reverse=True)) == [pair for pair in ordered if pair[0] < probe][::-1]
        assert read.get(probe) == model.get(probe)
        cursor = read.cursor()
        assert cursor.find_one(probe) == (probe in model)
        if cursor.valid:
            assert cursor.key == min(key for key in model if key >= probe)
    chunks = [part.values_json for part in read.leaves()]
    assert [value for chunk in chunks for value in chunk.split(b",\n")] == [value for _, value in ordered]
    assert database.check().ok
    database.close()


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(keys, values, max_size=200), st.integers(2, 6))
def test_a_bulk_load_is_the_same_tree(model: dict[bytes, bytes], parts: int) -> None:
    database = Database(MemoryPager(f"load{id(model)}"))
    transaction = database.begin("t")
    transaction.create_tree("t").load(iter(sorted(model.items())))
    transaction.commit()
    read = database.snapshot().tree("t")
    assert dict(read.scan()) == model
    cuts = read.separators(parts)
    assert cuts == sorted(set(cuts))
    assert len(cuts) < parts
    bounds = [None, *cuts, None]
    pieces = [list(read.scan(low, high)) for low, high in pairwise(bounds)]
    assert [pair for piece in pieces for pair in piece] == sorted(model.items())
    assert database.check().ok
    database.close()
