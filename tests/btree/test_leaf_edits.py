"""Leaves that are changed while they are read: the same trees as by put and delete, the same conflicts, and no stretch twice."""

from collections.abc import Iterator
from itertools import count, cycle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from btree import (
    Conflict,
    Database,
    InvalidValue,
    LeafEdit,
    MemoryPager,
    Transaction,
    TransactionEnded,
    Tree,
    ValueTooLarge,
)
from btree.limits import MAX_VALUE
from btree.page import MINIMUM, TARGET, DirtyLeaf

Pairs = dict[bytes, bytes]
_numbers = count()
keys = st.integers(0, 80).map(lambda n: b"%03d" % n) | st.binary(max_size=4)
values = st.sampled_from([b"", b"1", b"2,", b'{"a":1}', b"x" * 90, b"y" * 700, b"z" * 9000])


def stored(pairs: Pairs, workspace: int = 1 << 25) -> Database:
    database = Database(MemoryPager(f"leaf-edits-{next(_numbers)}"), workspace_bytes=workspace)
    database.transact(lambda view: view.create_tree("t").load(iter(sorted(pairs.items()))))
    return database


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(keys, values, min_size=1, max_size=30), st.data())
def test_a_rewritten_leaf_is_the_one_built_of_its_pairs(pairs: Pairs, data: st.DataObject) -> None:
    ordered = sorted(pairs.items())
    leaf = DirtyLeaf([key for key, _ in ordered], [value for _, value in ordered]).built()
    assert leaf.lines() == [*(value + b"," for _, value in ordered[:-1]), ordered[-1][1]]
    gone = sorted(data.draw(st.sets(st.integers(0, len(ordered) - 1), max_size=len(ordered) - 1)))
    left = [(key, data.draw(values)) for at, (key, _) in enumerate(ordered) if at not in gone]
    lines = [value + b"," for _, value in left]
    lines[-1] = lines[-1][:-1]
    whole = DirtyLeaf([key for key, _ in left], [value for _, value in left])
    assert leaf.rewritten(lines, gone).encode(7) == whole.encode(7)


@pytest.mark.usefixtures("page_size")
@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(keys, values, max_size=150),
    st.tuples(st.none() | keys, st.none() | keys),
    st.lists(st.sampled_from(["leave", "remove", "replace"]), min_size=1, max_size=5),
    st.lists(st.none() | values, min_size=1, max_size=7),
    st.sampled_from([1 << 12, 1 << 25]),
    st.lists(st.tuples(keys, st.none() | values), max_size=40),
)
def test_edits_are_puts_and_deletes(
    pairs: Pairs,
    bounds: tuple[bytes | None, bytes | None],
    ways: list[str],
    wishes: list[bytes | None],
    workspace: int,
    before: list[tuple[bytes, bytes | None]],
) -> None:
    """None among the wishes leaves a pair alone; `before` are changes of the same transaction."""
    lower, upper = bounds
    with stored(pairs, workspace) as database:
        transaction = database.begin("t")
        tree = transaction.tree("t")
        model = dict(pairs)
        for key, value in before:
            if value is not None:
                tree.put(key, value)
                model[key] = value
            else:
                assert tree.delete(key) == (model.pop(key, None) is not None)
        seen: list[bytes] = []
        expected = [key for key in sorted(model) if (lower or b"") <= key and (upper is None or key < upper)]
        way, wish = cycle(ways), cycle(wishes)
        for part in tree.edits(lower, upper):
            assert part.values() == [model[key] for key in part.keys]
            seen += part.keys
            chosen = {place: new for place in range(part.count) if (new := next(wish)) is not None}
            assert part.values_at(list(chosen)) == [model[part.keys[place]] for place in chosen]
            done = next(way)
            part_keys = part.keys
            if done == "remove":
                part.remove(list(chosen))
                for place in chosen:
                    del model[part_keys[place]]
            elif done == "replace":
                part.replace(list(chosen), list(chosen.values()))
                model |= {part_keys[place]: new for place, new in chosen.items()}
            assert tree.get(part_keys[0]) == model.get(part_keys[0])
        assert seen == expected
        assert tree.count() == len(model)
        assert list(tree.scan()) == sorted(model.items())
        transaction.commit()
        assert list(database.snapshot().tree("t").scan()) == sorted(model.items())
        assert database.snapshot().tree("t").count() == len(model)


