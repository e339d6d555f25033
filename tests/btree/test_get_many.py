"""Many keys at once: what `get` gives for each, and in a transaction the same notes of what was read."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from btree import Conflict, Database, MemoryPager, Transaction, TransactionEnded
from btree.page import DirtyLeaf

_NUMBERS = itertools.count()
VALUE = b'"' + b"x" * 300 + b'"'
keys = st.integers(0, 900).map(lambda number: b"%04d" % number) | st.binary(max_size=4)


@pytest.fixture
def database() -> Iterator[Database]:
    with Database(MemoryPager(f"many-{next(_NUMBERS)}")) as opened:
        opened.transact(lambda t: t.create_tree("t").load((b"%04d" % n, VALUE) for n in range(0, 900, 3)))
        yield opened
        assert opened.check().problems == []


def large() -> Database:
    """Three levels: 1,500 keys with values of 300 bytes, and separators that are long."""
    opened = Database(MemoryPager(f"many-{next(_NUMBERS)}"))
    opened.transact(
        lambda t: t.create_tree("t").load((b"%04d" % n + b"-" * 400, b"%d" % n + VALUE) for n in range(1500))
    )
    return opened


@settings(max_examples=100, deadline=None)
@given(st.lists(keys, max_size=60), st.lists(st.tuples(keys, st.booleans()), max_size=20), st.booleans())
def test_the_same_as_one_by_one(wanted: list[bytes], writes: list[tuple[bytes, bool]], settled: bool) -> None:
    with Database(MemoryPager(f"many-{next(_NUMBERS)}")) as opened:
        opened.transact(lambda t: t.create_tree("t").load((b"%04d" % n, VALUE) for n in range(0, 900, 3)))
        stored = opened.snapshot().tree("t")
        assert stored.get_many(wanted) == [stored.get(key) for key in wanted]
        transaction = opened.begin("t")
        tree = transaction.tree("t")
        for key, put in writes:
            if put:
                tree.put(key, b'"new"')
            else:
                tree.delete(key)
        if settled:
            tree.settle()
        assert tree.get_many(wanted) == [tree.get(key) for key in wanted]
        assert tree.get_many(tuple(wanted)) == [tree.get(key) for key in wanted]


def test_keys_of_a_large_tree_from_end_to_end() -> None:
    with large() as database:
        tree = database.snapshot().tree("t")
        there = [key for key, _ in tree.scan()]
        assert len(there) == 1500
        wanted = [each for key in there for each in (key, key + b"!")]
        expected = [value for _, value in tree.scan() for value in (value, None)]
        assert tree.get_many(wanted) == expected
        assert tree.get_many(wanted[::-1]) == expected[::-1]
        assert tree.get_many([]) == []


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text("ab", min_size=3, max_size=3).map(str.encode), unique=True), st.text("ab", max_size=4))
def test_a_key_is_not_found_where_two_others_meet(stored: list[bytes], wanted: str) -> None:
    """Keys of one length are looked for in their bytes as a whole: `aba` stands in `aab` behind `aab` too, where no key begins."""
    values = {key: b"%d" % number for number, key in enumerate(sorted(stored))}
    key = wanted.encode()
    leaf = DirtyLeaf(list(values), list(values.values())).built()
    assert leaf.find(key) == values.get(key)
    assert list(leaf.keys) == list(values)
    assert leaf.find(key) == values.get(key)


def points(transaction: Transaction) -> Any:
    return transaction.all_access().tree("t").points


def test_what_is_noted_is_what_get_notes(database: Database) -> None:
    wanted = [b"0300", b"0003", b"0301", b"0003", b"own", b"gone"]
    one, other = database.begin("one"), database.begin("other")
    for transaction in (one, other):
        transaction.tree("t").put(b"own", b"1")
        transaction.tree("t").discard(b"gone")
    for key in wanted:
        one.tree("t").get(key)
    other.tree("t").get_many(wanted)
    assert points(other) == points(one) == {b"0300", b"0003", b"0301"}
    assert other.all_access().tree("t").all_ranges() == []


@pytest.mark.parametrize("changed", [b"0300", b"0301"])
@pytest.mark.parametrize("isolation", ["serializable", "snapshot"])
def test_a_key_that_was_read_and_changed_by_another_conflicts(
    database: Database, changed: bytes, isolation: str
) -> None:
    """One that is there (0300), and one that was not (0301); under snapshot isolation reads are not compared."""
    reader = database.begin("reader", isolation=isolation)
    assert reader.tree("t").get_many([b"0301", b"0300"]) == [None, VALUE]
    reader.tree("t").put(b"mine", b"1")
    database.transact(lambda t: t.tree("t").put(changed, b"2"))
    if isolation == "serializable":
        with pytest.raises(Conflict):
            reader.commit()
    else:
        reader.commit()


def test_a_neighbour_on_the_same_page_does_not_conflict(database: Database) -> None:
    reader = database.begin("reader")
    reader.tree("t").get_many([b"0000", b"0300", b"0600"])
    reader.tree("t").put(b"mine", b"1")
    database.transact(lambda t: t.tree("t").put(b"0303", b"2"))
    reader.commit()
    assert database.snapshot().tree("t").get(b"mine") == b"1"


def test_nothing_is_read_behind_the_end_of_a_transaction(database: Database) -> None:
    transaction = database.begin("t")
    tree = transaction.tree("t")
    transaction.commit()
    with pytest.raises(TransactionEnded):
        tree.get_many([b"0000", b"0003"])


def test_a_share_is_the_distance_of_its_ends() -> None:
    with large() as database:
        tree = database.snapshot().tree("t")
        ends = [b"", *[key for key, _ in tree.scan()][::37], b"~"]
        for lower in ends:
            for upper in ends:
                apart = tree.share(None, upper) - tree.share(None, lower)
                assert tree.share(lower, upper) == pytest.approx(max(0.0, apart), abs=1e-12)
        assert (tree.share(None, None), tree.share(b"", b"~")) == (1.0, 1.0)


def test_a_narrow_stretch_is_what_lies_in_it() -> None:
    """Also where it begins or ends at a separator."""
    with large() as database:
        tree = database.snapshot().tree("t")
        pairs = list(tree.scan())
        separators = tree.separators(60)
        assert len(separators) > 20
        bounds = [key for at in separators[::8] for key in (at, at + b"\x00", at[:-1])]
        for lower, upper in itertools.product(bounds, repeat=2):
            found = [key for part in tree.leaves(lower, upper) for key in part.keys]
            assert found == [key for key, _ in pairs if lower <= key < upper]
        for part in tree.leaves(separators[0], separators[1]):
            run = b",\n".join(part.values())
            assert part.values_json == run
        first = next(iter(tree.leaves(pairs[7][0], pairs[8][0])))
        assert (first.values_json, first.values(), first.value(0)) == (pairs[7][1], [pairs[7][1]], pairs[7][1])
