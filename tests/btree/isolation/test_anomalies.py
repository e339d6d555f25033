"""The classical anomalies, each by two or three hand-interleaved transactions on the real engine, at both levels.

Sources: Berenson et al., SIGMOD 1995 (dirty write P0, dirty read P1, lost update P4, read skew A5A, write skew A5B);
Fekete, O'Neil & O'Neil, SIGMOD Record 2004 (the read-only anomaly); Adya 1999 (G1a, G1b). Phantoms: `test_phantoms.py`.
"""

import pytest

from btree import Conflict, Database, Transaction, TreeExists, TreeNotFound
from tests.btree.isolation.pair import START, Pair, both_levels, state

pytestmark = pytest.mark.usefixtures("trees")


# --- writes against writes: both levels ---


@both_levels
def test_dirty_write(pair: Pair) -> None:
    """P0: of two that write x and y both, only one's values are there, and never one of each."""
    for transaction, value in ((pair.one, b"1"), (pair.two, b"2")):
        pair.put(transaction, b"x", value)
        pair.put(transaction, b"y", value)
    pair.second_conflicts()
    assert (pair.now(b"x"), pair.now(b"y")) == (b"1", b"1")


@both_levels
def test_lost_update(pair: Pair) -> None:
    """P4."""
    for transaction in (pair.one, pair.two):
        tree = transaction.tree("t")
        tree.put(b"x", b"%d" % (int(tree.get(b"x") or b"0") + 10))
    pair.second_conflicts()
    assert pair.now(b"x") == b"60"


@both_levels
def test_two_inserts_of_one_key(pair: Pair) -> None:
    pair.put(pair.one, b"new", b"1")
    pair.put(pair.two, b"new", b"2")
    pair.second_conflicts()
    assert pair.now(b"new") == b"1"


@both_levels
def test_two_inserts_of_one_key_with_the_same_value(pair: Pair) -> None:
    """Each believes to have made the key."""
    pair.one.tree("t").insert(b"new", b"1")
    pair.two.tree("t").insert(b"new", b"1")
    pair.second_conflicts()


@both_levels
def test_delete_against_update(pair: Pair) -> None:
    pair.put(pair.one, b"x")
    pair.two.tree("t").delete(b"x")
    pair.second_conflicts()
    assert pair.now(b"x") == b"9"


@both_levels
def test_update_against_delete(pair: Pair) -> None:
    pair.one.tree("t").delete(b"x")
    pair.put(pair.two, b"x")
    pair.second_conflicts()
    assert pair.now(b"x") is None


@both_levels
def test_two_deletes_of_one_key(pair: Pair) -> None:
    """Both were told that the key was there."""
    assert pair.one.tree("t").delete(b"x")
    assert pair.two.tree("t").delete(b"x")
    pair.second_conflicts()


@both_levels
@pytest.mark.parametrize("beside", [False, True], ids=["alone", "with another write"])
def test_blind_write_of_the_same_value(pair: Pair, beside: bool) -> None:
    """`put` of the value that is there already is a write: it may not vanish behind a concurrent change."""
    pair.put(pair.one, b"x", b"51")
    pair.put(pair.two, b"x", START[b"x"])
    if beside:
        pair.put(pair.two, b"m")
    pair.second_conflicts()


@both_levels
@pytest.mark.parametrize("beside", [False, True], ids=["alone", "with another write"])
def test_a_value_changed_away_and_back(pair: Pair, beside: bool) -> None:
    pair.put(pair.one, b"x", b"51")
    pair.put(pair.two, b"x", b"0")
    pair.put(pair.two, b"x", START[b"x"])
    if beside:
        pair.put(pair.two, b"m")
    pair.second_conflicts()


@both_levels
@pytest.mark.parametrize("saved", [False, True], ids=["unsaved", "saved between"])
def test_a_key_deleted_and_put_back(pair: Pair, saved: bool) -> None:
    pair.put(pair.one, b"x", b"51")
    pair.two.tree("t").delete(b"x")
    if saved:
        pair.two.save("deleted")
    pair.put(pair.two, b"x", START[b"x"])
    pair.put(pair.two, b"m")
    pair.second_conflicts()


@both_levels
def test_a_key_inserted_and_removed_again(pair: Pair) -> None:
    """Against a concurrent insert of the same key: our delete said that the key is gone."""
    pair.put(pair.one, b"new", b"1")
    pair.put(pair.two, b"new", b"2")
    assert pair.two.tree("t").delete(b"new")
    pair.put(pair.two, b"m")
    pair.second_conflicts()


