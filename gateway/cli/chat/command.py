"""`sop chat`."""

import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import typer

from gateway.cli.chat.zone import local_zone
from gateway.cli.completion import database_names, session_ids
from gateway.cli.connection import Connection
from gateway.cli.failures import told
from gateway.cli.options import options
from gateway.cli.output import tell, write_lines
from gateway.client.sessions import Sessions

_WIDE = 10_000


def chat(
    message: Annotated[list[str] | None, typer.Argument(metavar="[MESSAGE...]", help="say this, and go")] = None,
    session: Annotated[str | None, typer.Option(help="go on with this one", autocompletion=session_ids)] = None,
    database: Annotated[
        str | None, typer.Option(help="the one that is meant where none is named", autocompletion=database_names)
    ] = None,
    title: Annotated[str, typer.Option(help="of a new session")] = "",
    time_zone: Annotated[
        str | None,
        typer.Option("--time-zone", "--tz", help="in which schedules are meant; default this machine's, but for UTC"),
    ] = None,
    stub: Annotated[bool, typer.Option("--stub", help="all tools of a new session answer without effect")] = False,
    output: Annotated[
        Literal["table", "ndjson"], typer.Option("--output", "-o", help="table, or ndjson: all records")
    ] = "table",
) -> None:
    """Write scripts by talking: a prompt on a terminal; else a message, or each line of stdin."""
    from gateway.cli.chat.loop import Conversation, say_all, talk

    with Connection() as gateway:
        sessions = Sessions(gateway.gateway)
        with told():
            session_id = _session(sessions, session, database, title, time_zone, stub=stub)
        on_terminal = not message and sys.stdin.isatty() and sys.stdout.isatty()
        if output in ("ndjson", "json"):
            conversation = Conversation(sessions, session_id, lambda record: write_lines([record]), tell)
            say_all(conversation, [" ".join(message)] if message else sys.stdin)
            return
        shown = shown_on_stdout(sessions, session_id, live=on_terminal)
        conversation = Conversation(sessions, session_id, shown, tell)
        if not on_terminal:
            say_all(conversation, [" ".join(message)] if message else sys.stdin)
            return
        from gateway.cli.chat.lines import Completion, Lines, history_file

        with Lines(Completion(*_names(gateway)), history_file()) as lines, told():
            tell("Ctrl-C stops a turn, Ctrl-D leaves; /help lists what needs no model")
            talk(conversation, sessions, session_id, lines, shown)
            tell(f"sop chat --session {session_id} goes on here")


def _session(
    sessions: Sessions, session_id: str | None, database: str | None, title: str, time_zone: str | None, *, stub: bool
) -> str:
    """The id of the session that is meant, or of a new one. Raises GatewayError."""
    if session_id is None:
        session_id = sessions.create(title, database=database, time_zone=time_zone or local_zone(), stub=stub).id
        tell(f"session {session_id}")
        return session_id
    given: dict[str, Any] = {"title": title} if title else {}
    given |= {"database": database} if database else {}
    given |= {"time_zone": time_zone} if time_zone else {}
    if stub:
        raise typer.BadParameter("a session is begun with --stub, or not", param_hint="--stub")
    sessions.change(session_id, **given) if given else sessions.get(session_id)
    return session_id


def shown_on_stdout(sessions: Sessions, session_id: str, *, live: bool) -> Any:
    from rich.console import Console

    from gateway.cli.chat.shown import Shown

    no_color = True if options().no_color else None
    said = Console(file=sys.stdout, width=None if sys.stdout.isatty() else _WIDE, no_color=no_color)
    if live:
        aside = said
    else:
        wide = None if sys.stderr.isatty() else _WIDE
        aside = Console(file=sys.stderr, width=wide, no_color=no_color, quiet=options().quiet)
    return Shown(said, aside, session=session_id, live=live, rows=lambda seq: sessions.rows(session_id, seq))


def _names(gateway: Connection) -> Sequence[Callable[[], Sequence[str]]]:
    def names(path: str) -> Callable[[], Sequence[str]]:
        return lambda: [found["name"] for found in gateway.gateway.get(path)["data"]]

    return names("/v1/tools"), names("/v1/scripts"), names("/v1/databases")
