"""Texts of the command line have to be UTF-8.

Bytes that are not arrive as lone surrogates, of which no JSON and no address can be made. A command refuses them before all else.
Names of files are none of its business: those are the bytes that they are.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

import typer

from gateway.cli.failures import USAGE, CommandFailed


def check_texts(app: typer.Typer) -> None:
    """Let all commands of a tree, which are there already, refuse texts that are not UTF-8."""
    for command in app.registered_commands:
        if command.callback is not None:
            command.callback = _checked(command.callback)
    for group in app.registered_groups:
        if group.typer_instance is not None:
            check_texts(group.typer_instance)


def _checked(command: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(command)
    def run(**given: Any) -> Any:
        for name, value in given.items():
            for text in value if isinstance(value, list | tuple) else [value]:
                check_text(name, text)
        return command(**given)

    return run


def check_text(name: str, text: Any) -> None:
    """Ends the command if a value is a text, and not UTF-8."""
    if isinstance(text, str) and not _is_utf8(text):
        raise CommandFailed(USAGE, f"error: {name.strip('_').replace('_', '-')} is not UTF-8: {text!a}")


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
