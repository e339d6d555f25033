"""sop key: API keys of an installation, in its data directory.

It works on the files and not over HTTP: who has them may make any key, and no key is needed for it. Over HTTP keys make keys that may do no
more than they may themselves (`POST /v1/keys`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.connection import read_settings
from gateway.cli.failures import NOT_FOUND, USAGE, CommandFailed
from gateway.cli.output import Format, tell, write_rows

if TYPE_CHECKING:
    from gateway.access import Keys, Notes

app = typer.Typer(no_args_is_help=True, help="API keys, in the data directory: create, list, revoke.")


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="whose key it is: approvals ask for people by this name")],
    scope: Annotated[
        list[str] | None, typer.Option(help="what it may do, again for more; default admin: everything")
    ] = None,
    expires_in: Annotated[float | None, typer.Option(min=0, help="for so many days; default for ever")] = None,
) -> None:
    """Make a key and print it, this once."""
    from toolbox.access import InvalidScope, parse_scopes

    try:
        scopes = parse_scopes(scope or ["admin"])
        end = datetime.now(UTC) + timedelta(days=expires_in) if expires_in is not None else None
    except (InvalidScope, OverflowError) as error:
        raise CommandFailed(USAGE, f"error: {error}", "hint: docs/api.md lists the scopes") from None
    with _opened() as (keys, _):
        print(keys.create(name, scopes, expires_at=end))  # noqa: T201


@app.command("list")
def list_(output: Format = "table") -> None:
    """List the keys with their scopes and last uses, without their secrets."""
    with _opened() as (keys, notes):
        uses = notes.last_uses()
        rows = [{**key, "last_used_at": uses.get(key["id"])} for key in keys.all()]
        columns = ("id", "name", "scopes", "created_at", "expires_at", "last_used_at", "revoked_at")
        write_rows(rows, columns, output)


@app.command()
def revoke(key_id: Annotated[str, typer.Argument(metavar="ID", help="the key's id")]) -> None:
    """Refuse a key from its next request on."""
    from query import RecordNotFound

    with _opened() as (keys, _):
        try:
            keys.revoke(key_id)
        except RecordNotFound:
            raise CommandFailed(NOT_FOUND, f"error: there is no key {key_id!r}", "hint: sop key list") from None
    tell(f"{key_id} was revoked")


@contextmanager
def _opened() -> "Iterator[tuple[Keys, Notes]]":
    from gateway.access import Keys, Notes
    from query import Databases

    settings = read_settings()
    folder = settings.data_dir / "databases"
    if not folder.is_dir():
        raise CommandFailed(
            NOT_FOUND, f"error: {folder} is not there", "hint: set SOP_DATA_DIR to the gateway's data directory"
        )
    databases = Databases(folder)
    try:
        yield Keys(databases), Notes(databases, audit_days=settings.audit_days)
    finally:
        databases.close()
