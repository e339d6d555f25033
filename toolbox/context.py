"""What a tool gets beside its arguments."""

import secrets
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from query import Databases, View
from toolbox.addresses import HttpPolicy
from toolbox.private_files import made_once
from toolbox.vault import Filling, Vault
from toolbox.webhooks import WebhookSettings

if TYPE_CHECKING:
    from toolbox.authoring.desk import Desk, Rehearsal, RunDesk
    from toolbox.drafts import Drafts
    from toolbox.library import ScriptLibrary
    from toolbox.registry import Registry


@dataclass(frozen=True)
class SmtpSettings:
    """How mail gets out. `recipients`: if there are any, only these addresses or domains (`@example.com`) are written to."""

    host: str
    port: int
    sender: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    use_tls: bool = False
    recipients: tuple[str, ...] = ()


class ScheduleDesk(Protocol):
    """What reaches the schedules. Every method may be called from any thread, and raises ToolError."""

    def create(self, asked: dict[str, Any], key: str) -> dict[str, Any]: ...

    def preview(self, asked: dict[str, Any]) -> dict[str, Any]:
        """What `create` would make, with its next times (`next_runs`)."""
        ...

    def list(self) -> list[dict[str, Any]]: ...

    def pause(self, schedule_id: str, note: str, paused: bool) -> dict[str, Any]: ...

    def trigger(self, schedule_id: str, key: str) -> dict[str, Any]: ...

    def backfill(self, schedule_id: str, asked: dict[str, Any], key: str) -> dict[str, Any]: ...

    def delete(self, schedule_id: str) -> bool: ...


@dataclass(frozen=True)
class Services:
    """The outside that tools may use. `secret` is this installation's own, for codes that nobody can guess.

    `drafts`, `rehearse` (dry runs) and `runs` are for the tools of sessions.
    """

    library: "ScriptLibrary"
    registry: "Registry"
    secret: bytes = field(repr=False)
    smtp: SmtpSettings | None = None
    http: HttpPolicy = field(default_factory=HttpPolicy)
    webhooks: WebhookSettings = field(default_factory=WebhookSettings)
    schedules: ScheduleDesk | None = None
    vault: Vault | None = None
    drafts: "Drafts | None" = None
    rehearse: "Rehearsal | None" = None
    runs: "RunDesk | None" = None


@dataclass(frozen=True)
class ToolContext:
    """The circumstances of one call.

    `view` is the step's transaction (or None), on `database`. `idempotency_key` is the same whenever this step is tried again. `secrets`
    puts the secrets into arguments that the step names in them. `session` is there for tools of the effect `session`.
    """

    databases: Databases
    database: str | None
    view: View | None
    idempotency_key: str
    run_id: str
    step: str
    now: datetime
    dry_run: bool
    mocks: frozenset[str]
    services: Services
    scope: frozenset[str]
    scheduled_at: str | None = None
    secrets: Filling = field(default_factory=Filling)
    session: "Desk | None" = None


def installation_secret(data_dir: Path) -> bytes:
    """The secret of a data directory: made at the first use, readable by its owner only."""
    path = data_dir / "secret"
    found = made_once(path, lambda: secrets.token_bytes(32))
    if len(found) != 32:
        raise ValueError(f"{path} does not hold a secret of 32 bytes")
    return found
