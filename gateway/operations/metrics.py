"""The figures of a process, in Prometheus' terms.

Labels are closed sets: methods of HTTP, templates of routes (`/v1/runs/{run_id}`), statuses, how a run was started. Names of databases,
stores, scripts, runs and keys, and whatever else a client can choose, are never labels: each would be another series, kept for as long as
the
process runs, and readable by who may read figures but no data. What is found out about one of them is in the log.

    sop_requests_total{method,route,status}      answers, when they have ended; `aborted` where a client went away before it began
    sop_request_seconds{method,route}            until the answer began
    sop_stream_seconds{route}                    until a streamed answer ended
    sop_streams_open{route}                      answers that are being streamed
    sop_watched_runs, sop_watchers               runs that are watched here, and by how many
    sop_runs_started_total{trigger}              runs that were started here; one that is found again by its key is not counted again
    sop_commit_seconds                           durable writes of the databases: the COMMIT itself
    sop_lock_wait_seconds                        how long they waited for other writers
    sop_disk_free_bytes, sop_last_sweep_timestamp_seconds
    process_*                                    memory, processor time, open files
"""

from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

COMMIT_SECONDS: Final = "sop_commit_seconds"
LOCK_WAIT_SECONDS: Final = "sop_lock_wait_seconds"
LAST_SWEEP: Final = "sop_last_sweep_timestamp_seconds"
WRITE_BUCKETS: Final = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0, 20.0)
_REQUEST_BUCKETS: Final = (0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)
_STREAM_BUCKETS: Final = (0.01, 0.1, 1.0, 10.0, 60.0, 600.0, 3_600.0, 86_400.0)


class Metrics:
    """The figures of one gateway. Each has a registry of its own, so that several in one process do not mix."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "sop_requests", "Requests that were answered", ["method", "route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "sop_request_seconds",
            "Until the answer began",
            ["method", "route"],
            buckets=_REQUEST_BUCKETS,
            registry=self.registry,
        )
        self.stream_seconds = Histogram(
            "sop_stream_seconds",
            "Until a streamed answer ended",
            ["route"],
            buckets=_STREAM_BUCKETS,
            registry=self.registry,
        )
        self.streams = Gauge("sop_streams_open", "Answers that are being streamed", ["route"], registry=self.registry)
        self.runs = Counter("sop_runs_started", "Runs that were started", ["trigger"], registry=self.registry)
        self._commits = Histogram(
            COMMIT_SECONDS, "COMMITs of the databases", buckets=WRITE_BUCKETS, registry=self.registry
        )
        self._waits = Histogram(
            LOCK_WAIT_SECONDS, "Waits for a turn to write", buckets=WRITE_BUCKETS, registry=self.registry
        )

    def timed(self, waited: float, took: float | None) -> None:
        """Take in what a database tells of a write (btree.Timed)."""
        self._waits.observe(waited)
        if took is not None:
            self._commits.observe(took)

    def asked(self, name: str, about: str, figure: Callable[[], float]) -> None:
        """A figure that is asked for whenever the figures are read."""
        Gauge(name, about, registry=self.registry).set_function(figure)
