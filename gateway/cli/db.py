"""sop db: look after databases. What they hold, whether they are in order, their history, backups."""

from itertools import islice
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from gateway.cli.completion import database_names, store_names
from gateway.cli.connection import Connection
from gateway.cli.failures import RUN_FAILED, USAGE, CommandFailed
from gateway.cli.output import Format, complain, tell, write_object, write_rows
from gateway.cli.rows import store_path
from gateway.cli.transfer import check_free, pieces, save, waiting
from gateway.digests import digest_of

app = typer.Typer(no_args_is_help=True, help="Databases: info, check, compact, history, diff, restore, backup.")
DatabaseName = Annotated[str, typer.Argument(metavar="DB", help="the database", autocompletion=database_names)]
StoreName = Annotated[str, typer.Argument(metavar="DB/STORE", autocompletion=store_names)]


@app.command()
def ls(output: Format = "table") -> None:
    """List the databases with their sizes, versions and numbers of stores."""
    with Connection() as gateway:
        names = [found["name"] for found in gateway.get("/v1/databases")["data"]]
        rows = [_row(gateway, name) for name in names]
    broken = any("problem" in row for row in rows)
    write_rows(rows, ("name", "file_bytes", "version", "stores", *(["problem"] if broken else [])), output)
    if broken:
        raise CommandFailed(RUN_FAILED, "error: there are databases that cannot be read")


@app.command()
def info(database: DatabaseName, output: Format = "table") -> None:
    """Show what a database holds, and the room that it takes."""
    with Connection() as gateway:
        found = gateway.get(_database(database))
    if output == "table":
        found = {**found, "stores": ", ".join(store["name"] for store in found["stores"]), **found.pop("space")}
    write_object(found, output)


@app.command()
def check(database: DatabaseName, output: Format = "table") -> None:
    """Read everything that is kept, and tell what is wrong; the exit code says whether anything is."""
    with Connection() as gateway, waiting("checking"):
        report = gateway.post(f"{_database(database)}:check", timeout=None)
    problems = report["problems"]
    write_object(report if output != "table" else {**report, "problems": None}, output)
    for problem in problems if output == "table" else ():
        complain(problem)
    if not report["ok"]:
        hint = "hint: make a new database of a backup: sop db restore NEW_DB FILE"
        raise CommandFailed(RUN_FAILED, f"error: {database} is not in order: {len(problems)} problems", hint)


@app.command()
def compact(
    database: DatabaseName,
    retention: Annotated[
        float | None, typer.Option(min=0, help="seconds: versions older than that go; default as the gateway is set")
    ] = None,
    output: Format = "table",
) -> None:
    """Give back what no kept version needs, and rewrite the file without free room. Writers wait meanwhile."""
    with Connection() as gateway, waiting("compacting"):
        body = {"retention_seconds": retention}
        told = gateway.post(f"{_database(database)}:compact", json=body, timeout=None)
    write_object(told, output)


@app.command()
def history(
    database: DatabaseName,
    limit: Annotated[int, typer.Option(min=1, help="at most so many")] = 20,
    output: Format = "table",
) -> None:
    """List the versions that are kept, newest first."""
    with Connection() as gateway:
        rows = gateway.pages(f"{_database(database)}/versions", limit)
        write_rows(rows, ("seq", "committed_at", "transaction"), output)


@app.command()
def diff(
    target: StoreName,
    old: Annotated[str, typer.Option("--from", help="a version's number, or a time with its zone")],
    new: Annotated[str | None, typer.Option("--to", help="the same; default the newest version")] = None,
    limit: Annotated[int, typer.Option(min=1, help="at most so many")] = 100,
    output: Format = "table",
) -> None:
    """Show what changed in a store between two versions, in key order."""
    with Connection() as gateway:
        params = {"from": old, **({"to": new} if new is not None else {})}
        found = gateway.pages(f"{store_path(target)}/changes", limit + 1, **params)
        write_rows(islice(found, limit), ("key", "change", "before", "after"), output)
        if next(found, None) is not None:
            tell(f"there are more than {limit} changes: --limit shows more")


@app.command()
def backup(
    database: DatabaseName,
    file: Annotated[Path, typer.Argument(help="a new file")],
    output: Format = "table",
) -> None:
    """Save a database as one file: what it holds at this moment, checked, while others go on writing."""
    check_free(file)
    with Connection() as gateway, gateway.download(f"{_database(database)}/backup") as answer:
        version = int(answer.headers["database-version"])
        size = save(answer, file, "saving")
    write_object({"database": database, "version": version, "file": str(file), "bytes": size}, output)


@app.command()
def restore(
    target: Annotated[str, typer.Argument(metavar="DB/STORE | DB", help="a store, or with FILE a new database")],
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="a backup")] = None,
    version: Annotated[int | None, typer.Option(min=1, help="a store: the version's number")] = None,
    at: Annotated[str | None, typer.Option(help="a store: a time with its zone")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="a store: only count what would be changed")] = False,
    output: Format = "table",
) -> None:
    """Make a store what it was in a version, as a new version; or make a new database of a backup."""
    if file is None:
        _restore_store(target, version, at, dry_run, output)
    elif version is not None or at is not None or dry_run:
        raise CommandFailed(USAGE, "error: --version, --at and --dry-run are for DB/STORE, without a FILE")
    else:
        _restore_database(target, file, output)


def _restore_store(target: str, version: int | None, at: str | None, dry_run: bool, output: str) -> None:
    path = store_path(target)
    if (version is None) == (at is None):
        raise CommandFailed(USAGE, "error: a store is restored with --version N or --at TIME")
    named = {"version": version} if version is not None else {"at": at}
    with Connection() as gateway, waiting("restoring"):
        told = gateway.post(f"{path}:restore", json={**named, "dry_run": dry_run}, timeout=None)
    write_object(told, output)


def _restore_database(database: str, file: Path, output: str) -> None:
    path = f"{_database(database)}/backup"
    try:
        opened = file.open("rb")
    except OSError as error:
        raise CommandFailed(USAGE, f"error: {file}: {error.strerror or error}") from None
    with opened, Connection() as gateway:
        size = file.stat().st_size
        headers = {"Content-Type": "application/vnd.sqlite3", "Content-Length": str(size)}
        made = gateway.request(
            "PUT",
            path,
            content=pieces(opened, size, "sending"),
            headers={**headers, "Repr-Digest": digest_of(opened)},
            timeout=None,
        )
    write_object(made, output)


def _database(name: str) -> str:
    """The address of a database. Ends the command for what cannot be one."""
    if not name or "/" in name:
        raise CommandFailed(USAGE, f"error: {name}: it has to be the name of a database")
    return f"/v1/databases/{quote(name, safe='')}"


def _row(gateway: Connection, name: str) -> dict[str, Any]:
    """A database as a row of the list; one that cannot be read is told, and does not hide the others."""
    try:
        found = gateway.get(_database(name))
    except CommandFailed as failed:
        return {"name": name, "problem": failed.lines[0].removeprefix("error: ")}
    return {"name": name, **found["space"], "version": found["version"], "stores": len(found["stores"])}
