"""Commands that run scripts, now or by the calendar. Values are typed by the parameters that the script declares."""

from collections.abc import Mapping
from typing import Any, Final

from toolbox.authoring.commands.calendar import check_zone, read_calendar
from toolbox.authoring.commands.line import Line
from toolbox.authoring.commands.outcomes import Calls
from toolbox.authoring.commands.values import suggestion, typed
from toolbox.authoring.commands.words import Word
from toolbox.errors import InvalidArguments

_WHEN: Final = ("calendar", "calendars", "cron", "every")


def run(line: Line) -> Calls:
    """/run NAME [VALUE ...] [parameter=value ...], also script=NAME"""
    named, bare = dict(line.named), list(line.bare)
    if "script" in named and not bare:
        name = str(named.pop("script").value)
    elif bare:
        name = str(bare.pop(0).value)
    else:
        line.refuse("which script?")
    args: dict[str, Any] = {"name": name}
    parameters = _declared(line.setting.parameters(name))
    for own in ("version", "mocks", "arguments"):
        if own in named and own not in (parameters or {}):
            args[own] = line.value("run_script", own, named.pop(own))
    arguments = _arguments(line, name, parameters, named, bare)
    return _one("run_script", _with(line, args, arguments))


def dry_run(line: Line) -> Calls:
    """/dry_run [NAME] [parameter=value ...]"""
    named, bare = dict(line.named), list(line.bare)
    name: str | None = None
    if "script" in named:
        name = str(named.pop("script").value)
    elif bare:
        name = str(bare.pop(0).value)
    args: dict[str, Any] = {} if name is None else {"script": name}
    parameters = _declared(line.setting.parameters(name))
    if "arguments" in named and "arguments" not in (parameters or {}):
        args["arguments"] = line.value("dry_run", "arguments", named.pop("arguments"))
    arguments = _arguments(line, name or "the draft", parameters, named, bare)
    return _one("dry_run", _with(line, args, arguments))


def schedule(line: Line) -> Calls:
    """/schedule NAME WHEN, with other arguments of the tool as name=value"""
    named, bare = dict(line.named), list(line.bare)
    if "script" in named:
        name = str(named.pop("script").value)
    elif bare:
        name = str(bare.pop(0).value)
    else:
        line.refuse("which script?")
    schema = line.setting.schema("schedule_script") or {}
    known = list(schema.get("properties", {}))
    for given in named:
        if known and given not in known:
            hint = suggestion(given, known, f'an argument of the script? arguments={{"{given}": ...}}')
            raise InvalidArguments(f"schedule_script has no argument {given!r}", pointer=f"/{given}", hint=hint)
    args = {given: line.value("schedule_script", given, word) for given, word in named.items()}
    zone = check_zone(args["time_zone"]) if isinstance(args.get("time_zone"), str) else line.setting.time_zone
    words = " ".join(str(word.value) for word in bare)
    if any(args.get(way) is not None for way in _WHEN):
        if words:
            line.refuse(f"{words!r}, or {', '.join(way for way in _WHEN if way in args)}: one of them")
        if args.get("every") is None and zone is None:
            raise InvalidArguments(
                "which time zone is it in?", pointer="/time_zone", hint="such as: time_zone=America/New_York"
            )
        when = {} if args.get("every") is not None else {"time_zone": zone}
    else:
        when = read_calendar(words, zone)
        if "time_zone" in args and when.get("time_zone", zone) != zone:
            line.refuse("there are two time zones")
    return _one("schedule_script", {"script": name, **args, **when})


def _declared(parameters: Any) -> dict[str, Any] | None:
    """The types of declared parameters by their names; None where they are not known."""
    if parameters is None:
        return None
    return {
        (each.get("name", "") if isinstance(each, Mapping) else str(each)): (
            each.get("type") if isinstance(each, Mapping) else None
        )
        for each in parameters
    }


def _arguments(
    line: Line, script: str, parameters: dict[str, Any] | None, named: Mapping[str, Word], bare: list[Word]
) -> dict[str, Any]:
    """The arguments of a script, by name and by position."""
    found = dict(named)
    if bare and parameters is None:
        line.refuse(f"{bare[0].value!r}: the parameters of {script} are not known here", "write name=value")
    free = [name for name in parameters or () if name not in named]
    if len(bare) > len(free):
        line.refuse(
            f"{bare[len(free)].value!r} is one value too many",
            f"the parameters of {script} are: {', '.join(parameters or ()) or 'none'}",
        )
    found |= dict(zip(free, bare, strict=False))
    for name in found:
        if parameters is not None and name not in parameters:
            hint = suggestion(name, parameters, f"its parameters are: {', '.join(parameters) or 'none'}")
            raise InvalidArguments(f"{script} has no parameter {name!r}", pointer=f"/arguments/{name}", hint=hint)
    return {name: typed(name, word, (parameters or {}).get(name)) for name, word in found.items()}


def _with(line: Line, args: dict[str, Any], arguments: dict[str, Any]) -> dict[str, Any]:
    """The tool's arguments with those of the script."""
    if not arguments:
        return args
    if "arguments" in args:
        line.refuse("arguments={...} or name=value: one of them")
    return {**args, "arguments": arguments}


def _one(tool: str, args: dict[str, Any]) -> Calls:
    return Calls(((tool, args),))
