"""sop secret: secrets that steps use by their names. A value comes from stdin or is asked for, and is never shown."""

import sys
from typing import Annotated
from urllib.parse import quote

import typer

from gateway.cli.connection import Connection
from gateway.cli.failures import USAGE, CommandFailed
from gateway.cli.output import Format, tell, write_rows

app = typer.Typer(no_args_is_help=True, help="Secrets, which steps use by their names: set, list, delete.")
Name = Annotated[str, typer.Argument(metavar="NAME", help="its name, as in secret://NAME")]


@app.command("set")
def set_(
    name: Name,
    host: Annotated[
        list[str] | None,
        typer.Option(help="the only host that gets it, again for more; *.example.com is every name below"),
    ] = None,
) -> None:
    """Set a secret to what comes on stdin (without the line's end), or to what is typed in."""
    if sys.stdin.isatty():
        value = typer.prompt("value", hide_input=True, confirmation_prompt=True, err=True)
    else:
        value = sys.stdin.read().removesuffix("\n").removesuffix("\r")
    if not value:
        raise CommandFailed(USAGE, "error: there is no value on stdin", f"hint: sop secret set {name} < file")
    with Connection() as gateway:
        gateway.request("PUT", _path(name), json={"value": value, "hosts": host or []})
    tell(f"secret://{name} is set")


@app.command("list")
def list_(output: Format = "table") -> None:
    """List the secrets that the key may use or set, without their values."""
    with Connection() as gateway:
        columns = ("name", "hosts", "key", "created_at", "updated_at", "updated_by")
        write_rows(gateway.get("/v1/secrets")["data"], columns, output)


@app.command()
def delete(name: Name) -> None:
    """Forget a secret: steps that need it fail from now on."""
    with Connection() as gateway:
        gateway.request("DELETE", _path(name))
    tell(f"secret://{name} is deleted")


def _path(name: str) -> str:
    return f"/v1/secrets/{quote(name, safe='')}"


@app.command()
def rotate() -> None:
    """Encrypt all secrets with the first key of SOP_SECRETS_KEYS."""
    with Connection() as gateway:
        done = gateway.post("/v1/secrets:rotate")["rotated"]
    tell(f"{done} secrets were encrypted with another key")
