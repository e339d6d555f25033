"""sop data: look at databases, stores and rows, import files and export them."""

import gzip
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final, Literal
from urllib.parse import quote

import typer

from gateway.cli.completion import store_names
from gateway.cli.connection import Connection
from gateway.cli.failures import CONFLICT, RUN_FAILED, USAGE, CommandFailed
from gateway.cli.output import Format, tell, write_object, write_rows
from gateway.cli.rows import Asked, Csv, comma_list, import_report, json_object, rejects_file, store_path, target_of
from gateway.cli.transfer import check_free, new_file, pieces

app = typer.Typer(no_args_is_help=True, help="Data: import, export, select; look at databases, stores and rows.")

Target = Annotated[str, typer.Argument(metavar="DB/STORE", autocompletion=store_names)]
Where = Annotated[str | None, typer.Option(metavar="JSON", help='a filter: {"city": "Rome", "age": {"$gte": 18}}')]
Fields = Annotated[str | None, typer.Option(help="a,b.c: these fields only, in this order")]
OrderBy = Annotated[str | None, typer.Option(help="a,-b: by a, then by b downwards")]
Limit = Annotated[int | None, typer.Option(min=0, help="at most so many rows; default all")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="only try it: nothing is kept")]
Offset = Annotated[int, typer.Option(min=0, help="pass over so many rows")]
AtVersion = Annotated[int | None, typer.Option(min=1, help="of this version of the database; default the newest")]
Guard = Annotated[
    bool, typer.Option("--guard/--no-guard", help="CSV: an apostrophe before text that looks like a formula")
]
NullText = Annotated[
    str, typer.Option("--null", metavar="TEXT", help="CSV: null is this text, and an empty cell a missing field")
]

JoinType = Literal["inner", "left", "right", "full", "semi", "anti"]

_FORMS: Final = {".csv": "csv", ".json": "json", ".arrow": "arrow", ".arrows": "arrow"}
"""Which form a file's name means, for an export."""
_KINDS: Final = {
    ".csv": "text/csv",
    ".json": "application/json",
    ".ndjson": "application/x-ndjson",
    ".jsonl": "application/x-ndjson",
}


@app.command("import")
def import_(
    target: Target,
    file: Annotated[Path, typer.Argument(help="a .csv, .json, .ndjson or .jsonl file, also with .gz behind")],
    key: Annotated[str | None, typer.Option(help="with --create: the fields of the primary key, f1,f2")] = None,
    types: Annotated[
        str | None, typer.Option(help="CSV: f=integer,... (string, string?, integer, number, boolean, date, json)")
    ] = None,
    create: Annotated[
        bool, typer.Option("--create", help="make the database and the store if they are not there")
    ] = False,
    mode: Annotated[
        Literal["upsert", "insert"], typer.Option(help="insert rejects rows whose key is there already")
    ] = "upsert",
    max_rejects: Annotated[int | None, typer.Option(min=0, help="stop when more lines are rejected")] = None,
    rejects: Annotated[Path | None, typer.Option(help="a new file for all rejected lines, as NDJSON")] = None,
    unguard: Annotated[bool, typer.Option("--unguard", help="CSV: take the formula guard's apostrophes away")] = False,
    null: Annotated[str | None, typer.Option(help="CSV: the text that stands for null, besides the empty one")] = None,
    empty: Annotated[
        Literal["null", "missing"], typer.Option(help="CSV: what an empty cell of a typed column is")
    ] = "null",
    dry_run: DryRun = False,
    output: Format = "table",
) -> None:
    """Import rows from a file; rows with the same key are replaced. With --dry-run the report tells what would be."""
    database, store = target_of(target)
    if create != (key is not None):
        raise CommandFailed(USAGE, "error: --create and --key belong together")
    if create and dry_run:
        raise CommandFailed(USAGE, "error: --create makes what is not there, and --dry-run keeps nothing")
    kind = _KINDS.get((file.with_suffix("") if file.suffix == ".gz" else file).suffix)
    if kind is None:
        raise CommandFailed(USAGE, f"error: {file}: the name has to end in {', '.join(_KINDS)}, or that and .gz")
    params = {"mode": mode, "types": types, "max_rejects": max_rejects, "unguard": unguard or None, "null": null}
    params |= {"empty": None if empty == "null" else empty, "dry_run": dry_run or None}
    with Connection() as gateway, _open(file) as opened, rejects_file(rejects) as kept:
        if create and key is not None:
            _create(gateway, database, store, [field.strip() for field in key.split(",")])
        headers = {"Content-Type": kind, **({"Content-Encoding": "gzip"} if file.suffix == ".gz" else {})}
        records = gateway.stream(
            "POST",
            f"/v1/databases/{database}/stores/{store}/rows:import",
            content=pieces(opened, file.stat().st_size, "importing"),
            headers={**headers, "Accept": "application/x-ndjson"},
            params={name: value for name, value in params.items() if value is not None},
        )
        report = import_report(records, str(file), kept)
    write_object(report if output != "table" else {**report, "rejected": None}, output)
    count = report["rejected_count"]
    if report["stopped"]:
        raise CommandFailed(RUN_FAILED, f"error: the import stopped: more than {max_rejects} lines were rejected")
    if count:
        raise CommandFailed(RUN_FAILED, f"error: {count} lines were rejected")


