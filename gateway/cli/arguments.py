"""Arguments of a run from the command line, typed by the script's own parameters.

`--arg customer_id=00001` stays the text "00001" if the parameter is declared as a string, and becomes a number if it is
declared as one. A parameter without a declared type takes JSON where the text is JSON, and text otherwise.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from gateway.cli.connection import Connection
from gateway.cli.failures import USAGE, CommandFailed

Arg = Annotated[list[str] | None, typer.Option(help="name=value, typed by the script's parameters")]
Args = Annotated[str | None, typer.Option(help="all arguments: a JSON object, @FILE, or - for stdin")]
Mock = Annotated[list[str] | None, typer.Option(help="a tool to write to the outbox instead of calling it")]
IdempotencyKey = Annotated[str | None, typer.Option(help="one key is one run")]
Detach = Annotated[bool, typer.Option("--detach", help="start it, print its id, and go")]


def arguments_for(
    gateway: Connection, name: str, version: str | None, given: Sequence[str] | None, document: str | None
) -> dict[str, Any]:
    """The arguments of a run of a script; None for its version is the latest."""
    params = {"version": version} if version else None
    script = gateway.get(f"/v1/scripts/{quote(name, safe='')}", params=params)
    return read_arguments(given or (), document, script["script"].get("parameters", []))


def read_arguments(given: Sequence[str], document: str | None, parameters: Sequence[Any]) -> dict[str, Any]:
    """The arguments of `--args` (a JSON object, @file or -) with those of `--arg name=value` over them."""
    arguments = _document(document) if document is not None else {}
    schemas = dict(map(_declared, parameters))
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise CommandFailed(USAGE, f"error: --arg {text}: it has to be name=value")
        arguments[name] = typed(name, value, schemas.get(name))
    return arguments


def _document(text: str) -> dict[str, Any]:
    try:
        if text == "-":
            text = sys.stdin.read()
        elif text.startswith("@"):
            text = Path(text[1:]).read_text(encoding="utf-8")
        found = json.loads(text)
    except OSError as error:
        raise CommandFailed(USAGE, f"error: --args {text}: {error.strerror}") from None
    except ValueError as error:
        raise CommandFailed(USAGE, f"error: --args is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise CommandFailed(USAGE, "error: --args has to be a JSON object")
    return found


def _declared(parameter: Any) -> tuple[str, Any]:
    return (parameter, None) if isinstance(parameter, str) else (parameter["name"], parameter.get("type"))


def typed(name: str, text: str, schema: Any) -> Any:
    """The value that a text means for a parameter. Ends the command if it means none."""
    kinds = _kinds(schema)
    if kinds == {"string"}:
        return text
    try:
        value = json.loads(text)
    except ValueError:
        if not kinds or "string" in kinds:
            return text
        raise CommandFailed(
            USAGE, f"error: --arg {name}={text}: {name} is declared as {' or '.join(sorted(kinds))}"
        ) from None
    return value


def _kinds(schema: Any) -> set[str]:
    """The JSON types that a parameter's type allows; empty if it says nothing. Strings may be told by format or pattern."""
    if isinstance(schema, str):
        return {"string"} if schema == "date" else {schema}
    if not isinstance(schema, Mapping):
        return set()
    kind = schema.get("type")
    if isinstance(kind, str):
        return {kind}
    if isinstance(kind, list):
        return set(kind)
    values = schema.get("enum") or ([schema["const"]] if "const" in schema else [])
    return {"string"} if values and all(isinstance(value, str) for value in values) else set()
