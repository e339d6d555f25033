"""sop audit: who changed what, and who was refused."""

from typing import Annotated

import typer

from gateway.cli.connection import Connection
from gateway.cli.output import Format, write_rows


def audit(
    key: Annotated[str | None, typer.Option(help="only entries of the key with this id")] = None,
    since: Annotated[str | None, typer.Option(help="from this time on: 2026-11-21T08:30:00Z")] = None,
    until: Annotated[str | None, typer.Option(help="before this time")] = None,
    limit: Annotated[int, typer.Option(min=1, help="at most so many")] = 50,
    output: Format = "table",
) -> None:
    """List the audit log, newest first: requests that change something, and refusals."""
    with Connection() as gateway:
        rows = gateway.pages("/v1/audit", limit, key=key, since=since, until=until)
        write_rows(rows, ("at", "name", "key", "method", "route", "target", "status", "times"), output)
