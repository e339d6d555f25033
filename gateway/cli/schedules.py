"""sop schedule: run scripts by the calendar. The schedules are Temporal's own."""

from typing import Annotated, Any
from urllib.parse import quote

import typer

from gateway.cli.arguments import Arg, Args, Mock, arguments_for
from gateway.cli.completion import schedule_ids, script_names
from gateway.cli.connection import Connection
from gateway.cli.failures import USAGE, CommandFailed
from gateway.cli.output import Format, complain, tell, write_object, write_rows

app = typer.Typer(
    no_args_is_help=True,
    help="Schedules: create, update, list, show, times, pause, unpause, trigger, backfill, delete.",
)
ScheduleId = Annotated[str, typer.Argument(metavar="ID", help="the schedule's id", autocompletion=schedule_ids)]

Days = Annotated[list[str] | None, typer.Option(help="a day of the week (again for more; default every day)")]
At = Annotated[str | None, typer.Option(help="the local time, HH:MM")]
Calendars = Annotated[
    list[str] | None, typer.Option(help='instead: "monday,friday 17:30", or "17:30" for every day; again for more')
]
Cron = Annotated[str | None, typer.Option(help='instead: five fields, such as "0 9 * * 1"')]
Every = Annotated[float | None, typer.Option(help="instead: seconds")]
Catchup = Annotated[float | None, typer.Option(help="seconds for which missed runs are made up for")]
Jitter = Annotated[float | None, typer.Option(help="put each time off at random by up to so many seconds")]
Start = Annotated[str | None, typer.Option(help="not before this time (ISO 8601 with a time zone)")]
End = Annotated[str | None, typer.Option(help="not after this time")]
Remaining = Annotated[int | None, typer.Option(help="so many runs, and no more")]
PauseOnFailure = Annotated[
    bool | None, typer.Option("--pause-on-failure/--no-pause-on-failure", help="after a failed run")
]
Paused = Annotated[bool | None, typer.Option("--paused/--no-paused", help="start no runs for now")]
NotifyUrl = Annotated[str | None, typer.Option(help="tell this webhook that runs fail, and that they succeed again")]
NotifyMail = Annotated[list[str] | None, typer.Option(help="tell this address so (again for more)")]
NotifyEvery = Annotated[bool, typer.Option("--notify-every", help="tell every failure, not only the first in a row")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="only show what it would be")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="the script", autocompletion=script_names)],
    on: Days = None,
    at: At = None,
    calendar: Calendars = None,
    cron: Cron = None,
    every: Every = None,
    tz: Annotated[str, typer.Option(help="the time zone, such as Europe/Madrid")] = "UTC",
    arg: Arg = None,
    args: Args = None,
    mock: Mock = None,
    version: Annotated[str | None, typer.Option(help="default: the latest when it fires")] = None,
    schedule_id: Annotated[
        str | None, typer.Option("--id", help="the schedule's id; default NAME and four digits")
    ] = None,
    overlap: Annotated[str, typer.Option(help="while one still runs: skip, buffer_one, allow_all, ...")] = "skip",
    catchup: Catchup = None,
    jitter: Jitter = None,
    start: Start = None,
    end: End = None,
    remaining: Remaining = None,
    pause_on_failure: PauseOnFailure = None,
    paused: Paused = None,
    note: Annotated[str | None, typer.Option(help="what it is for")] = None,
    notify_url: NotifyUrl = None,
    notify_mail: NotifyMail = None,
    notify_every: NotifyEvery = False,
    dry_run: DryRun = False,
    output: Format = "table",
) -> None:
    """Create a schedule; shows its next five times."""
    with Connection() as gateway:
        body = {
            "id": schedule_id,
            "script": name,
            "version": version,
            "arguments": arguments_for(gateway, name, version, arg, args),
            "mocks": mock,
            "time_zone": tz,
            "overlap": overlap,
            "dry_run": dry_run,
            "notify": _notify(notify_url, notify_mail, notify_every),
            **_when(on, at, calendar, cron, every),
            **_rules(catchup, jitter, start, end, remaining, pause_on_failure, paused, note),
        }
        _write(gateway.post("/v1/schedules", json=_given(body)), output)


