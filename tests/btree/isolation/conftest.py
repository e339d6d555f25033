"""Fixtures for the directed tests: a database with a few trees, and two transactions on it."""

import pytest

from btree import Database
from tests.btree.isolation.pair import Pair, fill


@pytest.fixture
def trees(database: Database) -> None:
    """What `pair.fill` makes."""
    database.transact(fill)


@pytest.fixture
def pair(database: Database, trees: None, level: str) -> Pair:
    """Two transactions of a level that began from the same version."""
    return Pair(database, level)
