"""The worker: the composition root of the side that does the work.

Settings -> databases, tools, script library -> a Temporal worker with the workflows of runs and sessions, and the activities. Run as
`python -m worker`; any number of them may run side by side on one machine, over the same data directory.

It prints "worker ready (process <pid>)" when it polls, and on SIGTERM or SIGINT lets running steps end before it goes. A worker that
is killed costs nothing but time: Temporal gives its steps to another one, and the request log of each database gives what they had
done already.
"""

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio.client import Client
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from activities import LEASE_SECONDS, Activities, Notices, Resources
from activities.authoring import LocalRehearsal
from activities.payloads import create_data_converter
from agent import Model
from btree import BTreeError, Timed
from gateway.operations import logs
from gateway.operations.addresses import metrics_address
from gateway.operations.runtime import WorkerMetrics, create_runtime
from gateway.operations.steps import StepLog, quiet_sdk
from gateway.operations.tracing import start_tracing, trace_id
from gateway.operations.upkeep import mark_swept
from gateway.runs.desk import RunDesk, Starting
from gateway.schedules.desk import ScheduleDesk
from gateway.schedules.scheduling import Schedules
from query import Databases
from settings import Settings, connect_options, traces_wanted
from toolbox import (
    Drafts,
    HttpPolicy,
    Registry,
    ScriptLibrary,
    Services,
    SmtpSettings,
    StandIns,
    WebhookSettings,
    builtin_registry,
    installation_secret,
)
from toolbox.authoring.state import Limits
from toolbox.vault import Vault, installation_keyring
from workflows import ScriptWorkflow, SessionWorkflow

THREADS = 16
_log = logging.getLogger("worker")
PASSED_THROUGH = (
    "script",
    "workflows",
    "pydantic",
    "pydantic_core",
    "jsonschema",
    "orjson",
    "cel_expr_python",
    "rpds",
    "referencing",
    "opentelemetry",
)


def create_resources(
    data_dir: Path,
    smtp: dict[str, Any] | None = None,
    registry: Registry | None = None,
    *,
    lease_seconds: float = LEASE_SECONDS,
    model: Model | None = None,
    http: HttpPolicy | None = None,
    webhooks: dict[str, Any] | None = None,
    timed: Timed | None = None,
    secrets_keys: str | None = None,
    limits: Limits | None = None,
) -> Resources:
    """What effects are performed with, over a data directory; `timed` is told how long writes took.

    Raises ValueError for `secrets_keys` that are none.
    """
    secret = installation_secret(data_dir)
    databases = Databases(data_dir / "databases", timed=timed, secret=secret)
    tools = (registry or builtin_registry()).with_more(StandIns(databases))
    library = ScriptLibrary(databases, tools, has_model=model is not None)
    services = Services(
        library,
        tools,
        secret,
        SmtpSettings(**smtp) if smtp else None,
        http or HttpPolicy(),
        WebhookSettings(**(webhooks or {})),
        vault=Vault(databases, installation_keyring(data_dir, secrets_keys), logs.hide),
        drafts=Drafts(databases, library),
    )
    made = Resources(databases, tools, library, services, lease_seconds, model, limits or Limits())
    return replace(made, services=replace(services, rehearse=LocalRehearsal(made)))


def create_model(settings: Settings) -> Model | None:
    """The language model that the settings name, if they do."""
    found = settings.openai()
    if found is None:
        return None
    from agent.model import OpenAIModel  # takes the better part of a second

    return OpenAIModel(**found)


def with_schedules(resources: Resources, client: Client, task_queue: str) -> Resources:
    """The same, and tools reach the schedules and the runs, through the loop that this is called in."""
    loop = asyncio.get_running_loop()
    schedules = Schedules(client, resources.registry, resources.library, resources.databases, task_queue)
    starting = Starting(client, resources.registry, resources.library, task_queue)
    desk = ScheduleDesk(schedules, loop)
    return replace(resources, services=replace(resources.services, schedules=desk, runs=RunDesk(starting, loop)))


