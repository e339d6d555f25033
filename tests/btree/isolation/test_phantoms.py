"""What counts as read: each way of looking at a tree, against a change that it would have seen, and against one just beside.

Phantoms are P3 of Berenson et al., SIGMOD 1995, and the anti-dependencies of predicate reads (G2) of Adya 1999. A reader
that goes on to write has to be refused when serialisable if what it looked at has changed, also where it saw that nothing is there.
A change beside what it looked at has to be merged: refusing it would be safe, but a range is then read wider than it was.
"""

from collections.abc import Callable, Iterator

import pytest

from btree import Database, Transaction
from tests.btree.isolation.pair import START, Pair

Look = Callable[[Transaction], object]


def early_seek(transaction: Transaction) -> object:
    """Seeks from "d", and stops at "m"."""
    cursor = transaction.tree("t").cursor()
    cursor.seek(b"d")
    assert cursor.key == b"m"
    return cursor.value


def to_the_end(transaction: Transaction) -> object:
    """Goes on from the last key, and falls off the end."""
    cursor = transaction.tree("t").cursor()
    cursor.seek(b"y")
    return cursor.next()


def to_the_beginning(transaction: Transaction) -> object:
    cursor = transaction.tree("t").cursor()
    cursor.first()
    return cursor.previous()


def last_key(transaction: Transaction) -> object:
    cursor = transaction.tree("t").cursor()
    cursor.last()
    return cursor.key


def first_key(transaction: Transaction) -> object:
    cursor = transaction.tree("t").cursor()
    cursor.first()
    return cursor.key


def find_absent(transaction: Transaction) -> object:
    return transaction.tree("t").cursor().find_one(b"d")


def some_of_a_scan(transaction: Transaction) -> object:
    """Two pairs of a scan that is then left."""
    scan: Iterator[object] = transaction.tree("t").scan(b"b")
    return next(scan), next(scan)


def step_back(transaction: Transaction) -> object:
    cursor = transaction.tree("t").cursor()
    cursor.seek(b"m")
    cursor.previous()
    assert cursor.key == b"c"
    return cursor.value


# What a reader does -> a key whose change it would have seen. (A key of START is deleted, another inserted.)
SEEN: list[tuple[str, Look, bytes]] = [
    ("get", lambda t: t.tree("t").get(b"x"), b"x"),
    ("absent get", lambda t: t.tree("t").get(b"d"), b"d"),
    ("scan", lambda t: list(t.tree("t").scan(b"c", b"n")), b"d"),
    ("scan at its lower bound", lambda t: list(t.tree("t").scan(b"d", b"n")), b"d"),
    ("scan of nothing", lambda t: list(t.tree("t").scan(b"n", b"o")), b"nn"),
    ("scan of everything", lambda t: list(t.tree("t").scan()), b"zzz"),
    ("reverse scan", lambda t: list(t.tree("t").scan(b"c", b"n", reverse=True)), b"d"),
    ("scan that loses a key", lambda t: list(t.tree("t").scan(b"c", b"n")), b"m"),
    ("scan by leaves", lambda t: [part.values() for part in t.tree("t").leaves(b"c", b"n")], b"d"),
    ("scan left early", some_of_a_scan, b"bb"),
    ("count, insert", lambda t: t.tree("t").count(), b"d"),
    ("count, delete", lambda t: t.tree("t").count(), b"m"),
    ("cursor seek stops early", early_seek, b"dd"),
    ("cursor seek, its key is gone", early_seek, b"m"),
    ("cursor over the end", to_the_end, b"z"),
    ("cursor over the beginning", to_the_beginning, b"A"),
    ("cursor last", last_key, b"z"),
    ("cursor first", first_key, b"A"),
    ("cursor find_one, absent", find_absent, b"d"),
    ("cursor previous", step_back, b"d"),
    ("put that says new", lambda t: t.tree("t").put(b"d", b"1"), b"d"),
    ("names of trees", lambda t: t.trees(), b""),
]


def change(transaction: Transaction, key: bytes) -> None:
    """Insert a key, or delete one of START; without a key, make a tree."""
    if not key:
        transaction.create_tree("made")
    elif key in START:
        transaction.tree("t").delete(key)
    else:
        transaction.tree("t").put(key, b"1")


@pytest.mark.parametrize("level", ["serializable"])
@pytest.mark.parametrize(("look", "key"), [case[1:] for case in SEEN], ids=[case[0] for case in SEEN])
@pytest.mark.parametrize("saved", [False, True], ids=["at once", "saved and resumed"])
def test_what_was_read_has_changed(pair: Pair, database: Database, look: Look, key: bytes, saved: bool) -> None:
    """Read, write elsewhere, and meanwhile another changes what was read: serialisable is a conflict."""
    look(pair.two)
    pair.put(pair.two, b"k", tree="u")
    if saved:
        pair.two.save("read")
        pair.two = database.resume("two")
    change(pair.one, key)
    pair.second_conflicts()


@pytest.mark.parametrize("level", ["snapshot"])
@pytest.mark.parametrize(("look", "key"), [case[1:] for case in SEEN if "put" not in case[0]], ids=[case[0] for case in SEEN if "put" not in case[0]])  # fmt: skip
def test_snapshot_isolation_does_not_validate_reads(pair: Pair, look: Look, key: bytes) -> None:
    look(pair.two)
    pair.put(pair.two, b"k", tree="u")
    change(pair.one, key)
    pair.both_commit()
    assert pair.now(b"k", "u") == b"9"


# What a reader does -> a key beside, whose change it would not have seen.
UNSEEN: list[tuple[str, Look, bytes]] = [
    ("get", lambda t: t.tree("t").get(b"x"), b"xx"),
    ("get of the key before", lambda t: t.tree("t").get(b"x"), b"w"),
    ("absent get", lambda t: t.tree("t").get(b"d"), b"e"),
    ("scan, at its upper bound", lambda t: list(t.tree("t").scan(b"c", b"m")), b"m"),
    ("scan, before its lower bound", lambda t: list(t.tree("t").scan(b"d", b"n")), b"c"),
    ("reverse scan, at its upper bound", lambda t: list(t.tree("t").scan(b"c", b"m", reverse=True)), b"m"),
    ("scan left early", some_of_a_scan, b"n"),
    ("cursor seek stops early", early_seek, b"mm"),
    ("cursor seek, before it", early_seek, b"c"),
    ("cursor last", last_key, b"e"),
    ("cursor first", first_key, b"e"),
    ("own write of one key", lambda t: t.tree("t").put(b"d", b"1"), b"e"),
]


@pytest.mark.parametrize("level", ["serializable"])
@pytest.mark.parametrize(("look", "key"), [case[1:] for case in UNSEEN], ids=[case[0] for case in UNSEEN])
def test_a_change_beside_what_was_read_is_merged(pair: Pair, look: Look, key: bytes) -> None:
    look(pair.two)
    pair.put(pair.two, b"k", tree="u")
    change(pair.one, key)
    pair.both_commit()
