"""sop data: look at databases, stores and rows, and import files."""

import gzip
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final
from urllib.parse import quote

import typer

from gateway.cli.connection import Connection
from gateway.cli.failures import CONFLICT, RUN_FAILED, USAGE, CommandFailed
from gateway.cli.output import Format, tell, write_object, write_rows
from gateway.cli.transfer import pieces

app = typer.Typer(no_args_is_help=True, help="Data: import files, look at databases, stores and rows.")

_KINDS: Final = {".csv": "text/csv", ".ndjson": "application/x-ndjson", ".jsonl": "application/x-ndjson"}


@app.command("import")
def import_(
    target: Annotated[str, typer.Argument(metavar="DB/STORE")],
    file: Annotated[Path, typer.Argument(help="a .csv, .ndjson or .jsonl file, also with .gz behind")],
    key: Annotated[str | None, typer.Option(help="with --create: the fields of the primary key, f1,f2")] = None,
    types: Annotated[
        str | None, typer.Option(help="CSV: f=integer,... (string, integer, number, boolean, date)")
    ] = None,
    create: Annotated[
        bool, typer.Option("--create", help="make the database and the store if they are not there")
    ] = False,
    output: Format = "table",
) -> None:
    """Import rows from a file; rows with the same key are replaced."""
    database, store = target_of(target)
    if create != (key is not None):
        raise CommandFailed(USAGE, "error: --create and --key belong together")
    kind = _KINDS.get((file.with_suffix("") if file.suffix == ".gz" else file).suffix)
    if kind is None:
        raise CommandFailed(USAGE, f"error: {file}: the name has to end in {', '.join(_KINDS)}, or that and .gz")
    with Connection() as gateway, _open(file) as opened:
        if create and key is not None:
            _create(gateway, database, store, [field.strip() for field in key.split(",")])
        headers = {"Content-Type": kind, **({"Content-Encoding": "gzip"} if file.suffix == ".gz" else {})}
        report = gateway.post(
            f"/v1/databases/{database}/stores/{store}/rows:import",
            content=pieces(opened, file.stat().st_size, "importing"),
            headers=headers,
            params={"types": types} if types else None,
            timeout=None,
        )
    for rejected in report["rejected"][:20]:
        tell(f"{file}:{rejected['line']}: {rejected['message']} [{rejected['code']}]")
    if report["rejected_count"] > 20 and output == "table":
        tell(f"{report['rejected_count']} lines were rejected; -o json lists the first {len(report['rejected'])}")
    write_object(report if output != "table" else {**report, "rejected": None}, output)
    if report["rejected_count"]:
        raise CommandFailed(RUN_FAILED, f"error: {report['rejected_count']} lines were rejected")


@app.command()
def ls(
    target: Annotated[str | None, typer.Argument(metavar="[DB[/STORE]]")] = None,
    limit: Annotated[int, typer.Option(min=1, help="rows: at most so many")] = 20,
    output: Format = "table",
) -> None:
    """List the databases; the stores of one; or the rows of a store in key order."""
    with Connection() as gateway:
        if target is None:
            write_rows(gateway.get("/v1/databases")["data"], ("name",), output)
        elif "/" not in target:
            stores = gateway.get(f"/v1/databases/{quote(target, safe='')}/stores")["data"]
            write_rows(stores, ("name", "count", "primary_key", "description"), output)
        else:
            rows = list(gateway.pages(f"{store_path(target)}/rows", limit))
            columns = list(dict.fromkeys(name for row in rows for name in row))
            write_rows(rows, columns, output)


@app.command()
def get(
    target: Annotated[str, typer.Argument(metavar="DB/STORE")],
    key: Annotated[str, typer.Argument(help="the key; a composite key is a JSON array")],
    output: Format = "json",
) -> None:
    """Show the row of a key."""
    with Connection() as gateway:
        write_object(gateway.get(f"{store_path(target)}/rows/{quote(key, safe='')}"), output)


def target_of(text: str) -> tuple[str, str]:
    """DATABASE/STORE as the two parts of an address. Ends the command if it is not that."""
    database, slash, store = text.partition("/")
    if not (slash and database and store and "/" not in store):
        raise CommandFailed(USAGE, f"error: {text}: it has to be DATABASE/STORE")
    return quote(database, safe=""), quote(store, safe="")


def store_path(text: str) -> str:
    """The address of DATABASE/STORE."""
    database, store = target_of(text)
    return f"/v1/databases/{database}/stores/{store}"


def _open(file: Path) -> BinaryIO:
    try:
        if file.suffix == ".gz":
            with gzip.open(file) as packed:
                packed.read(1)
        return file.open("rb")
    except OSError as error:
        raise CommandFailed(USAGE, f"error: {file}: {error.strerror or error}") from None


def _create(gateway: Connection, database: str, store: str, key: list[str]) -> None:
    """Make the database and the store, unless they are there; another key than the store has is a conflict."""
    if database not in {found["name"] for found in gateway.get("/v1/databases")["data"]}:
        gateway.post("/v1/databases", json={"name": database})
    stores: list[dict[str, Any]] = gateway.get(f"/v1/databases/{database}/stores")["data"]
    known = next((found for found in stores if found["name"] == store), None)
    if known is None:
        gateway.post(f"/v1/databases/{database}/stores", json={"name": store, "primary_key": key})
    elif known["primary_key"] != key:
        there = ",".join(known["primary_key"])
        raise CommandFailed(CONFLICT, f"error: {database}/{store} is there, and its key is {there}")