@app.command()
def update(
    schedule_id: ScheduleId,
    script: Annotated[str | None, typer.Option(help="run another script")] = None,
    on: Days = None,
    at: At = None,
    calendar: Calendars = None,
    cron: Cron = None,
    every: Every = None,
    tz: Annotated[str | None, typer.Option(help="another time zone")] = None,
    arg: Arg = None,
    args: Args = None,
    mock: Mock = None,
    version: Annotated[str | None, typer.Option(help="another version; latest: the latest when it fires")] = None,
    overlap: Annotated[str | None, typer.Option(help="while one still runs: skip, buffer_one, allow_all, ...")] = None,
    catchup: Catchup = None,
    jitter: Jitter = None,
    start: Start = None,
    end: End = None,
    remaining: Remaining = None,
    pause_on_failure: PauseOnFailure = None,
    paused: Paused = None,
    note: Annotated[str | None, typer.Option(help="another note")] = None,
    notify_url: NotifyUrl = None,
    notify_mail: NotifyMail = None,
    notify_every: NotifyEvery = False,
    unlimited: Annotated[bool, typer.Option("--unlimited", help="take --start, --end and --remaining away")] = False,
    no_notify: Annotated[bool, typer.Option("--no-notify", help="tell nobody any more")] = False,
    dry_run: DryRun = False,
    output: Format = "table",
) -> None:
    """Change a schedule in place, all at once; what is not named stays."""
    with Connection() as gateway:
        body: dict[str, Any] = {
            "script": script,
            "version": version,
            "mocks": mock,
            "time_zone": tz,
            "overlap": overlap,
            "notify": _notify(notify_url, notify_mail, notify_every),
            **_when(on, at, calendar, cron, every),
            **_rules(catchup, jitter, start, end, remaining, pause_on_failure, paused, note),
        }
        if arg or args:
            name = script or gateway.get(_address(schedule_id))["script"]
            pinned = version if version != "latest" else None
            body["arguments"] = arguments_for(gateway, name, pinned, arg, args)
        body = (
            _given(body) | ({"version": None} if version == "latest" else {}) | ({"notify": None} if no_notify else {})
        )
        if unlimited:
            body = {"start_at": None, "end_at": None, "remaining_actions": None} | body
        if not body:
            raise CommandFailed(USAGE, "error: nothing to change: give an option, such as --cron or --paused")
        found = gateway.request("PATCH", _address(schedule_id), json=body | {"dry_run": dry_run})
        _write(found, output)


@app.command("list")
def list_(output: Format = "table") -> None:
    """List the schedules."""
    with Connection() as gateway:
        rows = gateway.get("/v1/schedules")["data"]
    if output == "table":
        rows = [{**row, "next": (row["next_runs"] or [{"local": ""}])[0]["local"]} for row in rows]
    write_rows(rows, ("id", "script", "time_zone", "paused", "next"), output)


@app.command()
def show(schedule_id: ScheduleId, output: Format = "table") -> None:
    """Show a schedule with its next five times."""
    with Connection() as gateway:
        _write(gateway.get(_address(schedule_id)), output)


@app.command()
def times(
    schedule_id: ScheduleId,
    start: Annotated[str | None, typer.Option("--from", help="default: now (ISO 8601 with a time zone)")] = None,
    to: Annotated[str | None, typer.Option(help="default: a year later")] = None,
    limit: Annotated[int, typer.Option(help="at most so many")] = 50,
    output: Format = "table",
) -> None:
    """Show its due times; those that are past with their runs."""
    asked = _given({"from": start, "to": to, "limit": limit})
    with Connection() as gateway:
        found = gateway.get(_address(schedule_id, "/times"), params=asked)
    write_rows(found["data"], ("local", "utc", "run"), output)
    if found["has_more"]:
        tell(f"there are more than {limit}: give --limit, or --from the last one")


