"""Commits that share nothing: both have to be there in the end, and the tree has to be in order."""

from tests.btree.isolation.pair import START, Pair, both_levels


@both_levels
def test_disjoint_keys_are_merged(pair: Pair) -> None:
    pair.put(pair.one, b"a")
    pair.put(pair.one, b"d")
    pair.one.tree("t").delete(b"m")
    pair.put(pair.two, b"x")
    pair.put(pair.two, b"e")
    pair.two.tree("t").delete(b"y")
    pair.both_commit()
    expected = {**START, b"a": b"9", b"d": b"9", b"x": b"9", b"e": b"9"}
    del expected[b"m"], expected[b"y"]
    assert dict(pair.database.snapshot().tree("t").scan()) == expected
    assert pair.database.snapshot().tree("t").count() == len(expected)


@both_levels
def test_disjoint_pages_are_merged(pair: Pair) -> None:
    """Many pages: each side splits some and empties others, and the counts add up."""
    before = pair.database.snapshot().tree("wide").count()
    for number in range(1, 1000, 2):
        pair.put(pair.one, b"%06d" % number, b'"' + b"w" * 90 + b'"', tree="wide")
    for number in range(2000, 2900, 2):
        pair.two.tree("wide").delete(b"%06d" % number)
    pair.both_commit()
    wide = pair.database.snapshot().tree("wide")
    assert wide.count() == before + 500 - 450 == sum(1 for _ in wide.scan())


@both_levels
def test_disjoint_trees_are_merged(pair: Pair) -> None:
    pair.put(pair.one, b"x", b"1", tree="t")
    pair.put(pair.two, b"x", b"2", tree="u")
    pair.both_commit()
    assert (pair.now(b"x", "t"), pair.now(b"x", "u")) == (b"1", b"2")


@both_levels
def test_two_new_trees_are_merged(pair: Pair) -> None:
    pair.one.create_tree("p").put(b"k", b"1")
    pair.two.create_tree("q").put(b"k", b"2")
    pair.both_commit()
    assert (pair.now(b"k", "p"), pair.now(b"k", "q")) == (b"1", b"2")


@both_levels
def test_reading_ones_own_writes_reads_nothing_of_others(pair: Pair) -> None:
    pair.put(pair.two, b"d", b"1")
    assert pair.two.tree("t").get(b"d") == b"1"
    pair.put(pair.one, b"e")
    pair.both_commit()
