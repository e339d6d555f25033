"""The worker: the composition root of the side that does the work.

Settings -> databases, tools, script library -> a Temporal worker with the one workflow and the activities. Run as
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
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from activities import LEASE_SECONDS, Activities, Notices, Resources
from agent import Model
from btree import BTreeError
from gateway.schedule_desk import ScheduleDesk
from gateway.scheduling import Schedules
from query import Databases
from settings import Settings, connect_options
from toolbox import (
    HttpPolicy,
    Registry,
    ScriptLibrary,
    Services,
    SmtpSettings,
    WebhookSettings,
    builtin_registry,
    installation_secret,
)
from workflows import ScriptWorkflow

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
) -> Resources:
    """What effects are performed with, over a data directory."""
    tools = registry or builtin_registry()
    databases = Databases(data_dir / "databases")
    library = ScriptLibrary(databases, tools, has_model=model is not None)
    services = Services(
        library,
        tools,
        installation_secret(data_dir),
        SmtpSettings(**smtp) if smtp else None,
        http or HttpPolicy(),
        WebhookSettings(**(webhooks or {})),
    )
    return Resources(databases, tools, library, services, lease_seconds, model)


def create_model(settings: Settings) -> Model | None:
    """The language model that the settings name, if they do."""
    found = settings.openai()
    if found is None:
        return None
    from agent.model import OpenAIModel  # takes the better part of a second

    return OpenAIModel(**found)


def with_schedules(resources: Resources, client: Client, task_queue: str) -> Resources:
    """The same, and tools reach the schedules, through the loop that this is called in."""
    schedules = Schedules(client, resources.registry, resources.library, resources.databases, task_queue)
    desk = ScheduleDesk(schedules, asyncio.get_running_loop())
    return replace(resources, services=replace(resources.services, schedules=desk))


def create_worker(
    client: Client, task_queue: str, activities: Activities, threads: ThreadPoolExecutor, **options: Any
) -> Worker:
    """A worker for all runs on `task_queue`."""
    restrictions = SandboxRestrictions.default.with_passthrough_modules(*PASSED_THROUGH)
    return Worker(
        client,
        task_queue=task_queue,
        workflows=[ScriptWorkflow, *options.pop("workflows", [])],
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


async def keep_swept(databases: Databases, settings: Settings, stop: asyncio.Event) -> None:
    """End abandoned transactions, and give space back, again and again until `stop`; a sweep that has begun is ended in order."""
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
        for name, found in done.items():
            if isinstance(found, BTreeError):
                _log.warning("the database %s could not be swept: %s", name, found.message)
            elif found.rolled_back:
                _log.warning("%d abandoned transactions of %s were rolled back", found.rolled_back, name)


async def serve(settings: Settings) -> None:
    """Work until a signal comes."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    client = await Client.connect(**connect_options(settings), data_converter=pydantic_data_converter)
    resources = create_resources(
        settings.data_dir,
        settings.smtp(),
        lease_seconds=settings.transaction_lease_seconds,
        model=create_model(settings),
        http=HttpPolicy.allowing(settings.allowed_hosts()),
        webhooks=settings.webhooks(),
    )
    resources = with_schedules(resources, client, settings.task_queue)
    activities = Activities(resources)
    with ThreadPoolExecutor(THREADS, thread_name_prefix="step") as threads:
        async with create_worker(client, settings.task_queue, activities, threads):
            sweeping = asyncio.create_task(keep_swept(resources.databases, settings, stop))
            notices = Notices(client, resources, settings.task_queue)
            telling = asyncio.create_task(notices.keep_told(settings.notice_seconds, stop))
            print(f"worker ready (process {os.getpid()})", flush=True)  # noqa: T201
            await stop.wait()
            await asyncio.gather(sweeping, telling)
    activities.close()
    resources.databases.close()
    await asyncio.sleep(0.3)


def main() -> None:
    """Run the worker; ends the process without the interpreter's finalisation, which the SDK's threads do not always survive."""
    asyncio.run(serve(Settings()))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
