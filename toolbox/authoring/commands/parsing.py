"""From the text of a command to what it comes to."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final

from toolbox.authoring.commands.helping import help_text
from toolbox.authoring.commands.line import Line
from toolbox.authoring.commands.outcomes import Answer, Calls, Outcome, Parameters, Setting
from toolbox.authoring.commands.table import WORDS, Command
from toolbox.authoring.commands.values import suggestion
from toolbox.authoring.state import Session
from toolbox.errors import InvalidArguments, ToolError, UnknownCommand
from toolbox.registry import Registry

_BARE: Final = ("last-tool", "last_tool")
"""Commands that are understood without a slash."""


def is_command(text: str) -> bool:
    """Whether a message is a command; all else is for the model."""
    return text.lstrip().startswith("/") or text.strip().lower() in _BARE


def parse(
    text: str,
    session: Session,
    registry: Registry,
    *,
    parameters: Parameters = lambda name: None,
    time_zone: str | None = None,
) -> Outcome:
    """What a command comes to. `parameters` tells those of scripts, `time_zone` that of the installation.

    Raises ToolError: UnknownCommand with the nearest one, InvalidArguments with what is missing or not understood.
    """
    setting = Setting(session, registry, parameters, time_zone)
    found = re.match(r"\s*/?(?:(?:script|macro)\s+(?=\w))?([^\s=]*)\s*(.*)", text, re.DOTALL)
    assert found is not None
    written, rest = found[1], found[2].rstrip()
    word = written.lower().replace("-", "_")
    command = WORDS.get(word)
    if command is None:
        return _tool(word, written, Line(written, "name=value ...", rest, setting))
    if command.name == "help":
        return Answer(help_text(rest, registry))
    line = Line(written, command.usage, rest, setting)
    if command.read is not None:
        outcome = command.read(line)
        for tool, args in outcome.calls if isinstance(outcome, Calls) else ():
            _check(tool, args, line)
        return outcome
    assert command.tool is not None
    return Calls(((command.tool, _bind(command, line)),))


def _bind(command: Command, line: Line) -> dict[str, Any]:
    """The arguments of a command's tool. Raises InvalidArguments."""
    tool = command.tool or ""
    given: dict[str, Any] = {}
    gathered: dict[str, Any] = {}
    own = command.own if command.gather is not None else None
    for name, word in line.named.items():
        if own is not None and name not in own:
            gathered[name] = line.value("", name, word)
        else:
            given[name] = line.value(tool, name, word)
    places = [place for place in command.places if place not in given]
    for position, word in enumerate(line.bare):
        if position < len(places):
            given[places[position]] = line.value(tool, places[position], word)
        elif command.rest is not None and command.rest not in given:
            given[command.rest] = " ".join(str(each.value) for each in line.bare[position:])
            break
        else:
            line.refuse(f"{word.value!r} is one word too many")
    if gathered:
        assert command.gather is not None
        if command.gather in given:
            line.refuse(f"{command.gather}={{...}} or name=value: one of them")
        given[command.gather] = gathered
    missing = [name for name in command.needs if name not in given]
    if missing:
        line.refuse(f"/{line.word} needs {' and '.join(missing)}")
    _check(tool, given, line)
    return given


def _tool(word: str, written: str, line: Line) -> Calls:
    """Any tool by its name: name=value, bare words for what it needs, or one JSON object with all. Raises UnknownCommand."""
    registry = line.setting.registry
    if word not in registry.names():
        raise _unknown(word, written, registry)
    if len(line.words) == 1 and line.words[0].name is None and isinstance(line.words[0].value, dict):
        given = line.words[0].value
    else:
        schema = line.setting.schema(word) or {}
        needs = tuple(schema.get("required", ()))
        named = {name: line.value(word, name, each) for name, each in line.named.items()}
        free = [name for name in needs if name not in named]
        if len(line.bare) > len(free):
            extra = line.bare[len(free)].value
            line.refuse(
                f"{extra!r} is one word too many",
                f"its arguments are: {', '.join(schema.get('properties', ())) or 'none'}",
            )
        given = named | {name: line.value(word, name, each) for name, each in zip(free, line.bare, strict=False)}
    _check(word, given, line)
    return Calls(((word, given),))


def _check(tool: str, given: Mapping[str, Any], line: Line) -> None:
    """Raises InvalidArguments, as the tool itself would."""
    schema = line.setting.schema(tool)
    if schema is None:
        return
    known = list(schema.get("properties", {}))
    for name in given:
        if name not in known:
            otherwise = f"its arguments are: {', '.join(known) or 'none'}"
            if tool == "select" and "filter" not in given:
                otherwise = f'a condition is written filter={{"{name}": ...}}'
            raise InvalidArguments(
                f"{tool} has no argument {name!r}", pointer=f"/{name}", hint=suggestion(name, known, otherwise)
            )
    line.setting.check(tool, given)


def _unknown(word: str, written: str, registry: Registry) -> ToolError:
    """There is no such command: what it could be."""
    everything = {*WORDS, *registry.names()}
    begun = sorted(name for name in everything if word and name.startswith(word))
    near = begun or get_close_matches(word, sorted(everything), n=3)
    hint = "/help lists the commands; a message for the model does not begin with /"
    if len(near) == 1:
        hint = f"did you mean /{near[0]}?"
    elif near:
        hint = f"did you mean {', '.join(f'/{name}' for name in near[:-1])} or /{near[-1]}?"
    return UnknownCommand(f"there is no command /{written[:80]}", hint=hint)
