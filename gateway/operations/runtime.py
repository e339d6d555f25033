"""Temporal's runtime: what the SDK itself says goes into our log, and its figures to a port, if that is wanted.

The worker's figures are those of the SDK (task slots, latencies, failures, polls: `temporal_*`) and ours of the databases, on the same
port, served by
the SDK. Ours have the names that the gateway's have.
"""

import logging
from typing import Final

from temporalio.runtime import (
    LogForwardingConfig,
    LoggingConfig,
    PrometheusConfig,
    Runtime,
    TelemetryConfig,
    TelemetryFilter,
)

from gateway.operations.metrics import COMMIT_SECONDS, LAST_SWEEP, LOCK_WAIT_SECONDS, WRITE_BUCKETS

_SWEPT: Final = "When this worker last swept the databases, in seconds since 1970"


def create_runtime(address: tuple[str, int] | None = None) -> Runtime:
    """The runtime of a process; with an address (host, port) it serves figures there. Raises ValueError if it cannot listen."""
    forwarding = LogForwardingConfig(
        logging.getLogger("temporalio.core"), append_target_to_name=False, overwrite_log_record_time=False
    )
    told = LoggingConfig(TelemetryFilter(core_level="WARN", other_level="ERROR"), forwarding=forwarding)
    if address is None:
        return Runtime(telemetry=TelemetryConfig(logging=told))
    host, port = address
    bind = f"[{host}]:{port}" if ":" in host else f"{'127.0.0.1' if host == 'localhost' else host}:{port}"
    buckets = dict.fromkeys((COMMIT_SECONDS, LOCK_WAIT_SECONDS), WRITE_BUCKETS)
    metrics = PrometheusConfig(
        bind_address=bind, counters_total_suffix=True, durations_as_seconds=True, histogram_bucket_overrides=buckets
    )
    try:
        return Runtime(telemetry=TelemetryConfig(logging=told, metrics=metrics, attach_service_name=False))
    except RuntimeError as error:
        raise ValueError(f"figures cannot be served at {bind}: {error}") from error


class WorkerMetrics:
    """Our figures of a worker. Without a port they go nowhere, at no cost worth speaking of."""

    def __init__(self, runtime: Runtime) -> None:
        meter = runtime.metric_meter
        self._commits = meter.create_histogram_float(COMMIT_SECONDS, "COMMITs of the databases", "s")
        self._waits = meter.create_histogram_float(LOCK_WAIT_SECONDS, "Waits for a turn to write", "s")
        self._swept = meter.create_gauge_float(LAST_SWEEP, _SWEPT)

    def timed(self, waited: float, took: float | None) -> None:
        """Take in what a database tells of a write (btree.Timed)."""
        self._waits.record(waited)
        if took is not None:
            self._commits.record(took)

    def swept(self, moment: float) -> None:
        """The databases were swept at this time."""
        self._swept.set(moment)