@app.command()
def export(
    target: Target,
    where: Where = None,
    fields: Fields = None,
    order_by: OrderBy = None,
    limit: Limit = None,
    offset: Offset = 0,
    version: AtVersion = None,
    output: Annotated[
        Literal["ndjson", "json", "csv", "arrow"] | None,
        typer.Option("--output", "-o", help="default by the file's name, else ndjson"),
    ] = None,
    file: Annotated[Path | None, typer.Option(help="a new file instead of stdout; packed if it ends in .gz")] = None,
    guard: Guard = True,
    null: NullText = "",
    as_json: Annotated[
        str, typer.Option(help="arrow: the columns a,b are JSON text, whatever is in them; * is all")
    ] = "",
) -> None:
    """Write rows to a file or to stdout: all, or those of a query. A file gets its name when it is whole."""
    asked = Asked(target, where, fields, order_by, limit, offset, version)
    csv = Csv(guard, null, tuple(comma_list(as_json or None) or ()))
    if file is None:
        csv.check(output or "ndjson")
        asked.write(sys.stdout.buffer, output or "ndjson", csv, shown=not sys.stdout.isatty())
        return
    check_free(file)
    suffix = (file.with_suffix("") if file.suffix == ".gz" else file).suffix
    form = output or _FORMS.get(suffix, "ndjson")
    csv.check(form)
    with new_file(file) as opened:
        asked.write(opened, form, csv)


@app.command()
def select(
    target: Target,
    where: Where = None,
    fields: Fields = None,
    order_by: OrderBy = None,
    limit: Limit = None,
    offset: Offset = 0,
    version: AtVersion = None,
    output: Format = "table",
    guard: Guard = True,
    null: NullText = "",
) -> None:
    """Show the rows of a query."""
    _show(Asked(target, where, fields, order_by, limit, offset, version), output, Csv(guard, null))


@app.command()
def join(
    target: Annotated[str, typer.Argument(metavar="DB/LEFT", autocompletion=store_names)],
    right: Annotated[str, typer.Argument(help="the right store")],
    on: Annotated[str, typer.Option(help="a=b,c: the left a is the right b, and c is in both")],
    kind: Annotated[JoinType, typer.Option("--type", help="which rows without a partner")] = "inner",
    where: Annotated[
        str | None, typer.Option(metavar="JSON", help='a filter over both: {"right.total": {"$gt": 9}}')
    ] = None,
    fields: Annotated[str | None, typer.Option(help="left.a,right.b: these fields only, in this order")] = None,
    order_by: OrderBy = None,
    limit: Limit = None,
    offset: Offset = 0,
    version: AtVersion = None,
    output: Format = "table",
    guard: Guard = True,
    null: NullText = "",
) -> None:
    """Show the rows of two stores that belong together."""
    joined = _joined(right, on, kind)
    _show(Asked(target, where, fields, order_by, limit, offset, version, "join", joined), output, Csv(guard, null))