@pytest.fixture
def many() -> Iterator[Database]:
    """2,000 pairs on some 40 pages."""
    with stored({b"%05d" % number: b'"%0150d"' % number for number in range(2000)}) as database:
        yield database
        report = database.check()
        assert report.ok, report.problems


def begun(database: Database, name: str) -> tuple[Transaction, Tree]:
    transaction = database.begin(name)
    return transaction, transaction.tree("t")


def test_what_was_read_for_a_change_conflicts_with_what_others_add(many: Database) -> None:
    for place, conflicts in ((b"00500x", True), (b"01500x", False)):
        one, tree = begun(many, f"one {place!r}")
        for part in tree.edits(b"00300", b"00900"):
            part.remove([0])
        other, others = begun(many, f"other {place!r}")
        others.put(place, b"1")
        other.commit()
        if conflicts:
            with pytest.raises(Conflict):
                one.commit()
            one.rollback()
        else:
            one.commit()


def test_what_is_being_read_counts_as_read(many: Database) -> None:
    one, tree = begun(many, "one")
    edits = tree.edits()
    part = next(edits)
    part.remove([0])
    other, others = begun(many, "other")
    others.put(part.last_key, b"1")
    other.commit()
    with pytest.raises(Conflict):
        one.commit()
    one.rollback()
    edits.close()


def test_pages_keep_their_sizes(many: Database) -> None:
    """Rows that grow divide pages; what is left of pages is merged."""

    def grow(view: Transaction) -> None:
        for part in view.tree("t").edits():
            part.replace(range(part.count), [value[:-1] + b"0" * 300 + b'"' for value in part.values()])

    def thin_out(view: Transaction) -> None:
        for part in view.tree("t").edits():
            part.remove([place for place, key in enumerate(part.keys) if int(key) % 20])

    for work, left in ((grow, 2000), (thin_out, 100)):
        many.transact(work)
        pages = list(many.snapshot().tree("t").leaves())
        sizes = [len(page.values_json) + sum(map(len, page.keys)) + 6 * page.count + 16 for page in pages]
        assert sum(page.count for page in pages) == left
        assert MINIMUM <= min(sizes) <= max(sizes) <= TARGET


def test_whoever_stops_early_has_read_no_further(many: Database) -> None:
    one, tree = begun(many, "one")
    edits = tree.edits(b"00300")
    part = next(edits)
    assert isinstance(part, LeafEdit)
    last = part.last_key
    part.remove([part.count - 1])
    edits.close()
    other, others = begun(many, "other")
    others.put(last + b"x", b"1")
    other.commit()
    one.commit()
    assert many.snapshot().tree("t").get(last) is None
    assert many.snapshot().tree("t").get(last + b"x") == b"1"


@pytest.mark.parametrize("saved", [False, True])
def test_a_change_that_is_taken_back_conflicts_like_a_write(many: Database, saved: bool) -> None:
    one = many.begin("one", isolation="snapshot")
    tree = one.tree("t")
    old = tree.get(b"00300")
    assert old is not None
    for new in (b"0", old):
        next(tree.edits(b"00300", b"00301")).replace([0], [new])
        if saved:
            one.save()
    other, others = begun(many, "other")
    others.put(b"00300", b"1")
    other.commit()
    with pytest.raises(Conflict):
        one.commit()
    one.rollback()


