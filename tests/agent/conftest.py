"""The endpoint, for one test."""

from collections.abc import Iterator

import pytest

from tests.agent.endpoint import Endpoint


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    made = Endpoint()
    yield made
    made.close()
