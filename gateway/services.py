"""What the routes work with: one frozen object, made by the entry point, found through the request. No globals."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

from fastapi import Depends, Request
from temporalio.client import Client

from btree.space import HISTORY_BYTES, RETENTION
from gateway.access import Keys, Limits, Notes, Sessions, Tokens, Validity
from gateway.authoring.tailing import Tails
from gateway.cursors import Cursors
from gateway.operations.logs import hide
from gateway.operations.metrics import Metrics
from gateway.results.single_flight import SingleFlight
from gateway.runs.readings import Readings
from gateway.schedules.scheduling import Schedules
from query import Databases
from toolbox import Drafts, Registry, ScriptLibrary, StandIns, installation_secret
from toolbox.authoring import Conversations
from toolbox.vault import Vault, installation_keyring

Watch = Callable[[Client, str, int], AsyncIterator[dict[str, Any]]]
MAX_BODY_BYTES: Final = 2 * 1024 * 1024
AUDIT_DAYS: Final = 90.0


@dataclass(frozen=True)
class Services:
    """`client` reaches Temporal; `watch` gives a run's events; `stopping` is set when the gateway drains.

    `origins` are those of pages elsewhere that may use the API. `ends` are the last records of runs that somebody waits for just now.
    `tails` are the logs of sessions that are read here.
    `retention_seconds` and `history_bytes` say how much of the databases' history is kept, `min_free_bytes` and `sweep_seconds` when
    the gateway is not ready, or warns (see the settings). `mcp_hosts` and `mcp_origins` may come to `/mcp`, beside loopback.
    `validity` tells streams when their keys are valid no more. `limits` are those of requests (by default none), `tokens` checks those of
    an identity provider.
    """

    client: Client
    databases: Databases
    registry: Registry
    library: ScriptLibrary
    drafts: Drafts
    keys: Keys
    sessions: Sessions
    validity: Validity
    notes: Notes
    cursors: Cursors
    vault: Vault
    tails: Tails
    data_dir: Path
    task_queue: str
    temporal_ui: str | None = None
    max_body_bytes: int = MAX_BODY_BYTES
    retention_seconds: float = RETENTION
    history_bytes: int = HISTORY_BYTES
    min_free_bytes: int = 0
    sweep_seconds: float = 60
    mcp_hosts: tuple[str, ...] = ()
    mcp_origins: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    tokens: Tokens | None = None
    metrics: Metrics = field(default_factory=Metrics)
    watch: Watch = field(default_factory=Readings)
    ends: SingleFlight[dict[str, Any]] = field(default_factory=SingleFlight)
    origins: frozenset[str] = frozenset()
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def conversations(self) -> Conversations:
        """The sessions of this installation."""
        return self.tails.log

    @property
    def schedules(self) -> Schedules:
        """The schedules of this installation."""
        return Schedules(self.client, self.registry, self.library, self.databases, self.task_queue)

    def close(self) -> None:
        """Write what waits to be written, and close the databases."""
        self.notes.close()
        self.databases.close()


def create_services(
    client: Client,
    data_dir: Path,
    registry: Registry,
    *,
    task_queue: str,
    temporal_ui: str | None = None,
    retention_seconds: float = RETENTION,
    history_bytes: int = HISTORY_BYTES,
    has_model: bool | None = None,
    audit_days: float = AUDIT_DAYS,
    min_free_bytes: int = 0,
    sweep_seconds: float = 60,
    secrets_keys: str | None = None,
    mcp_hosts: tuple[str, ...] = (),
    mcp_origins: tuple[str, ...] = (),
    limits: Limits | None = None,
    tokens: Tokens | None = None,
    origins: frozenset[str] = frozenset(),
) -> Services:
    """The services over a data directory; makes its first API key. Raises ValueError for keys that are none."""
    metrics = Metrics()
    secret = installation_secret(data_dir)
    databases = Databases(data_dir / "databases", timed=metrics.timed, secret=secret)
    keys = Keys(databases)
    keys.bootstrap(data_dir)
    sessions = Sessions(databases, keys, origins=origins)
    registry = registry.with_more(StandIns(databases))
    library = ScriptLibrary(databases, registry, has_model=has_model)
    return Services(
        client=client,
        databases=databases,
        registry=registry,
        library=library,
        drafts=Drafts(databases, library),
        keys=keys,
        sessions=sessions,
        validity=Validity(keys, sessions, skew=tokens.skew if tokens is not None else 0),
        notes=Notes(databases, audit_days=audit_days),
        cursors=Cursors(secret),
        vault=Vault(databases, installation_keyring(data_dir, secrets_keys), hide),
        tails=Tails(Conversations(databases)),
        data_dir=data_dir,
        task_queue=task_queue,
        temporal_ui=temporal_ui,
        retention_seconds=retention_seconds,
        history_bytes=history_bytes,
        min_free_bytes=min_free_bytes,
        sweep_seconds=sweep_seconds,
        mcp_hosts=mcp_hosts,
        mcp_origins=mcp_origins,
        limits=limits or Limits(),
        tokens=tokens,
        metrics=metrics,
        origins=origins,
    )


def _of_request(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


Here = Annotated[Services, Depends(_of_request)]
"""A route's parameter of this type gets the services."""
