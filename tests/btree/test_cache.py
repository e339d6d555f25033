"""What stays in the cache of pages when the budget is used up."""

import random

from btree import Database, MemoryPager
from btree.page import Branch
from btree.tree import ReadTree

ROWS = 20_000


def branches(tree: ReadTree) -> set[int]:
    level, found = [tree.root], set()
    while isinstance(tree._nodes.node(level[0]), Branch):
        found.update(level)
        level = [child for page in level for child in tree._nodes.node(page).children]  # type: ignore[union-attr]
    return found


def test_branches_stay_while_leaves_come_and_go() -> None:
    with Database(MemoryPager("cache"), cache_bytes=1_200_000) as database:
        database.transact(lambda t: t.create_tree("t").load((b"%08d" % n, b'"%s"' % (b"x" * 90)) for n in range(ROWS)))
        tree = database.snapshot().tree("t")
        ways, cache = branches(tree), tree._nodes
        for number in random.Random(1).sample(range(ROWS), 3000):
            assert tree.get(b"%08d" % number) is not None
            assert cache.used <= cache.budget  # type: ignore[attr-defined]
        leaves = [page for page in cache.cached if page not in ways]
        assert ways and ways <= set(cache.cached)
        assert 20 < len(leaves) < 60


def test_branches_go_where_the_budget_is_too_small_for_them() -> None:
    with Database(MemoryPager("small cache"), cache_bytes=20_000) as database:
        database.transact(lambda t: t.create_tree("t").load((b"%08d" % n, b'"%s"' % (b"x" * 90)) for n in range(ROWS)))
        tree = database.snapshot().tree("t")
        cache = tree._nodes
        for number in random.Random(2).sample(range(ROWS), 1000):
            assert tree.get(b"%08d" % number) == b'"%s"' % (b"x" * 90)
            assert cache.used <= cache.budget or len(cache.cached) == 1  # type: ignore[attr-defined]


def test_branches_of_old_versions_leave_room_for_leaves() -> None:
    """Every commit makes new branches, and most of the old ones are of no use any more."""
    with Database(MemoryPager("old branches"), cache_bytes=1_200_000) as database:
        database.transact(lambda t: t.create_tree("t").load((b"%08d" % n, b'"%s"' % (b"x" * 90)) for n in range(ROWS)))
        for number in range(200):
            database.transact(lambda t, n=number: t.tree("t").put(b"%08d" % (n * 99), b'"new"'))  # type: ignore[misc]
            tree = database.snapshot().tree("t")
            assert len(list(tree.scan(b"%08d" % (37 * number), b"%08d" % (37 * number + 5)))) == 5
        cache = tree._nodes
        pages = cache.cached.values()
        assert sum(page.size for page in pages if isinstance(page, Branch)) * 3 <= cache.budget * 0.3  # type: ignore[attr-defined]
        assert sum(page.size for page in pages if not isinstance(page, Branch)) * 3 >= cache.budget * 0.3  # type: ignore[attr-defined]
