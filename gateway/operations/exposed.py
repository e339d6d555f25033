"""The gateway's figures, as Prometheus reads them, on a port of their own (`SOP_GATEWAY_METRICS`, off by default).

Not a route: the figures of a process are of use only where that process can be named, and a load balancer in front of several gateways
would mix
them. Who reads figures needs no key to data then, and no key opens this port. It answers in a thread of its own, also while the
gateway is too busy to.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import start_http_server

from gateway.operations.metrics import LAST_SWEEP
from gateway.operations.upkeep import free_bytes, swept_at
from gateway.runs.readings import Readings
from gateway.services import Services


def add_figures(here: Services) -> None:
    """The figures that are asked for when they are read."""
    asked = here.metrics.asked
    watch = here.watch
    if isinstance(watch, Readings):
        asked("sop_watched_runs", "Runs that are watched here", lambda: watch.counts()[0])
        asked("sop_watchers", "Watchers of runs", lambda: watch.counts()[1])
    asked("sop_disk_free_bytes", "Room on the disk of the data directory", lambda: _free(here))
    asked(LAST_SWEEP, "When a worker last swept the databases, in seconds since 1970", lambda: _swept(here))


@contextmanager
def exposed(here: Services, address: tuple[str, int] | None) -> Iterator[None]:
    """Serve the figures at an address (host, port), if one is given. Raises ValueError if it cannot listen there."""
    if address is None:
        yield
        return
    host, port = address
    try:
        server, thread = start_http_server(port, host, here.metrics.registry)
    except OSError as error:
        raise ValueError(f"figures cannot be served at {host}:{port}: {error.strerror}") from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _free(here: Services) -> float:
    try:
        return free_bytes(here.data_dir)
    except OSError:
        return math.nan


def _swept(here: Services) -> float:
    moment = swept_at(here.data_dir)
    return math.nan if moment is None else moment
