"""The client: a gateway's address and a key, and what can be done there."""

import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from gateway.client.addresses import Installation, find_gateway
from gateway.client.data import Data
from gateway.client.drafts import Drafts
from gateway.client.following import PATIENCE
from gateway.client.runs import Approvals, Runs
from gateway.client.schedules import Schedules
from gateway.client.scripts import Scripts
from gateway.client.sessions import Sessions
from gateway.client.transport import SECONDS, Transport


class Client:
    """A client of one gateway. Use it as a context manager; it may be used by several threads.

    `timeout` is for one answer; streams of rows and events may take as long as they want. `patience`: how many seconds the
    records of a run or a session wait for a gateway that has gone away.
    """

    def __init__(self, url: str, key: str, *, timeout: float = SECONDS, patience: float = PATIENCE) -> None:
        self.transport = Transport(url, key, timeout=timeout)
        self.scripts = Scripts(self.transport)
        self.drafts = Drafts(self.transport)
        self.runs = Runs(self.transport, patience)
        self.approvals = Approvals(self.transport)
        self.data = Data(self.transport)
        self.sessions = Sessions(self.transport, patience)
        self.schedules = Schedules(self.transport)

    @classmethod
    def connect(
        cls,
        profile: str | None = None,
        *,
        environ: Mapping[str, str] = os.environ,
        timeout: float = SECONDS,
        patience: float = PATIENCE,
    ) -> "Client":
        """A client of the gateway that the `sop` command would take: that of SOP_URL, a profile, or `sop dev`. Raises NotConfigured."""
        host, port = environ.get("SOP_HOST") or "127.0.0.1", environ.get("SOP_PORT") or "8080"
        installation = Installation(Path(environ.get("SOP_DATA_DIR") or ".sop"), f"http://{host}:{port}")
        found = find_gateway(installation, profile=profile, environ=environ)
        return cls(found.url, found.key, timeout=timeout, patience=patience)

    def close(self) -> None:
        self.transport.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
