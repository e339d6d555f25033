"""A data directory with a database `shop` and its store `items` of one record."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from activities import Resources
from query import create_store
from worker import create_resources


@pytest.fixture
def resources(tmp_path: Path) -> Iterator[Resources]:
    made = create_resources(tmp_path)
    made.databases.create("shop").transact(
        lambda t: create_store(t, "items", primary_key=["id"]).add({"id": 1, "n": 10})
    )
    yield made
    made.databases.close()
