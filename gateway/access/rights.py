"""What a script takes: nobody does through a script what they could not do themselves.

Whoever starts a script, saves it, schedules it or runs it again needs a scope for everything that its programs do, and those of the scripts
that it calls, as they are pinned:

    data:{db}:read       for each database that they name
    data:{db}:write      for each of these in which a step writes; a program without a database of its own writes in that of its
                         caller, so all of them count then
    tools:{name}         for each tool that reaches the outside (`send_email`, `http_request`, ...), and `ask_model` for `ask` steps
    _ACT                 for tools that reach scripts and schedules: the scopes of what they do

It is asked before anything starts, of what the programs are: a dry run, or one whose tools are mocked, takes the same. Databases and
tools are literal in a program, and a run cannot reach a database that its programs do not name, so nothing is missed.

The one exception is `scripts:call:names`, which starts these scripts whatever they do, as stored procedures are granted. It is safe because
saving asks too, without this exception: a script never does more than the one who saved it may do.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from gateway.access.scopes import ADMIN, ANY, Access, Scope, forbidden
from script.compiler.compiler import compile_script
from script.compiler.program import Program
from script.source.ast import Script
from toolbox import Registry, ScriptLibrary

_ACT: Final = {
    "list_scripts": Scope("scripts", "read", ANY),
    "get_script_details": Scope("scripts", "read", ANY),
    "list_schedules": Scope("schedules", "read"),
    "pause_schedule": Scope("schedules", "write"),
    "delete_schedule": Scope("schedules", "write"),
    "trigger_schedule": Scope("schedules", "write"),
    "backfill_schedule": Scope("schedules", "write"),
    "save_script": ADMIN,
    "schedule_script": ADMIN,
}
"""What these two save and start, is made while the script runs, and nobody is asked then: so they take everything."""


def needs(programs: Iterable[Program]) -> set[Scope]:
    """The scopes that programs take."""
    known = list(programs)
    named = {database for program in known for database in program.databases}
    found = {Scope("data", "read", database) for database in named}
    for program in known:
        for code in program.code:
            if code["op"] == "call":
                found |= _of_call(program, code, named)
    return found


def _of_call(program: Program, code: dict[str, Any], named: set[str]) -> set[Scope]:
    tool, effect = code["tool"], code["effect"]
    if tool in _ACT:
        return {_ACT[tool]}
    if effect == "external":
        return {Scope("tools", names=tool)}
    if effect == "write":
        database = code["database"] or program.database
        return {Scope("data", "write", name) for name in ([database] if database is not None else named)}
    return set()


def check_start(access: Access, programs: Sequence[Program]) -> None:
    """Whether a key may start the first of these programs, with all that it calls. Raises ApiError `forbidden`."""
    name = programs[0].name
    access.require(Scope("scripts", "run", name))
    if not access.has(Scope("scripts", "call", name)):
        _check(access, programs, f"running {name}")


def check_save(access: Access, script: Script, library: ScriptLibrary, registry: Registry) -> None:
    """Whether a key may save a script, which has no errors. Raises ApiError `forbidden`, ToolError."""
    access.require(Scope("scripts", "write", script.name))
    program = compile_script(script, registry.signatures())
    programs = [program]
    for name, version in program.script_calls().values():
        if name != script.name or version is not None:
            programs += library.closure(name, version)
    _check(access, programs, f"saving {script.name}")


def _check(access: Access, programs: Iterable[Program], what: str) -> None:
    missing = [scope for scope in needs(programs) if not access.has(scope)]
    if missing:
        raise forbidden(missing, what)
