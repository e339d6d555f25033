"""sop draft: list, show, create, edit, check, diff, publish, delete."""

import json
import os
import shlex
import subprocess
from pathlib import Path
from tempfile import mkdtemp
from typing import Annotated, Any

import typer

from gateway.cli.completion import draft_ids, script_names
from gateway.cli.connection import Connection
from gateway.cli.failures import USAGE, CommandFailed, of_error
from gateway.cli.output import Format, tell, write_json, write_lines, write_object, write_rows
from gateway.client.errors import Refused
from gateway.client.transport import given, part

app = typer.Typer(no_args_is_help=True, help="Drafts: scripts that are being written.")
DraftId = Annotated[str, typer.Argument(metavar="ID", autocompletion=draft_ids)]
Revision = Annotated[int | None, typer.Option(min=1, help="the revision that is meant; default whichever there is now")]
_TEXT = {"Content-Type": "text/plain; charset=utf-8"}
_LISTED = ("id", "name", "revision", "base", "updated_at", "updated_by")


@app.command("list")
def list_(
    script: Annotated[str | None, typer.Option(help="only drafts of this script", autocompletion=script_names)] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="at most so many; default all")] = None,
    output: Format = "table",
) -> None:
    """List the drafts of scripts that the key may write."""
    with Connection() as gateway:
        write_rows(gateway.pages("/v1/drafts", limit, script=script), _LISTED, output)


@app.command()
def show(
    draft_id: DraftId,
    revision: Annotated[int | None, typer.Option(min=1, help="what it was in this revision")] = None,
    revisions: Annotated[bool, typer.Option("--revisions", help="list the revisions that are kept instead")] = False,
    output: Format = "json",
) -> None:
    """Show a draft's text; what is wrong with it goes to stderr."""
    with Connection() as gateway:
        if revisions:
            write_rows(gateway.get(_path(draft_id, "/revisions"))["data"], ("revision", "at", "by"), output)
            return
        found = gateway.get(_path(draft_id, f"/revisions/{revision}" if revision else ""))
    if output == "ndjson":
        write_lines([found["script"]])
    elif output == "csv":
        write_object(found, output)
    else:
        tell(f"{found['script']['name']}, revision {found['revision']}")
        _tell_problems(found)
        write_json(found["script"])


@app.command()
def create(
    file: Annotated[Path | None, typer.Argument(help="the text (JSON; // comments are allowed, and left out)")] = None,
    source: Annotated[
        str | None, typer.Option("--from", help="from a version of this script", autocompletion=script_names)
    ] = None,
    version: Annotated[str | None, typer.Option(help="which version; default the latest")] = None,
    name: Annotated[str | None, typer.Option(help="the script's name; alone: a draft without steps")] = None,
    output: Format = "table",
) -> None:
    """Create a draft: from a file, from a version of a script, or from nothing but a name."""
    if (file is not None) + (source is not None) + (name is not None and source is None) != 1:
        raise CommandFailed(USAGE, "error: a draft is made of FILE, of --from NAME, or of --name NAME alone")
    if version is not None and source is None:
        raise CommandFailed(USAGE, "error: --version goes with --from")
    with Connection() as gateway:
        if source is not None:
            made = gateway.post("/v1/drafts", params=given({"from": source}, version=version, name=name))
        elif file is not None:
            made = gateway.post("/v1/drafts", content=_read(file), headers=_TEXT)
        else:
            made = gateway.post("/v1/drafts", json={"name": name, "steps": []})
    _tell_problems(made)
    write_object({field: made[field] for field in _LISTED}, output)