@both_levels
def test_the_other_changes_away_and_back(pair: Pair, database: Database) -> None:
    """Two commits have gone by, and the key is as it was: a conflict or not, but no third thing."""
    tree = pair.two.tree("t")
    tree.put(b"x", b"%d" % (int(tree.get(b"x") or b"0") + 10))
    pair.put(pair.one, b"x", b"51")
    pair.one.commit()
    database.transact(lambda transaction: transaction.tree("t").put(b"x", START[b"x"]))
    try:
        pair.two.commit()
    except Conflict:
        pair.two.rollback()
        assert state(database)["t"] == START
    else:
        assert state(database)["t"] == {**START, b"x": b"60"}


@both_levels
def test_delete_of_an_absent_key_against_its_insert(pair: Pair, level: str) -> None:
    """A delete that found nothing is a read of the absence: a phantom if another inserts the key."""
    pair.put(pair.one, b"new", b"1")
    assert not pair.two.tree("t").delete(b"new")
    pair.put(pair.two, b"m")
    if level == "serializable":
        pair.second_conflicts()
        assert pair.now(b"new") == b"1"
    else:
        _loses_nothing(pair)


def _loses_nothing(pair: Pair) -> None:
    """Snapshot isolation may refuse it or let it pass, but it may not delete what it never saw."""
    pair.one.commit()
    try:
        pair.two.commit()
    except Conflict:
        pair.two.rollback()
    assert pair.now(b"new") == b"1"


# --- reads: both levels ---


@both_levels
def test_dirty_read(pair: Pair, level: str, database: Database) -> None:
    """P1, G1a, G1b: what is not committed is seen by nobody, saved or not."""
    pair.put(pair.one, b"x", b"1")
    assert pair.two.tree("t").get(b"x") == START[b"x"]
    pair.one.save("first")
    pair.put(pair.one, b"x", b"2")
    pair.one.save("second")
    assert pair.two.tree("t").get(b"x") == START[b"x"]
    late = database.begin("late", isolation=level)
    assert late.tree("t").get(b"x") == START[b"x"]
    assert pair.now(b"x") == START[b"x"]
    pair.one.rollback()
    assert database.begin("later", isolation=level).tree("t").get(b"x") == START[b"x"]


@both_levels
def test_non_repeatable_read(pair: Pair) -> None:
    tree = pair.two.tree("t")
    assert tree.get(b"x") == START[b"x"]
    pair.put(pair.one, b"x", b"51")
    pair.one.tree("t").delete(b"y")
    pair.one.commit()
    assert tree.get(b"x") == START[b"x"]
    assert dict(tree.scan()) == START
    assert tree.count() == len(START)


@both_levels
@pytest.mark.parametrize("resumed", [False, True], ids=["same object", "resumed"])
def test_read_skew(pair: Pair, database: Database, resumed: bool) -> None:
    """A5A: x and y are read from one state, even if both change in between. A reader that wrote nothing always ends well."""
    assert pair.two.tree("t").get(b"x") == b"50"
    pair.put(pair.one, b"x", b"20")
    pair.put(pair.one, b"y", b"80")
    pair.one.commit()
    if resumed:
        pair.two.save("read x", b"50")
    reader = database.resume("two") if resumed else pair.two
    assert reader.tree("t").get(b"y") == b"50"
    reader.commit()


@both_levels
def test_no_stale_read(database: Database, level: str) -> None:
    """Who begins behind a commit sees it."""
    for number in range(5):
        database.transact(lambda transaction, n=number: transaction.tree("t").put(b"x", b"%d" % n))  # type: ignore[misc]
        reader = database.begin(f"reader {number}", isolation=level)
        assert reader.tree("t").get(b"x") == b"%d" % number
        reader.commit()


# --- write skew: a conflict when serialisable, allowed under snapshot isolation ---


def withdraw(transaction: Transaction, key: bytes) -> None:
    """The sum of x and y is to stay positive: take 90 from one of them, having looked at both."""
    tree = transaction.tree("t")
    total = int(tree.get(b"x") or b"0") + int(tree.get(b"y") or b"0")
    assert total == 100
    tree.put(key, b"-40")


@pytest.mark.parametrize("level", ["serializable"])
def test_write_skew_is_refused(pair: Pair) -> None:
    """A5B."""
    withdraw(pair.one, b"x")
    withdraw(pair.two, b"y")
    pair.second_conflicts()
    assert (pair.now(b"x"), pair.now(b"y")) == (b"-40", b"50")


