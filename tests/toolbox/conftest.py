"""A data directory with a database `shop` and its store `items` of one record; a site on this machine."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from activities import Resources
from query import create_store
from tests.toolbox.site import Site
from worker import create_resources


@pytest.fixture
def resources(tmp_path: Path) -> Iterator[Resources]:
    made = create_resources(tmp_path)
    made.databases.create("shop").transact(
        lambda t: create_store(t, "items", primary_key=["id"]).add({"id": 1, "n": 10})
    )
    yield made
    made.databases.close()


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield made
    made.stop.set()
    made.server.shutdown()
    made.server.server_close()
    thread.join()
