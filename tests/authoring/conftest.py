"""A data directory with people in the database `hr`, and a model that says what a test has written down."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from activities import Resources
from tests.authoring.harness import Actor, with_rows
from worker import create_resources

PEOPLE = [
    {"id": 1, "name": "Ann", "salary": 100, "team": "ops"},
    {"id": 2, "name": "Bo", "salary": 200, "team": "dev"},
    {"id": 3, "name": "Cy", "salary": 300, "team": "dev"},
]


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Resources]:
    """Resources with a model that has nothing to say."""
    made = create_resources(tmp_path, model=Actor())
    with_rows(made, "hr", "people", [dict(row) for row in PEOPLE])
    yield made
    made.databases.close()


@pytest.fixture
def authored(here: Resources, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Actor]:
    """Lets the model say these things, one after the other."""
    actor = here.model
    assert isinstance(actor, Actor)
    monkeypatch.setattr("activities.authoring.thinking.author.think", actor.think)

    def begin(*lines: Any) -> Actor:
        actor.says(*lines)
        return actor

    return begin