def test_the_same_value_counts_as_written(many: Database) -> None:
    one = many.begin("one", isolation="snapshot")
    tree = one.tree("t")
    part = next(tree.edits(b"00300", b"00301"))
    part.replace([0], part.values())
    other, others = begun(many, "other")
    others.put(b"00300", b"1")
    other.commit()
    with pytest.raises(Conflict):
        one.commit()
    one.rollback()


def test_changes_merge_with_those_of_others(many: Database) -> None:
    one, tree = begun(many, "one")
    for part in tree.edits(None, b"01000"):
        part.remove(range(part.count))
    other, others = begun(many, "other")
    for key in (b"01000", b"01999", b"02000"):
        others.put(key, b"1")
    other.commit()
    one.commit()
    read = many.snapshot().tree("t")
    assert read.count() == 1001
    assert [read.get(key) for key in (b"00999", b"01000", b"01999", b"02000")] == [None, b"1", b"1", b"1"]


def test_a_stretch_is_changed_once_and_in_time(many: Database) -> None:
    transaction, tree = begun(many, "t")
    edits = tree.edits()
    first = next(edits)
    first.remove([0])
    with pytest.raises(RuntimeError):
        first.remove([0])
    second = next(edits)
    third = next(edits)
    with pytest.raises(RuntimeError):
        second.replace([0], [b"1"])
    tree.put(b"00000", b"1")
    with pytest.raises(RuntimeError):
        third.remove([0])
    assert next(edits).keys[0] > third.last_key
    assert (tree.get(b"00000"), tree.count()) == (b"1", 2000)
    transaction.discard()
    with pytest.raises(RuntimeError):
        third.remove([0])
    assert tree.count() == 2000
    transaction.commit()
    with pytest.raises(TransactionEnded):
        third.remove([0])
    with pytest.raises(TransactionEnded):
        next(edits)


def test_bad_values_change_nothing(many: Database) -> None:
    transaction, tree = begun(many, "t")
    part = next(tree.edits())
    for value, error in ((b"a\nb", InvalidValue), ("text", InvalidValue), (b"x" * (MAX_VALUE + 1), ValueTooLarge)):
        with pytest.raises(error):
            part.replace([0, 1], [b"1", value])  # type: ignore[list-item]
    part.replace([0], [b"2"])
    assert [tree.get(key) for key in part.keys[:2]] == [b"2", b'"%0150d"' % 1]
    transaction.rollback()


@pytest.mark.parametrize("end", ["discard", "save", "nothing"])
def test_pages_that_were_stored_early_are_accounted_for(end: str) -> None:
    """What a discarded change has stored belongs to nobody, and what was stored and then replaced is dead."""
    with stored({b"%05d" % number: b'"%0150d"' % number for number in range(2000)}, 1 << 14) as database:
        transaction, tree = begun(database, "t")
        for value in (b'"first"', b'"second"'):
            for part in tree.edits():
                part.replace(range(part.count), [value.ljust(140)] * part.count)
            assert transaction.spilled
            if value == b'"first"' and end != "nothing":
                getattr(transaction, end)()
        transaction.commit()
        assert {value for _, value in database.snapshot().tree("t").scan()} == {b'"second"'.ljust(140)}
        assert database.check().problems == []
        database.sweep(retention_seconds=-1.0)
        report = database.check()
        assert (report.problems, report.keys) == ([], 2000)


def test_another_tree_may_be_written_beside_it(many: Database) -> None:
    """Pages are stored early, and get their final ids, while a stretch is held."""

    def work(view: Transaction) -> None:
        view.workspace._budget = 1 << 13
        tree, other = view.tree("t"), view.create_tree("other")
        for number, part in enumerate(tree.edits()):
            for key in part.keys:
                other.put(key, b'"%0500d"' % number)
            other.settle()
            part.replace(range(0, part.count, 2), [b'"%05d"' % number] * len(range(0, part.count, 2)))

    many.transact(work)
    read = many.snapshot().tree("t")
    assert sum(len(value) == 7 for _, value in read.scan()) >= 1000
    assert (read.count(), many.snapshot().tree("other").count()) == (2000, 2000)