@app.command()
def edit(
    draft_id: DraftId,
    file: Annotated[Path | None, typer.Option(help="take the text from this file, without an editor")] = None,
    output: Format = "table",
) -> None:
    """Edit a draft's text with $VISUAL or $EDITOR. If somebody else was faster, nothing is lost: the text stays in a file."""
    with Connection() as gateway:
        draft = gateway.get(_path(draft_id))
        if file is None:
            file, text = _edited(draft)
        else:
            text = _read(file)
        if text is None:
            tell("nothing was changed")
            return
        headers = {**_TEXT, "If-Match": f'"{draft["revision"]}"'}
        try:
            made = gateway.gateway.request("PUT", _path(draft_id), content=text, headers=headers)
        except Refused as refused:
            failed = of_error(refused)
            lines = [f"  {line}" for line in (refused.problem.get("diff") or {}).get("text", [])]
            raise CommandFailed(failed.exit_code, *failed.lines, *lines, f"your text is in {file}") from None
    _tell_problems(made)
    write_object({field: made[field] for field in _LISTED}, output)


@app.command()
def check(draft_id: DraftId, output: Format = "table") -> None:
    """Check a draft: all problems at once."""
    with Connection() as gateway:
        found = gateway.post(_path(draft_id, ":check"))
    write_rows(found["problems"], ("severity", "pointer", "code", "message", "hint"), output)
    if not found["ok"]:
        raise CommandFailed(USAGE)


@app.command()
def diff(
    draft_id: DraftId,
    since: Annotated[int | None, typer.Option("--from", min=1, help="a revision; default what is published")] = None,
    output: Format = "table",
) -> None:
    """Show what differs from the version that the draft was made of, or published as last."""
    with Connection() as gateway:
        found = gateway.get(_path(draft_id, "/diff"), params=given({"from": since} if since else {}))
    write_rows(found["changes"], ("kind", "pointer", "text"), output)


@app.command()
def publish(draft_id: DraftId, revision: Revision = None, output: Format = "table") -> None:
    """Save a draft as an immutable version of its script. The draft stays."""
    with Connection() as gateway:
        saved = gateway.post(_path(draft_id, ":publish"), headers=_meant(gateway, draft_id, revision))
    for notice in saved["notices"]:
        tell(f"{notice['severity']}: {notice['pointer'] or '/'}: {notice['message']}")
    write_rows([saved], ("name", "number", "version"), output)


@app.command()
def delete(draft_id: DraftId, revision: Revision = None) -> None:
    """Remove a draft with all its revisions. What was published of it stays."""
    with Connection() as gateway:
        gateway.request("DELETE", _path(draft_id), headers=_meant(gateway, draft_id, revision))


def _path(draft_id: str, more: str = "") -> str:
    return f"/v1/drafts/{part(draft_id)}{more}"


def _meant(gateway: Connection, draft_id: str, revision: int | None) -> dict[str, str]:
    meant = revision if revision is not None else gateway.get(_path(draft_id))["revision"]
    return {"If-Match": f'"{meant}"'}


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise CommandFailed(USAGE, f"error: {file}: {error.strerror}") from None


def _edited(draft: dict[str, Any]) -> tuple[Path, bytes | None]:
    """The file and its text after the editor; None for one that says the same."""
    command = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "")
    if not command:
        raise CommandFailed(USAGE, "error: there is no editor", "set EDITOR, or take --file FILE")
    file = Path(mkdtemp(prefix="sop-draft-")) / f"{draft['name']}.json"
    lines = [f"// {_line(problem)}\n" for problem in draft["problems"]]
    before = "".join(lines) + json.dumps(draft["script"], indent=2, ensure_ascii=False) + "\n"
    file.write_text(before, encoding="utf-8")
    try:
        code = subprocess.run([*command, str(file)], check=False).returncode
    except OSError as error:
        raise CommandFailed(USAGE, f"error: {command[0]}: {error.strerror}") from None
    if code:
        raise CommandFailed(
            USAGE, f"error: {command[0]} ended with {code}: nothing was changed", f"your text is in {file}"
        )
    text = file.read_bytes()
    return file, None if text.decode(errors="replace") == before else text


def _tell_problems(draft: dict[str, Any]) -> None:
    for problem in draft.get("problems", []):
        tell(_line(problem))


def _line(problem: dict[str, Any]) -> str:
    hint = f" ({problem['hint']})" if problem.get("hint") else ""
    text = f"{problem['severity']}: {problem['pointer'] or '/'}: {problem['message']}{hint}"
    return "".join(char if char.isprintable() else " " for char in text)
