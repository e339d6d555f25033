"""The command tree and its entry point."""

import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer
from typer.main import get_command

from gateway.cli import (
    audit,
    data,
    db,
    doctor,
    drafts,
    explaining,
    handling,
    keys,
    mcp,
    runs,
    schedules,
    scripts,
    secrets,
    sessions,
    tools,
)
from gateway.cli.chat.command import chat
from gateway.cli.connection import read_settings
from gateway.cli.failures import INTERRUPTED, OK, RUN_FAILED, CommandFailed
from gateway.cli.options import NoColor, Options, Profile, Quiet, Url, add_options, take
from gateway.cli.output import complain, tell
from gateway.cli.texts import check_texts
from gateway.product import product_version

_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="SOP on Temporal. Data goes to stdout, everything else to stderr. Exit codes: 0 done, 1 the run failed, 2 usage, "
    "3 not found, 4 key, 5 conflict, 6 too long, 7 gateway not reachable.",
)
scripts.app.command()(explaining.outline)
scripts.app.command()(explaining.diagram)
scripts.app.command()(explaining.review)
app.add_typer(scripts.app, name="script")
app.add_typer(drafts.app, name="draft")
app.add_typer(runs.app, name="run")
app.add_typer(sessions.app, name="session")
app.command()(chat)
app.add_typer(data.app, name="data")
app.add_typer(db.app, name="db")
app.add_typer(schedules.app, name="schedule")
app.add_typer(keys.app, name="key")
app.add_typer(secrets.app, name="secret")
app.add_typer(tools.app, name="tool")
app.command()(handling.approvals)
app.command()(audit.audit)
app.command()(doctor.doctor)
app.command()(mcp.mcp)


def _version(wanted: bool) -> None:
    if wanted:
        print(product_version())  # noqa: T201
        raise typer.Exit


@app.callback()
def everywhere(
    profile: Profile = None,
    url: Url = None,
    quiet: Quiet = False,
    no_color: NoColor = False,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="show it")] = False,
) -> None:
    take(Options(profile, url, quiet, no_color))


@app.command()
def dev(
    data_dir: Annotated[
        Path | None, typer.Option(help="where everything is kept; default .sop, or SOP_DATA_DIR")
    ] = None,
    port: Annotated[int | None, typer.Option(help="the gateway's port; default 8080, 0 takes a free one")] = None,
    temporal_port: Annotated[int, typer.Option(help="Temporal's port; 0 takes a free one")] = 7233,
    ui_port: Annotated[int, typer.Option(help="the port of Temporal's web page; 0 takes a free one")] = 8233,
) -> None:
    """Start Temporal, a worker and the gateway; Ctrl-C stops all of them."""
    from gateway.dev import run_dev

    given = {"data_dir": data_dir, "port": port}
    settings = read_settings(**{name: value for name, value in given.items() if value is not None})
    code = run_dev(settings, tell, temporal_port=temporal_port, ui_port=ui_port)
    raise typer.Exit(code)


check_texts(app)
add_options(app)


def run(arguments: Sequence[str]) -> int:
    """Run a command line; gives its exit code."""
    take(Options())
    try:
        get_command(app).main(args=list(arguments), prog_name="sop")
    except CommandFailed as failed:
        for line in failed.lines:
            complain(line)
        return failed.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123
        return OK
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        return _not_written(error)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else OK
    return OK


def _not_written(error: OSError) -> int:
    """What could not be written where the output goes; the exit code of that."""
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123
    complain(f"error: the output cannot be written: {error.strerror}")
    return RUN_FAILED


def main() -> None:
    """The `sop` command. Ends without the interpreter's finalisation, which the Temporal SDK's threads do not always survive."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # the shell closed it: `sop ... >&-`
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115, PTH123
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        pass
    except OSError as error:
        code = _not_written(error)
    os._exit(code)
