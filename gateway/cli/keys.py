"""sop key: API keys of an installation, in its data directory.

It works on the files and not over HTTP: who may make a key with any name may decide in anybody's name, so that takes access to the data.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.connection import read_settings
from gateway.cli.failures import NOT_FOUND, CommandFailed
from gateway.cli.output import Format, tell, write_rows

if TYPE_CHECKING:
    from gateway.keys import Keys

app = typer.Typer(no_args_is_help=True, help="API keys, in the data directory: create, list, revoke.")


@app.command()
def create(name: Annotated[str, typer.Argument(help="whose key it is: approvals ask for people by this name")]) -> None:
    """Make a key and print it, this once."""
    with _keys() as keys:
        print(keys.create(name))  # noqa: T201


@app.command("list")
def list_(output: Format = "table") -> None:
    """List the keys, without their secrets."""
    with _keys() as keys:
        write_rows(keys.all(), ("id", "name", "created_at", "revoked_at"), output)


@app.command()
def revoke(key_id: Annotated[str, typer.Argument(metavar="ID", help="the key's id")]) -> None:
    """Refuse a key from its next request on."""
    from query import RecordNotFound

    with _keys() as keys:
        try:
            keys.revoke(key_id)
        except RecordNotFound:
            raise CommandFailed(NOT_FOUND, f"error: there is no key {key_id!r}", "hint: sop key list") from None
    tell(f"{key_id} was revoked")


@contextmanager
def _keys() -> "Iterator[Keys]":
    from gateway.keys import Keys
    from query import Databases

    folder = read_settings().data_dir / "databases"
    if not folder.is_dir():
        raise CommandFailed(
            NOT_FOUND, f"error: {folder} is not there", "hint: set SOP_DATA_DIR to the gateway's data directory"
        )
    databases = Databases(folder)
    try:
        yield Keys(databases)
    finally:
        databases.close()