@pytest.mark.parametrize("level", ["snapshot"])
def test_write_skew_is_what_snapshot_isolation_allows(pair: Pair) -> None:
    withdraw(pair.one, b"x")
    withdraw(pair.two, b"y")
    pair.both_commit()
    assert (pair.now(b"x"), pair.now(b"y")) == (b"-40", b"-40")


def read_only_anomaly(database: Database, level: str) -> None:
    """A withdrawal that began before a deposit and ends behind a report that shows the deposit: a penalty that nobody can explain."""
    withdrawal = database.begin("withdrawal", isolation=level)
    total = sum(int(withdrawal.tree("t").get(key) or b"0") for key in (b"x", b"y"))
    deposit = database.begin("deposit", isolation=level)
    deposit.tree("t").put(b"y", b"%d" % (int(deposit.tree("t").get(b"y") or b"0") + 20))
    deposit.commit()
    report = database.begin("report", isolation=level)
    assert [report.tree("t").get(key) for key in (b"x", b"y")] == [b"50", b"70"]
    report.commit()
    withdrawal.tree("t").put(b"x", b"%d" % (total - 150 - 1))
    withdrawal.commit()


def test_the_read_only_anomaly_is_refused(database: Database) -> None:
    with pytest.raises(Conflict):
        read_only_anomaly(database, "serializable")
    assert database.snapshot().tree("t").get(b"x") == b"50"


def test_the_read_only_anomaly_is_what_snapshot_isolation_allows(database: Database) -> None:
    read_only_anomaly(database, "snapshot")
    assert database.snapshot().tree("t").get(b"x") == b"-51"


# --- trees ---


@both_levels
def test_drop_of_a_tree_against_a_write_into_it(pair: Pair) -> None:
    pair.put(pair.one, b"x", b"51", tree="u")
    pair.two.drop_tree("u")
    pair.second_conflicts()
    assert pair.now(b"x", "u") == b"51"


@both_levels
def test_a_write_against_the_drop_of_its_tree(pair: Pair, database: Database) -> None:
    pair.one.drop_tree("u")
    pair.put(pair.two, b"x", tree="u")
    pair.second_conflicts()
    with pytest.raises(TreeNotFound):
        database.snapshot().tree("u")


@both_levels
def test_a_write_against_a_tree_dropped_and_made_anew(pair: Pair) -> None:
    pair.one.drop_tree("u")
    pair.one.create_tree("u").put(b"z", b"1")
    pair.put(pair.two, b"x", tree="u")
    pair.second_conflicts()
    assert pair.now(b"x", "u") is None


@pytest.mark.parametrize("level", ["serializable"])
def test_a_read_against_the_drop_of_its_tree(pair: Pair) -> None:
    pair.one.drop_tree("u")
    assert pair.two.tree("u").get(b"x") == START[b"x"]
    pair.put(pair.two, b"m")
    pair.second_conflicts()


@both_levels
def test_create_of_the_same_tree_twice(pair: Pair) -> None:
    pair.one.create_tree("new").put(b"k", b"1")
    pair.two.create_tree("new").put(b"j", b"2")
    pair.second_conflicts()
    assert (pair.now(b"k", "new"), pair.now(b"j", "new")) == (b"1", None)
    with pytest.raises(TreeExists):
        pair.database.begin("three").create_tree("new")


@pytest.mark.parametrize("level", ["serializable"])
def test_a_tree_that_was_looked_for_in_vain(pair: Pair) -> None:
    with pytest.raises(TreeNotFound):
        pair.two.tree("new")
    pair.put(pair.two, b"m")
    pair.one.create_tree("new")
    pair.second_conflicts()


@both_levels
def test_two_drops_of_one_tree(pair: Pair) -> None:
    pair.one.drop_tree("u")
    pair.two.drop_tree("u")
    pair.second_conflicts()


# --- ends ---


@both_levels
def test_a_reader_never_conflicts(pair: Pair) -> None:
    """It is serialised where it began."""
    assert len(list(pair.two.tree("t").scan())) == len(START)
    pair.put(pair.one, b"x")
    assert pair.one.commit().seq == pair.two.commit().seq + 1


@both_levels
def test_a_conflict_can_be_run_again(pair: Pair, database: Database, level: str) -> None:
    pair.put(pair.one, b"x", b"1")
    pair.put(pair.two, b"x", b"2")
    pair.second_conflicts()
    again = database.begin("again", isolation=level)
    assert again.tree("t").get(b"x") == b"1"
    again.tree("t").put(b"x", b"2")
    again.commit()
    assert pair.now(b"x") == b"2"
