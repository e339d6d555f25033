"""sop session: sessions of `sop chat`, looked after from outside of them."""

import sys
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import typer

from gateway.cli.chat.command import shown_on_stdout
from gateway.cli.completion import session_ids
from gateway.cli.connection import Connection
from gateway.cli.failures import CONFLICT, USAGE, CommandFailed, told
from gateway.cli.output import Format, tell, write_csv, write_json, write_lines, write_object, write_rows
from gateway.client.sessions import Sessions, path_of

app = typer.Typer(no_args_is_help=True, help="Look after the sessions of sop chat.")
SessionId = Annotated[str, typer.Argument(metavar="ID", help="the session's id", autocompletion=session_ids)]
Approval = Annotated[str | None, typer.Argument(metavar="[APPROVAL]", help="if it waits for several decisions")]
Comment = Annotated[str, typer.Option(help="why; it is told to the author")]
Records = Annotated[Literal["table", "ndjson"], typer.Option("--output", "-o", help="table, or ndjson: all records")]


@app.command("list")
def list_(
    status: Annotated[Literal["open", "closed"] | None, typer.Option(help="only these")] = None,
    limit: Annotated[int, typer.Option(min=1, help="at most so many")] = 20,
    output: Format = "table",
) -> None:
    """List the sessions of the key, newest first; with admin everybody's."""
    with Connection() as gateway:
        rows = gateway.pages("/v1/sessions", limit, status=status)
        write_rows(rows, ("id", "title", "status", "database", "draft", "waiting", "updated_at"), output)


@app.command()
def show(session_id: SessionId, output: Format = "table") -> None:
    """Show how a session stands, and what waits for a decision."""
    with Connection() as gateway:
        write_object(gateway.get(path_of(session_id)), output)


@app.command()
def log(
    session_id: SessionId,
    after: Annotated[int, typer.Option(min=0, help="only records with a higher seq")] = 0,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="go on with what is said from now on")] = False,
    output: Records = "table",
) -> None:
    """Show what was said."""
    with Connection() as gateway, told():
        sessions = Sessions(gateway.gateway)
        shown = shown_on_stdout(sessions, session_id, live=sys.stdout.isatty())
        for said in sessions.records(session_id, after, follow=follow):
            if output != "table":
                write_lines([said.record])
            elif said.type == "user":
                shown({"type": "notice", "text": f"> {said.text}" if said.text is not None else "> (a decision)"})
            elif said.type != "text_delta":
                shown(said.record)


@app.command()
def rows(
    session_id: SessionId,
    seq: Annotated[int, typer.Argument(metavar="SEQ", min=1, help="the number of the record that has them")],
    output: Format = "ndjson",
) -> None:
    """Write all rows of a tool's result to stdout."""
    with Connection() as gateway, told(), Sessions(gateway.gateway).rows(session_id, seq) as found:
        if output == "ndjson":
            write_lines(found)
        elif output == "csv":
            write_csv(list(found), ())
        else:
            _whole(list(found), output)


def _whole(found: list[dict[str, Any]], output: str) -> None:
    if output == "json":
        write_json(found)
    else:
        write_rows(found, list(dict.fromkeys(name for row in found for name in row)), output)


@app.command()
def approve(session_id: SessionId, approval: Approval = None, comment: Comment = "", output: Records = "table") -> None:
    """Approve what waits for a decision, and show what comes of it."""
    _decide(session_id, approval, comment, output, approved=True)


@app.command()
def reject(session_id: SessionId, approval: Approval = None, comment: Comment = "", output: Records = "table") -> None:
    """Reject what waits for a decision, and show what comes of it."""
    _decide(session_id, approval, comment, output, approved=False)


def _decide(session_id: str, approval: str | None, comment: str, output: str, *, approved: bool) -> None:
    from gateway.cli.chat.loop import Conversation, ended

    with Connection() as gateway, told():
        sessions = Sessions(gateway.gateway)
        shown = (
            shown_on_stdout(sessions, session_id, live=False)
            if output == "table"
            else lambda record: write_lines([record])
        )
        chosen = approval or _only_one(sessions, session_id)
        ended(Conversation(sessions, session_id, shown, tell).decide(chosen, approved=approved, comment=comment))


def _only_one(sessions: Sessions, session_id: str) -> str:
    waiting = sessions.get(session_id).pending
    if not waiting:
        raise CommandFailed(CONFLICT, "error: nothing waits for a decision there")
    if len(waiting) > 1:
        raise CommandFailed(USAGE, "error: several things wait: which one?", *_listed(waiting))
    return waiting[0].id


def _listed(waiting: Any) -> Iterator[str]:
    return (f"  {pending.id}: {pending.what}" for pending in waiting)


@app.command()
def stop(session_id: SessionId) -> None:
    """End the turn that is under way, at once."""
    with Connection() as gateway, told():
        if not Sessions(gateway.gateway).stop(session_id):
            tell("nothing is under way there")


@app.command()
def close(session_id: SessionId) -> None:
    """Close a session: it takes no more messages. What was said in it stays."""
    with Connection() as gateway, told():
        Sessions(gateway.gateway).close(session_id)
