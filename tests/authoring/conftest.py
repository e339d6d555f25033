"""A data directory with people in the database `hr`, and an author that says what a test has written down."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from activities import Resources
from tests.authoring.harness import NoModel, ScriptedAuthor, with_rows
from worker import create_resources

PEOPLE = [
    {"id": 1, "name": "Ann", "salary": 100, "team": "ops"},
    {"id": 2, "name": "Bo", "salary": 200, "team": "dev"},
    {"id": 3, "name": "Cy", "salary": 300, "team": "dev"},
]


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Resources]:
    """Resources with a model that nobody may ask."""
    made = create_resources(tmp_path, model=NoModel())
    with_rows(made, "hr", "people", [dict(row) for row in PEOPLE])
    yield made
    made.databases.close()


@pytest.fixture
def authored(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ScriptedAuthor]:
    """Lets the author say these things, one after the other."""

    def begin(*said: Any) -> ScriptedAuthor:
        author = ScriptedAuthor(*said)
        monkeypatch.setattr("activities.authoring.thinking.author.think", author.think)
        return author

    return begin
