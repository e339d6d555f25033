"""Slices of leaves: what a range has, page at a time, against the same range of a sorted list."""

import random
from bisect import bisect_left
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from btree import Database, LeafSlice, MemoryPager, ReadTree
from btree.page import Branch, DirtyLeaf, Leaf

COUNT = 30_000
PAIRS = [
    (b"%06d" % (2 * n) + b"x" * (n % 5 if n % 1000 > 900 else 0), b'{"n":%d,"t":"%s"}' % (n, b"t" * (n * n % 90)))
    for n in range(COUNT)
]
LARGE = 12_345
PAIRS[LARGE] = PAIRS[LARGE][0], b'"%s"' % (b"L" * 30_000)
KEYS = [key for key, _ in PAIRS]


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    with Database(MemoryPager("slices")) as opened:
        opened.transact(lambda t: t.create_tree("t").load(PAIRS))
        yield opened
        report = opened.check()
        assert report.ok, report.problems


def height(tree: ReadTree) -> int:
    node, levels = tree._nodes.node(tree.root), 1
    while isinstance(node, Branch):
        node, levels = tree._nodes.node(node.children[0]), levels + 1
    return levels


def separators(tree: ReadTree) -> list[bytes]:
    """Keys with which leaves begin."""
    return [part.keys[0] for part in tree.leaves()]


bounds = (
    st.none()
    | st.integers(0, 2 * COUNT).map(lambda n: b"%06d" % n)
    | st.sampled_from([b"", b"0", b"\xff", *KEYS[::997]])
)


def check(parts: list[LeafSlice], expected: list[tuple[bytes, bytes]], chosen: random.Random) -> None:
    assert all(part.count for part in parts)
    assert [key for part in parts for key in part.keys] == [key for key, _ in expected]
    assert b",\n".join(part.values_json for part in parts) == b",\n".join(value for _, value in expected)
    assert [value for part in parts for value in part.values()] == [value for _, value in expected]
    at = 0
    for part in parts:
        pairs = expected[at : at + part.count]
        at += part.count
        assert part.last_key == pairs[-1][0]
        share = chosen.choice([0.02, 0.5, 0.98])
        some = [index for index in range(part.count) if chosen.random() < share] or [part.count - 1]
        assert part.picked(some) == b",\n".join(pairs[index][1] for index in some)
        assert [part.value(index) for index in some] == [pairs[index][1] for index in some]


def test_the_tree_has_branches_over_branches(database: Database) -> None:
    assert height(database.snapshot().tree("t")) == 3


@settings(deadline=None, max_examples=60)
@given(bounds, bounds, st.integers(0, 2**32), st.booleans())
def test_ranges_of_a_version(
    database: Database, lower: bytes | None, upper: bytes | None, seed: int, cold: bool
) -> None:
    if cold:
        database.cache._nodes.clear()
    expected = [pair for pair in PAIRS if (lower is None or lower <= pair[0]) and (upper is None or pair[0] < upper)]
    check(list(database.snapshot().tree("t").leaves(lower, upper)), expected, random.Random(seed))


def test_ranges_that_end_where_leaves_begin(database: Database) -> None:
    tree = database.snapshot().tree("t")
    starts = separators(tree)
    for lower, upper in pairwise(starts[:300]):
        parts = list(tree.leaves(lower, upper))
        assert [part.keys[0] for part in parts] == [lower] and KEYS.index(upper) == KEYS.index(lower) + parts[0].count
        assert [part.count for part in tree.leaves(upper, upper + b"\x00")] == [1]
        assert [part.last_key for part in tree.leaves(lower, upper + b"\x00")][1:] == [upper]


def test_keys_are_read_where_a_range_begins_and_ends_only(database: Database) -> None:
    database.cache._nodes.clear()
    parts = list(database.snapshot().tree("t").leaves(KEYS[1_005], KEYS[9_000]))
    assert len(b"".join(part.values_json for part in parts)) > 100_000 and len(parts) > 20
    read = [part for part in parts if isinstance(part._leaf, Leaf) and part._leaf._keys is not None]
    assert read == [parts[0], parts[-1]]
    assert [part.last_key for part in parts] == [part.keys[-1] for part in parts]


@settings(deadline=None, max_examples=25)
@given(bounds, bounds, st.integers(0, 2**32))
def test_ranges_of_a_transaction(database: Database, lower: bytes | None, upper: bytes | None, seed: int) -> None:
    chosen = random.Random(seed)
    expected = dict(PAIRS)
    transaction = database.begin(f"{seed}", durable=False)
    tree = transaction.tree("t")
    begin = chosen.randrange(COUNT)
    for key in KEYS[begin : begin + chosen.randrange(2_000)]:
        if chosen.random() < 0.8:
            tree.delete(key)
            del expected[key]
    for _ in range(chosen.randrange(300)):
        key = b"%06d" % chosen.randrange(2 * COUNT)
        expected[key] = b"%d" % chosen.randrange(1000)
        tree.put(key, expected[key])
    wanted = [
        pair
        for pair in sorted(expected.items())
        if (lower is None or lower <= pair[0]) and (upper is None or pair[0] < upper)
    ]
    check(list(tree.leaves(lower, upper)), wanted, chosen)
    transaction.rollback()


@given(
    st.lists(st.binary(max_size=5).map(lambda text: b"".join(b"%02x" % byte for byte in text)), min_size=1), st.data()
)
def test_stretches_and_picks_of_a_leaf(values: list[bytes], data: st.DataObject) -> None:
    dirty = DirtyLeaf([b"%03d" % number for number in range(len(values))], values)
    places = st.integers(0, len(values) - 1)
    start = data.draw(places)
    stop = data.draw(st.integers(start + 1, len(values)))
    some = sorted(data.draw(st.sets(places, min_size=1)))
    for leaf in (dirty, dirty.built()):
        assert isinstance(leaf, Leaf | DirtyLeaf)
        assert leaf.stretch(start, stop) == b",\n".join(values[start:stop])
        assert leaf.picked(some) == b",\n".join(values[index] for index in some)
        assert [leaf.key(index) for index in some] == [dirty.keys[index] for index in some]


@given(st.integers(1, 3), st.data())
def test_places_of_keys_are_those_of_a_sorted_list(width: int, data: st.DataObject) -> None:
    """Whether all keys have one length or not, decoded or not."""
    texts = st.binary(min_size=data.draw(st.sampled_from([0, width])), max_size=width)
    keys = sorted(data.draw(st.sets(texts, max_size=40)))
    wanted, dirty = data.draw(st.binary(max_size=4)), DirtyLeaf(keys, [b"0"] * len(keys))
    start = data.draw(st.integers(0, bisect_left(keys, wanted)))
    begin = data.draw(st.integers(0, len(keys)))
    end = data.draw(st.integers(begin, len(keys)))
    built = dirty.built()
    for leaf in (dirty, built, built):
        assert leaf.place(wanted, start) == bisect_left(keys, wanted)
        assert leaf.some_keys(begin, end) == keys[begin:end]
        if leaf is built:
            assert list(leaf.keys) == keys  # decoded from here on