@app.command()
def aggregate(
    target: Target,
    value: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=OP[:FIELD]", help="a value: n=count, total=sum:amount; or NAME={op, value, where}"),
    ] = None,
    by: Annotated[
        str | None, typer.Option(help="a,b.c: for each group of these fields; default one row for all")
    ] = None,
    right: Annotated[str | None, typer.Option("--join", metavar="RIGHT", help="over a join with this store")] = None,
    on: Annotated[str | None, typer.Option(help="with --join, as for a join: a=b,c")] = None,
    kind: Annotated[JoinType, typer.Option("--type", help="with --join: which rows without a partner")] = "inner",
    where: Annotated[str | None, typer.Option(metavar="JSON", help="a filter: which rows are counted in")] = None,
    order_by: Annotated[str | None, typer.Option(help="by group fields and values, as -total")] = None,
    limit: Limit = None,
    offset: Offset = 0,
    version: AtVersion = None,
    output: Format = "table",
    guard: Guard = True,
    null: NullText = "",
) -> None:
    """Show values computed over the rows of a query, or of a join: for all of them, or for each group."""
    if (right is None) != (on is None):
        raise CommandFailed(USAGE, "error: --join and --on belong together")
    if right is None and kind != "inner":
        raise CommandFailed(USAGE, "error: --type is for --join")
    asked: dict[str, Any] = {"values": _values(value or ()), "group_by": comma_list(by) or []}
    if right is not None and on is not None:
        asked["join"] = {**_joined(right, on, kind), "filter": json_object("--where", where)}
        where = None
    _show(Asked(target, where, None, order_by, limit, offset, version, "aggregate", asked), output, Csv(guard, null))


@app.command()
def ls(
    target: Annotated[str | None, typer.Argument(metavar="[DB[/STORE]]", autocompletion=store_names)] = None,
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
            write_rows(rows, _columns(rows), output)


@app.command()
def get(
    target: Target,
    key: Annotated[str, typer.Argument(help="the key; a composite key is a JSON array")],
    output: Format = "json",
) -> None:
    """Show the row of a key."""
    with Connection() as gateway:
        write_object(gateway.get(_row_path(target, key)), output)


@app.command()
def put(
    target: Target,
    record: Annotated[str, typer.Argument(help="the whole record, as JSON", metavar="JSON")],
    dry_run: DryRun = False,
) -> None:
    """Write a record: a new one, or in the place of the one with its key."""
    row = json_object("JSON", record) or {}
    with Connection() as gateway:
        fields = gateway.get(store_path(target))["primary_key"]
        if missing := [field for field in fields if field not in row]:
            raise CommandFailed(
                USAGE, f"error: the record has no {missing[0]!r}", f"hint: the key is {', '.join(fields)}"
            )
        key = [row[field] for field in fields]
        path = _row_path(target, key[0] if len(key) == 1 else key)
        outcome = gateway.request("PUT", path, json=row, params=_tried(dry_run))["outcome"]
    tell(f"{target}: {outcome}{' (dry run)' if dry_run else ''}")


@app.command()
def delete(
    target: Target,
    key: Annotated[str, typer.Argument(help="the key; a composite key is a JSON array")],
    dry_run: DryRun = False,
) -> None:
    """Remove the row of a key."""
    with Connection() as gateway:
        gateway.request("DELETE", _row_path(target, key), params=_tried(dry_run))
    tell(f"{target}: deleted{' (dry run)' if dry_run else ''}")


def _tried(dry_run: bool) -> dict[str, str]:
    return {"dry_run": "true"} if dry_run else {}


def _row_path(target: str, key: Any) -> str:
    text = key if isinstance(key, str) else json.dumps(key, ensure_ascii=False)
    return f"{store_path(target)}/rows/{quote(text, safe='')}"


def _show(asked: Asked, output: Literal["table", "ndjson", "json", "csv"], csv: Csv) -> None:
    """The rows on stdout."""
    csv.check(output)
    if output == "table":
        rows = asked.rows()
        write_rows(rows, asked.columns() or _columns(rows), output)
    else:
        asked.write(sys.stdout.buffer, output, csv, shown=not sys.stdout.isatty())


def _joined(right: str, on: str, kind: str) -> dict[str, Any]:
    """What is joined: `a=b,c` are the fields."""
    pairs = [part.strip().partition("=") for part in on.split(",")]
    return {"right": right, "on": {left: other or left for left, _, other in pairs}, "type": kind}


def _values(given: Sequence[str]) -> dict[str, Any]:
    """`name=op`, `name=op:field` or `name={...}` as the values of an aggregate. Ends the command for what is none."""
    found: dict[str, Any] = {}
    for text in given:
        name, equals, told = text.partition("=")
        if not (name and equals and told):
            hint = "hint: --value n=count --value total=sum:amount"
            raise CommandFailed(USAGE, f"error: --value {text}: it has to be NAME=OP or NAME=OP:FIELD", hint)
        if name in found:
            raise CommandFailed(USAGE, f"error: two values are named {name}")
        op, colon, path = told.partition(":")
        if told.startswith("{"):
            found[name] = json_object(f"--value {name}", told)
        else:
            found[name] = {"op": op, "value": path} if colon else {"op": op}
    return found


def _columns(rows: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


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
