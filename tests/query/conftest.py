"""A database with a few stores, checked after every test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from btree import Database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database.open(tmp_path / "test.db", create=True) as opened:
        yield opened
        report = opened.check()
        assert report.ok, report.problems
