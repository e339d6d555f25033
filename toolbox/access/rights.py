"""What a script takes: nobody does through a script what they could not do themselves.

Whoever starts a script, saves it, schedules it or runs it again needs a scope for everything that its programs do, and those of the scripts
that it calls, as they are pinned:

    data:{db}:read       for each database that they name
    data:{db}:write      for each of these in which a step writes; a program without a database of its own writes in that of its
                         caller, so all of them count then
    tools:{name}         for each tool that reaches the outside (`send_email`, `http_request`, ...), and `ask_model` for `ask` steps
    secrets:use:{name}   for each secret that a step names
    _ACT                 for tools that reach scripts and schedules: the scopes of what they do

It is asked before anything starts, of what the programs are: a dry run, or one whose tools are mocked, takes the same. Databases and
tools are literal in a program, and its steps reach no database that it does not name.

A row reference (`{"$rows": ...}`) leads to the rows that it names, whatever the script: one in the arguments takes `data:{db}:read` (and
`runs:read`, if it is to rows that a run has written down), and a program that has one in its text takes `admin`.

The one exception is `scripts:call:names`, which starts these scripts whatever they do, as stored procedures are granted. It is safe because
saving asks too, without this exception: a script never does more than the one who saved it may do.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import orjson

from script.compiler.compiler import compile_script
from script.compiler.program import Program
from script.source.ast import Script
from script.source.loading import canonical_json
from script.wire import ROWS
from toolbox.access.holders import Access
from toolbox.access.scopes import ADMIN, ANY, Scope
from toolbox.library import ScriptLibrary
from toolbox.registry import Registry

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
        if ROWS.encode() in orjson.dumps(program.code):
            found.add(ADMIN)
        for code in program.code:
            if code["op"] == "call":
                found |= _of_call(program, code, named)
    return found


def _of_call(program: Program, code: dict[str, Any], named: set[str]) -> set[Scope]:
    database = code["database"] or program.database
    return of_call(code["tool"], code["effect"], [database] if database is not None else named, code.get("secrets", ()))


def of_call(tool: str, effect: str, databases: Iterable[str], secrets: Iterable[str] = ()) -> set[Scope]:
    """The scopes that a call of a tool takes, beside reading: it may write in these databases, and names these secrets."""
    if tool in _ACT:
        return {_ACT[tool]}
    if effect == "external":
        return {Scope("tools", names=tool)} | {Scope("secrets", "use", name) for name in secrets}
    return {Scope("data", "write", name) for name in databases} if effect == "write" else set()


def check_start(access: Access, programs: Sequence[Program], arguments: Mapping[str, Any]) -> None:
    """Whether a key may start the first of these programs, with all that it calls. Raises Forbidden."""
    name = programs[0].name
    access.require(Scope("scripts", "run", name), *of_arguments(arguments))
    if not access.has(Scope("scripts", "call", name)):
        access.require(*needs(programs), what=f"running {name}")


def of_arguments(arguments: Mapping[str, Any]) -> set[Scope]:
    """The scopes that row references take, wherever they are in the arguments."""
    found: set[Scope] = set()
    for value in _objects(arguments):
        reference = value.get(ROWS)
        if isinstance(reference, Mapping):
            found.add(Scope("data", "read", str(reference.get("database"))))
            if "result" in reference:
                found.add(Scope("runs", "read"))
    return found


def _objects(value: Any) -> Iterator[Mapping[str, Any]]:
    """All objects in a JSON value, however deep."""
    left = [value]
    while left:
        part = left.pop()
        if isinstance(part, Mapping):
            yield part
            left += part.values()
        elif isinstance(part, list):
            left += part


_PLACES: Final = frozenset({"steps", "type", "store"})
"""What scripts, steps and the sides of joins have: others, such as records, may have a field `database` that names none."""


def check_named(access: Access, script: Script) -> None:
    """Whether a key may read the databases that a script names, before it is told what is wrong with it. Raises Forbidden."""
    parts = (part for part in _objects(orjson.loads(canonical_json(script))) if _PLACES & part.keys())
    names = {part["database"] for part in parts if isinstance(part.get("database"), str)}
    access.require(*(Scope("data", "read", name) for name in names), what=f"the script {script.name}")


def check_save(access: Access, script: Script, library: ScriptLibrary, registry: Registry) -> None:
    """Whether a key may save a script, which has no errors. Raises Forbidden, ToolError."""
    access.require(Scope("scripts", "write", script.name))
    program = compile_script(script, registry.signatures())
    programs = [program]
    for name, version in program.script_calls().values():
        if name != script.name or version is not None:
            programs += library.closure(name, version)
    access.require(*needs(programs), what=f"saving {script.name}")