@app.command()
def pause(
    schedule_id: ScheduleId, note: Annotated[str, typer.Option(help="why")] = "", output: Format = "table"
) -> None:
    """Start no more runs."""
    with Connection() as gateway:
        _write(gateway.post(_address(schedule_id, "/pause"), json={"note": note}), output)


@app.command()
def unpause(schedule_id: ScheduleId, output: Format = "table") -> None:
    """Go on."""
    with Connection() as gateway:
        _write(gateway.post(_address(schedule_id, "/unpause"), json={}), output)


@app.command()
def trigger(schedule_id: ScheduleId) -> None:
    """Run it now, once more."""
    with Connection() as gateway:
        gateway.post(_address(schedule_id, "/trigger"))
    tell(f"{schedule_id} was triggered: sop run list shows the run")


@app.command()
def backfill(
    schedule_id: ScheduleId,
    start: Annotated[str, typer.Argument(metavar="FROM", help="ISO 8601 with a time zone")],
    to: Annotated[str, typer.Argument(metavar="TO", help="included, as FROM is")],
    overlap: Annotated[str, typer.Option(help="default: one after the other")] = "buffer_all",
) -> None:
    """Run it for the due times of a stretch of the past."""
    with Connection() as gateway:
        asked = {"from": start, "to": to, "overlap": overlap}
        found = gateway.post(_address(schedule_id, "/backfill"), json=asked)
    stretch = f", from {found['first']['local']} to {found['last']['local']}" if found["times"] else ""
    tell(f"{schedule_id} runs for {found['times']} due times{stretch}")


@app.command()
def delete(schedule_id: ScheduleId) -> None:
    """Remove a schedule; runs that it started go on."""
    with Connection() as gateway:
        gateway.request("DELETE", _address(schedule_id))
    tell(f"{schedule_id} was removed")


def _when(
    on: list[str] | None, at: str | None, calendar: list[str] | None, cron: str | None, every: float | None
) -> dict[str, Any]:
    if on and at is None:
        raise CommandFailed(USAGE, "error: --on needs --at HH:MM")
    found: dict[str, Any] = {"cron": cron, "every": every}
    if at is not None:
        found["calendar"] = _calendar(at, ",".join(on or []))
    if calendar:
        parts = [text.rpartition(" ") for text in calendar]
        found["calendars"] = [_calendar(time, days) for days, _, time in parts]
    return found


def _calendar(at: str, days: str) -> dict[str, Any]:
    named = [day.strip().lower() for day in days.split(",") if day.strip()]
    return {"at": at, **({"days": named} if named else {})}


def _rules(
    catchup: float | None,
    jitter: float | None,
    start: str | None,
    end: str | None,
    remaining: int | None,
    pause_on_failure: bool | None,
    paused: bool | None,
    note: str | None,
) -> dict[str, Any]:
    return {
        "catchup_seconds": catchup,
        "jitter_seconds": jitter,
        "start_at": start,
        "end_at": end,
        "remaining_actions": remaining,
        "pause_on_failure": pause_on_failure,
        "paused": paused,
        "note": note,
    }


def _notify(url: str | None, mail: list[str] | None, every: bool) -> dict[str, Any] | None:
    if url is None and not mail:
        if every:
            raise CommandFailed(USAGE, "error: --notify-every needs --notify-url or --notify-mail")
        return None
    return {"every": every, **_given({"url": url, "to": mail or None})}


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _write(schedule: dict[str, Any], output: str) -> None:
    for warning in schedule["warnings"]:
        complain(f"warning: {warning['message']} ({warning['hint']})")
    if output != "table":
        write_object(schedule, output)
        return
    shown = {name: value for name, value in schedule.items() if name not in ("next_runs", "warnings", "recent_runs")}
    write_object(shown, output)
    write_rows(schedule["next_runs"], ("local", "utc"), output)


def _address(schedule_id: str, more: str = "") -> str:
    return f"/v1/schedules/{quote(schedule_id, safe='')}{more}"