def create_worker(
    client: Client, task_queue: str, activities: Activities, threads: ThreadPoolExecutor, **options: Any
) -> Worker:
    """A worker for all runs and sessions on `task_queue`."""
    restrictions = SandboxRestrictions.default.with_passthrough_modules(*PASSED_THROUGH)
    return Worker(
        client,
        task_queue=task_queue,
        workflows=[ScriptWorkflow, SessionWorkflow, *options.pop("workflows", [])],
        activities=activities.all(),
        activity_executor=threads,
        workflow_runner=SandboxedWorkflowRunner(restrictions=restrictions),
        max_concurrent_activities=THREADS,
        max_heartbeat_throttle_interval=timedelta(seconds=1),
        default_heartbeat_throttle_interval=timedelta(seconds=1),
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=2),
        graceful_shutdown_timeout=timedelta(seconds=10),
        **options,
    )


async def keep_swept(
    databases: Databases, settings: Settings, stop: asyncio.Event, swept: Callable[[], None] = lambda: None
) -> None:
    """End abandoned transactions, and give space back, again and again until `stop`; a sweep that has begun is ended in order.

    `swept` is called behind each.
    """
    while not stop.is_set():
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), settings.sweep_seconds)
            return
        try:
            done = await asyncio.to_thread(
                databases.sweep, retention_seconds=settings.retention_seconds, history_bytes=settings.history_bytes
            )
        except Exception:
            _log.exception("the databases could not be swept")
            continue
        swept()
        for name, found in done.items():
            if isinstance(found, BTreeError):
                _log.warning("the database %s could not be swept: %s", name, found.message)
            elif found.rolled_back:
                _log.warning("%d abandoned transactions of %s were rolled back", found.rolled_back, name)


async def serve(settings: Settings) -> None:
    """Work until a signal comes. Raises ValueError; RuntimeError when Temporal cannot be reached."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    figures = settings.worker_metrics and metrics_address(
        settings.worker_metrics, "SOP_WORKER_METRICS", allow_remote=settings.allow_remote
    )
    options = connect_options(settings)
    secrets = (*settings.secrets(), options.get("api_key") or "")
    tracing = start_tracing("sop-worker") if traces_wanted() else None
    logs.set_up(settings.log_format, settings.log_level, secrets=secrets, trace_id=trace_id if tracing else None)
    quiet_sdk()
    runtime = create_runtime(figures or None)
    metrics = WorkerMetrics(runtime)
    client = await Client.connect(
        **options,
        data_converter=create_data_converter(settings.keys("payload_keys")),
        runtime=runtime,
        interceptors=tracing.interceptors if tracing else [],
    )
    _log.info("connected with Temporal", extra={"address": options["target_host"], "namespace": options["namespace"]})
    resources = create_resources(
        settings.data_dir,
        settings.smtp(),
        lease_seconds=settings.transaction_lease_seconds,
        model=create_model(settings),
        http=HttpPolicy.allowing(settings.allowed_hosts()),
        webhooks=settings.webhooks(),
        timed=metrics.timed if figures else None,
        secrets_keys=settings.keys("secrets_keys"),
        limits=Limits(**settings.session_limits()),
    )
    resources = with_schedules(resources, client, settings.task_queue)
    activities = Activities(resources)
    with ThreadPoolExecutor(THREADS, thread_name_prefix="step") as threads:
        async with create_worker(client, settings.task_queue, activities, threads, interceptors=[StepLog()]):

            def swept() -> None:
                mark_swept(settings.data_dir)
                metrics.swept(time.time())

            sweeping = asyncio.create_task(keep_swept(resources.databases, settings, stop, swept))
            notices = Notices(client, resources, settings.task_queue)
            telling = asyncio.create_task(notices.keep_told(settings.notice_seconds, stop))
            print(f"worker ready (process {os.getpid()})", flush=True)  # noqa: T201
            await stop.wait()
            await asyncio.gather(sweeping, telling)
    activities.close()
    resources.databases.close()
    if tracing:
        await asyncio.to_thread(tracing.close)
    await asyncio.sleep(0.3)


def main() -> None:
    """Run the worker; ends the process without the interpreter's finalisation, which the SDK's threads do not always survive."""
    try:
        asyncio.run(serve(Settings()))
        code = 0
    except (ValueError, RuntimeError) as error:
        _log.debug("start failed", exc_info=True)
        print(f"the worker cannot start: {error}", file=sys.stderr)  # noqa: T201
        code = 2 if isinstance(error, ValueError) else 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
