"""sop schedule: run scripts by the calendar. The schedules are Temporal's own."""

from typing import Annotated, Any
from urllib.parse import quote

import typer

from gateway.cli.arguments import read_arguments
from gateway.cli.connection import Connection
from gateway.cli.failures import USAGE, CommandFailed
from gateway.cli.output import Format, tell, write_object, write_rows

app = typer.Typer(no_args_is_help=True, help="Schedules: create, list, show, pause, unpause, trigger, delete.")
ScheduleId = Annotated[str, typer.Argument(metavar="ID", help="the schedule's id")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="the script")],
    on: Annotated[list[str] | None, typer.Option(help="a day of the week (again for more; default every day)")] = None,
    at: Annotated[str | None, typer.Option(help="the local time, HH:MM")] = None,
    cron: Annotated[str | None, typer.Option(help='instead: five fields, such as "0 9 * * 1"')] = None,
    every: Annotated[float | None, typer.Option(help="instead: seconds")] = None,
    tz: Annotated[str, typer.Option(help="the time zone, such as Europe/Madrid")] = "UTC",
    arg: Annotated[list[str] | None, typer.Option(help="name=value, typed by the script's parameters")] = None,
    args: Annotated[str | None, typer.Option(help="all arguments: a JSON object, @FILE, or - for stdin")] = None,
    mock: Annotated[list[str] | None, typer.Option(help="a tool to write to the outbox instead of calling it")] = None,
    version: Annotated[str | None, typer.Option(help="default: the latest when it fires")] = None,
    schedule_id: Annotated[
        str | None, typer.Option("--id", help="the schedule's id; default NAME and four digits")
    ] = None,
    overlap: Annotated[str, typer.Option(help="while one still runs: skip, buffer_one, allow_all, ...")] = "skip",
    catchup: Annotated[float | None, typer.Option(help="seconds for which missed runs are made up for")] = None,
    output: Format = "table",
) -> None:
    """Create a schedule; shows its next five times."""
    if on and at is None:
        raise CommandFailed(USAGE, "error: --on needs --at HH:MM")
    with Connection() as gateway:
        script = gateway.get(f"/v1/scripts/{quote(name, safe='')}", params={"version": version} if version else None)
        body: dict[str, Any] = {
            "id": schedule_id,
            "script": name,
            "version": version,
            "arguments": read_arguments(arg or [], args, script["script"].get("parameters", [])),
            "mocks": mock or [],
            "cron": cron,
            "every": every,
            "time_zone": tz,
            "overlap": overlap,
            "catchup_seconds": catchup,
        }
        if at is not None:
            body["calendar"] = {"at": at, **({"days": [day.lower() for day in on]} if on else {})}
        _write(gateway.post("/v1/schedules", json=body), output)


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
def delete(schedule_id: ScheduleId) -> None:
    """Remove a schedule; runs that it started go on."""
    with Connection() as gateway:
        gateway.request("DELETE", _address(schedule_id))
    tell(f"{schedule_id} was removed")


def _write(schedule: dict[str, Any], output: str) -> None:
    for warning in schedule["warnings"]:
        tell(f"warning: {warning['message']} ({warning['hint']})")
    if output != "table":
        write_object(schedule, output)
        return
    shown = {name: value for name, value in schedule.items() if name not in ("next_runs", "warnings", "recent_runs")}
    write_object(shown, output)
    write_rows(schedule["next_runs"], ("local", "utc"), output)


def _address(schedule_id: str, more: str = "") -> str:
    return f"/v1/schedules/{quote(schedule_id, safe='')}{more}"
