"""Options that every command takes, before its name or behind it, and the form of the output where a command line does not say it.

    --profile NAME   a gateway by name (SOP_PROFILE)
    --url URL        the gateway's address (SOP_URL)
    --quiet, -q      nothing on stderr but warnings and errors
    --no-color       as NO_COLOR does

The form: `-o`, else the profile's `output`, else a table on a terminal, else what the command's own default is.
"""

import inspect
import sys
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from typing import Annotated, Any, Final

import typer

from gateway.cli.failures import of_error
from gateway.cli.texts import check_text
from gateway.client.addresses import find_profiles
from gateway.client.errors import NotConfigured

_PANEL: Final = "Everywhere"
Profile = Annotated[str | None, typer.Option("--profile", help="a gateway by name", rich_help_panel=_PANEL)]
Url = Annotated[str | None, typer.Option("--url", help="the gateway's address", rich_help_panel=_PANEL)]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="no progress, traces and notices on stderr", rich_help_panel=_PANEL)
]
NoColor = Annotated[bool, typer.Option("--no-color", help="no colours", rich_help_panel=_PANEL)]
_TYPES: Final[dict[str, Any]] = {"profile": Profile, "url": Url, "quiet": Quiet, "no_color": NoColor}


@dataclass(frozen=True)
class Options:
    """What was given."""

    profile: str | None = None
    url: str | None = None
    quiet: bool = False
    no_color: bool = False

    def over(self, other: "Options") -> "Options":
        """These, and where they say nothing the others."""
        return Options(
            self.profile or other.profile,
            self.url or other.url,
            self.quiet or other.quiet,
            self.no_color or other.no_color,
        )


_CURRENT: ContextVar[Options] = ContextVar("options", default=Options())  # noqa: B039


def options() -> Options:
    """Those of the command that runs."""
    return _CURRENT.get()


def take(found: Options) -> None:
    """Let a command run with these."""
    _CURRENT.set(found)


def add_options(app: typer.Typer) -> None:
    """Let all commands of a tree, which are there already, take the options."""
    for command in app.registered_commands:
        if command.callback is not None:
            command.callback = _with_options(command.callback)
    for group in app.registered_groups:
        if group.typer_instance is not None:
            add_options(group.typer_instance)


def _with_options(command: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(command, eval_str=True)

    @wraps(command)
    def run(**given: Any) -> Any:
        context: typer.Context = given.pop("sop_context")
        found = Options(**{name: given.pop(f"sop_{name}") for name in _TYPES}).over(options())
        check_text("profile", found.profile)
        check_text("url", found.url)
        take(found)
        if given.get("output") is not None:
            source = context.get_parameter_source("output")
            if source is not None and source.name == "DEFAULT":
                given["output"] = _preferred(given["output"])
        return command(**given)

    more = [inspect.Parameter("sop_context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)]
    for name, annotation in _TYPES.items():
        default = False if name in ("quiet", "no_color") else None
        parameter = inspect.Parameter(
            f"sop_{name}", inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
        )
        more.append(parameter)
    run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), *more])  # type: ignore[attr-defined]
    return run


def _preferred(default: str) -> str:
    """The form of the output where the command line does not say it."""
    try:
        profiles = find_profiles(options().profile)
    except NotConfigured as error:
        raise of_error(error) from None
    told = next((found.output for found in profiles if found.output), None)
    return told or ("table" if _on_terminal() else default)


def _on_terminal() -> bool:
    return sys.stdout.isatty()
