"""sop script: save, check, show, list."""

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from gateway.cli.completion import script_names
from gateway.cli.connection import Connection
from gateway.cli.failures import USAGE, CommandFailed
from gateway.cli.output import Format, tell, write_json, write_lines, write_object, write_rows

app = typer.Typer(no_args_is_help=True, help="Scripts: save, check, show, list.")
Files = Annotated[list[Path], typer.Argument(help="script files (JSON; // comments are allowed)")]


@app.command()
def save(files: Files, output: Format = "table") -> None:
    """Check scripts and save them as immutable versions, in the order given."""
    saved = []
    with Connection() as gateway:
        for file in files:
            saved.append(_send(gateway, "/v1/scripts", file))
            for notice in saved[-1]["notices"]:
                tell(f"{file}: {notice['severity']}: {notice['pointer'] or '/'}: {notice['message']}")
    write_rows(saved, ("name", "number", "version"), output)


@app.command()
def check(files: Files, output: Format = "table") -> None:
    """Check scripts without saving them: all problems at once."""
    found = []
    with Connection() as gateway:
        for file in files:
            answer = _send(gateway, "/v1/scripts:check", file)
            found += [{"file": str(file), **problem} for problem in answer["problems"]]
    write_rows(found, ("file", "severity", "pointer", "code", "message", "hint"), output)
    if any(problem["severity"] == "error" for problem in found):
        raise CommandFailed(USAGE)


@app.command()
def show(
    name: Annotated[str, typer.Argument(autocompletion=script_names)],
    version: Annotated[str | None, typer.Option(help="a number, or a hash or its beginning")] = None,
    versions: Annotated[bool, typer.Option("--versions", help="list all versions instead")] = False,
    output: Format = "json",
) -> None:
    """Show a script's text."""
    path = f"/v1/scripts/{quote(name, safe='')}"
    with Connection() as gateway:
        if versions:
            write_rows(gateway.get(f"{path}/versions")["data"], ("number", "version", "saved_at", "author"), output)
            return
        found = gateway.get(path, params={"version": version} if version else None)
    if output == "ndjson":
        write_lines([found["script"]])
    elif output == "csv":
        write_object(found, output)
    else:
        tell(f"{found['name']} number {found['number']}, version {found['version']}, saved {found['saved_at']}")
        write_json(found["script"])


@app.command("list")
def list_(output: Format = "table") -> None:
    """List the scripts."""
    with Connection() as gateway:
        write_rows(gateway.get("/v1/scripts")["data"], ("name", "number", "latest", "database", "description"), output)


def _send(gateway: Connection, path: str, file: Path) -> Any:
    try:
        text = file.read_bytes()
    except OSError as error:
        raise CommandFailed(USAGE, f"error: {file}: {error.strerror}") from None
    try:
        return gateway.post(path, content=text, headers={"Content-Type": "text/plain; charset=utf-8"})
    except CommandFailed as failed:
        raise CommandFailed(failed.exit_code, f"{file}:", *failed.lines) from None
