"""Random work against a plain dictionary: trees of many shapes, several transactions open at once, snapshots that stay."""

import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from btree import Conflict, Database, MemoryPager, Snapshot, Transaction, TransactionEnded

keys = st.integers(0, 60).map(lambda n: b"%03d" % n) | st.binary(max_size=4)
values = st.sampled_from([b"1", b'"two"', b'{"a":1}', b'"' + b"x" * 900 + b'"', b'"' + b"y" * 9000 + b'"', b""])


class Transactions(RuleBasedStateMachine):
    """Up to three open transactions, interleaved, resumed through new Database objects, against copies of a dictionary."""

    @initialize()
    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "model.db"
        self.database = Database.open(self.path, create=True, cache_bytes=1 << 16)
        self.head: dict[bytes, bytes] = {}
        self.seq = 1
        self.number = 0
        self.open_ones: dict[str, tuple[Transaction, dict[bytes, bytes], dict[bytes, bytes], int]] = {}
        self.snapshots: list[tuple[Snapshot, dict[bytes, bytes]]] = []
        self.database.transact(lambda transaction: transaction.create_tree("t"))
        self.seq = self.database.head().seq

    @precondition(lambda self: len(self.open_ones) < 3)
    @rule()
    def begin(self) -> None:
        self.number += 1
        name = f"t{self.number}"
        self.open_ones[name] = (self.database.begin(name), dict(self.head), dict(self.head), self.seq)

    @precondition(lambda self: self.open_ones)
    @rule(data=st.data(), work=st.lists(st.tuples(st.booleans(), keys, values), max_size=25))
    def write(self, data: Any, work: list[tuple[bool, bytes, bytes]]) -> None:
        transaction, now, _, _ = self.open_ones[data.draw(st.sampled_from(sorted(self.open_ones)))]
        tree = transaction.tree("t")
        for put, key, value in work:
            if put:
                assert tree.put(key, value) == (key not in now)
                now[key] = value
            else:
                assert tree.delete(key) == (now.pop(key, None) is not None)
        assert list(tree.scan()) == sorted(now.items())
        assert tree.count() == len(now)

    @precondition(lambda self: self.open_ones)
    @rule(data=st.data())
    def save(self, data: Any) -> None:
        name = data.draw(st.sampled_from(sorted(self.open_ones)))
        transaction, now, _, base = self.open_ones[name]
        transaction.save()
        self.open_ones[name] = (transaction, now, dict(now), base)

    @precondition(lambda self: self.open_ones)
    @rule(data=st.data())
    def discard(self, data: Any) -> None:
        name = data.draw(st.sampled_from(sorted(self.open_ones)))
        transaction, _, saved, base = self.open_ones[name]
        transaction.discard()
        self.open_ones[name] = (transaction, dict(saved), saved, base)

    @rule()
    def reopen(self) -> None:
        """Another process goes on: only what was saved is there."""
        self.database.close()
        self.database = Database.open(self.path, cache_bytes=1 << 16)
        for name, (_, _, saved, base) in self.open_ones.items():
            self.open_ones[name] = (self.database.resume(name), dict(saved), saved, base)
        self.snapshots = [(self.database.snapshot(view.seq), seen) for view, seen in self.snapshots]

    @precondition(lambda self: self.open_ones)
    @rule(data=st.data())
    def commit(self, data: Any) -> None:
        name = data.draw(st.sampled_from(sorted(self.open_ones)))
        transaction, now, _, base = self.open_ones.pop(name)
        wrote = transaction.has_writes
        if wrote and base != self.seq:
            try:
                transaction.commit()
            except Conflict:
                transaction.rollback()
                return
            raise AssertionError("a commit behind a moved head has to be a conflict")
        version = transaction.commit()
        assert transaction.commit() == version
        if wrote:
            self.seq += 1
            self.head = now
        assert version.seq == (self.seq if wrote else base)

    @precondition(lambda self: self.open_ones)
    @rule(data=st.data())
    def rollback(self, data: Any) -> None:
        name = data.draw(st.sampled_from(sorted(self.open_ones)))
        self.open_ones.pop(name)[0].rollback()
        try:
            self.database.resume(name)
        except TransactionEnded:
            return
        raise AssertionError("a transaction that was rolled back is ended")

    @precondition(lambda self: len(self.snapshots) < 4)
    @rule()
    def snapshot(self) -> None:
        self.snapshots.append((self.database.snapshot(), dict(self.head)))

    def teardown(self) -> None:
        if not hasattr(self, "database"):
            return
        for view, seen in self.snapshots:
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
