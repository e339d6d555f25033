"""sop script outline, diagram, review: of a saved script, or of a file. What has a `.` or a `/` in it is a file: no script's name does."""

from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

import typer

from gateway.cli.completion import script_names
from gateway.cli.connection import Connection
from gateway.cli.failures import USAGE, CommandFailed
from gateway.cli.output import Format, write_object, write_rows

Script = Annotated[
    str, typer.Argument(help="a script's name, or a file (with a . or / in it)", autocompletion=script_names)
]
Version = Annotated[str | None, typer.Option(help="of a saved script: a number, or a hash or its beginning")]


def outline(script: Script, version: Version = None) -> None:
    """Tell in English what a script does, step by step."""
    _show(_asked("outline", script, version))


def diagram(
    script: Script,
    version: Version = None,
    form: Annotated[Literal["svg", "mermaid"], typer.Option("--format", help="svg or mermaid")] = "svg",
) -> None:
    """Draw a script."""
    _show(_asked("diagram", script, version, params={"format": form}))


def review(script: Script, version: Version = None, output: Format = "table") -> None:
    """Say what a script does to the world, and what looks wrong with it."""
    found = _asked("review", script, version, as_json=True)
    if output == "table":
        for each in found["databases"]:
            told = {name: ", ".join(each[name]) for name in ("reads", "writes") if each[name]}
            write_object({"database": each["database"] or "the caller's", **told}, output)
        write_rows(found["findings"], ("severity", "step", "code", "message", "hint"), output)
    elif output == "csv":
        write_rows(found["findings"], ("severity", "step", "pointer", "code", "message", "hint"), output)
    else:
        write_object(found, output)
    if any(each["severity"] == "error" for each in found["findings"]):
        raise CommandFailed(USAGE)


def _asked(what: str, script: str, version: str | None, *, as_json: bool = False, **options: Any) -> Any:
    """What the gateway tells of a script, as text or JSON."""
    with Connection() as gateway:
        if "." not in script and "/" not in script:
            path = f"/v1/scripts/{quote(script, safe='')}/versions/{quote(version or 'latest', safe='')}/{what}"
            return gateway.get(path, **options) if as_json else gateway.text("GET", path, **options)
        if version is not None:
            raise CommandFailed(USAGE, f"error: {script} is a file, and has no versions")
        sent = {"content": _read(script), "headers": {"Content-Type": "text/plain; charset=utf-8"}, **options}
        try:
            path = f"/v1/scripts:{what}"
            return gateway.post(path, **sent) if as_json else gateway.text("POST", path, **sent)
        except CommandFailed as failed:
            raise CommandFailed(failed.exit_code, f"{script}:", *failed.lines) from None


def _read(name: str) -> bytes:
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise CommandFailed(USAGE, f"error: {name}: {error.strerror}") from None


def _show(text: str) -> None:
    print(text, end="")  # noqa: T201
